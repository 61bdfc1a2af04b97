"""Items with identical vectors, which no model can tell apart: found by a key per row, and compared byte for byte."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.errors import counted

_WORD = 8  # bytes
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Twins:
    """Items whose vectors equal those of another one.

    Attributes:
        n_items: How many, the first of each kind included.
        first: Tokens of the first two that are alike.
    """

    n_items: int
    first: tuple[str, str]

    def sentence(self, path: Path) -> str:
        """What to tell about it."""
        one, other = self.first
        what = counted(self.n_items, f"item of `{path}` has", f"items of `{path}` have")
        return (
            f"{what} the same vectors as another one (first: `{one}` and `{other}`): "
            "no model can tell them apart, and they tie in every ranking."
        )

    def as_plain(self) -> dict[str, Any]:
        """The note as plain values, which a manifest keeps and :meth:`from_plain` reads."""
        return {"items": self.n_items, "first": list(self.first)}

    @classmethod
    def from_plain(cls, note: Any) -> Twins | None:
        """The note that :meth:`as_plain` made of one; None if a manifest holds something else in its place."""
        try:
            n_items, (one, other) = note["items"], note["first"]
        except (TypeError, KeyError, ValueError):
            return None
        is_note = type(n_items) is int and n_items > 1 and isinstance(one, str) and isinstance(other, str)
        return cls(n_items, (one, other)) if is_note else None


def row_keys(rows: np.ndarray) -> np.ndarray:
    """A number per row that is equal for equal rows, and hardly ever for others.

    Args:
        rows: [k, ...] of any type.

    Returns:
        uint64 [k].
    """
    if not rows.size:
        return np.zeros(len(rows), np.uint64)
    flat = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8)
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % _WORD)))
    words = flat.view(np.uint64)
    factors = np.random.default_rng(0).integers(1 << 63, size=words.shape[1], dtype=np.uint64) | np.uint64(1)
    half = np.uint64(32)
    mixed = words * _SPREAD  # a product carries bits upwards alone: each is followed by a step that brings them down
    mixed ^= mixed >> half
    mixed *= factors
    mixed ^= mixed >> half
    return mixed.sum(axis=1, dtype=np.uint64)


def find_twins(
    keys: np.ndarray, read: Callable[[np.ndarray], np.ndarray], token_of: Callable[[int], str]
) -> Twins | None:
    """Find items with equal rows.

    Args:
        keys: Of each row, uint64 [n], by :func:`row_keys`.
        read: Positions among them -> these rows.
        token_of: Position -> item token.

    Returns:
        None if all rows differ.
    """
    distinct, counts = np.unique(keys, return_counts=True)
    alike: dict[bytes, list[int]] = {}
    for position in np.flatnonzero(np.isin(keys, distinct[counts > 1])).tolist():
        content = hashlib.sha256(read(np.array([position])).tobytes()).digest()
        alike.setdefault(content, []).append(position)
    kinds = [positions for positions in alike.values() if len(positions) > 1]
    if not kinds:
        return None
    one, other, *_ = kinds[0]  # the positions ascend, and so do the first ones of the kinds
    return Twins(sum(map(len, kinds)), (token_of(one), token_of(other)))
