"""The card of a converted data set: where it came from, what was left out, what is in it."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.cleaning.interactions import count_repeats, quartiles
from recbole_video.dataset_tools.output.background import background

from recbole_video import __version__
from recbole_video.data.times import UNITS_PER_SECOND, date_of
from recbole_video.errors import DataError, fit_for_message
from recbole_video.files.raw import check_is_file
from recbole_video.files.values import file_digest, plain

# Whole seconds beyond this are not exact in float32, which is what RecBole keeps: 194 days.
FLOAT32_EXACT = 1 << 24
_TIME_BINS = 60


class Card:
    """Collects facts while a data set is converted.

    Args:
        name: The data set.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._inputs: list[Future[dict[str, Any]]] = []
        self.steps: list[dict[str, Any]] = []
        self.warnings: list[str] = []
        self.notes: dict[str, Any] = {}
        self.interactions: dict[str, Any] = {}
        self.plots: dict[str, Any] = {}
        self._outputs: list[Future[dict[str, Any]]] = []

    def add_input(self, path: Path) -> None:
        """Record name, size in bytes and SHA-256 of a raw file, which is read meanwhile.

        Raises:
            DataError: If there is no such file, or it is a folder.
        """
        check_is_file(path)
        self._inputs.append(background().submit(_describe_file, path))

    def add_output(self, path: Path) -> None:
        """Record name, size in bytes and SHA-256 of a file that was made and will not change."""
        self._outputs.append(background().submit(_describe_file, path))

    def step(self, name: str, before: int, after: int, reason: str) -> None:
        """Record one filter: interactions (or rows) before and after it, and why it drops what it drops."""
        self.steps.append({"name": name, "before": before, "after": after, "dropped": before - after, "reason": reason})
        if after != before:
            logging.getLogger(__name__).info(f"{name}: {before - after:,} of {before:,} left out ({reason}).")

    def warn(self, text: str) -> None:
        """Record something the user should look at; it is logged and shown on the page."""
        text = fit_for_message(text)
        self.warnings.append(text)
        logging.getLogger(__name__).warning(f"Warning: {text}")

    def note(self, key: str, value: Any) -> None:
        """Record a further fact under a name."""
        self.notes[key] = value

    def describe_interactions(
        self, users: np.ndarray, items: np.ndarray, times: np.ndarray | None, offsets: np.ndarray, time_unit: str
    ) -> None:
        """Take the statistics of the final interactions, which are sorted by user and time.

        Args:
            users: Codes [rows].
            items: Codes [rows].
            times: Raw times [rows], or None where only the order is known.
            offsets: ``timestamp`` as written [rows].
            time_unit: Of the raw times: a key of ``UNITS_PER_SECOND``.
        """
        per_user, per_item = np.bincount(users), np.bincount(items)
        ties = (users[1:] == users[:-1]) & (offsets[1:] == offsets[:-1])
        self.interactions = {
            "interactions": len(users),
            "users": len(per_user),
            "items": len(per_item),
            "per_user": quartiles(per_user),
            "per_item": quartiles(per_item),
            "repeats_of_a_pair": count_repeats(users, items),
            "ties_within_a_user": int(ties.sum()),
            **({} if times is None else _dates(times, time_unit)),
        }
        self.plots = {"length": _histogram(per_user), "popularity": _histogram(per_item)}
        if times is not None:
            self.plots["time"] = _over_time(times, time_unit)

    def content(self) -> dict[str, Any]:
        """All of it as plain values, as written to ``.card.json``."""
        return _printable(
            {
                "data_set": self.name,
                "made_by": f"recbole_video {__version__}",
                "interactions": self.interactions,
                "steps": self.steps,
                "warnings": self.warnings,
                "notes": self.notes,
                "inputs": [described.result() for described in self._inputs],
                "outputs": sorted((described.result() for described in self._outputs), key=lambda file: file["name"]),
                "plots": self.plots,
            }
        )


def _printable(value: Any) -> Any:
    """Plain values whose text can be written as UTF-8: names of files may hold other bytes."""
    value = plain(value)
    if isinstance(value, str):
        return value.encode("utf-8", errors="backslashreplace").decode("utf-8")
    if isinstance(value, dict):
        return {_printable(key): _printable(inner) for key, inner in value.items()}
    return [_printable(inner) for inner in value] if isinstance(value, list) else value


def _describe_file(path: Path) -> dict[str, Any]:
    path = Path(path)
    try:
        return {"name": path.name, "bytes": path.stat().st_size, "sha256": file_digest(path)}
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _dates(times: np.ndarray, unit: str) -> dict[str, Any]:
    first, last = int(times.min()), int(times.max())
    seconds = (last - first) // UNITS_PER_SECOND[unit]
    return {
        "first": date_of(first, unit),
        "last": date_of(last, unit),
        "span_days": round(seconds / 86_400, 3),
        "time_unit": unit,
        "first_time": first,
        "exact_in_float32": seconds <= FLOAT32_EXACT,
    }


def _histogram(counts: np.ndarray) -> dict[str, Any]:
    """Bins 1, 2, 3, 4-5, 6-7, 8-11, 12-15, 16-23, ...: how many users (items) have so many interactions."""
    edges = [1, 2, 3]
    while edges[-1] <= counts.max():
        edges.append(edges[-1] * 4 // 3 if edges[-1] % 3 == 0 else edges[-1] * 3 // 2)
    labels = [str(a) if b == a + 1 else f"{a}-{b - 1}" for a, b in pairwise(edges)]
    return {"labels": labels, "counts": np.histogram(counts, bins=edges)[0].tolist()}


def _over_time(times: np.ndarray, unit: str) -> dict[str, Any]:
    """Interactions in at most 60 equal spans of whole hours."""
    first, last = int(times.min()), int(times.max())
    hour = 3_600 * UNITS_PER_SECOND[unit]
    width = hour * max(1, -(-(last - first + 1) // (hour * _TIME_BINS)))
    counts = np.bincount((times - first) // width)
    return {
        "labels": [date_of(first + i * width, unit)[:16] for i in range(len(counts))],
        "counts": counts.tolist(),
        "hours_per_bin": width // hour,
    }
