"""The evaluation protocols: which actions of a user train, validate and test; and their options.

``microlens`` and ``recbole`` leave two actions of each user out. They differ in which actions count at all, and in
whether a user's history is ranked (``mask_history``). ``temporal`` cuts the time that all users share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recbole_video.errors import ConfigError, DataError
from recbole_video.options.option import option
from recbole_video.options.run import RunOptions, is_number

_ELSEWHERE = (("protocol", "microlens"), ("protocol", "recbole"))


@dataclass(frozen=True)
class ProtocolOptions(RunOptions):
    """How sequences are cut, split and scored."""

    protocol: Literal["microlens", "recbole", "temporal"] = option(
        "microlens", "microlens, recbole or temporal: how sequences are cut, split and scored.", section="Data"
    )
    MAX_ITEM_LIST_LENGTH: int = option(10, "L, the longest history that a model reads.", at_least=1)
    min_sequence_length: int = option(
        5,
        "protocol microlens: users with fewer actions are left out.",
        at_least=3,
        must="must be at least 3: one action to train, one to validate and one to test",
    )
    mask_history: bool | None = option(
        None, "Rank nothing that the user has seen but the target; empty: as the protocol has it."
    )
    temporal_cut: list[float] | float = option(
        [0.8, 0.9],
        "protocol temporal: where validation and test begin, as shares of all actions or as times of the data.",
        kind="float or list of float",
        by_hand=True,
        void_when=_ELSEWHERE,
    )
    temporal_target: Literal["last", "first", "all", "random"] = option(
        "last",
        "protocol temporal: last, first, all or random: which actions after a cut are targets.",
        void_when=_ELSEWHERE,
    )
    temporal_valid: Literal["cut", "last_training"] = option(
        "cut",
        "protocol temporal: cut (the first of two), or last_training (of each user's actions before the one cut).",
        void_when=_ELSEWHERE,
    )
    temporal_seed: int = option(0, "protocol temporal: seed of temporal_target=random.", void_when=_ELSEWHERE)

    def check(self) -> None:
        super().check()
        if self.protocol == "temporal":
            TemporalRule.of(vars(self))


@dataclass(frozen=True)
class TemporalRule:
    """How the protocol ``temporal`` splits.

    Attributes:
        cuts: One or two, ascending: where the test begins, and before it, where there are two, where validation does.
            A number between 0 and 1 is a share of all actions, any other a time.
        target: Which of a user's actions after a cut are targets: ``last``, ``first``, ``all``, or one at ``random``.
        valid: ``cut``, or ``last_training``.
        seed: Of the random targets.
    """

    cuts: tuple[float, ...]
    target: str = "last"
    valid: str = "cut"
    seed: int = 0

    @classmethod
    def of(cls, config: Any) -> TemporalRule:
        """The rule that options ask for.

        Raises:
            ConfigError: If the cuts are no numbers, not in order, or not as many as the validation rule needs.
        """
        given, valid = config["temporal_cut"], config["temporal_valid"]
        cuts = given if isinstance(given, (list, tuple)) else [given]
        if not cuts or not all(is_number(cut) and np.isfinite(cut) for cut in cuts):
            raise ConfigError(
                f"`temporal_cut` is `{given}`; it must be one or two numbers, shares of all actions between 0 and 1 or "
                "times of the data, such as [0.8, 0.9]."
            )
        if len(cuts) != (2 if valid == "cut" else 1):
            wanted = (
                "two, where validation and where the test begins" if valid == "cut" else "one, where the test begins"
            )
            raise ConfigError(
                f"`temporal_cut` is `{given}`, and temporal_valid={valid} needs {wanted}; change one of them."
            )
        return cls(tuple(map(float, cuts)), config["temporal_target"], valid, config["temporal_seed"])

    def cut_times(self, times: np.ndarray) -> tuple[float, ...]:
        """The time of each cut: of a share, that of the action which so large a part of all actions stands before.

        Raises:
            DataError: If they are not in ascending order.
        """
        ordered = np.sort(times)
        found = tuple(float(ordered[int(cut * len(times))]) if 0 < cut < 1 else cut for cut in self.cuts)
        if found[0] >= found[-1] and len(found) > 1:
            raise DataError(
                f"`temporal_cut` asks for validation from {found[0]:.15g} and for a test from {found[1]:.15g} on, in "
                "the times of the data, which leaves nothing between; choose cuts farther apart."
            )
        return found


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
    """Training sequences, and the histories whose next action validates and tests.

    Attributes:
        train: The sequences.
        valid: Histories before validation targets.
        test: Histories before test targets.
        cuts: protocol temporal: the times of the cuts.
        n_without_history: protocol temporal: targets left out of each part, since no action stands before them.
    """

    train: Rows
    valid: Rows
    test: Rows
    cuts: tuple[float, ...] = ()
    n_without_history: tuple[int, int] = (0, 0)


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


def split_temporal(lengths: np.ndarray, times: np.ndarray, max_history: int, rule: TemporalRule) -> Split:
    """What happened before the cuts trains; targets stand between and behind them.

    An action at the very time of a cut is behind it. A history is all that its user did before the target, behind the
    cut as well: it is what a model is asked about, and nothing is learned from it. A target without any history is left
    out. With ``last_training``, a user's last action before the cut validates, where two before it are left to train.

    Args:
        lengths: [users], actions of each user.
        times: [A], of all actions, by user and ascending.
        max_history: L.
        rule: The cuts and which actions are targets.

    Raises:
        DataError: If the cuts leave nothing between them.
    """
    cuts = rule.cut_times(times)
    first = np.cumsum(lengths) - lengths
    tested = first + np.add.reduceat(times < cuts[-1], first)
    random = np.random.default_rng(rule.seed)
    if rule.valid == "cut":
        trained = np.add.reduceat(times < cuts[0], first)
        valid, n_valid_lost = _targets(first, first + trained, tested, rule.target, max_history, random)
    else:
        trained = tested - first - (tested - first >= 3)
        has_valid = trained < tested - first
        valid, n_valid_lost = _history(first[has_valid], trained[has_valid], max_history), 0
    test, n_test_lost = _targets(first, tested, first + lengths, rule.target, max_history, random)
    return Split(_windows(first, trained, max_history), valid, test, cuts, (n_valid_lost, n_test_lost))


def _targets(
    first: np.ndarray,
    start: np.ndarray,
    stop: np.ndarray,
    which: str,
    max_history: int,
    random: np.random.Generator,
) -> tuple[Rows, int]:
    """Histories of the targets among each user's actions from ``start`` up to ``stop``, and targets without any."""
    number = stop - start
    drawn = (random.random(len(number)) * number).astype(np.int64)  # of all users, so that one more changes no other's
    some = number > 0
    first, start, stop, number, drawn = (part[some] for part in (first, start, stop, number, drawn))
    if which == "all":
        within = np.arange(number.sum()) - np.repeat(np.cumsum(number) - number, number)
        first, target = np.repeat(first, number), np.repeat(start, number) + within
    else:
        target = {"first": start, "last": stop - 1, "random": start + drawn}[which]
    has_history = target > first
    rows = _history(first[has_history], (target - first)[has_history], max_history)
    return rows, int((~has_history).sum())


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
class Sequences:
    """What a protocol splits.

    Attributes:
        lengths: [users] int64, kept actions of each user.
        times: [A] float64, of the kept actions, by user and ascending; None where only their order is known.
        max_history: L.
    """

    lengths: np.ndarray
    times: np.ndarray | None
    max_history: int


def _split_by_time(sequences: Sequences, config: Any) -> Split:
    if sequences.times is None:
        raise DataError(
            f"`{config['dataset']}` has no times, only the order of each user's actions, so that no time can cut it; "
            "use protocol=recbole or microlens."
        )
    return split_temporal(sequences.lengths, sequences.times, sequences.max_history, TemporalRule.of(config))


@dataclass(frozen=True)
class Protocol:
    """A named pair of functions: which actions are kept, and how they are split by the options of a run.

    Attributes:
        keep: bool [A] of the lengths, the longest history and the shortest sequence.
        split: What trains, validates and tests.
        masks_history: Whether a user's own history is not ranked, by default.
        knows_later_items: Whether training may name items without a training action, as losses over the catalogue do.
        advice: What to do where a part is empty.
    """

    keep: Callable[[np.ndarray, int, int], np.ndarray]
    split: Callable[[Sequences, Any], Split]
    masks_history: bool = False
    knows_later_items: bool = True
    advice: str = "no user has enough actions"


PROTOCOLS = {
    "microlens": Protocol(
        keep_microlens, lambda given, _: split_microlens(given.lengths, given.max_history), masks_history=True
    ),
    "recbole": Protocol(keep_all, lambda given, _: split_recbole(given.lengths, given.max_history)),
    "temporal": Protocol(
        keep_all, _split_by_time, knows_later_items=False, advice="move temporal_cut, since no user's actions fit"
    ),
}
