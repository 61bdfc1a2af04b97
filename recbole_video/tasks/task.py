"""What a run asks of its task; one instance per run."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from recbole.utils import init_seed

from recbole_video.config import Config
from recbole_video.errors import ConfigError, RecBoleVideoError
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.files.values import plain
from recbole_video.options.content import named_stores
from recbole_video.runtime.checkpoint import write_checkpoint
from recbole_video.runtime.processes import processes
from recbole_video.training.run_folder import RunFolder
from recbole_video.training.trainer import Trainer

D = TypeVar("D")  # data
M = TypeVar("M", bound=Any)  # model
O = TypeVar("O")  # noqa: E741  # outcome of an evaluation


@dataclass(frozen=True)
class Hooks:
    """Where a caller may step into a run: after each epoch, and in place of reading the data.

    Attributes:
        on_epoch: Called with the index of the epoch, from 0, and its validation score after each validation.
        load: Called with the configuration in place of :meth:`Task.load`, whose data it gives; not asked where the
            task's data cannot be shared.
    """

    on_epoch: Callable[[int, float], None] | None = None
    load: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Fitted:
    """What came of fitting a model: epochs are numbers, from 1.

    Attributes:
        best_valid_score: Validation score of what was kept; None where nothing is validated.
        best_valid_result: All its metrics.
        best_epoch: Epoch of it; 0 (no epoch) for a model that is fitted once, None where it is not known.
        history: One record per epoch; None where none is kept.
        seconds_before: Wall time of earlier parts of a resumed run.
        notes: What the model says of a fit in one go, as plain values.
        precision: In which precision it was computed.
    """

    best_valid_score: float | None
    best_valid_result: Metrics
    best_epoch: int | None = None
    history: list[dict[str, float]] | None = None
    seconds_before: float = 0.0
    notes: dict[str, Any] = field(default_factory=dict)
    precision: str = "float32"


class Task(ABC, Generic[D, M, O]):
    """One run's part that differs between tasks; :func:`recbole_video.quick_start.run` says when each is called.

    Args:
        config: The run's configuration.
        folder: Where checkpoints and results go; None to keep none.
        hooks: Told and asked on the way.
        log_name: Name of the run's log, and of its folder of TensorBoard files.

    Attributes:
        data: What :meth:`load` gave.
        model: What :meth:`build` gave.
        fitted: What :meth:`fit` gave; set by the run.
        shares_data: Whether runs of other options can use the same data, by its ``shareable()`` and ``on(config)``.
    """

    shares_data: ClassVar[bool] = True
    data: D
    model: M
    fitted: Fitted

    def __init__(
        self, config: Config, folder: RunFolder | None = None, hooks: Hooks | None = None, log_name: str = "run"
    ) -> None:
        self.config, self.folder, self.hooks, self.log_name = config, folder, hooks or Hooks(), log_name

    def read_data(self) -> D:
        """Seed random numbers and read the data, or take the caller's."""
        init_seed(self.config["seed"], self.config["reproducibility"])
        given = self.hooks.load if self.shares_data else None
        self.data = (given or self.load)(self.config)
        return self.data

    def refuse_processes(self, why: str) -> None:
        """Refuse to go on as one of several processes.

        Raises:
            ConfigError: If there are others.
        """
        if not processes().is_alone:
            raise ConfigError(f"`nproc` is {processes().size}, but {why}; leave it out.")

    def make_model(self) -> M:
        """Seed random numbers, so that the weights do not depend on how the data were read, and build the model."""
        init_seed(self.config["seed"], self.config["reproducibility"])
        self.model = self.build()
        return self.model

    @classmethod
    @abstractmethod
    def load(cls, config: Any) -> D:
        """Read the data; every option that decides what they are is read from ``config`` here."""

    @abstractmethod
    def build(self) -> M:
        """Make the model on its device; random numbers have just been seeded.

        Raises:
            ConfigError: If sizes contradict each other.
        """

    @classmethod
    def try_to_build(cls, config: Any) -> None:
        """Build the model as a run would and throw it away: by the widths of what lies on disk, without reading it.

        What needs more of the data than that, as RecBole's own models do, is not tried.

        Raises:
            ConfigError: As the run would, where sizes contradict each other.
        """

    @abstractmethod
    def fit(self) -> Fitted:
        """Fit the model to the training data; it ends as it validated best."""

    @abstractmethod
    def evaluate(self, split: str) -> tuple[O, Metrics]:
        """What the model makes of the split ``valid`` or ``test``, and the metrics of that."""

    @abstractmethod
    def describe(self, test: O) -> dict[str, Any]:
        """Results beyond the metrics, as plain values; ``parameters`` and ``data`` are among them."""

    @abstractmethod
    def rows(self, result: dict[str, Any]) -> list[tuple[str, Metrics]]:
        """Rows of the table on the console, made of a run's result alone."""

    @abstractmethod
    def title(self, result: dict[str, Any]) -> str:
        """The sentence above the table of results."""

    def scale(self, result: dict[str, Any]) -> list[str]:
        """Lines below the table that say what a result is held against; none where nothing is known."""
        return []

    def write(self, folder: RunFolder, test: O, result: dict[str, Any]) -> None:
        """Write tables and figures."""

    @classmethod
    def leaks(cls, config: Any) -> dict[str, Any]:
        """What the split of the data lets training know of the time after the test, with the name of the protocol.

        Raises:
            ConfigError: If the task has no such split.
        """
        raise ConfigError(
            f"--leak_report is about splits of users' actions, and {config['model']} predicts popularity."
        )

    @classmethod
    @abstractmethod
    def open(cls, config: Config, state: dict[str, Any], path: Path) -> Any:
        """Make what is used of a trained model out of its checkpoint.

        Args:
            config: The options in it, on the wanted device.
            state: The checkpoint.
            path: Its file, for messages and for what lies beside it.

        Raises:
            CheckpointError: If a value is not as it must be.
        """

    def train(self, trainer: Trainer, batches: Any) -> Fitted:
        """Train by gradient: from the folder's last checkpoint if there is one; the model ends as its best epoch."""
        if processes().from_first(lambda: self.folder is not None and self.folder.last.is_file()):
            trainer.resume(batches)
        elif self.config["resume"]:
            near = RunFolder.nearest(self.config)
            logging.getLogger().warning(
                f"There is no checkpoint of these options to resume from{f' ({near})' if near else ''}; "
                "starting with the first epoch."
            )
        trainer.fit(batches, self.hooks.on_epoch)
        trainer.load_best()
        p = trainer.progress
        return Fitted(
            p.best_valid_score,
            p.best_valid_result,
            p.best_epoch + 1,
            [{**record, "epoch": record["epoch"] + 1} for record in p.history],
            p.seconds_before,
            precision=trainer.precision,
        )

    def fit_in_one_go(self, fit: Callable[[], dict[str, Any]], about_data: dict[str, Any]) -> Fitted:
        """Fit a model that is not trained by gradient, judge it, and keep it under the keys of any other's checkpoint.

        Args:
            fit: Fits the model; gives what it says of that, as plain values.
            about_data: What the checkpoint has to hold to be used without the data.
        """
        config = self.config
        self.refuse_processes(f"{config['model']} is fitted in one go, by one process")
        notes = fit()
        _, result = self.evaluate("valid")
        if self.folder is not None:
            options, weights = plain(config.to_options()), self.model.state_dict()
            state = {"config": options, "epoch": 0, "state_dict": weights, "data": about_data}
            write_checkpoint(self.folder.best, state)
        score = result[config["valid_metric"].lower()]
        return Fitted(score, result, best_epoch=0, history=[], notes=plain(notes))


@contextmanager
def as_config_error(sentence: str) -> Iterator[None]:
    """Turn what constructors raise on options that do not fit each other into one sentence.

    Raises:
        ConfigError: With ``sentence`` and the reason.
    """
    try:
        yield
    except RecBoleVideoError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{sentence} ({type(error).__name__}: {error}).") from error


def prepare_bundled(config: Any) -> None:
    """Make a bundled data set where it is missing."""
    from recbole_video.dataset_tools import BUNDLED, prepare

    if config["dataset"] in BUNDLED:
        for store in (None, *named_stores(config)):  # its own frames, and further ones
            prepare(config["dataset"], Path(config["data_path"]), store)
