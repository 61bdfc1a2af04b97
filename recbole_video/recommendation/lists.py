"""Ranked lists of any other program, read from a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType

from recbole_video.dataset_tools.raw.columns import as_numbers, as_text
from recbole_video.dataset_tools.raw.tables import column_names, read_chunks, where_in
from recbole_video.errors import DataError
from recbole_video.evaluation.lists import RankedLists, grouped_by_user
from recbole_video.files.values import file_digest
from recbole_video.options.option import option
from recbole_video.recommendation.options import RecommendationOptions

_USERS, _ITEMS, _ORDERS = ("user_id", "user"), ("item_id", "item"), ("rank", "score")


class Lists(SequentialRecommender):
    """Stands in the place of a model for what no model of ours has ranked: ``--score_lists=FILE``."""

    is_video_model = True
    is_ranked_lists = True
    input_type = InputType.POINTWISE

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Ranked lists of any other program; of the other options, those of data and evaluation count."""

        score_lists: str | None = option(
            None,
            "csv, tsv, JSON lines or parquet of user_id, item_id, and rank (1 is best) or score.",
            is_path=True,
            section="Lists",
        )
        item_encoder: str = option(
            "ID", "With an encoder of content, missing_items leaves out what it does in its runs."
        )


@dataclass(frozen=True)
class ReadLists:
    """The lists of a file in ids of the data, and what was found on the way.

    Attributes:
        lists: The entries of known users and items.
        facts: Numbers for the result: rows, users, and what was left out.
    """

    lists: RankedLists
    facts: dict[str, Any]

    def __str__(self) -> str:
        return f"Ranked lists: {self.facts}"


def read_lists(path: str | Path, user_tokens: Sequence[str], item_tokens: Sequence[str]) -> ReadLists:
    """Read ranked lists; rows of unknown users or items are left out and counted.

    Items that follow an unknown one move up: what is not in the catalogue is not ranked.

    Args:
        path: A csv, tsv, JSON lines or parquet file with a header: ``user_id`` (or ``user``), ``item_id`` (or
            ``item``), and ``rank``, or else ``score``.
        user_tokens: Token of each user id; the first is the padding.
        item_tokens: Token of each item id; the first is the padding.

    Raises:
        DataError: In one sentence, if the file cannot be read, lacks a column, holds no number where one belongs, two
            items of a user with one rank, ranks with gaps, an item twice for a user, or nobody who is known.
    """
    path = Path(path)
    columns = _chosen_columns(path)
    codes = [_Codes(user_tokens), _Codes(item_tokens)]
    parts = [_read_chunk(chunk, columns, codes, path) for chunk in read_chunks(path, columns)]
    if not parts:
        raise DataError(f"`{path}` has no row behind its header; write the lists into it.")
    users, items, values, lines = (np.concatenate(part) for part in zip(*parts, strict=True))
    is_rank = _is(columns[2], "rank")
    where = where_in(path)
    if is_rank:
        _check_ranks(users, values, lines, codes[0], where)
    _check_no_repeats(users, items, lines, codes, where)
    known = (users < len(user_tokens)) & (items < len(item_tokens))
    facts = {
        "file": path.name,
        "sha256": file_digest(path),
        "ordered_by": "rank" if is_rank else "score",
        "rows": len(users),
        "unknown_users": codes[0].n_unknown,
        "unknown_items": codes[1].n_unknown,
        "rows_of_unknown": int((~known).sum()),
    }
    if not known.any():
        raise DataError(f"`{path}` names no user and item of the data together; check that ids are those of the data.")
    scores = -values if is_rank else values
    return ReadLists(grouped_by_user(users[known], items[known], scores[known], len(user_tokens)), facts)


class _Codes:
    """Numbers of tokens: those of the data have their ids, others follow in order of appearance."""

    def __init__(self, tokens: Sequence[str]) -> None:
        self._n_known = len(tokens)
        self._code = {str(token): code for code, token in enumerate(tokens) if code}

    @property
    def n_unknown(self) -> int:
        return len(self._code) - self._n_known + 1

    def of(self, tokens: pd.Series) -> np.ndarray:
        """The numbers of some tokens, int64."""
        for token in tokens[~tokens.isin(self._code)].unique():
            self._code[token] = len(self._code) + 1
        return tokens.map(self._code).to_numpy(dtype=np.int64)

    def token(self, code: int) -> str:
        """The token of a number."""
        return next(token for token, own in self._code.items() if own == code)


def _is(column: str, name: str) -> bool:
    """Whether a column has a name, with or without the type that atomic files write behind."""
    return column.partition(":")[0] == name


def _chosen_columns(path: Path) -> list[str]:
    """The columns of users, of items, and of what orders a list.

    Raises:
        DataError: If there is none of a kind.
    """
    names = column_names(path)
    chosen = []
    for wanted in (_USERS, _ITEMS, _ORDERS):
        found = [column for name in wanted for column in names if _is(column, name)]
        if not found:
            shown = ", ".join(f"`{name}`" for name in names[:20])
            raise DataError(f"`{path}` has no column `{wanted[0]}` (or `{wanted[1]}`); it has {shown}.")
        chosen.append(found[0])
    return chosen


def _read_chunk(chunk: pd.DataFrame, columns: list[str], codes: list[_Codes], path: Path) -> tuple[np.ndarray, ...]:
    """User and item numbers, rank or score, and line of each row."""
    found = []
    for column, code in zip(columns, codes, strict=False):
        tokens = as_text(chunk[column])
        _refuse(tokens.to_numpy() == "", chunk, column, "is empty", path)
        found.append(code.of(tokens))
    order = columns[2]
    values = as_numbers(chunk[order])
    _refuse(~np.isfinite(values), chunk, order, "is not a finite number", path)
    if _is(order, "rank"):
        _refuse((values < 1) | (values % 1 != 0), chunk, order, "is no rank, a whole number from 1", path)
    return *found, values, chunk.index.to_numpy(dtype=np.int64)


def _refuse(is_bad: np.ndarray, chunk: pd.DataFrame, column: str, what: str, path: Path) -> None:
    if is_bad.any():
        row = int(is_bad.argmax())
        place, cell = where_in(path)(chunk.index[row]), chunk[column].iloc[row]
        raise DataError(f"{place}, column `{column}`: `{cell}` {what}; mend the lists.")


def _check_ranks(users: np.ndarray, ranks: np.ndarray, lines: np.ndarray, codes: _Codes, where: Any) -> None:
    """Refuse a user of whom two items have one rank, or whose ranks are not 1 to n."""
    order = np.lexsort((ranks, users))
    user, rank = users[order], ranks[order]
    same_user = user[1:] == user[:-1]
    twice = np.flatnonzero(same_user & (rank[1:] == rank[:-1]))
    if len(twice):
        token, place = codes.token(int(user[twice[0]])), where(lines[order][twice[0] + 1])
        raise DataError(f"{place}: user `{token}` has the rank {rank[twice[0]]:g} twice; give each item its own.")
    wanted = np.arange(len(user)) - np.searchsorted(user, user) + 1
    gap = np.flatnonzero(rank != wanted)
    if len(gap):
        token, place = codes.token(int(user[gap[0]])), where(lines[order][gap[0]])
        raise DataError(
            f"{place}: the ranks of user `{token}` are not 1, 2, 3, ...: {wanted[gap[0]]} is missing before "
            f"{rank[gap[0]]:g}; number them without gaps, or give scores."
        )


def _check_no_repeats(users: np.ndarray, items: np.ndarray, lines: np.ndarray, codes: list[_Codes], where: Any) -> None:
    order = np.lexsort((items, users))
    user, item = users[order], items[order]
    twice = np.flatnonzero((user[1:] == user[:-1]) & (item[1:] == item[:-1]))
    if len(twice):
        names = [code.token(int(part[twice[0]])) for code, part in zip(codes, (user, item), strict=True)]
        raise DataError(
            f"{where(lines[order][twice[0] + 1])}: item `{names[1]}` stands twice in the list of user `{names[0]}`; "
            "keep one."
        )
