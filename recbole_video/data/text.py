"""The text of a data set's items, ``<name>.text.jsonl``: where it lies, and reading it row by row."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_video.errors import CONTROL, DataError
from recbole_video.files.raw import filled_lines
from recbole_video.files.reading import parse_json
from recbole_video.files.replacement import finish_replacements


def sidecar_path(folder: Path, name: str) -> Path:
    """Where a converter leaves the text of the data set ``name`` in ``folder``."""
    return folder / f"{name}.text.jsonl"


def read_text_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines with ``item_id``, one object per item.

    Yields:
        Line number, from 1, and object; its ``item_id`` is a str. Blank lines are left out.

    Raises:
        DataError: If the file cannot be read, or a line is not such an object; the line is named.
    """
    finish_replacements(path.parent)
    for number, line in filled_lines(path):
        yield number, _parse(f"`{path}`, line {number}", line)


def read_titles(folder: Path, name: str) -> dict[str, str]:
    """Title of each item of a data set by its token, as the converter left them; empty where there are none.

    Raises:
        DataError: If the file of titles cannot be read.
    """
    path = sidecar_path(folder, name)
    if not path.is_file():
        return {}
    titles: dict[str, str] = {}
    for number, row in read_text_rows(path):
        title = row.get("title")
        if not isinstance(title, str | None):
            raise DataError(f"`{path}`, line {number}: the title must be text, not `{title}`.")
        titles[row["item_id"]] = title or ""
    return titles


def _parse(where: str, line: str) -> dict[str, Any]:
    row = parse_json(line, where)
    item = row.get("item_id") if isinstance(row, dict) else None
    if not isinstance(item, str | int) or isinstance(item, bool) or item == "":
        raise DataError(f'{where}: not an object with "item_id", a text or a whole number.')
    return {**row, "item_id": str(item)}


def is_media_path(file: Any) -> bool:
    """Whether something is the path of a file inside a folder of media: relative, and never out of it."""
    return (
        isinstance(file, str)
        and bool(file)
        and not Path(file).is_absolute()
        and ".." not in Path(file).parts
        and not CONTROL.search(file)
    )


def is_media_name(file: Any) -> bool:
    """Whether something is the name of a file that lies in the folder of media itself."""
    return is_media_path(file) and "/" not in file and "\\" not in file


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
        if not is_media_path(file):
            raise DataError(
                f"`{path}`, line {number}: `media` must be a path inside the folder of media, not `{file}`."
            )
        media[row["item_id"]] = file
    return media
