"""Runs a sweep: trials in parallel on Ray Tune, resumed after a kill, and the report at the end."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recbole_video.errors import ConfigError, RecBoleVideoError, SweepError
from recbole_video.runtime.dependencies import import_optional
from recbole_video.runtime.devices import listed
from recbole_video.runtime.ray_session import import_ray, ray_session
from recbole_video.sweep.folder import (
    FAILED,
    STOPPED,
    UNFINISHED,
    SweepFolder,
    TrialState,
    best_score,
    read_trial,
    trial_state,
    write_failure,
    write_state,
)
from recbole_video.sweep.plan import Plan, Trial
from recbole_video.sweep.progress import SweepProgress
from recbole_video.sweep.trial_task import TrialTask

_DEATHS = 3  # of a trial's worker before the trial is given up


@dataclass(frozen=True)
class Resources:
    """What trials may take.

    Attributes:
        cpus: Cores per trial.
        gpus: GPUs per trial, or a share of one; None: one where the cluster has any.
        max_concurrent: Trials at a time, at most; None: as many as fit.
        address: Address of a Ray cluster, ``HOST:PORT``; None for one on this machine.
    """

    cpus: float = 1.0
    gpus: float | None = None
    max_concurrent: int | None = None
    address: str | None = None


def run_sweep(plan: Plan, folder: SweepFolder, resources: Resources) -> dict[str, TrialState]:
    """Run what is left of a sweep.

    Args:
        plan: The sweep.
        folder: Where its trials are; finished ones are not repeated, unfinished ones go on from their checkpoint.
        resources: What trials may take.

    Returns:
        What became of each trial, by the name of its folder.

    Raises:
        SweepError: If Ray is lost on the way.
        MissingDependencyError: Without Ray, or without the library that the search needs.
        ConfigError: If there is no Ray at the address.
        KeyboardInterrupt: On Ctrl-C; what has finished stays.
    """
    with folder.locked():
        try:
            _run_remaining(plan, folder, resources)
        except RecBoleVideoError:
            folder.discard_if_unused()
            raise
        return all_states(folder)


def _run_remaining(plan: Plan, folder: SweepFolder, resources: Resources) -> None:
    if plan.sweep.search.kind == "optuna":
        _require_optuna()
    _check_gpu_choice(plan)
    remaining = [trial for trial in _known_trials(plan, folder) if _is_to_run(folder.state(trial))]
    if remaining or _n_left_to_search(plan, folder):
        with ray_session(resources.address) as ray, _ray_errors_explained(ray):
            _check_cluster_has(ray, resources)
            _run_on(ray, plan, folder, resources, remaining)
    # Also where nothing was left to run: a sweep may have been killed between its last trial and this line.
    shutil.rmtree(folder.ray, ignore_errors=True)


def _check_gpu_choice(plan: Plan) -> None:
    """A sweep's GPUs are Ray's to give; another than the default would be passed over in silence."""
    gpu_id = plan.sweep.base.get("gpu_id")
    if listed(gpu_id) not in ("", "0"):
        raise ConfigError(
            f"`gpu_id` is `{gpu_id}`, but in a sweep Ray gives each trial its GPU; leave it out, and set the "
            "environment variable CUDA_VISIBLE_DEVICES to the GPUs that the sweep may use."
        )


@contextmanager
def _ray_errors_explained(ray: Any) -> Iterator[None]:
    """Turn the end of Ray, or of the disk, into a sentence; trials that have finished are on the disk already."""
    from ray.tune.error import TuneError

    try:
        yield
    except (ray.exceptions.RayError, TuneError, ConnectionError, OSError) as error:
        reason = (str(error).strip().splitlines() or ["no reason given"])[-1]  # of a traceback, what was raised
        raise SweepError(
            f"The sweep was cut off ({type(error).__name__}: {reason}); what has finished is kept, go on with --resume."
        ) from error


def all_states(folder: SweepFolder) -> dict[str, TrialState]:
    """What became of each trial that was started, by the name of its folder."""
    return {path.parent.name: trial_state(path.parent) for path in sorted(folder.trials.glob("*/trial.json"))}


def _is_to_run(state: TrialState) -> bool:
    return state.kind in (UNFINISHED, FAILED)


def _run_on(ray: Any, plan: Plan, folder: SweepFolder, resources: Resources, remaining: list[Trial]) -> None:
    from recbole_video.sweep.shared_data import data_server

    gpus = resources.gpus
    if gpus is None:
        gpus = float(ray.cluster_resources().get("GPU", 0) > 0)
    places = str(folder.trials.resolve()), str(Path.cwd())
    with data_server(ray) as server, SweepProgress(plan, folder) as progress:
        task = TrialTask(plan.sweep, tuple(remaining), *places, server, resources.cpus)
        tuning = _Tuning(plan, folder, resources, gpus, task)
        if remaining:
            tuning.fit(remaining, progress)
        n_searched = _n_left_to_search(plan, folder)
        if n_searched:
            tuning.search(n_searched, progress)


@dataclass(frozen=True)
class _Tuning:
    plan: Plan
    folder: SweepFolder
    resources: Resources
    gpus: float
    task: TrialTask

    def fit(self, trials: list[Trial], progress: SweepProgress) -> None:
        """Run trials that are known beforehand."""
        from ray import tune

        space = {"trial": tune.grid_search(list(range(len(trials))))}
        self._tune(space, 1, None, progress)

    def search(self, n_trials: int, progress: SweepProgress) -> None:
        """Let Optuna choose the points; it learns from those that have been tried."""
        from recbole_video.sweep.optuna_search import DistinctOptunaSearch

        sweep = self.plan.sweep
        tried = [
            (trial.point, best_score(self.folder.trial_folder(trial)))
            for trial in _known_trials(self.plan, self.folder)
        ]
        algorithm = DistinctOptunaSearch(sweep.space, self._mode, sweep.search.seed + len(tried), tried)
        self._tune({}, n_trials, algorithm, progress)

    @property
    def _mode(self) -> str:
        return "max" if self.plan.bigger else "min"

    def _tune(self, space: dict[str, Any], n_samples: int, algorithm: Any, progress: SweepProgress) -> None:
        from ray import tune

        task = self.task

        def trial(values: dict[str, Any]) -> None:  # Tune marks a function, and cannot mark a task
            task(values)

        trainable = tune.with_resources(trial, {"cpu": self.resources.cpus, "gpu": self.gpus})
        tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="score",
                mode=self._mode,
                num_samples=n_samples,
                search_alg=algorithm,
                scheduler=self._scheduler(),
                max_concurrent_trials=self.resources.max_concurrent,
                reuse_actors=True,
            ),
            run_config=tune.RunConfig(
                name="tune",
                storage_path=str(self.folder.ray.resolve()),
                failure_config=tune.FailureConfig(max_failures=_DEATHS),
                callbacks=[_trial_callback(self.task, progress)],
                verbose=0,
            ),
        ).fit()

    def _scheduler(self) -> Any:
        asha = self.plan.sweep.asha
        if asha is None:
            return None
        from ray.tune.schedulers import ASHAScheduler

        return ASHAScheduler(
            time_attr="epoch",
            max_t=max(self.plan.epochs, asha.grace_epochs) + 1,  # who gets to the last epoch is tested
            grace_period=asha.grace_epochs,
            reduction_factor=asha.reduction_factor,
        )


def _trial_callback(task: TrialTask, progress: SweepProgress) -> Any:
    """A callback of Ray Tune that writes down what became of each trial, and shows the progress."""
    from ray import tune

    class TrialCallback(tune.Callback):
        def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.started(task.trial(trial.config))

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            if "epoch" in result:
                progress.reached(task.trial(trial.config), int(result["epoch"]), result.get("score"))

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ours = task.trial(trial.config)
            folder = Path(task.folder) / ours.name
            if trial_state(folder).kind == UNFINISHED and "reason" not in (trial.last_result or {}):
                last = trial.last_result or {}
                state = TrialState(STOPPED, f"after epoch {last.get('epoch', 0)}, by ASHA", last.get("score"))
                write_state(folder, state)
            progress.ended(ours, (trial.last_result or {}).get("reason", ""))

        def on_trial_recover(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            progress.died(task.trial(trial.config), trial.num_failures)

        def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            ours = task.trial(trial.config)
            reason = f"its process died {trial.num_failures} times"
            write_failure(Path(task.folder) / ours.name, ours, reason)
            progress.ended(ours, reason)

    return TrialCallback()


def _known_trials(plan: Plan, folder: SweepFolder) -> Iterable[Trial]:
    """The trials of the plan; of an open search those that it has started."""
    if plan.sweep.search.kind != "optuna":
        return plan.trials
    return [read_trial(path.parent) for path in sorted(folder.trials.glob("*/trial.json"))]


def _n_left_to_search(plan: Plan, folder: SweepFolder) -> int:
    if plan.sweep.search.kind != "optuna":
        return 0
    return max(0, plan.n_trials - len(all_states(folder)))


def _check_cluster_has(ray: Any, resources: Resources) -> None:
    """Without this Ray would wait for ever, silently.

    Raises:
        ConfigError: If no machine has what one trial takes.
    """
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": resources.cpus, "GPU": resources.gpus or 0.0}
    if not any(all(machine.get(kind, 0) >= n for kind, n in wanted.items()) for machine in machines):
        most = {kind: max((machine.get(kind, 0) for machine in machines), default=0) for kind in wanted}
        raise ConfigError(
            f"A trial takes {resources.cpus:g} cores and {resources.gpus or 0:g} GPUs, and no machine has as much (at "
            f"most {most['CPU']:g} cores, {most['GPU']:g} GPUs); set cpus_per_trial and gpus_per_trial."
        )


def _require_optuna() -> None:
    import_ray()
    optuna = import_optional("optuna", "A search by Optuna needs it; uv pip install -e '.[sweep]' in the checkout.")
    optuna.logging.set_verbosity(optuna.logging.WARNING)


def n_parallel(resources: Resources, n_trials: int) -> int:
    """Trials that this machine runs at a time."""
    fit = max(1, int((os.cpu_count() or 1) / max(resources.cpus, 1e-9)))
    return max(1, min(fit, resources.max_concurrent or fit, n_trials))
