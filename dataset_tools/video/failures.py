"""Why a video gave no frames: a closed list of reasons, and the report that names every such video."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from recbole_video.errors import DataError

REASONS = {
    "missing": "there is no file",
    "misnamed": "the file's name is not text in UTF-8, as an item's token must be",
    "empty": "the file has no bytes",
    "unreadable": "no container that the decoder knows, or its index is missing or damaged",
    "no_video": "the file has no video stream",
    "truncated": "the file holds fewer frames than its header promises",
    "undecodable": "the stream is damaged",
    "timeout": "decoding took too long",
    "crashed": "the decoder brought its process down",
    "not_sampled": "no frames were chosen for it in the file of samples",
}


# What may go well another time: it is the machine's fault as often as the video's.
TRANSIENT = frozenset(["timeout", "crashed"])


class VideoFailure(DataError):
    """A video gives no frames.

    Args:
        reason: A key of :data:`REASONS`.
        detail: What exactly was found.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{REASONS[self.reason]}: {self.detail}"


@dataclass(frozen=True)
class Failure:
    """One row of the report.

    Attributes:
        item_id: Item token.
        file: Name of the video file.
        reason: A key of :data:`REASONS`.
        detail: What exactly was found.
    """

    item_id: str
    file: str
    reason: str
    detail: str


def write_failures(path: Path, failures: Iterable[Failure]) -> None:
    """Write the report as csv; a run without failures gives a header alone. No cell is a formula to a spreadsheet."""
    from recbole_video.files.atomic import write_text
    from recbole_video.files.cells import spreadsheet_safe

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(Failure))
    writer.writerows(map(spreadsheet_safe, astuple(failure)) for failure in failures)
    write_text(path, text.getvalue())


def read_failures(path: Path) -> list[Failure]:
    """Read a report, as it is written: cells are those of :func:`spreadsheet_safe`.

    There are no failures where there is no report.

    Raises:
        DataError: If the file is not such a report.
    """
    from recbole_video.files.reading import read_text

    if not path.is_file():
        return []
    try:
        rows = list(csv.reader(io.StringIO(read_text(path), newline=""), strict=True))
    except csv.Error as error:
        raise DataError(f"`{path}` is not a report of failures ({error}); delete it.") from error
    names = [field.name for field in fields(Failure)]
    if rows[:1] != [names] or any(len(row) != len(names) or row[2] not in REASONS for row in rows[1:]):
        raise DataError(f"`{path}` is not a report of failures, with {', '.join(names)} in each row; delete it.")
    return [Failure(*row) for row in rows[1:]]
