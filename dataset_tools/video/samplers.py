"""Samplers: which frames of a video are decoded, and which of those are kept.

``mid5``, ``uniform`` and ``random`` know their frames from the timeline alone. ``resample`` (CVA, section
on frame sampling) decodes the middle frame of 100 equal segments, scores each against the video's
title with CLIP, and keeps the N best, back in time order.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from recbole_video.dataset_tools.video.seeds import item_rng
from recbole_video.dataset_tools.video.times import Timeline, middle_frames, random_frames, segment_middles

from recbole_video.errors import ConfigError, nearest

RESAMPLE = "resample"
RANDOM = "random"


@dataclass(frozen=True)
class Sampling:
    """How frames are chosen.

    Attributes:
        sampler: A key of :data:`SAMPLERS`.
        n_frames: N, frames to keep per video.
        n_candidates: Segments whose middle frames ``resample`` and ``random`` choose from.
        seed: Seed of ``random``.

    Raises:
        ConfigError: If the sampler is unknown or a number is out of range.
    """

    sampler: str = RESAMPLE
    n_frames: int = 5
    n_candidates: int = 100
    seed: int = 42

    def __post_init__(self) -> None:
        if self.sampler not in SAMPLERS:
            raise ConfigError(
                f"`{self.sampler}` is no sampler{nearest(self.sampler, SAMPLERS)}; there are {', '.join(SAMPLERS)}."
            )
        if self.n_frames < 1:
            raise ConfigError(f"n_frames is {self.n_frames}; it must be at least 1.")
        if self.sampler in (RESAMPLE, RANDOM) and self.n_candidates < self.n_frames:
            raise ConfigError(
                f"n_candidates ({self.n_candidates}) must not be less than n_frames ({self.n_frames}); raise it."
            )


def _mid5(timeline: Timeline, sampling: Sampling, item_id: str) -> np.ndarray:
    return middle_frames(timeline, sampling.n_frames)


def _uniform(timeline: Timeline, sampling: Sampling, item_id: str) -> np.ndarray:
    return segment_middles(timeline, sampling.n_frames)


def _random(timeline: Timeline, sampling: Sampling, item_id: str) -> np.ndarray:
    rng = item_rng(sampling.seed, item_id, "frames")
    return random_frames(timeline, sampling.n_frames, sampling.n_candidates, rng)


def _resample(timeline: Timeline, sampling: Sampling, item_id: str) -> np.ndarray:
    return segment_middles(timeline, sampling.n_candidates)


# Timeline, settings and item token -> numbers of the frames to decode, distinct and ascending.
SAMPLERS: dict[str, Callable[[Timeline, Sampling, str], np.ndarray]] = {
    "mid5": _mid5,
    "uniform": _uniform,
    RANDOM: _random,
    RESAMPLE: _resample,
}


def best(similarity: np.ndarray, n_frames: int) -> np.ndarray:
    """Positions of the most similar frames in time order; of equals the earlier one.

    Args:
        similarity: [n], one value per candidate.
        n_frames: How many to keep.
    """
    return np.sort(np.argsort(-similarity, kind="stable")[:n_frames])
