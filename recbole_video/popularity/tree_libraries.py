"""CatBoost, LightGBM and TabNet: imported when they are used, their models kept as bytes with a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from recbole_video.errors import CheckpointError, TrainingError
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor
from recbole_video.runtime.dependencies import import_optional

# Below it, a step of a tree is over sooner than OpenMP's threads have met at its end. They spin while they wait, and
# where a core is busy with other work, a fit of seconds takes minutes. No number depends on how many there are.
FEW_ROWS = 100_000
_DIGEST = hashlib.sha256().digest_size


def import_library(module: str, model: str, library: str) -> Any:
    """A module of a library of the extra ``trees``.

    Args:
        module: Its full name.
        model: What needs it.
        library: Its name in words.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    install = "uv pip install -e '.[trees]' in the checkout"
    return import_optional(module, f"{model} is fitted by {library}, which is not installed; {install}.")


@contextmanager
def as_training_error(library: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a library raises as it fits into one sentence.

    Raises:
        TrainingError: With the first line of what it says.
    """
    try:
        yield
    except errors as error:
        raise TrainingError(
            f"{library} cannot be fitted to these videos: {str(error).partition(chr(10))[0]}"
        ) from error


def sealed(content: bytes) -> dict[str, Tensor]:
    """A model in its library's own format, as tensors: its bytes, and their SHA-256."""
    digest = hashlib.sha256(content).digest()
    parts = {"model": content, "sha256": digest}
    return {name: torch.from_numpy(np.frombuffer(part, dtype=np.uint8).copy()) for name, part in parts.items()}


def unsealed(state: Mapping[str, Tensor]) -> bytes:
    """The model of :func:`sealed`, once :func:`check_sealed` has seen it."""
    return bytes(state["model"].cpu().numpy())


def check_sealed(state: Any, name: str, path: Path) -> None:
    """Refuse bytes out of a checkpoint that are not those that were written: a library reads what it gets.

    Raises:
        CheckpointError: If they are not.
    """
    values = Fields(state, name, path)
    for key in ("model", "sha256"):
        check_plain_tensor(values.get(key), key, path)
        if values.get(key).dtype != torch.uint8 or values.get(key).ndim != 1:
            raise values.refusal(f"`{key}`", "a row of bytes")
    digest = bytes(values.get("sha256").cpu().numpy())
    if len(digest) != _DIGEST or hashlib.sha256(unsealed(state)).digest() != digest:
        raise values.refusal("`model`", "what its `sha256` says, and is not handed to a library")


@contextmanager
def as_checkpoint_error(library: str, *errors: type[Exception]) -> Iterator[None]:
    """Turn what a library raises as it reads a model into one sentence.

    Raises:
        CheckpointError: With the first line of what it says.
    """
    try:
        yield
    except errors as error:
        said = str(error).partition("\n")[0]
        raise CheckpointError(f"The checkpoint holds no model that this version of {library} reads: {said}") from error


def n_threads(n_rows: int) -> int:
    """Threads for a library that grows trees on so many videos: as many as PyTorch takes, or one where they are few."""
    return 1 if n_rows < FEW_ROWS else torch.get_num_threads()


@contextmanager
def threads_for(n_rows: int) -> Iterator[None]:
    """Limit the OpenMP threads of libraries that take no number of threads, as :func:`n_threads`."""
    if n_rows >= FEW_ROWS:
        yield
        return
    with threadpool_limits(limits=n_threads(n_rows), user_api="openmp"):
        yield
