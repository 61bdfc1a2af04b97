"""Which videos there are: the files of a folder, or the rows of a list, one item token each."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from recbole_video.dataset_tools.video.pairs import read_pairs

from recbole_video.arguments.tokens import token_problem
from recbole_video.errors import DataError, counted

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

    @property
    def name(self) -> str:
        """The file's name as text; bytes of it that are none are shown as escapes."""
        return _as_text(self.path.name)

    @property
    def is_named_in_text(self) -> bool:
        """Whether the file's name is text in UTF-8, and the item's token one that a frame store can hold."""
        return self.name == self.path.name and token_problem(self.item_id) is None


def list_videos(
    source: Path, media: Mapping[str, str] | None = None, items: Collection[str] = frozenset()
) -> list[VideoFile]:
    """List the videos of a folder, or of a csv with the columns ``item_id`` and ``path``.

    In a folder (searched with its subfolders) a file's name without its ending is the item token,
    unless ``media`` says which file belongs to which item. Paths in a list are relative to the list's
    folder. A file that is named and is not there is listed all the same and becomes a failure. Names are
    compared as the text that they are: macOS writes an accent as a character of its own.

    Args:
        source: The folder, or the csv.
        media: Item token -> path inside the folder; None or empty where names are tokens.
        items: Tokens of the data set, where they are known.

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
    tokens = set(items)
    normal = {_normal(token): token for token in tokens if not token.isascii()}
    found = [_as_item(video, tokens, normal) for video in found]
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
            f"In {folder}, {counted(len(others), 'file is no video', 'files are no videos')} by the ending (first: "
            f"{others[0].name})."
        )
    return list(_with_sizes((_as_text(path.stem), path) for path in videos))


def _in_list(path: Path) -> list[VideoFile]:
    rows = list(read_pairs(path, ("item_id",), "path"))
    for line, _, file in rows:
        if not file or "\0" in file:
            raise DataError(f"`{path}`, line {line}: a list of videos has item_id and path in each line.")
    return list(_with_sizes((item_id, path.parent / file) for _, item_id, file in rows))


def _with_sizes(rows: Iterable[tuple[str, Path]]) -> Iterator[VideoFile]:
    names: dict[Path, dict[str, str]] = {}
    for item_id, named in rows:
        path = _on_disk(named, names)
        yield VideoFile(item_id, path, path.stat().st_size if path.is_file() else MISSING)


def _on_disk(path: Path, names: dict[Path, dict[str, str]]) -> Path:
    """The same path in the form of Unicode that it has on disk.

    Args:
        path: A path that may be there or not.
        names: Folder -> its names by their normal form, kept from call to call.
    """
    if str(path).isascii() or path.exists() or path.parent == path:
        return path
    folder = _on_disk(path.parent, names)
    if folder not in names:
        listed = [path.name for path in folder.iterdir()] if folder.is_dir() else []
        names[folder] = {_normal(name): name for name in listed if not name.isascii()}
    return folder / names[folder].get(_normal(path.name), path.name)


def _as_item(video: VideoFile, tokens: set[str], normal: Mapping[str, str]) -> VideoFile:
    """The video with the token of its item, however the two write it."""
    if video.item_id.isascii() or video.item_id in tokens:
        return video
    own = _normal(video.item_id)
    return replace(video, item_id=normal.get(own, own))


def _normal(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _as_text(name: str) -> str:
    """A file's name as text: what of it is none, which Python keeps as halves of surrogate pairs, as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
