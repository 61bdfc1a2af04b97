"""Videos that no data set holds, as ``predict`` and ``explain`` take them: a table, frame stores, or both."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_video.data.times import UNITS_PER_SECOND
from recbole_video.dataset_tools.raw.columns import IdBuffer, NumberBuffer, Where, as_numbers
from recbole_video.dataset_tools.raw.tables import Dialect, read_chunks, where_in
from recbole_video.dataset_tools.raw.times import TIME_UNITS, TimeBuffer
from recbole_video.errors import ConfigError, DataError, counted, nearest
from recbole_video.files.names import expanded

if TYPE_CHECKING:  # imported when the command runs: see `entry_point`
    import numpy as np
    import pandas as pd

    from recbole_video.serving.predictor import Inputs, PopularityPredictor

# The columns that `generic` names by these options, too.
_NAMED = {"item_id": "item", "user_id": "user", "time": "time"}
_MADE_BY = {"frames": "frames", "text": "embed-text"}  # stores that have an option of their own, and the tools


def add_new_videos(parser: ArgumentParser) -> None:
    """Let a parser, which has ``table`` of its own, take what names the videos and their columns."""
    parser.add_argument(
        "--frames", type=Path, metavar="FILE", help="the videos' frame store, as `frames --new` makes it"
    )
    parser.add_argument("--text", type=Path, metavar="FILE", help="their texts' store, as `embed-text --new` makes it")
    parser.add_argument(
        "--content", action="append", default=[], metavar="NAME=FILE", help="the store of another modality; repeatable"
    )
    parser.add_argument("--item", metavar="COLUMN", help="the table's column of ids (default: item_id)")
    parser.add_argument("--user", metavar="COLUMN", help="of authors, where the model reads them (default: user_id)")
    parser.add_argument("--time", metavar="COLUMN", help="of times, where the model reads them (default: time)")
    parser.add_argument(
        "--time_unit", choices=TIME_UNITS, help="of the times (default: seconds since 1970, or ISO dates)"
    )
    parser.add_argument(
        "--column", action="append", default=[], metavar="NAME=RAW", help="another that is called RAW; repeatable"
    )
    parser.add_argument("--separator", default="", help="between the cells of a text table (default: by suffix)")
    parser.add_argument("--encoding", default="utf-8", help="of text tables and JSON lines (default: utf-8)")


def inputs_of_new_videos(asked: Namespace, stores: Mapping[str, Path], model: PopularityPredictor) -> Inputs:
    """What the model reads of the videos that a command line names.

    Args:
        asked: Parsed by a parser of :func:`add_new_videos`.
        stores: Of :func:`stores_named`.
        model: The trained model.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    _check_is_complete(model, asked, stores)
    table = None if asked.table is None else _read(asked, model)
    items = _items_of(stores) if table is None else table["item_id"].tolist()
    if (n := len(items) - len(set(items))) > 0:
        again = next(item for item, count in Counter(items).items() if count > 1)
        print(
            f"{counted(n, 'row repeats', 'rows repeat')} an id (first: `{again}`); rows are not merged.",
            file=sys.stderr,
        )
    metadata = table if model.metadata_columns or not model.content else None
    return model.from_stores(items, content=stores, metadata=metadata)


def stores_named(asked: Namespace) -> dict[str, Path]:
    """The frame store of each modality.

    Raises:
        ConfigError: If one is given twice, or is not ``NAME=FILE``, or a column is named without a table.
    """
    columns = [f"--{option}" for option in (*_NAMED.values(), "time_unit", "column") if getattr(asked, option)]
    if columns and asked.table is None:
        raise ConfigError(f"`{columns[0]}` is of a table; name the table, or leave it out.")
    given = [(name, getattr(asked, name)) for name in _MADE_BY if getattr(asked, name) is not None]
    for one in asked.content:
        name, _, path = one.partition("=")
        if not (name and path):
            raise ConfigError(
                f"`--content` is `{one}`; it must be NAME=FILE, such as audio=dataset/a/a.audio.frames.npy."
            )
        given.append((name, expanded(path)))
    stores = dict(given)
    if len(stores) < len(given):
        names = [name for name, _ in given]
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(f"The store of `{twice}` is given twice; leave one out.")
    return stores


def _check_is_complete(model: PopularityPredictor, asked: Namespace, stores: Mapping[str, Path]) -> None:
    """Refuse a lack that no policy of training allows for.

    Raises:
        ConfigError: If frames, text or a table of the metadata are missing, or there is no video at all.
    """
    for name in _MADE_BY:
        if name in model.content and name not in stores:
            raise ConfigError(
                f"The model reads {name}; give the new videos' store by --{name}=FILE, as `{_MADE_BY[name]} --new` "
                "makes it."
            )
    if asked.table is None and model.metadata_columns:
        raise ConfigError(
            f"The model reads {', '.join(model.metadata_columns)}; give a table that has a row per video of them."
        )
    if asked.table is None and not stores:
        raise ConfigError("There are no videos: give a table with a row of each, or their frame stores.")


def _items_of(stores: Mapping[str, Path]) -> list[str]:
    """The videos of all stores, each once."""
    from recbole_video.content.store import FrameStore

    return list(dict.fromkeys(item for path in stores.values() for item in FrameStore(path).items))


def _read(asked: Namespace, model: PopularityPredictor) -> pd.DataFrame:
    """The table, its columns by the names that the model knows them by; empty cells are None.

    Raises:
        ConfigError: If a column is renamed that the model does not read, or twice.
        DataError: If the table cannot be read, lacks a column, is empty, or has a row without an id, or a cell that is
            no id, number or time where it must be one.
    """
    import pandas as pd

    raw = _raw_names(asked, model.metadata_columns)
    dialect = Dialect(separator=asked.separator.replace("\\t", "\t"), encoding=asked.encoding)
    try:
        chunks = list(read_chunks(asked.table, list(raw.values()), dialect))
    except DataError as error:
        raise _with_advice(error, raw) from error
    if not chunks:
        raise DataError(f"`{asked.table}` has no row; give a row per video.")
    whole, where = pd.concat(chunks), where_in(asked.table)
    table = pd.DataFrame({name: whole[column] for name, column in raw.items()}, dtype=object)
    table = table.where(table.notna() & (table != ""), None)
    if table["item_id"].isna().any():
        raise DataError(f"{where(table.index[table['item_id'].isna()][0])}: the cell of `{raw['item_id']}` is empty.")
    table["item_id"] = _ids(whole[raw["item_id"]], where)
    if "user_id" in table:
        _ids(whole[raw["user_id"]][table["user_id"].notna()], where)  # checked alone: numbers stay what they are
    for name in model.number_columns:
        table[name] = _numbers(whole[raw[name]], where)
    if "time" in table:
        table["time"] = _seconds(whole[raw["time"]], table["time"].notna(), asked.time_unit, where)
    return table.reset_index(drop=True)


def _ids(values: pd.Series, where: Where) -> np.ndarray:
    """Ids as data sets have them, object [rows]."""
    buffer = IdBuffer()
    buffer.add(values, where)
    return buffer.array()


def _numbers(values: pd.Series, where: Where) -> np.ndarray:
    """Numbers of a column, float64 [rows]; NaN for empty cells."""
    buffer = NumberBuffer()
    buffer.add(values, where)
    return buffer.array()


def _seconds(values: pd.Series, is_filled: pd.Series, unit: str | None, where: Where) -> np.ndarray:
    """Unix times in seconds, float64 [rows]; NaN for empty cells. Without a unit, seconds or ISO dates."""
    import numpy as np

    filled = values[is_filled]
    if unit is None:
        unit = "s" if filled.dtype.kind != "M" and np.isfinite(as_numbers(filled)).any() else "iso"
    buffer = TimeBuffer(unit)
    if len(filled):
        buffer.add(filled, where)
    times = np.full(len(values), np.nan)
    times[is_filled.to_numpy()] = buffer.array() / UNITS_PER_SECOND[buffer.finest_unit]
    return times


def _raw_names(asked: Namespace, columns: Sequence[str]) -> dict[str, str]:
    """What the table calls each column that is read."""
    read = ["item_id", *(name for name in columns if name != "item_id")]
    given = [(f"--{option}", name, getattr(asked, option)) for name, option in _NAMED.items()]
    given = [one for one in given if one[2] is not None]
    for one in asked.column:
        name, _, column = one.partition("=")
        given.append(("--column", name, column or name))
    chosen: dict[str, str] = {}
    for option, name, column in given:
        if name not in read:
            raise ConfigError(
                f"`{option}` names `{name}`{nearest(name, read)}, which the model does not read; it reads "
                f"{', '.join(columns) or 'no column'}."
            )
        if name in chosen:
            raise ConfigError(f"`{name}` is the column `{chosen[name]}` and `{column}`; leave one out.")
        chosen[name] = column
    return {name: chosen.get(name, name) for name in read}


def _with_advice(error: DataError, raw: Mapping[str, str]) -> DataError:
    """The error, with the option that names a column that the table lacks."""
    lacking = [name for name, column in raw.items() if error.column is not None and column == error.column]
    if not lacking:
        return error
    option = f"--{_NAMED[lacking[0]]}=COLUMN" if lacking[0] in _NAMED else f"--column={lacking[0]}=COLUMN"
    return DataError(f"{str(error).removesuffix('.')}; name the right one by {option}.")
