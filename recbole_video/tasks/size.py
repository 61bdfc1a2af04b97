"""Whether a model has far more parameters than there is to learn from, and what makes it smaller."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

_MANY_PARAMETERS = 100  # to an action, or to a training video
# Of a model for some thousand cases; a model has those of these options that it reads.
_SMALL_SIZES = {"hidden_size": 64, "embedding_size": 64, "inner_size": 256, "encoder_latent_dim": 64}


def smaller_sizes(config: Any, widths: Mapping[str, int] | None = None) -> str:
    """Options that make a model smaller, as words of the command line; empty where there are none.

    Args:
        config: The run's configuration.
        widths: What an option that is left empty follows, by its name.
    """
    sizes = {name: config.get(name) or (widths or {}).get(name, 0) for name in _SMALL_SIZES if name in config}
    return " ".join(f"--{name}={_SMALL_SIZES[name]}" for name, size in sizes.items() if size > _SMALL_SIZES[name])


def too_many_parameters(n_parameters: int, n_cases: int, cases: str, smaller: str = "") -> list[str]:
    """A line where parameters far exceed what a model learns from, with what to do; else none.

    Args:
        n_parameters: That are trained.
        n_cases: What they are trained on.
        cases: What that is, as one of many.
        smaller: What :func:`smaller_sizes` gave.
    """
    if not n_cases or n_parameters <= _MANY_PARAMETERS * n_cases:
        return []
    told = f"{n_parameters:,} parameters are {n_parameters / n_cases:,.0f} to each of {n_cases:,} {cases}s"
    return [f"{told}; a smaller model may learn more from them{f': {smaller}' if smaller else '.'}"]


def warn_of_size(model: Any, n_cases: int, cases: str, smaller: str) -> None:
    """Say so before the first epoch, when nothing has been spent on it yet."""
    for line in too_many_parameters(model.parameter_counts().get("model", 0), n_cases, cases, smaller):
        logging.getLogger().warning(line)
