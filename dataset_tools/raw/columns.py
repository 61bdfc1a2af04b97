"""Columns that a user maps, ``NAME:TYPE=RAW``, and their values while a table is read chunk by chunk."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from recbole_video.dataset_tools.output.tokens import check_column_name, id_problem, refused_id
from recbole_video.dataset_tools.raw.lists import ListBuffer

from recbole_video.data.atomic_file import FIELD_TYPES, FLOAT
from recbole_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

TEXT = "text"
_WITH_COMMA = re.compile(r"[-+]?\d[\d.]*,[\d,]*\d")
Where = Callable[[int], str]  # names the place of a row by its number in the index of a chunk, for errors


@dataclass(frozen=True)
class RawColumn:
    """One column that is kept: its name and type in the data set, and its name in the raw file."""

    name: str
    type: str
    raw: str


def parse_column(option: str) -> RawColumn:
    """Read ``NAME:TYPE=RAW``, or ``NAME:TYPE`` where the raw column has the same name.

    Raises:
        ConfigError: If it is not of that form, or a header cannot hold the name.
    """
    described, _, raw = option.partition("=")
    name, colon, kind = described.rpartition(":")
    if not colon or not name or kind not in (*FIELD_TYPES, TEXT):
        raise ConfigError(f"`{option}` is not NAME:TYPE=RAW with a type of {', '.join((*FIELD_TYPES, TEXT))}.")
    check_column_name(name, ConfigError)
    return RawColumn(name, kind, raw or name)


def parse_count(option: str) -> RawColumn:
    """Read ``NAME=RAW``, or ``NAME`` where the raw column has the same name, as a column of numbers.

    Raises:
        ConfigError: If a header cannot hold the name.
    """
    name, _, raw = option.partition("=")
    check_column_name(name, ConfigError)
    return RawColumn(name, FLOAT, raw or name)


class TokenBuffer:
    """Collects tokens; each distinct one is stored once, however many rows there are."""

    def __init__(self) -> None:
        self._codes: list[np.ndarray] = []
        self._code_of: dict[str, int] = {}

    def add(self, values: pd.Series, where: Where) -> None:
        """Add the values of some rows, whose index tells their places.

        Raises:
            DataError: Naming the first row whose value is no single one.
        """
        import pandas as pd

        check_single(values, where)
        self._check(values, where)
        codes, distinct = pd.factorize(as_text(values))
        for code, token in enumerate(distinct):
            if problem := self._problem(token):
                line = values.index[int((codes == code).argmax())]
                raise DataError(f"{where(line)}: the id {refused_id(token, str(values.name), problem)}")
        known = self._code_of
        numbers = np.array([known.setdefault(token, len(known)) for token in distinct], dtype=np.int32)
        self._codes.append(numbers[codes])

    def _check(self, values: pd.Series, where: Where) -> None:
        """Check what values are before they become text; a feature may be anything."""

    def _problem(self, token: str) -> str | None:
        """Why a token is refused; a feature is not, but mended where it is written."""
        return None

    def array(self) -> np.ndarray:
        """All values, object [rows] of str."""
        tokens = np.array(list(self._code_of), dtype=object)
        return tokens[np.concatenate(self._codes)] if self._codes else tokens


class IdBuffer(TokenBuffer):
    """Collects ids of users or items, which are never mended: one that cannot be a token is refused."""

    def _check(self, values: pd.Series, where: Where) -> None:
        """JSON's ``true``, or a truth value of parquet, would become the word True."""
        import pandas as pd

        if pd.api.types.infer_dtype(values, skipna=True) in ("string", "integer", "floating"):
            return
        for line, value in zip(values.index, values, strict=True):
            if isinstance(value, (bool, np.bool_)):
                raise DataError(
                    f"{where(int(line))}, column `{values.name}`: {str(value).lower()} is a truth value and no id; "
                    "mend it, or name another column."
                )

    def _problem(self, token: str) -> str | None:
        return None if token in self._code_of else id_problem(token)


class NumberBuffer:
    """Collects numbers; a missing one is NaN."""

    def __init__(self) -> None:
        self._chunks: list[np.ndarray] = []

    def add(self, values: pd.Series, where: Where) -> None:
        """Add the values of some rows.

        Raises:
            DataError: Naming the first row that holds something other than a finite number.
        """
        check_single(values, where)
        numbers = as_numbers(values)
        bad = ~np.isfinite(numbers) & (as_text(values) != "").to_numpy() & values.notna().to_numpy()
        if bad.any():
            row = int(bad.argmax())
            problem = (
                "beyond what a float holds" if np.isinf(numbers[row]) else f"not a number{of_comma(values.iloc[row])}"
            )
            raise DataError(
                f"{where(values.index[row])}, column `{values.name}`: `{values.iloc[row]}` is {problem}; mend it, or "
                "leave the cell empty."
            )
        self._chunks.append(numbers)

    def array(self) -> np.ndarray:
        """All values that were added, float64 [rows]."""
        return np.concatenate(self._chunks) if self._chunks else np.empty(0)


Buffer: TypeAlias = TokenBuffer | NumberBuffer | ListBuffer


def buffers_of(columns: Sequence[RawColumn], list_separator: str | None = None) -> dict[str, Buffer]:
    """An empty buffer of the right kind for each column.

    Args:
        columns: The columns, without those of text.
        list_separator: Between the elements of lists that are text; None to tell it from the column.
    """
    kinds: dict[str, Callable[[], Buffer]] = {
        "token": TokenBuffer,
        "float": NumberBuffer,
        "token_seq": lambda: ListBuffer(False, list_separator),
        "float_seq": lambda: ListBuffer(True, list_separator),
    }
    return {column.name: kinds[column.type]() for column in columns}


def of_comma(value: Any) -> str:
    """What is said of a number that is written with a comma; nothing of anything else."""
    is_one = isinstance(value, str) and _WITH_COMMA.fullmatch(value.strip())
    return " (numbers are written with a point, as 16.8, and thousands are not set apart)" if is_one else ""


def as_text(values: pd.Series) -> pd.Series:
    """Values as text, a missing one as ``""``; text stays as it is."""
    import pandas as pd

    if pd.api.types.infer_dtype(values, skipna=False) in ("string", "empty"):
        return values
    return values.astype(object).where(values.notna(), "").map(str)


def as_numbers(values: pd.Series) -> np.ndarray:
    """Values as float64 [rows]; NaN for what is missing or no number, infinity for what a float does not hold."""
    import pandas as pd

    try:
        numbers = pd.to_numeric(values, errors="coerce")
        return numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    except (TypeError, ValueError, OverflowError):  # whole numbers of hundreds of digits
        return np.array([_as_number(value) for value in values], dtype=np.float64)


def _as_number(value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return np.inf
    except (TypeError, ValueError):
        return np.nan


def check_single(values: pd.Series, where: Where) -> None:
    """Check that no cell holds a list, an object or bytes, where one value is expected.

    Raises:
        DataError: Naming the first row that holds one.
    """
    import pandas as pd

    if values.dtype != object or pd.api.types.infer_dtype(values, skipna=True) in ("string", "integer", "floating"):
        return
    for row, value in enumerate(values):
        if isinstance(value, (list, tuple, dict, set, np.ndarray, bytes)):
            kinds: dict[type, str] = {dict: "an object", bytes: "bytes"}
            kind = kinds.get(type(value), "a list")
            raise DataError(
                f"{where(values.index[row])}, column `{values.name}`: `{value!s}` is {kind}, where one value is "
                "expected; mend it, or give the column the type token_seq or float_seq."
            )
