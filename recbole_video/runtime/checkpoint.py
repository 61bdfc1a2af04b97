"""Checkpoints: plain values, written whole or not at all, loadable with ``weights_only=True``."""

from __future__ import annotations

import pickle
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import torch

from recbole_video.errors import CheckpointError, nearest
from recbole_video.files.atomic import write_atomically
from recbole_video.files.names import expanded
from recbole_video.runtime.checkpoint_checks import check_plain_tensor

# What PyTorch and zipfile raise on bytes that somebody made up.
_UNREADABLE = (
    pickle.UnpicklingError, struct.error, zipfile.BadZipFile, ArithmeticError, AssertionError, AttributeError,
    EOFError, ImportError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


def write_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` to a temporary file, flush it to disk, and rename it to ``path``.

    Raises:
        RunFolderError: If the folder cannot be written; an earlier checkpoint is untouched.
    """
    write_atomically(expanded(path), lambda file: _save(state, file))


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
            return self._file.write(data)
        except OSError as error:
            self.error = error
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with tensors on ``device``; code in the file is never run.

    Returns:
        Plain values; under ``state_dict`` nothing but tensors by name, each with memory of its own.

    Raises:
        CheckpointError: If the file is missing, truncated, not a checkpoint, or larger unpacked than it is.
    """
    path = expanded(path)
    if not path.is_file():
        runs = sorted(other.parent.name for other in path.parent.glob(f"*/{path.name}"))
        inside = f"; `{path.parent}` holds runs, such as `{runs[-1]}`: name one" if runs else ""
        others = [one.name for one in path.parent.glob("*") if one.suffix == ".pth" or (one / "model.pth").is_file()]
        raise CheckpointError(f"There is no checkpoint `{path}`{inside or nearest(path.name, others)}.")
    try:
        is_sound = _is_sound(path)
        state = torch.load(path, map_location=device, weights_only=True) if is_sound else None
    except _UNREADABLE as error:
        raise CheckpointError(_damaged(path)) from error
    if not is_sound:
        raise CheckpointError(_damaged(path))
    if not isinstance(state, dict) or not isinstance(state.get("state_dict"), dict):
        raise CheckpointError(f"`{path}` is not a checkpoint of this package: it has no `state_dict`.")
    for name, weight in state["state_dict"].items():
        if not isinstance(name, str) or not name.endswith("_extra_state"):
            check_plain_tensor(weight, str(name), path)
    return state


def _is_sound(path: Path) -> bool:
    """Whether the checksums are right, at which torch.load does not look, and nothing is packed.

    PyTorch packs nothing: what is packed could be a hundred times the file's size.
    """
    with zipfile.ZipFile(path) as archive:
        is_packed = any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist())
        return not is_packed and archive.testzip() is None


def _damaged(path: Path) -> str:
    return f"The checkpoint `{path}` cannot be read: it is truncated, corrupt, or no checkpoint of this package."
