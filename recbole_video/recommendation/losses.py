"""Training objectives: pure functions of queries, targets and item vectors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from recbole_video.options.option import option
from recbole_video.runtime.precision import full_precision

LOGITS_AT_ONCE = 2**26  # 256 MB of them


@dataclass(frozen=True)
class LossOptions:
    """Which loss, and what it reads."""

    loss_type: Literal["in_batch", "CE", "BPR"] = option(
        "in_batch", "in_batch, or RecBole's CE (softmax over the catalogue) or BPR.", section="Loss"
    )
    logq_power: float = option(1.0, "in_batch: exponent of the popularity correction; 0 switches it off.", at_least=0)
    candidate_group: int | None = option(
        None,
        "in_batch: sequences of a step whose items compete, a divisor of train_batch_size; empty: all of the step.",
        at_least=2,
        void_when=(("loss_type", "CE"), ("loss_type", "BPR")),
    )
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
    group: Tensor | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy over the items of the batch with logQ correction (CVA, Eq. 6), distinct form.

    By definition there is one column per *occurrence* of an item in the batch, and all occurrences
    of items in the user's own sequence are masked, except one of the target. The same loss has one
    column per distinct item with log(occurrences) added, except the target's, which counts once.

    With several groups of candidates, a query competes with the items of its own group only, as if each group were a
    batch, and the loss is the mean of the groups' losses.

    Args:
        queries: User states [Q, d].
        targets: Column of each query's right answer [Q].
        rows: Sequence that each query belongs to [Q].
        owned: [B, C] bool, items that occur in each sequence; never negatives for it.
        candidates: Vectors of the distinct items of the batch [C, d].
        column_weight: [G, C], log(occurrences in the group) - log(popularity), -inf where there is none.
        target_weight: [C], - log(popularity): the weight of an item as target.
        bias: [C] item bias, or None.
        group: [B] group of each sequence; None where G is 1.
        weight: [Q] weight of each query in the mean; None for 1.

    Returns:
        Mean loss in nats, a scalar.
    """
    of_row = (column_weight if group is None else column_weight[group]).masked_fill(owned, -torch.inf)

    def logits(part: slice) -> Tensor:
        shift = of_row[rows[part]]
        shift.scatter_(1, targets[part, None], target_weight[targets[part]][:, None])
        shifted = scores(queries[part], candidates) + shift
        return shifted if bias is None else shifted + bias

    losses = _cross_entropy(logits, targets, len(candidates))
    if group is None:
        return weighted_mean(losses, weight)
    return mean_over_groups(losses, group[rows], len(column_weight), weight)


def _cross_entropy(logits: Callable[[slice], Tensor], targets: Tensor, n_columns: int) -> Tensor:
    """Cross-entropy of each query, [Q]; many logits are made in parts, and once more for the gradient of each part.

    Args:
        logits: Makes those of some queries, [q, N].
        targets: Column of the right answer of each query, [Q].
        n_columns: N.
    """
    n_queries = len(targets)
    n_at_once = max(1, LOGITS_AT_ONCE // n_columns)

    def loss(part: slice) -> Tensor:
        return F.cross_entropy(logits(part), targets[part], reduction="none")

    if n_queries <= n_at_once:
        return loss(slice(None))
    parts = [slice(start, start + n_at_once) for start in range(0, n_queries, n_at_once)]
    return torch.cat([checkpoint(loss, part, use_reentrant=False, preserve_rng_state=False) for part in parts])


def weighted_mean(losses: Tensor, weight: Tensor | None) -> Tensor:
    """Mean of ``losses: [Q]`` with ``weight: [Q]``, or None for 1: a scalar."""
    return losses.mean() if weight is None else (losses * weight).sum() / weight.sum()


def mean_over_groups(losses: Tensor, group: Tensor, n_groups: int, weight: Tensor | None = None) -> Tensor:
    """The mean of the groups' mean losses: of ``losses: [Q]``, ``group: [Q]``, a scalar; a group without any is 0."""
    weight = torch.ones_like(losses) if weight is None else weight.to(losses.dtype)
    sums = losses.new_zeros(n_groups).index_add(0, group, losses * weight)
    sizes = losses.new_zeros(n_groups).index_add(0, group, weight)
    return (sums / sizes.clamp(min=1)).mean()


def full_softmax(
    queries: Tensor, targets: Tensor, catalogue: Tensor, bias: Tensor | None = None, weight: Tensor | None = None
) -> Tensor:
    """RecBole's ``CE``: cross-entropy over the whole catalogue.

    Args:
        queries: User states [Q, d].
        targets: Item id of each query's right answer [Q].
        catalogue: Vectors of all items [N, d], the zero row of the padding included as in RecBole.
        bias: [N] item bias, or None.
        weight: [Q] weight of each query in the mean; None for 1.

    Returns:
        Mean loss in nats, a scalar.
    """

    def logits(part: slice) -> Tensor:
        plain = scores(queries[part], catalogue)
        return plain if bias is None else plain + bias

    return weighted_mean(_cross_entropy(logits, targets, len(catalogue)), weight)


def bpr(positive: Tensor, negative: Tensor, weight: Tensor | None = None) -> Tensor:
    """RecBole's ``BPR``: -log(1e-10 + sigmoid(positive - negative)), averaged.

    Args:
        positive: Scores of the right answers [Q, 1].
        negative: Scores of sampled items [Q, S].
        weight: [Q] weight of each query in the mean; None for 1.

    Returns:
        Mean loss in nats, a scalar.
    """
    losses = -torch.log(1e-10 + torch.sigmoid(positive.float() - negative.float()))
    return losses.mean() if weight is None else weighted_mean(losses.mean(dim=1), weight)


def scores(queries: Tensor, items: Tensor) -> Tensor:
    """Dot products of queries [Q, d] with items: [Q, N] for items [N, d], [Q, S] for a query's own [Q, S, d].

    They are float32 under autocast too: bfloat16 rounds a score of 10 to the next sixteenth, which is more than what a
    loss has to tell apart.
    """
    with full_precision(queries.device):
        if items.dim() == 2:
            return queries.float() @ items.float().T
        return torch.einsum("qd,qsd->qs", queries.float(), items.float())


def popularity_log(counts: Tensor, power: float) -> Tensor:
    """``power`` times the log of each item's share of training actions: [N] -> [N], 0 where unseen."""
    share = counts.double() / counts.sum()
    return torch.where(counts > 0, power * torch.log(share.clamp(min=1e-300)), 0.0).float()
