"""RecBole's own models from the same script: what ``recbole.quick_start`` does, without its Ray."""

from __future__ import annotations

import traceback
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from recbole.data import create_dataset, data_preparation, interaction
from recbole.utils import get_trainer

from recbole_video.config import Config
from recbole_video.data.leaks import Events, shares_of
from recbole_video.data.sequences import are_positions
from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.files.values import file_digest
from recbole_video.runtime.recbole_epochs import EventLogFromOne, WandbLoggerFromOne, epochs_from_one
from recbole_video.tasks.task import Fitted, Task, as_config_error

_INTERACTION = interaction.__file__  # where RecBole looks up the fields of a batch


@dataclass(frozen=True)
class PreparedData:
    """A data set as RecBole reads and splits it.

    Attributes:
        text: RecBole's description of it.
        n_items: Items, without the padding.
        train: RecBole's loader of training batches.
        valid: RecBole's loader of the validation data.
        test: RecBole's loader of the test data.
    """

    text: str
    n_items: int
    train: Any
    valid: Any
    test: Any

    def __str__(self) -> str:
        return self.text


class RecBoleTask(Task[PreparedData, Any, None]):
    """Trains and tests one of RecBole's models with RecBole's data, trainer and evaluation."""

    shares_data = False  # RecBole's data sets hold the configuration that they were read by

    @classmethod
    def load(cls, config: Any) -> PreparedData:
        """Read and split the data by RecBole.

        Raises:
            ConfigError: If RecBole refuses the options.
        """
        warnings.simplefilter("ignore", FutureWarning)  # RecBole's pandas calls would fill the console
        with as_config_error(_cannot_run(config)):
            host = config.host()
            dataset = create_dataset(host)
            text, n_items = str(dataset), dataset.item_num - 1
            return PreparedData(text, n_items, *data_preparation(host, dataset))

    def build(self) -> Any:
        """Make the model.

        Raises:
            ConfigError: If RecBole refuses the options, or ``topk`` asks for more items than there are.
        """
        config = self.config
        self.refuse_processes("RecBole's own models run in one process here")
        with as_config_error(_cannot_run(config)):
            model = config.model_class(config.host(), self.data.train._dataset).to(config["device"])
        _check_catalogue_size(config, self.data.n_items)
        return model

    def fit(self) -> Fitted:
        """Train by RecBole's trainer, which keeps its checkpoint in the run's folder.

        Raises:
            ConfigError: If the model reads a field that was not loaded.
        """
        config, is_saved = self.config, self.folder is not None
        place = {} if self.folder is None else {"checkpoint_dir": str(self.folder.path)}
        self._trainer = _make_trainer(config.host(**place), self.model, self.log_name)
        kept = {"saved": is_saved, "show_progress": config["show_progress"], "callback_fn": self.hooks.on_epoch}
        try:
            with epochs_from_one():
                best_valid_score, best_valid_result = self._trainer.fit(self.data.train, self.data.valid, **kept)
        except KeyError as error:
            if _asked_for(error) != _INTERACTION:
                raise ConfigError(f"{_cannot_run(config)} (KeyError: {error}).") from error
            raise ConfigError(
                f"RecBole's {config['model']} reads the field {error}, which the loaded columns lack; "
                "see load_col and threshold."
            ) from error
        precision = "autocast, as RecBole has it" if config["enable_amp"] else "float32"
        return Fitted(float(best_valid_score), _floats(best_valid_result), precision=precision)

    def evaluate(self, split: str) -> tuple[None, Metrics]:
        """The metrics of RecBole's evaluation."""
        found = self._trainer.evaluate(
            getattr(self.data, split),
            load_best_model=self.folder is not None,
            show_progress=self.config["show_progress"],
        )
        return None, _floats(found)

    def describe(self, test: None) -> dict[str, Any]:
        """Parameters, data and protocol."""
        config = self.config
        return {
            "parameters": {"model": sum(p.numel() for p in self.model.parameters() if p.requires_grad)},
            "data": {
                "dataset": config["dataset"],
                "inter_sha256": file_digest(Path(config["data_path"], f"{config['dataset']}.inter")),
                "protocol": "RecBole's own",
                "leaks": leaks_of(config, self.data),
            },
            "protocol": f"RecBole's own, eval_args {config['eval_args']}",
        }

    def rows(self, result: dict[str, Any]) -> list[tuple[str, Metrics]]:
        """Validation and test."""
        return [("valid", result["best_valid_result"]), ("test", result["test_result"])]

    def title(self, result: dict[str, Any]) -> str:
        """Model, data set and protocol."""
        return f"RecBole's {self.config['model']} on {self.config['dataset']}; protocol: {result['protocol']}"

    @classmethod
    def leaks(cls, config: Any) -> dict[str, Any]:
        """Of RecBole's split by its ``eval_args``."""
        return {"protocol": "RecBole's own", **leaks_of(config, cls.load(config))}

    @classmethod
    def open(cls, config: Config, state: dict[str, Any], path: Path) -> NoReturn:
        """Refuse: RecBole loads its own checkpoints.

        Raises:
            CheckpointError: Always.
        """
        raise recbole_checkpoint_error(path)


def leaks_of(config: Any, data: PreparedData) -> dict[str, Any]:
    """The leak report of RecBole's split, by times as RecBole holds them: as float32.

    A repeat is a target whose user has an action on its item in training or validation; which of several actions at
    one time is the target is not asked.
    """
    train, valid, test = (_events(config, part._dataset.inter_feat) for part in (data.train, data.valid, data.test))
    first = _first_actions(config, data.train._dataset.inter_feat)
    trained = train if first is None else _joined(train, first)
    known = _joined(trained, valid)
    size = int(max(known.items.max(), test.items.max())) + 1
    repeats = np.isin(test.users * size + test.items, known.users * size + known.items)
    everything = _joined(known, test)
    if everything.times is None or are_positions(np.unique(everything.users, return_inverse=True)[1], everything.times):
        trained, test = replace(trained, times=None), replace(test, times=None)
    return shares_of(trained, test, {"repeats": repeats, "equal_times": None})


def _events(config: Any, feat: Any) -> Events:
    """Users, items and, where they were loaded, times of RecBole's interactions: of sequences, those of the targets."""
    user, item, time = (config[f"{kind}_FIELD"] for kind in ("USER_ID", "ITEM_ID", "TIME"))
    return Events(feat[user].numpy(), feat[item].numpy(), feat[time].numpy() if time in feat else None)


def _first_actions(config: Any, feat: Any) -> Events | None:
    """The first action of each user, which no row of a sequential data set has as its target."""
    user, item, time = (config[f"{kind}_FIELD"] for kind in ("USER_ID", "ITEM_ID", "TIME"))
    suffix, length = config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"]
    if item + suffix not in feat:
        return None
    rows = feat[length].numpy() == 1
    times = feat[time + suffix][:, 0].numpy()[rows] if time + suffix in feat else None
    return Events(feat[user].numpy()[rows], feat[item + suffix][:, 0].numpy()[rows], times)


def _joined(a: Events, b: Events) -> Events:
    times = None if a.times is None or b.times is None else np.concatenate([a.times, b.times])
    return Events(np.concatenate([a.users, b.users]), np.concatenate([a.items, b.items]), times)


def _asked_for(error: KeyError) -> str:
    """The file in which a key was looked up."""
    return [frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__)][-1]


def recbole_checkpoint_error(path: Path) -> CheckpointError:
    """The error for a checkpoint that RecBole has written."""
    return CheckpointError(f"`{path}` is a checkpoint of one of RecBole's own models, which RecBole has to load.")


def _cannot_run(config: Any) -> str:
    return f"RecBole's {config['model']} cannot run on `{config['dataset']}`"


def _make_trainer(config: Config, model: Any, log_name: str) -> Any:
    """RecBole's trainer, with an event log that a full disk does not end the run by, and steps counted from 1."""
    from recbole.trainer import trainer as recbole_trainer

    make_writer, wandb_logger = recbole_trainer.get_tensorboard, recbole_trainer.WandbLogger
    recbole_trainer.WandbLogger = WandbLoggerFromOne
    recbole_trainer.get_tensorboard = lambda _: EventLogFromOne(Path(config["tensorboard_dir"]) / log_name)
    try:
        return get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    finally:
        recbole_trainer.get_tensorboard, recbole_trainer.WandbLogger = make_writer, wandb_logger


def _check_catalogue_size(config: Config, n_items: int) -> None:
    """RecBole takes the k best of all items, and fails where there are fewer."""
    longest = max(config["topk"] or [0]) if config["eval_args"]["mode"]["valid"] == "full" else 0
    if longest > n_items:
        raise ConfigError(f"`topk` asks for the best {longest} items, and there are {n_items}; lower topk.")


def _floats(metrics: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items()}
