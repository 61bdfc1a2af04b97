"""How ids of a table and of media files agree, told by durations, and the map between them that fits best.

Media files that were numbered anew after some were lost are shifted against the ids of the table, by one number over
long runs of ids. A duration alone leads to no file, since many videos are equally long; a run of ids whose durations
are those of the files so many numbers on does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from recbole_video.errors import DataError, counted

SHIFTS = (0, 1, 2, 3, -1, -2, -3)  # of two that fit alike, the first
# Numbers so far off that a file of theirs has nothing to do with the video: what agrees there, agrees by chance.
_FAR = tuple(range(50, 60))
_UNKNOWN = 0.5  # cost of a file that is not there, or does not say how long it is; of one that disagrees, 1
_CHANGE = 3.0  # of a shift from one video to the next: several videos must speak for it


@dataclass(frozen=True)
class Run:
    """Consecutive ids of the table with one shift.

    Attributes:
        first: The first id.
        last: The last id.
        shift: What is to be added to an id for the number of its file.
        videos: Ids in the run.
        confirmed: Those whose file is as long as the table says.
    """

    first: int
    last: int
    shift: int
    videos: int
    confirmed: int


@dataclass(frozen=True)
class Audit:
    """What the durations tell.

    Attributes:
        videos: Ids with a duration in the table.
        agree: Shift -> ids whose file at that shift is as long as the table says.
        compared: Shift -> ids that have a file there.
        chance: Share of the files of far numbers that agree; NaN where there are none.
        runs: The proposed shifts.
        media: The proposed map: id -> number of the file, for confirmed ids alone.
    """

    videos: int
    agree: dict[int, int]
    compared: dict[int, int]
    chance: float
    runs: list[Run]
    media: dict[int, int]

    def report(self) -> str:
        """All of it but the map, as lines of text."""
        lines = ["shift   compared      agree    share"]
        for shift in sorted(self.agree):
            share = self.agree[shift] / max(1, self.compared[shift])
            lines.append(f"{shift:+5d} {self.compared[shift]:>10,} {self.agree[shift]:>10,} {share:>8.1%}")
        by_shift: Counter[int] = Counter()
        for run in self.runs:
            by_shift[run.shift] += run.confirmed
        shares = ", ".join(f"{shift:+d} {by_shift[shift] / self.videos:.1%}" for shift in sorted(by_shift))
        own, explained = self.agree[0] / self.videos, sum(by_shift.values()) / self.videos
        left = self.videos - len(self.media)
        return "\n".join(
            [
                *lines,
                f"by chance: {self.chance:.1%} of the files of far numbers agree",
                f"Of {counted(self.videos, 'video')}, {own:.1%} have a file of their own number and length; "
                f"shifts in {counted(len(self.runs), 'run')} explain {explained:.1%} ({shares}).",
                f"The map has {counted(len(self.media), 'video')}; {left:,} are not confirmed and not in it.",
            ]
        )


def audit_ids(expected: Mapping[int, float], found: Mapping[int, float], tolerance: float) -> Audit:
    """Compare the durations of a table with those of the files around each id.

    The proposed shifts cost least: 1 for a file that disagrees, 1/2 for one that is unknown, 3 for a change from one
    id to the next (Viterbi). Of these, the map takes the ids whose file agrees and is no other id's.

    Args:
        expected: Id of the table -> seconds.
        found: Number of a file -> seconds.
        tolerance: Seconds by which the two may differ.

    Raises:
        DataError: If there is nothing to compare.
    """
    ids = np.array(sorted(expected), dtype=np.int64)
    seconds = np.array([expected[i] for i in ids.tolist()], dtype=np.float64)
    near, far = (_differences(ids, seconds, found, shifts) for shifts in (SHIFTS, _FAR))
    is_known, agrees = ~np.isnan(near), near <= tolerance  # a NaN agrees with nothing
    if not is_known.any():
        raise DataError(
            "None of the videos of the table has a file within three numbers of its own; check that --videos is the "
            "folder of <media id>.mp4."
        )
    chosen = _cheapest_path(np.where(agrees, 0.0, np.where(is_known, 1.0, _UNKNOWN)))
    shift, confirmed = np.array(SHIFTS)[chosen], agrees[np.arange(len(ids)), chosen]
    return Audit(
        videos=len(ids),
        agree=dict(zip(SHIFTS, agrees.sum(axis=0).tolist(), strict=True)),
        compared=dict(zip(SHIFTS, is_known.sum(axis=0).tolist(), strict=True)),
        chance=float((far <= tolerance).sum() / n_far) if (n_far := int((~np.isnan(far)).sum())) else float("nan"),
        runs=_runs(ids, shift, confirmed),
        media=_unshared(ids[confirmed], (ids + shift)[confirmed]),
    )


def _differences(
    ids: np.ndarray, seconds: np.ndarray, found: Mapping[int, float], shifts: tuple[int, ...]
) -> np.ndarray:
    """Seconds between the table and the file at each shift, float64 [ids, shifts]; NaN where there is no file."""
    of_files = np.array([[found.get(i + shift, np.nan) for shift in shifts] for i in ids.tolist()])
    return np.abs(of_files.reshape(len(ids), len(shifts)) - seconds[:, None])


def _cheapest_path(cost: np.ndarray) -> np.ndarray:
    """The state of each row, int [rows], at the least sum of costs [rows, states] and of changes between rows."""
    states = np.arange(cost.shape[1])
    total = cost[0].copy()
    came_from = np.empty(cost.shape, dtype=np.int64)
    for row in range(1, len(cost)):
        best = int(total.argmin())
        stays = total <= total[best] + _CHANGE
        came_from[row] = np.where(stays, states, best)
        total = np.where(stays, total, total[best] + _CHANGE) + cost[row]
    path = np.empty(len(cost), dtype=np.int64)
    path[-1] = total.argmin()
    for row in range(len(cost) - 1, 0, -1):
        path[row - 1] = came_from[row, path[row]]
    return path


def _runs(ids: np.ndarray, shift: np.ndarray, confirmed: np.ndarray) -> list[Run]:
    starts = np.flatnonzero(np.r_[True, shift[1:] != shift[:-1]])
    stops = np.r_[starts[1:], len(ids)]
    return [
        Run(int(ids[start]), int(ids[stop - 1]), int(shift[start]), int(stop - start), int(confirmed[start:stop].sum()))
        for start, stop in zip(starts, stops, strict=True)
    ]


def _unshared(ids: np.ndarray, files: np.ndarray) -> dict[int, int]:
    """Id -> file, without files that two ids claim."""
    claims = Counter(files.tolist())
    return {i: file for i, file in zip(ids.tolist(), files.tolist(), strict=True) if claims[file] == 1}
