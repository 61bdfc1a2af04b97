"""The text of a data set's items, ``<name>.text.jsonl``: where it lies, and reading it row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_video.data.reading import parse_json
from recbole_video.data.replacement import finish_replacements
from recbole_video.errors import DataError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def sidecar_path(folder: Path, name: str) -> Path:
    """Where a converter leaves the text of the data set ``name`` in ``folder``."""
    return folder / f"{name}.text.jsonl"


def read_text_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines with ``item_id``, one object per item.

    Yields:
        Line number, from 1, and object; its ``item_id`` is a str. Blank lines are left out.

    Raises:
        DataError: If a line is not such an object, or not text in UTF-8.
    """
    finish_replacements(path.parent)
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                content = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 else line
                if content.strip():
                    yield number, _parse(path, number, content)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any]:
    where = f"`{path}`, line {number}"
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where}: byte {error.start + 1} is not text in UTF-8; save the file as UTF-8.") from error
    row = parse_json(text, where)
    item = row.get("item_id") if isinstance(row, dict) else None
    if isinstance(item, bool) or not isinstance(item, str | int) or item == "":
        raise DataError(f'{where}: not an object with "item_id", a text or a whole number.')
    return {**row, "item_id": str(item)}


def read_media(path: Path) -> dict[str, str]:
    """Media file of each item that names one, item token -> path inside the folder of media; empty without a file.

    Raises:
        DataError: If a line is malformed, or its ``media`` is no path inside a folder.
    """
    media: dict[str, str] = {}
    if not path.is_file():
        return media
    for number, row in read_text_rows(path):
        file = row.get("media")
        if file is None:
            continue
        if not isinstance(file, str) or not file or Path(file).is_absolute() or ".." in Path(file).parts:
            raise DataError(
                f"`{path}`, line {number}: `media` must be a path inside the folder of media, not {file!r}."
            )
        media[row["item_id"]] = file
    return media
