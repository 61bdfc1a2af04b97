"""What a configuration does for each kind of model; :func:`kind_of` alone asks of which kind a model is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from recbole.evaluator import metric_types
from recbole.utils import EvaluatorType, InputType, ModelType, dataset_arguments

from recbole_video.config.given import Given
from recbole_video.config.kind import Declaring, Kind
from recbole_video.config.layers import layer, named_layer
from recbole_video.data.atomic_file import read_header
from recbole_video.data.labelled_loader import check_batch_fields
from recbole_video.data.protocols import PROTOCOLS
from recbole_video.errors import ConfigError
from recbole_video.options.content import check_content, check_fusion, chosen_content, reads_several
from recbole_video.options.option import Option, declared
from recbole_video.options.run import RunOptions
from recbole_video.registries import CONTROLS, ITEM_ENCODERS, LISTS, OTHER_MODELS, POPULARITY_MODELS, USER_ENCODERS
from recbole_video.runtime.metric_names import not_computed

_EVAL_BATCH = {True: 2048, False: 128}  # on a GPU, on a CPU
_DEFAULT_NEGATIVES = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}
# What RecBole evaluates by itself for models of clicks: its own defaults stay.
_OF_RANKING = frozenset(["metrics", "topk", "valid_metric", "eval_args"])


class RecBolesOwn(Kind):
    """Models of RecBole's own, which have its options and its data sets."""

    task = "stock"
    registry = OTHER_MODELS

    def declared(self, model_type: ModelType) -> dict[str, Option]:
        is_of_clicks = model_type in (ModelType.CONTEXT, ModelType.DECISIONTREE)
        without = _OF_RANKING if is_of_clicks else frozenset()
        return {name: option for name, option in declared(RunOptions).items() if name not in without}

    def _keys_of_datasets(self, defaults: Mapping[str, Any]) -> set[str]:
        return set(dataset_arguments)

    def _add_own_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        """RecBole's default asks for negatives that its default loss, the softmax, then refuses."""
        loss_type = given.get("loss_type", defaults.get("loss_type"))
        if loss_type == "CE" and "train_neg_sample_args" not in given:
            defaults["train_neg_sample_args"] = None

    def check_given(self, config: Any, values: Mapping[str, Any]) -> None:
        """RecBole checks its options by itself."""

    def complete(self, config: Any, values: dict[str, Any], device: torch.device) -> None:
        """Let the models read the times too, which they split by; RecBole loads two columns by default."""
        if "load_col" in config.given or "load_col" in self.dataset_layer:
            return
        path = Path(values["data_path"], config.dataset, f"{config.dataset}.inter")
        if path.is_file():
            known = {field.name for field in read_header(path, values["field_separator"])}
            wanted = (values[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "RATING_FIELD"))
            values["load_col"] = {"inter": [name for name in wanted if name in known]}

    def check(self, config: Any) -> None:
        """Refuse a metric to choose by that the model is not judged by."""
        computed = _computed(config["metrics"], config["topk"])
        if str(config["valid_metric"]).lower() not in computed:
            raise not_computed(config["valid_metric"], computed, "extend metrics and topk")


class PopularityModels(Declaring):
    """Models of popularity."""

    task = "popularity"
    registry = POPULARITY_MODELS
    default_dataset = "popularity-demo"

    def _add_own_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        """The model's variant, its hyper-parameters for a data set, and what both together change."""
        for kind, plain_one in (("variant", "paper"), ("preset", None)):
            name = given.get(kind, defaults.get(kind))
            if kind in defaults and name not in (None, plain_one):
                defaults |= self._named_layer(kind, str(name))
        of_both = f"{self.model}-{defaults.get('variant')}-{defaults.get('preset')}"
        defaults |= layer(f"preset_of_variant/{of_both}.yaml")

    def _named_layer(self, kind: str, name: str) -> dict[str, Any]:
        """What a variant or preset changes; one that the class lists in a ``Literal`` needs no file."""
        choices = declared(self.model_class.Options)[kind].choices
        if not choices:
            return named_layer(kind, self.model, name)
        return {kind: name, **layer(f"{kind}/{self.model}-{name}.yaml")} if name in choices else {}

    def _of_training(self, options: Mapping[str, Any]) -> frozenset[str]:
        return super()._of_training(options) if self.model_class.is_fitted_once(options) else frozenset()

    def complete(self, config: Any, values: dict[str, Any], device: torch.device) -> None:
        """Nothing follows."""

    def _check_content(self, config: Any, is_of_before: bool) -> None:
        read = self.inputs_read(config) - {"metadata"}
        # Frames and text may leave videos out of the data of a model that reads neither.
        check_content(config, read | {"frames", "text"} if read or not is_of_before else None, read)
        check_batch_fields(name for name in chosen_content(config) if name in read)

    def inputs_read(self, options: Mapping[str, Any]) -> frozenset[str]:
        return self.model_class.reads(options)


class Ranking(Declaring):
    """What ranks a catalogue, on the data and by the evaluation of this package."""

    def _keys_of_datasets(self, defaults: Mapping[str, Any]) -> set[str]:
        return set(defaults) - {"preset"}  # what a data set names is STAP's

    def _add_own_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        """A publication's settings for all recommenders, and those of the user encoder under its name in `models`."""
        if (name := given.get("preset")) is not None:
            found = named_layer("preset", self.task, str(name))
            of_models = found.pop("models", {})
            defaults |= {**found, **of_models.get(self.model, {})}

    def complete(self, config: Any, values: dict[str, Any], device: torch.device) -> None:
        if "load_col" not in config.given:
            values["load_col"] = {"inter": [values[f"{kind}_FIELD"] for kind in ("USER_ID", "ITEM_ID", "TIME")]}
        values["train_neg_sample_args"] = _negatives(values.get("loss_type"), values["train_neg_sample_args"])
        if values["eval_batch_size"] is None:
            values["eval_batch_size"] = _EVAL_BATCH[device.type == "cuda"]
        if values["mask_history"] is None:
            values["mask_history"] = PROTOCOLS[values["protocol"]].masks_history
        if (free_width := self._free_width(values)) is not None:
            values[free_width] = config.given.get(free_width)

    def for_host(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Whether batches hold pairs, which follows from the loss here."""
        pairwise = values.get("loss_type") == "BPR"
        return {"MODEL_INPUT_TYPE": InputType.PAIRWISE if pairwise else InputType.POINTWISE}

    def filters_by_content(self, options: Mapping[str, Any]) -> bool:
        """With ``missing_items=drop``, so that all are tested on the same users."""
        return not self.inputs_read(options) and options["missing_items"] == "drop"

    def _check_content(self, config: Any, is_of_before: bool) -> None:
        check_content(config)


class Controls(Ranking):
    """Controls of recommendation, which are not trained and have no item encoder."""

    task = "recommendation"
    registry = CONTROLS

    def add_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        defaults["train_neg_sample_args"] = None
        super().add_layers(defaults, given)

    def inputs_read(self, options: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(chosen_content(options)) if self.model_class.reads_content(options) else frozenset()


class Encoding(Ranking):
    """What names an item encoder, which says what content is read."""

    encoder: type

    def _chosen_encoder(self, given: Given) -> str:
        default = declared(self.model_class.Options)["item_encoder"].default
        name = given.choosing.get("item_encoder")
        name = str(self.dataset_layer.get("item_encoder", default) if name is None else name)
        given.check_class_of_a_file("item_encoder", name, [ITEM_ENCODERS])
        return name

    def declared(self, model_type: ModelType) -> dict[str, Option]:
        return super().declared(model_type) | declared(self.encoder)

    @property
    def shown(self) -> str:
        return f"{super().shown}, item encoder {self.encoder_name}"

    def _check_content(self, config: Any, is_of_before: bool) -> None:
        super()._check_content(config, is_of_before)
        check_fusion(config, is_of_before)
        if config["content"] is not None and not self.inputs_read(config):
            raise ConfigError(
                f"`content` is what an item encoder reads, and item_encoder={config['item_encoder']} reads ids alone; "
                "leave it out, or choose another item encoder."
            )

    def keeps_frame_dim(self, options: Mapping[str, Any]) -> bool:
        return getattr(self.encoder, "keeps_frame_dim", False) and not reads_several(options)

    def inputs_read(self, options: Mapping[str, Any]) -> frozenset[str]:
        return frozenset(chosen_content(options)) if getattr(self.encoder, "reads_frames", True) else frozenset()


class Recommenders(Encoding):
    """A user encoder over the vectors of an item encoder, trained by gradient."""

    task = "recommendation"
    registry = USER_ENCODERS

    def _free_width(self, options: Mapping[str, Any]) -> str | None:
        return self.model_class.width_option if self.keeps_frame_dim(options) else None


class RankedLists(Encoding):
    """Lists of another program; the item encoder says which items its runs leave out."""

    task = "lists"
    registry = LISTS


def kind_of(model_class: Any) -> type[Kind]:
    """The kind of a model, by the mark that its base class bears; what bears none is RecBole's own."""
    if getattr(model_class, "is_popularity_model", False):
        return PopularityModels
    if getattr(model_class, "is_ranked_lists", False):
        return RankedLists
    if not getattr(model_class, "is_video_model", False):
        return RecBolesOwn
    is_fitted_once = getattr(model_class, "is_fitted_once", bool)  # what only looks like a model, a registry refuses
    return Controls if is_fitted_once() else Recommenders


def _negatives(loss_type: str | None, given: Any) -> Any:
    """Negatives to draw for a loss of pairs; no other loss has any."""
    if loss_type == "BPR":
        if isinstance(given, dict) and given.get("dynamic"):
            raise ConfigError("`train_neg_sample_args` dynamic is not available for video models; leave it out.")
        return dict(_DEFAULT_NEGATIVES) if given is None else given
    if given is not None:
        raise ConfigError(f"`train_neg_sample_args` belongs to loss_type=BPR, not to {loss_type}.")
    return None


def _computed(metrics: list[str], topk: list[int]) -> list[str]:
    """Keys of the results that RecBole computes: metrics of lists at each cut-off, others once."""
    of_lists = {name for name, kind in metric_types.items() if kind is EvaluatorType.RANKING} - {"gauc"}
    names = [name.lower() for name in metrics]
    at_k = [f"{name}@{k}" for name in names if name in of_lists for k in topk]
    return at_k + [name for name in names if name not in of_lists]
