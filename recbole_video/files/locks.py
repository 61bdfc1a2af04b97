"""Locks on open files: the system's own, which end with the process."""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


def try_lock(handle: IO[bytes]) -> bool:
    """Lock an open file until it is closed; False if another process holds it.

    A no-op that says True where there are no locks: on Windows, and on some network file systems.
    """
    return _lock(handle) is not False


def is_free(handle: IO[bytes]) -> bool:
    """Lock an open file if no process holds it; False, too, where nobody can tell (see :func:`try_lock`)."""
    return _lock(handle) is True


def wait_for_lock(handle: IO[bytes]) -> None:
    """Lock an open file as :func:`try_lock` does, and wait until the process that holds it is through."""
    _lock(handle, wait=True)


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def _lock(handle: IO[bytes], wait: bool = False) -> bool | None:
    """Whether the file is ours now; None where nobody can tell."""
    try:
        import fcntl
    except ImportError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (BlockingIOError, PermissionError):
        return False
    except OSError:
        return None
    return True
