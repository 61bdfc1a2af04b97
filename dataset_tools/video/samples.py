"""Chosen frames on disk: one JSON line per video, and beside them how they were chosen."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.samplers import Sampling

from recbole_video.errors import DataError


@dataclass(frozen=True)
class Sample:
    """The frames that were chosen of a video.

    Attributes:
        item_id: Item token.
        sampler: What chose them.
        frames: Frame numbers, ascending.
        times: Their starts, seconds after the start of the video.
        similarity: Of each to the title; None where none was measured.
    """

    item_id: str
    sampler: str
    frames: list[int]
    times: list[float]
    similarity: list[float] | None


@dataclass(frozen=True)
class ChosenFrames:
    """The frames that an earlier run chose.

    Attributes:
        samples: Item token -> sample.
        settings: How they were chosen, as plain values.
        sha256: Of the file of samples.
    """

    samples: dict[str, Sample]
    settings: dict[str, Any]
    sha256: str

    @property
    def sampling(self) -> Sampling:
        """How they were chosen."""
        return Sampling(**{field.name: self.settings[field.name] for field in fields(Sampling)})

    @property
    def short_side(self) -> int:
        """Pixels of the decoded pictures' shorter side."""
        return int(self.settings["short_side"])


def settings_path(samples: Path) -> Path:
    """Where it stands how samples were chosen."""
    return samples.with_suffix(".json")


def read_chosen(path: Path) -> ChosenFrames:
    """Read chosen frames.

    Raises:
        DataError: If a file is missing or malformed; the line is named.
    """
    for needed in (path, settings_path(path)):
        if not needed.is_file():
            raise DataError(
                f"There is no `{needed}`; choose frames with `sample`, or name another file with --samples."
            )
    samples: dict[str, Sample] = {}
    sha = hashlib.sha256()
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            sha.update(line)
            try:
                sample = Sample(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise DataError(f"`{path}`, line {number}: not the frames of a video ({error}).") from error
            samples[sample.item_id] = sample
    return ChosenFrames(samples, _read_settings(settings_path(path)), sha.hexdigest())


def _read_settings(path: Path) -> dict[str, Any]:
    needed = {"short_side", *(field.name for field in fields(Sampling))}
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        missing = sorted(needed - settings.keys())
    except (ValueError, AttributeError) as error:
        raise DataError(f"`{path}` does not say how frames were chosen ({error}); make it anew.") from error
    if missing:
        raise DataError(f"`{path}` does not say how frames were chosen: it lacks `{missing[0]}`; make it anew.")
    return settings
