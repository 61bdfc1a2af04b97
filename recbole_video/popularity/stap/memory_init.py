"""The first layout of a memory bank: popularity quantiles, topics by k-means, slots at their videos (STAP, 3.3)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from torch import Tensor

from recbole_video.errors import DataError

_JITTER = 0.1  # of the standard deviation: how far slots without videos lie from the mean
_RESTARTS = 3
_RESTARTS_ON_COMPONENTS = 10  # of the released code


@dataclass(frozen=True)
class Grid:
    """A laid-out bank: ``slots`` [P, C, d_m], ``centroids`` and ``counts`` [P, C], ``edges`` [P - 1]."""

    slots: Tensor
    centroids: Tensor
    counts: Tensor
    edges: Tensor


def initial_grid(
    queries: Tensor,
    features: Tensor,
    labels: Tensor,
    n_partitions: int,
    n_clusters: int,
    clustering: str = "per_partition",
    space: str = "query",
    seed: int = 42,
    shrinkage: float = 5.0,
) -> Grid:
    """Lay out a bank; arguments as in :meth:`MemoryBank.initialise`.

    A partition with fewer distinct videos than clusters has as many slots of its own; the others lie about its mean
    and count no video. Without a video of its own, a partition's are about the mean of all.

    Raises:
        DataError: If there is no video, or a value is not finite.
    """
    y = labels.detach().double().cpu().numpy()
    x = features.detach().float().cpu().numpy()
    if not len(y):
        raise DataError("The memory bank needs at least one training video.")
    if not (np.isfinite(x).all() and np.isfinite(y).all() and bool(torch.isfinite(queries).all())):
        raise DataError("The memory bank cannot be laid out: an embedding or a label is NaN or infinite.")
    rng = np.random.default_rng(seed)
    partition, edges = equal_partitions(y, n_partitions)
    places = _places(queries.detach().float().cpu().numpy(), x, space, rng)
    seen, restarts = (places, _RESTARTS_ON_COMPONENTS) if space == "pca" else (x, _RESTARTS)
    cluster = _clusters(seen, partition, n_partitions, n_clusters, clustering, seed, restarts)
    slots, counts = _slots(places, partition, cluster, n_partitions, n_clusters, clustering, rng)
    return Grid(
        slots=torch.from_numpy(slots).float(),
        centroids=torch.from_numpy(_centroids(y, partition, cluster, counts, shrinkage)).float(),
        counts=torch.from_numpy(counts).float(),
        edges=torch.from_numpy(edges).float(),
    )


def equal_partitions(labels: np.ndarray, n_partitions: int) -> tuple[np.ndarray, np.ndarray]:
    """Divide labels into equal groups by their rank; equal labels in the order that they come.

    Returns:
        Partition of each label, int [N] from 0, the least popular; the labels at which the later ones
        begin, [P - 1], infinite for those without a video.
    """
    order = np.argsort(labels, kind="stable")
    partition = np.empty(len(labels), dtype=np.int64)
    partition[order] = np.arange(len(labels)) * n_partitions // len(labels)
    first = [np.flatnonzero(partition[order] >= p) for p in range(1, n_partitions)]
    edges = [labels[order[begin[0]]] if len(begin) else np.inf for begin in first]
    return partition, np.array(edges, dtype=np.float64)


def _clusters(
    x: np.ndarray, partition: np.ndarray, n_partitions: int, n_clusters: int, clustering: str, seed: int, restarts: int
) -> np.ndarray:
    if clustering == "global":
        return _k_means(x, n_clusters, seed, restarts)
    cluster = np.zeros(len(x), dtype=np.int64)
    for p in range(n_partitions):
        members = partition == p
        if members.any():
            cluster[members] = _k_means(x[members], n_clusters, seed, restarts)
    return cluster


def _k_means(x: np.ndarray, n_clusters: int, seed: int, restarts: int) -> np.ndarray:
    k = min(n_clusters, len(np.unique(x, axis=0)))
    return KMeans(k, n_init=restarts, random_state=seed).fit_predict(x).astype(np.int64)


def _places(queries: np.ndarray, x: np.ndarray, space: str, rng: np.random.Generator) -> np.ndarray:
    """Where each video lies in the slots' space, [N, d_m]."""
    if space == "query":
        return queries
    if space == "random":
        return rng.normal(scale=queries.shape[1] ** -0.5, size=queries.shape)
    n_components = min(queries.shape[1], *x.shape)
    places = np.zeros_like(queries)
    if len(x) > 1:  # the principal components of one video are nothing
        places[:, :n_components] = PCA(n_components, random_state=0).fit_transform(x)
    return places


def _slots(
    places: np.ndarray,
    partition: np.ndarray,
    cluster: np.ndarray,
    n_partitions: int,
    n_clusters: int,
    clustering: str,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Slots [P, C, d_m], the mean of their videos, and how many these are [P, C]."""
    slots = np.empty((n_partitions, n_clusters, places.shape[1]))
    counts = np.zeros((n_partitions, n_clusters))
    for p in range(n_partitions):
        members = places[partition == p] if (partition == p).any() else places
        noise = rng.normal(size=slots[p].shape) * _JITTER * members.std(axis=0)
        slots[p] = members.mean(axis=0) + noise
        for c in range(n_clusters):
            own = (partition == p) & (cluster == c)
            counts[p, c] = own.sum()
            if counts[p, c]:
                slots[p, c] = places[own].mean(axis=0)
            elif clustering == "global" and (cluster == c).any():
                slots[p, c] = places[cluster == c].mean(axis=0)
    return slots, counts


def _centroids(
    y: np.ndarray, partition: np.ndarray, cluster: np.ndarray, counts: np.ndarray, shrinkage: float
) -> np.ndarray:
    """Mean label of each slot's videos, shrunk towards that of its partition, [P, C]."""
    sums = np.zeros_like(counts)
    np.add.at(sums, (partition, cluster), y)
    of_partition = np.divide(
        sums.sum(axis=1), counts.sum(axis=1), out=np.full(len(counts), y.mean()), where=counts.sum(axis=1) > 0
    )[:, None]
    prior = shrinkage if shrinkage > 0 else np.finfo(float).tiny
    return (sums + prior * of_partition) / (counts + prior)
