"""The text of a data set's items, ``<name>.text.jsonl``: where it lies, and reading it row by row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from recbole_video.errors import DataError


def sidecar_path(folder: Path, name: str) -> Path:
    """Where a converter leaves the text of the data set ``name`` in ``folder``."""
    return folder / f"{name}.text.jsonl"


def read_text_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Read JSON lines with ``item_id``, one object per item.

    Yields:
        Line number, from 1, and object; its ``item_id`` is a str.

    Raises:
        DataError: If a line is not such an object.
    """
    with path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, start=1):
            yield number, _parse(path, number, line)


def _parse(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        return {**row, "item_id": str(row["item_id"])}
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f'`{path}`, line {number}: not an object with "item_id".') from error


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
