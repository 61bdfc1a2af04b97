"""Steps of one shape: what a GPU needs to repeat a recorded step on other data."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt

import numpy as np

from recbole_video.data.step_plan import COUNTS, IS_QUERY, ITEMS, NEGATIVES, OF_QUERIES, QUERY_ROW, SEQUENCE

_SIZES = 32  # sizes from nothing to the largest, at most; steps differ by the root of their size, and so do sizes


def padded_step(fields: Mapping[str, np.ndarray], most_queries: int, n_items: int) -> dict[str, np.ndarray]:
    """The fields of a step with items and queries filled up to one of a few sizes.

    The last item and the last query are repeated. The copies weigh nothing: no sequence has the items, whose counts are
    0, and :data:`IS_QUERY` is 0 for the queries, so that loss and gradient stay what they were.

    Args:
        fields: Of the whole step, with its items and their counts.
        most_queries: Queries that a step of as many rows can have.
        n_items: Items of the catalogue, padding included.
    """
    padded = dict(fields)
    n_queries = len(fields[QUERY_ROW])
    copies = np.minimum(np.arange(_size(n_queries, most_queries)), n_queries - 1)
    for name in OF_QUERIES:
        if name in fields:
            padded[name] = fields[name][copies]
    padded[IS_QUERY] = (np.arange(len(copies)) < n_queries).astype(np.int64)
    items, counts = fields[ITEMS], fields[COUNTS]
    most_items = fields[SEQUENCE].size + (fields[NEGATIVES].size if NEGATIVES in fields else 0)
    n_more = _n_encoded(len(items), most_items, n_items) - len(items)
    padded[ITEMS] = np.concatenate([items, items[-1:].repeat(n_more)])
    padded[COUNTS] = np.pad(counts, ((0, 0), (0, n_more)))
    return padded


def _size(n: int, most: int) -> int:
    unit = max(-(-most // _SIZES), isqrt(most))
    return min(most, -(-n // unit) * unit)


def _n_encoded(n: int, most: int, n_items: int) -> int:
    """So many as the whole catalogue only if it is the whole, whose places are the ids themselves."""
    size = _size(n, most)
    return size + 1 if size == n_items - 1 > n else size
