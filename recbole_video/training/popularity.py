"""Training for popularity prediction: an epoch is judged by the predictions of a whole split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from recbole.utils import set_color
from tqdm import tqdm

from recbole_video.data.labelled_loader import PopularityLoader
from recbole_video.errors import TrainingError
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import PopularityMetrics, Predictions
from recbole_video.popularity.model import Batch, PopularityModel
from recbole_video.training.trainer import Trainer


class PopularityTrainer(Trainer):
    """Trains and evaluates a popularity model.

    Args:
        config: The run's configuration.
        model: The model, on its device.
        metrics: Computes the metrics.
        between_epochs: The training videos, or a sample, in their own order, for what a model does between epochs.
        rest: As in :class:`Trainer`.
    """

    def __init__(
        self,
        config: Any,
        model: PopularityModel,
        metrics: PopularityMetrics,
        between_epochs: PopularityLoader,
        *rest: Any,
    ) -> None:
        super().__init__(config, model, *rest)
        self.metrics = metrics
        self.between_epochs = between_epochs

    def evaluate(self, data: PopularityLoader) -> tuple[Predictions, Metrics]:
        """Predict the videos of ``data`` with the current weights; metrics are of all together."""
        predictions = predict_all(self.model, data, self.device, self.config["show_progress"])
        return predictions, self.metrics.compute(predictions)

    def parameters(self) -> Iterable[Any]:
        """The model's groups, whose rates may differ."""
        return self.model.parameter_groups(self.config["learning_rate"])

    def before_epoch(self, epoch: int, train_data: Any) -> None:
        """Let the model look at training videos."""
        self.model.before_epoch(epoch, on_device(self.between_epochs, self.device))

    def after_step(self) -> None:
        """Let the model act on what it saw."""
        self.model.after_step()

    def epoch_statistics(self) -> dict[str, float]:
        """What the model tells of an epoch."""
        return self.model.epoch_statistics()


def on_device(batches: Iterable[Any], device: torch.device) -> Iterator[Batch]:
    """The batches, one after the other on ``device``."""
    return (batch.to(device) for batch in batches)


@torch.no_grad()
def predict_all(
    model: PopularityModel, data: PopularityLoader, device: torch.device, show_progress: bool = False
) -> Predictions:
    """Predict every video of ``data``, in its order; labels are the data set's, in full precision.

    Raises:
        TrainingError: If a prediction is not finite.
    """
    model.eval()
    rows, values = [], []
    bar = tqdm(
        on_device(data, device),
        desc=set_color("Evaluate   ", "pink"),
        total=len(data),
        ncols=100,
        leave=False,
        disable=None if show_progress else True,  # None: where the output is a terminal
    )
    for batch in bar:
        values.append(model.predict(batch).double().cpu())
        rows.append(batch["row"].cpu())
    found, predicted = torch.cat(rows).numpy(), torch.cat(values)
    if not torch.isfinite(predicted).all():
        raise TrainingError("The model's predictions are not finite: training has diverged; lower learning_rate.")
    return Predictions(found, data.dataset.labels[found], predicted.numpy())
