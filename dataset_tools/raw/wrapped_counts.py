"""Counts that overflowed a 32-bit integer, told apart by how an app rounds what it displays.

An app shows 9,999 exactly, then multiples of 100, from a million multiples of 100,000, from a thousand million
multiples of 100,000,000. A rounded count beyond 2**31 - 1 that was stored in 32 bits has become another number,
often negative, that breaks this rule. Adding 2**32 a few times gives back the count: 2**32 and 10**8 share so few
factors that at most one of the first four sums obeys the rule.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

# From this count on, displayed counts are multiples of the second number.
_STEPS = ((1_000_000_000, 100_000_000), (1_000_000, 100_000), (10_000, 100))
_WRAP = 1 << 32
_MOST_WRAPS = 4


def is_displayable(counts: np.ndarray) -> np.ndarray:
    """Which counts [N] int obey the display's rounding, [N] bool; negative ones do not."""
    step = np.select([counts >= start for start, _ in _STEPS], [step for _, step in _STEPS], default=1)
    return (counts >= 0) & (counts % step == 0)


def unwrap(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Undo 32-bit overflow where the rounding rule leaves one answer.

    Args:
        counts: Displayed counts as stored, [N] int.

    Returns:
        The counts with repaired ones in place, [N] int64; which were repaired; and which break the rule but
        have no single repair, [N] bool each. The latter are unchanged.
    """
    counts = counts.astype(np.int64)
    broken = ~is_displayable(counts)
    candidates = counts[:, None] + _WRAP * np.arange(1, _MOST_WRAPS + 1)  # [N, 4]
    fits = is_displayable(candidates)
    repaired = broken & (fits.sum(axis=1) == 1)
    counts[repaired] = candidates[repaired, fits[repaired].argmax(axis=1)]
    return counts, repaired, broken & ~repaired


def unwrap_columns(frame: pd.DataFrame, columns: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``unwrap`` columns of a table whose empty cells are NaN.

    Returns:
        The table, with counts that cannot be repaired empty; and a report with a row per repaired or emptied
        cell: ``row`` (the index of the table), ``column``, ``found``, ``repaired`` (NaN where it was emptied).
    """
    frame = frame.copy()
    reports = []
    for column in columns:
        present = frame[column].notna()
        found = frame.loc[present, column]
        counts, repaired, lost = unwrap(found.to_numpy(dtype=np.int64))
        values = np.where(lost, np.nan, counts.astype(np.float64))
        frame.loc[present, column] = values
        changed = repaired | lost
        reports.append(
            pd.DataFrame(
                {
                    "row": found.index[changed],
                    "column": column,
                    "found": found.to_numpy()[changed],
                    "repaired": values[changed],
                }
            )
        )
    return frame, pd.concat(reports, ignore_index=True)
