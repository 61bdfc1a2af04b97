"""Names and paths that come from outside."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 150


def is_plain_name(name: str, longest: int = _LONGEST_NAME) -> bool:
    """Whether ``name`` can be a part of a file's name: text, no path, and nothing that a terminal acts on.

    Args:
        name: The name.
        longest: Bytes that it may have; file systems allow 255 for a file, and here endings follow.
    """
    if not name or name in (".", "..") or _NO_NAME.search(name):
        return False
    return len(name.encode("utf-8")) <= longest


def expanded(path: str | Path) -> Path:
    """A path that a user gave, with ``~`` for the home folder; of an unknown user it stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is no such user
