"""Where each user's target ranks in the catalogue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recbole_video.data.sequence_loaders import EvalBatch, HistoryLoader
from recbole_video.errors import ConfigError, DeviceMemoryError, TrainingError
from recbole_video.evaluation.ties import tie_places
from recbole_video.runtime.processes import Processes, processes

# Ranks are counted for this many users at a time: what is held beside the scores is small.
_ROWS_AT_ONCE = {"cpu": 32, "cuda": 512}
_EXACT_IN_FLOAT32 = 2**24
_NOT_FINITE = "The model's scores are not finite: training has diverged; lower learning_rate."


@dataclass(frozen=True)
class Ranking:
    """The outcome of ranking the catalogue for R users, one target each.

    Attributes:
        users: [R] user ids.
        targets: [R] target item ids.
        ranks: [R] int64, 1 for a target in first place; among equal scores in the order of ``tie_places``.
        n_above: [R] int64, items with a higher score than the target.
        n_tied: [R] int64, other items with exactly its score.
        n_ranked: [R] int64, items that were ranked (not masked).
        top_items: [R, k] ids of the best items, or None where no metric needs them.
    """

    users: np.ndarray
    targets: np.ndarray
    ranks: np.ndarray
    n_above: np.ndarray
    n_tied: np.ndarray
    n_ranked: np.ndarray
    top_items: np.ndarray | None

    def __len__(self) -> int:
        return len(self.ranks)

    def take(self, index: np.ndarray) -> Ranking:
        """The ranking of some of the users, by mask or by position."""
        top_items = None if self.top_items is None else self.top_items[index]
        return Ranking(
            self.users[index],
            self.targets[index],
            self.ranks[index],
            self.n_above[index],
            self.n_tied[index],
            self.n_ranked[index],
            top_items,
        )


def hits_by_chance(ranking: Ranking, top_k: Sequence[int]) -> dict[str, float]:
    """Hit rates of a random order, by key: the mean over targets of k / n, where n items are ranked for their user."""
    n_ranked = np.maximum(ranking.n_ranked, 1)
    return {f"hit@{k}": float(np.minimum(k / n_ranked, 1).mean()) for k in top_k} if len(n_ranked) else {}


@torch.no_grad()
def rank_targets(
    model: Any,
    loader: HistoryLoader,
    device: torch.device,
    n_top: int = 0,
    show_progress: bool = False,
) -> Ranking:
    """Rank all items for each history of ``loader``.

    The rank is counted from the scores, without sorting: metrics of one target per user need no
    more. Scores are the model's own ``full_sort_predict``.

    Args:
        model: A sequential model of this package or of RecBole.
        loader: Histories and targets, and what each user must not be shown.
        device: Where the model is.
        n_top: Also return this many best items.
        show_progress: Show a progress bar.

    Raises:
        DeviceMemoryError: If scores do not fit on the device.
        TrainingError: If a target's score is not a number.
    """
    if n_top >= loader.n_items:
        raise ConfigError(f"`topk` asks for {n_top} items; the catalogue has {loader.n_items - 1}.")
    model.eval()
    n_rows = len(loader.rows)
    counts = np.zeros((4 + n_top, n_rows), np.int64)  # zeros where another process ranks
    group = processes()
    for batch in _shown(loader, group, show_progress):
        try:
            interaction = batch.interaction.to(device)
            scores = model.full_sort_predict(interaction)
            targets = interaction[loader.names.item]
            _check_target_scores(scores, targets)
            seen = None if batch.seen is None else tuple(part.to(device) for part in batch.seen)
            counted = count_ranks(scores, targets, seen)
            top = best_items(scores, n_top)[1] if n_top else None
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"The scores of {len(batch.index)} users do not fit on {device}; lower eval_memory_mb or "
                "eval_batch_size."
            ) from error
        counts[:4, batch.index] = torch.stack(counted).cpu().numpy()
        if top is not None:
            counts[4:, batch.index] = top.T.cpu().numpy()
    counts = group.sum_of(torch.from_numpy(counts)).numpy()
    ranks, n_above, n_tied, n_ranked = counts[:4]
    top_items = np.ascontiguousarray(counts[4:].T) if n_top else None
    return Ranking(loader.users, loader.targets, ranks, n_above, n_tied, n_ranked, top_items)


def _shown(loader: HistoryLoader, group: Processes, show_progress: bool) -> Iterable[EvalBatch]:
    """The batches of this process, with a progress bar where that is asked for and there is a terminal."""
    n_batches = math.ceil(len(loader) / group.size)
    disable = None if show_progress else True
    return tqdm(loader.of_process(group), "Evaluate", n_batches, leave=False, ncols=100, disable=disable)


def best_items(scores: Tensor, k: int, ids: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The ``k`` highest of each row of ``scores: [B, N]`` and their columns, each [B, k], best first.

    Equal scores stand in the order of ``tie_places``, as :func:`count_ranks` counts; ``topk`` takes any.

    Args:
        scores: One column per item.
        k: How many.
        ids: Item id of each column, int64 [N]; by default the id is the column.

    Raises:
        TrainingError: If a score is not a number.
    """
    n_ids = scores.shape[1] if ids is None else int(ids.max()) + 1
    places = tie_places(n_ids, scores.device)
    places = places if ids is None else places[ids]
    values, columns = scores.topk(min(k + 1, scores.shape[1]), dim=1)
    if torch.isnan(values[:, :1]).any():  # goes before all numbers
        raise TrainingError(_NOT_FINITE)
    is_cut = (
        values[:, k - 1] == values[:, k] if values.shape[1] > k else torch.zeros_like(columns[:, 0], dtype=torch.bool)
    )
    columns = columns[:, :k]
    for rows in is_cut.nonzero()[:, 0].split(_ROWS_AT_ONCE.get(scores.device.type, len(scores))):
        columns[rows] = _best_columns(scores[rows], k, places)  # equal scores on both sides of the cut
    columns = columns.gather(1, places[columns].argsort(dim=1))
    values, order = scores.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return values, columns.gather(1, order)


def _best_columns(scores: Tensor, k: int, places: Tensor) -> Tensor:
    """Columns of the ``k`` highest of each row, of equal ones those of the smallest places, in any order, [B, k]."""
    by_place = places.argsort()
    scores = scores[:, by_place]
    lowest = scores.topk(k, dim=1).values[:, -1:]
    above, equal = scores > lowest, scores == lowest
    n_equal = k - above.sum(dim=1, keepdim=True)
    kept = above | (equal & (equal.cumsum(dim=1, dtype=torch.int32) <= n_equal))
    return by_place[kept.nonzero()[:, 1]].view(-1, k)


def count_ranks(scores: Tensor, targets: Tensor, seen: tuple[Tensor, ...] | None) -> tuple[Tensor, ...]:
    """Mask ``scores: [B, N]`` in place and count where ``targets: [B]`` stand.

    Args:
        scores: Padding's column 0 and, where given, the ``seen`` (row, item) pairs become -inf.
        targets: Target item ids; never masked.
        seen: Row and item id of what must not be ranked.

    Returns:
        Rank, items above, other items with the same score, and items ranked, each [B].
    """
    target_score = scores.gather(1, targets[:, None])
    scores[:, 0] = -torch.inf
    if seen is not None:
        scores[seen] = -torch.inf
        scores.scatter_(1, targets[:, None], target_score)
    rows = _ROWS_AT_ONCE.get(scores.device.type, len(scores))
    parts = [
        _count_part(*part, is_masked=seen is not None)
        for part in zip(scores.split(rows), target_score.split(rows), targets.split(rows), strict=True)
    ]
    return tuple(torch.cat(counts) for counts in zip(*parts, strict=True))


def _count_part(scores: Tensor, target_score: Tensor, targets: Tensor, is_masked: bool) -> tuple[Tensor, ...]:
    """The counts of some rows; where ``is_masked``, items that must not be ranked are -inf."""
    n_items = scores.shape[1]
    # Ones and zeros that are float are summed four times as fast as booleans.
    dtype = torch.float32 if n_items < _EXACT_IN_FLOAT32 else torch.float64
    fulfilled = torch.empty_like(scores, dtype=dtype)

    def count(compare: Callable[..., Tensor], value: Tensor) -> Tensor:
        return compare(scores, value, out=fulfilled).sum(dim=1).long()

    n_ranked = torch.full_like(targets, n_items - 1)
    if is_masked:
        n_ranked = count(torch.gt, target_score.new_tensor(-torch.inf))
    # Counted from below, so that a target without a number as score comes last, not first.
    above = n_items - count(torch.le, target_score)
    tied = (count(torch.ge, target_score) - above - 1).clamp(min=0)
    rank = above + 1
    rows = torch.nonzero(tied)[:, 0]
    if len(rows):
        equal = scores[rows] == target_score[rows]
        places = tie_places(n_items, scores.device)
        rank[rows] += (equal & (places < places[targets[rows], None])).sum(dim=1)
    return rank, above, tied, n_ranked


def _check_target_scores(scores: Tensor, targets: Tensor) -> None:
    if not torch.isfinite(scores.gather(1, targets[:, None])).all():
        raise TrainingError(_NOT_FINITE)
