"""Which frames of a video are decoded, and which of those are kept.

A frame's number counts from 0 in the order of presentation. A frame is shown from its own time until that of the next
one, so "the frame at time t" is the last that starts at or before t: right for variable frame rates as well. All of
this is in exact integers.

``mid5``, ``uniform`` and ``random`` know their frames from the timeline alone. ``resample`` (CVA, section on frame
sampling) decodes the middle frame of 100 equal segments, scores each against the video's title with CLIP, and keeps
the N best, back in time order. What is random belongs to the item, so that no result depends on the order of the work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from recbole_video.errors import ConfigError, nearest

RESAMPLE = "resample"
RANDOM = "random"


@dataclass(frozen=True)
class Timeline:
    """When each frame of a video is shown.

    Attributes:
        ticks: Start of each frame, int64 [n], ascending.
        end: Tick at which the last frame ends.
        tick_seconds: Length of a tick.
        has_pts: Whether frames carry these times; without, they are known by counting alone (AVI).
    """

    ticks: np.ndarray
    end: int
    tick_seconds: Fraction
    has_pts: bool = True

    @classmethod
    def of_frames(
        cls, starts: Sequence[int], lengths: Sequence[int], tick_seconds: Fraction, rate: Fraction | None, has_pts: bool
    ) -> Timeline:
        """From the start and the length of each frame in ticks, in any order.

        Where the last frame's length is 0, which is not known, it is the usual distance of two frames; of a single
        frame it follows from the rate, in frames per second, by default 25.
        """
        order = np.argsort(starts, kind="stable")
        ticks, keep = np.unique(np.asarray(starts, np.int64)[order], return_index=True)
        last = int(np.asarray(lengths, np.int64)[order][keep][-1])
        if not last and len(ticks) > 1:
            last = int(np.median(np.diff(ticks)))
        elif not last:
            last = max(1, round(1 / ((rate or Fraction(25)) * tick_seconds)))
        return cls(ticks, int(ticks[-1]) + last, tick_seconds, has_pts)

    def __len__(self) -> int:
        return len(self.ticks)

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last."""
        return float((self.end - int(self.ticks[0])) * self.tick_seconds)

    def seconds(self, numbers: np.ndarray) -> np.ndarray:
        """Start of some frames after the start of the video, float64 in seconds."""
        return (self.ticks[numbers] - self.ticks[0]) * float(self.tick_seconds)


def segment_middles(timeline: Timeline, n_segments: int) -> np.ndarray:
    """The frame at the middle of each of ``n_segments`` equally long parts of the video.

    Returns:
        Distinct frame numbers, ascending: fewer than ``n_segments`` where a frame is the middle one
        of several segments.
    """
    start = int(timeline.ticks[0])
    odd = 2 * np.arange(n_segments, dtype=np.int64) + 1
    middles = start + (timeline.end - start) * odd // (2 * n_segments)
    return np.unique(np.searchsorted(timeline.ticks, middles, side="right") - 1)


def middle_frames(timeline: Timeline, n_frames: int) -> np.ndarray:
    """``n_frames`` consecutive frames around the middle one; all of a video that has no more."""
    n_taken = min(n_frames, len(timeline))
    first = (len(timeline) - n_taken) // 2
    return np.arange(first, first + n_taken)


def random_frames(timeline: Timeline, n_frames: int, n_segments: int, rng: np.random.Generator) -> np.ndarray:
    """Some of the segments' middle frames at random, ascending."""
    candidates = segment_middles(timeline, n_segments)
    return np.sort(rng.choice(candidates, min(n_frames, len(candidates)), replace=False))


def item_rng(seed: int, item_id: str, purpose: str) -> np.random.Generator:
    """The random stream of one item for one purpose."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{item_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


@dataclass(frozen=True)
class Sampling:
    """The settings by which frames are chosen.

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


def _random(timeline: Timeline, sampling: Sampling, item_id: str) -> np.ndarray:
    rng = item_rng(sampling.seed, item_id, "frames")
    return random_frames(timeline, sampling.n_frames, sampling.n_candidates, rng)


# Timeline, settings and item token -> numbers of the frames to decode, distinct and ascending.
SAMPLERS: dict[str, Callable[[Timeline, Sampling, str], np.ndarray]] = {
    "mid5": lambda timeline, sampling, item_id: middle_frames(timeline, sampling.n_frames),
    "uniform": lambda timeline, sampling, item_id: segment_middles(timeline, sampling.n_frames),
    RANDOM: _random,
    RESAMPLE: lambda timeline, sampling, item_id: segment_middles(timeline, sampling.n_candidates),
}


def best(similarity: np.ndarray, n_frames: int) -> np.ndarray:
    """Positions of the most similar frames in time order; of equals the earlier one.

    Args:
        similarity: [n], one value per candidate.
        n_frames: How many to keep.
    """
    return np.sort(np.argsort(-similarity, kind="stable")[:n_frames])
