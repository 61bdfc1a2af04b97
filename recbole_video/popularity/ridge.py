"""Control: ridge regression on the metadata."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.linear_model import Ridge
from torch import Tensor

from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.columns import MetadataOptions, labels_of, one_hot, require_metadata

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

    is_control = True
    inputs_read = frozenset(["metadata"])
    weights: Tensor
    intercept: Tensor
    alpha: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require_metadata(inputs, type(self).__name__)
        width = inputs.n_numeric + sum(inputs.n_categories)
        for name, shape in {"weights": (width,), "intercept": (), "alpha": ()}.items():
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))

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
        return {"alpha": alpha, "weights": self.weights.tolist(), "intercept": float(self.intercept)}

    def predict(self, interaction: Batch) -> Tensor:
        """Linear in the metadata, float64 [B]; by NumPy, as scikit-learn computes it."""
        values = one_hot(interaction, self.inputs) @ self.weights.cpu().numpy() + float(self.intercept)
        return torch.from_numpy(values)
