"""Chosen columns of a csv, tsv, JSON lines or parquet file, a part at a time."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.errors import ConfigError, DataError, MissingDependencyError, nearest
from recbole_video.files.raw import (
    guarded,
    numbered_lines,
    open_text,
    reading,
    refuse_no_file,
    refuse_twice,
)
from recbole_video.files.reading import parse_json

if TYPE_CHECKING:
    import pandas as pd

_PART_ROWS = 1 << 18
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = ".parquet"
FORMATS = (*_SEPARATORS, *_JSON_LINES, _PARQUET)
_MOST_NAMES = 100  # of columns in a message
_ADVICE = "save it as UTF-8, or give its --encoding"


@dataclass(frozen=True)
class Layout:
    """How a text table is written.

    Attributes:
        separator: Between cells; empty for a comma in ``.csv`` and a tab in ``.tsv`` and ``.txt``. With one of
            several characters, a double quote is a character like any other.
        has_header: Whether the first line names the columns; else they are named ``1``, ``2``, ...
        quotes: Whether a double quote encloses cells; else it is a character like any other.
        encoding: Of text tables and JSON lines.

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
    """What names the place of a row, by its number in the index of a part: a line, of parquet a row."""
    word = "row" if Path(path).suffix == _PARQUET else "line"
    return lambda number: f"`{path}`, {word} {number:,}"


def read_parts(path: Path, columns: Sequence[str], layout: Layout | None = None) -> Iterator[pd.DataFrame]:
    """Read some columns of a table, the rest of it not kept.

    Args:
        path: A file with one of the suffixes in ``FORMATS``; ``.gz`` may follow that of a text table. A text table may
            have any other suffix if the layout names its separator.
        columns: The names to read; a name may occur twice.
        layout: Of a text table.

    Yields:
        Frames of at most 262,144 rows, the index their line in the file, from 1 (of parquet, the row). Cells of text
        tables are text, empty ones ``""``; values of JSON lines and parquet are as they are, missing ones None or NaN.

    Raises:
        DataError: If the file cannot be read, has no such column or has it twice, or a row is malformed.
        MissingDependencyError: If parquet is to be read without pyarrow.
    """
    path, layout = Path(path), layout or Layout()
    wanted = list(dict.fromkeys(columns))
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    refuse_no_file(path)
    if path.suffix in _JSON_LINES:
        yield from _read_json_lines(path, wanted, layout)
    elif path.suffix == _PARQUET:
        yield from _read_parquet(path, wanted)
    elif suffix in _SEPARATORS or layout.separator:
        yield from _read_text(path, wanted, layout, layout.separator or _SEPARATORS[suffix])
    else:
        raise DataError(
            f"`{path}` ends in none of {', '.join(FORMATS)}; rename a file of another name, save a workbook as csv, or "
            "give the --separator of a text table."
        )


def _read_text(path: Path, wanted: list[str], layout: Layout, separator: str) -> Iterator[pd.DataFrame]:
    rows: list[list[str]] = []
    lines: list[int] = []
    cells = _cells(path, layout, separator)
    _, names = next(cells)
    _refuse_absent(path, wanted, names)
    refuse_twice(path, wanted, names)
    chosen = [names.index(name) for name in wanted]
    for line, row in cells:
        rows.append([row[position] for position in chosen])
        lines.append(line)
        if len(rows) == _PART_ROWS:
            yield _frame(rows, wanted, lines)
            rows, lines = [], []
    if rows:
        yield _frame(rows, wanted, lines)


def _frame(rows: list[list[Any]], columns: list[str], lines: list[int]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(rows, columns=columns, index=lines, dtype=object)


def _cells(path: Path, layout: Layout, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The names of the columns, then line and cells of each row; empty lines are passed over."""
    width = 0
    for line, row in _split_lines(path, layout, separator):
        if not width:
            width = len(row)
            yield line, row if layout.has_header else [str(position + 1) for position in range(width)]
            if layout.has_header:
                continue
        if len(row) != width:
            raise _malformed(path, line, f"{len(row)} columns where the first line has {width}")
        yield line, row
    if not width:
        raise DataError(f"`{path}` is empty.")


def _split_lines(path: Path, layout: Layout, separator: str) -> Iterator[tuple[int, list[str]]]:
    """The line in which a row begins, and its cells."""
    with reading(path, layout.codec, _ADVICE), open_text(path, newline="", encoding=layout.codec) as file:
        if len(separator) > 1:
            for number, text in enumerate(file, start=1):
                if text.rstrip("\r\n"):
                    yield number, text.rstrip("\r\n").split(separator)
            return
        quoting = csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE
        reader = csv.reader(file, delimiter=separator, quoting=quoting, strict=True)
        before = 0
        try:
            for row in reader:
                if row:
                    yield before + 1, row
                before = reader.line_num
        except csv.Error as error:
            raise _malformed(path, before + 1, str(error)) from error


def _malformed(path: Path, line: int, problem: str) -> DataError:
    return DataError(
        f"`{path}`, line {line:,}: {problem}; mend the file, give its --separator, or give --no_quotes if a double "
        "quote is a character like any other in it."
    )


def _read_json_lines(path: Path, wanted: list[str], layout: Layout) -> Iterator[pd.DataFrame]:
    rows: list[list[Any]] = []
    lines: list[int] = []
    absent, names = set(wanted), dict[str, None]()
    is_empty = True
    for number, line in numbered_lines(path, layout.codec, _ADVICE):
        if not line.strip():
            continue
        is_empty = False
        content = parse_json(line, f"`{path}`, line {number:,}", nan_is_missing=True)
        if not isinstance(content, dict):
            raise DataError(f"`{path}`, line {number:,}: `{line}` is no JSON object.")
        if absent:  # not every row has every key
            absent.difference_update(content)
            names.update(dict.fromkeys(content))
        rows.append([content.get(name) for name in wanted])
        lines.append(number)
        if len(rows) == _PART_ROWS:
            yield _frame(rows, wanted, lines)
            rows, lines = [], []
    if is_empty:
        raise DataError(f"`{path}` is empty.")
    if absent and names:
        _refuse_absent(path, wanted, list(names))
    if rows:
        yield _frame(rows, wanted, lines)


def _read_parquet(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"`{path}` needs pyarrow to be read: uv pip install -e '.[data]' in the checkout."
        ) from error
    start = 1
    for part in guarded(_parquet_parts(path, wanted), path, "parquet"):
        yield part.set_axis(range(start, start + len(part)))
        start += len(part)


def _parquet_parts(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        names = file.schema_arrow.names
        _refuse_absent(path, wanted, names)
        refuse_twice(path, wanted, names)
        for batch in file.iter_batches(batch_size=_PART_ROWS, columns=wanted):
            yield batch.to_pandas(integer_object_nulls=True)[wanted]


def _refuse_absent(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            known = ", ".join(f"`{n}`" for n in names[:_MOST_NAMES]) + (", ..." if len(names) > _MOST_NAMES else "")
            raise DataError(f"`{path}` has no column `{name}`{nearest(name, names[:_MOST_NAMES])}; it has {known}.")
