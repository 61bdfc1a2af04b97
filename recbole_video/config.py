"""The configuration: RecBole's own, with our defaults and without silence.

Later layers win: RecBole's defaults < properties/overall.yaml < properties/<task>.yaml < model <
item encoder < data set < variant < preset < preset of that variant < config files < config_dict < command line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from copy import deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import recbole
import torch
from recbole.config import Config as RecBoleConfig
from recbole.utils import InputType, ModelType, dataset_arguments, get_model

from recbole_video.content_options import reads_several
from recbole_video.data.atomic_file import read_header
from recbole_video.errors import ConfigError, nearest
from recbole_video.evaluation.regression_metrics import register as register_popularity_metrics
from recbole_video.files.names import is_plain_name
from recbole_video.files.reading import SafeLoader, read_yaml
from recbole_video.files.values import plain
from recbole_video.item_encoders import ITEM_ENCODERS
from recbole_video.option_checks import check_shared, check_video_options
from recbole_video.options import (
    ENCODER_PREFIX,
    check_value,
    constructor_options,
    convert_given,
    parse_command_line,
    split_paths,
)
from recbole_video.popularity import POPULARITY_MODELS
from recbole_video.popularity.option_checks import check_popularity_options
from recbole_video.registry import Registry, Trust, class_path, import_class, refuse_untrusted
from recbole_video.runtime import recbole_compat
from recbole_video.runtime.devices import choose_device, listed
from recbole_video.text_options import MAY_BE_EMPTY, TEXT_LISTS, TEXT_OPTIONS, expand_home, keep_text, text_from_value
from recbole_video.user_encoders import USER_ENCODERS

DEFAULT_MODEL = "SASRec"
DEFAULT_DATASET = {"recommendation": "microvideo-demo", "popularity": "popularity-demo", "stock": "microvideo-demo"}
STOCK_PREFIX = "recbole:"

_STOCK_PROPERTIES = Path(recbole.__file__).parent / "properties" / "model"

# Options that RecBole or this package reads and that no properties file lists.
_RUNTIME_OPTIONS = frozenset([
    "model", "dataset", "config_files", "config_file", "data_path", "tail_ratio", "encoding", "valid_metric_bigger",
    "nproc", "ip", "port", "world_size", "group_offset", "offset", "local_rank", "neg_sampling",
    "training_neg_sample_num",
])  # fmt: skip
# What RecBole's own checks raise, on values of another kind too; RuntimeError is that of nesting too.
_REFUSALS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
_OTHER_MODELS: Registry = Registry("model", {}, ("recbole.model.abstract_recommender:AbstractRecommender",))
MODEL_REGISTRIES = (USER_ENCODERS, POPULARITY_MODELS, _OTHER_MODELS)
_EVAL_BATCH = {True: 2048, False: 128}  # on a GPU, on a CPU
_DEFAULT_NEGATIVES = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}


class Config(RecBoleConfig):
    """RecBole's ``Config`` with this package's layers, that refuses what it does not know.

    Args:
        model: A model of this package, any of RecBole's, ``recbole:<name>`` for RecBole's own
            version of a model that both have, or a model class.
        dataset: Name of the folder of atomic files under ``data_path``.
        config_file_list: YAML files, the last one winning.
        config_dict: Options.
        command_line: Words as in ``sys.argv[1:]``. RecBole reads ``sys.argv`` by itself; here the
            caller hands it over, so that a program's own flags are not taken for options. ``--trust`` is read from
            here alone.
        trust: Whether a class that a file names as ``module:Class``, which nobody registered, may be imported: True,
            or the classes that may, as in :func:`recbole_video.load_model`.
        is_stored: ``config_dict`` was read from a file, too.

    Raises:
        ConfigError: If an option is unknown or has a value that cannot be used, all unknown
            options are named at once; or if a file names a class that is not trusted.
    """

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str | Path] | None = None,
        config_dict: dict[str, Any] | None = None,
        command_line: Sequence[str] = (),
        trust: Trust = False,
        is_stored: bool = False,
    ) -> None:
        self._command_line = tuple(command_line)
        self._trust, self._is_stored = trust, is_stored
        self._files = ", ".join(f"`{path}`" for path in config_file_list or ())
        try:
            super().__init__(model, dataset, list(config_file_list or []), dict(config_dict or {}))
        except ConfigError:
            raise
        except _REFUSALS as error:
            raise ConfigError(f"RecBole refuses these options: {error}") from error

    def compatibility_settings(self) -> None:
        """Replace RecBole's own settings, which fail on NumPy 2."""
        recbole_compat.apply()
        register_popularity_metrics()

    @property
    def task(self) -> str:
        """``recommendation`` or ``popularity`` for models of this package, ``stock`` for RecBole's own."""
        return _task_of(self.model_class)

    @property
    def is_video_model(self) -> bool:
        """Whether the model recommends from video content."""
        return self.task == "recommendation"

    @property
    def keeps_frame_dim(self) -> bool:
        """Whether item vectors are as wide as the one modality that is read, whatever the model's default."""
        keeps = getattr(ITEM_ENCODERS.get(self["item_encoder"]), "keeps_frame_dim", False)
        return keeps and not reads_several(self)

    @property
    def reads_frames(self) -> bool:
        """Whether the item encoder reads frames; that of ids does not."""
        return getattr(ITEM_ENCODERS.get(self["item_encoder"]), "reads_frames", True)

    @property
    def inputs_read(self) -> frozenset[str]:
        """Which of ``frames``, ``text`` and ``metadata`` the popularity model reads; a control reads fewer."""
        return self.model_class.inputs_read

    def encoder_options(self) -> dict[str, Any]:
        """Constructor arguments of the item encoder: the ``encoder_*`` options, without the prefix."""
        names = constructor_options(ITEM_ENCODERS.get(self["item_encoder"]))
        return {n: self[ENCODER_PREFIX + n] for n in names if ENCODER_PREFIX + n in self}

    def to_options(self) -> dict[str, Any]:
        """All options as plain values that, read as a config file, give this configuration again."""
        derived = ("valid_neg_sample_args", "test_neg_sample_args", "valid_metric_bigger", "resume")
        known = set(self.internal_config_dict) | set(self.external_config_dict) | {"model", "dataset"}
        options = {k: v for k, v in self.final_config_dict.items() if k in known and k not in derived}
        options["data_path"] = str(Path(self["data_path"]).parent)
        options["model"] = self._model_option
        if options.get("train_neg_sample_args", {}).get("distribution") == "none":
            options["train_neg_sample_args"] = None
        options.pop("MODEL_TYPE", None)
        if self.is_video_model and self.keeps_frame_dim:
            width = self.model_class.width_option  # follows the frames unless it was asked for
            options[width] = self.external_config_dict.get(width)
        options = {k: v for k, v in options.items() if v is not None or self.internal_config_dict.get(k) is not None}
        return plain(options)

    # -- reading ---------------------------------------------------------------------------

    def _build_yaml_loader(self) -> type[SafeLoader]:
        """For RecBole, which has one that makes Python objects; files are read by ``_read_options`` all the same."""
        return SafeLoader

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {name: convert_given(str(name), value) for name, value in config_dict.items()}

    def _load_cmd_line(self) -> dict[str, Any]:
        options = parse_command_line(self._command_line)
        self._trust = options.pop("trust", self._trust)
        return options

    def _load_config_files(self, file_list: Iterable[str | Path]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for path in split_paths(list(file_list), "config_files"):
            options.update(_read_options(path))
        return options

    def _update_internal_config_dict(self, file: str) -> dict[str, Any]:
        content = _packaged_options(Path(file))
        self.internal_config_dict.update(content)
        return content

    def _merge_external_config_dict(self) -> None:
        """Merge what was given in files, by a program and on the command line, once it can be used at all."""
        super()._merge_external_config_dict()
        for name, value in self.external_config_dict.items():
            check_value(name, value)
            if name in TEXT_OPTIONS or name in TEXT_LISTS:
                value = text_from_value(name, value)
            self.external_config_dict[name] = expand_home(name, value)

    # -- model and layers ------------------------------------------------------------------

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> tuple[str, type, str]:
        if not model:
            model = self.external_config_dict.get("model") or DEFAULT_MODEL
            self._refuse_class_of_a_file("model", model, MODEL_REGISTRIES)
        self._model_option = class_path(model)
        name, cls = _find_model(model)
        dataset = str(dataset or self.external_config_dict.get("dataset") or DEFAULT_DATASET[_task_of(cls)])
        if not is_plain_name(dataset):  # option files are looked for by this name, too
            raise ConfigError(f"`dataset` is `{dataset}`; it must be the name of a folder, without a path to it.")
        return name, cls, dataset

    def _refuse_class_of_a_file(self, option: str, value: Any, registries: Iterable[Registry]) -> None:
        """Refuse ``module:Class`` that neither the program nor the command line gave, unless it is trusted."""
        if str(value).startswith(STOCK_PREFIX):  # RecBole's own version, no path to a class
            return
        is_callers_word = option in self.variable_config_dict and not self._is_stored
        if not is_callers_word and option not in self.cmd_config_dict:
            where = "The checkpoint" if self._is_stored else f"The config file {self._files}"
            refuse_untrusted(str(value), registries, self._trust, where)

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        super()._load_internal_config_dict(model, model_class, dataset)
        options = self.internal_config_dict
        self._load_layers_of_ancestors(model_class)
        options.update(self._overall_options())
        dataset_layer = self._read_layer(f"dataset/{dataset}.yaml")
        if self.is_video_model:
            encoder = self._item_encoder_name(dataset_layer)
            for layer in ("recommendation", f"model/{model}", f"item_encoder/{encoder}"):
                options.update(self._read_layer(f"{layer}.yaml"))
            options.update({k: v for k, v in dataset_layer.items() if k in options})  # a data set may serve both tasks
        elif self.task == "popularity":
            self._load_popularity_layers(model, dataset_layer)
        else:
            options.update({k: v for k, v in dataset_layer.items() if k in dataset_arguments})
            self._drop_negatives_of_softmax()
        self._refuse_unknown_options()

    def _load_layers_of_ancestors(self, model_class: type) -> None:
        """RecBole's options of the model that an adapter with a name of its own adapts."""
        if (_STOCK_PROPERTIES / f"{model_class.__name__}.yaml").is_file():
            return
        for cls in reversed(model_class.__mro__):
            layer = _STOCK_PROPERTIES / f"{cls.__name__}.yaml"
            if cls.__module__.startswith("recbole.") and layer.is_file():
                self.internal_config_dict.update(_packaged_options(layer))

    def _load_popularity_layers(self, model: str, dataset_layer: dict[str, Any]) -> None:
        options, external = self.internal_config_dict, self.external_config_dict
        options.update(self.model_class.default_options())
        for layer in ("popularity", f"model/{model}"):
            options.update(self._read_layer(f"{layer}.yaml"))
        options.update({k: v for k, v in dataset_layer.items() if k in options})  # a control has no width
        for kind, default in (("variant", "paper"), ("preset", None)):
            name = external.get(kind, options.get(kind))
            if kind in options and name not in (None, default):
                options.update(self._named_layer(kind, model, str(name)))
        of_both = f"{model}-{options.get('variant')}-{options.get('preset')}"
        options.update(self._read_layer(f"preset_of_variant/{of_both}.yaml"))

    def _named_layer(self, kind: str, model: str, name: str) -> dict[str, Any]:
        """A variant of a model, or its hyper-parameters for a data set; one that is named must exist."""
        folder = files("recbole_video.properties").joinpath(kind)
        known = sorted(path.name[len(model) + 1 : -5] for path in folder.iterdir() if path.name.startswith(f"{model}-"))
        if name not in known:
            raise ConfigError(f"There is no {kind} `{name}` of {model}{nearest(name, known)}: {', '.join(known)}.")
        return {kind: name, **self._read_layer(f"{kind}/{model}-{name}.yaml")}

    def _overall_options(self) -> dict[str, Any]:
        """The options of every run; RecBole's models that predict clicks keep RecBole's evaluation."""
        options = self._read_layer("overall.yaml")
        if self.internal_config_dict["MODEL_TYPE"] in (ModelType.CONTEXT, ModelType.DECISIONTREE):
            for name in ("metrics", "topk", "valid_metric", "eval_args"):
                options.pop(name)
        return options

    def _read_layer(self, layer: str) -> dict[str, Any]:
        resource = files("recbole_video.properties").joinpath(layer)
        return _packaged_options(resource) if resource.is_file() else {}

    def _item_encoder_name(self, dataset_layer: dict[str, Any]) -> str:
        layers = (self._read_layer("recommendation.yaml"), dataset_layer, self.external_config_dict)
        name = str([layer["item_encoder"] for layer in layers if "item_encoder" in layer][-1])
        self._refuse_class_of_a_file("item_encoder", name, [ITEM_ENCODERS])
        return name

    def _drop_negatives_of_softmax(self) -> None:
        """RecBole's default asks for negatives that its default loss, the softmax, then refuses."""
        external = self.external_config_dict
        loss_type = external.get("loss_type", self.internal_config_dict.get("loss_type"))
        if loss_type == "CE" and "train_neg_sample_args" not in external:
            self.internal_config_dict["train_neg_sample_args"] = None

    def _refuse_unknown_options(self) -> None:
        known = set(self.internal_config_dict) | _RUNTIME_OPTIONS
        known |= {name for names in self.parameters.values() for name in names}
        known |= _options_read_by(self.model_class)
        of_whom = f"model {self.model}"
        if self.is_video_model:
            encoder = self.external_config_dict.get("item_encoder") or self.internal_config_dict["item_encoder"]
            known |= {ENCODER_PREFIX + n for n in constructor_options(ITEM_ENCODERS.get(encoder))}
            of_whom += f", item encoder {encoder}"
        unknown = [key for key in self.external_config_dict if key not in known]
        if unknown:
            named = ", ".join(f"`{key}` is not an option{nearest(key, known)}" for key in unknown)
            raise ConfigError(f"{named} for {of_whom}.")

    # -- checks and derived values ---------------------------------------------------------

    def _set_default_parameters(self) -> None:
        folder = Path(str(self.final_config_dict["data_path"])) / self.dataset
        self._complete_eval_args()
        self._refuse_empty_text()
        if self.task == "stock":
            self._load_what_there_is(folder)
        check_shared(self)
        if any(self[name] not in (None, 1) for name in ("nproc", "world_size")) or "local_rank" in self:
            raise ConfigError("Runs are in one process here; leave out nproc, world_size and local_rank.")
        super()._set_default_parameters()
        # RecBole reads ml-100k from inside its own package, where nothing can be added beside it.
        self.final_config_dict["data_path"] = str(folder)
        if self.is_video_model:
            check_video_options(self)
            self._set_video_defaults()
        elif self.task == "popularity":
            check_popularity_options(self)

    def _refuse_empty_text(self) -> None:
        """Refuse ``option: ~`` where the option must be something."""
        for name, value in self.external_config_dict.items():
            is_needed = name in TEXT_OPTIONS and isinstance(self.internal_config_dict.get(name), str)
            if value is None and is_needed and name not in MAY_BE_EMPTY:
                raise ConfigError(
                    f"`{name}` is empty; leave it out for `{self.internal_config_dict[name]}`, or set it."
                )

    def _load_what_there_is(self, folder: Path) -> None:
        """Let RecBole's models read the times too, which they split by; RecBole loads two columns by default."""
        path = folder / f"{self.dataset}.inter"
        if "load_col" in {**self.external_config_dict, **self._read_layer(f"dataset/{self.dataset}.yaml")}:
            return
        if path.is_file():
            known = {field.name for field in read_header(path, self["field_separator"])}
            wanted = (self[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "RATING_FIELD"))
            self.final_config_dict["load_col"] = {"inter": [name for name in wanted if name in known]}

    def _complete_eval_args(self) -> None:
        """Fill what a given ``eval_args`` leaves out from ours; RecBole would fill in a random split."""
        given = self.final_config_dict["eval_args"]
        if isinstance(given, dict):
            self.final_config_dict["eval_args"] = {**self.internal_config_dict["eval_args"], **given}

    def _set_video_defaults(self) -> None:
        final = self.final_config_dict
        if "load_col" not in self.external_config_dict:
            final["load_col"] = {"inter": [self["USER_ID_FIELD"], self["ITEM_ID_FIELD"], self["TIME_FIELD"]]}
        pairwise = self["loss_type"] == "BPR"
        final["MODEL_INPUT_TYPE"] = InputType.PAIRWISE if pairwise else InputType.POINTWISE
        if pairwise and final.get("train_neg_sample_args") is None:
            final["train_neg_sample_args"] = dict(_DEFAULT_NEGATIVES)
        if pairwise and final["train_neg_sample_args"].get("dynamic"):
            raise ConfigError("`train_neg_sample_args` dynamic is not available for video models; leave it out.")
        if not pairwise and final.get("train_neg_sample_args") is not None:
            raise ConfigError(f"`train_neg_sample_args` belongs to loss_type=BPR, not to {self['loss_type']}.")
        if final["eval_batch_size"] is None:
            final["eval_batch_size"] = _EVAL_BATCH[self._chosen_device().type == "cuda"]
        if final["mask_history"] is None:
            final["mask_history"] = final["protocol"] == "microlens"

    def _init_device(self) -> None:
        """The GPU among the visible ones, where RecBole sets the environment, which may be too late."""
        final = self.final_config_dict
        final.update(gpu_id=listed(final["gpu_id"]) if final["use_gpu"] else "", single_spec=True, local_rank=0)
        final["device"] = self._chosen_device()

    def _chosen_device(self) -> torch.device:
        return choose_device(self.final_config_dict["gpu_id"], self.final_config_dict["use_gpu"])


def _read_options(path: Any) -> dict[str, Any]:
    """The options in a file."""
    content = read_yaml(path, ConfigError, keep_text)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"The config file `{path}` must hold `option: value` lines.")
    return content


def _packaged_options(path: Any) -> dict[str, Any]:
    """The options in a file of this package or of RecBole, which is read once."""
    return deepcopy(_read_once(path))


_read_once = cache(_read_options)


def _find_model(model: str | type) -> tuple[str, type]:
    """Name and class of a model, by its name, by ``module:Class``, or as a class."""
    if not isinstance(model, str):
        cls = _admitted(model, class_path(model))
        return cls.__name__, cls
    if model.startswith(STOCK_PREFIX):
        name = model[len(STOCK_PREFIX) :]
        return name, _stock_model(name)
    if model in POPULARITY_MODELS:
        return model, POPULARITY_MODELS.get(model)
    for registry in MODEL_REGISTRIES:
        if registry.knows(model):
            cls = registry.get(model)
            return cls.__name__, cls
    if ":" in model:
        cls = _admitted(import_class("model", model), model)
        return cls.__name__, cls
    return model, _stock_model(model, [*USER_ENCODERS, *POPULARITY_MODELS])


def _admitted(cls: Any, shown: str) -> type:
    """A class that the caller gave as model, once it is known to be one.

    Raises:
        ConfigError: If it is none: neither of this package's nor of RecBole's kind.
    """
    kinds = {"recommendation": USER_ENCODERS, "popularity": POPULARITY_MODELS, "stock": _OTHER_MODELS}
    return kinds[_task_of(cls)].admit(cls, shown)


def _task_of(model_class: type) -> str:
    if getattr(model_class, "is_popularity_model", False):
        return "popularity"
    return "recommendation" if getattr(model_class, "is_video_model", False) else "stock"


def _stock_model(name: str, others: Iterable[str] = ()) -> type:
    """RecBole's model class of that name; ``others`` are further names to suggest."""
    stock = {path.stem for path in _STOCK_PROPERTIES.glob("*.yaml")}
    try:
        if name.lower() in {stem.lower() for stem in stock} | {"random"}:
            return get_model(name)
    except ImportError as error:
        raise ConfigError(f"RecBole's model `{name}` cannot be imported: {error}.") from error
    except (ValueError, AttributeError):
        pass  # another spelling of its name, which the message below suggests
    raise ConfigError(
        f"There is no model named `{name}`{nearest(name, stock | set(others))}. "
        f"Video models: {', '.join(USER_ENCODERS)}; popularity models: {', '.join(POPULARITY_MODELS)}; RecBole's own "
        "run as well."
    )


@cache
def _options_read_by(model_class: type) -> frozenset[str]:
    """Names that a model's own source reads from the configuration, listed in a YAML file or not."""
    names: set[str] = set()
    for cls in model_class.__mro__:
        if cls.__module__.startswith("torch") or cls is object:
            continue
        try:
            source = inspect.getsource(cls)
        except (OSError, TypeError):
            continue
        names.update(re.findall(r"""config\[\s*["'](\w+)["']""", source))
    return frozenset(names - {"device"})  # derived from gpu_id and use_gpu
