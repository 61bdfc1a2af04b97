"""Popularity prediction: one number per video, judged once over a split."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_video.config import Config
from recbole_video.content.items import content_stores
from recbole_video.content.store import FrameStore
from recbole_video.data.labelled import SPLITS, PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader, sample_rows
from recbole_video.errors import counted
from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import (
    PopularityMetrics,
    Predictions,
    groups_of_videos,
    predict_all,
    regression_results_by_group,
    standard_error_of_mae,
)
from recbole_video.evaluation.regression_metrics import interval_of_src
from recbole_video.files.atomic import write_text
from recbole_video.files.values import plain
from recbole_video.popularity import figures
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.registries import POPULARITY_MODELS
from recbole_video.results.beside import first_alike, runs_beside
from recbole_video.results.curve import draw_curve
from recbole_video.serving.predictor import PopularityPredictor, make_predictor
from recbole_video.tasks.left_out import much_left_out
from recbole_video.tasks.size import smaller_sizes, too_many_parameters, warn_of_size
from recbole_video.tasks.task import Fitted, Hooks, Task, as_config_error
from recbole_video.training.run_folder import RunFolder
from recbole_video.training.trainer import Trainer

_FEW_VIDEOS = 20
_FEW_CATEGORIES = 2  # of a column that stands in for those of a data set

_OF_INPUTS = (
    "author_history", "metadata", "metadata_numeric", "metadata_categorical", "metadata_log1p", "train_share"
)  # fmt: skip
_OPTION_OF_DROPPED = {
    "without frames": "missing_items",
    "without text": "missing_text",
    "without content": "missing_items",
}


class PopularityTask(Task[PopularityDataset, PopularityModel, Predictions]):
    """Trains a popularity model by gradient, or fits it in one go."""

    @classmethod
    def load(cls, config: Any) -> PopularityDataset:
        """The labelled videos with what the model reads of them."""
        return PopularityDataset(config)

    def build(self) -> PopularityModel:
        """Make the model for the sizes of the data set's inputs, and log its parameters."""
        config = self.config
        _log_missing_inputs(self.data, config)
        model = _build(config, input_shape(self.data, config), config["device"])
        counts = model.parameter_counts()
        if counts:
            shown = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in counts.items())
            logging.getLogger().info(f"Parameters: {shown}")
        return model

    @classmethod
    def try_to_build(cls, config: Any) -> None:
        """For inputs of the stores' widths and, where they are read, some metadata."""
        _build(config, _shape_of_widths(config), torch.device("cpu"))

    def fit(self) -> Fitted:
        """Train by gradient, or fit in one go."""
        self._metrics = PopularityMetrics(self.config)
        return self._fit_once() if self.model.is_fitted_once(self.config) else self._train()

    def _train(self) -> Fitted:
        config, data, model = self.config, self.data, self.model
        shown = sample_rows(data.rows["train"], model.n_shown_between_epochs, config["seed"])
        trainer = Trainer(
            config,
            model,
            lambda: self.evaluate("valid")[1],
            self.folder,
            popularity_checkpoint_data(data, model.inputs),
            self.log_name,
            PopularityLoader(config, data, shown, shuffle=False),
        )
        warn_of_size(model, len(data.rows["train"]), "training video", self._smaller())
        return self.train(trainer, PopularityLoader(config, data, data.rows["train"], shuffle=True))

    def _fit_once(self) -> Fitted:
        train, valid = self._condensed("train"), self._condensed("valid")
        if self.model.is_transductive(self.config):
            self.model.take_unlabelled(self._condensed("test", labelled=False))
        about_data = popularity_checkpoint_data(self.data, self.model.inputs)
        return self.fit_in_one_go(lambda: self.model.fit_once(train, valid), about_data)

    def _condensed(self, split: str, labelled: bool = True) -> Batch:
        """What the model is fitted to of a split, gathered batch by batch."""
        left_out = () if labelled else ("label",)
        batches = ({name: batch[name] for name in batch if name not in left_out} for batch in self._batches(split))
        parts = [self.model.condensed(batch) for batch in batches]
        return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def evaluate(self, split: str) -> tuple[Predictions, Metrics]:
        """Predict the videos of the split; metrics are of all together."""
        config = self.config
        found = predict_all(self.model, self._loader(split), config["device"], config["show_progress"])
        return found, self._metrics.compute(found)

    def describe(self, test: Predictions) -> dict[str, Any]:
        """Parameters, what the model says of itself, results by group, data."""
        folder = None if self.folder is None else self.folder.path
        inside = self.model.look_inside(self._batches, self.data.items, self.fitted.best_epoch or 0, folder)
        return {
            "parameters": self.model.parameter_counts(),
            **self._about_fit(),
            **plain(inside),
            "standard_errors": {"mae": standard_error_of_mae(test)},
            "groups": regression_results_by_group(test, self.data, self.config),
            "data": self.data.summary(),
        }

    def _about_fit(self) -> dict[str, Any]:
        """What a model that is fitted in one go says of it: under ``control`` where others are read against it."""
        if not self.model.is_fitted_once(self.config):
            return {}
        return {"control" if self.model.serves_as_control else "fit": self.fitted.notes}

    def rows(self, result: dict[str, Any]) -> list[tuple[str, Metrics]]:
        """Validation, test, and each group of the test."""
        valid = f"valid (epoch {result['best_epoch']})" if result["best_epoch"] else "valid"
        rows = [(valid, result["best_valid_result"]), ("test", result["test_result"])]
        cold = result["groups"].get("cold_start", {})
        if cold.get("videos"):
            threshold = self.config["cold_author_threshold"]
            rows.append((f"test, {cold['videos']:,} by authors with at most {counted(threshold, 'video')}", cold))
        groups = result["groups"].get("popularity", {})
        return rows + [(f"test, popularity {name}", values) for name, values in groups.items()]

    def title(self, result: dict[str, Any]) -> str:
        """Model, data set, videos and inputs."""
        config, data, counts = self.config, result["data"], result["data"]["rows"]
        title = (
            f"{config['model']} on {data['dataset']}, label {data['label']['name']}: {counts['train']:,} videos to "
            f"train, {counts['valid']:,} to validate, {counts['test']:,} to test; inputs: "
            f"{', '.join(data['inputs']) or 'none'}; seed {config['seed']}"
        )
        remark = config.model_class.remark(result)
        return f"{title}; {remark}" if remark else title

    def scale(self, result: dict[str, Any]) -> list[str]:
        """How far the test may be off, and what there is too little of, as :func:`scale_of_videos`."""
        is_of_whole = self.config["metric_batching"] != "batch_mean"
        return [*scale_of_videos(result, is_of_whole, self._smaller()), *self._beside(result)]

    def _smaller(self) -> str:
        """Options that make the model smaller; a width that is left empty is that of the frames."""
        model = getattr(self, "model", None)  # none is made to show the result of a finished run
        return smaller_sizes(self.config, {} if model is None else {"hidden_size": model.inputs.frame_dim})

    def _beside(self, result: dict[str, Any]) -> list[str]:
        """The best control of the same data in the folder of runs, or which to run; nothing of what is compared there.

        Controls are not told of others, and a run that is one of several is read in their report.
        """
        if result["run_folder"] is None or self.config.model_class.serves_as_control or self.hooks != Hooks():
            return []
        controls = [name for name in POPULARITY_MODELS if POPULARITY_MODELS.get(name).serves_as_control]
        metric, bigger = self.config["valid_metric"], self.config["valid_metric_bigger"]
        options = {name: self.config[name] for name in _OF_INPUTS if name in self.config}
        found = runs_beside(Path(result["run_folder"]), controls, result["data"], metric.lower(), bigger, options)
        if found:
            alike = first_alike(found)
            lines = [found[0].told(metric, f"{found[0].value:.4f}")]
            if alike is not None and alike is not found[0]:
                lines.append(alike.told(metric, f"{alike.value:.4f}", "The best with no other inputs than this run's"))
            return lines
        told = ", ".join(f"--model={name}" for name in controls)
        return [f"No control was run on these data beside it ({told}): one with the same options of data tells more."]

    def write(self, folder: RunFolder, test: Predictions, result: dict[str, Any]) -> None:
        """Write ``predictions.tsv``, and the figures of predictions, training and model, as the options ask."""
        config, history = self.config, self.fitted.history or []
        if config["save_predictions"]:
            groups = groups_of_videos(test, self.data, config)
            _write_predictions(folder.predictions, self.data.items, test, groups)
        if not config["figures"]:
            return
        label = result["data"]["label"]["name"]
        figures.draw_scatter(test, result["test_result"], folder.path / "predictions.png", label)
        if history:
            loss = self.model.loss_name()
            best, milestones = result["best_epoch"], self.model.milestones()
            draw_curve(history, config["valid_metric"], best, folder.curve, loss, milestones)
        self.model.draw(history, folder.path)

    @classmethod
    def open(cls, config: Config, state: dict[str, Any], path: Path) -> PopularityPredictor:
        """Make the predictor of a checkpoint's ``state``."""
        return make_predictor(config, state, path)

    def _loader(self, split: str) -> PopularityLoader:
        """Batches of the videos of a split in their order, in the CPU's memory."""
        fitted_once = self.model.is_fitted_once(self.config)
        at_once = fitted_once and not self.model.condenses()  # row by row, a product's last digits are others
        rows = self.data.rows[split]
        return PopularityLoader(self.config, self.data, rows, shuffle=False, at_once=at_once, in_double=fitted_once)

    def _batches(self, split: str) -> Iterator[Batch]:
        """The batches of a split in the order of its videos, on the device of the run."""
        return (batch.to(self.config["device"]) for batch in self._loader(split))


def _build(config: Any, inputs: InputShape, device: torch.device) -> PopularityModel:
    with as_config_error(f"{config['model']} cannot be built with these options"):
        model: PopularityModel = config.model_class(config, inputs).to(device)
    return model


def scale_of_videos(result: dict[str, Any], is_of_whole: bool = True, smaller: str = "") -> list[str]:
    """How many test videos there are, how far MAE and SRC may be off, and which numbers rest on few.

    Args:
        result: That of a run; an older one has no standard errors.
        is_of_whole: Whether metrics are of all test videos at once, and not means over batches.
        smaller: Options that make the model smaller, as words of the command line.
    """
    rows, test = result["data"]["rows"], result["test_result"]
    n, error = rows["test"], (result.get("standard_errors") or {}).get("mae")
    about = [f"standard error of MAE {error:.4f}"] if error is not None and "mae" in test else []
    ends = interval_of_src(test["src"], n) if is_of_whole and test.get("src") is not None else None
    about += [f"SRC 95 % about {ends[0]:.2f} to {ends[1]:.2f}"] if ends else []
    lines = [f"{counted(n, 'test video')}{': ' * bool(about)}{', '.join(about)}"]
    if few := _of_few(result, n):
        lines.append(f"Fewer than {_FEW_VIDEOS} videos: {', '.join(few)}. Chance decides such numbers.")
    n_parameters = (result.get("parameters") or {}).get("model", 0)
    lines += too_many_parameters(n_parameters, rows["train"], "training video", smaller)
    return lines + _what_is_left_out(result["data"])


def _what_is_left_out(data: dict[str, Any]) -> list[str]:
    """The labelled videos without content, where they are a large share of all."""
    lacks = {why: n for why, n in (data.get("dropped") or {}).items() if why in _OPTION_OF_DROPPED and n}
    options = " and ".join(sorted({_OPTION_OF_DROPPED[why] for why in lacks}))
    why = f"{options}=drop ({', '.join(lacks)})"
    n_kept = sum(data["rows"].values())
    return much_left_out(
        sum(lacks.values()), n_kept + sum(lacks.values()), "labelled videos", why, f"With {options}=zero they are kept."
    )


def _of_few(result: dict[str, Any], n_test: int) -> list[str]:
    """Parts of the test that hold too few videos to tell anything, the whole first."""
    groups = result.get("groups") or {}
    sizes = {"the test": n_test, "authors with few videos": groups.get("cold_start", {}).get("videos", 0)}
    sizes |= {f"popularity {name}": group["videos"] for name, group in groups.get("popularity", {}).items()}
    return [f"{name} has {n:,}" for name, n in sizes.items() if 0 < n < _FEW_VIDEOS]


def _log_missing_inputs(dataset: PopularityDataset, config: Config) -> None:
    """Warn of videos whose frames or text are read as zeros, split by split, and tell of stores that are not there."""
    logger = logging.getLogger()
    for kind, missing in dataset.read_as_zeros.items():
        if any(missing.values()):
            shown = ", ".join(f"{n:,} of {len(dataset.rows[split]):,} in {split}" for split, n in missing.items())
            logger.warning(f"Videos without {kind}, read as zeros: {shown}.")
    for path in dataset.absent:
        logger.info(
            f"There is no `{path}`. {config['model']} does not read it and runs on all labelled videos; a model that "
            "reads it runs only on the videos that it holds."
        )


def input_shape(dataset: PopularityDataset, config: Any) -> InputShape:
    """Sizes of the data set's inputs; mean and spread of its training labels."""
    labels = dataset.labels[dataset.rows["train"]]
    stored = 0 if dataset.frames is None else dataset.frames.store.n_frames
    others = {name: table for name, table in dataset.content.tables.items() if name not in ("frames", "text")}
    return InputShape(
        frame_dim=0 if dataset.frames is None else dataset.frames.frame_dim,
        n_frames=stored if config["n_frames"] is None else min(stored, config["n_frames"]),
        text_dim=0 if dataset.text is None else dataset.text.frame_dim,
        n_numeric=0 if dataset.metadata is None else dataset.metadata.numeric.shape[1],
        n_categories=() if dataset.metadata is None else tuple(dataset.metadata.n_categories),
        label_mean=float(labels.mean()),
        label_std=float(labels.std()),
        other_dims={name: table.frame_dim for name, table in others.items()},
        other_weights=_weights_of({name: table.store for name, table in others.items()}),
    )


def _weights_of(stores: Mapping[str, FrameStore]) -> dict[str, str]:
    """SHA-256 of the weights that made each store, where it says so."""
    return {name: store.made_by for name, store in stores.items() if store.made_by}


def _shape_of_widths(config: Any) -> InputShape:
    """Sizes of the inputs as their stores have them, where those are there; of metadata one number and one column."""
    reads, paths = config.inputs_read, content_stores(config)
    stores = {name: FrameStore(path) for name, path in paths.items() if name in reads and path.is_file()}
    dims = {name: store.frame_dim for name, store in stores.items()}
    stored = stores["frames"].n_frames if "frames" in stores else 0
    has_metadata = config["use_metadata"] and "metadata" in reads
    return InputShape(
        frame_dim=dims.pop("frames", 0),
        n_frames=stored if config["n_frames"] is None else min(stored, config["n_frames"]),
        text_dim=dims.pop("text", 0),
        n_numeric=int(has_metadata),
        n_categories=(_FEW_CATEGORIES,) if has_metadata else (),
        other_dims=dims,
        other_weights=_weights_of({name: stores[name] for name in dims}),
    )


def popularity_checkpoint_data(dataset: PopularityDataset, inputs: InputShape) -> dict[str, Any]:
    """What the checkpoint of a popularity model must hold to be used without the data, as plain values."""
    return plain(
        {
            "inputs": inputs.as_plain(),
            "metadata": None if dataset.metadata is None else dataset.metadata_encoder.state(),
            "evaluated": [str(dataset.items[row]) for split in SPLITS[1:] for row in dataset.rows[split]],
            "content": dataset.content.origins(),
            "label": dataset.summary()["label"],
        }
    )


def _write_predictions(path: Path, items: np.ndarray, test: Predictions, groups: dict[str, np.ndarray]) -> None:
    """A line per test video: its label, its prediction, and the groups that it is in."""
    rows = zip(items[test.rows], test.labels.tolist(), test.values.tolist(), strict=True)
    lines = ["\t".join(["item_id", "label", "prediction", *groups])]
    for i, (item, label, value) in enumerate(rows):
        lines.append("\t".join([str(item), repr(label), repr(value), *(str(group[i]) for group in groups.values())]))
    write_text(path, "\n".join(lines) + "\n")
