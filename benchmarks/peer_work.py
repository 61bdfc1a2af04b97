"""What all sides of the comparison with peers do alike. It runs in their environments: NumPy is all it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import TypeVar

import numpy as np

_WARMUP = 4  # steps
T = TypeVar("T")


@dataclass(frozen=True)
class Setting:
    """A model and its training, the same on all sides.

    Attributes:
        width: d, of item vectors, hidden states and inside the feed-forward layers.
        length: L, the longest history that the model reads.
        batch: Users of a step.
        n_steps: Steps of an epoch that are trained, of which the median is multiplied; None for all.
        repeats: How often the lists are made; the median counts.
        n_slow: Users that a peer without batches makes lists for, multiplied; None for all.
    """

    width: int
    length: int
    batch: int
    dropout: float
    epochs: int
    n_steps: int | None
    repeats: int
    n_slow: int | None
    heads: int = 2
    blocks: int = 2
    learning_rate: float = 0.001
    seed: int = 42
    k: int = 20


@dataclass(frozen=True)
class Sequences:
    """The actions that every side is given, users one after the other, oldest action first.

    Attributes:
        items: [A] int64 item ids from 1.
        start: [U + 1] int64, the first action of each user; the last but one validates (unused), the last tests.
    """

    items: np.ndarray
    start: np.ndarray

    @classmethod
    def read(cls, path: str) -> Sequences:
        with np.load(path) as file:
            return cls(file["items"], file["start"])

    def write(self, path: str) -> None:
        np.savez(path, items=self.items, start=self.start)

    @property
    def n_users(self) -> int:
        return len(self.start) - 1

    @property
    def n_targets(self) -> int:
        """Training targets: all actions but each user's first and last two."""
        return len(self.items) - 3 * self.n_users

    @property
    def targets(self) -> np.ndarray:
        """The item to find for each user, [U]."""
        return self.items[self.start[1:] - 1]

    def without_last(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """User numbers [A'] and items [A'] of all actions but each user's last ``n``."""
        users = np.repeat(np.arange(self.n_users), np.diff(self.start))
        kept = np.arange(len(users)) < self.start[users + 1] - n
        return users[kept], self.items[kept]

    def histories(self) -> list[list[int]]:
        """Each user's items but the last."""
        pairs = zip(self.start[:-1], self.start[1:] - 1, strict=True)
        return [self.items[start:end].tolist() for start, end in pairs]


class StepClock:
    """Notes when each epoch begins, when each of its steps does, and when the epoch ends."""

    def __init__(self) -> None:
        self.epochs: list[list[float]] = []

    def begin(self) -> None:
        """An epoch begins; nothing of it has been loaded yet."""
        self.epochs.append([perf_counter()])

    def stamp(self) -> None:
        """A step begins, or the last one has ended."""
        self.epochs[-1].append(perf_counter())

    def epoch_seconds(self, n_steps: int) -> float:
        """Mean seconds of a whole epoch; of one that was cut short, those of the median step times ``n_steps``."""
        if all(len(stamps) == n_steps + 2 for stamps in self.epochs):
            return fmean(stamps[-1] - stamps[0] for stamps in self.epochs)
        return float(np.median(np.diff(self.epochs[0])[1 + _WARMUP :])) * n_steps


def timed(make: Callable[[], T], repeats: int) -> tuple[float, T]:
    """Median seconds of ``make()``, and what it returned the last time."""
    seconds = []
    for _ in range(repeats):
        started = perf_counter()
        made = make()
        seconds.append(perf_counter() - started)
    return median(seconds), made


def write_lists(path: str | Path, users: Sequence[int], ranks: Sequence[int], items: Sequence[int], k: int) -> None:
    """Write the best items of each user as [U', k] int64, 0 where there are fewer, from rows of a table."""
    lists = np.zeros((int(np.max(users)) + 1, k), np.int64)
    lists[np.asarray(users), np.asarray(ranks) - 1] = items
    np.save(path, lists)


def quality(lists: np.ndarray, targets: np.ndarray, k: int = 10) -> dict[str, float]:
    """HR and NDCG at ``k`` of lists [U, >= k] with one right answer each, [U]; the same for all sides."""
    is_hit = lists[:, :k] == targets[:, None]
    gain = is_hit / np.log2(np.arange(k) + 2)
    return {"hr@10": float(is_hit.any(axis=1).mean()), "ndcg@10": float(gain.sum(axis=1).mean())}
