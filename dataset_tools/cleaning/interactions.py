"""Pure functions on tables of interactions: order, duplicates, k-core, statistics.

A table is a DataFrame or a dict of equally long arrays; the columns ``user_id`` and ``item_id`` hold
whole numbers or text. Filters return what they keep and how many rows they dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from recbole_video.errors import DataError


def codes_of(values: Any) -> tuple[np.ndarray, np.ndarray]:
    """Number the distinct values of a column in ascending order.

    Returns:
        Code of each row, int64 [rows], and the distinct values, [n_distinct].
    """
    values = np.asarray(values)
    if values.dtype.kind not in "iu":
        return _codes_of_text(values)
    low = int(values.min()) if len(values) else 0
    span = int(values.max()) - low + 1 if len(values) else 0
    if span > 4 * len(values) + 1024:
        distinct, codes = np.unique(values, return_inverse=True)
        return codes, distinct
    present = np.zeros(span, dtype=bool)
    present[values - low] = True
    return (np.cumsum(present) - 1)[values - low], np.flatnonzero(present) + low


def _codes_of_text(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    import pandas as pd

    codes, distinct = pd.factorize(values, use_na_sentinel=False)
    order = np.argsort(np.array([str(value) for value in distinct], dtype=object), kind="stable")
    rank = np.empty(len(distinct), dtype=np.int64)
    rank[order] = np.arange(len(distinct))
    return rank[codes], np.asarray(distinct)[order]


def select(table: Any, rows: np.ndarray) -> Any:
    """Some rows of a table, by mask or by position; a DataFrame's index starts anew."""
    if isinstance(table, dict):
        return {name: np.asarray(values)[rows] for name, values in table.items()}
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    return table.iloc[rows].reset_index(drop=True)


def sort_order(users: np.ndarray, times: np.ndarray | None) -> np.ndarray:
    """Row positions by user, then time, then original row.

    Args:
        users: Codes [rows], not negative.
        times: int64 [rows], or None where the order of the rows is the order in time.
    """
    if times is None or not len(times):
        return np.argsort(users, kind="stable")
    first = int(times.min())
    span = int(times.max()) - first + 1
    if (int(users.max()) + 1) * span >= 2**63:
        return np.lexsort((times, users))
    return _stable_argsort(users * span + (times - first))


def _stable_argsort(keys: np.ndarray) -> np.ndarray:
    """``np.argsort(keys, kind="stable")`` by NumPy's faster sort, whose order among equal keys is mended."""
    order = np.argsort(keys)
    ordered = keys[order]
    same = ordered[1:] == ordered[:-1]
    tied = np.flatnonzero(np.r_[same, False] | np.r_[False, same])
    order[tied] = order[tied][np.lexsort((order[tied], ordered[tied]))]
    return order


def drop_duplicates(frame: Any, keys: Sequence[str], keep: str = "first") -> tuple[Any, int]:
    """Keep one row of those that agree in all ``keys``; the rows stay in order.

    Args:
        frame: The table.
        keys: Column names.
        keep: ``first`` or ``last``, by row.
    """
    if keep not in ("first", "last"):
        raise ValueError(f"keep must be `first` or `last`, not `{keep}`.")
    columns = [_comparable(frame[key]) for key in keys]
    if not len(columns[0]) or not _may_repeat(columns):
        return frame, 0
    order = np.lexsort(columns[::-1])  # stable: rows that agree stay in their order
    sorted_columns = [column[order] for column in columns]
    new = np.logical_or.reduce([column[1:] != column[:-1] for column in sorted_columns])
    kept = np.zeros(len(order), dtype=bool)
    kept[order[np.r_[True, new] if keep == "first" else np.r_[new, True]]] = True
    dropped = int((~kept).sum())
    return (select(frame, kept), dropped) if dropped else (frame, 0)


def _comparable(values: Any) -> np.ndarray:
    """Whole numbers as they are, anything else as codes."""
    values = np.asarray(values)
    return values if values.dtype.kind in "iu" else codes_of(values)[0]


def _may_repeat(columns: list[np.ndarray]) -> bool:
    """Whether two rows have the same hash: False proves that no rows agree, at the price of one fast sort."""
    mixed = np.zeros(len(columns[0]), dtype=np.uint64)
    for column in columns:
        mixed ^= column.astype(np.uint64, copy=False)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    mixed.sort()
    return bool((mixed[1:] == mixed[:-1]).any())


def keep_core(frame: Any, min_user: int, min_item: int, iterate: bool = True) -> tuple[Any, int]:
    """Leave out rare items, then users with few interactions.

    Args:
        frame: The table.
        min_user: Least interactions of a user.
        min_item: Least interactions of an item.
        iterate: Repeat until both hold (a k-core); else one pass, items first, after which an item may
            again be below its minimum.
    """
    users, items = codes_of(frame["user_id"])[0], codes_of(frame["item_id"])[0]
    kept = np.ones(len(users), dtype=bool)
    while True:
        before = int(kept.sum())
        for codes, least in ((items, min_item), (users, min_user)):
            kept &= (np.bincount(codes[kept], minlength=codes.max(initial=0) + 1) >= least)[codes]
        if not iterate or int(kept.sum()) == before:
            break
    dropped = int((~kept).sum())
    return (select(frame, kept), dropped) if dropped else (frame, 0)


def quartiles(values: np.ndarray) -> dict[str, float]:
    """Least, quartiles (linear interpolation), largest and mean of some numbers."""
    least, first, median, third, largest = (float(q) for q in np.percentile(values, (0, 25, 50, 75, 100)))
    return {"min": least, "q1": first, "median": median, "q3": third, "max": largest, "mean": float(values.mean())}


def count_repeats(users: np.ndarray, items: np.ndarray) -> int:
    """Interactions of a user with an item that the user has met before; both are codes [rows]."""
    pairs = np.sort(users * (int(items.max(initial=0)) + 1) + items)
    return int((pairs[1:] == pairs[:-1]).sum())


def positions(users: Iterable[Any]) -> np.ndarray:
    """Position of each row in its user's sequence, from 0, int64 [rows]; ``users`` are sorted codes."""
    users = np.asarray(users)
    starts = np.flatnonzero(np.r_[True, users[1:] != users[:-1]]) if len(users) else np.empty(0, dtype=np.int64)
    lengths = np.diff(np.r_[starts, len(users)])
    return np.arange(len(users)) - np.repeat(starts, lengths)


def as_times(values: Any, column: str = "time") -> np.ndarray:
    """Turn whole times into int64.

    Raises:
        DataError: If one is missing or not a whole number.
    """
    times = np.asarray(values)
    if times.dtype.kind in "iu":
        return times.astype(np.int64, copy=False)
    if times.dtype.kind == "f" and np.isfinite(times).all() and (times == np.floor(times)).all():
        return times.astype(np.int64)
    raise DataError(f"The column `{column}` must hold whole numbers, no value missing; it holds {times.dtype}.")
