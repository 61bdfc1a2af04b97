"""Values so that anything can read them, and the digest of a file."""

from __future__ import annotations

import enum
import hashlib
import math
import sys
from pathlib import Path, PurePath
from typing import Any

import numpy as np


def plain(value: Any) -> Any:
    """Turn a value into numbers, strings, lists, dicts and tensors; anything else into its text."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if value is None or isinstance(value, (bool, int, float, str)) or _is_tensor(value):
        return value
    if isinstance(value, dict):
        return {str(k) if isinstance(k, enum.Enum) else k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [plain(v) for v in value]
    return str(value)


def is_plain(value: Any) -> bool:
    """Whether :func:`plain` keeps a value: what it turns into text is none that a file gives back, but for a path."""
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_plain(inner) for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(is_plain, value))
    return value is None or isinstance(value, (bool, int, float, str, PurePath, np.generic, np.ndarray))


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


def _is_tensor(value: Any) -> bool:
    """Without importing torch: where nobody has, there are no tensors."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
