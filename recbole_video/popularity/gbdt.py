"""Control: boosted trees on the metadata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import Tensor

from recbole_video.errors import TrainingError, counted
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.columns import (
    MetadataOptions,
    column_names,
    contributions,
    earlier_version_error,
    labels_of,
    require_metadata,
    shares_by_name,
    side_by_side,
)
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.tree_libraries import threads_for
from recbole_video.popularity.tree_shap import shap_values
from recbole_video.popularity.trees import Trees, checked_trees, gains

_MAX_CATEGORIES = 255  # of HistGradientBoostingRegressor
_STATE = "_extra_state"  # PyTorch's name of what get_extra_state gives
_SETTINGS = {"max_iter": 1000, "learning_rate": 0.05, "max_leaf_nodes": 15}


def as_categories(n_categories: Sequence[int]) -> list[bool]:
    """Whether scikit-learn's trees can take each column of codes for categories: not where there are too many."""
    return [n <= _MAX_CATEGORIES for n in n_categories]


def grown(
    train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], settings: Mapping[str, Any]
) -> tuple[Trees, np.ndarray]:
    """Boosted trees, as many as validate best; and how much of the squared error each column took away, [columns].

    Args:
        train: Features [N, columns], and labels [N].
        valid: Likewise.
        settings: Of ``HistGradientBoostingRegressor``; ``max_iter`` is the most trees.

    Raises:
        MissingDependencyError: If this scikit-learn keeps its trees in another way than was tried.
    """
    with threads_for(len(train[0])):
        return _as_many_as_validate_best(train, valid, settings)


def _as_many_as_validate_best(
    train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], settings: Mapping[str, Any]
) -> tuple[Trees, np.ndarray]:
    features, labels = valid
    most = HistGradientBoostingRegressor(early_stopping=False, **settings).fit(*train)
    errors = [np.mean((values - labels) ** 2) for values in most.staged_predict(features)]
    settings = {**settings, "max_iter": int(np.argmin(errors)) + 1}
    best = HistGradientBoostingRegressor(early_stopping=False, **settings).fit(*train)
    return Trees.from_model(best), gains(best, features.shape[1])


class HoldsTrees:
    """Mixin of the models whose predictions are :func:`grown` trees, and whose checkpoints hold them."""

    _trees: Trees | None = None

    def taken_apart(self, row: np.ndarray) -> tuple[float, np.ndarray]:
        """The mean prediction of training, and what each column of a video's features, float64 [columns], adds to it.

        Raises:
            CheckpointError: If the trees were grown by an earlier version, which did not count videos in their nodes.
        """
        if self._trees is None or self._trees.count is None:
            raise earlier_version_error(type(self).__name__)
        return shap_values(self._trees, row)

    def get_extra_state(self) -> dict[str, Tensor]:
        """The trees as tensors; nothing before they are grown."""
        return {} if self._trees is None else self._trees.state()

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, ``check_state`` has seen it."""
        self._trees = Trees.from_state(state) if state else None


class MetadataGBDT(HoldsTrees, PopularityModel):
    """Boosted trees on the metadata; as many as validate best.

    Raises:
        ConfigError: If there is no metadata.
    """

    @dataclass(frozen=True)
    class Options(MetadataOptions):
        """Of this model."""

        model: ClassVar[str] = "MetadataGBDT"

    serves_as_control = True
    inputs_read = frozenset(["metadata"])

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """How many trees there are: one or two say that the metadata told the validation videos next to nothing."""
        n_trees = (result.get("control") or {}).get("trees")
        if n_trees is None:
            return ""
        n_valid = counted(result["data"]["rows"]["valid"], "validation video")
        return f"{counted(n_trees, 'tree')}, as many as {n_valid} chose"

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require_metadata(inputs, type(self).__name__)
        self._seed: int = config["seed"]
        self._names = column_names(config, inputs)

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Grow trees, and keep the number of them that validates best.

        Raises:
            MissingDependencyError: If this scikit-learn keeps its trees in another way than was tried.
        """
        known, unseen = (side_by_side(train), labels_of(train)), (side_by_side(valid), labels_of(valid))
        is_category = [False] * self.inputs.n_numeric + as_categories(self.inputs.n_categories)
        settings = {**_SETTINGS, "categorical_features": is_category, "random_state": self._seed}
        self._trees, of_columns = grown(known, unseen, settings)
        whole = max(float(of_columns.sum()), np.finfo(float).tiny)
        return {"trees": len(self._trees.roots), "features": shares_by_name(of_columns, self._names, whole)}

    def predict(self, interaction: Batch) -> Tensor:
        """Sum of the trees, float64 [B]."""
        if self._trees is None:
            raise TrainingError("MetadataGBDT has no trees yet: fit it first.")
        return torch.from_numpy(self._trees.predict(side_by_side(interaction)))

    def explain(self, batch: Batch) -> Explanation:
        """What each column of the metadata adds to the mean prediction, as SHAP values.

        Raises:
            CheckpointError: If the trees were grown by an earlier version, which did not count videos in their nodes.
        """
        popularity = float(self.predict(batch)[0])
        base, added = self.taken_apart(side_by_side(batch)[0])
        found = contributions(added, self._names, [1] * len(self._names))
        return Explanation(popularity, base=base, contributions=found)

    # -- in a checkpoint -----------------------------------------------------------------------

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check that the trees of a checkpoint end: no branch leads back or outside of its tree."""
        super().check_state(state, path)
        checked_trees(state.get(_STATE), self.inputs.n_numeric + len(self.inputs.n_categories), path)
