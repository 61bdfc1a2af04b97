"""Dividing items into train, valid and test: at random, by time, or as the data set's authors do."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_video.errors import ConfigError, DataError, counted

PARTS = ("train", "valid", "test")
_SEEDS = 1 << 32  # NumPy's older generator, which scikit-learn uses, takes no others
KINDS = ("random", "two_stage", "temporal", "official")


@dataclass(frozen=True)
class SplitSettings:
    """How items are divided.

    Attributes:
        kind: ``random``; ``two_stage``, as two calls of scikit-learn's ``train_test_split`` draw it;
            ``temporal``, the oldest items train and the newest test; or ``official``, the column ``split`` of
            the ``.item`` file.
        shares: The shares of train, valid and test; they sum to 1. Not for ``official``.
        seeds: One for ``random``, one for each draw of ``two_stage``.
        drawn_first: For ``two_stage``: which part the second call returns first, ``valid`` or ``test``.
    """

    kind: str = "random"
    shares: tuple[float, float, float] = (0.8, 0.1, 0.1)
    seeds: tuple[int, ...] = (42,)
    drawn_first: str = "valid"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigError(f"The split must be one of {', '.join(KINDS)}, not `{self.kind}`.")
        self._check_shares()
        self._check_seeds()
        if self.drawn_first not in PARTS[1:]:
            raise ConfigError(f"The part that is drawn first must be valid or test, not `{self.drawn_first}`.")

    def _check_shares(self) -> None:
        # Written so that NaN, which compares as false, is refused.
        is_whole = len(self.shares) == 3 and abs(sum(self.shares) - 1) < 1e-6
        if not is_whole or not all(share >= 0 for share in self.shares):
            raise ConfigError(f"The shares of train, valid and test must sum to 1, which {self.shares} do not.")

    def _check_seeds(self) -> None:
        wanted = {"random": 1, "two_stage": 2}.get(self.kind)
        if wanted and len(self.seeds) != wanted:
            raise ConfigError(f"A {self.kind} split takes {wanted} seeds, not {len(self.seeds)}.")
        for seed in self.seeds:
            if not 0 <= seed < _SEEDS:
                raise ConfigError(f"A seed of the split is {seed}; it must be from 0 to {_SEEDS - 1:,}.")
        if self.kind == "two_stage" and not self.shares[1] + self.shares[2] > 0:
            raise ConfigError("A two_stage split leaves nothing for the second draw: give valid or test a share.")


def split_items(settings: SplitSettings, times: np.ndarray, official: np.ndarray | None) -> np.ndarray:
    """The part of each item.

    Args:
        settings: How to divide.
        times: [N], without NaN for a temporal split.
        official: [N] str, the authors' split, or None where there is none.

    Returns:
        ``train``, ``valid`` or ``test`` [N].

    Raises:
        DataError: If a part that has a share is left without items, or there is no official split.
    """
    if settings.kind == "official":
        parts = _official(official)
    elif settings.kind == "two_stage":
        parts = _two_stage(len(times), settings)
    else:
        rng = np.random.default_rng(settings.seeds[0])
        order = np.argsort(times, kind="stable") if settings.kind == "temporal" else rng.permutation(len(times))
        parts = _cut(order, settings.shares)
    for part, share in zip(PARTS, settings.shares, strict=True):
        if not (parts == part).any() and (part == "train" or (share and settings.kind != "official")):
            raise DataError(f"The {part} part of {counted(len(parts), 'item')} is empty; choose another split.")
    return parts


def _cut(order: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Give the first items in ``order`` to train, the next to valid, the others to test."""
    ends = [round(len(order) * share) for share in np.cumsum(shares)]
    parts = np.empty(len(order), dtype=object)
    for part, start, end in zip(PARTS, [0, *ends], [*ends[:2], len(order)], strict=False):
        parts[order[start:end]] = part
    return parts


def _two_stage(n_items: int, settings: SplitSettings) -> np.ndarray:
    held_share = settings.shares[1] + settings.shares[2]
    train, held = _train_test_split(n_items, held_share, settings.seeds[0])
    first, second = ("valid", "test") if settings.drawn_first == "valid" else ("test", "valid")
    kept, drawn = _train_test_split(len(held), settings.shares[PARTS.index(second)] / held_share, settings.seeds[1])
    parts = np.empty(n_items, dtype=object)
    for rows, part in ((train, "train"), (held[kept], first), (held[drawn], second)):
        parts[rows] = part
    return parts


def _train_test_split(n_rows: int, test_share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows as scikit-learn's ``train_test_split(range(n_rows), test_size=test_share, random_state=seed)``."""
    order = np.random.RandomState(seed).permutation(n_rows)
    n_test = min(n_rows, math.ceil(round(test_share * n_rows, 6)))  # 0.1 + 0.2 is a little more than 0.3
    return order[n_test:], order[:n_test]


def _official(official: Any) -> np.ndarray:
    if official is None:
        raise DataError("There is no official split: the .item file has no column `split:token`; choose another split.")
    unknown = sorted(set(official) - set(PARTS))
    if unknown:
        raise DataError(f"The column `split` of the .item file holds `{unknown[0]}`; it must be {', '.join(PARTS)}.")
    return np.asarray(official, dtype=object)
