"""Writing files so that they appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from recbole_video.errors import RunFolderError
from recbole_video.files.locks import is_at, is_free, try_lock
from recbole_video.files.values import without_nan

MOST_WRITERS = 100  # of one file at a time
ASIDE = re.compile(r"\..+\.[0-9]+\.making")  # folders in which files are made: see replacement.py
CAN_MOVE_OPEN_FILES = os.name != "nt"


def write_atomically(path: str | Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, flush it to disk, and rename it.

    What a writer of the same path left that was killed is removed.

    Raises:
        RunFolderError: If the folder cannot be written; whatever ``path`` held is untouched.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path) as (file, temporary):
            write(file)
            file.flush()
            os.fsync(file.fileno())
            if not CAN_MOVE_OPEN_FILES:
                file.close()
            temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RunFolderError(f"`{shown(path)}` cannot be written: {error.strerror or error}.") from error


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def leftovers(folder: Path, named: str) -> list[Path]:
    """What :func:`write_atomically` is writing in a folder, or has left there where it was killed.

    Args:
        folder: The folder.
        named: Regular expression of the names of the files that it was to write.
    """
    pattern = re.compile(rf"\.(?:{named})\.[0-9]+\.tmp")  # see _numbered
    return sorted(path for path in folder.iterdir() if pattern.fullmatch(path.name) and path.is_file())


def clear_leftovers(folder: Path, named: str) -> None:
    """Remove what killed processes left of :func:`leftovers`; what one that lives is writing stays."""
    for path in leftovers(folder, named):
        _remove_if_left(path)


def shown(path: Path) -> Path:
    """The path that a message names: of a file that is made aside, where it will be."""
    while ASIDE.fullmatch(path.parent.name):
        path = path.parent.parent / path.name
    return path


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can open folders (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _temporary(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file beside ``path``, locked as long as it is open, and removed if the block fails."""
    file, temporary = _open_temporary(path)
    with file:
        try:
            yield file, temporary
        except BaseException:
            if not CAN_MOVE_OPEN_FILES:
                file.close()
            temporary.unlink(missing_ok=True)
            raise


def _open_temporary(path: Path) -> tuple[IO[bytes], Path]:
    """Names are numbered and not random, so that what a killed writer left is found without listing the folder."""
    for number in range(MOST_WRITERS):
        temporary = _numbered(path, number)
        _remove_if_left(temporary)
        try:
            # The system itself takes the umask off: asking for it changes it, for all threads.
            handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:  # of a writer that lives
            continue
        file = os.fdopen(handle, "w+b")
        if try_lock(file) and is_at(file, temporary):
            _remove_others(path, number + 1)
            return file, temporary
        file.close()
    raise OSError(errno.EBUSY, "too many processes write it at a time")


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f".{path.name}.{number}.tmp")


def _remove_others(path: Path, number: int) -> None:
    """Remove what writers left that were killed beside each other."""
    while (temporary := _numbered(path, number)).is_file():
        _remove_if_left(temporary)
        number += 1


def _remove_if_left(temporary: Path) -> None:
    """Remove a temporary file that no process has open."""
    if not CAN_MOVE_OPEN_FILES:
        with suppress(OSError):  # one that is open cannot be removed
            temporary.unlink()
        return
    try:
        handle = os.open(temporary, os.O_RDWR)
    except OSError:  # there is none, or it is another user's
        return
    with os.fdopen(handle, "rb") as file:
        # It may have been renamed since it was opened, and be what it was to replace.
        if is_free(file) and is_at(file, temporary):
            temporary.unlink(missing_ok=True)
