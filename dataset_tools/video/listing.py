"""Which videos there are: the files of a folder, or the rows of a list, one item token each."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from recbole_video.errors import DataError

EXTENSIONS = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
MISSING = -1  # size of a file that is not there


@dataclass(frozen=True)
class VideoFile:
    """A video of an item.

    Attributes:
        item_id: Item token.
        path: The file.
        size: Its bytes; :data:`MISSING` where there is none.
    """

    item_id: str
    path: Path
    size: int


def list_videos(source: Path, media: Mapping[str, str] | None = None) -> list[VideoFile]:
    """List the videos of a folder, or of a csv with the columns ``item_id`` and ``path``.

    In a folder (searched with its subfolders) a file's name without its ending is the item token,
    unless ``media`` says which file belongs to which item. Paths in a list are relative to the list's
    folder. A file that is named and is not there is listed all the same and becomes a failure.

    Args:
        source: The folder, or the csv.
        media: Item token -> path inside the folder; None or empty where names are tokens.

    Returns:
        Videos, sorted by item token.

    Raises:
        DataError: If there is no video, or two files claim the same item.
    """
    if source.is_dir():
        found = list(_with_sizes((i, source / path) for i, path in media.items())) if media else _in_folder(source)
    elif source.is_file():
        found = _in_list(source)
    else:
        raise DataError(f"There is no `{source}`; give the folder of the videos, or a csv with item_id and path.")
    videos = sorted(found, key=lambda video: (video.item_id, video.path))
    for one, other in pairwise(videos):
        if one.item_id == other.item_id:
            raise DataError(
                f"`{one.path}` and `{other.path}` are both videos of item `{one.item_id}`; keep one"
                + ("." if source.is_file() else ", or list the videos in a csv with item_id and path.")
            )
    return videos


def with_items(videos: list[VideoFile], items: Iterable[str]) -> list[VideoFile]:
    """The videos, and one that is missing for each of the items that has none; sorted by item token."""
    there = {video.item_id for video in videos}
    absent = [VideoFile(item, Path(item), MISSING) for item in items if item not in there]
    return sorted([*videos, *absent], key=lambda video: video.item_id)


def _in_folder(folder: Path) -> list[VideoFile]:
    # A link that leads nowhere is a file that is missing.
    files = [path for path in folder.rglob("*") if not path.is_dir() and not path.name.startswith(".")]
    videos = [path for path in files if path.suffix.lower() in EXTENSIONS]
    if not videos:
        raise DataError(f"`{folder}` holds no video ({len(files)} other files); videos end in {', '.join(EXTENSIONS)}.")
    if len(videos) < len(files):
        others = sorted(set(files) - set(videos))
        logging.getLogger(__name__).info(
            f"{len(others)} files of {folder} are no videos by their endings (first: {others[0].name})."
        )
    return list(_with_sizes((path.stem, path) for path in videos))


def _in_list(path: Path) -> list[VideoFile]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        missing = {"item_id", "path"} - set(reader.fieldnames or ())
        if missing:
            raise DataError(f"`{path}` has no column `{min(missing)}`; a list of videos has item_id and path.")
        rows = [(reader.line_num, row["item_id"], row["path"]) for row in reader]
    for line, item_id, file in rows:
        if not item_id or not file:
            raise DataError(f"`{path}`, line {line}: a list of videos has item_id and path in each line.")
    return list(_with_sizes((item_id, path.parent / file) for _, item_id, file in rows))


def _with_sizes(rows: Iterable[tuple[str, Path]]) -> Iterable[VideoFile]:
    for item_id, path in rows:
        yield VideoFile(item_id, path, path.stat().st_size if path.is_file() else MISSING)
