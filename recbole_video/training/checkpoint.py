"""Checkpoints: plain values, written whole or not at all, loadable with ``weights_only=True``."""

from __future__ import annotations

import enum
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_video.data.files import write_atomically
from recbole_video.errors import CheckpointError


def plain(value: Any) -> Any:
    """Turn a value into numbers, strings, lists, dicts and tensors; anything else into its text."""
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
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


def write_checkpoint(path: str | Path, state: dict[str, Any]) -> None:
    """Write ``state`` to a temporary file, flush it to disk, and rename it to ``path``.

    Raises:
        RunFolderError: If the folder cannot be written; an earlier checkpoint is untouched.
    """
    write_atomically(path, lambda file: torch.save(state, file))


def read_checkpoint(path: str | Path, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read a checkpoint with tensors on ``device``; code in the file is never run.

    Raises:
        CheckpointError: If the file is missing, truncated, or not a checkpoint.
    """
    if not Path(path).is_file():
        raise CheckpointError(f"There is no checkpoint `{path}`.")
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError, zipfile.BadZipFile, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"The checkpoint `{path}` cannot be read ({reason}); it is truncated, corrupt or no checkpoint of "
            "this package."
        ) from error
    if not isinstance(state, dict) or "state_dict" not in state:
        raise CheckpointError(f"`{path}` is not a checkpoint of this package: it has no `state_dict`.")
    return state
