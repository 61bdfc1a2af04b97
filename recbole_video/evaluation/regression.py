"""Predictions of a whole split, their metrics, and results by groups of videos."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from recbole.evaluator import Evaluator
from recbole.evaluator.collector import DataStruct
from recbole.utils import set_color
from torch import Tensor
from tqdm import tqdm

from recbole_video.errors import ConfigError, TrainingError, counted
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.runtime.processes import processes

if TYPE_CHECKING:
    from recbole_video.data.labelled import PopularityDataset
    from recbole_video.data.labelled_loader import PopularityLoader


@dataclass(frozen=True)
class Predictions:
    """Predictions of some videos.

    Attributes:
        rows: Row of each video in the data set, int64 [n].
        labels: True popularity, float64 [n].
        values: Predicted popularity, float64 [n].
    """

    rows: np.ndarray
    labels: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, chosen: np.ndarray) -> Predictions:
        """Some of them, by mask or by position."""
        return Predictions(self.rows[chosen], self.labels[chosen], self.values[chosen])


@torch.no_grad()
def predict_all(model: Any, data: PopularityLoader, device: torch.device, show_progress: bool = False) -> Predictions:
    """Predict every video of ``data``, in its order; labels are the data set's, in full precision.

    Raises:
        ConfigError: If the model gives anything but one number per video.
        TrainingError: If a prediction is not finite.
    """
    model.eval()
    rows, values = [], []
    bar = tqdm(
        data.of_process(processes()),
        total=math.ceil(len(data) / processes().size),
        desc=set_color("Evaluate   ", "pink"),
        ncols=100,
        leave=False,
        disable=None if show_progress else True,  # None: where the output is a terminal
    )
    for batch in bar:
        values.append(one_per_video(model, model.predict(batch.to(device)), batch["row"]).double().cpu())
        rows.append(batch["row"].cpu())
    found, predicted = _of_all_processes(rows, values, data)
    if not torch.isfinite(predicted).all():
        raise TrainingError("The model's predictions are not finite: training has diverged; lower learning_rate.")
    return Predictions(found, data.dataset.labels[found], predicted.numpy())


def one_per_video(model: Any, values: Tensor, of: Tensor) -> Tensor:
    """What a model gives for some videos, once it is known to be one number for each.

    Any other shape would be spread over that of the labels, and learn and predict nonsense without a word.

    Args:
        model: The model, for the message.
        values: What it gives, which must be [B].
        of: What there is of the same videos, [B].

    Raises:
        ConfigError: If it is of another shape.
    """
    if not isinstance(values, Tensor) or values.shape != of.shape:
        given = list(values.shape) if isinstance(values, Tensor) else type(values).__name__
        name = type(model).__name__
        raise ConfigError(
            f"`{name}` gives {given} for {of.shape[0]} videos, and must give one number for each, a tensor of shape "
            f"{list(of.shape)}; change what its `forward` or `predict` returns, by squeeze(-1) for one."
        )
    return values


def _of_all_processes(rows: list[Tensor], values: list[Tensor], data: PopularityLoader) -> tuple[np.ndarray, Tensor]:
    """Rows and predictions of all videos in the data's order, of which each process has predicted some batches."""
    group = processes()
    if group.is_alone:
        return torch.cat(rows).numpy(), torch.cat(values)
    place = {int(row): i for i, row in enumerate(data.rows)}
    whole = torch.zeros(len(data.rows), dtype=torch.float64)
    for row, value in zip(rows, values, strict=True):
        whole[[place[int(one)] for one in row]] = value
    return data.rows, group.sum_of(whole)


class PopularityMetrics:
    """The metrics that ``config["metrics"]`` names, by RecBole's evaluator, once over the whole split.

    With ``metric_batching: batch_mean`` they are means over batches of ``metric_batch_size`` videos in their order,
    as public code of the field computes them: larger nMSE, smaller SRC, and wild values where the last batch is small.
    """

    def __init__(self, config: Any) -> None:
        self._evaluator = Evaluator(config)
        self._batch_size: int | None = (
            config["metric_batch_size"] if config["metric_batching"] == "batch_mean" else None
        )

    def compute(self, predictions: Predictions) -> Metrics:
        """The metrics, keyed and rounded as by RecBole."""
        if self._batch_size is None:
            return self._evaluate(predictions)
        parts = np.split(np.arange(len(predictions)), range(self._batch_size, len(predictions), self._batch_size))
        results = [self._evaluate(predictions.take(part)) for part in parts]
        return {name: float(np.mean([result[name] for result in results])) for name in results[0]}

    def _evaluate(self, predictions: Predictions) -> Metrics:
        collected = DataStruct()
        collected.set("rec.score", torch.from_numpy(predictions.values)[:, None])
        collected.set("data.label", torch.from_numpy(predictions.labels)[:, None])
        return {name: float(value) for name, value in self._evaluator.evaluate(collected).items()}


def regression_results_by_group(predictions: Predictions, dataset: PopularityDataset, config: Any) -> dict[str, Any]:
    """Metrics of parts of the test videos.

    Returns:
        ``cold_start``: metrics and number of ``videos`` of authors with at most ``cold_author_threshold`` videos
        (absent where authors are not known); ``popularity``: the same and the mean error per group of labels, least
        popular first.
    """
    results: dict[str, Any] = {}
    counts = author_counts(dataset, config)
    if counts is not None:
        cold = predictions.take(counts[predictions.rows] <= config["cold_author_threshold"])
        if not len(cold):
            logging.getLogger().info(
                f"No test video is by an author with at most {counted(config['cold_author_threshold'], 'video')}: "
                "there is no cold-start result."
            )
        results["cold_start"] = _group_result(cold, config)
    n_groups = config["n_popularity_groups"]
    if n_groups:
        parts = np.array_split(np.argsort(predictions.labels, kind="stable"), n_groups)
        results["popularity"] = {
            f"group {i}": _group_result(predictions.take(part), config) for i, part in enumerate(parts, 1)
        }
    return results


def groups_of_videos(predictions: Predictions, dataset: PopularityDataset, config: Any) -> dict[str, np.ndarray]:
    """The groups of :func:`regression_results_by_group` that each video is in, int64 [n], by column of a table.

    Returns:
        ``cold_author``, 1 or 0, where authors are known, and ``popularity_group`` from 1, where there are groups.
    """
    found = {}
    counts = author_counts(dataset, config)
    if counts is not None:
        found["cold_author"] = (counts[predictions.rows] <= config["cold_author_threshold"]).astype(np.int64)
    if config["n_popularity_groups"]:
        found["popularity_group"] = np.zeros(len(predictions), np.int64)
        parts = np.array_split(np.argsort(predictions.labels, kind="stable"), config["n_popularity_groups"])
        for i, part in enumerate(parts, 1):
            found["popularity_group"][part] = i
    return found


def standard_error_of_mae(predictions: Predictions) -> float | None:
    """How far the mean absolute error may be off, by the spread of the errors of single videos; None below two."""
    errors = np.abs(predictions.values - predictions.labels)
    return float(errors.std(ddof=1) / math.sqrt(len(errors))) if len(errors) > 1 else None


def author_counts(dataset: PopularityDataset, config: Any) -> np.ndarray | None:
    """How many videos the author of each row has, float [N]; NaN where it is not known; None without authors."""
    if config["cold_author_count"] == "profile":
        return dataset.column(config["cold_author_column"])
    if dataset.authors is None:
        return None
    counts = Counter(dataset.all_authors.tolist())
    return np.array([counts[author] for author in dataset.authors], dtype=np.float64)


def _group_result(predictions: Predictions, config: Any) -> dict[str, Any]:
    if not len(predictions):
        return {"videos": 0}
    metrics = PopularityMetrics(config).compute(predictions)
    return {
        "videos": len(predictions),
        **metrics,
        "mean_error": float((predictions.values - predictions.labels).mean()),
    }
