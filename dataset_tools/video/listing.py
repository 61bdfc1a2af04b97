"""Lists of items: which videos there are, in a folder or a csv, and the csv of items and one text each."""

from __future__ import annotations

import csv
import io
import logging
import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from recbole_video.arguments.tokens import token_problem
from recbole_video.errors import DataError, counted
from recbole_video.files.raw import split_rows
from recbole_video.files.reading import read_text

EXTENSIONS = (
    ".3gp", ".avi", ".flv", ".m2ts", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm",
    ".wmv",
)  # fmt: skip
MISSING = -1  # size of a file that is not there
_LONGEST_CELL = 1 << 24  # characters
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ROW = re.compile(r'"?[^\s,"]+"?,(?!\s)')  # how a row begins, as a line of a text that is quoted hardly does


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
    compared in their :func:`normal_form`.

    Args:
        source: The folder, or the csv.
        media: Item token -> path inside the folder; None or empty where names are tokens.
        items: Tokens of the data set, where they are known.

    Returns:
        Videos, sorted by item token.

    Raises:
        DataError: If there is no video, or two files claim the same item.
    """
    tokens = set(items)
    normal = {normal_form(token): token for token in tokens if not token.isascii()}
    found = [_as_item(video, tokens, normal) for video in _find(source, media)]
    videos = sorted(found, key=lambda video: (video.item_id, video.path))
    for one, other in pairwise(videos):
        if one.item_id == other.item_id:
            raise DataError(
                f"`{one.path}` and `{other.path}` are both videos of item `{one.item_id}`; keep one"
                + ("." if source.is_file() else ", or list the videos in a csv with item_id and path.")
            )
    return videos


def check_source(source: Path) -> None:
    """Refuse a folder of videos, or a csv that lists them, that is not there.

    Raises:
        DataError: If it is not.
    """
    if not source.is_file() and not source.is_dir():
        raise DataError(f"There is no `{source}`; give the folder of the videos, or a csv with item_id and path.")


def _find(source: Path, media: Mapping[str, str] | None) -> list[VideoFile]:
    check_source(source)
    if source.is_file():
        return _in_list(source)
    return list(_with_sizes((i, source / path) for i, path in media.items())) if media else _in_folder(source)


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
    rows = list(read_item_texts(path, ("item_id",), "path"))
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
        names[folder] = {normal_form(name): name for name in listed if not name.isascii()}
    return folder / names[folder].get(normal_form(path.name), path.name)


def _as_item(video: VideoFile, tokens: set[str], normal: Mapping[str, str]) -> VideoFile:
    """The video with the token of its item, however the two write it."""
    if video.item_id.isascii() or video.item_id in tokens:
        return video
    own = normal_form(video.item_id)
    return replace(video, item_id=normal.get(own, own))


def normal_form(text: str) -> str:
    """The text in the form of Unicode in which names are compared: macOS writes an accent as a character of its own."""
    return unicodedata.normalize("NFC", text)


def _as_text(name: str) -> str:
    """A file's name as text: what of it is none, which Python keeps as halves of surrogate pairs, as escapes."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def read_item_texts(path: Path, keys: Sequence[str], value: str) -> Iterator[tuple[int, str, str]]:
    """Read item and text of each row.

    A first line that names one of the columns is a header: the file is then a csv, and every row must have as many
    columns as it; a text with a comma stands in quotes. Without a header the first comma of a line ends the item, and
    the rest of the line is the text, without its quotes where they enclose all of it; that is logged.

    Args:
        path: The file.
        keys: Names that the column of items may have, the usual one first.
        value: Name of the column of texts.

    Yields:
        Number of the line that the row begins in, item and text.

    Raises:
        DataError: If the file is not text in UTF-8, lacks a column, or a row is not clear; the line is named.
    """
    content = read_text(path)
    first = content.partition("\n")[0]
    header = [cell.strip().strip('"').lower() for cell in first.split(",")]
    rows = _with_header(path, content, keys, value)
    return rows if {*keys, value} & set(header) else _without_header(path, content, keys[0], value)


def _with_header(path: Path, content: str, keys: Sequence[str], value: str) -> Iterator[tuple[int, str, str]]:
    rows = _checked_rows(path, content)
    _, header = next(rows)
    names = [name.strip().lower() for name in header]
    key = next((key for key in keys if key in names), keys[0])
    for name in (key, value):
        if names.count(name) != 1:
            problem = f"{keys[0]} and {value} are needed" if name not in names else f"`{name}` is there twice"
            raise DataError(f"`{path}`, line 1: the columns are {', '.join(header)}; {problem}.")
    key_at, value_at = names.index(key), names.index(value)
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"`{path}`, line {line}: {len(row)} columns where the header has {len(names)}; put a {value} with "
                f'commas in quotes, as in {key},"{value}", and double the quotes in it.'
            )
        if not row[key_at]:
            raise DataError(f"`{path}`, line {line}: there is no {key}; each line has {key} and {value}.")
        yield line, row[key_at], row[value_at]


def _checked_rows(path: Path, content: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a csv that are not blank, with the lines that they begin in."""

    def malformed(line: int, problem: str) -> DataError:
        return DataError(
            f"`{path}`, line {line}: the quotes are not those of a csv ({problem}); double a quote that is part of the "
            "text, and put the text in quotes."
        )

    lines = content.split("\n")
    limit = csv.field_size_limit(_LONGEST_CELL)
    try:
        for first, last, row in split_rows(io.StringIO(content, newline=""), malformed):
            inside = [text for text in lines[first:last] if text.strip()]
            if inside and all(_ROW.match(text) for text in inside):
                raise DataError(
                    f"`{path}`, line {first}: a quote that is opened there takes in the lines up to {last}, which look "
                    "like rows of their own; double a quote that is part of the text, and put the text in quotes."
                )
            yield first, row
    finally:
        csv.field_size_limit(limit)


def _without_header(path: Path, content: str, key: str, value: str) -> Iterator[tuple[int, str, str]]:
    is_logged = False
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        item, comma, rest = text.partition(",")
        item = item.strip().strip('"')
        if not comma or not item:
            raise DataError(f"`{path}`, line {line}: `{text}` is not {key} and {value} with a comma between them.")
        rest = rest[1:-1].replace('""', '"') if _QUOTED.fullmatch(rest) else rest
        if not is_logged:
            logging.getLogger(__name__).warning(
                f"{path.name} has no header with {key} and {value}: the first comma of each line ends its {key}, and "
                f"the rest is its {value} (line {line}: {item[:40]!r} and {rest[:80]!r})."
            )
            is_logged = True
        yield line, item, rest
