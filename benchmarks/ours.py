"""This package's side of a measurement, built by the package's own functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recbole_video.config import Config
from recbole_video.data.sequence_loaders import HistoryLoader, SequenceLoader
from recbole_video.quick_start import make_config
from recbole_video.recommendation.data import Data
from recbole_video.tasks.recommendation import RecommendationTask, make_loaders
from recbole_video.training.schedule import make_schedule
from recbole_video.training.trainer import Trainer


@dataclass(frozen=True)
class Experiment:
    """A run before its first step."""

    task: RecommendationTask
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
    task = RecommendationTask(config)
    data, model = task.read_data(), task.make_model()
    return Experiment(task, config, data, model, **make_loaders(config, data, model))


def make_trainer(experiment: Experiment) -> Trainer:
    """The trainer of a run, ready for :meth:`Trainer._train_epoch`."""
    trainer = experiment.task.make_trainer()
    trainer._schedule = make_schedule(experiment.config, trainer.optimizer, len(experiment.train))
    return trainer
