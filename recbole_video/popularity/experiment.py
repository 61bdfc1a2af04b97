"""A popularity experiment: data, model or control, training, report."""

from __future__ import annotations

import logging
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed, set_color

from recbole_video.config import Config
from recbole_video.data.labelled import SPLITS, PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader, at_most
from recbole_video.errors import ConfigError
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import PopularityMetrics, Predictions, results_by_group
from recbole_video.experiment import prepare_bundled
from recbole_video.files.atomic import write_json, write_text
from recbole_video.files.values import plain
from recbole_video.hooks import Hooks
from recbole_video.popularity import figures
from recbole_video.popularity.model import InputShape, PopularityModel
from recbole_video.popularity.stap.memory_bank import MemoryBank
from recbole_video.popularity.stap.model import STAP
from recbole_video.popularity.stap.slots import context_correlation, describe_slots, write_slots
from recbole_video.results.console_table import result_table
from recbole_video.results.curve import draw_curve
from recbole_video.runtime.logs import FILE_ONLY
from recbole_video.runtime.memory import peak_memory_mb, reset_peak_memory
from recbole_video.runtime.provenance import provenance
from recbole_video.training.popularity import PopularityTrainer, on_device
from recbole_video.training.run_folder import RunFolder


def run_popularity_model(config: Config, folder: RunFolder | None, log_path: Path, hooks: Hooks) -> dict[str, Any]:
    """Train a popularity model or fit a control, choose the epoch that validates best, and test it.

    Args:
        config: The run's configuration.
        folder: Where checkpoints and results go; None to keep none.
        log_path: The run's log.
        hooks: Called on the way.

    Returns:
        As :func:`recbole_video.quick_start.run_recbole_video`; ``groups`` has ``cold_start`` and ``popularity``.
    """
    started = perf_counter()
    logger = logging.getLogger()
    logger.info(config, extra=FILE_ONLY)
    init_seed(config["seed"], config["reproducibility"])
    reset_peak_memory(config["device"])
    prepare_bundled(config)
    dataset = (hooks.load or PopularityDataset)(config)
    logger.info(dataset)
    _tell_zeros(dataset)
    for path in dataset.absent:
        logger.info(
            f"There is no `{path}`, which {config['model']} does not read: it runs on all labelled videos, a model "
            "that reads it only on those that it holds."
        )
    metrics = PopularityMetrics(config)
    if config.model_class.is_control:
        outcome, test = _fit_control(config, dataset, metrics)
    else:
        outcome, test = _train(config, dataset, metrics, folder, log_path, hooks)
    history = outcome.pop("history")
    result = {
        **outcome,
        "valid_score_bigger": config["valid_metric_bigger"],
        "test_result": metrics.compute(test),
        "groups": results_by_group(test, dataset, config),
        "seconds": round(outcome["seconds"] + perf_counter() - started, 2),
        "peak_memory_mb": round(peak_memory_mb(config["device"]), 1),
        "data": dataset.summary(),
        "run_folder": str(folder.path) if folder else None,
    }
    if folder is not None:
        _write_results(folder, config, dataset, result, history, test)
    log_popularity_results(config, result, log_path)
    return result


def _tell_zeros(dataset: PopularityDataset) -> None:
    """Warn of videos whose frames or text are read as zeros, split by split."""
    for kind, missing in dataset.read_as_zeros.items():
        if any(missing.values()):
            shown = ", ".join(f"{n:,} of {len(dataset.rows[split]):,} in {split}" for split, n in missing.items())
            logging.getLogger().warning(f"Videos without {kind}, read as zeros: {shown}.")


def input_shape(dataset: PopularityDataset, config: Any) -> InputShape:
    """Sizes of the data set's inputs; mean and spread of its training labels."""
    labels = dataset.labels[dataset.rows["train"]]
    stored = 0 if dataset.frames is None else dataset.frames.store.n_frames
    return InputShape(
        frame_dim=0 if dataset.frames is None else dataset.frames.frame_dim,
        n_frames=stored if config["n_frames"] is None else min(stored, config["n_frames"]),
        text_dim=0 if dataset.text is None else dataset.text.frame_dim,
        n_numeric=0 if dataset.metadata is None else dataset.metadata.numeric.shape[1],
        n_categories=() if dataset.metadata is None else tuple(dataset.metadata.n_categories),
        label_mean=float(labels.mean()),
        label_std=float(labels.std()),
        other_dims={name: dim for name, dim in dataset.content.dims.items() if name not in ("frames", "text")},
    )


def build_model(config: Config, inputs: InputShape) -> PopularityModel:
    """Make the model on its device, from the run's seed.

    Raises:
        ConfigError: If sizes contradict each other.
    """
    init_seed(config["seed"], config["reproducibility"])
    try:
        return config.model_class(config, inputs).to(config["device"])
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{config['model']} cannot be built with these options ({reason}).") from error


def _train(
    config: Config,
    dataset: PopularityDataset,
    metrics: PopularityMetrics,
    folder: RunFolder | None,
    log_path: Path,
    hooks: Hooks,
) -> tuple[dict[str, Any], Predictions]:
    logger = logging.getLogger()
    model = build_model(config, input_shape(dataset, config))
    logger.info(model, extra=FILE_ONLY)
    counts = model.parameter_counts()
    logger.info("Parameters: " + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items()))
    train = PopularityLoader(config, dataset, dataset.rows["train"], shuffle=True)
    in_order, valid, test = (PopularityLoader(config, dataset, dataset.rows[split], shuffle=False) for split in SPLITS)
    shown = at_most(dataset.rows["train"], model.n_shown_between_epochs, config["seed"])
    between_epochs = PopularityLoader(config, dataset, shown, shuffle=False)
    about_data = checkpoint_data(dataset, model.inputs)
    trainer = PopularityTrainer(config, model, metrics, between_epochs, folder, about_data, log_path.stem)
    if folder is not None and folder.last.is_file():
        trainer.resume(train)
    elif config["resume"]:
        logger.info("There is no checkpoint of these options to resume from; starting with the first epoch.")
    trainer.fit(train, valid, hooks.on_epoch)
    trainer.load_best()
    predictions, _ = trainer.evaluate(test)
    inside: dict[str, Any] = {}
    if isinstance(model, STAP) and model.bank is not None:
        inside = _look_inside(model, {"train": in_order, "valid": valid}, dataset, folder, trainer.device)
        inside["memory_bank"] = _layout_of(model.bank, trainer.progress.best_epoch)
    progress = trainer.progress
    return {
        "best_valid_score": progress.best_valid_score,
        "best_valid_result": progress.best_valid_result,
        "best_epoch": progress.best_epoch,
        "parameters": counts,
        "seconds": progress.seconds_before,
        "history": progress.history,
        **inside,
    }, predictions


def _look_inside(
    model: STAP,
    loaders: dict[str, PopularityLoader],
    dataset: PopularityDataset,
    folder: RunFolder | None,
    device: torch.device,
) -> dict[str, Any]:
    """Describe the trained memory bank: its slots as a table, and how much of the training labels it gives away."""
    if folder is not None:
        write_slots(folder.slots, describe_slots(model, on_device(loaders["train"], device), dataset.items))
    found = {split: context_correlation(model, on_device(loader, device)) for split, loader in loaders.items()}
    shown = ", ".join(f"{split} {value:.3f}" for split, value in found.items() if value is not None)
    if shown:
        logging.getLogger().info(f"Correlation of the retrieved popularity with the labels: {shown}")
    return {"retrieved_popularity_correlation": found}


def _layout_of(bank: MemoryBank, best_epoch: int) -> str:
    """Whether the chosen checkpoint has a bank to ask; warn if not."""
    if bank.is_initialised:
        return "laid out"
    logging.getLogger().warning(
        f"The best epoch, {best_epoch}, is of the warm-up, before the memory bank was laid out: these are results of a "
        "model without memory; train longer, or lower memory_warmup_epochs."
    )
    return "not laid out"


def _fit_control(
    config: Config, dataset: PopularityDataset, metrics: PopularityMetrics
) -> tuple[dict[str, Any], Predictions]:
    control = config.model_class()
    control.fit(dataset, config)
    valid, test = (_predict(control, dataset, dataset.rows[split]) for split in SPLITS[1:])
    valid_result = metrics.compute(valid)
    return {
        "best_valid_score": valid_result[config["valid_metric"].lower()],
        "best_valid_result": valid_result,
        "best_epoch": 0,
        "parameters": {},
        "control": plain(control.describe()),
        "seconds": 0.0,
        "history": [],
    }, test


def _predict(control: Any, dataset: PopularityDataset, rows: np.ndarray) -> Predictions:
    return Predictions(rows, dataset.labels[rows], control.predict_rows(dataset, rows))


def checkpoint_data(dataset: PopularityDataset, inputs: InputShape) -> dict[str, Any]:
    """What a checkpoint must hold to be used without the data."""
    return plain(
        {
            "inputs": inputs.as_plain(),
            "metadata": None if dataset.metadata is None else dataset.metadata_encoder.state(),
            "evaluated": [str(dataset.items[row]) for split in SPLITS[1:] for row in dataset.rows[split]],
            "content": dataset.content.origins(),
            "label": dataset.summary()["label"],
        }
    )


def _write_results(
    folder: RunFolder,
    config: Config,
    dataset: PopularityDataset,
    result: dict[str, Any],
    history: list[dict[str, float]],
    test: Predictions,
) -> None:
    if config["save_predictions"]:
        rows = zip(dataset.items[test.rows], test.labels.tolist(), test.values.tolist(), strict=True)
        lines = ["item_id\tlabel\tprediction", *(f"{item}\t{label!r}\t{value!r}" for item, label, value in rows)]
        write_text(folder.predictions, "\n".join(lines) + "\n")
    if config["figures"]:
        figures.draw_scatter(test, result["test_result"], folder.path / "predictions.png")
        if history:
            draw_curve(history, config["valid_metric"], result["best_epoch"], folder.curve, _loss_name(config))
        if any("slot_entropy" in record for record in history):
            figures.draw_slot_usage(history, folder.path / "slot_usage.png")
    record = {**result, "history": history, "config": config.to_options(), "made_by": provenance()}
    write_json(folder.metrics, record)  # last: it marks the run as finished


def _loss_name(config: Config) -> str:
    """What the training loss is made of, in words."""
    name = {"mse": "squared error", "huber": "Huber"}[config["regression_loss"]]
    has_routing = "memory" in config and config["memory"] != "off"
    return f"{name} + routing" if has_routing and (config["dppo_weight"] or config["balance_weight"]) else name


def log_popularity_results(config: Config, result: dict[str, Any], log_path: Path) -> None:
    """Tell the console and the logs what came of a run."""
    logger = logging.getLogger()
    rows: list[tuple[str, Metrics]] = [
        (f"valid (epoch {result['best_epoch']})" if result["parameters"] else "valid", result["best_valid_result"]),
        ("test", result["test_result"]),
    ]
    cold = result["groups"].get("cold_start", {})
    if cold.get("videos"):
        rows.append(
            (f"test, {cold['videos']:,} by authors with at most {config['cold_author_threshold']} videos", cold)
        )
    rows += [(f"test, popularity {name}", values) for name, values in result["groups"].get("popularity", {}).items()]
    data, counts = result["data"], result["data"]["rows"]
    title = (
        f"{config['model']} on {data['dataset']}, label {data['label']['name']}: {counts['train']:,} videos to train, "
        f"{counts['valid']:,} to validate, {counts['test']:,} to test; inputs: {', '.join(data['inputs']) or 'none'}; "
        f"seed {config['seed']}"
    )
    if result.get("memory_bank") == "not laid out":
        title += "; memory bank: not laid out"
    cost = f"{result['seconds']:.1f} s · peak memory {result['peak_memory_mb']:,.0f} MB"
    if result["parameters"]:
        cost += f" · {result['parameters']['model']:,} parameters"
    places = f"Run folder: {result['run_folder'] or '(none: saved=False)'} · log: {log_path}"
    logger.info("\n".join(["", title, "", result_table(rows), "", cost, places]))
    logger.info(set_color("best valid ", "yellow") + f": {result['best_valid_result']}")
    logger.info(set_color("test result", "yellow") + f": {result['test_result']}")
