"""What all sides of the comparison with peers do alike. It runs in their environments: NumPy is all it needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median
from time import perf_counter
from typing import Any, TypeVar

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

    def sasrec_options(self) -> dict[str, Any]:
        """As options of SASRec, which ours and RecBole's call alike."""
        return {
            "MAX_ITEM_LIST_LENGTH": self.length,
            "hidden_size": self.width,
            "inner_size": self.width,
            "hidden_act": "relu",
            "n_layers": self.blocks,
            "n_heads": self.heads,
            "hidden_dropout_prob": self.dropout,
            "attn_dropout_prob": self.dropout,
            "learning_rate": self.learning_rate,
            "weight_decay": 0.0,
            "seed": self.seed,
        }


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

    @property
    def valid_targets(self) -> np.ndarray:
        """The item to find for each user in validation, [U]."""
        return self.items[self.start[1:] - 2]

    def without_last(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """User numbers [A'] and items [A'] of all actions but each user's last ``n``."""
        users = np.repeat(np.arange(self.n_users), np.diff(self.start))
        kept = np.arange(len(users)) < self.start[users + 1] - n
        return users[kept], self.items[kept]

    def histories(self, n: int = 1) -> list[list[int]]:
        """Each user's items but the last ``n``."""
        pairs = zip(self.start[:-1], self.start[1:] - n, strict=True)
        return [self.items[start:end].tolist() for start, end in pairs]

    def windows(self, length: int) -> list[np.ndarray]:
        """What protocol recbole trains on: each user's items but the last two, cut from their end.

        A window has at most ``length`` + 1 items and shares one with its neighbour, so that every item after a user's
        first is a target once. The last window of user u is the u-th, those before it follow after all users.
        """
        last, others = [], []
        for items in map(np.array, self.histories(2)):
            ends = range(len(items), 1, -length)
            cut = [items[max(end - length - 1, 0) : end] for end in ends]
            last.append(cut[0] if cut else items)
            others += cut[1:]
        return last + others

    def rows_of_step(self, setting: Setting) -> int:
        """Targets of a step that trains ``setting.batch`` windows, on average."""
        return round(setting.batch * self.n_targets / len(self.windows(setting.length)))


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


class EpochChoice:
    """Validates after each epoch and keeps the test lists of the one that validates best, in the same way for all.

    Attributes:
        curve: Validation NDCG@10 after each epoch.
    """

    def __init__(self, data: Sequences, lists_of: Callable[[int], np.ndarray], path: str) -> None:
        """``lists_of(n)`` are lists, [U, k], after all but each user's last ``n`` items; the best go to ``path``."""
        self._data, self._lists_of, self._path = data, lists_of, path
        self.curve: list[float] = []

    def end_epoch(self) -> None:
        """An epoch has ended."""
        found = quality(self._lists_of(2), self._data.valid_targets)["ndcg@10"]
        if found > max(self.curve, default=-1.0):
            np.save(self._path, self._lists_of(1))
        self.curve.append(found)


def write_lists(path: str | Path, users: Sequence[int], ranks: Sequence[int], items: Sequence[int], k: int) -> None:
    """Write :func:`as_lists`."""
    np.save(path, as_lists(users, ranks, items, k))


def as_lists(users: Sequence[int], ranks: Sequence[int], items: Sequence[int], k: int) -> np.ndarray:
    """The best items of each user as [U', k] int64, 0 where there are fewer, from rows of a table."""
    lists = np.zeros((int(np.max(users)) + 1, k), np.int64)
    lists[np.asarray(users), np.asarray(ranks) - 1] = items
    return lists


def quality(lists: np.ndarray, targets: np.ndarray, k: int = 10) -> dict[str, float]:
    """HR and NDCG at ``k`` of lists [U, >= k] with one right answer each, [U]; the same for all sides."""
    is_hit = lists[:, :k] == targets[:, None]
    gain = is_hit / np.log2(np.arange(k) + 2)
    return {"hr@10": float(is_hit.any(axis=1).mean()), "ndcg@10": float(gain.sum(axis=1).mean())}
