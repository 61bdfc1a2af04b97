"""Tokens, and names of columns, that RecBole reads back as they were written.

RecBole reads atomic files with pandas' default quoting and its default words for missing values:
a quote can swallow what follows, and a token such as ``NA`` becomes padding.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from recbole_video.errors import CONTROL, DataError, RecBoleVideoError

# What pandas takes for a missing value.
MISSING_WORDS = frozenset(
    ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
     "NULL", "NaN", "None", "n/a", "nan", "null"]
)  # fmt: skip
_PADDING = "[PAD]"  # RecBole's own token, for what is not there
_CONTROLS = re.compile(f"{CONTROL.pattern}+")


@dataclass
class Mended:
    """Counts cells that had to be changed.

    Attributes:
        count: How many.
        examples: The first few, as (before, after).
    """

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, before: str, after: str) -> None:
        self.count += 1
        if len(self.examples) < 3:
            self.examples.append((before, after))


def as_objects(values: Any) -> np.ndarray:
    """Values as an object array [rows], a list in a cell staying one."""
    array = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def id_problem(value: Any) -> str | None:
    """Why RecBole would not read an id back unchanged; None if it would."""
    token = str(value)
    if value is None or value != value or token in MISSING_WORDS or not token.strip():
        return "RecBole would read it as missing"
    if token == _PADDING:
        return "RecBole pads with this word"
    if '"' in token or CONTROL.search(token):
        return "RecBole would split it at a quote, tab or line break, or it holds another control character"
    return None


def check_ids(column: str, distinct: Iterable[Any]) -> None:
    """Check that RecBole reads ids back unchanged.

    Ids are never mended: media files are found by them.

    Raises:
        DataError: Naming the first such id.
    """
    for value in distinct:
        if problem := id_problem(value):
            raise DataError(f"The id {refused_id(str(value), column, problem)}")


def refused_id(token: str, column: str, problem: str) -> str:
    """The end of a message about an id that is refused."""
    return (
        f"`{token}` in column `{column}` cannot be a token: {problem}; rename it in the raw file and in the names of "
        "its media."
    )


def check_column_name(name: str, error_type: type[RecBoleVideoError] = DataError) -> None:
    """Check that the header ``name:type`` of an atomic file can hold the name of a column.

    Raises:
        RecBoleVideoError: If it is empty, has blanks around it, or holds a colon, a quote or a control character.
    """
    if not name or name != name.strip() or ":" in name or '"' in name or CONTROL.search(name):
        raise error_type(
            f"`{name}` cannot be the name of a column: the header of an atomic file takes no colon, quote, tab or line "
            "break in it, and no blank around it; give another name."
        )


def feature_tokens(values: Iterable[Any], mended: Mended) -> list[str]:
    """Cells of a ``token`` column: None and NaN become empty, quotes and line breaks go, ``NA`` becomes ``NA_``."""
    return ["" if _is_missing(value) else _mend(str(value), mended) for value in values]


def feature_sequences(values: Iterable[Any], mended: Mended) -> list[str]:
    """Cells of a ``token_seq`` column from lists of text, or from text that is split at spaces.

    RecBole splits at each space, so a space within an element of a list becomes an underscore.
    """
    return [" ".join(_elements(value, mended)) for value in values]


def number_sequences(values: Iterable[Any]) -> list[str]:
    """Cells of a ``float_seq`` column from lists of numbers, single numbers, or text with spaces between them."""
    cells = []
    for value in values:
        numbers = [] if _is_missing(value) else value.split() if isinstance(value, str) else value
        numbers = numbers if isinstance(numbers, (list, tuple, np.ndarray)) else [numbers]
        cells.append(" ".join(repr(float(number)) for number in numbers))
    return cells


def _elements(value: Any, mended: Mended) -> list[str]:
    if isinstance(value, str):
        value = value.split()
    elif not isinstance(value, (list, tuple, set, np.ndarray)):
        value = [] if _is_missing(value) else [value]
    elements = [_mend(str(element), mended, space="_") for element in value if not _is_missing(element)]
    return [element for element in elements if element]


def _is_missing(value: Any) -> bool:
    """Whether a cell is None, NaN or pandas' NA."""
    return value is None or (
        not isinstance(value, (str, list, tuple, np.ndarray)) and str(value) in ("nan", "<NA>", "NaT")
    )


def _mend(token: str, mended: Mended, space: str = " ") -> str:
    if token.isalnum() and token not in MISSING_WORDS:  # as most are
        return token
    text = _CONTROLS.sub(" ", token.replace("\0", "")).replace('"', "").strip()
    if space != " ":
        text = re.sub(r"\s+", space, text)
    if text and (text in MISSING_WORDS or text == _PADDING):
        text += "_"
    if text != token:
        mended.add(token, text)
    return text
