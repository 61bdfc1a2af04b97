"""Units of time that data sets may count in, and dates of times."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from recbole_video.errors import DataError
from recbole_video.files.reading import read_json

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


def dates_of_offsets(card: Path, offsets: Sequence[float]) -> list[str]:
    """The dates of times in whole seconds since the first event, which a converter's card tells; empty without one."""
    try:
        told = read_json(card)["interactions"] if card.is_file() else {}
        first, unit = told["first_time"], told["time_unit"]
        dates = [date_of(int(first + offset * UNITS_PER_SECOND[unit]), unit) for offset in offsets]
    except (DataError, KeyError, TypeError, ValueError, OverflowError):
        return []  # it says nothing of times, or is none of ours
    return dates if OLD_SECOND <= first / UNITS_PER_SECOND[unit] <= LATEST_SECOND else []
