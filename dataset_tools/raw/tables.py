"""Chosen columns of a csv, tsv, JSON lines or parquet file, a chunk of rows at a time."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.errors import ConfigError, DataError, nearest
from recbole_video.files.raw import (
    check_is_file,
    check_no_repeats,
    filled_lines,
    guarded,
    open_text,
    reading,
    split_rows,
)
from recbole_video.files.reading import parse_json
from recbole_video.runtime.dependencies import import_optional

if TYPE_CHECKING:
    import pandas as pd

_CHUNK_ROWS = 1 << 18
_CHUNK_CELLS = 1 << 22  # of wide tables, whose chunks have fewer rows
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = ".parquet"
FORMATS = (*_SEPARATORS, *_JSON_LINES, _PARQUET)
_COMMON_SEPARATORS = (";", "\t", "|", ",")
_MOST_NAMES = 100  # of columns in a message
_NEEDS_PYARROW = "`{}` needs pyarrow to be read: uv pip install -e '.[data]' in the checkout."
_ADVICE = "save it as UTF-8, or give its --encoding"


@dataclass(frozen=True)
class Dialect:
    """How a text table is written.

    Attributes:
        separator: Between cells; empty for a comma in ``.csv`` and a tab in ``.tsv`` and ``.txt``. With one of
            several characters, a double quote is a character like any other.
        has_header: Whether the first line names the columns; else they are named ``1``, ``2``, ...
        quotes: Whether a double quote encloses cells; else it is a character like any other.
        encoding: The encoding of text tables and JSON lines.

    Raises:
        ConfigError: If the separator holds a quote or a line break, or there is no such encoding.
    """

    separator: str = ""
    has_header: bool = True
    quotes: bool = True
    encoding: str = "utf-8"

    def __post_init__(self) -> None:
        if any(character in self.separator for character in '"\r\n\0'):
            raise ConfigError(f"`{self.separator}` cannot separate cells: it holds a quote, a line break or a NUL.")
        try:
            "".encode(self.encoding)  # LookupError also for codecs that are not of text
        except (LookupError, UnicodeError, ValueError) as error:
            raise ConfigError(
                f"`--encoding` is `{self.encoding}`, which is no encoding of text that is known."
            ) from error

    @property
    def codec(self) -> str:
        """The encoding, for UTF-8 the one that passes over a byte order mark."""
        name = codecs.lookup(self.encoding).name
        return "utf-8-sig" if name == "utf-8" else name


def where_in(path: Path) -> Callable[[int], str]:
    """What names the place of a row, by its number in the index of a chunk: a line, of parquet a row."""
    word = "row" if Path(path).suffix == _PARQUET else "line"
    return lambda number: f"`{path}`, {word} {number:,}"


def read_chunks(path: Path, columns: Sequence[str], dialect: Dialect | None = None) -> Iterator[pd.DataFrame]:
    """Read some columns of a table, the rest of it not kept.

    Args:
        path: A file with one of the suffixes in ``FORMATS``; ``.gz`` may follow that of a text table. A text table may
            have any other suffix if the dialect names its separator.
        columns: The names to read; a name may occur twice.
        dialect: How a text table is written.

    Yields:
        Frames of at most 262,144 rows, the index their line in the file, from 1 (of parquet, the row). Cells of text
        tables are text, empty ones ``""``; values of JSON lines and parquet are as they are, missing ones None or NaN.

    Raises:
        DataError: If the file cannot be read, has no such column or has it twice, or a row is malformed.
        MissingDependencyError: If parquet is to be read without pyarrow.
    """
    path, dialect = Path(path), dialect or Dialect()
    wanted = list(dict.fromkeys(columns))
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    check_is_file(path)
    if path.suffix in _JSON_LINES:
        yield from _read_json_lines(path, wanted, dialect)
    elif path.suffix == _PARQUET:
        yield from _read_parquet(path, wanted)
    elif suffix in _SEPARATORS or dialect.separator:
        yield from _read_text(path, wanted, dialect, dialect.separator or _SEPARATORS[suffix])
    else:
        raise _other_suffix(path)


def column_names(path: Path, dialect: Dialect | None = None) -> list[str]:
    """The names of a table's columns: of JSON lines, the keys of the first object.

    Args:
        path: As :func:`read_chunks` takes it.
        dialect: How a text table is written.

    Raises:
        DataError: If the file cannot be read, is empty, or has a suffix of another kind.
        MissingDependencyError: If parquet is to be read without pyarrow.
    """
    path, dialect = Path(path), dialect or Dialect()
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    check_is_file(path)
    if path.suffix in _JSON_LINES:
        return list(next(_json_objects(path, dialect))[1])
    if path.suffix == _PARQUET:
        import_optional("pyarrow", _NEEDS_PYARROW.format(path))
        return next(guarded(_parquet_names(path), path, "parquet"))
    if suffix in _SEPARATORS or dialect.separator:
        return next(_cells(path, dialect, dialect.separator or _SEPARATORS[suffix]))[1]
    raise _other_suffix(path)


def _parquet_names(path: Path) -> Iterator[list[str]]:
    from pyarrow import parquet

    yield list(parquet.read_schema(path).names)


def _other_suffix(path: Path) -> DataError:
    return DataError(
        f"`{path}` ends in none of {', '.join(FORMATS)}; rename a file of another name, save a workbook as csv, or "
        "give the --separator of a text table."
    )


def _read_text(path: Path, wanted: list[str], dialect: Dialect, separator: str) -> Iterator[pd.DataFrame]:
    rows: list[list[str]] = []
    lines: list[int] = []
    cells = _cells(path, dialect, separator)
    _, names = next(cells)
    _check_separator(path, wanted, names, dialect)
    _check_present(path, wanted, names)
    check_no_repeats(path, wanted, names)
    chosen, n_rows = [names.index(name) for name in wanted], _chunk_rows(wanted)
    for line, row in cells:
        rows.append([row[position] for position in chosen])
        lines.append(line)
        if len(rows) == n_rows:
            yield _frame(rows, wanted, lines)
            rows, lines = [], []
    if rows:
        yield _frame(rows, wanted, lines)


def _chunk_rows(columns: Sequence[str]) -> int:
    """Rows that are read at once, of tables with many columns fewer."""
    return max(1, min(_CHUNK_ROWS, _CHUNK_CELLS // max(1, len(columns))))


def _frame(rows: list[list[Any]], columns: list[str], lines: list[int]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns, index=lines, dtype=object)


def _cells(path: Path, dialect: Dialect, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The names of the columns, then line and cells of each row; empty lines are passed over."""
    width = 0
    for line, row in _split_lines(path, dialect, separator):
        if not width:
            width = len(row)
            yield line, row if dialect.has_header else [str(position + 1) for position in range(width)]
            if dialect.has_header:
                continue
        if len(row) != width:
            raise _malformed(path, line, f"{len(row)} columns where the first line has {width}")
        yield line, row
    if not width:
        raise DataError(f"`{path}` is empty.")


def _split_lines(path: Path, dialect: Dialect, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line in which a row begins, and its cells."""
    with reading(path, dialect.codec, _ADVICE), open_text(path, newline="", encoding=dialect.codec) as file:
        if len(separator) > 1:
            for number, text in enumerate(file, start=1):
                if text.rstrip("\r\n"):
                    yield number, text.rstrip("\r\n").split(separator)
            return
        quoting = csv.QUOTE_MINIMAL if dialect.quotes else csv.QUOTE_NONE
        for first, _, row in split_rows(file, partial(_malformed, path), delimiter=separator, quoting=quoting):
            yield first, row


def _malformed(path: Path, line: int, problem: str) -> DataError:
    return DataError(
        f"`{path}`, line {line:,}: {problem}; mend the file, give its --separator, or give --no_quotes if a double "
        "quote is a character like any other in it."
    )


def _read_json_lines(path: Path, wanted: list[str], dialect: Dialect) -> Iterator[pd.DataFrame]:
    rows: list[list[Any]] = []
    lines: list[int] = []
    absent, names, n_rows = set(wanted), dict[str, None](), _chunk_rows(wanted)
    for line, content in _json_objects(path, dialect):
        if absent:  # not every row has every key
            absent.difference_update(content)
            names.update(dict.fromkeys(content))
        rows.append([content.get(name) for name in wanted])
        lines.append(line)
        if len(rows) == n_rows:
            yield _frame(rows, wanted, lines)
            rows, lines = [], []
    if absent and names:
        _check_present(path, wanted, list(names))
    if rows:
        yield _frame(rows, wanted, lines)


def _json_objects(path: Path, dialect: Dialect) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each after its line."""
    is_empty = True
    for number, line in filled_lines(path, dialect.codec, _ADVICE):
        is_empty = False
        content = parse_json(line, f"`{path}`, line {number:,}", nan_is_missing=True)
        if not isinstance(content, dict):
            raise DataError(f"`{path}`, line {number:,}: `{line}` is no JSON object.")
        yield number, content
    if is_empty:
        raise DataError(f"`{path}` is empty.")


def _read_parquet(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    import_optional("pyarrow", _NEEDS_PYARROW.format(path))
    start = 1
    for chunk in guarded(_parquet_chunks(path, wanted), path, "parquet"):
        yield chunk.set_axis(range(start, start + len(chunk)))
        start += len(chunk)


def _parquet_chunks(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _check_present(path, wanted, names)
        check_no_repeats(path, wanted, names)
        for batch in file.iter_batches(batch_size=_chunk_rows(wanted), columns=wanted):
            yield batch.to_pandas(integer_object_nulls=True)[wanted]


def _check_separator(path: Path, wanted: Sequence[str], names: Sequence[str], dialect: Dialect) -> None:
    """Tell of a header that is one cell, and is several by another separator."""
    if not dialect.has_header or len(names) != 1 or names[0] in wanted:
        return
    used = max(_COMMON_SEPARATORS, key=names[0].count)
    if used in names[0]:
        shown = "\\t" if used == "\t" else used
        raise DataError(
            f"`{path}` has a single column, `{names[0]}`, as it is read; its cells seem to be separated by `{shown}`: "
            f"give --separator='{shown}' (or, of a second table alone, --items_separator or --users_separator)."
        )


def _check_present(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            known = ", ".join(f"`{n}`" for n in names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
            problem = f"`{path}` has no column `{name}`{nearest(name, names[:_MOST_NAMES])}; it has {known}."
            error = DataError(problem)
            error.column = name
            raise error
