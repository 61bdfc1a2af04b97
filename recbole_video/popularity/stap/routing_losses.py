"""What the routing is trained by: balanced use of the slots (Eq. 10), preference for the popular (Eq. 11)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from recbole_video.popularity.stap.memory_bank import MemoryBank, Routing

_TINY = 1e-12
_LEAST_IN_POOL = 10  # videos


class BalanceLoss(nn.Module):
    r"""``alpha KL(p_h || prior) + beta KL(p_t || uniform) + gamma (log PC - H(p))``, of the batch's mean gate.

    Args:
        n_partitions: P.
        n_clusters: C.
        partition_weight: alpha.
        cluster_weight: beta.
        entropy_weight: gamma; 0 in the paper, 0.01 in the released code.
        prior_exponent: The prior of partitions falls with rank to this power.
        prior_order: ``ascending``: rank 1, which most is routed to, is the least popular partition.
        direction: ``p_prior`` as printed; ``prior_p`` as in the released code.
    """

    prior: Tensor

    def __init__(
        self,
        n_partitions: int,
        n_clusters: int,
        partition_weight: float = 0.01,
        cluster_weight: float = 0.01,
        entropy_weight: float = 0.0,
        prior_exponent: float = 1.5,
        prior_order: str = "ascending",
        direction: str = "p_prior",
    ) -> None:
        super().__init__()
        self.n_partitions, self.n_clusters = n_partitions, n_clusters
        self.weights = partition_weight, cluster_weight, entropy_weight
        self.direction = direction
        prior = torch.arange(1, n_partitions + 1).double() ** -prior_exponent
        prior = (prior / prior.sum()).float()
        self.register_buffer("prior", prior if prior_order == "ascending" else prior.flip(0), persistent=False)

    def forward(self, gate: Tensor) -> Tensor:
        """The loss of a batch's full gate [B, P * C]."""
        joint = gate.mean(dim=0).view(self.n_partitions, self.n_clusters)
        partitions, clusters, entropy = self.weights
        loss = partitions * self._kl(joint.sum(dim=1), self.prior)
        loss = loss + clusters * self._kl(joint.sum(dim=0), torch.full_like(joint[0], 1 / self.n_clusters))
        if entropy:
            loss = loss + entropy * (torch.log(torch.tensor(float(joint.numel()))) + torch.xlogy(joint, joint).sum())
        return loss

    def _kl(self, p: Tensor, prior: Tensor) -> Tensor:
        one, other = (p, prior) if self.direction == "p_prior" else (prior, p)
        return (one * (one.clamp(min=_TINY).log() - other.clamp(min=_TINY).log())).sum()


class PreferenceLoss(nn.Module):
    r"""DPPO: of two videos, the more popular one shall be routed with more confidence.

    ``-log sigmoid(gamma (g_i - g_j))``, averaged over pairs whose labels differ by more than a margin; ``g`` is what
    ``support`` makes of a video's routing:

    - ``own_topk``: sum of the log gate over the video's own K slots;
    - ``full``: over all slots, as printed and in the released code. It asks popular videos to route more evenly;
    - ``topk_mass``: log of the mass on the K slots;
    - ``mu_weighted``: sum of the log gate, weighted by the slots' standardised popularity centroids;
    - ``c_pop``: the retrieved popularity.

    Args:
        support: One of these.
        gamma: Sharpness; beta_dppo of Table S1.
        margin: In units of the labels given.
        pairs: ``batch``: all ordered pairs of the batch; ``pool``: as in the released code, four pairs of the
            last 1,000 videos, once there are ten, whose stored vectors pass no gradient on, so that only slots learn.
        width: d_m, for the pool.
    """

    pool_queries: Tensor
    pool_labels: Tensor
    pool_size: Tensor

    def __init__(
        self,
        support: str = "own_topk",
        gamma: float = 0.5,
        margin: float = 0.25,
        pairs: str = "batch",
        width: int = 0,
        pool_capacity: int = 1000,
    ) -> None:
        super().__init__()
        self.support, self.gamma, self.margin, self.pairs = support, gamma, margin, pairs
        if pairs == "pool":
            self.register_buffer("pool_queries", torch.zeros(pool_capacity, width))
            self.register_buffer("pool_labels", torch.zeros(pool_capacity))
            self.register_buffer("pool_size", torch.tensor(0))
        self._n_seen = 0  # the same where asking does not make a GPU wait
        self.register_load_state_dict_post_hook(PreferenceLoss._note_size)

    def forward(self, bank: MemoryBank, routing: Routing, queries: Tensor, labels: Tensor) -> Tensor:
        """The loss of a batch.

        Args:
            bank: The bank.
            routing: Where it sent the batch.
            queries: [B, d_m].
            labels: [B] float.

        Returns:
            A scalar, zero where no pair differs by the margin.
        """
        if self.pairs == "pool":
            return self._pool_loss(bank, queries, labels)
        g = self.confidence(bank, routing)
        differs = labels[:, None] - labels > self.margin
        losses = softplus(-self.gamma * (g[:, None] - g))
        return (losses * differs).sum() / differs.sum().clamp(min=1)

    def confidence(self, bank: MemoryBank, routing: Routing) -> Tensor:
        """``g`` of each video, [B]."""
        own = routing.log_gate.gather(-1, routing.top)
        if self.support == "own_topk":
            return own.sum(dim=-1)
        if self.support == "full":
            return routing.log_gate.sum(dim=-1)
        if self.support == "topk_mass":
            return own.logsumexp(dim=-1)
        if self.support == "c_pop":
            return routing.popularity
        centroids = bank.centroids.flatten()
        return routing.log_gate @ ((centroids - centroids.mean()) / centroids.std().clamp(min=1e-6))

    def _pool_loss(self, bank: MemoryBank, queries: Tensor, labels: Tensor) -> Tensor:
        """The loss of four random pairs of the pool, to which the batch's queries [B, d_m] and labels [B] are added."""
        self._add_to_pool(queries.detach(), labels)
        size = min(self._n_seen, len(self.pool_labels))
        order = self.pool_labels[:size].argsort()
        if size < _LEAST_IN_POOL:
            return queries.new_zeros(())
        popular, others = order[int(0.6 * size) :], order[: int(0.4 * size)]
        drawn = [(_random_pairs(popular, others, 3), 0.5, 1.0), (_middle_pair(order, popular, others), 0.1, 0.5)]
        pairs = torch.cat([found for found, *_ in drawn])  # [n, 2]
        margin = torch.cat([labels.new_full((len(found),), least) for found, least, _ in drawn])
        weight = torch.cat([labels.new_full((len(found),), share) for found, _, share in drawn])
        of_pair = self.pool_labels[pairs]
        weight = weight * (of_pair[:, 0] - of_pair[:, 1] > margin)
        g = self.confidence(bank, bank(self.pool_queries[pairs.flatten()])).view(-1, 2)
        return (weight * softplus(-self.gamma * (g[:, 0] - g[:, 1]))).sum() / (weight > 0).sum().clamp(min=1)

    def _add_to_pool(self, queries: Tensor, labels: Tensor) -> None:
        """Put queries [B, d_m] and labels [B] into the pool, in the place of the oldest where it is full."""
        places = (self._n_seen + torch.arange(len(labels), device=labels.device)) % len(self.pool_labels)
        self.pool_queries[places], self.pool_labels[places] = queries.float(), labels.float()
        self.pool_size += len(labels)
        self._n_seen += len(labels)

    def _note_size(self, _: object) -> None:
        self._n_seen = int(self.pool_size) if self.pairs == "pool" else 0


def _middle_pair(order: Tensor, popular: Tensor, others: Tensor) -> Tensor:
    """A pair of one of three kinds, by chance 4 : 4 : 2: popular and middle, middle and other, two of the middle.

    Args:
        order: Places of the pool by label, [N].
        popular: Those of the upper 40 %.
        others: Those of the lower 40 %.

    Returns:
        int64 [1, 2], of two of the middle the more popular one first.
    """
    middle = order[int(0.3 * len(order)) : int(0.7 * len(order))]
    high, low = _random_pairs(popular, middle, 1), _random_pairs(middle, others, 1)
    both = middle[torch.randint(len(middle), (1, 2), device=order.device).sort(descending=True).values]
    chance = torch.rand((), device=order.device)
    return torch.where(chance < 0.4, high, torch.where(chance < 0.8, low, both))


def _random_pairs(first: Tensor, second: Tensor, n: int) -> Tensor:
    """Pairs of one of each, int64 [n, 2]."""
    return torch.stack([pool[torch.randint(len(pool), (n,), device=pool.device)] for pool in (first, second)], dim=1)
