"""Units of time that data sets may count in, and dates of times."""

from __future__ import annotations

from datetime import UTC, datetime

UNITS_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
# The years 1990 and 2200, between which a number is taken for a Unix time: a smaller one counts from elsewhere.
OLD_SECOND, LATEST_SECOND = 631_152_000, 7_258_118_400


def date_of(time: int, unit: str) -> str:
    """A time as ``YYYY-MM-DD HH:MM:SS`` in UTC, or as the number where it is no date."""
    try:
        return datetime.fromtimestamp(time // UNITS_PER_SECOND[unit], UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return str(time)


def date_of_unix_time(time: float) -> str:
    """The date of a Unix time, in the one unit in which it lies between 1990 and 2200; empty where there is none."""
    for unit, per_second in UNITS_PER_SECOND.items():
        if OLD_SECOND <= time / per_second <= LATEST_SECOND:
            return date_of(int(time), unit)
    return ""
