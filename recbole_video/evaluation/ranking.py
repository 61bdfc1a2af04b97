"""Where each user's target ranks in the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from recbole_video.data.loaders import HistoryLoader
from recbole_video.errors import DeviceMemoryError


@dataclass(frozen=True)
class Ranking:
    """The outcome of ranking the catalogue for R users, one target each.

    Attributes:
        users: [R] user ids.
        targets: [R] target item ids.
        ranks: [R] int64, 1 for a target in first place; among equal scores lower ids go first.
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
        """The ranking of some rows."""
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


@torch.no_grad()
def rank_targets(
    model: Any,
    loader: HistoryLoader,
    device: torch.device,
    mask_history: bool,
    n_top: int = 0,
    show_progress: bool = False,
) -> Ranking:
    """Rank all items for each history of ``loader``.

    The rank is counted from the scores, without sorting: metrics of one target per user need no
    more. Scores are the model's own ``full_sort_predict``.

    Args:
        model: A sequential model of this package or of RecBole.
        loader: Histories and targets.
        device: Where the model is.
        mask_history: Leave out what a user has seen, except the target itself.
        n_top: Also return this many best items.
        show_progress: Show a progress bar.

    Raises:
        DeviceMemoryError: If scores do not fit on the device.
    """
    model.eval()
    n_rows = len(loader.rows)
    counts = [np.empty(n_rows, np.int64) for _ in range(4)]
    top_items = np.empty((n_rows, n_top), np.int64) if n_top else None
    for batch in tqdm(loader, desc="Evaluate", ncols=100, leave=False, disable=None if show_progress else True):
        try:
            interaction = batch.interaction.to(device)
            scores = model.full_sort_predict(interaction)
            targets = interaction[loader.names.item]
            seen = (batch.seen_row.to(device), batch.seen_item.to(device)) if mask_history else None
            counted = count_ranks(scores, targets, seen)
            top = scores.topk(n_top, dim=1).indices if n_top else None
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"The scores of {len(batch.index)} users do not fit on {device}; lower eval_memory_mb or "
                "eval_batch_size."
            ) from error
        for whole, part in zip(counts, counted, strict=True):
            whole[batch.index] = part.cpu().numpy()
        if top is not None and top_items is not None:
            top_items[batch.index] = top.cpu().numpy()
    ranks, n_above, n_tied, n_ranked = counts
    return Ranking(loader.users, loader.targets, ranks, n_above, n_tied, n_ranked, top_items)


def count_ranks(scores: Tensor, targets: Tensor, seen: tuple[Tensor, Tensor] | None) -> tuple[Tensor, ...]:
    """Mask ``scores: [B, N]`` in place and count where ``targets: [B]`` stand.

    Args:
        scores: Padding's column 0 and, where given, the ``seen`` (row, item) pairs become -inf.
        targets: Target item ids; never masked.
        seen: Row and item id of what must not be ranked.

    Returns:
        Rank, items above, other items with the same score, and items ranked, each [B].
    """
    target_score = scores.gather(1, targets[:, None])
    n_ranked = torch.full_like(targets, scores.shape[1] - 1)
    scores[:, 0] = -torch.inf
    if seen is not None:
        scores[seen] = -torch.inf
        scores.scatter_(1, targets[:, None], target_score)
        n_ranked = torch.isfinite(scores).sum(dim=1)
    above = (scores > target_score).sum(dim=1)
    at_least = (scores >= target_score).sum(dim=1)
    tied = at_least - above - 1
    rank = above + 1
    rows = torch.nonzero(tied > 0)[:, 0]
    if len(rows):
        equal = scores[rows] == target_score[rows]
        lower_id = torch.arange(scores.shape[1], device=scores.device) < targets[rows, None]
        rank[rows] += (equal & lower_id).sum(dim=1)
    return rank, above, tied, n_ranked
