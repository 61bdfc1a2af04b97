"""Reading a large csv file whose free text may break the rules of quoting.

A csv parser alone fails twice on such a file: a comma in a text without quotes shifts the columns after it, and
a quote that is opened and never closed swallows all lines up to the next quote, at worst into a record that has
the right number of columns again. Here the columns beside the text decide: a line whose columns left of the text
have the form that their kinds demand begins a record, whatever the quotes before it say.

``read_blocks`` cuts the file before such lines. ``mend`` turns a block into valid csv: lines without any quote
and with the right number of columns are copied as they are, the few others are read one by one, and what had to
be done is counted. ``csv_tables`` lets pyarrow parse the result.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from recbole_video.errors import DataError
from recbole_video.files.reading import wrong_bytes

# Kind of a column -> the form of its cells. A `key` is never empty.
_FORMS = {
    "key": r'"?-?[0-9]+"?',
    "int": r'"?(?:-?[0-9]+)?"?',
    "number": r'"?(?:-?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)?"?',
    "flag": r'"?(?:True|False|TRUE|FALSE|true|false|1|0)?"?',
    "text": r'(?:"(?:[^"\n]|"")*"|[^,\n]*)',
}
_SPECIAL = re.compile(r'[",\r\n]')
# A record that goes on for this many blocks is none: a quote or a line break is missing.
_LONGEST_IN_BLOCKS = 4


@dataclass(frozen=True)
class Layout:
    """The columns of a file and the one that may break.

    Attributes:
        columns: All columns, in the file's order.
        free_text: The column that may hold bare commas, quotes and line breaks.
        kinds: Column -> ``key``, ``int``, ``number``, ``flag`` or ``text``; ``text`` where it is not named.
    """

    columns: tuple[str, ...]
    free_text: str
    kinds: Mapping[str, str]

    @property
    def width(self) -> int:
        return len(self.columns)

    @cached_property
    def n_left(self) -> int:
        """Columns before the free text."""
        return self.columns.index(self.free_text)

    @cached_property
    def n_right(self) -> int:
        """Columns after the free text."""
        return self.width - self.n_left - 1

    def form(self, column: str) -> str:
        """Regular expression of a column's cells."""
        return _FORMS[self.kinds.get(column, "text")]

    @cached_property
    def left(self) -> re.Pattern[str]:
        """Matches the columns before the free text, the comma after them included."""
        return re.compile("".join(f"{self.form(c)}," for c in self.columns[: self.n_left]))

    @cached_property
    def left_bytes(self) -> re.Pattern[bytes]:
        return re.compile(self.left.pattern.encode())

    @cached_property
    def right(self) -> tuple[tuple[int, re.Pattern[str]], ...]:
        """Position among the columns after the free text, and form, of those that have one."""
        names = self.columns[self.n_left + 1 :]
        return tuple((i, re.compile(self.form(c))) for i, c in enumerate(names) if c in self.kinds)

    def is_right(self, cells: Sequence[str]) -> bool:
        """Whether ``cells`` can be the columns after the free text."""
        return len(cells) == self.n_right and all(form.fullmatch(cells[i]) for i, form in self.right)


@dataclass
class Tally:
    """How the records of a file were read.

    Attributes:
        records: All records read.
        multi_line: Well-formed records with line breaks inside quotes.
        bare_commas: Read from both ends: commas in the free text outside quotes.
        broken_quotes: Read from both ends: quotes that do not match.
        bare_breaks: Read from both ends: line breaks outside sound quotes.
        not_utf8: Lines with bytes that are not UTF-8; each became U+FFFD.
        first_not_utf8: Number of the first of them, from 1; 0 if there is none.
        unreadable: Lines that belong to no record; they are left out.
        first_unreadable: Number of the first of them, from 1; 0 if there is none.
    """

    records: int = 0
    multi_line: int = 0
    bare_commas: int = 0
    broken_quotes: int = 0
    bare_breaks: int = 0
    not_utf8: int = 0
    first_not_utf8: int = 0
    unreadable: int = 0
    first_unreadable: int = 0

    def add(self, other: Tally) -> None:
        """Add the counts of a later part of the same file."""
        for name in (f.name for f in fields(self)):
            mine, theirs = getattr(self, name), getattr(other, name)
            setattr(self, name, (mine or theirs) if name.startswith("first_") else mine + theirs)

    def leave_out(self, lines: Sequence[str], number: int) -> None:
        """Count ``lines`` as unreadable; ``number`` is that of the first. Blank lines are nothing."""
        for offset, line in enumerate(lines):
            if line.strip():
                self.unreadable += 1
                self.first_unreadable = self.first_unreadable or number + offset


@dataclass(frozen=True)
class Block:
    """Whole lines that begin with a record, and the number of the first, from 1."""

    data: bytes = field(repr=False)
    first_line: int = 1


def read_csv_header(path: Path) -> tuple[str, ...]:
    """The column names in the first line of a csv file.

    Raises:
        DataError: If the file cannot be read, is empty or not UTF-8.
    """
    try:
        with path.open("rb") as file:
            raw = file.readline()  # no more: wrong bytes further on are counted
        line = raw.decode("utf-8-sig").rstrip("\r\n")
    except OSError as error:
        raise DataError(f"`{path}` cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise wrong_bytes([raw], path) from error
    if not line:
        raise DataError(f"`{path}` has no header in its first line.")
    try:
        return tuple(name.strip() for name in next(csv.reader([line])))
    except csv.Error as error:
        raise DataError(f"`{path}`, line 1: {error}; this is no header of a csv file.") from error


def read_blocks(path: Path, layout: Layout, block_bytes: int = 1 << 24) -> Iterator[Block]:
    """Cut a file, after its header, into blocks that no record crosses; line ends become LF.

    Raises:
        DataError: If a line is far longer than a block.
    """
    with path.open("rb") as file:
        file.readline()
        number, rest = 2, b""
        while piece := file.read(block_bytes):
            data = rest + piece
            cut = _last_start(data, layout)
            if cut == 0 and len(data) >= _LONGEST_IN_BLOCKS * block_bytes:
                cut = data.rfind(b"\n") + 1
                if cut == 0:
                    raise DataError(f"`{path}`, line {number} is over {len(data):,} bytes long; is this a csv file?")
            if cut:
                yield Block(_with_lf(data[:cut]), number)
                number += data.count(b"\n", 0, cut)
            rest = data[cut:]
    if rest:
        yield Block(_with_lf(rest.removesuffix(b"\n") + b"\n"), number)


def _last_start(data: bytes, layout: Layout) -> int:
    """Where the last whole line that begins a record starts; 0 if that is the first line or none."""
    position = data.rfind(b"\n") + 1
    while position > 0:
        position = data.rfind(b"\n", 0, position - 1) + 1
        if layout.left_bytes.match(data, position):
            return position
    return 0


def halve(block: Block, layout: Layout) -> list[Block]:
    """Cut a block before a record near its middle; the block alone if it has only one."""
    middle = len(block.data) // 2
    cut = block.data.find(b"\n", middle) + 1
    while 0 < cut < len(block.data) and not layout.left_bytes.match(block.data, cut):
        cut = block.data.find(b"\n", cut) + 1
    if not 0 < cut < len(block.data):  # then before the one that reaches over the middle
        cut = block.data.rfind(b"\n", 0, middle) + 1
        while cut and not layout.left_bytes.match(block.data, cut):
            cut = block.data.rfind(b"\n", 0, cut - 1) + 1
    if not 0 < cut < len(block.data):
        return [block]
    lines = block.data.count(b"\n", 0, cut)
    return [Block(block.data[:cut], block.first_line), Block(block.data[cut:], block.first_line + lines)]


def _with_lf(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n") if b"\r" in data else data


def mend(block: Block, layout: Layout, careful: bool = False) -> tuple[bytes, Tally]:
    """Turn a block into valid csv with one record of ``layout.width`` columns after the other.

    Args:
        block: A block of ``read_blocks``.
        layout: The columns of the file.
        careful: Read every line one by one, also those that look sound.

    Returns:
        The csv without a header (UTF-8, LF), and how the records were read.
    """
    data = block.data
    ends = np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))
    starts = np.concatenate(([0], ends[:-1] + 1))
    odd = np.ones(len(ends), bool) if careful else _odd_lines(data, starts, ends, layout)
    tally = Tally(records=int(np.count_nonzero(~odd)))
    if tally.records == len(odd):
        return data, tally
    pieces: list[bytes] = []
    copied = 0
    for first, last in _runs(odd):
        pieces.append(data[copied : starts[first]])
        lines = _decode(data[starts[first] : ends[last]], block.first_line + first, tally)
        pieces += _mend_lines(lines, block.first_line + first, layout, tally)
        copied = int(ends[last]) + 1
    pieces.append(data[copied:])
    return b"".join(pieces), tally


def _odd_lines(data: bytes, starts: np.ndarray, ends: np.ndarray, layout: Layout) -> np.ndarray:
    """Which lines hold a quote, a lone carriage return, or another number of commas than most, [L] bool."""
    buffer = np.frombuffer(data, np.uint8)
    odd = np.add.reduceat(buffer == ord(","), starts, dtype=np.int32) != layout.width - 1
    for mark in (b'"', b"\r"):
        if mark in data:
            odd[np.searchsorted(ends, np.flatnonzero(buffer == mark[0]))] = True
    return odd


def _runs(flags: np.ndarray) -> Iterator[tuple[int, int]]:
    """First and last position of each run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], flags, [False])).astype(np.int8)))
    for first, after in edges.reshape(-1, 2).tolist():
        yield first, after - 1


def _decode(data: bytes, number: int, tally: Tally) -> list[str]:
    """The lines of ``data``, without line ends; ``number`` is that of the first."""
    try:
        return data.decode("utf-8").split("\n")
    except UnicodeDecodeError:
        lines = data.decode("utf-8", errors="replace").split("\n")
        wrong = [i for i, (line, raw) in enumerate(zip(lines, data.split(b"\n"), strict=True)) if line.encode() != raw]
        tally.not_utf8 += len(wrong)
        tally.first_not_utf8 = tally.first_not_utf8 or number + wrong[0]
        return lines


def _mend_lines(lines: Sequence[str], number: int, layout: Layout, tally: Tally) -> list[bytes]:
    """Read lines that no sound line interrupts; each record ends where the next begins."""
    begins = [i for i, line in enumerate(lines) if layout.left.match(line)]
    begins.append(len(lines))
    tally.leave_out(lines[: begins[0]], number)
    mended = []
    for first, after in pairwise(begins):
        record, used = read_record(lines[first:after], layout, tally)
        if record:
            mended.append(_as_csv(record))
        tally.leave_out(lines[first + used : after], number + first + used)
    return mended


def read_record(lines: Sequence[str], layout: Layout, tally: Tally) -> tuple[list[str] | None, int]:
    """Read the record that begins with the first of ``lines``; no other of them begins one.

    Returns:
        Its columns, or None if it cannot be read, and how many of the lines it took.
    """
    record, used = _parse(lines, layout)
    if record:
        tally.multi_line += used > 1
    else:
        record, used = _from_both_ends(lines, layout)
        if record and (used > 1 or "\r" in record[layout.n_left]):
            tally.bare_breaks += 1
        elif record and '"' in record[layout.n_left]:
            tally.broken_quotes += 1
        elif record:
            tally.bare_commas += 1
    tally.records += record is not None
    return record, used


def _parse(lines: Sequence[str], layout: Layout) -> tuple[list[str] | None, int]:
    """Read a record by the rules of csv."""
    limit = csv.field_size_limit(1 << 30)
    reader = csv.reader((f"{line}\n" for line in lines), strict=True)
    try:
        cells = next(reader)
    except csv.Error:
        return None, 0
    finally:
        csv.field_size_limit(limit)
    sound = len(cells) == layout.width and layout.is_right(cells[layout.n_left + 1 :])
    return (cells, reader.line_num) if sound else (None, 0)


def _from_both_ends(lines: Sequence[str], layout: Layout) -> tuple[list[str] | None, int]:
    """Take the columns left and right of the free text; what is between them is the text, as it stands."""
    match = layout.left.match(lines[0])
    if match is None:
        return None, 0
    start = match.end()
    for used, line in enumerate(lines, start=1):
        rest = (line[start:] if used == 1 else line).rsplit(",", layout.n_right)
        if layout.is_right(rest[1:]):
            left = next(csv.reader([lines[0][: start - 1]])) if layout.n_left else []
            text = "\n".join([*(lines[0][start:] if i == 0 else lines[i] for i in range(used - 1)), rest[0]])
            return [*left, text, *rest[1:]], used
    return None, 0


def _as_csv(record: Sequence[str]) -> bytes:
    cells = ('"' + c.replace('"', '""') + '"' if _SPECIAL.search(c) else c for c in record)
    return (",".join(cells) + "\n").encode()
