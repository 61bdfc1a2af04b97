"""Files that belong together, replaced so that a failure or a kill at any step leaves all old ones or all new ones.

The new files are made in a hidden folder beside their places, ``.<name>.0.making``. Renaming that folder to
``.<name>.made`` is the one step that counts: before it, nothing has changed; after it, the files are moved to their
places, and if that is cut off, whoever reads or writes there next moves the others (:func:`finish_replacements`).
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO

from recbole_video.errors import RunFolderError
from recbole_video.files.atomic import CAN_MOVE_OPEN_FILES, MOST_WRITERS, shown, sync_folder
from recbole_video.files.locks import is_at, is_free, try_lock, wait_for_lock
from recbole_video.files.names import is_plain_name
from recbole_video.files.reading import read_json

_MADE = re.compile(r"\..+\.made")
_LOCK, _REMOVE = ".recbole_video.lock", ".recbole_video.remove"  # neither is one of the files
_OURS = (_LOCK, _REMOVE)


class Replacement:
    """New files for a folder, which appear together when the block ends without an error; a context manager.

    Args:
        target: The folder; made if it is missing.
        name: What the files are, as a part of the hidden folder's name: two replacements of one name at the same
            time do not disturb each other, and the one that ends last counts.

    Raises:
        RunFolderError: If the folder cannot be written; whatever was there is untouched.
    """

    def __init__(self, target: str | Path, name: str) -> None:
        self._target = Path(target)
        self._name = name
        self._removed: list[str] = []
        self._lock: IO[bytes]
        self._is_aside = False
        self.folder = Path()

    def file(self, name: str) -> Path:
        """Where to make the file that will be ``name`` in the target folder."""
        return self.folder / name

    def files(self) -> list[Path]:
        """The files that were made, descriptions (``.json``) last."""
        return _files(self.folder)

    def remove(self, name: str) -> None:
        """Let a file of the target folder vanish together with the appearance of the new ones."""
        self._removed.append(name)

    def open(self) -> Replacement:
        """Make the folder for the new files; whoever calls this and no ``with`` must :meth:`close`."""
        try:
            self._target.mkdir(parents=True, exist_ok=True)
            finish_replacements(self._target)
            self._open()
        except RunFolderError:
            raise
        except OSError as error:
            raise self._failed(error) from error
        return self

    def commit(self) -> None:
        """Let the new files take their places."""
        try:
            self._commit()
        except RunFolderError:
            raise
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Throw away what was made and has not taken its place."""
        if self._is_aside:
            _remove_aside(self.folder, self._lock)
            self._is_aside = False
        self._lock.close()

    def __enter__(self) -> Replacement:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self.commit()
        finally:
            self.close()

    def _failed(self, error: OSError) -> RunFolderError:
        is_folder = self._name == self._target.name  # a data set's files are named after their folder
        path = shown(self._target if is_folder else self._target / self._name)
        return RunFolderError(f"`{path}` cannot be written: {error.strerror or error}.")

    def _open(self) -> None:
        for number in range(MOST_WRITERS):
            self.folder = self._target / f".{self._name}.{number}.making"
            _remove_if_left(self.folder)
            try:
                self.folder.mkdir()
                self._lock = (self.folder / _LOCK).open("xb")
            except (FileExistsError, FileNotFoundError):  # of a writer that lives, or taken for one that does not
                continue
            if try_lock(self._lock) and is_at(self._lock, self.folder / _LOCK):
                self._is_aside = True
                return
            self._lock.close()
        raise OSError(errno.EBUSY, "too many processes write it at a time")

    def _commit(self) -> None:
        if self._removed:
            (self.folder / _REMOVE).write_text(json.dumps(self._removed), encoding="utf-8")
        for path in (*self.files(), *self.folder.glob(_REMOVE)):
            _flush(path)
        sync_folder(self.folder)
        if not CAN_MOVE_OPEN_FILES:
            self._lock.close()
        made = self._target / f".{self._name}.made"
        self._rename_to(made)
        before = {path.name for path in _files(made)}
        try:
            sync_folder(self._target)
            _move_in(made)
            self._lock.close()
            _tidy(made)
        except OSError as error:
            if {path.name for path in _files(made)} == before:  # nothing has changed yet
                made.rename(self.folder)
                self._is_aside = True
                raise
            raise RunFolderError(
                f"`{shown(self._target / self._name)}` is made, and not all of it could be put in its place "
                f"({error.strerror or error}); what is left in `{made}` is moved when it is read or written next."
            ) from error

    def _rename_to(self, made: Path) -> None:
        """Another process may be moving files of the same name: it is waited for."""
        for _ in range(MOST_WRITERS):
            finish_replacements(self._target)
            try:
                self.folder.rename(made)
                self._is_aside = False
                return
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                with suppress(OSError):
                    made.rmdir()  # a kill left it without its lock, and so without files
        raise OSError(errno.EBUSY, "too many processes write it at a time")


def finish_replacements(folder: str | Path) -> None:
    """Move the files to their places that a killed process had made and not yet moved.

    Whoever reads files that belong together calls it first; where nothing was cut off it only lists the folder.

    Raises:
        RunFolderError: If they cannot be moved.
    """
    for made in pending_replacements(folder):
        _finish(made)


def pending_replacements(folder: str | Path) -> list[Path]:
    """Hidden folders with files that are about to be moved to their places."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if _MADE.fullmatch(entry.name)]
    except OSError:  # there is no such folder: whoever reads in it says so
        return []
    return [Path(folder) / name for name in names if (Path(folder) / name / _LOCK).is_file()]


def _finish(made: Path) -> None:
    try:
        with (made / _LOCK).open("r+b") as lock:
            wait_for_lock(lock)
            if is_at(lock, made / _LOCK):
                _move_in(made)
        _tidy(made)
    except FileNotFoundError:  # another process has finished it
        return
    except OSError as error:
        raise RunFolderError(
            f"`{made}` holds new files of `{made.parent}` that were not all put in their places before their process "
            f"ended, and cannot be now ({error.strerror or error}); move them there, and remove that folder."
        ) from error


def _move_in(made: Path) -> None:
    """What is done already may be done again."""
    target = made.parent
    for path in _files(made):
        with suppress(FileNotFoundError):  # where there are no locks, another process may be a step ahead
            path.replace(target / path.name)
    for name in _to_remove(made):
        (target / name).unlink(missing_ok=True)
    sync_folder(target)
    with suppress(OSError):  # all is in its place
        for name in reversed(_OURS):
            (made / name).unlink(missing_ok=True)


def _tidy(made: Path) -> None:
    """Remove the empty folder, after its lock is closed: NFS keeps a file that is open under another name."""
    with suppress(OSError):
        made.rmdir()


def _to_remove(made: Path) -> list[str]:
    """Names in the folder, whatever the file says that lists them."""
    path = made / _REMOVE
    names = read_json(path, RunFolderError) if path.is_file() else []
    return (
        [name for name in names if isinstance(name, str) and is_plain_name(name, 255)]
        if isinstance(names, list)
        else []
    )


def _files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.name not in _OURS and not path.is_dir())
    return sorted(files, key=lambda path: (path.suffix == ".json", path.name))


def _flush(path: Path) -> None:
    with path.open("r+b") as file:
        os.fsync(file.fileno())


def _remove_if_left(folder: Path) -> None:
    """Remove what a process left that was killed as it made files: nobody holds its lock."""
    try:
        lock = (folder / _LOCK).open("r+b")
    except OSError:
        with suppress(OSError):
            folder.rmdir()  # killed before the first file
        return
    with lock:
        if is_free(lock) and is_at(lock, folder / _LOCK):
            _remove_aside(folder, lock)


def _remove_aside(folder: Path, lock: IO[bytes]) -> None:
    """Remove the folder, its lock last: until then nobody else takes its name."""
    for path in folder.iterdir():
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            elif path.name != _LOCK:
                path.unlink()
    if not CAN_MOVE_OPEN_FILES:
        lock.close()
    shutil.rmtree(folder, ignore_errors=True)
