"""Holding a folder: one process at a time writes it."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from recbole_video.errors import RunFolderError
from recbole_video.files.atomic import MOST_WRITERS
from recbole_video.files.locks import is_at, try_lock

LOCK_NAME = ".run.lock"


class FolderLock:
    """A lock on an empty file in a folder, which is there only while the folder is held, or after a kill.

    The lock is the system's own and ends with the process: a file that a killed process left holds nothing. It is a
    file by itself, because those of a run are replaced as they are written, and a lock goes with what is replaced.

    Args:
        folder: The folder; it must exist when the lock is taken.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK_NAME
        self._handle: IO[bytes] | None = None

    def __getstate__(self) -> dict[str, Any]:
        """A copy in another process, such as Ray makes of what knows the folder, holds nothing."""
        return {"path": self.path, "_handle": None}

    @property
    def is_held(self) -> bool:
        """Whether this object holds the folder."""
        return self._handle is not None

    def acquire(self) -> bool:
        """Take the folder; False if another process, or another object of this one, has it.

        Raises:
            RunFolderError: If nothing can be written there.
        """
        for _ in range(MOST_WRITERS):
            try:
                handle = self.path.open("ab")
            except OSError as error:
                raise RunFolderError(f"`{self.path.parent}` cannot be written: {error.strerror or error}.") from error
            if not try_lock(handle):
                handle.close()
                return False
            if is_at(handle, self.path):
                self._handle = handle
                return True
            handle.close()  # who held it before has just taken the file away
        return False

    def release(self) -> None:
        """Let the folder go; again has no effect."""
        if self._handle is None:
            return
        handle, self._handle = self._handle, None
        try:
            with suppress(OSError):  # Windows removes no open file; a left one holds nothing
                self.path.unlink()
        finally:
            handle.close()
