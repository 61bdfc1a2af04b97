"""The evaluation protocols: which actions of a user train, validate and test.

Both are leave-two-out. They differ in which actions count at all, and in whether a user's history
is ranked (``mask_history``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Rows:
    """Slices of the actions sorted by user and time.

    Attributes:
        start: [R] int64, first action of each slice.
        length: [R] int64, number of actions.
        first: [R] int64, the first action of the slice's user that the protocol keeps.
    """

    start: np.ndarray
    length: np.ndarray
    first: np.ndarray

    def __len__(self) -> int:
        return len(self.start)

    @property
    def end(self) -> np.ndarray:
        """[R] int64, the action right after each slice."""
        return self.start + self.length

    def take(self, index: np.ndarray) -> Rows:
        return Rows(self.start[index], self.length[index], self.first[index])


@dataclass(frozen=True)
class Split:
    """Training sequences, and the histories whose next action validates and tests."""

    train: Rows
    valid: Rows
    test: Rows


def keep_microlens(lengths: np.ndarray, max_history: int, min_length: int) -> np.ndarray:
    """Actions that the MicroLens protocol keeps of users with ``lengths: [users]`` actions.

    The last L + 3 actions of each user with at least ``min_length``; bool [sum of lengths].
    """
    enough = np.repeat(lengths >= min_length, lengths)
    from_end = np.repeat(np.cumsum(lengths), lengths) - np.arange(lengths.sum())
    return enough & (from_end <= max_history + 3)


def split_microlens(lengths: np.ndarray, max_history: int) -> Split:
    """Last action tests, last but one validates, the at most L + 1 before them train."""
    start = np.cumsum(lengths) - lengths
    return Split(
        train=_windows(start, lengths - 2, max_history),
        valid=_history(start, lengths - 2, max_history),
        test=_history(start, lengths - 1, max_history),
    )


def keep_all(lengths: np.ndarray, max_history: int, min_length: int) -> np.ndarray:
    """RecBole keeps every action; bool [sum of lengths], all true."""
    return np.ones(lengths.sum(), dtype=bool)


def split_recbole(lengths: np.ndarray, max_history: int) -> Split:
    """RecBole's ``LS: valid_and_test`` on its prefix rows, with the same targets in each part.

    A user's first two actions always train; the last tests from three actions on, and the last
    but one validates from four on. Sequences of more than L + 1 actions are cut, from their end,
    into windows that share one action, so that every action after the first is a target once.
    """
    start = np.cumsum(lengths) - lengths
    has_valid, has_test = lengths >= 4, lengths >= 3
    trained = lengths - has_valid - has_test
    return Split(
        train=_windows(start, trained, max_history),
        valid=_history(start[has_valid], lengths[has_valid] - 2, max_history),
        test=_history(start[has_test], lengths[has_test] - 1, max_history),
    )


def _history(first: np.ndarray, length: np.ndarray, max_history: int) -> Rows:
    """The last ``max_history`` of the ``length`` actions from ``first``."""
    kept = np.minimum(length, max_history)
    return Rows(first + length - kept, kept, first)


def _windows(first: np.ndarray, length: np.ndarray, max_history: int) -> Rows:
    """Cut sequences into windows of at most L + 1 actions, neighbours sharing one action."""
    some = length >= 2
    first, length = first[some], length[some]
    n_windows = -(-(length - 1) // max_history)
    sequence = np.repeat(np.arange(len(first)), n_windows)
    from_end = np.arange(len(sequence)) - np.repeat(np.cumsum(n_windows) - n_windows, n_windows)
    end = (first + length)[sequence] - from_end * max_history
    start = np.maximum(end - max_history - 1, first[sequence])
    return Rows(start, end - start, first[sequence])


@dataclass(frozen=True)
class Protocol:
    """A named pair of functions: which actions are kept, and how they are split."""

    keep: Callable[[np.ndarray, int, int], np.ndarray]
    split: Callable[[np.ndarray, int], Split]


PROTOCOLS = {
    "microlens": Protocol(keep_microlens, split_microlens),
    "recbole": Protocol(keep_all, split_recbole),
}
