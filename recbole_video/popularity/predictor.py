"""The documented name of :mod:`recbole_video.serving.predictor`, looked up when something of it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Explanation", "Inputs", "PopularityPredictor", "make_predictor"]  # noqa: F822 - see __getattr__


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("recbole_video.serving.predictor"), name)
