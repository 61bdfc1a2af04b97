"""Which media file belongs to which item: maps between ids, and a check by duration."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from recbole_video.dataset_tools.video.failures import VideoFailure
from recbole_video.dataset_tools.video.probe import read_duration
from tqdm import tqdm

from recbole_video.data.text import is_media_name
from recbole_video.errors import DataError
from recbole_video.files.raw import csv_rows

TOLERANCE_SECONDS = 0.5
_N_EXAMPLES = 5
Key = TypeVar("Key")


def read_id_map(path: Path) -> dict[str, str]:
    """Read a csv file of two columns, item id and media id, with or without a header.

    A first line whose item id is no whole number is the header.

    Raises:
        DataError: If a line has not two columns, a media id is no name of a file, or an item has two of them.
    """
    media: dict[str, str] = {}
    for number, cells in csv_rows(path):
        cells = [cell.strip() for cell in cells]
        if not any(cells) or (number == 1 and not cells[0].isdecimal()):
            continue
        if len(cells) != 2 or not all(cells):
            raise DataError(f"`{path}`, line {number}: an id map has two columns, item id and media id.")
        item, target = cells
        if not is_media_name(target):
            raise DataError(f"`{path}`, line {number}, column 2: `{target}` cannot be the name of a media file.")
        if media.setdefault(item, target) != target:
            raise DataError(f"`{path}`, line {number}: item `{item}` has two media ids, {media[item]} and {target}.")
    return media


@dataclass
class DurationCheck:
    """Durations of a table compared with those of the media files.

    Attributes:
        agree: Items whose two durations differ by at most the tolerance.
        disagree: Items whose durations differ by more: the file is probably another video's.
        missing: Items without a file.
        unreadable: Items whose file does not say how long it is.
        examples: The first that disagree: (item, seconds in the table, seconds of the file).
    """

    agree: int = 0
    disagree: int = 0
    missing: int = 0
    unreadable: int = 0
    examples: list[tuple[str, float, float]] = field(default_factory=list)

    @property
    def compared(self) -> int:
        return self.agree + self.disagree

    def add(self, item: str, expected: float, found: float, tolerance: float) -> None:
        """Count one item whose file was read."""
        if abs(expected - found) <= tolerance:
            self.agree += 1
            return
        self.disagree += 1
        if len(self.examples) < _N_EXAMPLES:
            self.examples.append((item, expected, round(found, 3)))


def check_durations(
    expected: Mapping[str, float], files: Mapping[str, Path], tolerance: float = TOLERANCE_SECONDS
) -> DurationCheck:
    """Compare the durations that a table states with those of the files.

    Args:
        expected: Item -> seconds.
        files: Item -> media file; an item without one, or whose file does not exist, is missing.
        tolerance: Seconds by which the two may differ.
    """
    check = DurationCheck()
    present = {item: files[item] for item in expected if item in files and files[item].is_file()}
    check.missing = len(expected) - len(present)
    for item, seconds in read_durations(present):
        if seconds is None:
            check.unreadable += 1
        else:
            check.add(item, expected[item], seconds, tolerance)
    return check


def read_durations(files: Mapping[Key, Path]) -> Iterator[tuple[Key, float | None]]:
    """The seconds of each file, in order; None for one that does not open or does not say."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(_duration_or_none, files.values())
        yield from tqdm(zip(files, found, strict=True), "durations", len(files), disable=None)


def numbered_videos(folder: Path) -> dict[int, Path]:
    """Number -> file, of those in a folder that are named ``<number>.mp4``; ascending."""
    return dict(sorted((int(path.stem), path) for path in folder.glob("*.mp4") if path.stem.isdecimal()))


def _duration_or_none(path: Path) -> float | None:
    try:
        return read_duration(path)
    except VideoFailure:
        return None
