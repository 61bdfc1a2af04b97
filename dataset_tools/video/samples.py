"""Chosen frames on disk: one JSON line per video, and beside them how they were chosen."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.samplers import Sampling

from recbole_video.errors import ConfigError, DataError
from recbole_video.files.reading import parse_json, read_json
from recbole_video.files.replacement import finish_replacements


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
        DataError: If a file is missing or malformed, or has a video twice; the line is named.
    """
    finish_replacements(path.parent)
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
            sample = _parse(line, f"`{path}`, line {number}")
            if sample.item_id in samples:
                raise DataError(f"`{path}`, line {number}: item `{sample.item_id}` is there twice; keep one line.")
            samples[sample.item_id] = sample
    return ChosenFrames(samples, _read_settings(settings_path(path)), sha.hexdigest())


def _parse(line: bytes, where: str) -> Sample:
    try:
        sample = Sample(**parse_json(line.decode("utf-8"), where))
    except (UnicodeDecodeError, TypeError) as error:
        raise DataError(f"{where}: not the frames of a video ({error}).") from error
    if problem := _problem(sample):
        raise DataError(f"{where}: not the frames of a video ({problem}).")
    return sample


def _problem(sample: Sample) -> str | None:
    if not all(isinstance(text, str) and text for text in (sample.item_id, sample.sampler)):
        return "item_id and sampler must be texts"
    frames = sample.frames
    if not isinstance(frames, list) or not frames or not all(type(n) is int and 0 <= n < 1 << 62 for n in frames):
        return "the frames must be a list of frame numbers"
    if any(one >= other for one, other in pairwise(frames)):
        return "the frames must ascend"
    for values in (sample.times, sample.similarity or [0] * len(frames)):
        if not isinstance(values, list) or len(values) != len(frames):
            return "each frame must have a time, and a similarity where there is any"
    return None


def _read_settings(path: Path) -> dict[str, Any]:
    settings = read_json(path)
    needed = ["short_side", *(field.name for field in fields(Sampling))]
    missing = sorted(set(needed) - set(settings)) if isinstance(settings, dict) else needed
    if missing:
        raise DataError(f"`{path}` does not say how frames were chosen: it lacks `{missing[0]}`; make it anew.")
    for name in needed:
        if name != "sampler" and (type(settings[name]) is not int or not 0 <= settings[name] < 1 << 62):
            raise DataError(f"`{path}`: `{name}` is {settings[name]!r} and no whole number; make it anew.")
    try:
        Sampling(**{field.name: settings[field.name] for field in fields(Sampling)})
    except (ConfigError, TypeError) as error:
        raise DataError(f"`{path}` does not say how frames were chosen ({error}); make it anew.") from error
    return settings
