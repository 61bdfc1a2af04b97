"""Times of raw files as whole numbers: seconds to nanoseconds, or ISO dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.raw.columns import Where, as_numbers, as_text

from recbole_video.data.times import LATEST_SECOND, OLD_SECOND, UNITS_PER_SECOND, date_of
from recbole_video.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

TIME_UNITS = (*UNITS_PER_SECOND, "iso")
_FIRST_SECOND = -62_135_596_800  # the year 1
_ZONE = r"[T ].*(?:Z|[+-]\d\d(?::?\d\d)?)$"


def warn_of_old_times(times: np.ndarray, unit: str, card: Card, advice: str) -> None:
    """Warn of times that all lie before 1990: they are probably in a coarser unit."""
    if len(times) and times.max() < OLD_SECOND * UNITS_PER_SECOND[unit]:
        latest = int(times.max())
        coarser = [name for name, n in UNITS_PER_SECOND.items() if OLD_SECOND < latest / n < LATEST_SECOND]
        meant = f" (in {coarser[0]} it is {date_of(latest, coarser[0])})" if coarser else ""
        card.warn(f"The latest time is {date_of(latest, unit)} in {unit}{meant}: {advice}.")


def far_time(times: np.ndarray, unit: str) -> tuple[int, str] | None:
    """A time beyond the year 2200 or before the year 1, which is in another unit.

    Returns:
        Its row among ``times`` [rows] and what is wrong with it; None if there is none.
    """
    if not len(times):
        return None
    latest, earliest = int(times.argmax()), int(times.argmin())
    if times[latest] / UNITS_PER_SECOND[unit] > LATEST_SECOND:
        finer = (name for name, n in UNITS_PER_SECOND.items() if OLD_SECOND < times[latest] / n < LATEST_SECOND)
        found = next(finer, None)
        meant = f" (in {found} it is {date_of(int(times[latest]), found)})" if found else ""
        return latest, f"lies beyond the year 2200 in {unit}{meant}"
    if times[earliest] / UNITS_PER_SECOND[unit] < _FIRST_SECOND:
        return earliest, f"lies before the year 1 in {unit}"
    return None


class TimeBuffer:
    """Collects times, chunk by chunk.

    Args:
        unit: The unit of the raw times: ``s``, ``ms``, ``us``, ``ns``, or ``iso`` for dates; a date without a zone is
            UTC.
    """

    def __init__(self, unit: str) -> None:
        self.unit = unit
        self._chunks: list[np.ndarray] = []

    def add(self, values: pd.Series, where: Where) -> None:
        """Add the times of some rows.

        Raises:
            DataError: Naming the first row that is no time, or none of this unit.
        """
        self._chunks.append(_dates(values, where) if self.unit == "iso" else _numbers(values, self.unit, where))

    def array(self) -> np.ndarray:
        """All times in :attr:`finest_unit`, int64 [rows]."""
        times = np.concatenate(self._chunks) if self._chunks else np.empty(0, dtype=np.int64)
        if times.dtype.kind == "i":
            return times
        return np.rint(times * (UNITS_PER_SECOND[self.finest_unit] // UNITS_PER_SECOND[self.unit])).astype(np.int64)

    @property
    def finest_unit(self) -> str:
        """The unit of the times: the one given, or ``us`` for dates, and for coarser numbers with a fraction."""
        is_whole = self.unit != "iso" and all(chunk.dtype.kind == "i" for chunk in self._chunks)
        return self.unit if is_whole or self.unit == "ns" else "us"


def _numbers(values: pd.Series, unit: str, where: Where) -> np.ndarray:
    """int64 where all are whole, else float64."""
    import pandas as pd

    if values.dtype.kind == "M":
        raise DataError(f"{where(values.index[0])}: `{values.name}` holds dates, not numbers; give --time_unit=iso.")
    numbers = as_numbers(values)
    if pd.api.types.infer_dtype(values, skipna=True) in ("boolean", "mixed", "mixed-integer"):
        is_truth = values.map(lambda value: isinstance(value, (bool, np.bool_))).to_numpy(dtype=bool)
        numbers = np.where(is_truth, np.nan, numbers)  # they may be read-only
    _check_filled(values, pd.Series(~np.isfinite(numbers)), "number", where)
    if far := far_time(numbers, unit):
        row, problem = far
        raise DataError(
            f"{where(values.index[row])}, column `{values.name}`: `{values.iloc[row]}` {problem}; give another "
            "--time_unit."
        )
    if (numbers == np.floor(numbers)).all():
        return _exact(values) if unit == "ns" else numbers.astype(np.int64)
    return numbers


def _exact(values: pd.Series) -> np.ndarray:
    """Whole times, int64 [rows]: nanoseconds since 1970 have more digits than a float64 holds."""
    import pandas as pd

    numbers = pd.to_numeric(values).to_numpy()
    return (numbers if numbers.dtype.kind in "iu" else numbers.astype(np.float64)).astype(np.int64)


def _dates(values: pd.Series, where: Where) -> np.ndarray:
    """Dates as microseconds since 1970, int64 [rows]."""
    import pandas as pd

    if values.dtype.kind == "M":
        dates = pd.to_datetime(values, utc=True)
    else:
        texts = as_text(values)
        dates = pd.Series(pd.NaT, index=values.index, dtype="datetime64[us, UTC]")
        # Apart: pandas gives a date without a zone that of the date before it.
        has_zone = texts.str.contains(_ZONE)
        for rows in (has_zone, ~has_zone):
            read = pd.to_datetime(texts[rows], format="ISO8601", utc=True, errors="coerce")
            dates[rows] = read.dt.as_unit("us")
    _check_filled(values, dates.isna(), "ISO date", where)
    return dates.dt.tz_localize(None).to_numpy().astype("datetime64[us]").astype(np.int64)


def _check_filled(values: pd.Series, gaps: pd.Series, kind: str, where: Where) -> None:
    if gaps.any():
        row = int(gaps.to_numpy(dtype=bool).argmax())
        value = values.iloc[row]
        other = "--time_unit=iso" if kind == "number" and _is_date(value) else "another --time_unit"
        raise DataError(
            f"{where(values.index[row])}, column `{values.name}`: `{value}` is no {kind}; mend it, or give {other}."
        )


def _is_date(value: object) -> bool:
    import pandas as pd

    return isinstance(value, str) and not pd.isna(pd.to_datetime(value, format="ISO8601", errors="coerce", utc=True))
