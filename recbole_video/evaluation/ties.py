"""Which of several items with the same score goes first: one rule, for the evaluation, served lists and foreign ones.

The order is fixed and drawn as if by lot, so that it has nothing to do with popularity. By id it would: ids are given
in the order of a file's rows, where popular items come early.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=8)
def tie_places(n_items: int, device: torch.device) -> Tensor:
    """Among equal scores, the item with the smaller place goes first.

    The place of an id is SplitMix64's output for it (Steele, Lea and Flood, 2014): another one for each id, the same in
    every run, on every device and beside any number of other items.

    Args:
        n_items: Item ids there are, padding included.
        device: Where scores are.

    Returns:
        [n_items] int64, to be read and not to be written into.
    """
    return torch.from_numpy(_splitmix64(np.arange(n_items, dtype=np.uint64)).view(np.int64)).to(device)


def _splitmix64(ids: np.ndarray) -> np.ndarray:
    """A one-to-one map of uint64 [N] onto uint64 that mixes all bits; sums and products wrap around."""
    mixed = (ids + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
