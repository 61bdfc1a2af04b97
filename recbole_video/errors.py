"""The package's own exceptions: each message is one sentence a user can act on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class RecBoleVideoError(Exception):
    """Base of every error that the package raises on purpose."""


class ConfigError(RecBoleVideoError, ValueError):
    """An option is unknown, has a value that cannot be used, or contradicts another."""


class DataError(RecBoleVideoError, ValueError):
    """A data file is missing, malformed, or does not match the others."""


class CheckpointError(RecBoleVideoError, ValueError):
    """A checkpoint is missing, truncated, or belongs to another model."""


class RunFolderError(RecBoleVideoError, OSError):
    """A folder or file of the run cannot be written."""


class TrainingError(RecBoleVideoError, ArithmeticError):
    """Training cannot go on: the loss is not finite."""


class DeviceMemoryError(RecBoleVideoError, MemoryError):
    """The device has too little memory for what it was asked to hold."""


class MemoryFrozenError(RecBoleVideoError, RuntimeError):
    """A memory bank was asked to take in videos while it is frozen."""


class SweepError(RecBoleVideoError, RuntimeError):
    """A sweep was cut off from outside: Ray, or the disk it writes to, was lost."""


class MissingDependencyError(RecBoleVideoError, ImportError):
    """An optional library is not installed, or one that is installed cannot be used."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean `x`?)"`` for the closest known name, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    match = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.65)
    return f" (did you mean `{by_lower[match[0]]}`?)" if match else ""
