"""Vectors of one's own -> a frame store beside the clicks, which `generic` converts first.

  vectors vectors.npy --ids ids.txt --name mine                [N, D], or [N, F, D]: F vectors of each video
  vectors vectors.parquet --item video --name mine             a table: a column of ids, all others numbers, or one
                                                               other, whose cells are lists of numbers
  vectors audio.npy --ids ids.txt --name mine --store audio    a further store, mine.audio.frames.npy

Line n of ids.txt names the video of row n. Writes NAME.frames.npy and its manifest, as `write_frame_store` does in
Python. Vectors of zeros alone are none, and fill up what a video has fewer of.
"""

from __future__ import annotations

import argparse
import logging
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.output.earlier import refuse_earlier
from recbole_video.dataset_tools.output.summary import is_of_popularity, place, tool_command, training_command
from recbole_video.dataset_tools.output.tokens import id_problem
from recbole_video.dataset_tools.raw.columns import IdBuffer, Where, as_numbers, of_comma
from recbole_video.dataset_tools.raw.tables import Dialect, column_names, read_chunks, where_in
from recbole_video.dataset_tools.video.options import check_names

from recbole_video.content.store import refuse_other_file, store_path, write_frame_store
from recbole_video.data.atomic_file import read_columns
from recbole_video.errors import CONTROL, ConfigError, DataError, counted, nearest
from recbole_video.files.raw import check_is_file, load_array, numbered_lines

if TYPE_CHECKING:
    import pandas as pd

HELP = "vectors of your own, npy or a table, to a frame store"
_ITEM = "item_id"
_VFM = "vectors"
_ARRAY = ".npy"
_BLOCK = 1 << 22  # numbers that are checked together
_LONGEST_CELL = 40
_LARGEST = "65,504"  # of float16
# What pandas calls the column of an index that was saved with a table: in csv files, and in parquet.
_INDEX = ("", "Unnamed: 0", "__index_level_0__")


@dataclass(frozen=True)
class _Rows:
    """Vectors as they were given.

    Attributes:
        items: The id of each row.
        frames: [N, F, D] numbers, not checked yet.
        id_at: The place of a row's id, by its number from 0.
        row_at: The place of a row's numbers.
    """

    items: list[str]
    frames: np.ndarray
    id_at: Where
    row_at: Where


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    add = parser.add_argument
    add("file", type=Path, metavar="FILE", help="npy of [N, D] or [N, F, D] numbers; or csv, tsv, JSON lines, parquet")
    add("--ids", type=Path, metavar="FILE", help="of an npy: a text file, an id per line, in the order of its rows")
    add("--item", metavar="COLUMN", help=f"of a table: its column of ids (default: {_ITEM}); all others are numbers")
    add("--vector", metavar="COLUMN", help="of a table: the column of whole vectors, as lists; no other is read")
    add("--name", required=True, help="name of the data set")
    add("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
    add("--store", default="", help="name of the frame store, where a data set has several")
    add(
        "--vfm",
        default=_VFM,
        metavar="NAME",
        help="the model that made the vectors: a trained recommender takes in new videos of the same one alone "
        f"(default: {_VFM})",
    )
    add("--overwrite", action="store_true", help="replace an earlier store of that name")
    add("--separator", default="", help="between the cells of a text table (default: by suffix)")
    add("--encoding", default="utf-8", help="of text tables and JSON lines (default: utf-8)")


def run(arguments: argparse.Namespace) -> None:
    """Check the vectors and write the frame store."""
    check_names(arguments)
    _check_options(arguments)
    folder, name = arguments.out / arguments.name, arguments.name
    inter = _interactions(folder, name)
    path = store_path(folder, name, arguments.store)
    refuse_other_file(path)
    refuse_earlier([path, path.with_suffix(".json")], arguments.overwrite)
    check_is_file(arguments.file)
    is_array = arguments.file.suffix == _ARRAY
    rows = _read_array(arguments.file, arguments.ids) if is_array else _read_table(arguments)
    _refuse_twice(rows)
    counts = _frame_counts(rows)
    wanted = set(read_columns(inter, {"item_id"}, set())["item_id"])
    held = {item for item, count in zip(rows.items, counts.tolist(), strict=True) if count}
    if held.isdisjoint(wanted) and not arguments.store:
        raise _no_item_error(arguments.ids or arguments.file, rows.items, inter, wanted)
    _warn_of_zeros(rows, counts)
    made_by = {"vfm": arguments.vfm, "sampling": "none", "source": arguments.file.name}
    write_frame_store(path, rows.items, rows.frames, counts, overwrite=True, **made_by)  # `refuse_earlier` has asked
    print(_told(name, wanted, held, rows.frames))
    print(f"Written: {path}")
    if following := _next_command(folder, name, arguments.store, path, rows.frames, not held.isdisjoint(wanted)):
        print(f"Next: {following}")


def _check_options(arguments: argparse.Namespace) -> None:
    """Refuse options that do not belong to the kind of file.

    Raises:
        ConfigError: On the first of them.
    """
    is_array = arguments.file.suffix == _ARRAY
    if is_array and arguments.ids is None:
        raise ConfigError(f"`{arguments.file}` names no items; give --ids=FILE, a text file with an id per line.")
    if not is_array and arguments.ids is not None:
        raise ConfigError(f"--ids is for an npy file; the ids of a table are its column --item (`{_ITEM}`).")
    for option, default in (("item", None), ("vector", None), ("separator", ""), ("encoding", "utf-8")):
        if is_array and getattr(arguments, option) != default:
            raise ConfigError(f"--{option} has no effect on an npy file; leave it out.")
    if not arguments.vfm.strip() or CONTROL.search(arguments.vfm):
        raise ConfigError(f"--vfm is `{arguments.vfm}`; give the name of the model that made the vectors.")


def _interactions(folder: Path, name: str) -> Path:
    """The clicks of the data set.

    Raises:
        DataError: If there are none.
    """
    inter = folder / f"{name}.inter"
    if not inter.is_file():
        there = [path.stem for path in folder.parent.glob("*/*.inter") if path.stem == path.parent.name]
        command = tool_command("generic", "CLICKS.csv", f"--name={name}", *place(folder, "out"))
        raise DataError(f"There is no `{inter}`{nearest(name, there)}; the clicks come first: {command}.")
    return inter


# -- reading -----------------------------------------------------------------------------------


def _read_array(path: Path, ids: Path) -> _Rows:
    """An npy file, which stays on disk, and the ids of its rows."""
    check_is_file(ids)
    array = load_array(path, mapped=True)
    if array.ndim not in (2, 3) or array.dtype.kind not in "iuf" or not array.size:
        raise DataError(
            f"`{path}` holds {array.dtype} of shape {list(array.shape)}; vectors must be numbers [N, D] or [N, F, D]."
        )
    items = _read_ids(ids)
    if len(items) != len(array):
        begins = f", `{items[0]}` the first," if items else ""
        raise DataError(
            f"`{ids}` has {counted(len(items), 'id')}{begins} and `{path}` {counted(len(array), 'row')}; line n must "
            "name the item of row n, without a header."
        )
    return _Rows(
        items,
        array if array.ndim == 3 else array[:, None],
        lambda row: where_in(ids)(row + 1),
        lambda row: f"`{path}`, row {row + 1:,}",
    )


def _read_ids(path: Path) -> list[str]:
    """An id per line; empty lines at the end are none."""
    items = [line for _, line in numbered_lines(path)]
    while items and not items[-1].strip():
        items.pop()
    for row, item in enumerate(items):
        if problem := id_problem(item):
            raise DataError(f"{where_in(path)(row + 1)}: the id `{item}` cannot be a token: {problem}; rename it.")
    return items


def _read_table(arguments: argparse.Namespace) -> _Rows:
    """A table with a column of ids, all others numbers, or one other of lists."""
    path, item = arguments.file, arguments.item or _ITEM
    dialect = Dialect(separator=arguments.separator.replace("\\t", "\t"), encoding=arguments.encoding)
    columns = [arguments.vector] if arguments.vector else _number_columns(path, item, dialect)
    where, ids = where_in(path), IdBuffer()
    blocks: list[np.ndarray] = []
    lines: list[int] = []
    for chunk in read_chunks(path, [item, *columns], dialect):
        if len(chunk):
            ids.add(chunk[item], where)
            blocks.append(_numbers(chunk, columns, where, blocks[0].shape[1] if blocks else None))
            lines += chunk.index.tolist()
    if not lines:
        raise DataError(f"`{path}` has no row; give a row per item.")

    def at(row: int) -> str:
        return where(lines[row])

    return _Rows(ids.array().tolist(), np.concatenate(blocks)[:, None], at, at)


def _number_columns(path: Path, item: str, dialect: Dialect) -> list[str]:
    """The columns beside that of the ids.

    Raises:
        DataError: If there is none, the column of ids is absent, or one is an index that was saved with the table.
    """
    names = column_names(path, dialect)
    if item not in names:
        try:
            next(read_chunks(path, [item], dialect), None)
        except DataError as error:
            if error.column is None:
                raise
            raise DataError(f"{str(error).removesuffix('.')}; name the right one by --item=COLUMN.") from error
    columns = [name for name in names if name != item]
    if index := [name for name in columns if name in _INDEX]:
        raise DataError(f"`{path}` has a column `{index[0]}`, which numbers its rows; save it with index=False.")
    if not columns:
        raise DataError(f"`{path}` has no column beside `{item}`; give a column for each number of a vector.")
    return columns


def _numbers(chunk: pd.DataFrame, columns: Sequence[str], where: Where, width: int | None) -> np.ndarray:
    """The numbers of some rows, float32 [k, D]; ``width`` is the D of earlier ones, None before the first."""
    if len(columns) == 1 and _is_list(chunk[columns[0]].iloc[0]):
        return _listed_numbers(chunk[columns[0]], where, width)
    block = np.empty((len(chunk), len(columns)), np.float32)
    for position, column in enumerate(columns):
        numbers = as_numbers(chunk[column])
        finite = np.isfinite(numbers)
        if not finite.all():
            row = int((~finite).argmax())
            at = f"{where(int(chunk.index[row]))}, column `{column}`"
            raise DataError(f"{at}: {_no_number(chunk[column].iloc[row])}.")
        with np.errstate(over="ignore"):  # told as what is beyond float16
            block[:, position] = numbers
    return block


def _listed_numbers(cells: pd.Series, where: Where, width: int | None) -> np.ndarray:
    """The vectors that the cells of a column hold whole, float32 [k, D]."""
    vectors: list[np.ndarray] = []
    for line, cell in zip(cells.index.tolist(), cells, strict=True):
        at = f"{where(line)}, column `{cells.name}`"
        vectors.append(_listed_vector(cell, at))
        width = width or len(vectors[0])
        if len(vectors[-1]) != width:
            found = counted(len(vectors[-1]), "number")
            raise DataError(f"{at}: {found}, and {width:,} in the rows before; all vectors have the same length.")
    return np.stack(vectors)


def _listed_vector(cell: Any, at: str) -> np.ndarray:
    """The numbers of a cell, float32 [D].

    Raises:
        DataError: If it holds anything but a list of finite numbers.
    """
    if not _is_list(cell):
        raise DataError(f"{at}: {_no_number(cell)}.")
    try:
        values = np.asarray(cell)
    except ValueError:  # lists of several lengths
        values = np.empty(0)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        shown = shorten(str(list(cell)), _LONGEST_CELL, placeholder=" …")
        raise DataError(
            f"{at}: `{shown}` is no list of finite numbers; of several vectors an item give an npy file, [N, F, D]."
        )
    with np.errstate(over="ignore"):  # told as what is beyond float16
        return values.astype(np.float32)


def _is_list(cell: Any) -> bool:
    return isinstance(cell, (list, tuple, np.ndarray))


def _no_number(value: Any) -> str:
    """Why a cell cannot be a number of a vector."""
    if _is_list(value):
        return "a list; where a column holds whole vectors, name it by --vector=COLUMN, and no other is read"
    if value is None or value != value or value == "":
        return "the cell is empty; all vectors have the same length"
    return f"`{value}` is no finite number{of_comma(value)}; all columns beside --item are numbers of the vectors"


# -- checking ----------------------------------------------------------------------------------


def _refuse_twice(rows: _Rows) -> None:
    first: dict[str, int] = {}
    for row, item in enumerate(rows.items):
        if first.setdefault(item, row) != row:
            before = rows.id_at(first[item]).rpartition(", ")[2]
            raise DataError(f"{rows.id_at(row)}: `{item}` is there a second time, as in {before}; keep one.")


def _frame_counts(rows: _Rows) -> np.ndarray:
    """Frames of each row, int64 [N]: up to the last one that is not of zeros alone, as it is stored.

    Raises:
        DataError: Naming the first row that holds what float16 does not.
    """
    n_frames = rows.frames.shape[1]
    step = max(1, _BLOCK // int(np.prod(rows.frames.shape[1:])))
    counts = []
    for start in range(0, len(rows.frames), step):
        block = rows.frames[start : start + step]
        with np.errstate(over="ignore", invalid="ignore"):
            stored = block.astype(np.float16)
        finite = np.isfinite(stored)
        if not finite.all():
            row, *place_ = (int(index) for index in np.unravel_index((~finite).argmax(), finite.shape))
            at = f"{rows.row_at(start + row)}, of item `{rows.items[start + row]}`"
            raise DataError(f"{at}: {_no_stored_number(float(block[row, *place_]))}.")
        filled: np.ndarray = np.any(stored, axis=2)
        counts.append(np.where(filled.any(axis=1), n_frames - filled[:, ::-1].argmax(axis=1), 0))
    return np.concatenate(counts)


def _no_stored_number(value: float) -> str:
    """Why a number cannot be in a store."""
    if np.isfinite(value):
        return f"`{value:g}` is beyond {_LARGEST}, the most that a store holds; scale all vectors down"
    return f"`{value}` is no finite number; make the vector anew"


def _no_item_error(source: Path, items: Sequence[str], inter: Path, wanted: set[str]) -> DataError:
    example = f", such as `{min(wanted)}`" if wanted else ""
    return DataError(
        f"None of the ids of `{source}`, such as `{items[0]}`, is an item of `{inter}`{example}; write them as there, "
        "or, of videos that came after the training, give a --store of their own."
    )


def _warn_of_zeros(rows: _Rows, counts: np.ndarray) -> None:
    if not counts.all():
        row = int((counts == 0).argmax())
        n = counted(int((counts == 0).sum()), "row is", "rows are")
        logging.getLogger(__name__).warning(f"{n} of zeros alone, which is no vector: {rows.row_at(row)} first.")


# -- telling -----------------------------------------------------------------------------------


def _told(name: str, wanted: set[str], held: set[str], frames: np.ndarray) -> str:
    """How much of the data set has vectors, and how many are of no item of it."""
    _, n_frames, dim = frames.shape
    what = "a vector" if n_frames == 1 else f"up to {n_frames} vectors"
    numbers = counted(dim, "number")
    text = f"{len(wanted & held):,} of {counted(len(wanted), 'item')} of {name} have {what} of {numbers}"
    others = len(held - wanted)
    return f"{text}; {counted(others, 'vector is', 'vectors are')} of no item of it." if others else f"{text}."


def _next_command(
    folder: Path, name: str, store: str, path: Path, frames: np.ndarray, is_of_training: bool
) -> str | None:
    """What the store is made for; None where that depends on labels to come."""
    if is_of_popularity(folder, name):
        return None
    if not is_of_training:
        return f'recbole-video recommend RUN_FOLDER --add_store={shlex.quote(str(path))} --history="ITEM ITEM"'
    of_one_row = ["--item_encoder=MLP"] if frames.shape[1] == 1 else []  # the default chooses among several
    return training_command(folder, name, store, *of_one_row)
