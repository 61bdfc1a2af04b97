"""MVP: boosted trees on principal components of the frames, text, metadata, and the author's past."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from recbole_video.data.metadata import PAST_LABEL
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.feature_rows import ContentOptions, FeatureModel, refuse_constant
from recbole_video.popularity.gbdt import HoldsTrees, as_categories, grown
from recbole_video.popularity.trees import checked_trees


class MVP(HoldsTrees, FeatureModel):
    """Boosted trees of scikit-learn on all that is known of a video before it is posted; as many as validate best."""

    @dataclass(frozen=True)
    class Options(ContentOptions):
        """MVP (arXiv 2507.00950), the recipe that won the video track of the SMP Challenge 2025."""

        author_history: bool = option(
            True, "Add the author's training videos before each video: number and mean label."
        )
        frame_components: int | None = option(
            64, "The mean frame in at most so many principal components of training; empty: as it is.", at_least=1
        )
        n_trees: int = option(1000, "At most so many trees.", at_least=1)
        leaves: int = option(15, "Leaves of a tree.", at_least=2)
        tree_learning_rate: float = option(0.05, above=0)

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        self._options: MVP.Options = config.options(MVP.Options)
        self._seed: int = config["seed"]

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """Says so where the author's past is not among the features."""
        metadata = result["data"]["inputs"].get("metadata", {"numeric": []})
        return "" if PAST_LABEL in metadata["numeric"] else "without author history"

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Grow trees, and keep the number of them that validates best."""
        self.fit_components(train)
        known, unseen = ((self.rows_with_codes(batch), labels_of(batch)) for batch in (train, valid))
        refuse_constant(known[0], "MVP")
        n_numbers = self.n_content + self.inputs.n_numeric
        settings = {
            "max_iter": self._options.n_trees,
            "learning_rate": self._options.tree_learning_rate,
            "max_leaf_nodes": self._options.leaves,
            "categorical_features": [False] * n_numbers + as_categories(self.inputs.n_categories),
            "random_state": self._seed,
        }
        self._trees, of_columns = grown(known, unseen, settings)
        return {"trees": len(self._trees.roots), "components": self.n_components, **self.importance(of_columns)}

    def predict(self, interaction: Batch) -> Tensor:
        """Sum of the trees, float64 [B]."""
        if self._trees is None:
            raise self.not_fitted_error()
        return torch.from_numpy(self._trees.predict(self.rows_with_codes(self.condensed(interaction))))

    def explain(self, batch: Batch) -> Explanation:
        """What frames, text, and each column of the metadata add to the mean prediction, as SHAP values.

        Raises:
            CheckpointError: If the trees were grown by an earlier version, which did not count videos in their nodes.
        """
        popularity = float(self.predict(batch)[0])
        base, added = self.taken_apart(self.rows_with_codes(self.condensed(batch))[0])
        return Explanation(popularity, base=base, contributions=self.contributions(added))

    # -- in a checkpoint -----------------------------------------------------------------------

    def check_fitted(self, state: Any, path: Path) -> None:
        """Check that the trees of a checkpoint end: no branch leads back or outside of its tree."""
        checked_trees(state, self.n_content + self.inputs.n_numeric + len(self.inputs.n_categories), path)
