"""From a video's timeline to frame numbers, in exact integers.

A frame's number counts from 0 in the order of presentation. A frame is shown from its own time until
that of the next one, so "the frame at time t" is the last that starts at or before t: right for
variable frame rates as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np


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
