"""From popularity labels back to the counts that they were made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_video.errors import ConfigError

# The inverse of each transform of `dataset_tools label`.
_INVERSE: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "raw": lambda x: x,
    "log2": np.exp2,
    "log2_1p": lambda x: np.exp2(x) - 1,
    "log1p": np.expm1,
}


_BASE = {"log2": 2.0, "log2_1p": 2.0, "log1p": math.e}  # of the logarithms


@dataclass(frozen=True)
class CountBehind:
    """The count that a label is a function of.

    Attributes:
        name: Such as ``views``.
        transform: As ``label`` names it.
    """

    name: str
    transform: str

    def of(self, labels: np.ndarray | float) -> np.ndarray:
        """The counts behind labels, float64 of their shape, at least 0."""
        with np.errstate(over="ignore"):
            return np.maximum(_INVERSE[self.transform](np.asarray(labels, np.float64)), 0.0)

    def factor(self, added: float) -> float | None:
        """By what the count (of log(1 + count), 1 + it) is multiplied where so much is added; None of no logarithm."""
        base = _BASE.get(self.transform)
        return None if base is None else base**added


def count_behind(settings: Mapping[str, Any] | None) -> CountBehind | None:
    """The count that labels of these settings are a function of; None where they are none of one count.

    Args:
        settings: As ``label`` keeps them; None of labels that it did not make.
    """
    if settings is None or _problem(settings) is not None:
        return None
    return CountBehind(str(settings["sources"][0]), settings["transform"])


def counts_of(labels: np.ndarray, settings: Mapping[str, Any] | None) -> np.ndarray:
    """The counts behind labels, float64 [N], at least 0.

    Args:
        labels: On the labels' scale, float64 [N].
        settings: As for :func:`count_behind`.

    Raises:
        ConfigError: If a label does not say which count it is of.
    """
    count = count_behind(settings)
    if count is None:
        raise ConfigError(f"These predictions cannot be told in counts: {_problem(settings)}; leave out in_counts.")
    return count.of(labels)


def _problem(settings: Mapping[str, Any] | None) -> str | None:
    """Why labels of these settings are no function of one count; None if they are."""
    if not isinstance(settings, Mapping):
        return "the run does not know how its labels were made, since `dataset_tools label` did not make them"
    sources = settings.get("sources")
    if not isinstance(sources, list) or len(sources) != 1:
        return "the label is a mean of several counts"
    if settings.get("scaling") not in (None, "none"):
        return f"the label was scaled ({settings['scaling']})"
    if settings.get("cap") is not None:
        return "the label was capped"
    known = settings.get("transform")
    return None if isinstance(known, str) and known in _INVERSE else f"`{known}` is no transform of this version"
