"""Boosted trees as plain arrays: read from scikit-learn when they are from_model, evaluated without it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_video.errors import MissingDependencyError
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor

_WORDS = 8  # 32-bit words in the set of categories that go to the left


@dataclass(frozen=True)
class Trees:
    """The sum of regression trees; nodes of all trees lie one after the other, a parent before its children.

    Attributes:
        start: Value before any tree, float64 [].
        roots: First node of each tree, int64 [trees].
        value: Value of a leaf, float64 [nodes].
        column: Column that a node asks, int64 [nodes]; -1 for a leaf.
        threshold: Numbers up to it go to the left, float64 [nodes].
        left: Node on the left, int64 [nodes].
        right: Node on the right, int64 [nodes].
        missing_left: Whether a value that training never had goes to the left, bool [nodes].
        subset: Row of ``subsets`` that says which categories go to the left, int64 [nodes]; -1 where a number is asked.
        subsets: Categories as bits of 32-bit words, int64 [subsets, 8].
        code_columns: Column of each known category, int64 [categories].
        codes: The category, ascending in each column; its place there is its number in ``subsets``.
        count: Training videos that went through each node, int64 [nodes]; None of trees of an earlier version.
    """

    start: np.ndarray
    roots: np.ndarray
    value: np.ndarray
    column: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    missing_left: np.ndarray
    subset: np.ndarray
    subsets: np.ndarray
    code_columns: np.ndarray
    codes: np.ndarray
    count: np.ndarray | None = None

    @classmethod
    def from_model(cls, model: Any) -> Trees:
        """The trees of a fitted ``HistGradientBoostingRegressor``, whose private arrays are read.

        Raises:
            MissingDependencyError: If this scikit-learn keeps its trees in another way.
        """
        with _as_known():
            return _read(model)

    def predict(self, features: np.ndarray) -> np.ndarray:
        """Sum of the trees, tree by tree in their order as scikit-learn adds them, float64 [N].

        Args:
            features: float64 [N, columns].
        """
        known = self._encode_categories(features)
        total = np.full(len(features), self.start[()])
        for root in self.roots:
            nodes = np.full(len(features), root)
            while (asking := np.flatnonzero(self.column[nodes] >= 0)).size:
                nodes[asking] = self._next(nodes[asking], known[asking])
            total += self.value[nodes]
        return total

    def children_chosen(self, row: np.ndarray) -> np.ndarray:
        """The child of every node that a video would go to from there, int64 [nodes]; -1 for a leaf.

        Args:
            row: Features of the video, float64 [columns].
        """
        chosen, asking = np.full(len(self.column), -1), np.flatnonzero(self.column >= 0)
        known = self._encode_categories(row[None])
        chosen[asking] = self._next(asking, np.broadcast_to(known, (len(asking), len(row))))
        return chosen

    def _next(self, nodes: np.ndarray, features: np.ndarray) -> np.ndarray:
        """The child node, [N], that each row's features [N, columns] lead to from its node, [N]."""
        values = features[np.arange(len(nodes)), self.column[nodes]]
        missing, subset = np.isnan(values), self.subset[nodes]
        code = np.where(missing | (subset < 0), 0, values).astype(np.int64)
        in_subset = self.subsets[subset, code // 32] >> code % 32 & 1 if len(self.subsets) else code
        goes_left = np.where(subset < 0, values <= self.threshold[nodes], in_subset.astype(bool))
        return np.where(np.where(missing, self.missing_left[nodes], goes_left), self.left[nodes], self.right[nodes])

    def _encode_categories(self, features: np.ndarray) -> np.ndarray:
        """Features [N, columns], categories by their numbers in ``subsets``; NaN for one that training never had."""
        known = features.astype(np.float64)
        for column in np.unique(self.code_columns):
            codes = self.codes[self.code_columns == column]
            place = np.searchsorted(codes, features[:, column]).clip(max=len(codes) - 1)
            known[:, column] = np.where(codes[place] == features[:, column], place, np.nan)
        return known

    # -- in a checkpoint -----------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Tensors by name, which :meth:`from_state` reads."""
        arrays = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: torch.from_numpy(np.array(array)) for name, array in arrays.items() if array is not None}

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor]) -> Trees:
        """The trees of :meth:`state`, once :func:`checked_trees` has seen it."""
        return cls(
            **{
                field.name: state[field.name].cpu().numpy()
                for field in fields(cls)
                if state.get(field.name) is not None
            }
        )


def gains(model: Any, n_columns: int) -> np.ndarray:
    """How much of the squared error the splits by each column took away, float64 [columns].

    Args:
        model: As :meth:`Trees.from_model` reads it.
        n_columns: Columns that it was fitted to.

    Raises:
        MissingDependencyError: As :meth:`Trees.from_model`.
    """
    with _as_known():
        nodes = np.concatenate([tree.nodes for [tree] in model._predictors])
        splits = nodes[nodes["is_leaf"] == 0]
        order, *_ = _columns(model)
        return np.bincount(order[splits["feature_idx"]], weights=splits["gain"], minlength=n_columns)


@contextmanager
def _as_known() -> Iterator[None]:
    """Turn what arrays of another form raise into one sentence."""
    try:
        yield
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise MissingDependencyError(
            "This version of scikit-learn keeps its boosted trees in another way than those that were tried, so "
            f"that they cannot be stored ({error}); install scikit-learn 1.7."
        ) from error


def _read(model: Any) -> Trees:
    trees = [predictor for [predictor] in model._predictors]
    sizes = [len(tree.nodes) for tree in trees]
    roots = np.cumsum([0, *sizes[:-1]])
    nodes = np.concatenate([tree.nodes for tree in trees])
    first = np.repeat(roots, sizes)
    n_subsets = [len(tree.raw_left_cat_bitsets) for tree in trees]
    first_subset = np.repeat(np.cumsum([0, *n_subsets[:-1]]), sizes)
    is_leaf, is_category = nodes["is_leaf"].astype(bool), nodes["is_categorical"].astype(bool)
    order, code_columns, codes = _columns(model)
    return Trees(
        start=np.float64(np.asarray(model._baseline_prediction).item()) + np.zeros(()),
        roots=roots,
        value=nodes["value"].astype(np.float64),
        column=np.where(is_leaf, -1, order[np.where(is_leaf, 0, nodes["feature_idx"])]),
        threshold=np.where(is_leaf | is_category, 0.0, nodes["num_threshold"]).astype(np.float64),
        left=np.where(is_leaf, 0, nodes["left"] + first).astype(np.int64),
        right=np.where(is_leaf, 0, nodes["right"] + first).astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        subset=np.where(~is_leaf & is_category, nodes["bitset_idx"] + first_subset, -1).astype(np.int64),
        subsets=np.concatenate([tree.raw_left_cat_bitsets for tree in trees]).astype(np.int64).reshape(-1, _WORDS),
        code_columns=code_columns,
        codes=codes,
        count=nodes["count"].astype(np.int64),
    )


def _columns(model: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Our column of each of scikit-learn's, which puts categorical ones first; and the categories of each of ours."""
    nothing = np.zeros(0, dtype=np.int64)
    if model._preprocessor is None:
        return np.arange(model.n_features_in_), nothing, nothing
    is_category = np.asarray(model.is_categorical_, dtype=bool)
    categorical = np.flatnonzero(is_category)
    known = model._preprocessor.named_transformers_["encoder"].categories_
    code_columns = np.repeat(categorical, [len(codes) for codes in known])
    return np.r_[categorical, np.flatnonzero(~is_category)], code_columns, np.concatenate(known).astype(np.int64)


def checked_trees(state: Any, n_columns: int, path: Path) -> Trees:
    """Trees out of a checkpoint.

    Args:
        state: What should be what :meth:`Trees.state` gave.
        n_columns: Columns that there are to ask.
        path: The checkpoint.

    Raises:
        CheckpointError: If an array is missing, of another kind or shape, or leads nowhere.
    """
    values = Fields(state, "trees", path)
    for field in fields(Trees):
        if field.name == "count" and not values.has("count"):
            continue  # of an earlier version
        check_plain_tensor(values.get(field.name), f"trees.{field.name}", path)
    trees = Trees.from_state(state)
    for conditions in (_conditions, _conditions_of_counts):
        for name, fits in conditions(trees, n_columns):
            if not fits:
                raise values.refusal(f"`{name}`", "an array that fits the others")
    return trees


def _conditions(trees: Trees, n_columns: int) -> list[tuple[str, bool]]:
    """Name of an array, and whether it is as it must be; in this order, so that no check fails on what is odd."""
    n, nodes = len(np.atleast_1d(trees.value)), np.arange(len(np.atleast_1d(trees.value)))
    asks = np.atleast_1d(trees.column) >= 0
    whole = ("roots", "column", "left", "right", "subset", "subsets", "code_columns", "codes")
    found: list[tuple[str, bool]] = [(name, getattr(trees, name).dtype == np.int64) for name in whole]
    found += [(name, getattr(trees, name).dtype == np.float64) for name in ("start", "value", "threshold")]
    found += [("missing_left", trees.missing_left.dtype == bool), ("start", trees.start.shape == ())]
    per_node = ("value", "column", "threshold", "left", "right", "missing_left", "subset")
    found += [(name, getattr(trees, name).shape == (n,)) for name in per_node]
    found += [("subsets", trees.subsets.ndim == 2 and trees.subsets.shape[1] == _WORDS)]
    found += [("codes", trees.codes.ndim == 1 and trees.codes.shape == trees.code_columns.shape)]
    if not all(fits for _, fits in found):
        return found
    found += [(name, bool(np.isfinite(getattr(trees, name)).all())) for name in ("start", "value")]
    found += [("threshold", not np.isnan(trees.threshold).any())]
    found += [("roots", trees.roots.ndim == 1 and _within(trees.roots, 0, n))]
    found += [("column", _within(trees.column, -1, n_columns))]
    found += [(name, _within(side[asks] - nodes[asks], 1, n) and _within(side, 0, n))
              for name, side in (("left", trees.left), ("right", trees.right))]  # fmt: skip
    found += [("subset", _within(trees.subset, -1, len(trees.subsets)))]
    found += [("subsets", _within(trees.subsets, 0, 1 << 32))]
    found += [("code_columns", _within(trees.code_columns, 0, n_columns))]
    return found


def _conditions_of_counts(trees: Trees, n_columns: int) -> list[tuple[str, bool]]:
    """As :func:`_conditions`, once they hold; none where there are no counts, as those who go all ways ask for them."""
    count, nodes = trees.count, np.flatnonzero(trees.column >= 0)
    if count is None:
        return []
    is_array = count.dtype == np.int64 and count.shape == trees.value.shape
    if not is_array or not _within(count, 1, 1 << 32):
        return [("count", False)]
    left, right = trees.left[nodes], trees.right[nodes]
    reached = np.concatenate([trees.roots, left, right])
    return [
        ("count", bool((count[left] + count[right] == count[nodes]).all())),
        ("roots", len(np.unique(reached)) == len(reached)),  # else there may be far more ways than nodes
    ]


def _within(values: np.ndarray, lowest: int, end: int) -> bool:
    return bool(((values >= lowest) & (values < end)).all())
