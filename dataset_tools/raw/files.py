"""Raw files as they come: found under several names, with byte order marks, CRLF and faulty lines."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np

from recbole_video.errors import DataError

_BLOCK_BYTES = 1 << 18  # small, so that what is derived from a block stays in the cache
_LARGE_BYTES = 1 << 26
_LINES_PER_UPDATE = 1 << 14
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_file(folder: Path, candidates: Sequence[str]) -> Path:
    """The first of ``candidates`` that ``folder`` holds.

    Raises:
        DataError: If it holds none; the message names them all.
    """
    found = find_optional(folder, candidates)
    if found is None:
        if not Path(folder).is_dir():
            raise DataError(f"There is no folder `{folder}`; give the folder of the raw download.")
        raise DataError(f"`{folder}` holds none of {', '.join(f'`{name}`' for name in candidates)}.")
    return found


def find_optional(folder: Path, candidates: Sequence[str]) -> Path | None:
    """The first of ``candidates`` that ``folder`` holds, or None."""
    return next((path for name in candidates if (path := Path(folder) / name).is_file()), None)


def open_text(path: Path, newline: str | None = "\n") -> TextIO:
    r"""Open a UTF-8 file with or without a byte order mark.

    Args:
        path: The file.
        newline: As in ``open``: by default lines end at ``\n`` alone, so that a carriage return within a
            line stays; a reader strips ``\r\n`` at its end. Give ``""`` for the csv module.

    Raises:
        DataError: If the file cannot be opened.
    """
    try:
        return Path(path).open(encoding="utf-8-sig", newline=newline)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}.") from error


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line, without its end and without a byte order mark.

    Raises:
        DataError: If the file cannot be read, or naming the first line that is not UTF-8.
    """
    try:
        with Path(path).open("rb") as file:
            for number, raw in enumerate(_with_progress(file, path), start=1):
                line = raw.removeprefix(_BYTE_ORDER_MARK) if number == 1 else raw
                try:
                    yield number, line.rstrip(b"\r\n").decode("utf-8")
                except UnicodeDecodeError as error:
                    raise DataError(f"`{path}`, line {number}: the text is not UTF-8.") from error
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}.") from error


def _with_progress(file: BinaryIO, path: Path) -> Iterable[bytes]:
    """The lines of a file; with a progress bar, on terminals, if it is large."""
    size = Path(path).stat().st_size
    if size < _LARGE_BYTES:
        yield from file
        return
    from tqdm import tqdm

    with tqdm(total=size, unit="B", unit_scale=True, desc=Path(path).name, disable=None, leave=False) as bar:
        for number, line in enumerate(file):
            yield line
            if number % _LINES_PER_UPDATE == 0:
                bar.update(file.tell() - bar.n)


def read_integers(path: Path, columns: Sequence[str], separator: str = ",") -> dict[str, np.ndarray]:
    """Read a table of whole numbers with a header.

    Args:
        path: The file.
        columns: The names that its header must hold, in any order; further columns are not kept.
        separator: Between the cells.

    Returns:
        One int64 array per name.

    Raises:
        DataError: If a column is missing, or naming the first line that is not whole numbers.
    """
    header = next((line for _, line in numbered_lines(path)), "")
    names = [name.strip().strip('"') for name in header.split(separator)]
    absent = [name for name in columns if name not in names]
    if absent:
        raise DataError(f"`{path}` has no column `{absent[0]}`; its header is `{header}`.")
    chosen = [names.index(name) for name in columns]
    blocks: list[np.ndarray] = []
    line = 2
    with Path(path).open("rb") as file:
        file.readline()
        while block := file.read(_BLOCK_BYTES) + file.readline():
            rows = _parse(block, len(names), separator)
            n_lines = block.count(b"\n") if rows is None else len(rows)
            if rows is None:
                rows = _parse_slowly(path, block, names, separator, line)
            blocks.append(rows[:, chosen])
            line += n_lines
    return {name: np.concatenate([b[:, i] for b in blocks]) if blocks else _no_rows() for i, name in enumerate(columns)}


def _no_rows() -> np.ndarray:
    return np.empty(0, dtype=np.int64)


def _parse(block: bytes, width: int, separator: str) -> np.ndarray | None:
    """Rows of a block of whole lines, int64 [rows, width]; None if any line is other than plain digits."""
    text = block.replace(b"\r\n", b"\n") if b"\r" in block else block
    if not text.endswith(b"\n"):
        text += b"\n"
    ends = text.translate(None, b"0123456789")
    n_rows, rest = divmod(len(ends), width)
    if rest or ends != (separator.encode() * (width - 1) + b"\n") * n_rows:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # text that is left over
            numbers = np.fromstring(text[:-1].replace(b"\n", separator.encode()), dtype=np.int64, sep=separator)
    except (DeprecationWarning, ValueError):
        return None
    # A number that does not fit becomes the largest one.
    fits = len(numbers) == len(ends) and numbers.max(initial=0) < np.iinfo(np.int64).max
    return numbers.reshape(-1, width) if fits else None


def _parse_slowly(path: Path, block: bytes, names: Sequence[str], separator: str, line: int) -> np.ndarray:
    """Rows of a block line by line: quoted numbers, numbers written as ``12.0`` and empty lines are read too."""
    rows = []
    for number, raw in enumerate(block.decode("utf-8", errors="replace").split("\n"), start=line):
        text = raw.strip("\r")
        if not text.strip():
            continue
        cells = text.split(separator)
        if len(cells) != len(names):
            raise DataError(
                f"`{path}`, line {number}: {len(cells)} columns where the header has {len(names)}; mend or remove it."
            )
        rows.append([_whole(path, number, name, cell) for name, cell in zip(names, cells, strict=True)])
    return np.array(rows, dtype=np.int64).reshape(-1, len(names))


def _whole(path: Path, line: int, column: str, cell: str) -> int:
    text = cell.strip().strip('"')
    try:
        value = int(text)
        if abs(value) < np.iinfo(np.int64).max:
            return value
        raise DataError(f"`{path}`, line {line}, column `{column}`: `{cell}` is too large for a 64-bit number.")
    except ValueError as error:
        if isinstance(error, DataError):
            raise
    try:
        real = float(text)
        if real == int(real) and abs(real) < 2**53:
            return int(real)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"`{path}`, line {line}, column `{column}`: `{cell}` is not a whole number.")
