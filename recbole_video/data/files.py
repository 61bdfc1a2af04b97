"""Writing files so that they appear whole or not at all, and values so that anything can read them."""

from __future__ import annotations

import enum
import errno
import hashlib
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_video.errors import RunFolderError

# What a spreadsheet takes for the start of a formula, in the full-width forms too; white space before it is no guard.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_NAME = 150
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


def is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file is still the one at ``path``."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.lstat())
    except FileNotFoundError:
        return False


def expanded(path: str | Path) -> Path:
    """A path that a user gave, with ``~`` for the home folder; of an unknown user it stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises where there is no such user


def shown(path: Path) -> Path:
    """The path that a message names: of a file that is made aside, where it will be."""
    while ASIDE.fullmatch(path.parent.name):
        path = path.parent.parent / path.name
    return path


def is_plain_name(name: str, longest: int = _LONGEST_NAME) -> bool:
    """Whether ``name`` can be a part of a file's name: text, no path, and nothing that a terminal acts on.

    Args:
        name: The name.
        longest: Bytes that it may have; file systems allow 255 for a file, and here endings follow.
    """
    if not name or name in (".", "..") or _NO_NAME.search(name):
        return False
    return len(name.encode("utf-8")) <= longest


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


def write_text(path: str | Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_atomically(path, lambda file: file.write(text.encode("utf-8")))


def write_json(path: str | Path, content: Any) -> None:
    """Write ``content`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(without_nan(content), indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def spreadsheet_safe(text: str) -> str:
    """``text`` as a cell of a csv or tsv file that a spreadsheet shows and does not run.

    What a spreadsheet would take for a formula (``=HYPERLINK(...)``, ``+x``, ``-x``, ``@x``, or a tab or line break
    before it) gets an apostrophe in front; numbers and all other text stay as they are. Quoting of separators is left
    to the writer of the file.
    """
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text


def without_nan(value: Any) -> Any:
    """JSON knows no NaN and no infinity: what is undefined is null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: without_nan(inner) for key, inner in value.items()}
    return [without_nan(inner) for inner in value] if isinstance(value, (list, tuple)) else value


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file, read a part at a time."""
    sha = hashlib.sha256()
    with Path(path).open("rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            sha.update(block)
    return sha.hexdigest()


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


def plain(value: Any) -> Any:
    """Turn a value into numbers, strings, lists, dicts and tensors; anything else into its text."""
    if value is None or isinstance(value, (bool, int, float, str)) or _is_tensor(value):
        return float(value) if isinstance(value, np.floating) else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {str(k) if isinstance(k, enum.Enum) else k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    return str(value)


def _is_tensor(value: Any) -> bool:
    """Without importing torch: where nobody has, there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def sync_folder(folder: Path) -> None:
    """Make renames in a folder durable, where the system can open folders (not on Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
