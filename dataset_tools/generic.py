"""A table of user, item and time -> a data set.

FILE and the tables of items and users are csv, tsv, JSON lines or parquet. Say which columns hold what:

  generic FILE --user uid --item video --time watched_at --time_unit ms --columns watch_time:float=seconds
  generic FILE --items videos.csv --item_id video --item_columns genre:token=genre title:text=name
  generic FILE --items videos.csv --counts views=view_count likes
  generic SHORT_pairs.tsv --sequences --no_header --user 1 --item 2

A column is NAME:TYPE=RAW, the type one of token, token_seq, float, float_seq and, for items, text, which goes to
.text.jsonl; =RAW may be left out where the raw column is called NAME too. Ids stay as they are. A list in text may be
written as a b, a,b, a;b, a|b, [a, b], (a, b) or {a, b}; where a column allows for two, --list_separator decides. With
--sequences a row is a user and the list of all that this user met, oldest first; a file whose name ends in _pairs.tsv,
as MicroLens calls such files, is read so by itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.filters import add_filter_arguments, apply_filters, drop_copies
from recbole_video.dataset_tools.cleaning.interactions import codes_of, select
from recbole_video.dataset_tools.output.summary import label_command, print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.columns import (
    TEXT,
    IdBuffer,
    RawColumn,
    Where,
    as_text,
    buffers_of,
    check_single,
    parse_column,
    parse_count,
)
from recbole_video.dataset_tools.raw.sequences import SequenceBuffer
from recbole_video.dataset_tools.raw.tables import Dialect, column_names, read_chunks, where_in
from recbole_video.dataset_tools.raw.times import TIME_UNITS, TimeBuffer, warn_of_old_times

from recbole_video.errors import ConfigError, DataError, counted
from recbole_video.files.raw import check_is_file

if TYPE_CHECKING:
    import pandas as pd

HELP = "any csv, tsv, JSON lines or parquet of user, item and time"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    _add_interaction_arguments(parser)
    _add_feature_arguments(parser)
    _add_dialect_arguments(parser)
    add_filter_arguments(parser)
    add_output_arguments(parser)


_COLUMNS: dict[str, Any] = {"nargs": "+", "default": [], "metavar": "NAME:TYPE=RAW"}


def _add_interaction_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="table of interactions")
    parser.add_argument("--user", default="user_id", help="its column of users (default: user_id)")
    parser.add_argument("--item", default="item_id", help="its column of items (default: item_id)")
    parser.add_argument("--time", default="timestamp", help="its column of times (default: timestamp)")
    parser.add_argument("--no_time", action="store_true", help="it has no times: its rows are in order")
    parser.add_argument(
        "--sequences",
        action="store_true",
        help="a row is a user and, in the column of items, the list of what this user met, oldest first; no times",
    )
    parser.add_argument("--time_unit", choices=TIME_UNITS, default="s", help="of the times (default: s)")
    parser.add_argument("--columns", help="further columns of it to keep", **_COLUMNS)
    parser.add_argument(
        "--drop_incomplete", action="store_true", help="leave out rows without user, item or time, not stop at them"
    )


def _add_feature_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--items", type=Path, metavar="FILE", help="table of items")
    parser.add_argument("--item_id", default="item_id", help="its column of ids (default: item_id)")
    parser.add_argument("--item_columns", help="columns of it to keep", **_COLUMNS)
    parser.add_argument(
        "--counts",
        nargs="+",
        default=[],
        metavar="NAME=RAW",
        help="columns of it that count views, likes and the like, for `label`; they go to .counts, unread by models",
    )
    parser.add_argument("--users", type=Path, metavar="FILE", help="table of users")
    parser.add_argument("--user_id", default="user_id", help="its column of ids (default: user_id)")
    parser.add_argument("--user_columns", help="columns of it to keep", **_COLUMNS)


def _add_dialect_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--separator", default="", help="between the cells of text tables, one character or more (default: by suffix)"
    )
    parser.add_argument("--items_separator", help="the same of the table of items, where it is another")
    parser.add_argument("--users_separator", help="the same of the table of users, where it is another")
    parser.add_argument(
        "--encoding", default="utf-8", help="of text tables and JSON lines, such as gbk or cp1252 (default: utf-8)"
    )
    parser.add_argument(
        "--list_separator",
        metavar="SEPARATOR",
        help="between the elements of lists that are text, ' ' for white space (default: told from each column)",
    )
    parser.add_argument("--no_header", action="store_true", help="text tables name no columns: they are 1, 2, ...")
    parser.add_argument("--no_quotes", action="store_true", help="a double quote is a character like any other")


def run(arguments: argparse.Namespace) -> None:
    """Convert the tables to a data set."""
    inter, item, user = (
        _parse_columns(option, getattr(arguments, option)) for option in ("columns", "item_columns", "user_columns")
    )
    counts = _parse_counts(arguments.counts)
    _check_tables(arguments)
    check_is_file(arguments.file)
    how = _recognise_pairs(arguments)
    dialect, items_dialect, users_dialect = _dialects(arguments)
    arguments.name = arguments.file.name.partition(".")[0] if arguments.name is None else arguments.name
    with DatasetWriter.from_arguments(arguments) as out:
        with _options_told(arguments, "user", "item", "time"):
            table, unit = read_interactions(arguments, inter, dialect, out.card)
        table = apply_filters(drop_copies(table, out.card), arguments, out.card)
        out.write_interactions(table, unit, _types(inter))
        if arguments.items is not None:
            source = FeatureTable(arguments.items, arguments.item_id, item, items_dialect)
            with _options_told(arguments, "item_id"):
                _convert_items(out, source, counts, arguments.list_separator, table)
        if arguments.users is not None:
            source = FeatureTable(arguments.users, arguments.user_id, user, users_dialect)
            with _options_told(arguments, "user_id"):
                users = _read_features(source, "user_id", arguments.list_separator, table, out.card)
            out.write_users(users, _types(user))
    split = "temporal" if "time" in table else "random"  # at random, a model knows an author's future
    labels = [f"--source={counts[0].name}", "--transform=log2_1p", f"--split={split}"] if counts else []
    print_summary(out, how, label_command(out, *labels) if labels else None)


@contextmanager
def _options_told(arguments: argparse.Namespace, *options: str) -> Iterator[None]:
    """Where a column is absent that one of these options names, say which option that is."""
    try:
        yield
    except DataError as error:
        of_column = {getattr(arguments, option): option for option in options}
        if error.column is None or error.column not in of_column:
            raise
        advice = f"name the right one by --{of_column[error.column]}=COLUMN"
        raise DataError(f"{str(error).removesuffix('.')}; {advice}.") from error


def _recognise_pairs(arguments: argparse.Namespace) -> str:
    """Take a ``*_pairs.tsv`` without the header that was asked for as MicroLens writes it: a user, a tab, items.

    Returns:
        A sentence about that, for the end of the conversion; empty where the file is read as it was asked.
    """
    if not arguments.file.name.endswith(("_pairs.tsv", "_pairs.tsv.gz")) or arguments.no_header:
        return ""
    names = column_names(arguments.file, _dialects(arguments)[0])
    if len(names) != 2 or arguments.user in names or arguments.item in names:
        return ""
    arguments.sequences = arguments.no_header = True
    arguments.user, arguments.item = "1", "2"
    _check_tables(arguments)
    return "The file was read as --sequences --no_header --user=1 --item=2."


def _convert_items(
    out: DatasetWriter,
    source: FeatureTable,
    counts: Sequence[RawColumn],
    list_separator: str | None,
    table: dict[str, np.ndarray],
) -> None:
    """Write the features of items, their counts and their texts, where columns of each kind are wanted."""
    features = [column for column in source.columns if column.type != TEXT]
    hidden = [replace(column, name=f"{column.name}:count") for column in counts]  # a name that no feature can have
    found = _read_features(replace(source, columns=[*features, *hidden]), "item_id", list_separator, table, out.card)
    if features:
        out.write_items(found, _types(features))
    if counts:
        if not len(found["item_id"]):
            raise DataError(f"`{source.path}` counts nothing of the items that have interactions; check --item_id.")
        _warn_of_leaks(features, counts, out.card)
        _write_counts(out, {"item_id": found["item_id"], **{c.name: found[f"{c.name}:count"] for c in counts}})
    texts = replace(source, columns=[column for column in source.columns if column.type == TEXT])
    if texts.columns:
        out.write_text(_read_texts(texts, found["item_id"]))


def _write_counts(out: DatasetWriter, counts: dict[str, np.ndarray]) -> None:
    """Write ``.counts`` by item id, the order in which a random split of labels draws."""
    out.write_counts(select(counts, np.argsort(codes_of(counts["item_id"])[0], kind="stable")))


def _warn_of_leaks(features: Sequence[RawColumn], counts: Sequence[RawColumn], card: Card) -> None:
    for raw in sorted({column.raw for column in counts} & {column.raw for column in features}):
        card.warn(f"`{raw}` is both a count and a column of .item: a model that reads it sees what it is to predict.")


def _types(columns: Sequence[RawColumn]) -> dict[str, str]:
    return {column.name: column.type for column in columns}


def _dialects(arguments: argparse.Namespace) -> list[Dialect]:
    """How the tables of interactions, items and users are written."""
    own = arguments.separator
    separators = (own, *(own if s is None else s for s in (arguments.items_separator, arguments.users_separator)))
    header, quotes = not arguments.no_header, not arguments.no_quotes
    return [Dialect(s.replace("\\t", "\t"), header, quotes, arguments.encoding) for s in separators]


@dataclass(frozen=True)
class FeatureTable:
    """What is read of a table of items or users.

    Attributes:
        path: The table.
        id_column: The raw column of its ids.
        columns: The columns that are kept.
        dialect: How it is written.
    """

    path: Path
    id_column: str
    columns: Sequence[RawColumn]
    dialect: Dialect


def _parse_columns(option: str, texts: Sequence[str]) -> list[RawColumn]:
    columns = [parse_column(text) for text in texts]
    names = [column.name for column in columns]
    reserved = {"user_id", "item_id", *(["time", "timestamp"] if option == "columns" else [])}
    for column in columns:
        if names.count(column.name) > 1 or column.name in reserved:
            raise ConfigError(f"`--{option}` cannot name a column `{column.name}`: that name is taken.")
        if column.type == TEXT and option != "item_columns":
            raise ConfigError(f"`--{option}` cannot hold text, which only items have; leave out `{column.name}`.")
    return columns


def _parse_counts(texts: Sequence[str]) -> list[RawColumn]:
    counts = [parse_count(text) for text in texts]
    names = [count.name for count in counts]
    for name in names:
        if names.count(name) > 1 or name == "item_id":
            raise ConfigError(f"`--counts` cannot name a column `{name}`: that name is taken.")
    return counts


def _check_tables(arguments: argparse.Namespace) -> None:
    if arguments.counts and arguments.items is None:
        raise ConfigError("`--counts` are columns of the table of items; give it as --items, be it FILE itself.")
    if arguments.sequences and arguments.columns:
        raise ConfigError("`--sequences` have no --columns: a row is all that a user met; leave one of them out.")
    has_columns = {"items": [*arguments.item_columns, *arguments.counts], "users": arguments.user_columns}
    for table, option in (("items", "item_columns"), ("users", "user_columns")):
        if (getattr(arguments, table) is None) != (not has_columns[table]):
            raise ConfigError(f"`--{table}` and `--{option}` belong together; give both or neither.")


def read_interactions(
    arguments: argparse.Namespace, columns: Sequence[RawColumn], dialect: Dialect, card: Card
) -> tuple[dict[str, np.ndarray], str]:
    """Read ``user_id``, ``item_id``, ``time`` and the further columns; returns them and the unit of the times.

    Raises:
        DataError: Naming the first row that is malformed, or incomplete unless incomplete rows are left out.
    """
    card.add_input(arguments.file)
    keys = {"user_id": arguments.user, "item_id": arguments.item}
    if arguments.sequences:
        table = _read_sequences(arguments, dialect, card)
    else:
        if not arguments.no_time:
            keys["time"] = arguments.time
        table, unit = _read_rows(arguments, keys, columns, dialect, card)
    for name in ("user_id", "item_id"):
        _warn_of_decimal_ids(keys[name], table[name], card)
    return table, unit if "time" in table else "s"


def _read_rows(
    arguments: argparse.Namespace, keys: dict[str, str], columns: Sequence[RawColumn], dialect: Dialect, card: Card
) -> tuple[dict[str, np.ndarray], str]:
    """The interactions of a table with a row for each, and the unit of their times."""
    buffers: dict[str, Any] = {"user_id": IdBuffer(), "item_id": IdBuffer()}
    buffers.update(buffers_of(columns, arguments.list_separator))
    times = TimeBuffer(arguments.time_unit)
    if "time" in keys:
        buffers["time"] = times
    raw_of = {**keys, **{column.name: column.raw for column in columns}}
    for chunk in _complete_chunks(arguments, list(keys.values()), list(raw_of.values()), dialect, card):
        _add_chunk(buffers, chunk, raw_of, where_in(arguments.file))
    table = {name: buffer.array() for name, buffer in buffers.items()}
    if "time" in table:
        warn_of_old_times(table["time"], times.finest_unit, card, "if these are dates, give another --time_unit")
    return table, times.finest_unit


def _read_sequences(arguments: argparse.Namespace, dialect: Dialect, card: Card) -> dict[str, np.ndarray]:
    """The interactions of a table with a row for each user."""
    buffer = SequenceBuffer(arguments.list_separator, where_in(arguments.file))
    needed = [arguments.user, arguments.item]
    for chunk in _complete_chunks(arguments, needed, needed, dialect, card):
        buffer.add(chunk[arguments.user], chunk[arguments.item])
    return buffer.table()


def _complete_chunks(
    arguments: argparse.Namespace, needed: Sequence[str], columns: Sequence[str], dialect: Dialect, card: Card
) -> Iterator[pd.DataFrame]:
    """The rows of the table of interactions that lack nothing, a chunk at a time; those left out are counted."""
    n_rows = n_kept = 0
    for chunk in _with_progress(arguments.file, columns, dialect):
        n_rows += len(chunk)
        chunk = _complete_rows(chunk, needed, where_in(arguments.file), arguments.drop_incomplete)
        n_kept += len(chunk)
        yield chunk
    if arguments.drop_incomplete:
        card.step("incomplete rows", n_rows, n_kept, f"no {', '.join(needed)}")


def _warn_of_decimal_ids(column: str, ids: np.ndarray, card: Card) -> None:
    """Ids such as 1.0, which pandas writes where a column of whole numbers had a gap, are other ids than 1."""
    decimal = [token for token in set(ids.tolist()) if str(token).endswith(".0") and str(token)[:-2].isdecimal()]
    if decimal:
        card.warn(
            f"In `{column}`, {counted(len(decimal), 'id ends', 'ids end')} in .0 (first: {min(decimal)}), as if they "
            "had once been read as decimal numbers: they are kept as they are, and no media file is found by them."
        )


def _with_progress(path: Path, columns: Sequence[str], dialect: Dialect) -> Iterator[pd.DataFrame]:
    """The chunks of a table, with a progress bar on terminals."""
    from tqdm import tqdm

    with tqdm(unit=" rows", unit_scale=True, desc=path.name, disable=None, leave=False) as bar:
        for chunk in read_chunks(path, columns, dialect):
            yield chunk
            bar.update(len(chunk))


def _complete_rows(chunk: pd.DataFrame, needed: Sequence[str], where: Where, drop: bool) -> pd.DataFrame:
    complete = np.ones(len(chunk), dtype=bool)
    for raw in needed:
        there = (as_text(chunk[raw]) != "").to_numpy()
        if not there.all() and not drop:
            raise DataError(
                f"{where(chunk.index[there.argmin()])}: no `{raw}`; mend the row, or give --drop_incomplete to leave "
                "such rows out."
            )
        complete &= there
    return chunk if complete.all() else chunk[complete]


def _add_chunk(buffers: dict[str, Any], chunk: pd.DataFrame, raw_of: dict[str, str], where: Where) -> None:
    """Hand each column of a chunk to its buffer."""
    for name, buffer in buffers.items():
        if len(chunk):
            buffer.add(chunk[raw_of[name]], where)


def _read_features(
    source: FeatureTable, key: str, list_separator: str | None, table: dict[str, np.ndarray], card: Card
) -> dict[str, np.ndarray]:
    """Some columns of the items (or users) that have interactions, in the order of their table.

    Args:
        source: The table.
        key: ``item_id`` or ``user_id``.
        list_separator: Between the elements of lists that are text; None to tell it from each column.
        table: The interactions.
        card: The card of the data set.
    """
    path = source.path
    card.add_input(path)
    wanted = set(table[key])
    buffers: dict[str, Any] = {key: IdBuffer(), **buffers_of(source.columns, list_separator)}
    raw_of = {key: source.id_column, **{column.name: column.raw for column in source.columns}}
    unused = 0
    lines: list[int] = []
    for chunk in _with_progress(path, list(raw_of.values()), source.dialect):
        check_single(chunk[source.id_column], where_in(path))
        is_wanted = as_text(chunk[source.id_column]).isin(wanted)
        unused += int((~is_wanted).sum())
        _add_chunk(buffers, chunk[is_wanted], raw_of, where_in(path))
        lines += chunk.index[is_wanted].tolist()
    found = {name: buffer.array() for name, buffer in buffers.items()}
    card.note(f"{key.removesuffix('_id')}s of {path.name} without interactions", unused)
    return _without_copies(found, lines, path, card)


def _without_copies(
    found: dict[str, np.ndarray], lines: Sequence[int], path: Path, card: Card
) -> dict[str, np.ndarray]:
    """Leave out rows that repeat another in all cells; refuse those that repeat its id alone."""
    import pandas as pd

    table = pd.DataFrame({name: pd.Series(list(map(str, values))) for name, values in found.items()})
    copies = table.duplicated()
    kept = ~copies.to_numpy()
    key = str(table.columns[0])
    again = table[kept][key].duplicated()
    if again.any():
        row = int(again.index[int(again.argmax())])
        raise DataError(
            f"{where_in(path)(lines[row])}: `{table[key][row]}` is there a second time, with other values; keep one of "
            "these rows."
        )
    if not copies.any():
        return found
    card.note(f"rows of {path.name} that repeat another", int(copies.sum()))
    return {name: values[kept] for name, values in found.items()}


def _read_texts(source: FeatureTable, items: Collection[str]) -> Iterator[dict[str, Any]]:
    """Rows of the text sidecar, a chunk of the file at a time; empty texts and copies of rows are left out."""
    wanted, where = set(items), where_in(source.path)
    names = [column.name for column in source.columns]
    written: dict[str, int] = {}
    for line, item, *values in _raw_texts(source):
        row = {name: value for name, value in zip(names, values, strict=True) if value.strip()}
        if item not in wanted or not row:
            continue
        digest = hash(tuple(values))
        if item not in written:
            written[item] = digest
            yield {"item_id": item, **row}
        elif written[item] != digest:
            raise DataError(f"{where(line)}: `{item}` is there a second time, with another text; keep one of them.")


def _raw_texts(source: FeatureTable) -> Iterator[tuple[Any, ...]]:
    """Line, id and the text of each column, row by row."""
    for chunk in read_chunks(source.path, [source.id_column, *(c.raw for c in source.columns)], source.dialect):
        for column in source.columns:
            check_single(chunk[column.raw], where_in(source.path))
        texts = [as_text(chunk[column.raw]) for column in source.columns]
        yield from zip(chunk.index, as_text(chunk[source.id_column]), *texts, strict=True)
