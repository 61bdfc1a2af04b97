"""RecBole's own models from the same script: what ``recbole.quick_start`` does, without its Ray."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from time import perf_counter
from typing import Any

from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed, set_color

from recbole_video.config import Config
from recbole_video.errors import ConfigError
from recbole_video.experiment import prepare_bundled
from recbole_video.files.atomic import write_json
from recbole_video.files.values import file_digest, plain
from recbole_video.hooks import Hooks
from recbole_video.results.console_table import result_table
from recbole_video.runtime.event_log import EventLog
from recbole_video.runtime.logs import FILE_ONLY
from recbole_video.runtime.memory import peak_memory_mb, reset_peak_memory
from recbole_video.runtime.provenance import provenance
from recbole_video.runtime.recbole_host import HostConfig
from recbole_video.training.run_folder import RunFolder


def run_stock_model(config: Config, folder: RunFolder | None, log_path: Path, hooks: Hooks) -> dict[str, Any]:
    """Train and test one of RecBole's models with RecBole's data, trainer and evaluation.

    Args:
        config: The run's configuration.
        folder: Where checkpoint and results go; None to keep neither.
        log_path: The run's log.
        hooks: Told of each epoch; RecBole reads its data itself.

    Returns:
        ``best_valid_score``, ``valid_score_bigger``, ``best_valid_result``, ``test_result``,
        ``seconds``, ``peak_memory_mb``, ``parameters``, ``protocol`` and ``run_folder``.

    Raises:
        ConfigError: If RecBole refuses the options.
    """
    started = perf_counter()
    reset_peak_memory(config["device"])
    warnings.simplefilter("ignore", FutureWarning)  # RecBole's pandas calls would fill the console
    logger = logging.getLogger()
    logger.info(config, extra=FILE_ONLY)
    saved = folder is not None
    host = config.host(**({} if folder is None else {"checkpoint_dir": str(folder.path)}))
    prepare_bundled(config)
    init_seed(config["seed"], config["reproducibility"])
    try:
        dataset = create_dataset(host)
        logger.info(dataset)
        train_data, valid_data, test_data = data_preparation(host, dataset)
        init_seed(config["seed"], config["reproducibility"])
        model = config.model_class(host, train_data._dataset).to(config["device"])
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"RecBole's {config['model']} cannot run on `{config['dataset']}` ({reason}).") from error
    logger.info(model, extra=FILE_ONLY)
    _refuse_short_catalogue(config, dataset.item_num - 1)
    trainer = _make_trainer(host, model, log_path)
    try:
        best_valid_score, best_valid_result = trainer.fit(
            train_data, valid_data, saved=saved, show_progress=config["show_progress"], callback_fn=hooks.on_epoch
        )
    except KeyError as error:
        raise ConfigError(
            f"RecBole's {config['model']} reads the field {error}, which the loaded columns lack; "
            "see load_col and threshold."
        ) from error
    test_result = trainer.evaluate(test_data, load_best_model=saved, show_progress=config["show_progress"])
    best_valid_result, test_result = (_floats(metrics) for metrics in (best_valid_result, test_result))
    result = {
        "best_valid_score": float(best_valid_score),
        "valid_score_bigger": config["valid_metric_bigger"],
        "best_valid_result": best_valid_result,
        "test_result": test_result,
        "seconds": round(perf_counter() - started, 2),
        "peak_memory_mb": round(peak_memory_mb(config["device"]), 1),
        "parameters": {"model": sum(p.numel() for p in model.parameters() if p.requires_grad)},
        "data": {
            "dataset": config["dataset"],
            "inter_sha256": file_digest(Path(config["data_path"], f"{config['dataset']}.inter")),
            "protocol": "RecBole's own",
        },
        "protocol": f"RecBole's own, eval_args {config['eval_args']}",
        "run_folder": str(folder.path) if folder else None,
    }
    if folder is not None:
        record = {**result, "config": config.to_options(), "made_by": provenance()}
        write_json(folder.metrics, plain(record))
    log_stock_results(config, result, log_path)
    return result


def log_stock_results(config: Config, result: dict[str, Any], log_path: Path) -> None:
    """Tell the console and the logs what came of a run."""
    logger = logging.getLogger()
    rows = [("valid", result["best_valid_result"]), ("test", result["test_result"])]
    title = f"RecBole's {config['model']} on {config['dataset']}; protocol: {result['protocol']}"
    places = f"Run folder: {result['run_folder'] or '(none: saved=False)'} · log: {log_path}"
    logger.info("\n".join(["", title, "", result_table(rows), "", places]))
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}")


def _make_trainer(config: HostConfig, model: Any, log_path: Path) -> Any:
    """RecBole's trainer, with an event log that a full disk does not end the run by."""
    from recbole.trainer import trainer as recbole_trainer

    make_writer = recbole_trainer.get_tensorboard
    recbole_trainer.get_tensorboard = lambda _: EventLog(Path(config["tensorboard_dir"]) / log_path.stem)
    try:
        return get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    finally:
        recbole_trainer.get_tensorboard = make_writer


def _refuse_short_catalogue(config: Config, n_items: int) -> None:
    """RecBole takes the k best of all items, and fails where there are fewer."""
    longest = max(config["topk"] or [0]) if config["eval_args"]["mode"]["valid"] == "full" else 0
    if longest > n_items:
        raise ConfigError(f"`topk` asks for the best {longest} items, and there are {n_items}; lower topk.")


def _floats(metrics: dict[str, Any] | None) -> dict[str, float]:
    return {name: float(value) for name, value in (metrics or {}).items()}
