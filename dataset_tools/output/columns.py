"""Columns of features as the cells of an atomic file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.output.tokens import (
    Mended,
    as_objects,
    check_column_name,
    feature_sequences,
    feature_tokens,
    number_sequences,
)

from recbole_video.data.atomic_file import FIELD_TYPES
from recbole_video.errors import DataError, counted


def typed_columns(
    frame: Any, types: Mapping[str, str], card: Card, order: np.ndarray | slice = slice(None)
) -> dict[str, Any]:
    """The columns of a table as an atomic file holds them.

    Args:
        frame: DataFrame, or dict of arrays, with the columns named in ``types``.
        types: Column -> ``token``, ``token_seq``, ``float`` or ``float_seq``.
        card: Receives the number of empty cells, and a warning where cells of tokens had to be changed.
        order: Positions of the rows.

    Returns:
        ``name:type`` -> cells.

    Raises:
        DataError: If a type is unknown, a header cannot hold a name, or a column of numbers holds anything else.
    """
    columns = {}
    for name, kind in types.items():
        if kind not in FIELD_TYPES:
            raise DataError(f"The type of column `{name}` must be one of {', '.join(FIELD_TYPES)}, not `{kind}`.")
        check_column_name(name)
        columns[f"{name}:{kind}"] = _cells(name, frame[name], kind, order, card)
    return columns


def _cells(name: str, values: Any, kind: str, order: Any, card: Card) -> Any:
    if kind == "float":
        numbers = _numbers(name, values)[order]
        if np.isinf(numbers).any():
            raise DataError(f"The column `{name}` holds an infinite number; mend it in the raw file.")
        if empty := int(np.isnan(numbers).sum()):
            card.note(f"empty cells of {name}", empty)
        return numbers
    values = (as_objects(values) if kind.endswith("_seq") else np.asarray(values))[order]
    if kind == "float_seq":
        return number_sequences(values)
    if values.dtype.kind in "iu":
        return values
    mended = Mended()
    cells = (feature_sequences if kind == "token_seq" else feature_tokens)(values, mended)
    if mended.count:
        (before, after), *_ = mended.examples
        card.warn(
            f"In `{name}`, {counted(mended.count, 'cell was', 'cells were')} changed so that RecBole reads them "
            f"as tokens (first: {before!r} is now {after!r})."
        )
    return cells


def _numbers(name: str, values: Any) -> np.ndarray:
    """Whole or real numbers; missing ones are NaN."""
    array = np.asarray(values)
    if array.dtype.kind in "biuf":
        return array
    try:
        return np.array([np.nan if value is None or str(value) == "<NA>" else float(value) for value in array])
    except (TypeError, ValueError) as error:
        raise DataError(f"The column `{name}` must hold numbers: {error}.") from error
