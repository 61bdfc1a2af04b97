"""Where each user's target stands in lists that another program has ranked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from recbole_video.data.sequence_loaders import HistoryLoader
from recbole_video.errors import ConfigError, DataError
from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import RankingMetrics
from recbole_video.evaluation.ties import tie_places

_ENTRIES_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class RankedLists:
    """Items that a program has ranked for users, the entries of a user side by side.

    Attributes:
        start: [n_users + 1] int64, where the entries of each user id begin, and the end.
        items: [E] int64, item ids, each once per user.
        scores: [E] float64, higher is better.
    """

    start: np.ndarray
    items: np.ndarray
    scores: np.ndarray

    def lengths(self, users: np.ndarray) -> np.ndarray:
        """Entries of each of ``users``, int64."""
        return self.start[users + 1] - self.start[users]


@dataclass(frozen=True)
class ListedRanking:
    """The outcome of judging lists.

    Attributes:
        ranking: As that of a model; a target that is not listed stands one place behind the last of all items.
        usable: [R] int64, entries of each list that count: what its user has seen does not, where the protocol ranks
            none of it.
        is_listed: [R] bool, whether the target is in the list.
        n_left_out: Entries that do not count.
    """

    ranking: Ranking
    usable: np.ndarray
    is_listed: np.ndarray
    n_left_out: int

    def is_short(self, k: int) -> np.ndarray:
        """Whether another item might have followed within the first ``k`` of each list, the target, too; bool [R]."""
        return ~self.is_listed & (self.usable < np.minimum(k, self.ranking.n_ranked))


def rank_listed(lists: RankedLists, loader: HistoryLoader, n_top: int = 0) -> ListedRanking:
    """Find each target of ``loader`` in the list of its user.

    The rank is counted as that of a model is: items with a higher score, and of equal ones those before it by the rule
    of all rankings. What the protocol does not rank is passed over.

    Args:
        lists: The lists.
        loader: Histories and targets, and what each user must not be shown.
        n_top: Also give this many best items, for lists that have so many; behind their end are zeros.
    """
    n_rows = len(loader.rows)
    counts = np.zeros((6, n_rows), dtype=np.int64)
    top = np.zeros((n_rows, n_top), dtype=np.int64)
    places = tie_places(loader.n_items, torch.device("cpu")).numpy()
    n_given = 0
    for index in _parts(lists.lengths(loader.users)):
        n_given += int(lists.lengths(loader.users[index]).sum())
        part = _Part(lists, loader, index, places)
        counts[:, index] = part.counted()
        if n_top:
            top[index] = part.best(n_top)
    ranks, n_above, n_tied, n_ranked, usable, is_listed = counts
    top_items = top if n_top else None
    ranking = Ranking(loader.users, loader.targets, ranks, n_above, n_tied, n_ranked, top_items)
    return ListedRanking(ranking, usable, is_listed.astype(bool), n_given - int(usable.sum()))


def _parts(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Positions of lists, few enough at a time for their entries to fit."""
    part = np.cumsum(lengths) // _ENTRIES_AT_ONCE
    yield from np.split(np.arange(len(lengths)), np.flatnonzero(np.diff(part)) + 1)


class _Part:
    """Some rows of a loader with the entries of their lists that count."""

    def __init__(self, lists: RankedLists, loader: HistoryLoader, index: np.ndarray, places: np.ndarray) -> None:
        users, self.targets, self.n_rows, n_items = (
            loader.users[index],
            loader.targets[index],
            len(index),
            loader.n_items,
        )
        lengths = lists.lengths(users)
        row = np.repeat(np.arange(len(index)), lengths)
        within = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        entry = lists.start[users][row] + within
        seen = _seen_pairs(loader, index, self.targets)
        counts = ~np.isin(row * n_items + lists.items[entry], seen)
        self.row, entry = row[counts], entry[counts]
        self.items, self.scores, self.places = lists.items[entry], lists.scores[entry], places
        self.n_ranked = n_items - 1 - np.bincount(seen // n_items, minlength=self.n_rows)

    def counted(self) -> np.ndarray:
        """Rank, items above, items tied, items ranked, entries that count, and whether the target is one; [6, rows]."""
        is_target = self.items == self.targets[self.row]
        target_score = np.full(self.n_rows, np.nan)
        target_score[self.row[is_target]] = self.scores[is_target]
        is_listed = ~np.isnan(target_score)
        own = target_score[self.row]  # NaN compares as false
        is_tied = (self.scores == own) & ~is_target
        is_before = is_tied & (self.places[self.items] < self.places[self.targets[self.row]])
        above = np.where(is_listed, self._number(self.scores > own), self.n_ranked)
        rank = 1 + above + self._number(is_before)
        usable = np.bincount(self.row, minlength=self.n_rows)
        return np.stack([rank, above, self._number(is_tied), self.n_ranked, usable, is_listed])

    def _number(self, flags: np.ndarray) -> np.ndarray:
        return np.bincount(self.row[flags], minlength=self.n_rows)

    def best(self, n: int) -> np.ndarray:
        """The ``n`` best items of each row, int64 [rows, n], zeros behind the end of a list."""
        order = np.lexsort((self.places[self.items], -self.scores, self.row))
        row = self.row[order]
        within = np.arange(len(row)) - np.searchsorted(row, row)
        best = np.zeros((self.n_rows, n), dtype=np.int64)
        best[row[within < n], within[within < n]] = self.items[order][within < n]
        return best


def _seen_pairs(loader: HistoryLoader, index: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """What the protocol does not rank, each row and item once: row * n_items + item, int64."""
    seen = loader.batch(index).seen
    if seen is None:
        return np.empty(0, dtype=np.int64)
    row, item = (part.numpy() for part in seen)
    return np.unique((row * loader.n_items + item)[item != targets[row]])


def check_metrics_follow(found: ListedRanking, metrics: RankingMetrics, shown: str) -> dict[str, Any]:
    """Refuse metrics that the lists do not say, and tell how exact the others are.

    Args:
        found: The judged lists.
        metrics: What is computed.
        shown: The file, for messages.

    Returns:
        ``exact_at``, the cut-offs of metrics that longer lists could not change, and ``short_lists``, by cut-off, how
        many targets might have been found had the list been longer: they count as misses.

    Raises:
        ConfigError: If a cut-off is beyond every list, or a metric needs what lists leave out.
    """
    longest = int(found.usable.max(initial=0))
    for k in metrics.topk:
        if k > longest and found.is_short(k).any():
            raise ConfigError(
                f"`topk` asks for the best {k} items, and the longest list of {shown} has {longest} that count (not "
                "what its user has seen, nor what the data do not know); lower topk, or write longer lists."
            )
    for name, needs_all in metrics.beyond_ranks().items():
        needed = found.ranking.n_ranked if needs_all else np.minimum(max(metrics.topk), found.ranking.n_ranked)
        if (found.usable < needed).any():
            what = (
                "the rank of every target among all items" if needs_all else f"{max(metrics.topk)} items of every user"
            )
            raise ConfigError(
                f"`metrics` names {name}, which needs {what}, and {shown} leaves some out; remove it, or complete the "
                "lists."
            )
    short = {k: int(found.is_short(k).sum()) for k in metrics.topk}
    return {
        "exact_at": [k for k, n in short.items() if not n],
        "short_lists": {str(k): n for k, n in short.items()},
    }


def grouped_by_user(users: np.ndarray, items: np.ndarray, scores: np.ndarray, n_users: int) -> RankedLists:
    """The lists of entries in any order.

    Args:
        users: [E] user ids.
        items: [E] item ids.
        scores: [E] float64.
        n_users: User ids there are, padding included.

    Raises:
        DataError: If there is no entry.
    """
    if not len(users):
        raise DataError("No entry of the lists is of a user and an item of the data.")
    order = np.argsort(users, kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(users, minlength=n_users))])
    return RankedLists(start, items[order], scores[order])
