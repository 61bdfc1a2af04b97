"""What the author of a video had posted before it: never after it, and of training videos alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from recbole_video.errors import CheckpointError

_FIELDS = ("authors", "counts", "times", "labels")


class AuthorHistory:
    """The training videos of each author in the order of their times.

    Args:
        authors: Author of each training video, object [N]; an empty text is no author.
        times: When it was posted, float64 [N]; NaN where that is not known, and the video does not count.
        labels: Its popularity, float64 [N].
    """

    def __init__(self, authors: np.ndarray, times: np.ndarray, labels: np.ndarray) -> None:
        known = np.flatnonzero(~np.isnan(times) & (authors != ""))
        order = known[np.lexsort((times[known], authors[known].astype(str)))]
        self._authors, counts = np.unique(authors[order].astype(str), return_counts=True)
        self._times = np.split(times[order], np.cumsum(counts)[:-1])
        self._labels = np.split(labels[order].astype(np.float64), np.cumsum(counts)[:-1])
        sums = (np.r_[0.0, np.cumsum(values)] for values in self._labels)
        self._past = dict(zip(self._authors.tolist(), zip(self._times, sums, strict=False), strict=False))

    def before(self, authors: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What came before some videos, those of the same time left out.

        Args:
            authors: object [M].
            times: float64 [M]; NaN where that is not known.

        Returns:
            Number of training videos of the author before each, float64 [M], NaN where its time is not known; and the
            mean of their labels, NaN where there are none.
        """
        counts, means = np.zeros(len(authors)), np.full(len(authors), np.nan)
        counts[np.isnan(times)] = np.nan
        for row in np.flatnonzero(~np.isnan(times)):
            if (past := self._past.get(str(authors[row]))) is not None:
                n = int(np.searchsorted(past[0], times[row], side="left"))
                counts[row] = n
                means[row] = past[1][n] / n if n else np.nan
        return counts, means

    def __contains__(self, author: object) -> bool:
        return author in self._past

    def __len__(self) -> int:
        return sum(map(len, self._times))

    def state(self) -> dict[str, Any]:
        """Plain values that :meth:`from_state` reads: times and labels of one author after the other."""
        return {
            "authors": self._authors.tolist(),
            "counts": [len(times) for times in self._times],
            "times": [float(time) for times in self._times for time in times],
            "labels": [float(label) for labels in self._labels for label in labels],
        }

    @classmethod
    def from_state(cls, state: Any) -> AuthorHistory:
        """A history as it was when :meth:`state` was called.

        Raises:
            CheckpointError: If the values are not of that form.
        """
        if not isinstance(state, Mapping) or not all(isinstance(state.get(name), list) for name in _FIELDS):
            raise CheckpointError("The author history of the checkpoint is not of the form that a run writes.")
        authors, counts, times, labels = (state[name] for name in _FIELDS)
        is_sound = (
            all(isinstance(author, str) for author in authors)
            and all(isinstance(n, int) and 0 < n <= len(times) for n in counts)
            and all(isinstance(x, (int, float)) and math.isfinite(x) for x in (*times, *labels))
        )
        if not is_sound or (len(counts), sum(counts), len(labels)) != (len(authors), len(times), len(times)):
            raise CheckpointError("The author history of the checkpoint does not agree with itself; it is damaged.")
        repeated = np.repeat(np.array(authors, dtype=object), counts)
        return cls(repeated, np.array(times, dtype=np.float64), np.array(labels, dtype=np.float64))
