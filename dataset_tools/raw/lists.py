"""Lists in cells: values of JSON and parquet as they are, and text that is split where it can be told how.

Text of a list is written in many ways: ``a b``, ``a,b``, ``a|b``, ``[1, 2]``, ``['a', 'b c']``, and as tuples and sets
are, ``(1, 2)`` and ``{1, 2}``. A column is read in one way. Which one is told from all its cells, and a column that
allows for two is refused.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.output.tokens import as_objects

from recbole_video.errors import DataError
from recbole_video.files.reading import parse_json

if TYPE_CHECKING:
    import pandas as pd

_BLANKS = "blanks"
_MARKS = {",": "commas", ";": "semicolons", "|": "bars"}
_BRACKETS = "brackets"
_AROUND_MARK = re.compile(r"\s*([,;|])\s*")
# Possessive repeats: what does not match fails at once, whatever its length.
_QUOTED = r"""(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")"""
_ANY_QUOTED = re.compile(_QUOTED)
_ELEMENT = rf"""(?:{_QUOTED}|[^\s,;|'"\[\]][^,;|'"\[\]]*+)"""
_WITH_COMMAS = re.compile(rf"\s*{_ELEMENT}\s*(?:,\s*{_ELEMENT}\s*)*,?\s*")
_ELEMENTS = re.compile(_ELEMENT)
# NumPy's way: numbers or quoted words with blanks between them.
_ARRAY_ELEMENT = rf"(?:{_QUOTED}|[-+.\dA-Za-z]*\d[-+.\dA-Za-z]*+)"
_WITH_BLANKS = re.compile(rf"\s*{_ARRAY_ELEMENT}(?:\s+{_ARRAY_ELEMENT})*\s*")
_ARRAY_ELEMENTS = re.compile(_ARRAY_ELEMENT)
_BRACKET = re.compile(r"[\[\](){}]")
_CLOSING = {"[": "]", "(": ")", "{": "}"}
# What Python writes of other kinds: array([1, 2]), frozenset({1}), set().
_CALL = re.compile(r"[A-Za-z_][\w.]*\(\s*[\[({].*\)|(?:frozen)?set\(\)", re.DOTALL)
_ALONE = re.compile(r"""\s*[^\s,;|'"\[\]]+\s*""")
_ESCAPED = re.compile(r"\\(.)")
_LONGEST_LIST = 1 << 20  # characters of a list in brackets


@dataclass(frozen=True)
class _Seen:
    """Where a way of writing lists was first met."""

    line: int
    text: str


class ListBuffer:
    """Collects lists of tokens or numbers.

    Args:
        of_numbers: Whether the elements are numbers.
        separator: Between elements in text, a blank for any white space; None to tell it from the column.
    """

    def __init__(self, of_numbers: bool, separator: str | None = None) -> None:
        self._of_numbers = of_numbers
        self._separator = separator
        self._values: list[Any] = []
        self._lines: list[int] = []
        self._seen: dict[str, _Seen] = {}
        self._met: set[str] = set()  # most texts occur many times
        self._name: Any = ""
        self._where: Callable[[int], str] = str

    def add(self, values: pd.Series, where: Callable[[int], str]) -> None:
        """Add the values of some rows: lists, single values or text; a missing one is an empty list."""
        self._name, self._where = values.name, where
        lines, cells = values.index.tolist(), values.tolist()
        self._values += cells
        self._lines += lines
        if self._separator is not None:
            return
        met = self._met
        for line, value in zip(lines, cells, strict=True):
            if isinstance(value, str) and value not in met:
                met.add(value)
                for kind in _kinds(value.strip()):
                    self._seen.setdefault(kind, _Seen(line, value))

    def array(self) -> np.ndarray:
        """All values, object [rows] of lists of float, or of lists of what the tokens are made of.

        Raises:
            DataError: Naming the row, if text can be split in two ways, an element is a list itself, or it is no
                number where numbers are wanted.
        """
        split = self._splitter()
        known: dict[str, list[Any]] = {}  # of texts: most occur many times
        lists = []
        for line, value in zip(self._lines, self._values, strict=True):
            if not isinstance(value, str):
                lists.append(self._checked(self._elements(value, line), line))
                continue
            if value not in known:
                known[value] = self._checked(split(value.strip(), line) if value.strip() else [], line)
            lists.append(known[value])
        return as_objects(lists)

    def _elements(self, value: Any, line: int) -> list[Any]:
        if isinstance(value, np.ndarray):
            value = value.tolist()
        if isinstance(value, (dict, bytes)):
            raise self._error(line, f"`{value!s}` is no list")
        if isinstance(value, (list, tuple)):
            return list(value)
        return [] if value is None or value != value or str(value) in ("<NA>", "NaT") else [value]

    def _checked(self, elements: list[Any], line: int) -> list[Any]:
        for element in elements:
            if isinstance(element, (list, tuple, dict, bytes, np.ndarray)):
                raise self._error(line, f"`{element!s}` is a list or an object within a list")
        return [self._number(element, line) for element in elements] if self._of_numbers else elements

    def _number(self, element: Any, line: int) -> float:
        try:
            number = float(element)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self._error(line, f"`{element}` is not a finite number")
        return number

    def _splitter(self) -> Callable[[str, int], list[Any]]:
        if self._separator is not None:
            separator = self._separator.strip() or None
            return lambda text, line: _split_at(text, separator)
        if len(self._seen) > 1:
            raise self._two_ways()
        kind = next(iter(self._seen), _BLANKS)
        if kind == _BRACKETS:
            return self._in_brackets
        mark = next((mark for mark, name in _MARKS.items() if name == kind), None)
        return lambda text, line: _split_at(text, mark)

    def _two_ways(self) -> DataError:
        (one, first), (other, second) = list(self._seen.items())[:2]
        if first.line == second.line:
            return self._error(first.line, f"`{first.text}` may be a list with {one} or with {other}")
        return self._error(second.line, f"`{second.text}` is a list with {other}, but `{first.text}` one with {one}")

    def _in_brackets(self, text: str, line: int) -> list[Any]:
        if not _is_bracketed(text):
            raise self._error(line, f"`{text}` is not in brackets, as `{self._seen[_BRACKETS].text}` is")
        elements = _bracketed(text) if len(text) <= _LONGEST_LIST else None
        if elements is None:
            raise self._error(line, f"`{text}` is an object, or no list that can be read")
        return elements

    def _error(self, line: int, problem: str) -> DataError:
        return DataError(
            f"{self._where(line)}, column `{self._name}`: {problem}; mend it, or say by --list_separator where text is "
            "split."
        )


def _split_at(text: str, separator: str | None) -> list[str]:
    """The elements of a text, white space between them where there is no separator."""
    return [part.strip() for part in text.split(separator) if part.strip()]


def _kinds(text: str) -> list[str]:
    """The ways in which a cell may be a list; none for a single element."""
    if _is_bracketed(text):
        return [_BRACKETS]
    found = [name for mark, name in _MARKS.items() if mark in text]
    if has_compound := _has_mark_in_brackets(text):
        found.append(_BRACKETS)
    if re.search(r"\s", _AROUND_MARK.sub(r"\1", text)):
        found.append(_BLANKS)
    if not has_compound and (text.startswith("[") or text.endswith("]")):
        found.append(_BRACKETS)
    return found


def _has_mark_in_brackets(text: str) -> bool:
    """Whether a mark stands within brackets, as in ``x, (y, z)``."""
    return any(not _is_balanced(part) for mark in _MARKS if mark in text for part in text.split(mark))


def _is_bracketed(text: str) -> bool:
    """Whether a cell is in brackets from its first to its last character, or is what Python writes of a list.

    Round ones are of a tuple only with a comma in them: ``(live)`` is a word.
    """
    if text.startswith("[") and text.endswith("]"):
        return True
    if text[:1] not in _CLOSING or text[-1:] != _CLOSING[text[0]]:
        return _CALL.fullmatch(text) is not None
    if text[0] == "(" and "," not in text and text[1:-1].strip():
        return False
    return _is_closed_by_last(text)


def _is_closed_by_last(text: str) -> bool:
    """Whether the last character closes the bracket that is the first: not so in ``(a), (b)``."""
    depth = 0
    for bracket in _BRACKET.finditer(_ANY_QUOTED.sub(lambda quoted: "x" * len(quoted.group()), text)):
        depth += 1 if bracket.group() in _CLOSING else -1
        if depth == 0:
            return bracket.end() == len(text)
    return True


def _bracketed(text: str) -> list[Any] | None:
    """The elements of a list as JSON, Python or NumPy write it; None if it is none of these."""
    inner = text[1:-1]
    if text[0] == "[":
        with suppress(DataError):
            return [_as_written(element) for element in parse_json(text, "It")]
    elif text[0] not in _CLOSING:
        return None
    elif not inner.strip():
        return []
    parts = _parts(inner)
    return [_unquoted(part) for part in parts] if parts and all(_is_element(part, text[0]) for part in parts) else None


def _parts(inner: str) -> list[str]:
    """What stands between brackets, cut into elements; nothing if that cannot be told."""
    if _ALONE.fullmatch(inner):
        return [inner.strip()]
    whole, elements = (_WITH_COMMAS, _ELEMENTS) if "," in inner else (_WITH_BLANKS, _ARRAY_ELEMENTS)
    return [part.strip() for part in elements.findall(inner)] if whole.fullmatch(inner) else []


def _is_element(part: str, opening: str) -> bool:
    """Whether a part is no part of a list within the list, or, between braces, of an object."""
    if part[0] in "'\"":
        return True
    if part[0] == "{" or (opening == "{" and ":" in part):
        return False
    return _is_balanced(part)


def _is_balanced(text: str) -> bool:
    return all(text.count(one) == text.count(other) for one, other in _CLOSING.items())


def _as_written(element: Any) -> Any:
    return repr(element) if isinstance(element, (int, float)) and not isinstance(element, bool) else element


def _unquoted(part: str) -> str:
    return _ESCAPED.sub(r"\1", part[1:-1]) if part[:1] in "'\"" else part
