"""Topology-aware memory bank: past videos as a grid of popularity partitions by topic clusters (STAP, Eq. 8-11).

The grid has a fixed size whatever the number of videos: new ones move slots, and are not appended. Usable
alone: make one, :meth:`~MemoryBank.initialise` it from training videos, call it with queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import log_softmax, softplus

from recbole_video.errors import CheckpointError, DataError, MemoryFrozenError
from recbole_video.files.names import expanded
from recbole_video.popularity.stap.memory_init import initial_grid
from recbole_video.runtime.checkpoint import read_checkpoint, write_checkpoint
from recbole_video.runtime.checkpoint_checks import difference

_TAU_FLOOR = 0.05


@dataclass(frozen=True)
class Routing:
    """Where queries were sent.

    Attributes:
        scores: Similarity of each query to each slot, [B, P * C].
        log_gate: Log-softmax of the scores over all slots at the bank's temperature, [B, P * C].
        top: The K slots of each query, best first, int [B, K].
        weights: Gate of the kept slots, zero elsewhere, [B, P * C]; sums to at most one.
        retrieved: Weighted sum of the kept slots, ``z_aug``, [B, d_m].
        popularity: Weighted sum of their popularity centroids, ``c_pop``, [B].
    """

    scores: Tensor
    log_gate: Tensor
    top: Tensor
    weights: Tensor
    retrieved: Tensor
    popularity: Tensor

    @property
    def gate(self) -> Tensor:
        """The full gate, [B, P * C], each row summing to one."""
        return self.log_gate.exp()


class MemoryBank(nn.Module):
    """P x C trainable slots, routed to by softmax and cut to the top K.

    Args:
        width: d_m, of a slot and of a query.
        n_partitions: P, popularity partitions.
        n_clusters: C, topics in each.
        top_k: K, slots that a query keeps.
        tau: Initial temperature.
        tau_learnable: False keeps it; the released code never trains it.
        renormalize_topk: Kept weights sum to one, as in the released code; as printed they do not.
        routing_grad: ``ste``: the truncation is straight-through, gradients reach the scores of all slots;
            ``masked``: only those of the kept ones, as in the released code.
        scale_scores: Divide similarities by the root of the width (Eq. 8); the released code does not.
        eta: Rate of moving averages and of online updates.
        max_count: Videos after which a centroid moves no slower.

    Attributes:
        slots: [P, C, d_m], trained.
        centroids: Popularity centroid of each slot, ``mu``, [P, C].
        counts: Videos behind each centroid, [P, C].
        edges: Labels that divide the partitions, [P - 1].
    """

    slots: Tensor
    centroids: Tensor
    counts: Tensor
    edges: Tensor
    laid_out: Tensor

    def __init__(
        self,
        width: int,
        n_partitions: int = 6,
        n_clusters: int = 32,
        top_k: int = 5,
        tau: float = 1.0,
        tau_learnable: bool = True,
        renormalize_topk: bool = False,
        routing_grad: str = "ste",
        scale_scores: bool = True,
        eta: float = 0.01,
        max_count: int = 1000,
    ) -> None:
        super().__init__()
        self.n_partitions, self.n_clusters, self.top_k = n_partitions, n_clusters, min(top_k, n_partitions * n_clusters)
        self.renormalize_topk, self.routing_grad = renormalize_topk, routing_grad
        self.eta, self.max_count = eta, max_count
        self._scale = width**-0.5 if scale_scores else 1.0
        self.slots = nn.Parameter(torch.randn(n_partitions, n_clusters, width) * width**-0.5)
        tau_raw = torch.tensor(math.log(math.expm1(tau - _TAU_FLOOR)))
        self.tau_raw = nn.Parameter(tau_raw, requires_grad=tau_learnable)
        self.register_buffer("centroids", torch.zeros(n_partitions, n_clusters))
        self.register_buffer("counts", torch.zeros(n_partitions, n_clusters))
        self.register_buffer("edges", torch.zeros(n_partitions - 1))
        self.register_buffer("laid_out", torch.tensor(False))
        self._is_laid_out = False  # the same where asking does not make a GPU wait
        self.register_load_state_dict_post_hook(MemoryBank._note_layout)
        self._is_frozen = False
        self._protected: frozenset[str] = frozenset()

    @property
    def is_initialised(self) -> bool:
        """Whether the grid is laid out."""
        return self._is_laid_out

    def _note_layout(self, _: object) -> None:
        self._is_laid_out = bool(self.laid_out)

    @property
    def n_slots(self) -> int:
        """Number of slots: P partitions of popularity times C clusters."""
        return self.n_partitions * self.n_clusters

    @property
    def width(self) -> int:
        """Width d_m of a slot's vector."""
        return self.slots.shape[-1]

    @property
    def tau(self) -> Tensor:
        """The temperature, a tensor that gradients reach."""
        return softplus(self.tau_raw) + _TAU_FLOOR

    def forward(self, queries: Tensor) -> Routing:
        """Route queries [B, d_m] to slots (Eq. 8, 9)."""
        slots = self.slots.flatten(0, 1)
        scores = queries @ slots.T * self._scale
        log_gate = log_softmax(scores.float() / self.tau, dim=-1)
        gate = log_gate.exp()
        top = gate.topk(self.top_k, dim=-1).indices
        kept = torch.zeros_like(gate).scatter_(-1, top, 1.0)
        weights = gate * kept
        if self.renormalize_topk:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        if self.routing_grad == "ste":
            weights = gate + (weights - gate).detach()
        return Routing(scores, log_gate, top, weights, weights @ slots.float(), weights @ self.centroids.flatten())

    # -- from training videos ----------------------------------------------------------------------

    def initialise(
        self,
        queries: Tensor,
        features: Tensor,
        labels: Tensor,
        clustering: str = "per_partition",
        space: str = "query",
        seed: int = 42,
        shrinkage: float = 5.0,
    ) -> None:
        """Lay the grid out over training videos: popularity quantiles, k-means of topics.

        Args:
            queries: [N, d_m] float, what the videos would ask the bank.
            features: [N, e] float, what topics are clustered by.
            labels: [N] float.
            clustering: ``per_partition`` clusters within each partition, as in the paper; ``global`` once over
                all videos, as in the released code: topics are then the same at all levels of popularity.
            space: ``query`` puts a slot at the mean query of its videos; ``pca`` at their mean principal components
                (released code), ``random`` at random.
            seed: Seed of k-means and of whatever else is random.
            shrinkage: Videos' worth of the partition's mean label in each centroid, so that a video's own label
                weighs little in a small slot.

        Raises:
            DataError: If there is no video, or a value is not finite.
        """
        grid = initial_grid(
            queries, features, labels, self.n_partitions, self.n_clusters, clustering, space, seed, shrinkage
        )
        with torch.no_grad():
            self.slots.copy_(grid.slots)
            self.centroids.copy_(grid.centroids)
            self.counts.copy_(grid.counts)
            self.edges.copy_(grid.edges)
            self.laid_out.fill_(True)
        self._is_laid_out = True

    @torch.no_grad()
    def average_in(self, queries: Tensor, routing: Routing) -> None:
        """Move each slot that was routed to towards the gate-weighted mean of its queries (Algorithm S2)."""
        if self._is_frozen:
            return
        weights = torch.zeros_like(routing.gate).scatter_(1, routing.top, routing.gate.gather(1, routing.top))
        mass = weights.sum(dim=0)
        mean = weights.T @ queries.float() / mass.clamp(min=1e-12)[:, None]
        slots = self.slots.view(self.n_slots, -1)
        slots += self.eta * (mass > 0)[:, None] * (mean - slots)

    # -- new videos --------------------------------------------------------------------------------

    def protect(self, tokens: Iterable[str]) -> None:
        """Refuse these videos in :meth:`update`: those of the split under evaluation."""
        self._protected = frozenset(tokens)

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """While frozen, :meth:`update` is refused and moving averages stand still."""
        self._is_frozen = is_frozen

    @torch.no_grad()
    def update(self, tokens: Sequence[str], queries: Tensor, labels: Tensor | None = None) -> None:
        """Take in new videos one after the other, without growing and without gradients.

        A video goes to the partition of its label (without one, to that which it is routed to), there to the
        nearest slot, which moves towards its query; a label also moves the slot's centroid.

        Args:
            tokens: Their item tokens, [N].
            queries: [N, d_m] float.
            labels: [N] float on the scale of those that the bank was initialised with; NaN where unknown.

        Raises:
            MemoryFrozenError: If the memory is frozen.
            DataError: If the bank is not laid out, a video is protected, or numbers are of other lengths or not finite.
        """
        if self._is_frozen:
            raise MemoryFrozenError("The memory is frozen; call freeze_memory(False) to let new videos in.")
        if not self.is_initialised:
            raise DataError("The memory bank is not laid out yet, so that no video has a place in it; train it longer.")
        n_labels = len(queries) if labels is None else len(labels)
        if not len(tokens) == len(queries) == n_labels:
            raise DataError(
                f"There are {len(tokens)} tokens, {len(queries)} queries and {n_labels} labels; give one each."
            )
        if labels is not None and torch.isinf(labels).any():
            raise DataError("A label is infinite; give NaN where it is not known.")
        if taken := sorted(self._protected.intersection(tokens)):
            raise DataError(
                f"{len(taken)} of these videos are of the split under evaluation (first: `{taken[0]}`); leave them out."
            )
        if not torch.isfinite(queries).all():
            raise DataError("A query is NaN or infinite; check the videos' embeddings.")
        known = torch.full((len(queries),), torch.nan) if labels is None else labels.float()
        # One after the other, each sees what the one before left: small steps, which NumPy takes fastest.
        slots, centroids, counts = (x.detach().cpu().numpy().copy() for x in (self.slots, self.centroids, self.counts))
        edges = self.edges.cpu().numpy()
        for query, label in zip(queries.detach().float().cpu().numpy(), known.tolist(), strict=True):
            slot = self._place(slots, edges, query, label)
            slots[slot] += self.eta * (query - slots[slot])
            if not math.isnan(label):
                counts[slot] += 1
                centroids[slot] += (label - centroids[slot]) / min(counts[slot], self.max_count)
        for stored, new in ((self.slots, slots), (self.centroids, centroids), (self.counts, counts)):
            stored.copy_(torch.from_numpy(new))

    def _place(self, slots: np.ndarray, edges: np.ndarray, query: np.ndarray, label: float) -> tuple[int, int]:
        """Partition and cluster of the slot that takes a video in."""
        if math.isnan(label):
            return divmod(int((slots.reshape(self.n_slots, -1) @ query).argmax()), self.n_clusters)
        partition = int(np.searchsorted(edges, label, side="right"))
        return partition, int((slots[partition] @ query).argmax())

    # -- storage -----------------------------------------------------------------------------------

    def save(self, path: str | Path) -> None:
        """Write the bank alone, whole or not at all."""
        write_checkpoint(path, {"state_dict": self.state_dict()})

    def load(self, path: str | Path) -> None:
        """Read what :meth:`save` wrote.

        Raises:
            CheckpointError: If it cannot be read, or holds no bank.
            DataError: If the bank in it has another size.
        """
        path = expanded(path)
        state = read_checkpoint(path, self.slots.device)["state_dict"]
        stored = state.get("slots")
        if stored is not None and stored.ndim == 3 and stored.shape != self.slots.shape:
            raise grid_mismatch(tuple(stored.shape), tuple(self.slots.shape))
        wrong = difference(self, state) or next((name for name in state if not torch.isfinite(state[name]).all()), "")
        if wrong:
            raise CheckpointError(f"`{path}` does not hold a memory bank of finite numbers: {wrong}.")
        self.load_state_dict(state)


def grid_mismatch(stored: tuple[int, ...], wanted: tuple[int, ...]) -> DataError:
    """The error for a bank of another size."""
    names = ("n_partitions", "n_clusters", "width")
    shown = " x ".join(map(str, stored))
    wrong = [name for name, a, b in zip(names, stored, wanted, strict=True) if a != b]
    return DataError(
        f"The stored memory bank is {shown} (partitions, clusters, width), not {' x '.join(map(str, wanted))}; set "
        f"{' and '.join(wrong)} as when it was made."
    )


def usage_statistics(usage: Tensor) -> dict[str, float]:
    """How evenly slots are used.

    Args:
        usage: [n_slots] float, not negative: how much each slot is used.

    Returns:
        ``entropy``, divided by that of even use, 1 when all slots are used alike; ``gini``, 0 then; ``top5_share``.
    """
    share = usage.double() / usage.sum().clamp(min=1e-300)
    entropy = -torch.xlogy(share, share).sum() / math.log(len(share)) if len(share) > 1 else torch.tensor(1.0)
    n = len(share)
    rank = torch.arange(1, n + 1, dtype=torch.float64, device=share.device)
    gini = (2 * rank - n - 1) @ share.sort().values / n
    return {"entropy": float(entropy), "gini": float(gini), "top5_share": float(share.topk(min(5, n)).values.sum())}
