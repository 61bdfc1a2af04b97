"""This package's side of a measurement, built by the package's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_video.config import Config
from recbole_video.data.sequence_loaders import HistoryLoader, SequenceLoader
from recbole_video.evaluation.ranking_metrics import RankingMetrics
from recbole_video.experiment import Data, build_model, load_data, make_loaders
from recbole_video.quick_start import make_config
from recbole_video.training.recommendation import VideoTrainer
from recbole_video.training.schedule import make_schedule


@dataclass(frozen=True)
class Experiment:
    """A run before its first step."""

    config: Config
    data: Data
    model: Any
    train: SequenceLoader
    valid: HistoryLoader
    test: HistoryLoader


def prepare(data_path: str, dataset: str, **options: Any) -> Experiment:
    """Load, filter and split a data set and build SASRec on it.

    Args:
        data_path: Holds the data set's folder.
        dataset: Its name.
        options: Options of this package.
    """
    quiet = {"show_progress": False, "use_gpu": False, "log_wandb": False}
    config = make_config("SASRec", dataset, config_dict={"data_path": data_path, **quiet, **options})
    data = load_data(config)
    model = build_model(config, data.catalogue)
    return Experiment(config, data, model, *make_loaders(config, data, model))


def make_trainer(experiment: Experiment) -> VideoTrainer:
    """The trainer of a run, ready for :meth:`VideoTrainer._train_epoch`."""
    metrics = RankingMetrics(experiment.config, experiment.data.catalogue.train_counts.numpy())
    trainer = VideoTrainer(experiment.config, experiment.model, metrics)
    trainer._schedule = make_schedule(experiment.config, trainer.optimizer, len(experiment.train))
    return trainer
