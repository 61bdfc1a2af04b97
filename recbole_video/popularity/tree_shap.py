"""SHAP values of regression trees: what each column adds to one prediction (Lundberg et al. 2020, "path dependent").

What a tree expects where only some columns are known: at a node that asks a known one, the video's own way; at any
other, both ways, weighed by the training videos that went there. A column's SHAP value is its Shapley value in the game
of these expectations. A leaf is reached with the product over the columns of its path of ``o``, 1 or 0, where the
column is known, and of ``z``, the share of training videos, where it is not. In such a product the Shapley value of
column j is ::

    value (o_j - z_j) * integral from 0 to 1 of the product over i, not j, of (t o_i + (1 - t) z_i) dt

since the weight of a set of k out of d - 1 others, k! (d - 1 - k)! / d!, is the integral of t^k (1 - t)^(d - 1 - k).
The integrand is a polynomial, of which Gauss and Legendre's points give the integral without error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recbole_video.popularity.trees import Trees

_TREES_AT_ONCE = 50


def shap_values(trees: Trees, row: np.ndarray) -> tuple[float, np.ndarray]:
    """What the trees predict of a video, taken apart by column.

    Args:
        trees: Trees that know how many training videos went through each node.
        row: Features of the video, float64 [columns].

    Returns:
        The mean prediction of the training videos, and what each column adds to it, float64 [columns]; together they
        are the prediction.

    Raises:
        ValueError: If the trees do not know it.
    """
    if trees.count is None:
        raise ValueError("these trees do not know how many training videos went through their nodes")
    base, added = float(trees.start), np.zeros(len(row))
    chosen = trees.children_chosen(row)
    for first in range(0, len(trees.roots), _TREES_AT_ONCE):
        paths = _paths_to_leaves(trees, trees.count, chosen, trees.roots[first : first + _TREES_AT_ONCE])
        base += float(paths.value @ paths.share.prod(axis=1))
        weighed = (paths.own - paths.share) * _integral_without_each(paths.own, paths.share) * paths.value[:, None]
        is_column = paths.column >= 0
        np.add.at(added, paths.column[is_column], weighed[is_column])
    return base, added


@dataclass(frozen=True)
class _Paths:
    """Ways from roots; a column that is asked more than once has one place, and a place that is free is neutral.

    Attributes:
        node: Where each way has come to, int64 [P].
        value: Value of that node, float64 [P].
        column: Columns asked on the way, int64 [P, D]; -1 for a place that is free, which are the last ones.
        own: Whether the video answers all that is asked of the column as the way does, float64 [P, D], 1 or 0.
        share: Share of the training videos that went that way where the column was asked, float64 [P, D].
    """

    node: np.ndarray
    value: np.ndarray
    column: np.ndarray
    own: np.ndarray
    share: np.ndarray

    def part(self, rows: np.ndarray) -> _Paths:
        """Some of the ways."""
        return _Paths(self.node[rows], self.value[rows], self.column[rows], self.own[rows], self.share[rows])

    def with_a_free_place(self) -> _Paths:
        """The same ways, each with a free place at least."""
        if self.column.shape[1] and not (self.column[:, -1] >= 0).any():
            return self
        column = np.pad(self.column, ((0, 0), (0, 1)), constant_values=-1)
        own, share = (np.pad(values, ((0, 0), (0, 1)), constant_values=1.0) for values in (self.own, self.share))
        return _Paths(self.node, self.value, column, own, share)


def _paths_to_leaves(trees: Trees, count: np.ndarray, chosen: np.ndarray, roots: np.ndarray) -> _Paths:
    """The ways from some roots to each of their leaves, level by level."""
    nothing = np.zeros((len(roots), 0))
    going = _Paths(roots, trees.value[roots], nothing.astype(np.int64), nothing, nothing)
    ended = []
    while len(going.node):
        asks = trees.column[going.node] >= 0
        ended.append(going.part(np.flatnonzero(~asks)))
        asking = going.part(np.flatnonzero(asks)).with_a_free_place()
        going = _joined([_step(trees, count, chosen, asking, side) for side in (trees.left, trees.right)])
    return _joined(ended)


def _step(trees: Trees, count: np.ndarray, chosen: np.ndarray, paths: _Paths, side: np.ndarray) -> _Paths:
    """The ways, which all have come to a question, one step further to one side."""
    before, after, rows = paths.node, side[paths.node], np.arange(len(paths.node))
    asked = trees.column[before]
    place = ((paths.column == asked[:, None]) | (paths.column < 0)).argmax(axis=1)  # its own, or the first free one
    column, own, share = paths.column.copy(), paths.own.copy(), paths.share.copy()
    column[rows, place] = asked
    own[rows, place] *= chosen[before] == after
    share[rows, place] *= count[after] / count[before]
    return _Paths(after, trees.value[after], column, own, share)


def _joined(parts: list[_Paths]) -> _Paths:
    width = max(part.column.shape[1] for part in parts)

    def stacked(arrays: list[np.ndarray], free: float) -> np.ndarray:
        widths = (((0, 0), (0, width - array.shape[1])) for array in arrays)
        return np.concatenate([np.pad(a, w, constant_values=free) for a, w in zip(arrays, widths, strict=True)])

    return _Paths(
        node=np.concatenate([part.node for part in parts]),
        value=np.concatenate([part.value for part in parts]),
        column=stacked([part.column for part in parts], -1),
        own=stacked([part.own for part in parts], 1.0),
        share=stacked([part.share for part in parts], 1.0),
    )


def _integral_without_each(own: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Integral over t from 0 to 1 of the product over all places but each one of t own + (1 - t) share, [P, D]."""
    points, weights = np.polynomial.legendre.leggauss(max(1, (own.shape[1] + 1) // 2))
    total = np.zeros_like(share)
    for t, weight in zip((points + 1) / 2, weights / 2, strict=True):
        factors = t * own + (1 - t) * share  # never 0: each node has training videos, and t is below 1
        total += weight * factors.prod(axis=1, keepdims=True) / factors
    return total
