"""Random streams that belong to an item, so that no result depends on the order of the work."""

from __future__ import annotations

import hashlib

import numpy as np


def item_rng(seed: int, item_id: str, purpose: str) -> np.random.Generator:
    """The random stream of one item for one purpose."""
    digest = hashlib.sha256(f"{seed}\n{purpose}\n{item_id}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))
