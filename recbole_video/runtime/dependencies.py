"""Libraries that are not installed with the package, because few need them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from recbole_video.errors import MissingDependencyError


def import_optional(module: str, refusal: str) -> Any:
    """Import a module of an optional library.

    Args:
        module: Its full name.
        refusal: What needs the library and how to install it, one sentence, for whom it is missing.

    Raises:
        MissingDependencyError: If it cannot be imported.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingDependencyError(refusal) from error
