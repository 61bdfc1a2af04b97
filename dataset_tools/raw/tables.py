"""Chosen columns of a csv, tsv, JSON lines or parquet file, a part at a time."""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from recbole_video.dataset_tools.raw.files import numbered_lines, open_text

from recbole_video.errors import DataError, MissingDependencyError, nearest

if TYPE_CHECKING:
    import pandas as pd

_PART_ROWS = 1 << 18
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".txt": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
FORMATS = (*_SEPARATORS, *_JSON_LINES, ".parquet")


@dataclass(frozen=True)
class Layout:
    """How a text table is written.

    Attributes:
        separator: Between cells; empty for a comma in ``.csv`` and a tab in ``.tsv`` and ``.txt``.
        has_header: Whether the first line names the columns; else they are named ``1``, ``2``, ...
        quotes: Whether a double quote encloses cells; else it is a character like any other.
    """

    separator: str = ""
    has_header: bool = True
    quotes: bool = True


def read_parts(path: Path, columns: Sequence[str], layout: Layout | None = None) -> Iterator[pd.DataFrame]:
    """Read some columns of a table, the rest of it not kept.

    Args:
        path: A file with one of the suffixes in ``FORMATS``; ``.gz`` may follow that of a text table.
        columns: The names to read; a name may occur twice.
        layout: Of a text table.

    Yields:
        Frames of at most 262,144 rows. Cells of text tables are text, empty ones ``""``; values of JSON lines
        and parquet are as they are, missing ones None or NaN.

    Raises:
        DataError: If the file cannot be read, has no such column, or a row is malformed.
        MissingDependencyError: If parquet is to be read without pyarrow.
    """
    path = Path(path)
    wanted = list(dict.fromkeys(columns))
    suffix = path.with_suffix("").suffix if path.suffix == ".gz" else path.suffix
    if not path.is_file():
        raise DataError(f"There is no file `{path}`.")
    if suffix in _SEPARATORS:
        yield from _read_text(path, wanted, layout or Layout(), _SEPARATORS[suffix])
    elif path.suffix in _JSON_LINES:
        yield from _read_json_lines(path, wanted)
    elif path.suffix == ".parquet":
        yield from _read_parquet(path, wanted)
    else:
        raise DataError(
            f"`{path}` ends in none of {', '.join(FORMATS)}; rename a file of another name, and save a workbook as csv."
        )


def _read_text(path: Path, wanted: list[str], layout: Layout, separator: str) -> Iterator[pd.DataFrame]:
    import pandas as pd

    rows: list[list[str]] = []
    cells = _cells(path, layout, separator)
    names = next(cells)
    _refuse_absent(path, wanted, names)
    chosen = [names.index(name) for name in wanted]
    for row in cells:
        rows.append([row[position] for position in chosen])
        if len(rows) == _PART_ROWS:
            yield pd.DataFrame(rows, columns=wanted, dtype=object)
            rows = []
    if rows:
        yield pd.DataFrame(rows, columns=wanted, dtype=object)


def _cells(path: Path, layout: Layout, separator: str) -> Iterator[list[str]]:
    """The names of the columns, then the cells of each row; empty lines are passed over."""
    with _open(path) as file:
        reader = csv.reader(
            file,
            delimiter=layout.separator or separator,
            quoting=csv.QUOTE_MINIMAL if layout.quotes else csv.QUOTE_NONE,
            strict=True,
        )
        width = 0
        try:
            for row in reader:
                if not row:
                    continue
                if not width:
                    width = len(row)
                    yield row if layout.has_header else [str(position + 1) for position in range(width)]
                    if layout.has_header:
                        continue
                if len(row) != width:
                    raise csv.Error(f"{len(row)} columns where the first line has {width}")
                yield row
        except (csv.Error, UnicodeDecodeError, EOFError, OSError) as error:
            raise DataError(
                f"`{path}`, line {reader.line_num}: {error}; mend the file, give its --separator, or give --no_quotes "
                "if a double quote is a character like any other in it."
            ) from error
    if not width:
        raise DataError(f"`{path}` is empty.")


def _open(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open_text(path, newline="")


def _read_json_lines(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    import pandas as pd

    rows: list[list[Any]] = []
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise DataError(f"`{path}`, line {number}: not JSON ({error}).") from error
        if not isinstance(content, dict):
            raise DataError(f"`{path}`, line {number}: `{line[:40]}` is no JSON object.")
        if not rows:
            _refuse_absent(path, wanted, list(content))
        rows.append([content.get(name) for name in wanted])
        if len(rows) == _PART_ROWS:
            yield pd.DataFrame(rows, columns=wanted, dtype=object)
            rows = []
    if rows:
        yield pd.DataFrame(rows, columns=wanted, dtype=object)


def _read_parquet(path: Path, wanted: list[str]) -> Iterator[pd.DataFrame]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingDependencyError(
            f"`{path}` needs pyarrow to be read: uv pip install -e '.[data]' in the checkout."
        ) from error
    try:
        with parquet.ParquetFile(path) as file:
            _refuse_absent(path, wanted, file.schema_arrow.names)
            for batch in file.iter_batches(batch_size=_PART_ROWS, columns=wanted):
                yield batch.to_pandas(integer_object_nulls=True)[wanted]
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"`{path}` cannot be read as parquet: {error}.") from error


def _refuse_absent(path: Path, wanted: Sequence[str], names: Sequence[str]) -> None:
    for name in wanted:
        if name not in names:
            raise DataError(
                f"`{path}` has no column `{name}`{nearest(name, names)}; it has {', '.join(f'`{n}`' for n in names)}."
            )
