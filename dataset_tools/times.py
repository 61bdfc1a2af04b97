"""Times of raw files as whole numbers: seconds, milliseconds, microseconds, or ISO dates."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from recbole_video.dataset_tools.card import UNITS_PER_SECOND

from recbole_video.errors import DataError

TIME_UNITS = (*UNITS_PER_SECOND, "iso")
# The year 2200: a larger number of seconds is meant in a finer unit.
_LATEST_SECOND = 7_258_118_400


def parse_times(values: Any, unit: str, where: Callable[[int], str]) -> tuple[np.ndarray, str]:
    """Turn a column into whole numbers.

    Args:
        values: Text or numbers [rows].
        unit: ``s``, ``ms``, ``us``, or ``iso`` for dates; a date without a zone is taken for UTC.
        where: Names the place of a row, for errors.

    Returns:
        int64 [rows] and their unit: the one given, or ``us`` for dates and for numbers with a fraction.

    Raises:
        DataError: Naming the first row that is no time, or if the numbers cannot be of this unit.
    """
    if unit not in TIME_UNITS:
        raise DataError(f"The time unit must be one of {', '.join(TIME_UNITS)}, not `{unit}`.")
    if unit == "iso":
        return _parse_dates(values, where), "us"
    times = _parse_numbers(values, where)
    latest = float(times.max(initial=0)) / UNITS_PER_SECOND[unit]
    if latest > _LATEST_SECOND:
        raise DataError(
            f"The latest time, {times.max()}, lies beyond the year 2200 in {unit}; give the --time_unit of the file."
        )
    if times.dtype.kind == "i":
        return times, unit
    return np.rint(times * (UNITS_PER_SECOND["us"] // UNITS_PER_SECOND[unit])).astype(np.int64), "us"


def _parse_numbers(values: Any, where: Callable[[int], str]) -> np.ndarray:
    """int64 where all are whole, else float64."""
    import pandas as pd

    column = pd.Series(values)
    numbers = pd.to_numeric(column, errors="coerce")
    _refuse_gaps(column, numbers.isna().to_numpy(dtype=bool), "number", where)
    array = numbers.to_numpy()
    if array.dtype.kind in "iu":
        return array.astype(np.int64)
    array = array.astype(np.float64)
    return array.astype(np.int64) if (array == np.floor(array)).all() else array


def _parse_dates(values: Any, where: Callable[[int], str]) -> np.ndarray:
    import pandas as pd

    column = pd.Series(values)
    dates = pd.to_datetime(column, format="ISO8601", utc=True, errors="coerce")
    _refuse_gaps(column, dates.isna().to_numpy(dtype=bool), "ISO date", where)
    return dates.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


def _refuse_gaps(column: Any, gaps: np.ndarray, kind: str, where: Callable[[int], str]) -> None:
    if gaps.any():
        row = int(gaps.argmax())
        raise DataError(f"{where(row)}: `{column.iloc[row]}` is no {kind}; mend it, or give another --time_unit.")
