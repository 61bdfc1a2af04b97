"""The package's own exceptions: each message is one sentence a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

_LONGEST_VALUE = 160  # characters of a value that a message repeats
_LONGEST_MESSAGE = 2000
_WITHIN_A_LINE = str.maketrans({"\n": "\\n", "\t": "\\t"})
# Control characters, line ends of Unicode and halves of surrogate pairs: no name and no token may hold one.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
# Of a message they are shown as escapes, but for tabs and line feeds; and so is what turns the direction of writing.
_SHOWN_ESCAPED = re.compile(rf"(?![\t\n])(?:{CONTROL.pattern}|[\u202a-\u202e\u2066-\u2069])")


class RecBoleVideoError(Exception):
    """Base of every error that the package raises on purpose.

    Messages repeat values that came from outside: characters that would act on a terminal are shown as escapes, and
    what is too long to read is cut in its middle.
    """

    def __init__(self, message: object = "", *more: Any) -> None:
        super().__init__(fit_for_message(str(message)), *more)

    def _render_traceback_(self, *_: Any) -> list[str]:
        """What a notebook shows in place of a traceback: IPython asks an exception for it by this name."""
        return [f"{type(self).__name__}: {self}"]


def fit_for_message(text: str) -> str:
    """``text`` on a terminal: control characters escaped, long values between backticks and the whole shortened.

    Line breaks and tabs are escaped in values between backticks; elsewhere they are the message's own.
    """
    shown = _SHOWN_ESCAPED.sub(lambda match: match.group().encode("unicode_escape").decode("ascii"), text)
    shown = re.sub(r"`([^`]*)`", lambda match: f"`{_shortened(match.group(1).translate(_WITHIN_A_LINE))}`", shown)
    return shown if len(shown) <= _LONGEST_MESSAGE else _shortened(shown, _LONGEST_MESSAGE)


def _shortened(text: str, longest: int = _LONGEST_VALUE) -> str:
    half = longest // 2 - 20  # with what is said of its length it is no longer than the limit: done again, it stays
    return f"{text[:half]} ... {text[-half:]} ({len(text):,} characters)" if len(text) > longest else text


class ConfigError(RecBoleVideoError, ValueError):
    """An option is unknown, has a value that cannot be used, or contradicts another."""


class DataError(RecBoleVideoError, ValueError):
    """A data file is missing, malformed, or does not match the others.

    Attributes:
        column: The column that a table lacks, where that is what is wrong.
    """

    column: str | None = None


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


class OwnCodeError(RecBoleVideoError, RuntimeError):
    """A class of the user's own, an encoder or a model, raised an exception."""


def counted(number: int, one: str, many: str | None = None) -> str:
    """A number and what there are so many of: ``1 item has``, ``1,200 items have``; by default many get an s."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean `x`?)"`` for the closest known name, or an empty string."""
    by_lower = {candidate.lower(): candidate for candidate in sorted(known)}
    match = difflib.get_close_matches(str(name).lower(), list(by_lower), n=1, cutoff=0.65)
    return f" (did you mean `{by_lower[match[0]]}`?)" if match else ""
