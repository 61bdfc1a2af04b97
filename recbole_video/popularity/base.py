"""What all popularity models share: their inputs, the scale of labels, the loss of a regression."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import InputType, ModelType
from torch import Tensor, nn
from torch.nn.functional import huber_loss, mse_loss

from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.evaluation.regression import one_per_video
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.options import PopularityOptions
from recbole_video.registries import POPULARITY_MODELS
from recbole_video.runtime.trainable import Trainable

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
        label_mean: Mean of the training labels.
        label_std: Standard deviation of the training labels, never 0.
        other_dims: Width of each further modality that the model reads, by its name.
        other_weights: SHA-256 of the weights that made a further modality, by its name, where its store says so.
    """

    frame_dim: int = 0
    n_frames: int = 0
    text_dim: int = 0
    n_numeric: int = 0
    n_categories: tuple[int, ...] = ()
    label_mean: float = 0.0
    label_std: float = 1.0
    other_dims: dict[str, int] = field(default_factory=dict)
    other_weights: dict[str, str] = field(default_factory=dict)

    def as_plain(self) -> dict[str, Any]:
        """Fit for a checkpoint; ``InputShape(**...)`` reads it."""
        values = {**asdict(self), "n_categories": list(self.n_categories)}
        return {name: value for name, value in values.items() if value or not name.startswith("other_")}


class PopularityModel(Trainable, AbstractRecommender):
    """Base of the models that predict one number per video.

    A model that is trained by gradient implements :meth:`forward` and may add to :meth:`calculate_loss`; one that is
    fitted in one go implements :meth:`fit_once` and :meth:`predict`. Batches hold ``row`` [B] and what the data set
    has of ``frames`` [B, T, d_v], ``frame_mask`` [B, T], ``text`` [B, L, d_t], ``text_mask`` [B, L], ``numeric``
    [B, n], ``categories`` [B, m] and, in training, ``label`` [B] on the original scale. A further modality that a
    subclass names in ``inputs_read``, and the option ``content``, is there by its name: ``audio`` [B, R, d] and
    ``audio_mask``.

    What was fitted lies in parameters and buffers, or in ``get_extra_state`` as plain values and tensors, so that a
    checkpoint holds it. The other methods are called on the way of a run and of what is used of it afterwards; each
    may stay as it is.

    Args:
        config: The run's configuration: ``label_norm``, ``regression_loss``, ``huber_delta``.
        inputs: Sizes of the inputs.

    Attributes:
        serves_as_control: Whether reports read other models against it, as against the mean of the labels.
        inputs_read: Which of ``frames``, ``text`` and ``metadata`` it reads. A store of others is opened only to leave
            out the videos that it lacks, as for the other models, and only if it is there.
        files_written: Names of the files that :meth:`look_inside` and :meth:`draw` write atomically into the folder of
            a run; what a kill left of one half-written is removed as the run goes on.
        n_shown_between_epochs: Videos that :meth:`before_epoch` is shown; None for all of training.
        never_without: Further modalities that a prediction is refused without; others are masked.
    """

    Options: type[PopularityOptions] = PopularityOptions
    is_popularity_model = True
    serves_as_control = False
    inputs_read: frozenset[str] = frozenset(["frames", "text", "metadata"])
    type = ModelType.GENERAL
    input_type = InputType.POINTWISE
    files_written: tuple[str, ...] = ()
    n_shown_between_epochs: int | None = None
    never_without: frozenset[str] = frozenset()
    label_mean: Tensor
    label_std: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__()
        self.inputs = inputs
        standardises = config["label_norm"] == "standardise"
        self.register_buffer("label_mean", torch.tensor(inputs.label_mean if standardises else 0.0))
        self.register_buffer("label_std", torch.tensor(inputs.label_std if standardises else 1.0))
        self._regression_loss, self._huber_delta = config["regression_loss"], config["huber_delta"]

    # -- what a class says of itself -----------------------------------------------------------

    @classmethod
    def is_fitted_once(cls, options: Mapping[str, Any] | None = None) -> bool:
        """Whether it is fitted in one go, in place of training by gradient; options decide where variants differ."""
        return cls.fit_once is not PopularityModel.fit_once

    @classmethod
    def is_transductive(cls, options: Mapping[str, Any]) -> bool:
        """Whether the test videos, without labels, are shown by :meth:`take_unlabelled` before :meth:`fit_once`."""
        return False

    @classmethod
    def condenses(cls) -> bool:
        """Whether :meth:`condensed` leaves out of a batch what :meth:`fit_once` does not need of it."""
        return cls.condensed is not PopularityModel.condensed

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """What the title of a run's results says beside the data; empty for nothing."""
        return ""

    @classmethod
    def reads_missing_frames(cls, config: Any) -> bool:
        """Whether frames that a video lacks are read, as zeros.

        A batch is then as long as the longest video of the data set, however long those in it are, in training and
        out of it; for other models it is cut to its own longest video.
        """
        return False

    @classmethod
    def reads(cls, options: Mapping[str, Any]) -> frozenset[str]:
        """What it reads with these options; ``inputs_read``, where no option names a further modality."""
        return cls.inputs_read

    # -- prediction and loss -------------------------------------------------------------------

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
        """Huber or squared error of values and labels on the model's scale, both [B].

        Raises:
            ConfigError: If there is not one value per label.
        """
        one_per_video(self, values, labels)
        if self._regression_loss == "mse":
            return mse_loss(values.float(), labels)
        return huber_loss(values.float(), labels, delta=self._huber_delta)

    def loss_name(self) -> str:
        """What the training loss is made of, in words."""
        return {"mse": "squared error", "huber": "Huber"}[self._regression_loss]

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the ``model``, and of its parts if a subclass adds them; empty without any."""
        count = sum(p.numel() for p in self.parameters() if p.requires_grad)
        return {"model": count} if count else {}

    # -- fitting -------------------------------------------------------------------------------

    def condensed(self, batch: Batch) -> Batch:
        """What :meth:`fit_once` needs of a batch, fields of one row per video.

        A model that overrides it is shown a split batch by batch, so that the frames of all videos never lie in memory
        at once; :meth:`fit_once` gets what it gave of each, joined.
        """
        return batch

    def take_unlabelled(self, videos: Batch) -> None:
        """Be told, before :meth:`fit_once`, what the test videos are like.

        Args:
            videos: All of them, :meth:`condensed`; there is no label among the fields.
        """

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Fit in one go; the validation videos only choose a setting.

        Args:
            train: All training videos in one batch, :meth:`condensed`, with labels in double precision.
            valid: The validation videos, likewise.

        Returns:
            What was fitted, as plain values for the results.
        """
        raise NotImplementedError

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """The parameters that are trained, in one group."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Called before each epoch, with its index from 0 and the training videos in their own order.

        Where ``n_shown_between_epochs`` is set and there are more, with a sample of so many, the same in each epoch.
        """

    # -- at the end of a run -------------------------------------------------------------------

    def look_inside(
        self, batches: Callable[[str], Iterable[Batch]], items: np.ndarray, best_epoch: int, folder: Path | None
    ) -> dict[str, Any]:
        """Further results of the trained model, as plain values; files of its own may be written.

        Args:
            batches: The batches of a split, on the device, in the order of the data.
            items: Item token of each row that batches name, object [N].
            best_epoch: The number of the epoch that was chosen, from 1; 0 where there is none.
            folder: The run's folder; None where none is kept.
        """
        return {}

    def milestones(self) -> dict[int, str]:
        """What has changed in training, by the epoch, counted from 1, that began with it."""
        return {}

    def draw(self, history: Sequence[dict[str, float]], folder: Path) -> None:
        """Draw what the records of the epochs, which are counted from 1, tell, into the folder of the run."""

    # -- of a trained model --------------------------------------------------------------------

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse a ``state_dict`` out of a file before it is loaded, beyond missing weights and other shapes.

        Raises:
            ConfigError: Where it is of a model of other options.
            CheckpointError: Where a value is not as it must be.
        """
        fitted = state.items() if self.is_fitted_once() else ()
        for name, value in fitted:
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise CheckpointError(f"`{path}` holds a model that is of no use: `{name}` holds NaN or infinity.")

    def after_load(self, evaluated: Sequence[str], folder: Path) -> None:
        """Called when a checkpoint is loaded.

        Args:
            evaluated: Item tokens of the validation and test videos.
            folder: Where the checkpoint lies.
        """

    def explain(self, batch: Batch) -> Explanation:
        """What the prediction of a batch of one video rests on.

        Raises:
            ConfigError: If the model offers no explanation.
        """
        classes = {name: POPULARITY_MODELS.get(name) for name in POPULARITY_MODELS}
        others = [name for name, one in classes.items() if one.explain is not PopularityModel.explain]
        raise ConfigError(
            f"{type(self).__name__} offers no explanation of a prediction; {', '.join(others)} "
            f"{'do' if len(others) > 1 else 'does'}."
        )

    def update(self, items: Sequence[str], batches: Iterable[Batch], labels: Tensor | None) -> None:
        """Take in new videos without training.

        Args:
            items: Their item tokens.
            batches: The videos.
            labels: Their popularity on the labels' scale, NaN where it is not known, [N]; None for none.

        Raises:
            ConfigError: If the model has nothing to take them into.
        """
        self._raise_no_memory_bank("update")

    def freeze_memory(self, is_frozen: bool = True) -> None:
        """Let :meth:`update` fail from now on, or no longer.

        Args:
            is_frozen: Whether updates fail.

        Raises:
            ConfigError: If there is nothing to update.
        """
        self._raise_no_memory_bank("freeze")

    def _raise_no_memory_bank(self, what: str) -> NoReturn:
        raise ConfigError(f"{type(self).__name__} has no memory bank to {what}.")


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
        """The metadata vector U of each video, [B, d_u]."""
        parts = [batch["numeric"]] if self.has_numbers else []
        parts += [embed(batch["categories"][:, i]) for i, embed in enumerate(self.embeddings)]
        return torch.cat(parts, dim=-1)


def _embedding(n_categories: int) -> nn.Embedding:
    """An embedding whose row 0 starts at zero."""
    table = nn.Embedding(n_categories, _EMBEDDING_WIDTH)
    with torch.no_grad():
        table.weight[0].zero_()
    return table
