"""Popularity labels: counts -> transform -> scaling that is fitted on the training part -> one number per item."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from recbole_video.dataset_tools.popularity.splits import PARTS, SplitSettings, split_items

from recbole_video.errors import ConfigError, DataError, nearest

# Each is NaN where it is not defined.
TRANSFORMS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw": lambda x: x,
    "log2": lambda x: np.log2(np.where(x > 0, x, np.nan)),
    "log2_1p": lambda x: np.log2(np.where(x >= 0, x, np.nan) + 1),
    "log1p": lambda x: np.log1p(np.where(x >= 0, x, np.nan)),
}
SCALINGS = ("none", "minmax", "standard")


@dataclass(frozen=True)
class LabelSettings:
    """How labels are made of counts.

    Attributes:
        sources: Columns of the ``.counts`` file; the label is the mean over them.
        transform: ``raw``, ``log2``, ``log2_1p`` (log2(1 + x)) or ``log1p``, of each source.
        scaling: ``none``; ``minmax``, the fitted least and largest value become 0 and ``top``; ``standard``, the
            fitted mean and standard deviation become 0 and 1. Of each source on its own.
        top: What ``minmax`` makes of the largest fitted value.
        cap: Labels above it become it; None for no cap.
        fitted_on: ``train``, or ``all`` to do as some public scripts do, which leaks the test labels' range.
        split: How items are divided.
    """

    sources: tuple[str, ...]
    transform: str = "raw"
    scaling: str = "none"
    top: float = 1.0
    cap: float | None = None
    fitted_on: str = "train"
    split: SplitSettings = field(default_factory=SplitSettings)

    def __post_init__(self) -> None:
        for name, value, known in (
            ("transform", self.transform, tuple(TRANSFORMS)),
            ("scaling", self.scaling, SCALINGS),
            ("fitted_on", self.fitted_on, ("train", "all")),
        ):
            if value not in known:
                raise ConfigError(f"`{name}` must be one of {', '.join(known)}, not `{value}`{nearest(value, known)}.")
        if not 0 < self.top < math.inf:
            raise ConfigError(f"`top` is {self.top}; it must be a number above 0.")
        if self.cap is not None and not math.isfinite(self.cap):
            raise ConfigError(f"`cap` is {self.cap}; it must be a number.")
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ConfigError(f"The sources are {', '.join(self.sources) or 'none'}; name each count once.")


@dataclass(frozen=True)
class Labels:
    """The labels of N items.

    Attributes:
        label: [N] float64, NaN for an item without one.
        raw: [N] float64, the source as counted; of several, their mean.
        split: [N], ``train``, ``valid`` or ``test``; empty for an item without a label.
        fitted: Source -> the numbers that its scaling uses.
        unlabelled: Reason -> number of items.
        warnings: What the user should look at.
    """

    label: np.ndarray
    raw: np.ndarray
    split: np.ndarray
    fitted: dict[str, dict[str, float]]
    unlabelled: dict[str, int]
    warnings: list[str]

    def summary(self) -> dict[str, dict[str, float]]:
        """Number, mean, standard deviation (population) and range of the labels of each part."""
        found = {part: self.label[self.split == part] for part in PARTS}
        return {
            part: {
                "items": len(labels),
                **({} if not len(labels) else _moments(labels)),
            }
            for part, labels in found.items()
        }


def make_labels(
    counts: Mapping[str, np.ndarray], times: np.ndarray, official: np.ndarray | None, settings: LabelSettings
) -> Labels:
    """Make the labels of N items.

    Args:
        counts: Source -> [N] float64, NaN where it is not known.
        times: [N] float64, seconds; NaN where not known. Items without a time have no label in a temporal split.
        official: [N] str, the authors' split; None where there is none.
        settings: What a label is.

    Raises:
        DataError: If a source is missing, no item has a label, a label is beyond what a float holds, or a part of the
            split is empty.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # what is beyond a float is refused below
        labels = _make_labels(counts, times, official, settings)
    n_beyond = int(np.isinf(labels.label).sum()) + int(np.isinf(labels.raw).sum())
    if n_beyond or not all(math.isfinite(number) for fit in labels.fitted.values() for number in fit.values()):
        raise DataError(
            f"The counts {', '.join(settings.sources)} are too large: labels, or their mean and deviation, are beyond "
            "what a float holds; choose a logarithm as --transform, or mend the counts."
        )
    return labels


def _make_labels(
    counts: Mapping[str, np.ndarray], times: np.ndarray, official: np.ndarray | None, settings: LabelSettings
) -> Labels:
    raw = np.stack([_source(counts, name) for name in settings.sources], axis=1)
    transformed = TRANSFORMS[settings.transform](raw)
    has_label = ~np.isnan(transformed).any(axis=1)
    unlabelled = {
        "no count": int(np.isnan(raw).any(axis=1).sum()),
        f"{settings.transform} is not defined for the count": int((~has_label & ~np.isnan(raw).any(axis=1)).sum()),
    }
    if settings.split.kind == "temporal":
        unlabelled["no time"] = int((has_label & np.isnan(times)).sum())
        has_label &= ~np.isnan(times)
    if not has_label.any():
        raise DataError(f"No item has a label: {unlabelled}.")
    rows = np.flatnonzero(has_label)
    parts = split_items(settings.split, times[rows], None if official is None else official[rows])
    fitted_rows = rows if settings.fitted_on == "all" else rows[parts == "train"]
    scaled, fitted, warnings = _scale(transformed, fitted_rows, settings)
    label = np.full(len(raw), np.nan)
    label[rows] = scaled[rows].mean(axis=1)
    if settings.cap is not None:
        label = np.minimum(label, settings.cap)
    split = np.full(len(raw), "", dtype=object)
    split[rows] = parts
    return Labels(label, raw.mean(axis=1), split, fitted, {k: n for k, n in unlabelled.items() if n}, warnings)


def _source(counts: Mapping[str, Any], name: str) -> np.ndarray:
    if name not in counts:
        raise DataError(f"There is no count `{name}`{nearest(name, counts)}; there are {', '.join(counts)}.")
    return np.asarray(counts[name], dtype=np.float64)


def _scale(
    values: np.ndarray, rows: np.ndarray, settings: LabelSettings
) -> tuple[np.ndarray, dict[str, dict[str, float]], list[str]]:
    """Scale each column by what ``rows`` of it are like; also what was fitted, and warnings."""
    fitted = {name: _moments(values[rows, i]) for i, name in enumerate(settings.sources)}
    if settings.scaling == "none":
        return values, fitted, []
    is_range = settings.scaling == "minmax"
    low = np.array([moments["min" if is_range else "mean"] for moments in fitted.values()])
    width = np.array([m["max"] - m["min"] if is_range else m["sd"] for m in fitted.values()])
    warnings = [
        f"All items that the scaling is fitted on have one value of `{settings.sources[i]}`: it is only shifted."
        for i in np.flatnonzero(width == 0)
    ]
    top = settings.top if is_range else 1.0
    return (values - low) / np.where(width == 0, 1.0, width) * top, fitted, warnings


def _moments(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "sd": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
    }
