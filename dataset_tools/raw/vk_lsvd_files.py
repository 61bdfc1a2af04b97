"""Files of VK-LSVD as its dataset card describes them: a parquet file of exposures per week, and tables beside them."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from recbole_video.dataset_tools.raw.tables import read_chunks, where_in

from recbole_video.errors import DataError, counted
from recbole_video.files.raw import guarded

if TYPE_CHECKING:
    import pandas as pd

PARTS = ("train", "validation", "test")
FLAGS = ("like", "dislike", "share", "bookmark", "click_on_author", "open_comments")
CONTEXT = ("place", "platform", "agent")
COLUMNS = ("user_id", "item_id", "timespent", *FLAGS, *CONTEXT)
SECONDS_PER_WEEK = 604_800
_WEEK = re.compile(r"week_(\d+)\.parquet")


@dataclass(frozen=True)
class Week:
    """One file of exposures.

    Attributes:
        path: The file.
        number: The week, from 0.
        part: ``train``, ``validation`` or ``test``.
    """

    path: Path
    number: int
    part: str


def find_weeks(raw: Path) -> list[Week]:
    """The weeks in the folders ``train``, ``validation`` and ``test``, in the order of time.

    Raises:
        DataError: If there is none to train on, a week is there twice, or the parts do not follow each other in time.
    """
    weeks = [
        Week(path, int(match[1]), part)
        for part in PARTS
        for path in sorted((raw / part).glob("week_*.parquet"))
        if (match := _WEEK.fullmatch(path.name))
    ]
    if not any(week.part == "train" for week in weeks):
        raise DataError(
            f"`{raw}` holds no `train/week_NN.parquet`; give the folder `interactions` of the download, or one of "
            "`subsamples`."
        )
    for one, other in pairwise(weeks):
        if one.number >= other.number:
            raise DataError(
                f"`{other.path}` does not lie after `{one.path}`: train, validation and test must follow each other in "
                "time; fetch the folder anew."
            )
    return weeks


def read_weeks(weeks: Sequence[Week]) -> dict[str, np.ndarray]:
    """All exposures in the order of time: ``COLUMNS`` (flags as 0 and 1) and ``time``, in seconds.

    The files have no times. Their rows are in the order of time, so that the week and the order are known: the rows of
    week w get whole seconds from w times 604,800 on, evenly over the week. These are below 2^24 for the 27 weeks, so
    that float32 holds them.

    Raises:
        DataError: If a file has not these columns, or a cell is empty or no whole number.
    """
    tables = [_read_week(week) for week in weeks]
    return {name: np.concatenate([table[name] for table in tables]) for name in tables[0]}


def _read_week(week: Week) -> dict[str, np.ndarray]:
    columns: dict[str, list[np.ndarray]] = {name: [np.empty(0, dtype=np.uint8)] for name in COLUMNS}
    for chunk in read_chunks(week.path, COLUMNS):
        for name in COLUMNS:
            columns[name].append(_whole(chunk[name], week.path))
    table = {name: np.concatenate(parts) for name, parts in columns.items()}
    n_rows = len(table["user_id"])
    within = np.arange(n_rows, dtype=np.int64) * SECONDS_PER_WEEK // max(1, n_rows)
    return {**table, "time": week.number * SECONDS_PER_WEEK + within}


def _whole(values: pd.Series, path: Path) -> np.ndarray:
    array = values.to_numpy()
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    if array.dtype.kind not in "iu":
        missing = values.isna().to_numpy()
        place = where_in(path)(values.index[int(missing.argmax())])
        problem = "an empty cell" if missing.any() else f"{array.dtype}"
        raise DataError(f"{place}, column `{values.name}`: {problem} where a whole number belongs; fetch it anew.")
    return array


def read_metadata(path: Path, key: str, columns: Sequence[str], wanted: np.ndarray) -> pd.DataFrame:
    """The rows of a table of users or items that are wanted, by id.

    Raises:
        DataError: If the file has not these columns.
    """
    import pandas as pd

    chunks = [chunk[chunk[key].isin(wanted)] for chunk in read_chunks(path, [key, *columns])]
    return pd.concat(chunks).sort_values(key, kind="stable", ignore_index=True)


def read_embeddings(path: Path, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ids, ascending, and vectors [n, width] of the items that are wanted, of the arrays ``item_id`` and ``embedding``.

    Raises:
        DataError: If the file is no such archive.
    """
    items, vectors = next(guarded(_arrays(path), path, "an archive of the arrays item_id and embedding"))
    if items.ndim != 1 or vectors.ndim != 2 or len(items) != len(vectors) or items.dtype.kind not in "iu":
        raise DataError(
            f"`{path}` holds item_id {list(items.shape)} and embedding {list(vectors.shape)}, which must be whole "
            "numbers [items] and vectors [items, width]; fetch it anew."
        )
    rows = np.flatnonzero(np.isin(items, wanted))
    rows = rows[np.argsort(items[rows], kind="stable")]
    twice = items[rows][1:] == items[rows][:-1]
    if twice.any():
        raise DataError(f"`{path}` has {counted(int(twice.sum()), 'item')} twice, such as {items[rows][1:][twice][0]}.")
    return items[rows], vectors[rows]


def _arrays(path: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    if not zipfile.is_zipfile(path):  # np.load takes a plain array as well
        raise ValueError("it is no zip file")
    with np.load(path, allow_pickle=False) as archive:
        yield archive["item_id"], archive["embedding"]
