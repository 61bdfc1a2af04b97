"""Writing RecBole's atomic files: in blocks, and without a Python object per number."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from recbole_video.errors import DataError
from recbole_video.files.atomic import write_atomically

_BLOCK_ROWS = 1 << 16
_BLOCK_BYTES = 1 << 23
_WIDEST_NUMBER = 24  # characters of a float64 in full
_TAB, _LINE_FEED, _ZERO = 9, 10, 48


def write_atomic_file(path: Path, columns: Mapping[str, Any]) -> None:
    """Write one atomic file; it appears whole or not at all.

    Args:
        path: ``<dataset>.inter``, ``.item``, ``.user`` or another table of that form.
        columns: ``name:type`` -> values, all of one length. NaN and None become empty cells.

    Raises:
        DataError: If columns differ in length, or a text holds a tab, a line break or a NUL.
    """
    write_atomically(path, lambda file: write_rows(file, columns))


def write_rows(file: IO[bytes], columns: Mapping[str, Any]) -> None:
    """Write header and rows of :func:`write_atomic_file` to an open file."""
    arrays = {name: _as_array(values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"The columns of a table must have one length, not {lengths}.")
    file.write(("\t".join(columns) + "\n").encode())
    row_bytes = 1 + sum(_widest(array) + 1 for array in arrays.values())
    step = max(1, min(_BLOCK_ROWS, _BLOCK_BYTES // row_bytes))
    for start in range(0, next(iter(lengths.values()), 0), step):
        cells = [_cells(name, array[start : start + step], start) for name, array in arrays.items()]
        file.write(_join(cells))


def _as_array(values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.dtype.kind == "b":
        return array.astype(np.uint8)
    return array if array.dtype.kind in "iuf" else np.asarray(values, dtype=object)


def _widest(array: np.ndarray) -> int:
    """Upper bound of the bytes of a cell."""
    if array.dtype.kind in "iuf":
        return _WIDEST_NUMBER
    return 4 * max((len(str(value)) for value in array), default=0)


def _cells(name: str, values: np.ndarray, start: int) -> np.ndarray:
    """The cells of some rows as text, uint8 [rows, width]; what a cell leaves of the width is NUL."""
    if values.dtype.kind in "iu" and values.min(initial=0) >= 0:
        return _digits(values)
    texts = [_text(value) for value in values.tolist()]
    _check_texts(name, texts, start)
    return np.array([text.encode() for text in texts], dtype=bytes).view(np.uint8).reshape(len(texts), -1)


def _check_texts(name: str, texts: list[str], start: int) -> None:
    joined = "\n".join(texts)
    if joined.count("\n") >= len(texts) or "\t" in joined or "\r" in joined or "\0" in joined:
        bad = next(row for row, text in enumerate(texts) if any(c in text for c in "\t\r\n\0"))
        raise DataError(
            f"Row {start + bad + 1} of column `{name}` holds a tab, a line break or a NUL ({texts[bad]!r}), which an "
            "atomic file cannot hold; keep free text in the .text.jsonl file."
        )


def _text(value: Any) -> str:
    if value is None or value != value:
        return ""
    text = str(value)
    return text[:-2] if isinstance(value, float) and text.endswith(".0") else text


def _digits(values: np.ndarray) -> np.ndarray:
    """Decimal digits of whole numbers that are not negative, uint8 [rows, width], NUL before the first."""
    largest = int(values.max(initial=0))
    width = len(str(largest))
    rest: np.ndarray = values.astype(np.uint32 if largest < 2**32 else np.uint64)
    digits = np.empty((width, len(values)), dtype=np.uint8)
    for place in range(width - 1, -1, -1):
        tenth = rest // 10
        digit = (rest - tenth * 10 + _ZERO).astype(np.uint8)
        digits[place] = digit if place == width - 1 else np.where(rest == 0, 0, digit)
        rest = tenth
    return digits.T


def _join(cells: list[np.ndarray]) -> bytearray:
    """Rows of tab-separated cells: laid out at full width, then stripped of NULs."""
    rows = len(cells[0])
    width = sum(cell.shape[1] + 1 for cell in cells)
    text = bytearray(rows * width)
    block = np.frombuffer(text, dtype=np.uint8).reshape(rows, width)
    end = 0
    for cell in cells:
        start, end = end, end + cell.shape[1] + 1
        block[:, start : end - 1] = cell
        block[:, end - 1] = _TAB
    block[:, -1] = _LINE_FEED
    return text.translate(None, b"\0")
