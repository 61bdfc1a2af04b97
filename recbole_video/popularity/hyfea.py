"""HyFea: CatBoost on content and metadata, categories as categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_video.errors import DataError
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.feature_rows import ContentOptions, FeatureModel, refuse_constant
from recbole_video.popularity.tree_libraries import (
    as_checkpoint_error,
    as_training_error,
    check_sealed,
    import_library,
    sealed,
    unsealed,
)

# What the public code sets, of either; hyfea_emb leaves the rest as CatBoost has it.
_SETTINGS: dict[str, dict[str, Any]] = {
    "hyfea": {
        "eval_metric": "MAE",
        "l2_leaf_reg": 3,
        "max_ctr_complexity": 1,
        "leaf_estimation_method": "Gradient",
    },
    "hyfea_emb": {"eval_metric": "RMSE"},
}


class HyFea(FeatureModel):
    """Boosted oblivious trees of CatBoost on mean frame, text and metadata; as many as validate best.

    Raises:
        MissingDependencyError: If CatBoost is not installed.
    """

    @dataclass(frozen=True)
    class Options(ContentOptions):
        """HyFea (Lai et al., MM 2020) by CatBoost, which the extra ``trees`` installs."""

        variant: Literal["hyfea", "hyfea_emb"] = option(
            "hyfea", "hyfea: the authors' settings, with metadata. hyfea_emb: embeddings alone, as later benchmarks do."
        )
        n_trees: int = option(100_000, "At most so many trees.", at_least=1)
        patience: int = option(5_000, "Stop after so many trees without a better validation error.", at_least=1)
        tree_depth: int = option(8, at_least=1, at_most=16)
        tree_learning_rate: float = option(0.03, above=0)
        log_labels: bool = option(False, "Fit to log(1 + label): for labels that are counts.")

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        self._options: HyFea.Options = config.options(HyFea.Options)
        self._seed: int = config["seed"]
        self._state: dict[str, Tensor] = {}
        self._trees: Any = None
        self._catboost()  # refused now, and not after the videos have been gathered

    def _catboost(self) -> Any:
        return import_library("catboost", "HyFea", "CatBoost")

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """Says so where there is no metadata, of which the method is made."""
        return "" if "metadata" in result["data"]["inputs"] else "embeddings alone, without HyFea's metadata"

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Grow trees until validation no longer gets better."""
        self.fit_components(train)
        refuse_constant(self.rows_with_codes(train), "HyFea")
        options = self._options
        trees = self._catboost().CatBoostRegressor(
            iterations=options.n_trees,
            early_stopping_rounds=options.patience,
            depth=options.tree_depth,
            learning_rate=options.tree_learning_rate,
            loss_function="RMSE",
            random_seed=self._seed,
            thread_count=torch.get_num_threads(),
            allow_writing_files=False,
            logging_level="Silent",
            **_SETTINGS[options.variant],
        )
        with as_training_error("CatBoost", self._catboost().CatBoostError):
            trees.fit(self._pool(train, self._targets(train)), eval_set=self._pool(valid, self._targets(valid)))
        facts = trees.get_metadata()
        facts["train_finish_time"] = facts["model_guid"] = ""  # the same fit makes the same bytes
        self._trees, self._state = trees, sealed(trees._serialize_model())
        return {"trees": trees.tree_count_, **self.importance(trees.get_feature_importance())}

    def _targets(self, batch: Batch) -> np.ndarray:
        """What is learned of the labels, float64 [N]."""
        labels = labels_of(batch)
        if self._options.log_labels and labels.min() <= -1:
            raise DataError(
                f"HyFea with log_labels takes log(1 + label), and a label is {labels.min():.6g}; set log_labels=False, "
                "or make labels above -1."
            )
        return np.log1p(labels) if self._options.log_labels else labels

    def _pool(self, condensed: Batch, labels: np.ndarray | None = None) -> Any:
        """The videos in CatBoost's form: numbers in single precision, categories as words."""
        rows = self.rows_with_codes(condensed)
        numbers, codes = np.split(rows, [rows.shape[1] - len(self.inputs.n_categories)], axis=1)
        words = np.char.encode(codes.astype(np.int64).astype(str)).astype(object)
        features = self._catboost().FeaturesData(
            num_feature_data=np.ascontiguousarray(numbers, dtype=np.float32) if numbers.shape[1] else None,
            cat_feature_data=words if words.shape[1] else None,
        )
        return self._catboost().Pool(features, labels)

    def predict(self, interaction: Batch) -> Tensor:
        """Sum of the trees, float64 [B]."""
        if self._trees is None:
            raise self.not_fitted_error()
        values = self._trees.predict(self._pool(self.condensed(interaction)))
        return torch.from_numpy(np.expm1(values) if self._options.log_labels else np.asarray(values))

    def explain(self, batch: Batch) -> Explanation:
        """What frames, text, and each column of the metadata add to the mean prediction, as CatBoost's SHAP values.

        With ``log_labels`` they add up to log(1 + prediction), which is what the trees were fitted to.
        """
        popularity = float(self.predict(batch)[0])
        pool = self._pool(self.condensed(batch))
        *added, base = self._trees.get_feature_importance(pool, type="ShapValues", thread_count=1)[0]
        return Explanation(
            popularity,
            base=float(base),
            contributions=self.contributions(np.array(added)),
            scale="log(1 + prediction)" if self._options.log_labels else "",
        )

    # -- in a checkpoint -----------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Tensor]:
        """The trees in CatBoost's format, as bytes with their digest; nothing before they are grown."""
        return self._state

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        self._state = dict(state)
        if not state:
            return
        self._trees = self._catboost().CatBoostRegressor()
        with as_checkpoint_error("CatBoost", self._catboost().CatBoostError):
            self._trees.load_model(blob=unsealed(state))

    def check_fitted(self, state: Any, path: Path) -> None:
        """Check that the bytes of the trees are those that were written."""
        check_sealed(state, "trees", path)
