"""Recommendation: a user encoder over item vectors, or a control, judged by ranking the catalogue."""

from __future__ import annotations

import logging
import re
from functools import cached_property
from math import sqrt
from pathlib import Path
from typing import Any

import torch

from recbole_video.config import Config
from recbole_video.controls.base import Control
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.leaks import leak_report, temporal_facts
from recbole_video.data.sequence_loaders import HistoryLoader
from recbole_video.data.tags import ItemTags, read_item_tags
from recbole_video.data.times import date_of_unix_time
from recbole_video.evaluation.groups import groups_of_targets, ranking_results_by_group
from recbole_video.evaluation.ranking import Ranking, hits_by_chance, rank_targets
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics
from recbole_video.recommendation.data import (
    Data,
    catalogue_of_widths,
    describe_data,
    load_data,
    recommendation_checkpoint_data,
)
from recbole_video.registries import CONTROLS
from recbole_video.results.beside import first_alike, runs_beside
from recbole_video.results.curve import draw_curve
from recbole_video.results.per_user import write_per_user
from recbole_video.results.targets import n_test_targets
from recbole_video.runtime.metric_names import is_share
from recbole_video.serving.control import make_control
from recbole_video.serving.recommender import Recommender, make_recommender
from recbole_video.tasks.left_out import much_left_out
from recbole_video.tasks.size import smaller_sizes, too_many_parameters, warn_of_size
from recbole_video.tasks.task import Fitted, Hooks, Task, as_config_error
from recbole_video.training.run_folder import RunFolder
from recbole_video.training.trainer import Trainer
from recbole_video.user_encoders.base import VideoRecommender

_HIT = re.compile(r"hit@\d+$")
_NO_COLD = "No target is cold under this protocol: docs/evaluation.md says how to get a test with cold videos."
_TARGETS = {
    "last": "the last action of each user",
    "first": "the first action of each user",
    "all": "all actions",
    "random": "one action of each user at random",
}
_GROUP_LABELS = {"cold": "test, {} items", "popularity": "test, popularity group {}", "tag": "test, tag {}"}


class RecommendationTask(Task[Data, VideoRecommender | Control, Ranking]):
    """Trains a user encoder with an item encoder, or fits a control in one go."""

    @classmethod
    def load(cls, config: Any) -> Data:
        """As :func:`~recbole_video.recommendation.data.load_data`."""
        return load_data(config)

    def build(self) -> VideoRecommender | Control:
        """The model, whose scoring is tried out if it is not of this package."""
        model = _build(self.config, self.data.catalogue, self.config["device"])
        if model.content is not None:
            logging.getLogger().info(f"Content: {model.content.in_words()}")
        return model

    @classmethod
    def try_to_build(cls, config: Any) -> None:
        """For a catalogue of some items with content of the stores' widths."""
        _build(config, catalogue_of_widths(config), torch.device("cpu"))

    def fit(self) -> Fitted:
        """Train by gradient, with early stopping by the validation metric, or fit in one go."""
        if isinstance(self.model, VideoRecommender):
            trainer = self.make_trainer()
            warn_of_size(self.model, len(self.data.actions.items), "action", smaller_sizes(self.config))
            return self.train(trainer, self.loaders["train"])
        control, actions = self.model, self.data.actions
        self._lay_out()
        return self.fit_in_one_go(lambda: control.fit_once(actions), recommendation_checkpoint_data(self.data))

    def _lay_out(self) -> None:
        """Make batches, metrics of the data, and groups of items; what is wrong with those is told before training."""
        self.loaders = make_loaders(self.config, self.data, self.model)
        self._metrics = RankingMetrics(self.config, self.data.catalogue.train_counts.numpy())
        _ = self._tags

    def make_trainer(self) -> Trainer:
        """Lay the batches out, and make what trains the model and judges it by the validation users."""
        self._lay_out()
        about_data = recommendation_checkpoint_data(self.data)
        return Trainer(
            self.config, self.model, lambda: self.evaluate("valid")[1], self.folder, about_data, self.log_name
        )

    @cached_property
    def _tags(self) -> ItemTags | None:
        """The items' tags, where results by tag are wanted."""
        is_wanted = "tag" in self.config["eval_groups"]
        return read_item_tags(self.config, self.data.dataset.item_tokens) if is_wanted else None

    def evaluate(self, split: str) -> tuple[Ranking, Metrics]:
        """Rank the catalogue for all histories of the split."""
        config, loader = self.config, self.loaders[split]
        self.model.eval()
        self.model.before_ranking()
        ranking = rank_targets(self.model, loader, config["device"], self._metrics.n_top, config["show_progress"])
        return ranking, self._metrics.average(ranking)

    def describe(self, test: Ranking) -> dict[str, Any]:
        """Results by group, what ties do to them, parameters, data."""
        config = self.config
        return {
            "ties": self._metrics.ties(test),
            "chance": hits_by_chance(test, config["topk"]),
            "groups": ranking_results_by_group(
                test, self._metrics, config["eval_groups"], config["cold_item_threshold"], self._tags
            ),
            "parameters": self.model.parameter_counts(),
            **({"control": self.fitted.notes} if self.model.is_fitted_once() else {}),
            "data": describe_data(config, self.data, self.model.content),
        }

    def rows(self, result: dict[str, Any]) -> list[tuple[str, Metrics]]:
        """Validation, test, the test with equal scores in random order where that differs, each group of the test."""
        valid = f"valid (epoch {result['best_epoch']})" if result["best_epoch"] else "valid"
        return [(valid, result["best_valid_result"]), *rows_of_test(result)]

    def title(self, result: dict[str, Any]) -> str:
        """Models, data set and protocol."""
        config, data = self.config, result["data"]
        encoder = f" + {config['item_encoder']}" if "item_encoder" in config else ""
        return (
            f"{config['model']}{encoder} on {data['dataset']}: {data['test_users']:,} users, "
            f"full ranking of {data['items']:,} items, protocol {shown_protocol(data)}, seed {config['seed']}"
        )

    def scale(self, result: dict[str, Any]) -> list[str]:
        """What one hit, chance and the sample make of a hit rate, as :func:`scale_of_test`."""
        return [*scale_of_test(result, smaller_sizes(self.config)), *self._beside(result)]

    def _beside(self, result: dict[str, Any]) -> list[str]:
        """The best control of the same data in the folder of runs, if there is any; nothing for a control."""
        if result["run_folder"] is None or "control" in result or self.hooks != Hooks():
            return []
        config, metric = self.config, self.config["valid_metric"]
        options = {name: config[name] for name in ("mask_history", "eval_args")}
        bigger, folder = config["valid_metric_bigger"], Path(result["run_folder"])
        found = runs_beside(folder, list(CONTROLS), result["data"], metric.lower(), bigger, options)
        if not found:
            return []
        best = first_alike(found) or found[0]
        return [best.told(metric, f"{100 * best.value:.2f}" if is_share(metric.lower()) else f"{best.value:.4f}")]

    def write(self, folder: RunFolder, test: Ranking, result: dict[str, Any]) -> None:
        """The curve, and each user's rank and metrics where they are asked for."""
        fitted, dataset = self.fitted, self.data.dataset
        if fitted.history:
            draw_curve(fitted.history, self.config["valid_metric"], fitted.best_epoch or 0, folder.curve)
        if self.config["save_per_user"]:
            wanted, threshold = self.config["eval_groups"], self.config["cold_item_threshold"]
            groups = groups_of_targets(test.targets, self._metrics.train_counts, wanted, threshold)
            tokens = (dataset.user_tokens, dataset.item_tokens)
            write_per_user(folder.per_user, test, self._metrics, tokens, groups)

    @classmethod
    def leaks(cls, config: Any) -> dict[str, Any]:
        """Of the protocol's split, and what its cuts leave on each side where it has any; it needs no content."""
        actions = load_data(config, with_content=False).actions
        return {"protocol": config["protocol"], **leak_report(actions), **temporal_facts(actions)}

    @classmethod
    def open(cls, config: Config, state: dict[str, Any], path: Path) -> Recommender:
        """Make the recommender of a checkpoint's ``state``."""
        make = make_control if config.model_class.is_fitted_once() else make_recommender
        return make(config, state, path)


def _build(config: Any, catalogue: Catalogue, device: torch.device) -> VideoRecommender | Control:
    with as_config_error(f"{config['model']} cannot be built with these options"):
        model: VideoRecommender | Control = config.model_class(config, catalogue).to(device)
        if isinstance(model, VideoRecommender) and not _is_shipped(type(model)):
            model.check_scoring()
    return model


def make_loaders(config: Any, data: Data, model: VideoRecommender | Control) -> dict[str, Any]:
    """Batches to train (a :class:`SequenceLoader`), validate and test on (:class:`HistoryLoader`), by split.

    A control has none to train on.
    """
    split, n_items = data.actions.split, data.catalogue.item_num
    valid, test = (
        HistoryLoader(config, data.actions, rows, n_items, trim=model.ignores_padding)
        for rows in (split.valid, split.test)
    )
    judged = {"valid": valid, "test": test}
    if not isinstance(model, VideoRecommender):
        return judged
    return {"train": model.loader(config, data.actions, model.content), **judged}


def shown_protocol(data: dict[str, Any]) -> str:
    """The protocol in words: its name, and of cuts in time where they are and what is behind them."""
    temporal = data.get("temporal")
    if not temporal:
        return str(data["protocol"])
    dates = temporal.get("dates") or [date_of_unix_time(cut) for cut in temporal["cuts"]]
    cuts = [
        f"{date} UTC ({cut:.15g})" if date else f"{cut:.15g}" for cut, date in zip(temporal["cuts"], dates, strict=True)
    ]
    targets = f"{temporal['test_targets']:,} targets: {_TARGETS[temporal['target']]}"
    return f"{data['protocol']} (cut at {' and '.join(cuts)}; {targets})"


def rows_of_test(result: dict[str, Any]) -> list[tuple[str, Metrics]]:
    """The test, what it is on average if chance orders equal scores, where that is something else, and each group."""
    test, expected = result["test_result"], result.get("ties", {}).get("expected", {})  # an older run has none
    differs = any(test[name] != value for name, value in expected.items())
    rows = [("test", test), *([("test, equal scores in random order", expected)] if differs else [])]
    for kind, groups in result["groups"].items():
        label = _GROUP_LABELS[kind]
        rows += [(label.format(name), values) for name, values in groups.items()]
    return rows


def scale_of_test(result: dict[str, Any], smaller: str = "") -> list[str]:
    """What one hit, chance and the sample make of a hit rate: what there is to hold the test against.

    By chance, a target stands among the first k of the n items that are ranked for its user with k / n; the standard
    error is that of a share of users, and not told where a user has several targets, which are not independent.
    """
    data, groups = result["data"], result.get("groups") or {}
    remarks = [*_what_is_left_out(data), *_what_leaks(data)]
    cold = [_NO_COLD] if (groups.get("cold") or {}).get("cold", {}).get("users") == 0 else []
    n, n_items = n_test_targets(data), data["items"]
    shares = {int(key.partition("@")[2]): value for key, value in result["test_result"].items() if _HIT.match(key)}
    if not (shares and n and n_items):
        return [*cold, *remarks]
    k, share = min(shares.items())
    error = f", the standard error {100 * sqrt(share * (1 - share) / n):.2f}" if n == data["test_users"] else ""
    chance = (result.get("chance") or {}).get(f"hit@{k}", min(1, k / n_items))  # an older result has none
    lines = [f"HR@{k}: one hit is {100 / n:.2g} points{error}; by chance {100 * chance:.2f}"]
    if most := sorted(k for k in shares if k > n_items / 10):
        says = ("ranks", "it says") if len(most) == 1 else ("rank", "they say")
        shown = " and ".join(f"HR@{k}" for k in most)
        lines.append(f"{shown} {says[0]} more than a tenth of the catalogue: {says[1]} little.")
    n_parameters, n_actions = (result.get("parameters") or {}).get("model", 0), data.get("interactions") or 0
    return [*lines, *too_many_parameters(n_parameters, n_actions, "action", smaller), *cold, *remarks]


def _what_is_left_out(data: dict[str, Any]) -> list[str]:
    """The actions on videos without content, where they are a large share of all."""
    dropped = data.get("dropped_interactions") or {}
    n = (data.get("interactions") or 0) + sum(dropped.values())  # they are the first that are left out
    why = "missing_items=drop, as actions on videos without content"
    instead = "missing_items=zero keeps them, and with it id_fusion=sum tells such videos apart by their ids."
    return much_left_out(dropped.get("missing items", 0), n, "actions", why, instead)


def _what_leaks(data: dict[str, Any]) -> list[str]:
    """Test targets that are repeats, and those whose items train later, which a cut in time would rule out.

    An older result does not say; where the data have no times, nobody knows.
    """
    leaks = data.get("leaks") or {}
    repeats, later = leaks.get("repeats"), None if data.get("temporal") else leaks.get("item_trained_later")
    parts = [f"{_percent(repeats)} repeat what their user had acted on before"] if repeats else []
    parts += [f"{_percent(later)} are of items with later training actions"] if later else []
    return [f"Of the test targets {', and '.join(parts)}: docs/tasks/what-may-leak.md."] if parts else []


def _percent(share: float) -> str:
    """A share above 0, of which none is told as 0 % and only the whole as 100 %."""
    if share >= 1:
        return "100 %"
    return f"{min(100 * share, 99.9):.1f} %" if share >= 0.001 else "less than 0.1 %"


def _is_shipped(cls: type) -> bool:
    """Whether a class is this package's own, which its tests know to score by a dot product."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]
