"""A table of user, item and time -> a data set.

FILE and the tables of items and users are csv, tsv, JSON lines or parquet. Say which columns hold what:

  generic FILE --user uid --item video --time watched_at --time_unit ms --columns watch_time:float=seconds
  generic FILE --items videos.csv --item_id video --item_columns genre:token=genre title:text=name

A column is NAME:TYPE=RAW, the type one of token, token_seq (split at spaces), float, float_seq and, for items, text,
which goes to .text.jsonl; =RAW may be left out where the raw column is called NAME too. Ids stay as they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.filters import add_filter_arguments, apply_filters, drop_copies
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.columns import TEXT, Column, TokenBuffer, as_text, buffers_of, parse_column
from recbole_video.dataset_tools.raw.tables import Layout, read_parts
from recbole_video.dataset_tools.raw.times import TIME_UNITS, TimeBuffer, doubt_old_times

from recbole_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

HELP = "any csv, tsv, JSON lines or parquet of user, item and time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    columns: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "NAME:TYPE=RAW"}
    parser.add_argument("file", type=Path, metavar="FILE", help="table of interactions")
    parser.add_argument("--user", default="user_id", help="its column of users (default: user_id)")
    parser.add_argument("--item", default="item_id", help="its column of items (default: item_id)")
    parser.add_argument("--time", default="timestamp", help="its column of times (default: timestamp)")
    parser.add_argument("--no_time", action="store_true", help="it has no times: its rows are in order")
    parser.add_argument("--time_unit", choices=TIME_UNITS, default="s", help="of the times (default: s)")
    parser.add_argument("--columns", help="further columns of it to keep", **columns)
    parser.add_argument("--items", type=Path, metavar="FILE", help="table of items")
    parser.add_argument("--item_id", default="item_id", help="its column of ids (default: item_id)")
    parser.add_argument("--item_columns", help="columns of it to keep", **columns)
    parser.add_argument("--users", type=Path, metavar="FILE", help="table of users")
    parser.add_argument("--user_id", default="user_id", help="its column of ids (default: user_id)")
    parser.add_argument("--user_columns", help="columns of it to keep", **columns)
    parser.add_argument("--separator", default="", help="between the cells of text tables (default: by suffix)")
    parser.add_argument("--items_separator", help="the same of the table of items, where it is another")
    parser.add_argument("--users_separator", help="the same of the table of users, where it is another")
    parser.add_argument("--no_header", action="store_true", help="text tables name no columns: they are 1, 2, ...")
    parser.add_argument("--no_quotes", action="store_true", help="a double quote is a character like any other")
    parser.add_argument(
        "--drop_incomplete", action="store_true", help="leave out rows without user, item or time, not stop at them"
    )
    add_filter_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Convert the tables."""
    inter, item, user = (
        _parse_columns(option, getattr(arguments, option)) for option in ("columns", "item_columns", "user_columns")
    )
    _check_tables(arguments)
    layout, items_layout, users_layout = _layouts(arguments)
    arguments.name = arguments.name or arguments.file.name.partition(".")[0]
    with DatasetWriter.from_arguments(arguments) as out:
        table, unit = read_interactions(arguments, inter, layout, out.card)
        table = apply_filters(drop_copies(table, out.card), arguments, out.card)
        out.write_interactions(table, unit, {column.name: column.type for column in inter})
        if arguments.items is not None:
            features = [column for column in item if column.type != TEXT]
            found = _read_features(
                arguments.items, arguments.item_id, "item_id", features, table, items_layout, out.card
            )
            if features:
                out.write_items(found, {column.name: column.type for column in features})
            texts = [column for column in item if column.type == TEXT]
            if texts:
                out.write_text(_read_texts(arguments.items, arguments.item_id, texts, found["item_id"], items_layout))
        if arguments.users is not None:
            found = _read_features(arguments.users, arguments.user_id, "user_id", user, table, users_layout, out.card)
            out.write_users(found, {column.name: column.type for column in user})
    print(f"{arguments.name} is in {out.folder}.")


def _layouts(arguments: argparse.Namespace) -> list[Layout]:
    """Of the tables of interactions, items and users."""
    own = arguments.separator
    separators = (own, *(own if s is None else s for s in (arguments.items_separator, arguments.users_separator)))
    return [Layout(s.replace("\\t", "\t"), not arguments.no_header, not arguments.no_quotes) for s in separators]


def _parse_columns(option: str, texts: Sequence[str]) -> list[Column]:
    columns = [parse_column(text) for text in texts]
    names = [column.name for column in columns]
    reserved = {"user_id", "item_id", *(["time", "timestamp"] if option == "columns" else [])}
    for column in columns:
        if names.count(column.name) > 1 or column.name in reserved:
            raise ConfigError(f"`--{option}` cannot name a column `{column.name}`: that name is taken.")
        if column.type == TEXT and option != "item_columns":
            raise ConfigError(f"`--{option}` cannot hold text, which only items have; leave out `{column.name}`.")
    return columns


def _check_tables(arguments: argparse.Namespace) -> None:
    for table, option in (("items", "item_columns"), ("users", "user_columns")):
        given, columns = getattr(arguments, table), getattr(arguments, option)
        if (given is None) != (not columns):
            raise ConfigError(f"`--{table}` and `--{option}` belong together; give both or neither.")


def read_interactions(
    arguments: argparse.Namespace, columns: Sequence[Column], layout: Layout, card: Card
) -> tuple[dict[str, np.ndarray], str]:
    """Read ``user_id``, ``item_id``, ``time`` and the further columns; returns them and the unit of the times.

    Raises:
        DataError: Naming the first row that is malformed, or incomplete unless incomplete rows are left out.
    """
    path = arguments.file
    card.add_input(path)
    keys = {"user_id": arguments.user, "item_id": arguments.item}
    buffers: dict[str, Any] = {"user_id": TokenBuffer(), "item_id": TokenBuffer(), **buffers_of(columns)}
    times = None
    if not arguments.no_time:
        keys["time"] = arguments.time
        times = buffers["time"] = TimeBuffer(arguments.time_unit)
    raw_of = {**keys, **{column.name: column.raw for column in columns}}
    n_rows = n_kept = 0
    for part in _numbered(path, list(raw_of.values()), layout):
        n_rows += len(part)
        part = _complete_rows(part, list(keys.values()), path, arguments.drop_incomplete)
        n_kept += len(part)
        _add_part(buffers, part, raw_of, path)
    if arguments.drop_incomplete:
        card.step("incomplete rows", n_rows, n_kept, f"no {', '.join(keys.values())}")
    table = {name: buffer.array() for name, buffer in buffers.items()}
    for name in ("user_id", "item_id"):
        _doubt_decimal_ids(keys[name], table[name], card)
    if times is None:
        return table, "s"
    doubt_old_times(table["time"], times.finest_unit, card, "if these are dates, give --time_unit")
    return table, times.finest_unit


def _doubt_decimal_ids(column: str, ids: np.ndarray, card: Card) -> None:
    """Ids such as 1.0, which pandas writes where a column of whole numbers had a gap, are other ids than 1."""
    decimal = [token for token in set(ids.tolist()) if str(token).endswith(".0") and str(token)[:-2].isdecimal()]
    if decimal:
        card.warn(
            f"{len(decimal):,} ids of `{column}` end in .0 (first: {min(decimal)}), as if they had once been read as "
            "decimal numbers: they are kept as they are, and no media file is found by them."
        )


def _numbered(path: Path, columns: Sequence[str], layout: Layout) -> Iterator[pd.DataFrame]:
    """Parts of a table; their index numbers its rows from 0."""
    from tqdm import tqdm

    start = 0
    with tqdm(unit=" rows", unit_scale=True, desc=path.name, disable=None, leave=False) as bar:
        for part in read_parts(path, columns, layout):
            yield part.set_axis(range(start, start + len(part)))
            start += len(part)
            bar.update(len(part))


def _complete_rows(part: pd.DataFrame, needed: Sequence[str], path: Path, drop: bool) -> pd.DataFrame:
    complete = np.ones(len(part), dtype=bool)
    for raw in needed:
        there = (as_text(part[raw]) != "").to_numpy()
        if not there.all() and not drop:
            raise DataError(
                f"`{path}`, row {part.index[there.argmin()] + 1:,}: no `{raw}`; mend the row, or give "
                "--drop_incomplete to leave out such rows."
            )
        complete &= there
    return part if complete.all() else part[complete]


def _add_part(buffers: dict[str, Any], part: pd.DataFrame, raw_of: dict[str, str], path: Path) -> None:
    """Hand each column of a part to its buffer."""

    def where(row: int) -> str:
        return f"`{path}`, row {part.index[row] + 1:,}"

    for name, buffer in buffers.items():
        buffer.add(part[raw_of[name]], where)


def _read_features(
    path: Path,
    id_column: str,
    key: str,
    columns: Sequence[Column],
    table: dict[str, np.ndarray],
    layout: Layout,
    card: Card,
) -> dict[str, np.ndarray]:
    """Some columns of the items (or users) that have interactions, in the order of their table."""
    card.add_input(path)
    wanted = set(table[key])
    buffers: dict[str, Any] = {key: TokenBuffer(), **buffers_of(columns)}
    raw_of = {key: id_column, **{column.name: column.raw for column in columns}}
    unused = 0
    for part in _numbered(path, list(raw_of.values()), layout):
        is_wanted = as_text(part[id_column]).isin(wanted)
        unused += int((~is_wanted).sum())
        _add_part(buffers, part[is_wanted], raw_of, path)
    found = {name: buffer.array() for name, buffer in buffers.items()}
    card.note(f"{key.removesuffix('_id')}s of {path.name} without interactions", unused)
    return _without_copies(found, path, card)


def _without_copies(found: dict[str, np.ndarray], path: Path, card: Card) -> dict[str, np.ndarray]:
    """Leave out rows that repeat another in all cells; those that repeat its id alone are for the writer to refuse."""
    import pandas as pd

    copies = pd.DataFrame({name: pd.Series(list(map(str, values))) for name, values in found.items()}).duplicated()
    if not copies.any():
        return found
    card.note(f"rows of {path.name} that repeat another", int(copies.sum()))
    kept = ~copies.to_numpy()
    return {name: values[kept] for name, values in found.items()}


def _read_texts(
    path: Path, id_column: str, columns: Sequence[Column], items: Collection[str], layout: Layout
) -> Iterator[dict[str, Any]]:
    """Rows of the text sidecar, a part of the file at a time; empty texts are left out."""
    wanted = set(items)
    for part in read_parts(path, [id_column, *(column.raw for column in columns)], layout):
        ids = as_text(part[id_column])
        texts = [as_text(part[column.raw]) for column in columns]
        for item, *values in zip(ids, *texts, strict=True):
            row = {column.name: value for column, value in zip(columns, values, strict=True) if value}
            if item in wanted and row:
                yield {"item_id": item, **row}
