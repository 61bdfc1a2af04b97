"""One trial in a Ray worker: an ordinary run that reports each epoch and reads shared data."""

from __future__ import annotations

import os
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_video.errors import DataError, RecBoleVideoError
from recbole_video.sweep.folder import clear_state, write_failure, write_trial
from recbole_video.sweep.plan import Trial, make_trial
from recbole_video.sweep.spec import Sweep

_LOADS = 4  # of the data, before a trial gives up


@dataclass(frozen=True)
class TrialTask:
    """What every trial of a sweep needs; called by Ray Tune with the trial's own values.

    Attributes:
        sweep: The sweep.
        trials: The trials that ``{"trial": index}`` means; otherwise values are a point of the space.
        folder: Folder of trials.
        working_folder: The working folder of the sweep's command, which relative paths start from.
        data_server: The Ray actor that reads each data set once, for all trials.
        cpus: Threads that the trial may use.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    folder: str
    working_folder: str
    data_server: Any
    cpus: float

    def __call__(self, values: dict[str, Any]) -> None:
        """Run a trial; its results are in its folder."""
        from ray import tune

        os.chdir(self.working_folder)
        trial = self.trial(values)
        folder = Path(self.folder) / trial.name
        try:
            clear_state(folder)
            write_trial(folder, trial)
            result = self._run(trial, folder)
        except RecBoleVideoError as error:
            reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
            write_failure(folder, trial, reason)
        except Exception as error:  # whatever it is, the other trials go on
            first = next(iter(str(error).strip().splitlines()), "")
            reason = f"{type(error).__name__}: {first} (traceback.txt has more)"
            write_failure(folder, trial, reason, traceback.format_exc())
        else:
            score = result["best_valid_score"]  # of ranked lists there is none
            tune.report({**({} if score is None else {"score": score}), "is_finished": True})
            return
        tune.report({"reason": reason})

    def trial(self, values: dict[str, Any]) -> Trial:
        """The trial that Ray Tune's values mean."""
        if "trial" in values:
            return self.trials[values["trial"]]
        row = next(row for row in self.sweep.rows if row.options is not None)
        return make_trial(self.sweep, row, 0, {k: _plain(v) for k, v in values.items()}, self.sweep.seeds[0])

    def _run(self, trial: Trial, folder: Path) -> dict[str, Any]:
        import torch

        from recbole_video.quick_start import run_recbole_video
        from recbole_video.tasks.task import Hooks

        torch.set_num_threads(max(1, int(self.cpus)))
        options = self._options(trial)
        hooks = Hooks(on_epoch=_report_epoch, load=lambda config: self._load(options, config))
        return run_recbole_video(config_dict=options, run_folder=folder, hooks=hooks)

    def _options(self, trial: Trial) -> dict[str, Any]:
        """The trial's options, with its logs beside the sweep and the GPU that Ray gave it."""
        logs = Path(self.folder).parent
        options = {
            "show_progress": False,
            "log_dir": str(logs / "log"),
            "tensorboard_dir": str(logs / "log_tensorboard"),
            **trial.options,
        }
        if "use_gpu" not in options:
            given = _gpu_of_this_worker()
            options |= {"use_gpu": False} if given is None else {"gpu_id": given}
        return options

    def _load(self, options: dict[str, Any], config: Any) -> Any:
        import ray

        for _ in range(_LOADS):
            try:
                return self._shared(options).on(config)
            except (ray.exceptions.RayActorError, ray.exceptions.ObjectLostError) as error:
                loss = error  # Ray starts another
        raise DataError(
            f"The process that holds the data of all trials was killed {_LOADS} times; it may have run out of memory."
        ) from loss

    def _shared(self, options: dict[str, Any]) -> Any:
        import ray

        try:
            [reference] = ray.get(self.data_server.get.remote({**options, "use_gpu": False}))
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        return ray.get(reference)


def _report_epoch(epoch: int, score: float) -> None:
    from ray import tune

    tune.report({"score": float(score), "epoch": epoch + 1})


def _gpu_of_this_worker() -> int | None:
    """The GPU that Ray gave this worker, as ``gpu_id`` counts it: among those that the worker sees; None without."""
    import ray

    given = [str(gpu) for gpu in ray.get_gpu_ids()]
    if not given:
        return None
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
    return visible.index(given[0]) if given[0] in visible else int(given[0])


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
