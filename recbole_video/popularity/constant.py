"""Control: the same prediction for every video."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.options import FittedOptions


class Constant(PopularityModel):
    """The mean of the training labels for every video."""

    Options = FittedOptions
    serves_as_control = True
    inputs_read = frozenset()
    value: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        self.register_buffer("value", torch.zeros((), dtype=torch.float64))

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Take the mean of the training labels; nothing else is learned."""
        self.value.fill_(float(labels_of(train).mean()))
        return {"value": float(self.value)}

    def predict(self, interaction: Batch) -> Tensor:
        """The mean of the training labels for each video, float64 [B]."""
        return self.value.expand(len(interaction["row"]))
