"""Numbers and tokens that a program hands to a loaded model: arrays, tensors of any type, nested lists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_video.arguments.numbers import as_array
from recbole_video.errors import DataError, counted

Array = np.ndarray | Tensor | Sequence[Any]
_LARGEST = float(torch.finfo(torch.float16).max)  # embeddings are stored as float16, those of the training were


def as_floats(name: str, values: Array) -> Tensor:
    """Numbers as a float32 tensor in the CPU's memory.

    Raises:
        DataError: If some rows have more of them than others, or they are no real numbers.
    """
    with np.errstate(over="ignore"):  # what is beyond float32 becomes infinite, and is refused as that
        return torch.as_tensor(as_array(name, values).astype(np.float32))


def as_embeddings(name: str, values: Array) -> Tensor:
    """The same of embeddings, of which what is beyond float32 stays a number, for :func:`find_unstorable` to name.

    Raises:
        DataError: As :func:`as_floats`.
    """
    array = as_array(name, values)
    if array.dtype.kind == "f" and array.dtype.itemsize > np.dtype(np.float32).itemsize:
        largest = np.finfo(np.float32).max
        array = np.where(np.isfinite(array), array.clip(-largest, largest), array)
    return as_floats(name, array)


def hold(what: str) -> str:
    """The verb of a sentence on content that goes by ``what``: frames hold, text holds."""
    return "hold" if what.endswith("s") else "holds"


def as_counts(frame_counts: Any, n_videos: int, lowest: int, highest: int) -> Tensor:
    """Frames that each video has, int64 [n_videos]; all of them where ``frame_counts`` is None.

    Raises:
        DataError: If they are not one whole number from ``lowest`` to ``highest`` for each video.
    """
    if frame_counts is None:
        return torch.full((n_videos,), highest)
    counts = as_floats("frame_counts", frame_counts)
    fits = counts.shape == (n_videos,) and bool((counts == counts.round()).all())
    if not fits or (n_videos and not (lowest <= float(counts.min()) and float(counts.max()) <= highest)):
        raise DataError(
            f"`frame_counts` must be {counted(n_videos, 'number')} between {lowest} and {highest}: the frames of each "
            "video."
        )
    return counts.long()


def find_unstorable(embeddings: Tensor) -> tuple[np.ndarray, str]:
    """Rows of embeddings [N, ...] that no frame store could hold: NaN, infinity, or beyond float16.

    Returns:
        Their numbers, and what is wrong with the first of them, in words.
    """
    bad = ~(embeddings.abs() <= _LARGEST).flatten(1).all(dim=1)  # a NaN is not below anything
    rows = np.flatnonzero(bad.numpy())
    if not len(rows) or not torch.isfinite(embeddings[rows[0]]).all():
        return rows, "NaN or infinity"
    return rows, f"values beyond {_LARGEST:,.0f}, the largest that a frame store holds"


def as_tokens(items: Iterable[Any]) -> list[str]:
    """Item tokens as text; a single one may be given by itself."""
    return [items] if isinstance(items, str) else [str(token) for token in items]
