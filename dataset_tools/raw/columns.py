"""Columns that a user maps, ``NAME:TYPE=RAW``, and their values while a table is read part by part."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from recbole_video.dataset_tools.output.tokens import as_objects

from recbole_video.data.atomic_file import FIELD_TYPES
from recbole_video.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

TEXT = "text"
Where = Callable[[int], str]  # names the place of a row of the part, for errors


@dataclass(frozen=True)
class Column:
    """One column that is kept: its name and type in the data set, and its name in the raw file."""

    name: str
    type: str
    raw: str


def parse_column(option: str) -> Column:
    """Read ``NAME:TYPE=RAW``, or ``NAME:TYPE`` where the raw column has the same name.

    Raises:
        ConfigError: If it is not of that form.
    """
    described, _, raw = option.partition("=")
    name, colon, kind = described.rpartition(":")
    if not colon or not name or kind not in (*FIELD_TYPES, TEXT):
        raise ConfigError(f"`{option}` is not NAME:TYPE=RAW with a type of {', '.join((*FIELD_TYPES, TEXT))}.")
    return Column(name, kind, raw or name)


class TokenBuffer:
    """Collects tokens; each distinct one is held once, however many rows there are."""

    def __init__(self) -> None:
        self._codes: list[np.ndarray] = []
        self._code_of: dict[str, int] = {}

    def add(self, values: pd.Series, where: Where) -> None:
        import pandas as pd

        codes, distinct = pd.factorize(as_text(values))
        known = self._code_of
        numbers = np.array([known.setdefault(token, len(known)) for token in distinct], dtype=np.int32)
        self._codes.append(numbers[codes])

    def array(self) -> np.ndarray:
        """All values, object [rows] of str."""
        tokens = np.array(list(self._code_of), dtype=object)
        return tokens[np.concatenate(self._codes)] if self._codes else tokens


class NumberBuffer:
    """Collects numbers; a missing one is NaN."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []

    def add(self, values: pd.Series, where: Where) -> None:
        import pandas as pd

        numbers = pd.to_numeric(values, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        bad = np.isnan(numbers) & (as_text(values) != "").to_numpy() & values.notna().to_numpy()
        if bad.any():
            row = int(bad.argmax())
            raise DataError(f"{where(row)}, column `{values.name}`: `{values.iloc[row]}` is not a number.")
        self._parts.append(numbers)

    def array(self) -> np.ndarray:
        """All values, float64 [rows]."""
        return np.concatenate(self._parts) if self._parts else np.empty(0)


class ObjectBuffer:
    """Collects values as they are: lists, or text that is still to be split."""

    def __init__(self) -> None:
        self._values: list[object] = []

    def add(self, values: pd.Series, where: Where) -> None:
        self._values += values.tolist()

    def array(self) -> np.ndarray:
        """All values, object [rows]."""
        return as_objects(self._values)


Buffer = TokenBuffer | NumberBuffer | ObjectBuffer


def buffers_of(columns: Sequence[Column]) -> dict[str, Buffer]:
    """An empty buffer of the right kind for each column."""
    kinds: dict[str, type[Buffer]] = {"token": TokenBuffer, "float": NumberBuffer}
    return {column.name: kinds.get(column.type, ObjectBuffer)() for column in columns}


def as_text(values: pd.Series) -> pd.Series:
    """Values as text, a missing one as ``""``; text stays as it is."""
    import pandas as pd

    if pd.api.types.infer_dtype(values, skipna=False) in ("string", "empty"):
        return values
    return values.astype(object).where(values.notna(), "").map(str)
