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
    fields = read_header(path, separator)
    table = _Table(path, fields, _chosen_fields(path, fields, wanted, unwanted), separator, may_be_empty)
    try:
        frame = table.parse()
    except (ValueError, UnicodeDecodeError) as error:  # a ParserError is a ValueError
        raise table.first_fault() or DataError(f"`{path}`: {error}.") from error
    if (table.has_odd_marks(frame) or table.has_gaps(frame)) and (fault := table.first_fault()):
        raise fault
    return frame


def _chosen_fields(path: Path, fields: list[Field], wanted: set[str] | None, unwanted: set[str]) -> list[Field]:
    names = [field.name for field in fields]
    if wanted is not None and (absent := wanted - set(names)):
        raise DataError(f"`{path}` has no field `{min(absent)}`, which load_col names; it has {', '.join(names)}.")
    return [f for f in fields if (wanted is None or f.name in wanted) and f.name not in unwanted]


@dataclass(frozen=True)
class _Table:
    """What is read of an atomic file.

    Attributes:
        path: The file.
        fields: All its columns.
        chosen: The columns to read.
        separator: Between the columns.
        may_be_empty: Whether a field's cells may be empty.
    """

    path: Path
    fields: list[Field]
    chosen: list[Field]
    separator: str
    may_be_empty: Callable[[str], bool]

    def parse(self) -> pd.DataFrame:
        """The chosen columns as pandas reads them.

        Raises:
            ValueError: If pandas cannot.
        """
        import pandas as pd  # a converter that reads no atomic file starts without it

        chosen = [f.name for f in self.chosen]
        numbers = [f.name for f in self.chosen if f.type == FLOAT]
        try:
            return pd.read_csv(
                self.path,
                sep=self.separator,
                header=None,
                skiprows=1,
                names=[f.name for f in self.fields],
                usecols=chosen,
                dtype={f.name: np.float64 if f.type == FLOAT else str for f in self.chosen},
                index_col=False,
                keep_default_na=False,
                na_values={name: [""] for name in numbers if self.may_be_empty(name)},
                skip_blank_lines=False,
                quoting=csv.QUOTE_NONE,
                encoding=_ENCODING,
                engine="c",
            )
        except pd.errors.EmptyDataError:
            return pd.DataFrame(dict.fromkeys(chosen, ()))

    def has_odd_marks(self, frame: pd.DataFrame) -> bool:
        """Whether separators or line ends are other than those of the rows that pandas read.

        pandas takes a row with too many columns in silence when it reads only some of them, ends a line at a lone
        carriage return, and a cell at a NUL.
        """
        n_separators = n_lone = 0
        last = b""
        with self.path.open("rb") as file:
            for block in iter(lambda: file.read(1 << 24), b""):
                n_separators += block.count(self.separator.encode())
                n_lone += block.count(b"\0") + block.count(b"\r") - block.count(b"\r\n")
                n_lone -= last == b"\r" and block.startswith(b"\n")
                last = block[-1:]
        return n_lone > 0 or n_separators != (len(self.fields) - 1) * (len(frame) + 1)

    def has_gaps(self, frame: pd.DataFrame) -> bool:
        """Whether a value is infinite, or missing where it must not be, as short rows and empty cells leave it."""
        return any(_has_gap(frame[field.name], field, self.may_be_empty(field.name)) for field in self.chosen)

    def first_fault(self) -> RecBoleVideoError | None:
        """Go through the file line by line and describe the first fault."""
        with self.path.open("rb") as file:
            next(file, None)
            for number, raw in enumerate(file, start=2):
                try:
                    line = raw.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    file.seek(0)
                    return wrong_bytes(file, self.path)
                if fault := self._fault(line):
                    return DataError(f"`{self.path}`, line {number}{fault}.")
        return None

    def _fault(self, line: str) -> str | None:
        """What is wrong with a line, the end of a sentence that names it."""
        if "\r" in line or "\0" in line:
            return ": it holds a carriage return or a NUL; mend or remove the line"
        cells = line.split(self.separator)
        if len(cells) != len(self.fields):
            return f": {len(cells)} columns where the header has {len(self.fields)}; mend or remove the line"
        for field, cell in zip(self.fields, cells, strict=True):
            may_be = field not in self.chosen or (cell == "" and self.may_be_empty(field.name))
            if not may_be and (problem := _problem(field, cell)):
                return f", column `{field.name}`: {problem}"
        return None


def _has_gap(column: pd.Series, field: Field, may_be_empty: bool) -> bool:
    if field.type == FLOAT:
        numbers = column.to_numpy(dtype=np.float64)
        return bool(np.isinf(numbers).any()) or (not may_be_empty and bool(np.isnan(numbers).any()))
    if column.isna().any():
        return True
    return field.type == TOKEN and not may_be_empty and bool((column == "").any())


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
