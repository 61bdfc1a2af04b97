"""From popularity labels back to the counts that they were made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def counts_of(labels: np.ndarray, settings: Mapping[str, Any] | None) -> np.ndarray:
    """The counts behind labels, float64 [N], at least 0.

    Args:
        labels: On the labels' scale, float64 [N].
        settings: As ``label`` keeps them; None of labels that it did not make.

    Raises:
        ConfigError: If a label does not say which count it is of.
    """
    if problem := _problem(settings):
        raise ConfigError(f"These predictions cannot be told in counts: {problem}; leave out in_counts.")
    with np.errstate(over="ignore"):
        return np.maximum(_INVERSE[dict(settings or {})["transform"]](np.asarray(labels, np.float64)), 0.0)


def count_behind(settings: Mapping[str, Any] | None) -> str | None:
    """The name of the count that :func:`counts_of` gives; None where it gives none."""
    return str(settings["sources"][0]) if settings is not None and _problem(settings) is None else None


def count_under_logarithm(settings: Mapping[str, Any] | None) -> str:
    """The count of which labels are log2(1 + count), as they are; empty of any others."""
    is_one = isinstance(settings, Mapping) and settings.get("transform") == "log2_1p"
    return (count_behind(settings) or "") if is_one else ""


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
