"""Training objectives: pure functions of queries, targets and item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_video.options.option import option


@dataclass(frozen=True)
class LossOptions:
    """Which loss, and what it reads."""

    loss_type: Literal["in_batch", "CE", "BPR"] = option(
        "in_batch", "in_batch, or RecBole's CE (softmax over the catalogue) or BPR.", section="Loss"
    )
    logq_power: float = option(1.0, "in_batch: exponent of the popularity correction; 0 switches it off.", at_least=0)
    train_neg_sample_args: dict[str, Any] | None = option(
        None, "BPR only, as in RecBole: distribution uniform or popularity, sample_num.", by_hand=True
    )


def in_batch(
    queries: Tensor,
    targets: Tensor,
    rows: Tensor,
    owned: Tensor,
    candidates: Tensor,
    column_weight: Tensor,
    target_weight: Tensor,
    bias: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the items of the batch with logQ correction (CVA, Eq. 6), distinct form.

    By definition there is one column per *occurrence* of an item in the batch, and all occurrences
    of items in the user's own sequence are masked, except one of the target. The same loss has one
    column per distinct item with log(occurrences) added, except the target's, which counts once.

    Args:
        queries: User states [Q, d].
        targets: Column of each query's right answer [Q].
        rows: Sequence that each query belongs to [Q].
        owned: [B, C] bool, items that occur in each sequence; never negatives for it.
        candidates: Vectors of the distinct items of the batch [C, d].
        column_weight: [C], log(occurrences in the batch) - log(popularity).
        target_weight: [C], - log(popularity): the weight of an item as target.
        bias: [C] item bias, or None.

    Returns:
        Mean loss in nats, a scalar.
    """
    shift = column_weight.masked_fill(owned, -torch.inf)[rows]
    shift.scatter_(1, targets[:, None], target_weight[targets][:, None])
    logits = scores(queries, candidates) + shift
    if bias is not None:
        logits = logits + bias
    return F.cross_entropy(logits, targets)


def full_softmax(queries: Tensor, targets: Tensor, catalogue: Tensor, bias: Tensor | None = None) -> Tensor:
    """RecBole's ``CE``: cross-entropy over the whole catalogue.

    Args:
        queries: User states [Q, d].
        targets: Item id of each query's right answer [Q].
        catalogue: Vectors of all items [N, d], the zero row of the padding included as in RecBole.
        bias: [N] item bias, or None.

    Returns:
        Mean loss in nats, a scalar.
    """
    logits = scores(queries, catalogue)
    return F.cross_entropy(logits if bias is None else logits + bias, targets)


def bpr(positive: Tensor, negative: Tensor) -> Tensor:
    """RecBole's ``BPR``: -log(1e-10 + sigmoid(positive - negative)), averaged.

    Args:
        positive: Scores of the right answers [Q, 1].
        negative: Scores of sampled items [Q, S].

    Returns:
        Mean loss in nats, a scalar.
    """
    return -torch.log(1e-10 + torch.sigmoid(positive.float() - negative.float())).mean()


def scores(queries: Tensor, items: Tensor) -> Tensor:
    """Dot products of queries [Q, d] with items: [Q, N] for items [N, d], [Q, S] for a query's own [Q, S, d].

    They are float32 under autocast too: bfloat16 rounds a score of 10 to the next sixteenth, which is more than what a
    loss has to tell apart.
    """
    with torch.autocast(queries.device.type, enabled=False):
        if items.dim() == 2:
            return queries.float() @ items.float().T
        return torch.einsum("qd,qsd->qs", queries.float(), items.float())


def popularity_log(counts: Tensor, power: float) -> Tensor:
    """``power`` times the log of each item's share of training actions: [N] -> [N], 0 where unseen."""
    share = counts.double() / counts.sum()
    return torch.where(counts > 0, power * torch.log(share.clamp(min=1e-300)), 0.0).float()
