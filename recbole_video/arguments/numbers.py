"""Numbers that a program hands over: arrays, tensors of any type, nested lists."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from recbole_video.errors import DataError


def as_array(name: str, values: Any) -> np.ndarray:
    """Real numbers as an array in the CPU's memory; one that is given stays as it is, and is not copied.

    A tensor of a type that NumPy does not know becomes float32.

    Args:
        name: Name of the argument, for messages.
        values: The numbers.

    Raises:
        DataError: If some rows have more of them than others, or they are no real numbers.
    """
    try:
        array = np.asarray(_without_tensors(values))
        if array.dtype == object and not any(isinstance(value, str) for value in array.flat):
            array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _not_numbers_error(
            name, "give the same number of them for each video, filled up with zeros, and nothing else"
        ) from error
    if array.dtype.kind not in "biuf":
        raise _not_numbers_error(name, f"it holds {_kind(array.dtype)}")
    return array


def _not_numbers_error(name: str, why: str) -> DataError:
    return DataError(f"`{name}` is no array of numbers: {why}.")


def _kind(dtype: np.dtype) -> str:
    return {"c": "complex numbers", "U": "text", "S": "bytes", "O": "text"}.get(dtype.kind, f"values of type {dtype}")


def _without_tensors(values: Any) -> Any:
    """Without importing torch: where nobody has, there are no tensors."""
    torch = sys.modules.get("torch")
    if torch is None:
        return values
    if isinstance(values, (list, tuple)) and values and all(isinstance(value, torch.Tensor) for value in values):
        if len({value.shape for value in values}) > 1:
            raise ValueError("some rows are longer than others")
        values = torch.stack([value.detach().cpu() for value in values])
    if not isinstance(values, torch.Tensor):
        return values
    values = values.detach().cpu()
    try:
        return values.numpy()
    except TypeError:  # bfloat16, and the types of 8 bits
        return values.float().numpy()
