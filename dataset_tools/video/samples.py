"""What comes of a video: chosen frames and their embeddings, or a failure; and reading the chosen frames of a run.

On disk, chosen frames are JSON lines, one per video; beside them lies how they were chosen.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.video.failures import TRANSIENT, Failure
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
        similarity: Similarity of each frame to the title; None where none was measured.
    """

    item_id: str
    sampler: str
    frames: list[int]
    times: list[float]
    similarity: list[float] | None


@dataclass(frozen=True)
class Finished:
    """A video that is done with, one way or the other.

    Attributes:
        item_id: Item token.
        size: Bytes of the file that was read.
        sample: The chosen frames; None where the video failed.
        embeddings: Their embeddings, float16 [n, D]; None where the video failed or none were made.
        failure: Why the video failed.
    """

    item_id: str
    size: int
    sample: Sample | None = None
    embeddings: np.ndarray | None = None
    failure: Failure | None = None

    @property
    def may_pass(self) -> bool:
        """Whether it failed by what may have been the machine's fault."""
        return self.failure is not None and self.failure.reason in TRANSIENT


@dataclass(frozen=True)
class ChosenFrames:
    """The frames that an earlier run chose.

    Attributes:
        samples: Item token -> sample.
        settings: How they were chosen, as plain values.
        sha256: SHA-256 of the file of samples.
    """

    samples: dict[str, Sample]
    settings: dict[str, Any]
    sha256: str

    @property
    def sampling(self) -> Sampling:
        """The settings by which the frames were chosen."""
        return Sampling(**{field.name: self.settings[field.name] for field in fields(Sampling)})

    @property
    def short_side(self) -> int:
        """Pixels of the decoded pictures' shorter side."""
        return int(self.settings["short_side"])


def settings_path(samples: Path) -> Path:
    """Where it stands how samples were chosen."""
    return samples.with_suffix(".json")


def read_chosen(path: Path) -> ChosenFrames:
    """Read the frames that an earlier run chose, and how it chose them.

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
    if problem := _problem_of_frames(sample.frames):
        return problem
    for values in (sample.times, *([sample.similarity] if sample.similarity else [])):
        if not isinstance(values, list) or len(values) != len(sample.frames):
            return "each frame must have a time, and a similarity where there is any"
    return None


def _problem_of_frames(frames: Any) -> str | None:
    if not isinstance(frames, list) or not frames or not all(map(_is_whole, frames)):
        return "the frames must be a list of frame numbers"
    return "the frames must ascend" if any(one >= other for one, other in pairwise(frames)) else None


def _is_whole(value: Any) -> bool:
    """Whether a value is a whole number that is not negative, and that 64 bits hold."""
    return type(value) is int and 0 <= value < 1 << 62


def _read_settings(path: Path) -> dict[str, Any]:
    settings = read_json(path)
    needed = ["short_side", *(field.name for field in fields(Sampling))]
    missing = sorted(set(needed) - set(settings)) if isinstance(settings, dict) else needed
    if missing:
        raise DataError(f"`{path}` does not say how frames were chosen: it lacks `{missing[0]}`; make it anew.")
    for name in needed:
        if name != "sampler" and not _is_whole(settings[name]):
            raise DataError(f"`{path}`: `{name}` is {settings[name]!r} and no whole number; make it anew.")
    try:
        Sampling(**{field.name: settings[field.name] for field in fields(Sampling)})
    except (ConfigError, TypeError) as error:
        raise DataError(f"`{path}` does not say how frames were chosen ({error}); make it anew.") from error
    return settings
