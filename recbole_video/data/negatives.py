"""Items that a user has not, drawn for the loss BPR."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

_TRIES = 20  # by then no user of a sensible catalogue has a hit left


class NegativeSampler:
    """RecBole's ``train_neg_sample_args``: uniform, or by a power of training popularity.

    Args:
        options: ``distribution`` (uniform or popularity), ``sample_num`` and ``alpha``, the power, 1 by default.
        train_counts: Training actions of each item, int64 [n_items]; item 0 is padding.
        only_trained: Never draw an item without training actions, which a uniform draw would.
    """

    def __init__(self, options: Mapping[str, Any], train_counts: np.ndarray, only_trained: bool = False) -> None:
        self.n_drawn: int = options["sample_num"]
        weight = (train_counts > 0).astype(float) if only_trained else np.ones(len(train_counts))
        if options["distribution"] == "popularity":
            weight = train_counts.astype(np.float64) ** options.get("alpha", 1.0)
        weight[0] = 0
        total = np.cumsum(weight)
        self._share = total / total[-1]

    def draw(self, own: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Items that are not among ``own: [Q, W]``, int64 [Q, sample_num]."""
        drawn = self._draw((len(own), self.n_drawn), random)
        for _ in range(_TRIES):
            hit = (drawn[:, :, None] == own[:, None, :]).any(axis=2)
            if not hit.any():
                break
            drawn[hit] = self._draw(int(hit.sum()), random)
        return drawn

    def _draw(self, shape: int | tuple[int, int], random: np.random.Generator) -> np.ndarray:
        return np.searchsorted(self._share, random.random(shape), side="right")
