"""Fits a model: RecBole's epochs and early stopping, exact resumption, best epoch kept.

Inside, and in checkpoints, an epoch is its index, from 0; whatever is told of it is its number, from 1.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.utils import WandbLogger, dict2str, early_stopping, set_color
from torch.nn.utils import clip_grad_norm_
from tqdm import tqdm

from recbole_video.data.step_plan import planned_ahead
from recbole_video.errors import (
    CheckpointError,
    ConfigError,
    DeviceMemoryError,
    MissingDependencyError,
    TrainingError,
)
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.files.values import plain
from recbole_video.runtime.checkpoint import read_checkpoint, write_checkpoint
from recbole_video.runtime.checkpoint_checks import difference, upgraded
from recbole_video.runtime.event_log import EventLog
from recbole_video.runtime.logs import OF_EPOCH, SHORT
from recbole_video.runtime.processes import processes
from recbole_video.training.recorded_steps import CudaRecorder, RecordedSteps
from recbole_video.training.run_folder import RunFolder
from recbole_video.training.schedule import load_optimizer, make_optimizer, make_schedule

_FINITE_CHECK_STEPS = 50


@dataclass
class Progress:
    """Where training stands, as it is kept in checkpoints: epochs are indices, from 0.

    Attributes:
        next_epoch: The first epoch that is still to do.
        cur_step: Evaluations since the best one.
        best_epoch: Epoch of the best validation score; -1 before any.
        best_valid_score: That score.
        best_valid_result: All its metrics.
        history: One record per finished epoch.
        is_stopped: Whether early stopping has ended training.
        seconds_before: Wall time of earlier parts of a resumed run, up to the checkpoint.
    """

    best_valid_score: float
    next_epoch: int = 0
    cur_step: int = 0
    best_epoch: int = -1
    best_valid_result: Metrics = field(default_factory=dict)
    history: list[dict[str, float]] = field(default_factory=list)
    is_stopped: bool = False
    seconds_before: float = 0.0

    def judge(
        self,
        epoch: int,
        result: Metrics,
        score: float,
        bigger: bool,
        patience: int,
        is_better: Callable[[Metrics, Metrics], bool],
    ) -> None:
        """Take in the validation of an epoch: RecBole's early stopping, in which the model has a say.

        Args:
            epoch: The epoch.
            result: Its validation metrics.
            score: The one that counts.
            bigger: Whether more of it is better.
            patience: Evaluations without a better one after which training goes on once more and no further.
            is_better: Whether metrics may take the place of the best ones so far.
        """
        if self.best_valid_result and not is_better(result, self.best_valid_result):
            score = -np.inf if bigger else np.inf
        self.best_valid_score, self.cur_step, self.is_stopped, improved = early_stopping(
            score, self.best_valid_score, self.cur_step, max_step=patience, bigger=bigger
        )
        if improved:
            self.best_epoch, self.best_valid_result = epoch, result


class Trainer:
    """Trains one model of this package, whose own part in it is :class:`~recbole_video.runtime.trainable.Trainable`.

    Args:
        config: The run's configuration.
        model: The model, on its device.
        evaluate: Judges the model as it is: the metrics of the validation data.
        folder: Where checkpoints go; None to keep the best weights in memory only.
        about_data: Plain values about the data that a checkpoint needs to be used without it.
        log_name: Name of this run's TensorBoard folder.
        between_epochs: Batches that the model is shown before each epoch.
    """

    def __init__(
        self,
        config: Any,
        model: Any,
        evaluate: Callable[[], Metrics],
        folder: RunFolder | None = None,
        about_data: dict[str, Any] | None = None,
        log_name: str = "run",
        between_epochs: Iterable[Any] = (),
    ) -> None:
        self._started = perf_counter()
        self.config = config
        self.model = model
        self.evaluate = evaluate
        self.folder = folder
        self.about_data = about_data or {}
        self.between_epochs = between_epochs
        self.device: torch.device = config["device"]
        self.optimizer = make_optimizer(config, model.parameter_groups(config["learning_rate"]), model.is_recorded)
        self.bigger: bool = config["valid_metric_bigger"]
        self.progress = Progress(best_valid_score=-np.inf if self.bigger else np.inf)
        self.logger = logging.getLogger()
        self.processes = processes()
        self.tensorboard = EventLog(Path(config["tensorboard_dir"]) / log_name if self.processes.is_first else None)
        self.wandb = _wandb_logger(config)
        self.use_amp = _use_amp(config["enable_amp"], self.device)
        self._step = self._recorded_step() if model.is_recorded else self._step_of
        self._best_state: dict[str, Any] | None = None
        self._schedule: Any = None
        if config["compile"] and not self.compile():
            raise ConfigError(
                f"`compile` has no effect on {config['model']}, which has no parts to compile; remove it."
            )

    @property
    def precision(self) -> str:
        """In which precision steps are computed, for the results."""
        return "bfloat16 autocast, losses and recurrent layers float32" if self.use_amp else "float32"

    def compile(self) -> int:
        """Compile, in place, the parts that the model calls; returns their number.

        The model itself is not called: its losses and predictions are methods, which compiling it leaves as they are.
        """
        parts = self.model.parts_to_compile()
        for part in parts:
            if type(part).__module__.startswith("torch."):  # Module.compile leaves PyTorch's own classes as they are
                part.forward = torch.compile(part.forward, dynamic=True)
            else:
                part.compile(dynamic=True)
        return len(parts)

    # -- fitting -------------------------------------------------------------------------------

    def fit(self, train_data: Any, callback_fn: Callable[[int, float], None] | None = None) -> tuple[float, Metrics]:
        """Train until ``epochs`` or early stopping, and keep the epoch that validates best.

        Args:
            train_data: Training batches.
            callback_fn: Called with the index of the epoch, from 0 as in RecBole, and its validation score after each
                evaluation, when it is stored.

        Returns:
            Best validation score and all metrics of that epoch.

        Raises:
            TrainingError: If the loss is not finite.
            RunFolderError: If a checkpoint cannot be written.
        """
        self._schedule = self._schedule or make_schedule(self.config, self.optimizer, len(train_data))
        for epoch in range(self.progress.next_epoch, self.config["epochs"]):
            if self.progress.is_stopped:
                break
            self._run_epoch(epoch, train_data, callback_fn)
        self._log_hyper_parameters()
        self.tensorboard.close()
        return self.progress.best_valid_score, self.progress.best_valid_result

    def _run_epoch(self, epoch: int, train_data: Any, callback_fn: Callable[[int, float], None] | None) -> None:
        started, number = perf_counter(), epoch + 1
        loss = self._train_epoch(train_data, epoch)
        record: dict[str, float] = {"epoch": epoch, "train_loss": loss, "train_seconds": perf_counter() - started}
        self.logger.info(
            set_color(f"epoch {number} training", "green")
            + f" [time: {record['train_seconds']:.2f}s, train loss: {loss:.{self.config['loss_decimal_place']}f}]",
            extra=OF_EPOCH,
        )
        self.tensorboard.add_scalar("Loss/Train", loss, number)
        self.wandb.log_metrics({"epoch": number, "train_loss": loss, "train_step": number}, head="train")
        record.update(self.model.epoch_statistics())
        self.progress.history.append(record)
        self.progress.next_epoch = number
        is_judged = number == self.config["epochs"] or number % self.config["eval_step"] == 0
        score = self._validate(epoch, record) if is_judged else float("nan")
        self._save(is_best=self.progress.best_epoch == epoch)
        if is_judged and callback_fn is not None:
            callback_fn(epoch, score)

    def _train_epoch(self, train_data: Any, epoch: int) -> float:
        """One pass over the training data; returns the mean loss per step."""
        if (
            not self.processes.is_alone
        ):  # each drops out others, whatever came before: a resumed run is as an unbroken one
            torch.manual_seed(_seed_of(self.config["seed"], epoch, self.processes.rank))
        self.model.before_epoch(epoch, (batch.to(self.device) for batch in self.between_epochs))
        self.processes.share_state(self.model)  # after a start, a resumption, and a layout of STAP's bank
        self.model.train()
        train_data.set_epoch(epoch)
        total = torch.zeros((), device=self.device)
        steps = tqdm(
            planned_ahead(train_data, self.device),
            total=len(train_data),
            desc=set_color(f"Train {epoch + 1:>5}", "pink"),
            ncols=100,
            leave=False,
            disable=None if self.config["show_progress"] else True,  # None: where the output is a terminal
        )
        with torch.autograd.set_detect_anomaly(self.config["detect_anomaly"]):
            for step, interaction in enumerate(steps, start=1):
                total += self._train_step(interaction)
                if step % _FINITE_CHECK_STEPS == 0 or step == len(train_data):
                    self._refuse_infinite(self.processes.sum_of(total), epoch)
        self._refuse_infinite_weights(epoch)
        return self.processes.sum_of(total).item() / len(train_data)

    def _train_step(self, interaction: Any) -> torch.Tensor:
        try:
            loss = self._step(interaction)
        except torch.cuda.OutOfMemoryError as error:
            raise DeviceMemoryError(
                f"A training step does not fit on {self.device}; {self.model.memory_advice} "
                f"(train_batch_size is {self.config['train_batch_size']})."
            ) from error
        self._schedule.step()
        return loss

    def _step_of(self, interaction: Any) -> torch.Tensor:
        """Compute loss and gradients of a batch and let the optimiser step; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.use_amp):
            loss = self.model.calculate_loss(interaction.to(self.device))
        _check_can_be_learned_from(loss, self.model)
        if not self.processes.is_alone:
            loss = loss * interaction.share
        loss.backward()
        self.processes.sum_gradients(self.model.parameters())
        if self.config["clip_grad_norm"]:
            clip_grad_norm_(self.model.parameters(), **self.config["clip_grad_norm"])
        self.optimizer.step()
        self.model.after_step()
        return loss.detach()

    def _recorded_step(self) -> RecordedSteps:
        if self.device.type != "cuda":
            raise ConfigError("`cuda_graph` needs a GPU; leave it out on a CPU.")
        reset = partial(self.optimizer.zero_grad, set_to_none=True)
        return RecordedSteps(self._step_of, reset, self.device, CudaRecorder(self.device))

    def _refuse_infinite(self, total: torch.Tensor, epoch: int) -> None:
        if not torch.isfinite(total):
            raise TrainingError(
                f"The training loss is not finite in epoch {epoch + 1}; lower learning_rate, or set "
                "clip_grad_norm={'max_norm': 1.0}."
            )

    def _refuse_infinite_weights(self, epoch: int) -> None:
        """After the last step of an epoch, whose loss was still a number."""
        learned = (weights for weights in self.model.parameters() if weights.requires_grad)
        if not all(bool(torch.isfinite(weights).all()) for weights in learned):
            raise TrainingError(
                f"The weights are not finite after epoch {epoch + 1}: training has diverged; lower learning_rate, or "
                "set clip_grad_norm={'max_norm': 1.0}."
            )

    def _validate(self, epoch: int, record: dict[str, float]) -> float:
        started = perf_counter()
        result = self.evaluate()
        score = result[self.config["valid_metric"].lower()]
        if np.isinf(score):
            raise TrainingError(
                f"The validation metric {self.config['valid_metric']} is not finite: training has diverged; lower "
                "learning_rate."
            )
        if np.isnan(score):
            raise TrainingError(
                f"The validation metric {self.config['valid_metric']} is undefined (a constant or single label); "
                "choose another valid_metric, such as MAE, or another split."
            )
        p = self.progress
        p.judge(epoch, result, score, self.bigger, self.config["stopping_step"], self.model.is_better_epoch)
        record.update(valid_score=score, valid_seconds=perf_counter() - started)
        self.logger.info(
            set_color(f"epoch {epoch + 1} evaluating", "green")
            + f" [time: {record['valid_seconds']:.2f}s, valid_score: {score:f}]",
            extra=OF_EPOCH,
        )
        self.logger.info(set_color("valid result", "blue") + f": \n{dict2str(result)}", extra=OF_EPOCH)
        self.logger.info(self._epoch_line(record), extra=SHORT)
        self.tensorboard.add_scalar("Vaild_score", score, epoch + 1)  # RecBole's spelling
        self.wandb.log_metrics({**result, "valid_step": epoch + 1}, head="valid")
        if p.is_stopped:
            self.logger.info(f"Finished training, best eval result in epoch {p.best_epoch + 1}")
        return score

    def _epoch_line(self, record: dict[str, float]) -> str:
        """An epoch in one line, for a notebook."""
        loss = f"train loss {record['train_loss']:.{self.config['loss_decimal_place']}f}"
        score = f"{self.config['valid_metric']} {record['valid_score']:.4f}"
        seconds = record["train_seconds"] + record["valid_seconds"]
        return f"epoch {record['epoch'] + 1}: {loss}, valid {score} [{seconds:.1f}s]"

    def load_best(self) -> None:
        """Put the weights of the best epoch into the model.

        Raises:
            CheckpointError: If ``model.pth`` cannot be read or is of another epoch than the best.
        """
        state = self.processes.from_first(self._best_weights)
        self.model.load_state_dict(state)

    def _best_weights(self) -> dict[str, Any]:
        if self.folder is not None:
            best = read_checkpoint(self.folder.best, "cpu")  # it may be sent to processes of other GPUs
            held = best.get("epoch")
            if held != self.progress.best_epoch:
                raise CheckpointError(
                    f"`{self.folder.best}` holds epoch {held + 1 if isinstance(held, int) else held}, and "
                    f"`{self.folder.last}` says that the best one is {self.progress.best_epoch + 1}: they are not of "
                    "one run; start anew, without --resume."
                )
            self.logger.info(f"Loading model structure and parameters from {self.folder.best}")
            return best["state_dict"]
        if self._best_state is None:
            raise CheckpointError("There is no best epoch yet: train first.")
        return self._best_state

    # -- checkpoints ---------------------------------------------------------------------------

    def _save(self, is_best: bool) -> None:
        """Write ``last.pth``, which says what the best epoch is, and then that epoch's weights.

        Killed in between, the run has the weights of its best epoch in ``last.pth`` alone, from where resuming it puts
        them into ``model.pth``: at no moment is another epoch's weight beside the record of the best one unnoticed.
        """
        self._save_last()
        if is_best:
            self._save_best()

    def _save_best(self) -> None:
        for_use = self.model.state_for_use()  # all processes may have to do with it
        if self.folder is None:
            self._best_state = deepcopy(self._on_host(self.model.state_dict())) if self.processes.is_first else None
            return
        write_checkpoint(self.folder.best, {**self._state(), **for_use})
        self.logger.info(set_color("Saving current", "blue") + f": {self.folder.best}", extra=OF_EPOCH)

    def _on_host(self, state: dict[str, Any]) -> dict[str, Any]:
        """As it is sent to other processes, whose GPUs are others."""
        if self.processes.is_alone:
            return state
        return {name: value.cpu() if isinstance(value, torch.Tensor) else value for name, value in state.items()}

    def _save_last(self) -> None:
        if self.folder is None:
            return
        state = self._state()
        state.update(
            optimizer=self.optimizer.state_dict(),
            schedule=self._schedule.state_dict(),
            rng=_rng_state(self.device),
        )
        write_checkpoint(self.folder.last, state)

    def _state(self) -> dict[str, Any]:
        """What every checkpoint holds, under RecBole's keys where RecBole has them."""
        p = self.progress
        seconds = p.seconds_before + perf_counter() - self._started
        return {
            "config": plain(self.config.to_options()),
            "epoch": p.next_epoch - 1,
            "cur_step": p.cur_step,
            "best_valid_score": float(p.best_valid_score),
            "state_dict": self.model.state_dict(),
            "other_parameter": {},
            "progress": plain({**asdict(p), "seconds_before": seconds}),
            "data": self.about_data,
        }

    def resume(self, train_data: Any) -> None:
        """Go on where ``last.pth`` of the run folder stands.

        Raises:
            CheckpointError: If it cannot be read or belongs to another model.
        """
        state = self.processes.from_first(self._last_state)
        self._schedule = make_schedule(self.config, self.optimizer, len(train_data))
        try:
            if wrong := difference(self.model, state["state_dict"]):
                raise ValueError(wrong)
            self.model.load_state_dict(state["state_dict"])
            load_optimizer(self.optimizer, state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self.progress = Progress(**state["progress"])
            self._restore_best()
            _set_rng_state(state["rng"], self.device)
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            where = "`last.pth`" if self.folder is None else f"`{self.folder.last}`"
            raise CheckpointError(f"{where} does not fit this model: {error}") from error
        self.logger.info(f"Checkpoint loaded. Resume training from epoch {self.progress.next_epoch + 1}")

    def _last_state(self) -> dict[str, Any]:
        if self.folder is None:
            raise CheckpointError("A run without a folder cannot be resumed.")
        state = read_checkpoint(self.folder.last, "cpu")
        data = upgraded(state.get("data"))
        if data != self.about_data or list(data.get("content", ())) != list(self.about_data.get("content", ())):
            raise CheckpointError(
                f"The data set has changed since `{self.folder.last}` was written; start a new run without --resume."
            )
        return state

    def _restore_best(self) -> None:
        """Write the best epoch's weights where the run was killed before it could: they are those just loaded."""
        best = self.progress.best_epoch
        if best == self.progress.next_epoch - 1 and self.processes.from_first(lambda: self._lacks_best(best)):
            self.model.eval()
            self._save_best()

    def _lacks_best(self, epoch: int) -> bool:
        path = None if self.folder is None else self.folder.best
        return path is not None and (not path.is_file() or read_checkpoint(path).get("epoch") != epoch)

    def _log_hyper_parameters(self) -> None:
        options = {k: v if isinstance(v, (bool, int, float, str)) else str(v) for k, v in self._hyper_parameters()}
        score = float(self.progress.best_valid_score)
        self.tensorboard.add_hparams(options, {"hparam/best_valid_result": score})

    def _hyper_parameters(self) -> list[tuple[str, Any]]:
        return [(k, v) for k, v in self.config.to_options().items() if v is not None]


def _wandb_logger(config: Any) -> WandbLogger:
    try:
        return WandbLogger(config.host())
    except ImportError as error:
        raise MissingDependencyError("log_wandb=True needs Weights & Biases; run `pip install wandb`.") from error


def _use_amp(wanted: str | bool, device: torch.device) -> bool:
    """``auto``: on a GPU that computes in bfloat16."""
    if wanted == "auto":
        # Older GPUs only emulate bfloat16. ROCm numbers its devices otherwise.
        return device.type == "cuda" and (
            torch.version.hip is not None or torch.cuda.get_device_capability(device) >= (8, 0)
        )
    return bool(wanted)


def _check_can_be_learned_from(loss: torch.Tensor, model: Any) -> None:
    """Refuse a loss of somebody's model that has no gradient to follow.

    Raises:
        ConfigError: If it is no single number, or none that any weight has to do with.
    """
    name = type(model).__name__
    if loss.shape != ():
        raise ConfigError(
            f"The loss of `{name}` is a tensor of shape {list(loss.shape)}; let `calculate_loss` return a single "
            "number, such as its mean."
        )
    if not loss.requires_grad:
        raise ConfigError(
            f"The loss of `{name}` depends on no weight that is trained, so that there is nothing to learn; give the "
            "model parameters that its prediction uses, or fit it in one go by `fit_once`."
        )


def _seed_of(*numbers: int) -> int:
    """A seed that follows from several numbers."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _rng_state(device: torch.device) -> dict[str, Any]:
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": plain(random.getstate()),
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, cached],
        "torch": torch.get_rng_state(),
        # Of the run's own GPU: to ask another one would take memory there.
        "cuda": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
    }


def _set_rng_state(state: dict[str, Any], device: torch.device) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"].cpu())
    if state["cuda"] and device.type == "cuda":
        torch.cuda.set_rng_state(state["cuda"][0].cpu(), device)
