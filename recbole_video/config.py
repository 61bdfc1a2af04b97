"""The configuration: RecBole's own, with our defaults and without silence.

Later layers win: RecBole's defaults < properties/overall.yaml < properties/<task>.yaml < model <
item encoder < data set < variant < preset < preset of that variant < config files < config_dict < command line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import recbole
import torch
import yaml
from recbole.config import Config as RecBoleConfig
from recbole.utils import InputType, ModelType, dataset_arguments, get_model

from recbole_video import recbole_compat
from recbole_video.data.atomic_file import read_header
from recbole_video.data.files import plain
from recbole_video.devices import choose_device, listed
from recbole_video.errors import ConfigError, nearest
from recbole_video.item_encoders import ITEM_ENCODERS
from recbole_video.option_checks import check_metrics, check_video_options
from recbole_video.options import ENCODER_PREFIX, constructor_options, convert_value, parse_command_line
from recbole_video.popularity import POPULARITY_MODELS
from recbole_video.popularity.metrics import register as register_popularity_metrics
from recbole_video.popularity.option_checks import check_popularity_options
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
_EVAL_BATCH = {True: 2048, False: 128}  # on a GPU, on a CPU
_SEEDS = 2**32  # what NumPy takes
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
            caller hands it over, so that a program's own flags are not taken for options.

    Raises:
        ConfigError: If an option is unknown or has a value that cannot be used; all unknown
            options are named at once.
    """

    def __init__(
        self,
        model: str | type | None = None,
        dataset: str | None = None,
        config_file_list: Sequence[str | Path] | None = None,
        config_dict: dict[str, Any] | None = None,
        command_line: Sequence[str] = (),
    ) -> None:
        self._command_line = tuple(command_line)
        try:
            super().__init__(model, dataset, list(config_file_list or []), dict(config_dict or {}))
        except ConfigError:
            raise
        except (ValueError, TypeError, KeyError, NotImplementedError, RuntimeError) as error:  # RecBole's own checks
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
        """Whether the item encoder's vectors are as wide as the frames, whatever the model's default."""
        return getattr(ITEM_ENCODERS.get(self["item_encoder"]), "keeps_frame_dim", False)

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

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return {k: convert_value(v) if isinstance(v, str) and v.strip() else v for k, v in config_dict.items()}

    def _load_cmd_line(self) -> dict[str, Any]:
        return parse_command_line(self._command_line)

    def _load_config_files(self, file_list: Iterable[str | Path]) -> dict[str, Any]:
        options: dict[str, Any] = {}
        for path in file_list:
            options.update(self._read_yaml(Path(path)))
        return options

    def _read_yaml(self, path: Any) -> dict[str, Any]:
        try:
            content = yaml.load(path.read_text(encoding="utf-8"), Loader=self.yaml_loader)
        except OSError as error:
            raise ConfigError(f"The config file `{path}` cannot be read: {error.strerror}.") from error
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            where = f" at line {mark.line + 1}" if mark else ""
            raise ConfigError(f"The config file `{path}` is not valid YAML{where}; mend it.") from error
        if content is None:
            return {}
        if not isinstance(content, dict):
            raise ConfigError(f"The config file `{path}` must hold `option: value` lines.")
        return content

    # -- model and layers ------------------------------------------------------------------

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> tuple[str, type, str]:
        model = model or self.external_config_dict.get("model") or DEFAULT_MODEL
        self._model_option = model if isinstance(model, str) else f"{model.__module__}:{model.__qualname__}"
        name, cls = _find_model(model)
        dataset = dataset or self.external_config_dict.get("dataset") or DEFAULT_DATASET[_task_of(cls)]
        return name, cls, str(dataset)

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
                self.internal_config_dict.update(self._read_yaml(layer))

    def _load_popularity_layers(self, model: str, dataset_layer: dict[str, Any]) -> None:
        options, external = self.internal_config_dict, self.external_config_dict
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
        return self._read_yaml(resource) if resource.is_file() else {}

    def _item_encoder_name(self, dataset_layer: dict[str, Any]) -> str:
        layers = (self._read_layer("recommendation.yaml"), dataset_layer, self.external_config_dict)
        return str([layer["item_encoder"] for layer in layers if "item_encoder" in layer][-1])

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
        self._check_seed()
        if self.task == "stock":
            self._load_what_there_is(folder)
        check_metrics(self)
        super()._set_default_parameters()
        if (self["nproc"] or 1) > 1 or (self["world_size"] or 1) > 1:
            raise ConfigError("Runs are in one process here; leave out --nproc and --world_size.")
        # RecBole reads ml-100k from inside its own package, where nothing can be added beside it.
        self.final_config_dict["data_path"] = str(folder)
        if self.is_video_model:
            check_video_options(self)
            self._set_video_defaults()
        elif self.task == "popularity":
            check_popularity_options(self)

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

    def _check_seed(self) -> None:
        seed = self["seed"]
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed < _SEEDS:
            raise ConfigError(f"`seed` is `{seed}`; it must be a whole number from 0 to {_SEEDS - 1}.")


def _find_model(model: str | type) -> tuple[str, type]:
    """Name and class of a model, by its name, by ``module:Class``, or as a class."""
    if not isinstance(model, str):
        return model.__name__, model
    if model.startswith(STOCK_PREFIX):
        name = model[len(STOCK_PREFIX) :]
        return name, _stock_model(name)
    if model in POPULARITY_MODELS:
        return model, POPULARITY_MODELS.get(model)
    if model in USER_ENCODERS or ":" in model:
        cls = USER_ENCODERS.get(model)
        return cls.__name__, cls
    return model, _stock_model(model, [*USER_ENCODERS, *POPULARITY_MODELS])


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


def _options_read_by(model_class: type) -> set[str]:
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
    return names - {"device"}  # derived from gpu_id and use_gpu
