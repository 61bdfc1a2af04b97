"""The whole experiment in one function, with RecBole's signature and result keys."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole.utils import init_seed, set_color

from recbole_video.config import Config
from recbole_video.errors import CheckpointError
from recbole_video.evaluation.groups import results_by_group
from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics
from recbole_video.experiment import (
    Data,
    build_model,
    checkpoint_data,
    describe_data,
    load_data,
    make_loaders,
    parameter_counts,
    prepare_bundled,
)
from recbole_video.files.atomic import write_json
from recbole_video.files.reading import read_json
from recbole_video.hooks import Hooks
from recbole_video.popularity.experiment import log_popularity_results, run_popularity_model
from recbole_video.registry import Trust
from recbole_video.results.console_table import result_table
from recbole_video.results.curve import draw_curve
from recbole_video.results.per_user import write_per_user
from recbole_video.runtime.devices import make_current
from recbole_video.runtime.logs import FILE_ONLY, console_logging, run_logging
from recbole_video.runtime.memory import peak_memory_mb, reset_peak_memory
from recbole_video.runtime.provenance import provenance
from recbole_video.stock import log_stock_results, run_stock_model
from recbole_video.training.recommendation import VideoTrainer
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
        saved: Write a run folder with checkpoints and results.
        command_line: Words as in ``sys.argv[1:]``; they win over all else.
        run_folder: Folder of this very run: a new or an empty one, or that of a run of the same options, which goes
            on, or whose result is returned if it has finished. By default a new one under ``checkpoint_dir``.
        hooks: Called on the way.
        trust: Classes that a config file or the run to resume may name as ``module:Class``, which nobody registered;
            True for all. They are code, and are run.

    Returns:
        RecBole's ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result`` and
        ``test_result``, and for video models ``groups``, ``seconds``, ``peak_memory_mb``,
        ``parameters``, ``data``, ``best_epoch`` and ``run_folder``.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    config = make_config(model, dataset, config_file_list, config_dict, command_line, trust)
    make_current(config["device"])
    if not saved:
        with run_logging(config, None) as log_path:
            return _run(config, None, log_path, hooks or Hooks())
    folder = _choose_folder(config, run_folder)
    if folder.is_finished:
        folder.release()
        return _stored_result(config, folder)
    with folder.locked():
        try:
            with run_logging(config, folder.log) as log_path:
                return _run(config, folder, log_path, hooks or Hooks())
        except BaseException:
            folder.discard_if_empty()
            raise


def _choose_folder(config: Config, run_folder: str | Path | None) -> RunFolder:
    """The folder of this run, held; or that of a finished one."""
    if run_folder is not None:
        return RunFolder.at(run_folder, config)
    resumed = RunFolder.to_resume(config) if config.task != "stock" and config["resume"] else None
    return resumed or RunFolder.create(config)


def make_config(
    model: str | type | None = None,
    dataset: str | None = None,
    config_file_list: Sequence[str | Path] | None = None,
    config_dict: dict[str, Any] | None = None,
    command_line: Sequence[str] = (),
    trust: Trust = False,
) -> Config:
    """The configuration of :func:`run_recbole_video`; a run to resume brings its own options."""
    config = Config(model, dataset, config_file_list, config_dict, command_line, trust)
    if config.task != "stock" and isinstance(config["resume"], str):
        own = Path(config["resume"]) / "config.yaml"
        if own.is_file():
            config = Config(model, dataset, [own, *(config_file_list or [])], config_dict, command_line, trust)
    return config


def _stored_result(config: Config, folder: RunFolder) -> dict[str, Any]:
    """Show and return the result of a run that has finished: nothing is trained."""
    damaged = f"`{folder.metrics}` does not hold the result of a run of this version; start a new run without --resume."
    stored = read_json(folder.metrics, CheckpointError)
    if not isinstance(stored, dict):
        raise CheckpointError(damaged)
    result = {key: value for key, value in stored.items() if key not in ("history", "config", "made_by")}
    result["run_folder"] = str(folder.path)  # it may have been moved
    log_results = {"stock": log_stock_results, "popularity": log_popularity_results, "recommendation": _log_results}
    with console_logging(config):
        logging.getLogger().info(f"The run in {folder.path} has finished; this is its result, nothing is trained.")
        try:
            log_results[config.task](config, result, folder.log)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise CheckpointError(damaged) from error
    return result


def _run(config: Config, folder: RunFolder | None, log_path: Path, hooks: Hooks) -> dict[str, Any]:
    if config.task == "stock":
        return run_stock_model(config, folder, log_path, hooks)
    if config.task == "popularity":
        return run_popularity_model(config, folder, log_path, hooks)
    started = perf_counter()
    logger = logging.getLogger()
    logger.info(config, extra=FILE_ONLY)
    resumes = folder is not None and folder.last.is_file()
    if config["resume"] and not resumes:
        logger.info("There is no checkpoint of these options to resume from; starting with the first epoch.")
    init_seed(config["seed"], config["reproducibility"])
    reset_peak_memory(config["device"])
    prepare_bundled(config)
    data = (hooks.load or load_data)(config)
    logger.info(data.dataset)
    model = build_model(config, data.catalogue)
    logger.info(model, extra=FILE_ONLY)
    train_data, valid_data, test_data = make_loaders(config, data, model)
    metrics = RankingMetrics(config, data.catalogue.train_counts.numpy())
    trainer = VideoTrainer(config, model, metrics, folder, checkpoint_data(data), log_path.stem)
    if resumes:
        trainer.resume(train_data)
    trainer.fit(train_data, valid_data, hooks.on_epoch)
    trainer.load_best()
    ranking, test_result = trainer.evaluate(test_data)
    progress = trainer.progress
    result = {
        "best_valid_score": progress.best_valid_score,
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": progress.best_valid_result,
        "test_result": test_result,
        "groups": results_by_group(ranking, metrics, config["eval_groups"], config["cold_item_threshold"]),
        "best_epoch": progress.best_epoch,
        "seconds": round(progress.seconds_before + perf_counter() - started, 2),
        "peak_memory_mb": round(peak_memory_mb(config["device"]), 1),
        "parameters": parameter_counts(model),
        "data": describe_data(config, data),
        "run_folder": str(folder.path) if folder else None,
    }
    if folder is not None:
        _write_results(folder, config, result, trainer, ranking, data)
    _log_results(config, result, log_path)
    return result


def _write_results(
    folder: RunFolder, config: Config, result: dict[str, Any], trainer: VideoTrainer, ranking: Ranking, data: Data
) -> None:
    progress = trainer.progress
    draw_curve(progress.history, config["valid_metric"], progress.best_epoch, folder.curve)
    if config["save_per_user"]:
        tokens = (data.dataset.user_tokens, data.dataset.item_tokens)
        write_per_user(folder.per_user, ranking, trainer.metrics, *tokens)
    record = {**result, "history": progress.history, "config": config.to_options(), "made_by": provenance()}
    write_json(folder.metrics, record)  # last: it marks the run as finished


def _log_results(config: Config, result: dict[str, Any], log_path: Path) -> None:
    logger = logging.getLogger()
    rows: list[tuple[str, Metrics]] = [
        (f"valid (epoch {result['best_epoch']})", result["best_valid_result"]),
        ("test", result["test_result"]),
    ]
    for kind, groups in result["groups"].items():
        label = "test, {} items" if kind == "cold" else "test, popularity group {}"
        rows += [(label.format(name), values) for name, values in groups.items()]
    data, parameters = result["data"], result["parameters"]
    title = (
        f"{config['model']} + {config['item_encoder']} on {data['dataset']}: {data['test_users']:,} users, "
        f"full ranking of {data['items']:,} items, protocol {data['protocol']}, seed {config['seed']}"
    )
    cost = (
        f"{result['seconds']:.1f} s · peak memory {result['peak_memory_mb']:,.0f} MB · {parameters['model']:,} "
        f"parameters ({parameters['item_encoder']:,} in the item encoder)"
    )
    places = f"Run folder: {result['run_folder'] or '(none: saved=False)'} · log: {log_path}"
    logger.info("\n".join(["", title, "", result_table(rows), "", cost, places]))
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}")
