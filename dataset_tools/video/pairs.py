"""A csv of items and one text each: titles, or paths of videos. What is not clear is refused, or said."""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_video.errors import DataError
from recbole_video.files.reading import read_text

_LONGEST_CELL = 1 << 24  # characters
_QUOTED = re.compile(r'"(?:[^"]|"")*"')
_ROW = re.compile(r'"?[^\s,"]+"?,(?!\s)')  # how a row begins, as a line of a text that is quoted hardly does


def read_pairs(path: Path, keys: Sequence[str], value: str) -> Iterator[tuple[int, str, str]]:
    """Read item and text of each row.

    A first line that names one of the columns is a header: the file is then a csv, and every row must have as many
    columns as it; a text with a comma stands in quotes. Without a header the first comma of a line ends the item, and
    the rest of the line is the text, without its quotes where they enclose all of it; that is logged.

    Args:
        path: The file.
        keys: Names that the column of items may have, the usual one first.
        value: Name of the column of texts.

    Yields:
        Number of the line that the row begins in, item and text.

    Raises:
        DataError: If the file is not text in UTF-8, lacks a column, or a row is not clear; the line is named.
    """
    content = read_text(path)
    first = content.partition("\n")[0]
    header = [cell.strip().strip('"').lower() for cell in first.split(",")]
    rows = _with_header(path, content, keys, value)
    return rows if {*keys, value} & set(header) else _without_header(path, content, keys[0], value)


def _with_header(path: Path, content: str, keys: Sequence[str], value: str) -> Iterator[tuple[int, str, str]]:
    rows = _rows(path, content)
    _, header = next(rows)
    names = [name.strip().lower() for name in header]
    key = next((key for key in keys if key in names), keys[0])
    for name in (key, value):
        if names.count(name) != 1:
            problem = f"{keys[0]} and {value} are needed" if name not in names else f"`{name}` is there twice"
            raise DataError(f"`{path}`, line 1: the columns are {', '.join(header)}; {problem}.")
    key_at, value_at = names.index(key), names.index(value)
    for line, row in rows:
        if len(row) != len(names):
            raise DataError(
                f"`{path}`, line {line}: {len(row)} columns where the header has {len(names)}; put a {value} with "
                f'commas in quotes, as in {key},"{value}", and double the quotes in it.'
            )
        if not row[key_at]:
            raise DataError(f"`{path}`, line {line}: there is no {key}; each line has {key} and {value}.")
        yield line, row[key_at], row[value_at]


def _rows(path: Path, content: str) -> Iterator[tuple[int, list[str]]]:
    """Rows of a csv that are not blank, with the lines that they begin in."""
    lines = content.split("\n")
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    limit = csv.field_size_limit(_LONGEST_CELL)
    line = 1
    try:
        for row in reader:
            inside = [text for text in lines[line : reader.line_num] if text.strip()]
            if inside and all(_ROW.match(text) for text in inside):
                raise DataError(
                    f"`{path}`, line {line}: a quote that is opened there takes in the lines up to {reader.line_num}, "
                    "which look like rows of their own; double a quote that is part of the text, and put the text in "
                    "quotes."
                )
            if row:
                yield line, row
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(
            f"`{path}`, line {line}: the quotes are not those of a csv ({error}); double a quote that is part of the "
            "text, and put the text in quotes."
        ) from error
    finally:
        csv.field_size_limit(limit)


def _without_header(path: Path, content: str, key: str, value: str) -> Iterator[tuple[int, str, str]]:
    told = False
    for line, text in enumerate(content.split("\n"), start=1):
        if not text.strip():
            continue
        item, comma, rest = text.partition(",")
        item = item.strip().strip('"')
        if not comma or not item:
            raise DataError(f"`{path}`, line {line}: `{text}` is not {key} and {value} with a comma between them.")
        rest = rest[1:-1].replace('""', '"') if _QUOTED.fullmatch(rest) else rest
        if not told:
            logging.getLogger(__name__).warning(
                f"{path.name} has no header with {key} and {value}: the first comma of each line ends its {key}, and "
                f"the rest is its {value} (line {line}: {item[:40]!r} and {rest[:80]!r})."
            )
            told = True
        yield line, item, rest
