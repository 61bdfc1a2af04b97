"""The whole experiment in one function, with RecBole's signature and result keys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole.utils import set_color

from recbole_video.config import Config, resumed_run
from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.files.atomic import write_json
from recbole_video.files.names import expanded
from recbole_video.files.reading import read_json
from recbole_video.files.values import plain
from recbole_video.registry import Trust
from recbole_video.results.console_table import result_table
from recbole_video.results.earlier_versions import as_of_today
from recbole_video.results.targets import cases_of, was_best_last
from recbole_video.runtime.devices import make_current
from recbole_video.runtime.launch import launch
from recbole_video.runtime.launch_on_ray import launch_on_ray
from recbole_video.runtime.logs import FILE_ONLY, console_logging, run_logging, silence
from recbole_video.runtime.memory import peak_memory_mb, reset_peak_memory
from recbole_video.runtime.processes import join, leave, processes, started_by_torchrun
from recbole_video.runtime.provenance import provenance
from recbole_video.tasks import task_of
from recbole_video.tasks.task import Fitted, Hooks, Task, prepare_bundled
from recbole_video.training.run_folder import RunFolder


def run_recbole_video(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: dict[str, Any] | None = None,
    saved: bool = True,
    command_line: Sequence[str] = (),
    run_folder: str | Path | None = None,
    hooks: Hooks | None = None,
    trust: Trust = False,
) -> dict[str, Any]:
    """Train a model, choose the epoch that validates best, and test it.

    Args:
        model: A model of this package (``SASRec`` by default; ``STAP`` predicts popularity), any of RecBole's, or
            ``recbole:<name>`` for RecBole's own version of a model that both have.
        dataset: Name of the folder of atomic files; by default one that is made on first use:
            ``microvideo-demo``, or ``popularity-demo`` for popularity models.
        config_file_list: YAML files with options, the last one winning.
        config_dict: Options; they win over the files.
        saved: Write a run folder with checkpoints and results; where not, there is no ``run_folder`` or ``resume``.
        command_line: Words as in ``sys.argv[1:]``; they win over all else.
        run_folder: Folder of this very run: a new or an empty one, or that of a run of the same options, which goes
            on, or whose result is returned if it has finished. By default a new one under ``checkpoint_dir``.
        hooks: Called on the way.
        trust: Classes that a config file or the run to resume may name as ``module:Class``, which nobody registered;
            True for all. They are code, and are run.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and for video models ``groups``, ``seconds``, ``peak_memory_mb``,
        ``parameters``, ``data``, ``best_epoch`` (from 1; 0 for what is fitted in one go), ``history`` (one dict per
        epoch), ``precision`` and ``run_folder``.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    this = (model, dataset, config_file_list, config_dict, saved, command_line, run_folder)
    if started_by_torchrun() and processes().is_alone:
        join()
        try:
            return run_recbole_video(*this, hooks, trust)
        finally:
            leave()
    config = make_config(model, dataset, config_file_list, config_dict, command_line, trust, hooks is not None)
    _check_folders(config, run_folder, saved)
    group = processes()
    if config["nproc"] > 1 or not group.is_alone:
        _refuse_hooks(hooks)
    if config["nproc"] > 1 and group.is_alone:
        return _launch(partial(run_recbole_video, *this, None, trust), config)
    make_current(config["device"])
    if not group.is_first:
        return _help(config)
    return _run_saved(config, run_folder, hooks or Hooks()) if saved else _run_unsaved(config, hooks or Hooks())


def _run_unsaved(config: Config, hooks: Hooks) -> dict[str, Any]:
    processes().from_first(lambda: False)  # it has not finished before
    with run_logging(config, None) as log_path:
        return run(task_of(config), config, None, log_path, hooks)


def _run_saved(config: Config, run_folder: str | Path | None, hooks: Hooks) -> dict[str, Any]:
    """Run in a folder, or show the result of one in which the run has finished."""
    folder = _choose_folder(config, run_folder)
    if processes().from_first(lambda: folder.is_finished):
        folder.release()
        return _stored_result(config, folder)
    with folder.locked():
        try:
            with run_logging(config, folder.log) as log_path:
                return run(task_of(config), config, folder, log_path, hooks)
        except BaseException:
            folder.discard_if_empty()
            raise


def _check_folders(config: Config, run_folder: str | Path | None, saved: bool) -> None:
    """Refuse the folder of a run that keeps none, and two of a run that has one.

    Raises:
        ConfigError: If ``run_folder`` or ``resume`` would be passed over.
    """
    resume = config.get("resume")
    if not saved and (run_folder is not None or resume):
        name, value = ("resume", resume) if run_folder is None else ("run_folder", run_folder)
        raise ConfigError(f"`{name}` is `{value}`, and a run with saved=False has no folder; leave one of them out.")
    is_elsewhere = isinstance(resume, str) and expanded(resume).resolve() != expanded(run_folder or ".").resolve()
    if run_folder is not None and is_elsewhere:
        raise ConfigError(f"`resume` names `{resume}` and `run_folder` is `{run_folder}`; give one of them.")


def _refuse_hooks(hooks: Hooks | None) -> None:
    """Functions of one process cannot be called in others; those of a sweep keep their data here besides."""
    if hooks is not None:
        raise ConfigError("A run with hooks, as a sweep's trial is, has one process; leave out nproc.")


def _launch(work: Callable[[], dict[str, Any]], config: Config) -> dict[str, Any]:
    """Start the processes of a run, here or on a cluster."""
    n, address = config["nproc"], config["ray_address"]
    return launch_on_ray(work, n, config["use_gpu"], address) if address else launch(work, n)


def _help(config: Config) -> dict[str, Any]:
    """What the processes beyond the first do: the same, but they keep, write and tell nothing."""
    if processes().from_first(lambda: False):  # the run has finished
        return {}
    with silence():
        return run(task_of(config), config, None, Path("run"), Hooks())


def _choose_folder(config: Config, run_folder: str | Path | None) -> RunFolder:
    """The folder of this run, held; or that of a finished one."""
    if run_folder is not None:
        return RunFolder.at(run_folder, config)
    resumed = RunFolder.to_resume(config) if config.get("resume") else None
    return resumed or RunFolder.create(config)


def make_config(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: dict[str, Any] | None = None,
    command_line: Sequence[str] = (),
    trust: Trust = False,
    is_shared: bool = False,
) -> Config:
    """The configuration of :func:`run_recbole_video`; a run to resume brings its own options.

    ``is_shared`` is as for :class:`~recbole_video.config.Config`: a run with hooks is one of several.
    """
    files = list(config_file_list or [])
    resumed = resumed_run(files, config_dict, command_line)
    if resumed is not None and (own := Path(resumed) / "config.yaml").is_file():
        files = [own, *files]
        content = RunFolder(resumed).content_as_trained()
        if content is not None:
            config_dict = {"content": content, **(config_dict or {})}
    return Config(model, dataset, files, config_dict, command_line, trust, is_shared=is_shared)


def _stored_result(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Show and return the result of a run that has finished: nothing is trained."""
    damaged = f"`{folder.metrics}` does not hold the result of a run of this version; start a new run without --resume."
    stored = read_json(folder.metrics, CheckpointError)
    if not isinstance(stored, dict):
        raise CheckpointError(damaged)
    result = {key: value for key, value in stored.items() if key not in ("config", "made_by")}
    result["run_folder"] = str(folder.path)  # it may have been moved
    with console_logging(config):
        logging.getLogger().info(f"The run in {folder.path} has finished; this is its result, nothing is trained.")
        try:
            result = as_of_today(result)
            _log_results(task_of(config)(config), result, folder.log)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(damaged) from error
    return result


def run(
    task_class: type[Task], config: Config, folder: RunFolder | None, log_path: Path, hooks: Hooks
) -> dict[str, Any]:
    """One run of any task, from its configuration to its result: the only order of events.

    Args:
        task_class: The task of the configuration's model.
        config: The run's configuration.
        folder: Where checkpoints and results go, held; None to keep none. What it holds of an unfinished run goes on.
        log_path: The run's log.
        hooks: Called on the way.

    Returns:
        As :func:`run_recbole_video`.
    """
    started, logger = perf_counter(), logging.getLogger()
    logger.info(str(config), extra=FILE_ONLY)  # made once, and not by each that writes it
    reset_peak_memory(config["device"])
    task = task_class(config, folder, hooks, log_path.stem)
    processes().from_first(lambda: prepare_bundled(config))
    logger.info(str(task.read_data()))
    logger.info(str(task.make_model()), extra=FILE_ONLY)
    task.fitted = task.fit()
    test, test_result = task.evaluate("test")
    result = {
        **_of_validation(config, task.fitted),
        "test_result": test_result,
        **task.describe(test),
        "seconds": round(task.fitted.seconds_before + perf_counter() - started, 2),
        "precision": task.fitted.precision,
        "peak_memory_mb": round(peak_memory_mb(config["device"]), 1),
        "run_folder": str(folder.path) if folder else None,
    }
    if task.fitted.history is not None:
        result["history"] = task.fitted.history
    if folder is not None:
        task.write(folder, test, result)
        _write_record(folder, config, result)
        if not config.get("keep_last_checkpoint"):
            folder.last.unlink(missing_ok=True)
    _log_results(task, result, log_path)
    return result


def _of_validation(config: Config, fitted: Fitted) -> dict[str, Any]:
    found = {
        "best_valid_score": fitted.best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": fitted.best_valid_result,
    }
    return found if fitted.best_epoch is None else {**found, "best_epoch": fitted.best_epoch}


def _write_record(folder: RunFolder, config: Config, result: dict[str, Any]) -> None:
    record = {**result, "config": config.to_options(), "made_by": provenance()}
    write_json(folder.metrics, plain(record))  # last: it marks the run as finished


def _advice(config: Config, result: dict[str, Any]) -> list[str]:
    """What to do about a run that was ended while it still became better."""
    epochs = config.get("epochs")
    if epochs is None or not was_best_last({**result, "config": {"epochs": epochs}}):
        return []
    return [f"The last of {epochs} epochs was the best: more may be better (--epochs={2 * epochs})."]


def _log_results(task: Task, result: dict[str, Any], log_path: Path) -> None:
    """Tell the console and the logs what came of a run."""
    logger = logging.getLogger()
    cost = f"{result['seconds']:.1f} s · peak memory {result['peak_memory_mb']:,.0f} MB"
    parameters = result["parameters"]
    if parameters:
        cost += f" · {parameters['model']:,} parameters"
    if "item_encoder" in parameters:
        cost += f" ({parameters['item_encoder']:,} in the item encoder)"
    places = f"Run folder: {result['run_folder'] or '(none: saved=False)'} · log: {log_path}"
    table = result_table(task.rows(result), cases_of(result.get("data") or {}))
    lines = [*task.scale(result), *_advice(task.config, result), cost, places]
    logger.info("\n".join(["", task.title(result), "", table, "", *lines]))
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}", extra=FILE_ONLY)
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}", extra=FILE_ONLY)
