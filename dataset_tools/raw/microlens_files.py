"""Readers of the raw MicroLens files; each counts the faults it meets in a ``Counter``."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from recbole_video.errors import DataError
from recbole_video.files.raw import filled_lines, numbered_lines, whole_number

# Counts in files that were fetched before 2025-01-26 can be too large by a factor of 10,000.
STALE_VIEWS = 10_000_000_000
_NUMBERED = re.compile(r'\s*"?([0-9]{1,18})"?,(.*)', re.DOTALL)  # an id of 64 bits
_JOINED_LINES = 10_000


def numbered_texts(path: Path, faults: Counter[str]) -> Iterator[tuple[int, str]]:
    """Item id and text of a two-column csv, as it comes: titles, or one tag per item.

    The file may have a header or none, and its text may be quoted or not: the first comma ends the id,
    and the rest of the line is the text, without its quotes where they pair. A line that does not begin
    with an id goes on with a quoted text of the line before. Blanks around a text go.

    Args:
        path: The file.
        faults: Counts what does not follow the csv rules.

    Yields:
        The first text of each id, in the order of the file.
    """
    seen: set[int] = set()
    for item, raw in _records(path, faults):
        if item in seen:
            faults["ids that occur again (their first text is kept)"] += 1
            continue
        seen.add(item)
        yield item, _unquoted(raw.strip(), faults).strip()


def _records(path: Path, faults: Counter[str]) -> Iterator[tuple[int, str]]:
    """Item id and what follows its comma, quotes included."""
    pending: tuple[int, str] | None = None
    for number, line in numbered_lines(path):
        if match := _NUMBERED.fullmatch(line):
            if pending:
                if _is_open(pending[1]):
                    faults["quotes that are open where the next line begins with an id (taken for a new text)"] += 1
                yield pending
            pending = int(match[1]), match[2]
        elif pending and _is_open(pending[1]):
            pending = pending[0], f"{pending[1]}\n{line}"
            faults["lines that go on with a quoted text"] += 1
        elif line.strip() and number > 1:  # line 1 is a header
            faults["lines without an id (left out)"] += 1
    if pending:
        yield pending


def _is_open(raw: str) -> bool:
    return raw.startswith('"') and raw.count('"') % 2 == 1


def _unquoted(raw: str, faults: Counter[str]) -> str:
    inner = raw[1:-1]
    if len(raw) >= 2 and raw[0] == raw[-1] == '"' and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    if '"' in raw:
        faults["texts with quotes that do not follow the csv rules (kept as they are)"] += 1
    elif "," in raw:
        faults["texts with commas and no quotes (kept whole)"] += 1
    return raw


def read_likes_and_views(path: Path) -> dict[str, np.ndarray]:
    """Columns ``item_id``, ``likes`` and ``views``, int64, of the tab-separated file without header.

    Raises:
        DataError: Naming the first line that is not three whole numbers, or the first item that occurs twice.
    """
    rows = []
    for number, line in filled_lines(path):
        cells = [whole_number(cell.strip()) for cell in line.split("\t")]
        if len(cells) != 3 or None in cells:
            raise DataError(
                f"`{path}`, line {number}: `{line}` is not item id, likes and views, whole numbers of 64 bits with "
                "tabs between them."
            )
        rows.append(cells)
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    _check_once(path, table[:, 0])
    return {"item_id": table[:, 0], "likes": table[:, 1], "views": table[:, 2]}


def _check_once(path: Path, items: np.ndarray) -> None:
    distinct, counts = np.unique(items, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"`{path}` lists item {distinct[counts > 1][0]} twice; keep one line of each.")


def count_comments(path: Path, faults: Counter[str]) -> dict[int, int]:
    """Comments per item: lines of user, item and text, with tabs between; the text may hold tabs and quotes.

    A line with fewer than three fields is left out, as the public readers do.
    """
    counts: Counter[int] = Counter()
    for _, line in filled_lines(path):
        cells = line.split("\t", 2)
        if len(cells) < 3:
            faults["comment lines with fewer than three fields (left out)"] += 1
        elif (item := whole_number(cells[1])) is None:
            faults["comment lines whose item is no number (left out)"] += 1
        else:
            counts[item] += 1
    return dict(counts)


def read_sequences(path: Path) -> dict[str, np.ndarray]:
    """``user_id`` and ``item_id`` of the tsv of pairs: a user, a tab, item ids, oldest first, with spaces between.

    Raises:
        DataError: Naming the first line that is not of that form.
    """
    users: list[int] = []
    lengths: list[int] = []
    texts: list[str] = []
    items: list[np.ndarray] = []
    for number, line in filled_lines(path):
        name, tab, sequence = line.partition("\t")
        user, cells = whole_number(name), sequence.split()
        if not tab or user is None or not cells or not all(map(_is_id, cells)):
            raise DataError(f"`{path}`, line {number}: `{line}` is not a user id, a tab, and item ids of 64 bits.")
        users.append(user)
        lengths.append(len(cells))
        texts.append(" ".join(cells))
        if len(texts) == _JOINED_LINES:
            items.append(_whole_numbers(texts))
            texts = []
    items.append(_whole_numbers(texts))
    _check_once(path, np.array(users, dtype=np.int64))
    return {"user_id": np.repeat(np.array(users, dtype=np.int64), lengths), "item_id": np.concatenate(items)}


def _is_id(cell: str) -> bool:
    return cell.isdecimal() and (len(cell) < 19 or whole_number(cell) is not None)


def _whole_numbers(texts: Iterable[str]) -> np.ndarray:
    return np.array(" ".join(texts).split(), dtype=np.int64)


def disagreements(csv: dict[str, np.ndarray], tsv: dict[str, np.ndarray]) -> dict[str, list[int]]:
    """Users whose sequence is not the same in both files of pairs.

    Args:
        csv: ``user_id`` and ``item_id``, sorted by user and time.
        tsv: The same from the other file, each user's items in order.

    Returns:
        Kind of disagreement -> users, ascending; empty if both agree.
    """
    order = np.argsort(tsv["user_id"], kind="stable")
    ours, theirs = (csv["user_id"], csv["item_id"]), (tsv["user_id"][order], tsv["item_id"][order])
    if all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)):
        return {}
    left, right = _by_user(*ours), _by_user(*theirs)
    found: dict[str, list[int]] = {}
    for user in sorted(left.keys() | right.keys()):
        a, b = left.get(user), right.get(user)
        if a is None or b is None:
            kind = "in one file only"
        elif np.array_equal(a, b):
            continue
        else:
            kind = "with other items" if sorted(a) != sorted(b) else "with the same items in another order"
        found.setdefault(kind, []).append(user)
    return found


def _by_user(users: np.ndarray, items: np.ndarray) -> dict[int, np.ndarray]:
    if not len(users):
        return {}
    distinct, starts = np.unique(users, return_index=True)
    return dict(zip(distinct.tolist(), np.split(items, starts[1:]), strict=True))
