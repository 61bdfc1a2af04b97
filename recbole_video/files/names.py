"""Names and paths that come from outside: plain names only, so that nothing is written elsewhere or misread."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from recbole_video.errors import CONTROL, DataError, RecBoleVideoError

_LONGEST_NAME = 150  # bytes; file systems allow 255 for a file, and here endings follow
_LONGEST_NEW_NAME = 100  # bytes; a file has two such names, suffixes and a temporary ending
_LONGEST_PART = 100  # characters
# What Windows takes for a device, whatever ending follows.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:\..*)?", re.IGNORECASE)


def is_plain_name(name: str, longest: int = _LONGEST_NAME) -> bool:
    """Whether ``name`` can be a part of a file's name: text, no path, and nothing that a terminal acts on.

    Args:
        name: The name.
        longest: Bytes that it may have.
    """
    return _problem(name, longest) is None


def check_file_name(name: str, what: str, error_type: type[RecBoleVideoError] = DataError) -> None:
    """Check that a new folder or file may have a name: a plain one that can be seen and typed on any system.

    Args:
        name: The name, without folders.
        what: What it would name, for the message.
        error_type: The kind of error.

    Raises:
        RecBoleVideoError: If it is no plain name, is too long, begins with a dot, a minus sign or a tilde, begins or
            ends with a blank, or is that of a device on Windows.
    """
    problem = _problem(name, _LONGEST_NEW_NAME) or _problem_of_new(name)
    if problem:
        raise error_type(f"`{name}` cannot be the name of {what}: it {problem}; give a plain name.")


def _problem(name: str, longest: int) -> str | None:
    if not name:
        return "is empty"
    if "/" in name or "\\" in name:
        return "holds a separator of folders"
    if CONTROL.search(name):
        return "holds a control character"
    if name in (".", ".."):
        return "begins with a dot, or begins or ends with a blank"
    return f"has more than {longest} bytes" if len(name.encode("utf-8")) > longest else None


def _problem_of_new(name: str) -> str | None:
    if name.startswith(".") or name != name.strip():
        return "begins with a dot, or begins or ends with a blank"
    if name[0] in "-~":
        return "begins with a minus sign or a tilde, which commands take for something else"
    return "is the name of a device on Windows" if _DEVICE.fullmatch(name) else None


def as_file_name(token: str) -> str:
    """Any token as a part of a file's name, which does not lead elsewhere; with a digest where it is not the token."""
    plain = re.sub(r"[^\w.-]", "_", token)[:_LONGEST_PART]
    return plain if plain == token else f"{plain}-{hashlib.sha256(token.encode()).hexdigest()[:8]}"


def expanded(path: str | Path) -> Path:
    """A path that a user gave, with ``~`` for the home folder; of an unknown user it stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is no such user
