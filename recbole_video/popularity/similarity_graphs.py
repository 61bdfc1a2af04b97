"""Graphs of similar videos, one for each modality, and values that are smooth along all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import cg

from recbole_video.errors import TrainingError

_VALUES_AT_ONCE = 4_000_000  # distances in memory
_MEDIAN_OF = 1_000  # videos whose distances give the width of the kernel
_MOST_SWEEPS = 10
_TOLERANCE = 1e-10  # of the residual of the linear system, relative


@dataclass(frozen=True)
class Neighbourhood:
    """The nearest of N stored videos in one modality.

    Attributes:
        width: sigma of ``exp(-distance^2 / (2 sigma^2))``; 0 where there is nothing to tell videos apart by.
        weights: The symmetric matrix of these, of neighbours alone, [N, N].
    """

    width: float
    weights: csr_array

    @property
    def degrees(self) -> np.ndarray:
        """Sum of the weights of each video, [N]; 0 for one that has nothing of the modality."""
        return np.asarray(self.weights.sum(axis=1)).ravel()

    def laplacian(self) -> csr_array:
        """``I - D^-1/2 S D^-1/2`` over its trace; zero at a video without neighbours."""
        degrees = self.degrees
        root = diags_array(np.where(degrees > 0, degrees, 1.0) ** -0.5)
        there = (degrees > 0).astype(np.float64)
        return csr_array((diags_array(there) - root @ self.weights @ root) / max(there.sum(), 1.0))


def neighbourhood(rows: np.ndarray, n_neighbours: int, seed: int) -> Neighbourhood:
    """The graph of each video's nearest ones; who is among the nearest of the other is joined to it.

    Args:
        rows: float64 [N, d]; a video whose row is zero has nothing of the modality, and no neighbour.
        n_neighbours: k.
        seed: Of the videos whose median distance is the kernel's width.
    """
    n, there = len(rows), np.flatnonzero(rows.any(axis=1))
    width = _median_distance(rows[there], seed)
    if not width:
        return Neighbourhood(0.0, csr_array((n, n)))
    near, squares = nearest(rows[there], rows[there], n_neighbours, skips_itself=True)
    sources = np.repeat(there, near.shape[1])
    values = np.exp(-squares.ravel() / (2 * width**2))
    one_way = csr_array((values, (sources, there[near.ravel()])), shape=(n, n))
    return Neighbourhood(width, csr_array(one_way.maximum(one_way.T)))


def _median_distance(rows: np.ndarray, seed: int) -> float:
    """Median distance of videos that differ, of a sample of them; 0 if none do."""
    if len(rows) > _MEDIAN_OF:
        rows = rows[np.sort(np.random.default_rng(seed).choice(len(rows), _MEDIAN_OF, replace=False))]
    squares = _squared_distances(rows, rows)[np.triu_indices(len(rows), 1)]
    differing = squares[squares > 1e-12 * max(squares.max(initial=0.0), 1e-300)]
    return float(np.median(np.sqrt(differing))) if len(differing) else 0.0


def nearest(
    asking: np.ndarray, stored: np.ndarray, n_neighbours: int, skips_itself: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest stored videos of each, and their squared distances, [M, k] each; a part of the videos at a time.

    Args:
        asking: float64 [M, d].
        stored: float64 [N, d].
        n_neighbours: k; fewer are given where fewer are stored.
        skips_itself: Whether ``asking`` is ``stored``, and no video is its own neighbour.
    """
    k = min(n_neighbours, len(stored) - skips_itself)
    found = [_nearest_of(part, first, stored, k, skips_itself) for first, part in _parts(asking, len(stored))]
    places, squares = zip(*found, strict=True)
    return np.concatenate(places), np.concatenate(squares)


def _parts(rows: np.ndarray, n_stored: int) -> Iterator[tuple[int, np.ndarray]]:
    """Parts of the rows, with the number of the first; there is one even of none."""
    size = max(1, _VALUES_AT_ONCE // max(1, n_stored))
    return ((first, rows[first : first + size]) for first in range(0, max(1, len(rows)), size))


def _nearest_of(
    part: np.ndarray, first: int, stored: np.ndarray, k: int, skips_itself: bool
) -> tuple[np.ndarray, np.ndarray]:
    squares = _squared_distances(part, stored)
    if skips_itself:
        squares[np.arange(len(part)), first + np.arange(len(part))] = np.inf
    places = np.argpartition(squares, max(k - 1, 0), axis=1)[:, :k]
    return places, np.take_along_axis(squares, places, axis=1)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.maximum((a**2).sum(axis=1)[:, None] + (b**2).sum(axis=1) - 2 * a @ b.T, 0.0)


@dataclass(frozen=True)
class Smoothing:
    """How values are fitted.

    Attributes:
        smoothness: mu, weight of the values' roughness along the graphs.
        agreement: lambda, weight of the distance of the common graph from each.
        evenness: theta, weight of the squared shares.
    """

    smoothness: float
    agreement: float
    evenness: float


@dataclass(frozen=True)
class Smooth:
    """What was fitted.

    Attributes:
        values: f, [N].
        shares: beta of each graph; they add up to one.
        objectives: What is minimised, after each sweep.
    """

    values: np.ndarray
    shares: np.ndarray
    objectives: list[float]


def smooth_values(
    laplacians: Sequence[csr_array], labels: np.ndarray, is_labelled: np.ndarray, how: Smoothing
) -> Smooth:
    """Values that fit the labels, and graphs' shares, in turn, until they stay.

    Minimises ``sum (y - f)^2 + mu f' L f + lambda sum_k |L - L_k|^2 + theta |beta|^2`` over f and beta, where
    ``L = sum_k beta_k L_k`` and ``sum beta = 1``, the first sum over labelled videos. It ends before a share is
    negative: the common graph could be one along which rough values cost less than smooth ones, and have no minimum.

    Args:
        laplacians: L_k, [N, N] each.
        labels: y, [N]; what stands at a video without a label is not read.
        is_labelled: bool [N].
        how: Weights.

    Raises:
        TrainingError: If the linear system is not solved.
    """
    products = np.array([[float((a * b).sum()) for b in laplacians] for a in laplacians])
    shares = np.full(len(laplacians), 1 / len(laplacians))
    labels = np.where(is_labelled, labels, 0.0)
    values, objectives = np.zeros(len(labels)), list[float]()
    while True:
        values = _solved(laplacians, shares, labels, is_labelled, how.smoothness, values)
        roughness = np.array([values @ (one @ values) for one in laplacians])
        error = float(((labels - values)[is_labelled] ** 2).sum())
        objectives.append(error + _cost(shares, products, roughness, how))
        following = next_shares(products, roughness, how)
        if len(objectives) == _MOST_SWEEPS or following.min() < 0 or np.allclose(following, shares, atol=1e-8):
            return Smooth(values, shares, objectives)
        shares = following


def next_shares(products: np.ndarray, roughness: np.ndarray, how: Smoothing) -> np.ndarray:
    """The best beta for given values: ``(lambda K G + theta I)^-1 (lambda G 1 - mu g / 2 + nu 1)``, with sum one.

    Args:
        products: G, inner products of the Laplacians, [K, K].
        roughness: g, ``f' L_k f``, [K].
        how: Weights.
    """
    n = len(roughness)
    matrix = how.agreement * n * products + how.evenness * np.eye(n)
    wanted = how.agreement * products.sum(axis=1) - how.smoothness / 2 * roughness
    solved = np.linalg.solve(matrix, np.stack([wanted, np.ones(n)], axis=1))
    return solved[:, 0] + solved[:, 1] * (1 - solved[:, 0].sum()) / solved[:, 1].sum()


def _cost(shares: np.ndarray, products: np.ndarray, roughness: np.ndarray, how: Smoothing) -> float:
    """All of the objective but the labelled videos' error."""
    distances = shares @ products @ shares - 2 * products @ shares + np.diag(products)
    return float(how.smoothness * shares @ roughness + how.agreement * distances.sum() + how.evenness * shares @ shares)


def _solved(
    laplacians: Sequence[csr_array],
    shares: np.ndarray,
    labels: np.ndarray,
    is_labelled: np.ndarray,
    smoothness: float,
    start: np.ndarray,
) -> np.ndarray:
    """Solve ``(D + mu L) f = D y``; zero at videos that no path joins to a labelled one."""
    common = sum(share * one for share, one in zip(shares, laplacians, strict=True))
    matrix = csr_array(diags_array(is_labelled.astype(np.float64)) + smoothness * common)
    values, failed = cg(matrix, labels, x0=start, rtol=_TOLERANCE, atol=0.0)
    if failed:
        raise TrainingError(
            f"With a smoothness of {smoothness:g} over all videos the values along the graphs are not found; lower it."
        )
    return values
