"""Reading the workbooks of the Informs challenge: ids as text, numbers where they are numbers, blank rows skipped."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.parsers.expat import ExpatError, ParserCreate
from zipfile import ZipFile, ZipInfo

import numpy as np
from recbole_video.dataset_tools.output.tokens import id_problem, refused_id
from recbole_video.dataset_tools.raw.times import far_time

from recbole_video.data.text import is_media_name
from recbole_video.errors import DataError
from recbole_video.files.raw import guarded
from recbole_video.runtime.dependencies import import_optional

KEY, VIDEO, AUTHOR, TIME = "identifier", "video_id", "author_id", "video_create_date"
# Column of the workbook -> column of the .counts file.
TARGETS = {
    "video_comment_count": "comments",
    "video_heart_count": "likes",
    "video_play_count": "views",
    "video_share_count": "shares",
}
AUTHOR_NUMBERS = (
    "author_follower_count",
    "author_following_count",
    "author_total_heart_count",
    "author_total_video_count",
)
VIDEO_TOKENS = ("video_definition", "video_format")
DESCRIPTION = "video_description"
KNOWN = (KEY, VIDEO, AUTHOR, TIME, *TARGETS, *AUTHOR_NUMBERS, *VIDEO_TOKENS, DESCRIPTION)
# A spreadsheet keeps this many digits of a number and makes the others zeros.
_EXACT_DIGITS = 15
_LARGE_PART = 1 << 28  # bytes; a larger part of a workbook must not expand by more than
_MOST_EXPANSION = 200
_PROLOG_BYTES = 1 << 12
_ROUNDED = re.compile(r"[0-9]+(?:\.[0-9]+)?[eE]\+?[0-9]+")


class SheetRow:
    """One row of a sheet, with its place for messages.

    Args:
        cells: Column -> cell as openpyxl delivers it.
        place: ``file, row n``.
        faults: Counts what was odd but could be read.
    """

    def __init__(self, cells: Mapping[str, Any], place: str, faults: Counter[str]) -> None:
        self.cells = cells
        self.place = place
        self.faults = faults

    def text(self, column: str) -> str:
        """A cell as text; empty where there is none."""
        value = self.cells.get(column)
        return "" if value is None else str(value)

    def token(self, column: str) -> str:
        """An id that is no media file's name, as text; whole numbers lose a ``.0``."""
        value = self.cells.get(column)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            if abs(value) >= 10**_EXACT_DIGITS:
                self.faults[f"{column}s that a spreadsheet has rounded to {_EXACT_DIGITS} digits"] += 1
            return str(int(value)) if value == int(value) else str(value)
        return self.text(column).strip().strip("'")

    def exact_id(self, column: str) -> str:
        """An id that names media, with every digit; the apostrophes around it go. Empty where there is none.

        Raises:
            DataError: If a spreadsheet has taken it for a number and rounded it, or it is no name of a file.
        """
        value = self.cells.get(column)
        token = self.token(column)
        is_number = isinstance(value, (int, float)) and len(token.lstrip("-")) > _EXACT_DIGITS
        if is_number or _ROUNDED.fullmatch(token):
            raise DataError(
                f"{self.place}: the {column} `{value}` was stored as a number, and a spreadsheet rounds such to "
                f"{_EXACT_DIGITS} digits, so that its video cannot be found; take the workbook as it was delivered."
            )
        self._check_id(column, token)
        if not is_media_name(f"{token}.mp4"):
            raise DataError(f"{self.place}, column `{column}`: `{token}` cannot be the name of a video's file.")
        return token

    def author(self, column: str) -> str:
        """An id of a user.

        Raises:
            DataError: If it cannot be a token.
        """
        token = self.token(column)
        self._check_id(column, token)
        return token

    def _check_id(self, column: str, token: str) -> None:
        if token and (problem := id_problem(token)):
            raise DataError(f"{self.place}: the id {refused_id(token, column, problem)}")

    def number(self, column: str) -> float:
        """A cell as a number; NaN where it is empty or no number, the latter counted.

        Raises:
            DataError: If it is infinite, or beyond what a float holds.
        """
        value = self.cells.get(column)
        if value is None or str(value).strip() == "":
            return math.nan
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            self.faults[f"cells of {column} that are no number (taken as empty)"] += 1
            return math.nan
        if math.isinf(number):
            raise DataError(
                f"{self.place}, column `{column}`: `{value}` is no finite number; mend it or empty the cell."
            )
        return number

    def seconds(self, column: str) -> int | None:
        """A time in Unix seconds; None where there is none.

        Raises:
            DataError: If it is beyond the year 2200 or before the year 1: it is in another unit.
        """
        value = self.cells.get(column)
        if isinstance(value, datetime):
            return int(value.replace(tzinfo=UTC).timestamp())
        number = self.number(column)
        if far := far_time(np.array([number]), "s"):
            raise DataError(f"{self.place}, column `{column}`: `{value}` {far[1]}; it must be in Unix seconds.")
        return None if math.isnan(number) else int(number)


def read_rows(path: Path, required: tuple[str, ...], faults: Counter[str]) -> Iterator[SheetRow]:
    """The rows of a workbook's first sheet that are not blank, one at a time.

    Args:
        path: The xlsx file.
        required: Columns that its header must hold.
        faults: Counts blank rows.

    Raises:
        DataError: If the file is no workbook, or a column is missing or there twice.
        MissingDependencyError: If openpyxl is not installed.
    """
    rows = guarded(_first_sheet(path), path, "an xlsx workbook")
    header = ["" if cell is None else str(cell).strip() for cell in next(rows, ())]
    _check_header(path, header, required)
    for number, cells in enumerate(rows, start=2):
        if all(cell is None or str(cell).strip() == "" for cell in cells):
            faults["blank rows"] += 1
            continue
        yield SheetRow(dict(zip(header, cells, strict=False)), f"`{path}`, row {number}", faults)


def read_sheet_header(path: Path) -> tuple[str, ...]:
    """The column names of a workbook's first sheet."""
    cells = next(guarded(_first_sheet(path), path, "an xlsx workbook"), ())
    return tuple(str(cell).strip() for cell in cells if cell is not None)


def _first_sheet(path: Path) -> Iterator[tuple[Any, ...]]:
    """The cells of each row of a workbook's first sheet.

    Raises:
        DataError: If the workbook declares entities, expands to what no workbook holds, or has no sheet of cells.
        MissingDependencyError: If openpyxl is not installed.
    """
    refusal = "Workbooks need openpyxl; run: uv pip install -e '.[data]' in the checkout."
    openpyxl = import_optional("openpyxl", refusal)
    with ZipFile(path) as archive:
        for part in archive.infolist():
            _check_part(path, archive, part)
    workbook = openpyxl.load_workbook(path, read_only=True, data_only=True)
    try:
        if not workbook.worksheets:
            raise DataError(f"`{path}` has no sheet of cells; fetch it again.")
        sheet = workbook.worksheets[0]
        sheet.reset_dimensions()  # some programs state a wrong size
        yield from sheet.iter_rows(values_only=True)
    finally:
        workbook.close()


def _check_part(path: Path, archive: ZipFile, part: ZipInfo) -> None:
    """Check that a part would not fill the memory: it is no archive bomb, and no XML with entities."""
    if part.file_size > max(_LARGE_PART, _MOST_EXPANSION * part.compress_size):
        raise DataError(f"`{path}` holds `{part.filename}`, which expands to {part.file_size:,} bytes; fetch it again.")
    if not part.filename.endswith((".xml", ".rels")):
        return
    parser, found = ParserCreate(), set()
    parser.StartDoctypeDeclHandler = lambda *_: found.add("doctype")
    parser.StartElementHandler = lambda *_: found.add("element")
    with archive.open(part) as file, suppress(ExpatError):  # what is no XML is for openpyxl to refuse
        while not found and (block := file.read(_PROLOG_BYTES)):
            parser.Parse(block)
    if "doctype" in found:
        raise DataError(
            f"`{path}` holds `{part.filename}` with a document type, which no workbook has; fetch it again."
        )


def _check_header(path: Path, header: list[str], required: tuple[str, ...]) -> None:
    absent = [name for name in required if name not in header]
    if absent:
        raise DataError(
            f"The first sheet of `{path}` has no column `{absent[0]}`; it has {', '.join(filter(None, header))}."
        )
    twice = [name for name in KNOWN if header.count(name) > 1]
    if twice:
        raise DataError(f"The first sheet of `{path}` has the column `{twice[0]}` twice; keep one.")
