"""Reading RecBole's atomic files: fast when they are sound, exact about the place when not."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from recbole_video.errors import DataError, RecBoleVideoError
from recbole_video.files.reading import wrong_bytes
from recbole_video.files.replacement import finish_replacements

if TYPE_CHECKING:
    import pandas as pd

# utf-8-sig reads files with and without a byte order mark.
_ENCODING = "utf-8-sig"
# The values of RecBole's FeatureType, which this module does without: converters read files too, and RecBole
# imports torch.
TOKEN, TOKEN_SEQ, FLOAT, FLOAT_SEQ = FIELD_TYPES = ("token", "token_seq", "float", "float_seq")


@dataclass(frozen=True)
class Field:
    """A column of an atomic file: ``name:type`` in the header."""

    name: str
    type: str

    @property
    def is_sequence(self) -> bool:
        return self.type in (TOKEN_SEQ, FLOAT_SEQ)


def read_header(path: Path, separator: str = "\t") -> list[Field]:
    """Read the ``name:type`` cells of an atomic file's first line.

    Raises:
        DataError: If the file is missing or empty, or a cell is not ``name:type``.
    """
    finish_replacements(path.parent)
    try:
        with path.open("rb") as file:
            raw = file.readline()
    except OSError as error:
        raise DataError(f"The atomic file `{path}` cannot be read: {error.strerror}.") from error
    try:
        line = raw.decode(_ENCODING).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise wrong_bytes([raw], path) from error
    fields = [_parse_cell(path, column, cell) for column, cell in enumerate(line.split(separator), start=1)]
    names = [field.name for field in fields]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"`{path}`, line 1: the field `{name}` appears twice; keep one column.")
    return fields


def _parse_cell(path: Path, column: int, cell: str) -> Field:
    name, colon, type_name = cell.partition(":")
    if not colon or not name or type_name not in FIELD_TYPES:
        raise DataError(
            f"`{path}`, line 1, column {column}: `{cell}` is not `name:type` with a type of {', '.join(FIELD_TYPES)}; "
            "check the header and the field_separator."
        )
    return Field(name, type_name)


def read_columns(
    path: Path,
    wanted: set[str] | None,
    unwanted: set[str],
    separator: str = "\t",
    may_be_empty: Callable[[str], bool] = lambda field: False,
) -> pd.DataFrame:
    """Read some columns of an atomic file; tokens stay text, quotes and words like NA included.

    Args:
        path: The file.
        wanted: Field names to read; None for all.
        unwanted: Field names to leave out.
        separator: Between the columns.
        may_be_empty: Whether a field's cells may be empty: NaN for numbers, an empty text for tokens.

    Returns:
        One column per field, in the file's order; sequences are still one text.

    Raises:
        DataError: With file, line and column of the first row that is malformed.
    """
    import pandas as pd  # a converter that reads no atomic file starts without it

    fields = read_header(path, separator)
    chosen = [f for f in fields if (wanted is None or f.name in wanted) and f.name not in unwanted]
    if wanted is not None and (absent := wanted - {f.name for f in fields}):
        raise DataError(
            f"`{path}` has no field `{sorted(absent)[0]}`, which load_col names; it has "
            f"{', '.join(f.name for f in fields)}."
        )
    try:
        frame = pd.read_csv(
            path,
            sep=separator,
            header=None,
            skiprows=1,
            names=[f.name for f in fields],
            usecols=[f.name for f in chosen],
            dtype={f.name: np.float64 if f.type == FLOAT else str for f in chosen},
            index_col=False,
            keep_default_na=False,
            na_values={f.name: [""] for f in chosen if f.type == FLOAT and may_be_empty(f.name)},
            skip_blank_lines=False,
            quoting=csv.QUOTE_NONE,
            encoding=_ENCODING,
            engine="c",
        )
    except pd.errors.EmptyDataError:
        frame = pd.DataFrame({f.name: [] for f in chosen})
    except (ValueError, UnicodeDecodeError) as error:  # a ParserError is a ValueError
        raise _first_fault(path, fields, chosen, separator, may_be_empty) or DataError(f"`{path}`: {error}.") from error
    # pandas takes a row with too many columns in silence when it reads only some of them, ends a line at a lone
    # carriage return, and a cell at a NUL.
    n_separators, has_odd = _marks(path, separator)
    is_odd = has_odd or n_separators != (len(fields) - 1) * (len(frame) + 1)
    if is_odd or _has_gaps(frame, chosen, may_be_empty):
        fault = _first_fault(path, fields, chosen, separator, may_be_empty)
        if fault:
            raise fault
    return frame


def _has_gaps(frame: pd.DataFrame, chosen: list[Field], may_be_empty: Callable[[str], bool]) -> bool:
    """Whether a value is infinite, or missing where it must not be, as short rows and empty cells leave it."""
    for field in chosen:
        column = frame[field.name]
        if field.type == FLOAT:
            numbers = column.to_numpy(dtype=np.float64)
            if np.isinf(numbers).any() or (np.isnan(numbers).any() and not may_be_empty(field.name)):
                return True
        elif column.isna().any() or (field.type == TOKEN and (column == "").any() and not may_be_empty(field.name)):
            return True
    return False


def _marks(path: Path, separator: str) -> tuple[int, bool]:
    """How often ``separator`` occurs in the file, and whether a NUL or a lone carriage return does."""
    n_separators = n_lone = 0
    last = b""
    with path.open("rb") as file:
        for block in iter(lambda: file.read(1 << 24), b""):
            n_separators += block.count(separator.encode())
            n_lone += block.count(b"\0") + block.count(b"\r") - block.count(b"\r\n")
            n_lone -= last == b"\r" and block.startswith(b"\n")
            last = block[-1:]
    return n_separators, n_lone > 0


def _first_fault(
    path: Path, fields: list[Field], chosen: list[Field], separator: str, may_be_empty: Callable[[str], bool]
) -> RecBoleVideoError | None:
    """Go through the file line by line and describe the first fault."""
    is_chosen = [field in chosen for field in fields]
    with path.open("rb") as file:
        next(file, None)
        for number, raw in enumerate(file, start=2):
            try:
                line = raw.decode("utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                file.seek(0)
                return wrong_bytes(file, path)
            if "\r" in line or "\0" in line:
                return DataError(
                    f"`{path}`, line {number}: it holds a carriage return or a NUL; mend or remove the line."
                )
            cells = line.split(separator)
            if len(cells) != len(fields):
                return DataError(
                    f"`{path}`, line {number}: {len(cells)} columns where the header has {len(fields)}; "
                    "mend or remove the line."
                )
            for field, cell, used in zip(fields, cells, is_chosen, strict=True):
                if used and not (cell == "" and may_be_empty(field.name)) and (problem := _problem(field, cell)):
                    return DataError(f"`{path}`, line {number}, column `{field.name}`: {problem}.")
    return None


def _problem(field: Field, cell: str) -> str | None:
    if field.type == TOKEN and cell == "":
        return "the token is empty"
    if field.type == FLOAT:
        try:
            number = float(cell if "_" not in cell else "")
        except ValueError:
            return f"`{cell}` is not a number"
        if not np.isfinite(number):
            return f"`{cell}` is not a finite number"
    return None
