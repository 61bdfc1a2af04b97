"""Checkpoints: plain values, written whole or not at all, loadable with ``weights_only=True``."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from recbole_video.data.files import write_atomically
from recbole_video.errors import CheckpointError


def write_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` to a temporary file, flush it to disk, and rename it to ``path``.

    Raises:
        RunFolderError: If the folder cannot be written; an earlier checkpoint is untouched.
    """
    write_atomically(path, lambda file: _save(state, file))


def _save(state: dict[str, Any], file: IO[bytes]) -> None:
    """``torch.save``, which says of a full disk only that positions do not agree."""
    watched = _Watched(file)
    try:
        torch.save(state, watched)
    except RuntimeError as error:
        raise watched.error or error from error


class _Watched:
    """A file that remembers why it could not be written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.error: OSError | None = None

    def write(self, data: bytes) -> int:
        try:
            written = self._file.write(data)
            self._file.flush()  # here, where the reason is known
        except OSError as error:
            self.error = error
            raise
        return written

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with tensors on ``device``; code in the file is never run.

    Raises:
        CheckpointError: If the file is missing, truncated, or not a checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"There is no checkpoint `{path}`.")
    damaged = f"The checkpoint `{path}` cannot be read: it is truncated, corrupt, or no checkpoint of this package."
    try:
        with zipfile.ZipFile(path) as archive:  # torch.load does not look at the checksums
            if archive.testzip() is not None:
                raise CheckpointError(damaged)
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        raise CheckpointError(damaged) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"`{path}` is not a checkpoint of this package: it has no `state_dict`.")
    return state
