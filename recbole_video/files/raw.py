"""Raw files as they come: found under several names, with byte order marks, CRLF and faulty lines."""

from __future__ import annotations

import codecs
import csv
import gzip
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, TypeVar

import numpy as np

from recbole_video.errors import DataError, RecBoleVideoError
from recbole_video.files.reading import wrong_bytes

_BLOCK_BYTES = 1 << 18  # small, so that what is derived from a block stays in the cache
_LARGE_BYTES = 1 << 26
_LINES_PER_UPDATE = 1 << 14
_UTF8 = "utf-8-sig"  # with or without a byte order mark
_MOST_DIGITS = 19  # of a number of 64 bits
Chunk = TypeVar("Chunk")


def check_is_file(path: Path) -> None:
    """Check that a path is that of a file.

    Raises:
        DataError: If there is nothing, or a folder.
    """
    if Path(path).is_dir():
        raise DataError(f"`{path}` is a folder; give a file.")
    if not Path(path).is_file():
        raise DataError(f"There is no file `{path}`.")


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


def open_text(path: Path, newline: str | None = "\n", encoding: str = _UTF8) -> TextIO:
    r"""Open a text file, compressed by gzip if its name ends in ``.gz``; read it inside :func:`reading`.

    Args:
        path: The file.
        newline: As in ``open``: by default lines end at ``\n`` alone, so that a carriage return within a
            line stays; a reader strips ``\r\n`` at its end. Give ``""`` for the csv module.
        encoding: By default UTF-8 with or without a byte order mark.

    Raises:
        DataError: If the file cannot be opened.
    """
    path = Path(path)
    try:
        if path.suffix == ".gz":
            return gzip.open(path, "rt", encoding=encoding, newline=newline)
        return path.open(encoding=encoding, newline=newline)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error


@contextmanager
def reading(path: Path, encoding: str = _UTF8, advice: str = "save it as UTF-8") -> Iterator[None]:
    """Turn what goes wrong while a file is read into one sentence.

    Args:
        path: The file that :func:`open_text` opened.
        encoding: Its encoding.
        advice: What to do about another encoding.

    Raises:
        DataError: If the file cannot be read, is damaged, or is in another encoding; then with line and column.
    """
    try:
        yield
    except UnicodeError as error:
        raise _wrong_encoding(Path(path), encoding, advice) from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"`{path}` is damaged and cannot be decompressed: {error}; fetch it again.") from error
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror or error}.") from error


def _wrong_encoding(path: Path, encoding: str, advice: str) -> RecBoleVideoError:
    """Read the file again, line by line, up to the place."""
    name = codecs.lookup(encoding).name.removesuffix("-sig")
    wide = name.startswith(("utf-16", "utf-32"))  # there a line feed is no single byte
    with reading(path), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        return wrong_bytes((line for line in file if not wide), path, name, advice=advice)


def numbered_lines(path: Path, encoding: str = _UTF8, advice: str = "save it as UTF-8") -> Iterator[tuple[int, str]]:
    """Number, from 1, and text of each line, without its end and without a byte order mark.

    Raises:
        DataError: If the file cannot be read, or is not in this encoding; then with line and column.
    """
    with reading(path, encoding, advice), open_text(path, encoding=encoding) as file:
        for number, line in enumerate(_with_progress(file, path), start=1):
            yield number, line.rstrip("\r\n")


def filled_lines(path: Path, encoding: str = _UTF8, advice: str = "save it as UTF-8") -> Iterator[tuple[int, str]]:
    """The :func:`numbered_lines` that are not blank."""
    return ((number, line) for number, line in numbered_lines(path, encoding, advice) if line.strip())


def csv_rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows of a small csv file in UTF-8 and the lines in which they begin, from 1; empty lines are passed over.

    Raises:
        DataError: If the file cannot be read, or a row does not follow the rules of csv; then with its line.
    """

    def malformed(line: int, problem: str) -> DataError:
        return DataError(f"`{path}`, line {line}: {problem}; mend the line.")

    with reading(path), open_text(path, newline="") as file:
        for line, _, row in split_rows(file, malformed):
            yield line, row


def split_rows(
    lines: Iterable[str], malformed: Callable[[int, str], DataError], **dialect: Any
) -> Iterator[tuple[int, int, list[str]]]:
    """The rows of a csv, each after the numbers of its first and its last line, from 1; empty lines are passed over.

    Args:
        lines: The text, with the ends of its lines.
        malformed: Makes the error for a row that does not follow the rules of csv, of its line and of what is wrong.
        dialect: Arguments of ``csv.reader``.
    """
    reader = csv.reader(lines, strict=True, **dialect)
    first = 1
    try:
        for row in reader:
            if row:
                yield first, reader.line_num, row
            first = reader.line_num + 1
    except csv.Error as error:
        raise malformed(first, str(error)) from error


def whole_number(text: str) -> int | None:
    """The number that a text of decimal digits is; None if it is anything else, or does not fit 64 bits."""
    digits = text.removeprefix("-").lstrip("0") or text[-1:]
    if not digits.isdecimal() or len(digits) > _MOST_DIGITS:
        return None
    value = int(text)
    return value if abs(value) < np.iinfo(np.int64).max else None


def guarded(chunks: Iterator[Chunk], path: Path, kind: str) -> Iterator[Chunk]:
    """What a library reads of a file, chunk by chunk.

    A library raises almost anything over a damaged file, and whatever that is, the file is at fault.

    Raises:
        DataError: In place of what the library raises; the package's own errors stay.
    """
    while True:
        try:
            chunk = next(chunks)
        except StopIteration:
            return
        except RecBoleVideoError:
            raise
        except Exception as error:
            said = next(iter(str(error).splitlines()), "") or type(error).__name__
            raise DataError(f"`{path}` cannot be read as {kind}: {said.rstrip('.')}; fetch or save it anew.") from error
        yield chunk


def load_array(path: Path, mapped: bool = False) -> np.ndarray:
    """Read an ``.npy`` file of plain numbers.

    Args:
        path: The file.
        mapped: Leave the numbers on disk.

    Raises:
        DataError: If it is no such file.
    """

    def load() -> Iterator[Any]:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)  # np.load would take an archive of arrays as well
        yield np.load(path, mmap_mode="r" if mapped else None, allow_pickle=False)

    return next(guarded(load(), path, "an npy file"))


def _with_progress(file: TextIO, path: Path) -> Iterable[str]:
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
                bar.update(file.buffer.tell() - bar.n)


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
    check_no_repeats(path, columns, names)
    chosen = [names.index(name) for name in columns]
    none = np.empty((0, len(columns)), dtype=np.int64)
    blocks = [none, *(rows[:, chosen] for rows in _integer_blocks(path, names, separator))]
    return {name: np.concatenate([block[:, i] for block in blocks]) for i, name in enumerate(columns)}


def _integer_blocks(path: Path, names: Sequence[str], separator: str) -> Iterator[np.ndarray]:
    """The rows behind the header, int64 [rows, width], a block of the file at a time."""
    line = 2
    with Path(path).open("rb") as file:
        file.readline()
        while block := file.read(_BLOCK_BYTES) + file.readline():
            rows = _parse(block, len(names), separator)
            n_lines = block.count(b"\n") if rows is None else len(rows)
            yield _parse_slowly(path, block, names, separator, line) if rows is None else rows
            line += n_lines


def check_no_repeats(path: Path, wanted: Iterable[str], names: Sequence[str]) -> None:
    """Check that no column that is wanted stands twice in a header.

    Raises:
        DataError: Naming the first such column.
    """
    for name in wanted:
        if names.count(name) > 1:
            first = names.index(name)
            places = f"columns {first + 1} and {names.index(name, first + 1) + 1}"
            raise DataError(f"`{path}` has the column `{name}` twice, {places} of its header; keep one.")


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
    value = whole_number(text)
    if value is not None:
        return value
    if text.removeprefix("-").isdecimal():
        raise DataError(f"`{path}`, line {line}, column `{column}`: `{cell}` is too large for a 64-bit number.")
    try:
        real = float(text)
        if real == int(real) and abs(real) < 2**53:
            return int(real)
    except (ValueError, OverflowError):
        pass
    raise DataError(f"`{path}`, line {line}, column `{column}`: `{cell}` is not a whole number.")
