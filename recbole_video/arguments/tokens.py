"""Item tokens that a program hands over: in an order, and such that every file of text can hold them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

from recbole_video.errors import CONTROL, DataError


def ordered_tokens(items: Any, name: str = "items") -> list[str]:
    """The tokens of items whose rows are given beside them, as text.

    Args:
        items: A list, an array or anything else with an order.
        name: Name of the argument, for messages.

    Raises:
        DataError: If they have no order, are a single text, or one of them cannot be a token.
    """
    kind = type(items).__name__
    advice = "give a list, a token for each row of what belongs to them"
    if isinstance(items, Set):
        raise DataError(f"`{name}` is a {kind}, which has no order; {advice}.")
    is_flat = isinstance(items, Iterable) and getattr(items, "ndim", 1) == 1
    if not is_flat or isinstance(items, (str, bytes, Mapping)):
        raise DataError(f"`{name}` is a {kind} and no list of ids; {advice}.")
    values = items.tolist() if hasattr(items, "tolist") else list(items)
    for number, value in enumerate(values):
        if problem := token_problem(value):
            raise DataError(f"`{name}` holds `{value}` (number {number}, counted from 0), which {problem}.")
    return [str(value) for value in values]


def token_problem(value: Any) -> str | None:
    """Why a value cannot be the token of an item, the end of a sentence; None if it can."""
    if isinstance(value, str):
        if value.isalnum():  # as most are
            return None
        if not value.strip():
            return "is empty; give each item an id"
        held = CONTROL.search(value)
        return "holds a line break, a tab or another control character; rename it" if held else None
    if value is None or isinstance(value, (bool, Iterable)) or value != value:
        return "is no id; give text or a whole number"
    return None
