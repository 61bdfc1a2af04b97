"""Control: ridge regression on the metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.columns import (
    MetadataOptions,
    column_names,
    contributions,
    earlier_version_error,
    labels_of,
    one_hot,
    require_metadata,
)
from recbole_video.popularity.explanation import Explanation

_ALPHAS = tuple(10.0**k for k in range(-3, 5))


class MetadataRidge(PopularityModel):
    """Ridge regression on the metadata, categories one-hot; the validation split chooses the penalty.

    Raises:
        ConfigError: If there is no metadata.
    """

    @dataclass(frozen=True)
    class Options(MetadataOptions):
        """Of this model."""

        model: ClassVar[str] = "MetadataRidge"

    serves_as_control = True
    inputs_read = frozenset(["metadata"])
    weights: Tensor
    intercept: Tensor
    alpha: Tensor
    feature_mean: Tensor | None

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require_metadata(inputs, type(self).__name__)
        width = inputs.n_numeric + sum(inputs.n_categories)
        for name, shape in {"weights": (width,), "intercept": (), "alpha": ()}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.register_buffer("feature_mean", None)  # until it is fitted; an earlier version kept none
        self._names = column_names(config, inputs)

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Fit with each penalty, and keep the one that validates best."""
        features, labels = one_hot(train, self.inputs), labels_of(train)
        unseen, truth = one_hot(valid, self.inputs), labels_of(valid)
        fitted = {alpha: Ridge(alpha=alpha).fit(features, labels) for alpha in _ALPHAS}
        errors = {alpha: float(np.mean((model.predict(unseen) - truth) ** 2)) for alpha, model in fitted.items()}
        alpha = min(errors, key=lambda alpha: (errors[alpha], alpha))
        self.weights.copy_(torch.from_numpy(fitted[alpha].coef_))
        self.intercept.fill_(float(fitted[alpha].intercept_))
        self.alpha.fill_(alpha)
        self.feature_mean = torch.from_numpy(features.mean(axis=0)).to(self.weights.device)
        return {"alpha": alpha, "weights": self.weights.tolist(), "intercept": float(self.intercept)}

    def predict(self, interaction: Batch) -> Tensor:
        """Linear in the metadata, float64 [B]; by NumPy, as scikit-learn computes it."""
        values = one_hot(interaction, self.inputs) @ self.weights.cpu().numpy() + float(self.intercept)
        return torch.from_numpy(values)

    def explain(self, batch: Batch) -> Explanation:
        """What each column of the metadata adds to the mean prediction: its weight times its difference from its mean.

        Raises:
            CheckpointError: If it was fitted by an earlier version, which did not keep the means.
        """
        popularity = float(self.predict(batch)[0])
        if self.feature_mean is None:
            raise earlier_version_error(type(self).__name__)
        weights, mean = self.weights.cpu().numpy(), self.feature_mean.cpu().numpy()
        added = weights * (one_hot(batch, self.inputs)[0] - mean)
        sizes = [1] * self.inputs.n_numeric + list(self.inputs.n_categories)
        return Explanation(
            popularity,
            base=float(self.intercept) + float(weights @ mean),
            contributions=contributions(added, self._names, sizes),
        )

    # -- in a checkpoint -----------------------------------------------------------------------

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check the weights, and make room for the means of training only where they were kept."""
        super().check_state(state, path)
        self.feature_mean = torch.zeros_like(self.weights) if "feature_mean" in state else None
