"""Histories that a program hands to a loaded model, as item ids; what it does not know is warned of or refused."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd

from recbole_video.errors import ConfigError, DataError, counted, fit_for_message

Histories: TypeAlias = Mapping[Any, Sequence[Any]] | Sequence[Sequence[Any]] | pd.Series
ON_ERRORS = ("skip", "raise")


def known_histories(histories: Histories, id_of: Mapping[str, int], errors: str) -> dict[Any, np.ndarray]:
    """The item ids of each user's history, int64, oldest first; never empty.

    Args:
        histories: User -> item tokens, oldest first; or a list of such histories, whose users are then numbered
            from 0.
        id_of: Id of each item token.
        errors: ``skip`` leaves out items that are unknown, and users of whom nothing is left, and warns of both;
            ``raise`` refuses them.

    Raises:
        ConfigError: If ``errors`` is neither.
        DataError: If there is no history, one is no list, or, with ``raise``, an item is unknown or a history empty.
    """
    if errors not in ON_ERRORS:
        raise ConfigError(f"`errors` is `{errors}`; it must be one of {', '.join(ON_ERRORS)}.")
    unknown: list[str] = []
    found = {}
    for user, history in _by_user(histories).items():
        tokens = _tokens(user, history)
        unknown += (token for token in tokens if token not in id_of)
        found[user] = np.array([id_of[token] for token in tokens if token in id_of], dtype=np.int64)
    empty = [user for user, ids in found.items() if not len(ids)]
    if unknown:
        _raise_or_warn(
            f"{counted(len(unknown), 'item')} of histories (first: `{unknown[0]}`), unknown to the model", errors
        )
    if empty:
        _raise_or_warn(
            f"{counted(len(empty), 'user')} (first: `{empty[0]}`), with a history of no item that the model knows",
            errors,
        )
    return {user: ids for user, ids in found.items() if len(ids)}


def _by_user(histories: Histories) -> dict[Any, Any]:
    advice = "give a dictionary of user and items, oldest first, or a list of such lists of items"
    if isinstance(histories, pd.Series):
        if histories.index.has_duplicates:
            raise DataError(f"`histories` has two rows of a user; {advice}.")
        histories = histories.to_dict()
    if isinstance(histories, (str, bytes, set, frozenset, pd.DataFrame)) or not isinstance(histories, Iterable):
        raise DataError(f"`histories` is a {type(histories).__name__}; {advice}.")
    named = dict(histories) if isinstance(histories, Mapping) else dict(enumerate(histories))
    if not named:
        raise DataError("There is no history to recommend for.")
    return named


def _tokens(user: Any, history: Any) -> list[str]:
    advice = f"The history of user `{user}` must be a list of items, oldest first"
    if isinstance(history, (set, frozenset)):
        raise DataError(f"{advice}, not a set, which has no order.")
    tokens = history.tolist() if hasattr(history, "tolist") else history
    if isinstance(tokens, (str, bytes, Mapping)) or not isinstance(tokens, Iterable):
        several = (
            f'; a single history is [["{history}", ...]]' if isinstance(user, int) and isinstance(history, str) else ""
        )
        raise DataError(f"{advice}, not a {type(history).__name__}{several}.")
    return [str(token) for token in tokens]


def _raise_or_warn(message: str, errors: str) -> None:
    """Refuse what cannot be used, or warn that it is left out."""
    if errors == "raise":
        raise DataError(
            f"Not all histories can be used: {message}; add_videos takes in items, errors='skip' leaves these out."
        )
    warnings.warn(fit_for_message(f"Left out: {message}."), stacklevel=5)
