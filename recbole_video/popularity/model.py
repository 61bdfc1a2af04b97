"""What all popularity models share: their inputs, the scale of labels, the loss of a regression."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn
from torch.nn.functional import huber_loss, mse_loss

from recbole_video.popularity.options import PopularityOptions

Batch = Mapping[str, Tensor]
_EMBEDDING_WIDTH = 8  # of a categorical column of the metadata


@dataclass(frozen=True)
class InputShape:
    """Sizes of a data set's inputs; 0 or empty for one that is not there or switched off.

    Attributes:
        frame_dim: d_v, width of a frame embedding.
        n_frames: T, the most frames that a video has.
        text_dim: d_t, width of a text embedding.
        n_numeric: Numbers in the metadata vector.
        n_categories: Values of each categorical column, the unknown one included.
        label_mean: Of the training labels.
        label_std: Likewise, never 0.
    """

    frame_dim: int = 0
    n_frames: int = 0
    text_dim: int = 0
    n_numeric: int = 0
    n_categories: tuple[int, ...] = ()
    label_mean: float = 0.0
    label_std: float = 1.0

    def as_plain(self) -> dict[str, Any]:
        """Fit for a checkpoint; ``InputShape(**...)`` reads it."""
        return {**asdict(self), "n_categories": list(self.n_categories)}


class PopularityModel(AbstractRecommender):
    """Base of the models that predict one number per video.

    A subclass implements :meth:`forward` and may add to :meth:`calculate_loss`. Batches hold what the data set has
    of ``frames`` [B, T, d_v], ``frame_mask`` [B, T], ``text`` [B, L, d_t], ``text_mask`` [B, L], ``numeric`` [B, n],
    ``categories`` [B, m] and, in training, ``label`` [B] on the original scale.

    Args:
        config: The run's configuration: ``label_norm``, ``regression_loss``, ``huber_delta``.
        inputs: Sizes of the inputs.
    """

    Options: type[PopularityOptions] = PopularityOptions
    is_popularity_model = True
    is_control = False
    inputs_read = frozenset(["frames", "text", "metadata"])
    type = ModelType.GENERAL
    input_type = InputType.POINTWISE
    n_shown_between_epochs: int | None = None  # videos that before_epoch is shown; None: all of training
    label_mean: Tensor
    label_std: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__()
        self.inputs = inputs
        standardises = config["label_norm"] == "standardise"
        self.register_buffer("label_mean", torch.tensor(inputs.label_mean if standardises else 0.0))
        self.register_buffer("label_std", torch.tensor(inputs.label_std if standardises else 1.0))
        self._regression_loss, self._huber_delta = config["regression_loss"], config["huber_delta"]

    @classmethod
    def reads_missing_frames(cls, config: Any) -> bool:
        """Whether frames that a video lacks are read, as zeros.

        A batch is then as long as the longest video of the data set, however long those in it are, in training and
        out of it; for other models it is cut to its own longest video.
        """
        return False

    def forward(self, batch: Batch) -> Any:
        """What :meth:`calculate_loss` and :meth:`predict` need of a batch."""
        raise NotImplementedError

    def predict(self, interaction: Batch) -> Tensor:
        """Popularity of each video on the labels' scale, [B]."""
        return self.forward(interaction).float() * self.label_std + self.label_mean

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """The loss of a batch, a scalar."""
        return self.regression_loss(self.forward(interaction), self.scaled_labels(interaction))

    def scaled_labels(self, batch: Batch) -> Tensor:
        """Labels on the scale that the model learns, [B]."""
        return (batch["label"] - self.label_mean) / self.label_std

    def regression_loss(self, values: Tensor, labels: Tensor) -> Tensor:
        """Huber or squared error of values and labels on the model's scale."""
        if self._regression_loss == "mse":
            return mse_loss(values.float(), labels)
        return huber_loss(values.float(), labels, delta=self._huber_delta)

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the ``model``; a subclass may add its parts."""
        return {"model": sum(p.numel() for p in self.parameters() if p.requires_grad)}

    # -- what the trainer calls ----------------------------------------------------------------

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser, in groups if their rates differ."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Called before each epoch with the training videos in their own order.

        Where ``n_shown_between_epochs`` is set and there are more, with a sample of so many, the same in each epoch.
        """

    def after_step(self) -> None:
        """Called after each step of the optimiser."""

    def epoch_statistics(self) -> dict[str, float]:
        """Numbers for the history, of what was seen since the last call."""
        return {}


class MetadataVector(nn.Module):
    """The metadata vector U of a batch: numbers as they are, categories embedded.

    Row 0 of an embedding stands for what no training video has: it starts at zero, and only empty training cells
    train it. A random start would stay as it is, and move predictions at random.

    Attributes:
        width: d_u; 0 without metadata.
    """

    def __init__(self, inputs: InputShape) -> None:
        super().__init__()
        self.has_numbers = inputs.n_numeric > 0
        self.embeddings = nn.ModuleList(_embedding(n) for n in inputs.n_categories)
        self.width = inputs.n_numeric + _EMBEDDING_WIDTH * len(inputs.n_categories)

    def forward(self, batch: Batch) -> Tensor:
        """U, [B, d_u]."""
        parts = [batch["numeric"]] if self.has_numbers else []
        parts += [embed(batch["categories"][:, i]) for i, embed in enumerate(self.embeddings)]
        return torch.cat(parts, dim=-1)


def _embedding(n_categories: int) -> nn.Embedding:
    """An embedding whose row 0 starts at zero."""
    table = nn.Embedding(n_categories, _EMBEDDING_WIDTH)
    with torch.no_grad():
        table.weight[0].zero_()
    return table
