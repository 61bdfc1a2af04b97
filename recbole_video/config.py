"""The configuration of a run: made in one pass from what is declared and what was given, and left alone then.

Later layers win: RecBole's defaults < what run, task, model and item encoder declare < data set < variant < preset <
preset of that variant < config files < config_dict < command line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import torch
from recbole.evaluator import metric_types
from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import EvaluatorType, InputType, ModelType, dataset_arguments, get_model
from torch import nn

from recbole_video.data.atomic_file import read_header
from recbole_video.data.labelled_loader import check_batch_fields
from recbole_video.data.protocols import PROTOCOLS
from recbole_video.errors import ConfigError, nearest
from recbole_video.evaluation.regression_metrics import register as register_popularity_metrics
from recbole_video.files.names import is_plain_name
from recbole_video.files.reading import read_yaml
from recbole_video.files.values import is_plain, plain
from recbole_video.options.content import check_content, check_fusion, chosen_content, read_content, reads_several
from recbole_video.options.option import (
    ENCODER_PREFIX,
    REQUIRED,
    Option,
    as_declared,
    check_no_void_options,
    check_void_rules,
    declared,
    shown_value,
    unquoted,
)
from recbole_video.options.parse import (
    check_value,
    convert_given,
    convert_words,
    expand_home,
    keep_text,
    split_command_line,
    split_paths,
    text_from_value,
)
from recbole_video.options.recbole import check_host_options, check_known_keys, host_options
from recbole_video.options.run import CommandOptions, RunOptions, is_whole, resume_option
from recbole_video.registries import (
    CONTROLS,
    ITEM_ENCODERS,
    LISTS,
    MODEL_REGISTRIES,
    OTHER_MODELS,
    POPULARITY_MODELS,
    USER_ENCODERS,
)
from recbole_video.registry import Registry, Trust, check_trusted, class_path, import_class
from recbole_video.runtime import recbole_compat
from recbole_video.runtime.devices import choose_device
from recbole_video.runtime.processes import n_on_this_machine, processes
from recbole_video.runtime.recbole_host import MODEL_FILES, HostConfig, host_defaults
from recbole_video.runtime.recbole_options import TEXT, TEXT_LISTS, UNLISTED, names_read_by

O = TypeVar("O")  # noqa: E741 - a class of options

DEFAULT_MODEL = "SASRec"
DEFAULT_DATASET = {"popularity": "popularity-demo"} | dict.fromkeys(
    ("recommendation", "lists", "stock"), "microvideo-demo"
)
STOCK_PREFIX = "recbole:"
# What RecBole's own checks raise, on values of another kind too; RuntimeError is that of nesting too.
_HOST_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
_EVAL_BATCH = {True: 2048, False: 128}  # on a GPU, on a CPU
_DEFAULT_NEGATIVES = {
    "distribution": "uniform",
    "sample_num": 1,
    "alpha": 1.0,
    "dynamic": False,
    "candidate_num": 0,
}
# Options that say which options there are: read as text before any other.
_CHOOSING = {name: Option(name, str, "") for name in ("model", "dataset", "item_encoder", "score_lists")}
_RESUME = {"resume": Option("resume", bool | str | None, False, resume_option().metadata["rule"])}
_LENGTH = "MAX_ITEM_LIST_LENGTH"  # of histories, which RecBole's own models read as well
_DERIVED = frozenset(["valid_neg_sample_args", "test_neg_sample_args", "valid_metric_bigger", "resume", "MODEL_TYPE"])


class Config(Mapping[str, Any]):
    """All options of a run, by name. It does not change after it was made.

    Args:
        model: A model of this package, any of RecBole's, ``recbole:<name>`` for RecBole's own
            version of a model that both have, or a model class.
        dataset: Name of the folder of atomic files under ``data_path``.
        config_file_list: YAML files, the last one winning.
        config_dict: Options.
        command_line: Words as in ``sys.argv[1:]``. ``--trust`` is read from here alone.
        trust: Whether a class that a file names as ``module:Class``, which nobody registered, may be imported: True,
            or the classes that may, as in :func:`recbole_video.load_model`.
        is_stored: ``config_dict`` was read from a file, too.
        is_shared: ``config_dict`` holds the options of several models, as those of a sweep may: what only a training
            reads does nothing for a model that is fitted in one go, and is not refused.

    Attributes:
        model: Name of the model.
        model_class: The model.
        dataset: Name of the data set.
        declarations: The options that there are, by name.
        defaults: What each option is where it is not given.
        given: What was given, by files, program and command line.
        file_options: What was given by files.

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
        is_shared: bool = False,
    ) -> None:
        recbole_compat.apply()
        register_popularity_metrics()
        given = _Given(config_file_list or (), config_dict or {}, command_line, trust, is_stored)
        self._is_stored, self._is_shared = is_stored, is_shared or is_stored
        self.model_class: Any  # one of this package's kinds, or of RecBole's
        self._model_option, self.model, self.model_class = _chosen_model(model, given)
        self.dataset = _chosen_dataset(dataset, given, self.task)
        dataset_layer = _layer(f"dataset/{self.dataset}.yaml")
        self._encoder: type | None = None
        if self.is_video_model and "item_encoder" in declared(self.model_class.Options):
            default = declared(self.model_class.Options)["item_encoder"].default
            self._encoder = _chosen_encoder(given, default, dataset_layer)
        host, host_names = host_defaults(self.model, self.model_class, self.dataset)
        own = self._declare(host, host_names)
        self.given: Mapping[str, Any] = {
            name: value for name, value in given.values(self.declarations).items() if not self._is_no_value(name, value)
        }
        self.file_options: Mapping[str, Any] = given.file_values(self.declarations)
        self.defaults: Mapping[str, Any] = self._layered(host, own, dataset_layer)
        self._check_no_unknown_options()
        self._values: Mapping[str, Any] = {**self.defaults, **self.given, "model": self.model, "dataset": self.dataset}
        self._host = self._finish()
        self._values = self._host.final_config_dict
        if self.task == "stock":
            self._check_valid_metric()
        else:
            self.options(self.model_class.Options).check()
            self._check_content(is_stored)

    # -- reading it ------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(f"`{name}` is no option of {self.model}; declare it in its `Options`") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __str__(self) -> str:
        return str(self._host)

    def options(self, cls: type[O]) -> O:
        """The options that a dataclass declares, with types: ``config.options(STAP.Options).hidden_size``."""
        values = {name: as_declared(one, self._values[name]) for name, one in declared(cls).items()}  # type: ignore[arg-type]
        return cls(**values)

    @property
    def task(self) -> str:
        """``recommendation``, ``popularity`` or ``lists`` for what is of this package, ``stock`` for RecBole's own."""
        return _task_of(self.model_class)

    @property
    def is_video_model(self) -> bool:
        """Whether the model recommends from video content, or ranked lists of another program stand in its place."""
        return self.task in ("recommendation", "lists")

    @property
    def keeps_frame_dim(self) -> bool:
        """Whether item vectors are as wide as the one modality that is read, whatever the model's default."""
        return getattr(self._encoder, "keeps_frame_dim", False) and not reads_several(self)

    @property
    def inputs_read(self) -> frozenset[str]:
        """Which inputs the model reads, by name, where they are there.

        Of a popularity model, which of ``frames``, ``text``, ``metadata`` and further modalities; a control reads
        fewer. Of a recommender, the modalities of its content; none where the item encoder knows ids alone, or a
        control asks for none.
        """
        if not self.is_video_model:
            return self.model_class.inputs_read
        if self._encoder is None:
            reads = self.model_class.reads_content(self)
        else:
            reads = getattr(self._encoder, "reads_frames", True)
        return frozenset(chosen_content(self)) if reads else frozenset()

    @property
    def filters_by_content(self) -> bool:
        """Whether a control that reads no content leaves out what others leave out for want of it."""
        is_blind = self.is_video_model and self._encoder is None and not self.inputs_read
        return is_blind and self["missing_items"] == "drop"

    def encoder_options(self) -> dict[str, Any]:
        """Constructor arguments of the item encoder: the ``encoder_*`` options, without the prefix."""
        options = declared(self._encoder) if self._encoder is not None else {}
        return {
            name.removeprefix(ENCODER_PREFIX): as_declared(one, self[name])
            for name, one in options.items()
            if name in self
        }

    def host(self, **instead: Any) -> HostConfig:
        """The same as a ``Config`` of RecBole's, in a copy that it may write into.

        Args:
            instead: Values that RecBole's code is to find in the place of those of the run.
        """
        return self._host.replaced(instead)

    def on(self, device: torch.device) -> Config:
        """A copy of the configuration for another device."""
        twin = copy(self)
        twin._host = self._host.replaced({"device": device})
        twin._values = twin._host.final_config_dict
        return twin

    def to_options(self) -> dict[str, Any]:
        """All options as plain values that, read as a config file, give this configuration again."""
        known = (set(self.defaults) | set(self.given) | {"model", "dataset"}) - _DERIVED
        options = {name: value for name, value in self._values.items() if name in known and self._is_kept(name, value)}
        options["data_path"] = str(Path(self["data_path"]).parent)
        options["model"] = self._model_option
        if options.get("train_neg_sample_args", {}).get("distribution") == "none":
            options["train_neg_sample_args"] = None
        return plain({k: v for k, v in options.items() if v is not None or self.defaults.get(k) is not None})

    def _is_kept(self, name: str, value: Any) -> bool:
        """Whether an option is written down: not a default such as a function, which the declaration gives again."""
        option = self.declarations.get(name)
        return option is None or is_plain(option.default) or option.default is REQUIRED or value is not option.default

    # -- making it -------------------------------------------------------------------------------

    def _is_no_value(self, name: str, value: Any) -> bool:
        """Whether a checkpoint of before gives the text of such a default, which no option is."""
        option = self.declarations.get(name)
        if option is None or option.is_text or not (self._is_stored and isinstance(value, str)):
            return False
        return option.default is not REQUIRED and not is_plain(option.default)

    def _declare(self, host: dict[str, Any], host_names: Iterable[str]) -> dict[str, Option]:
        """Find out which options there are; return those of this package."""
        own = dict(declared(self.model_class.Options if self.task != "stock" else RunOptions))
        if host["MODEL_TYPE"] in (ModelType.CONTEXT, ModelType.DECISIONTREE):  # RecBole's evaluation, of clicks
            own = {k: v for k, v in own.items() if k not in ("metrics", "topk", "valid_metric", "eval_args")}
        if self._encoder is not None:
            own |= declared(self._encoder)
        names = {*host, *host_names, *UNLISTED, *names_read_by(self.model_class)} - {"MODEL_TYPE"}
        self.declarations: Mapping[str, Option] = {**host_options(names, host), **own}
        check_void_rules(own, self.declarations, self.model)
        return own

    def _layered(self, host: dict[str, Any], own: dict[str, Option], dataset_layer: dict[str, Any]) -> dict[str, Any]:
        """The default of each option in this run, after data set, variant and preset."""
        defaults = {k: deepcopy(option.default) for k, option in own.items() if option.default is not REQUIRED}
        defaults = {**host, **defaults}
        if self.is_video_model and self._encoder is None:  # a control, which is not trained
            defaults["train_neg_sample_args"] = None
        known = set(dataset_arguments) if self.task == "stock" else set(defaults)
        if self.is_video_model:
            known -= {"preset"}  # what a data set names is STAP's
        defaults |= {k: v for k, v in dataset_layer.items() if k in known}  # one data set may serve several tasks
        if self.is_video_model:
            self._add_preset(defaults)
        elif self.task == "popularity":
            self._add_named_layers(defaults)
        elif self.task == "stock":
            self._drop_negatives_of_softmax(defaults)
        defaults["valid_metric"] = _at_a_cut_off(defaults["valid_metric"], self.given.get("topk", defaults.get("topk")))
        return defaults

    def _add_preset(self, defaults: dict[str, Any]) -> None:
        """A publication's settings for all recommenders, and those of the user encoder under its name in `models`."""
        if (name := self.given.get("preset")) is not None:
            layer = _named_layer("preset", self.task, str(name))
            of_models = layer.pop("models", {})
            defaults |= {**layer, **of_models.get(self.model, {})}

    def _add_named_layers(self, defaults: dict[str, Any]) -> None:
        """The model's variant, its hyper-parameters for a data set, and what both together change."""
        for kind, plain_one in (("variant", "paper"), ("preset", None)):
            name = self.given.get(kind, defaults.get(kind))
            if kind in defaults and name not in (None, plain_one):
                defaults |= _named_layer(kind, self.model, str(name))
        of_both = f"{self.model}-{defaults.get('variant')}-{defaults.get('preset')}"
        defaults |= _layer(f"preset_of_variant/{of_both}.yaml")

    def _drop_negatives_of_softmax(self, defaults: dict[str, Any]) -> None:
        """RecBole's default asks for negatives that its default loss, the softmax, then refuses."""
        loss_type = self.given.get("loss_type", defaults.get("loss_type"))
        if loss_type == "CE" and "train_neg_sample_args" not in self.given:
            defaults["train_neg_sample_args"] = None

    def _check_no_unknown_options(self) -> None:
        of_whom = f"model {self.model}"
        if self._encoder is not None:
            of_whom += f", item encoder {self.given.get('item_encoder') or self.defaults['item_encoder']}"
        known = self.declarations
        unknown = [key for key in self.given if key not in known]
        if unknown:
            named = ", ".join(f"`{key}` is not an option{nearest(key, known)}" for key in unknown)
            raise ConfigError(f"{named} for {of_whom}.")

    def _check_content(self, is_stored: bool) -> None:
        """Refuse content that the model cannot read, or options about it that do nothing.

        Earlier versions took some that does nothing: a run that was made before is loaded, and resumed by its folder.
        """
        is_of_before = is_stored or isinstance(self["resume"], str)
        if not self.is_video_model:
            read = self.inputs_read - {"metadata"}
            # Frames and text may leave videos out of the data of a model that reads neither.
            check_content(self, read | {"frames", "text"} if read or not is_of_before else None, read)
            check_batch_fields(name for name in chosen_content(self) if name in read)
            return
        check_content(self)
        if self._encoder is None:
            return
        check_fusion(self, is_of_before)
        if self["content"] is not None and not self.inputs_read:
            raise ConfigError(
                f"`content` is what an item encoder reads, and item_encoder={self['item_encoder']} reads ids alone; "
                "leave it out, or choose another item encoder."
            )

    def _finish(self) -> HostConfig:
        """Check the options, fill in what follows from others, and hand all to RecBole for what it derives."""
        values = dict(self._values)
        if isinstance(values["eval_args"], dict):  # RecBole would fill in a random split
            values["eval_args"] = {**self.defaults["eval_args"], **values["eval_args"]}
        if values["nproc"] is None:  # as RecBole has it where it is left empty
            values["nproc"] = 1
        if "content" in values:
            values["content"] = read_content(values["content"])
        self._check(values)
        device = choose_device(values["gpu_id"], values["use_gpu"], self._n_on_this_machine(values))
        if not processes().is_first:  # what is shown is shown once
            values.update(show_progress=False, log_wandb=False)
        if self.task == "stock":
            self._load_known_columns(values)
        if self.is_video_model:
            self._complete_video_options(values, device)
        try:
            host = HostConfig(self.model, self.model_class, self.dataset, values, device)
        except _HOST_ERRORS as error:
            raise ConfigError(f"RecBole refuses these options: {error}") from error
        if self.is_video_model:
            pairwise = values.get("loss_type") == "BPR"
            host.final_config_dict["MODEL_INPUT_TYPE"] = InputType.PAIRWISE if pairwise else InputType.POINTWISE
        return host

    @staticmethod
    def _n_on_this_machine(values: dict[str, Any]) -> int:
        """Processes that will share this machine's GPUs; those of a cluster are not known here."""
        if processes().is_alone and not values["ray_address"]:
            return int(values["nproc"])
        return n_on_this_machine()

    def _check(self, values: dict[str, Any]) -> None:
        """Refuse values that no run can use, and options that do nothing for this one."""
        for name, value in self.given.items():
            self._check_not_empty(name, value)
        RunOptions(**{name: values[name] for name in declared(RunOptions)}).check()
        _check_metrics(values["metrics"])
        check_host_options(values)
        if not self._is_stored:  # an earlier version left them alone
            check_known_keys(self.given)
        if _LENGTH in self.given:
            self.declarations[_LENGTH].check(self.given[_LENGTH])
        if values.get("world_size") not in (None, 1) or "local_rank" in values:
            raise ConfigError(
                "`world_size` and `local_rank` follow from who starts the processes: use nproc for several on this "
                "machine, or torchrun."
            )
        if self.task != "stock":
            self._check_declared(values)

    def _check_declared(self, values: dict[str, Any]) -> None:
        changed = {name: value for name, value in self.given.items() if value != self.defaults.get(name)}
        rules = self.model_class.Options
        if ignored := sorted(rules.without_effect & set(changed)):
            raise ConfigError(f"`{ignored[0]}` has no effect on {rules.models}; remove it.")
        if not self._is_shared and (ignored := sorted(rules.of_training & set(changed))):
            raise ConfigError(f"`{ignored[0]}` has no effect on {self.model}, which is fitted in one go; remove it.")
        for name, value in self.given.items():
            if not (value is None and name == self._free_width):
                self.declarations[name].check(value, self.defaults.get(name))
        check_no_void_options(self.declarations.values(), changed, values)

    def _check_valid_metric(self) -> None:
        """Refuse a metric to choose by that RecBole's own model is not judged by."""
        computed = _computed(self["metrics"], self["topk"])
        if str(self["valid_metric"]).lower() not in computed:
            raise ConfigError(
                f"`valid_metric` is `{self['valid_metric']}`, which is not computed; choose from "
                f"{', '.join(computed)}, or extend metrics and topk."
            )

    @property
    def _free_width(self) -> str | None:
        """The option of d where it follows the frames: empty, unless another width is asked for."""
        return self.model_class.width_option if self.keeps_frame_dim else None

    def _check_not_empty(self, name: str, value: Any) -> None:
        """Refuse ``option: ~`` where the option must be something."""
        option, default = self.declarations[name], self.defaults.get(name)
        if value is None and option.is_text and isinstance(default, str) and not option.may_be_empty:
            raise ConfigError(f"`{name}` is empty; leave it out for `{default}`, or set it.")

    def _load_known_columns(self, values: dict[str, Any]) -> None:
        """Let RecBole's models read the times too, which they split by; RecBole loads two columns by default."""
        if "load_col" in self.given or "load_col" in _layer(f"dataset/{self.dataset}.yaml"):
            return
        path = Path(values["data_path"], self.dataset, f"{self.dataset}.inter")
        if path.is_file():
            known = {field.name for field in read_header(path, values["field_separator"])}
            wanted = (values[name] for name in ("USER_ID_FIELD", "ITEM_ID_FIELD", "TIME_FIELD", "RATING_FIELD"))
            values["load_col"] = {"inter": [name for name in wanted if name in known]}

    def _complete_video_options(self, values: dict[str, Any], device: torch.device) -> None:
        if "load_col" not in self.given:
            values["load_col"] = {"inter": [values[f"{kind}_FIELD"] for kind in ("USER_ID", "ITEM_ID", "TIME")]}
        values["train_neg_sample_args"] = _negatives(values.get("loss_type"), values["train_neg_sample_args"])
        if values["eval_batch_size"] is None:
            values["eval_batch_size"] = _EVAL_BATCH[device.type == "cuda"]
        if values["mask_history"] is None:
            values["mask_history"] = PROTOCOLS[values["protocol"]].masks_history
        if self._free_width is not None:
            values[self._free_width] = self.given.get(self._free_width)


class _Given:
    """What was given for a run, as it was written, until it is known which options there are."""

    def __init__(
        self,
        config_files: Sequence[str | Path],
        options: Mapping[str, Any],
        words: Sequence[str],
        trust: Trust,
        is_stored: bool,
    ) -> None:
        self._shown = ", ".join(f"`{path}`" for path in config_files)
        self._paths = split_paths(list(config_files), "config_files")
        self._options = {str(name): value for name, value in options.items()}
        self._words = split_command_line(words)
        self._is_stored = is_stored
        self._trust = trust
        if "trust" in self._words:
            self._trust = convert_words({"trust": self._words.pop("trust")}, declared(CommandOptions))["trust"]
        self.choosing = self.values(_CHOOSING)

    def file_values(self, options: Mapping[str, Option]) -> dict[str, Any]:
        """What the files hold, the last one winning."""
        found: dict[str, Any] = {}
        for path in self._paths:
            found.update(_read_options(path, options))
        return found

    def values(self, options: Mapping[str, Option]) -> dict[str, Any]:
        """All that was given, by the declarations of ``options``; the command line wins over program and files.

        Raises:
            ConfigError: On a value that no option can be.
        """
        merged = {
            **self.file_values(options),
            **{name: convert_given(options.get(name), value) for name, value in self._options.items()},
            **convert_words(self._words, options),
        }
        return {name: _usable(name, value, options.get(name)) for name, value in merged.items()}

    def check_class_of_a_file(self, option: str, value: Any, registries: Iterable[Registry]) -> None:
        """Refuse ``module:Class`` that neither the program nor the command line gave, unless it is trusted."""
        if str(value).startswith(STOCK_PREFIX):  # RecBole's own version, no path to a class
            return
        is_callers_word = option in self._options and not self._is_stored
        if not is_callers_word and option not in self._words:
            where = "The checkpoint" if self._is_stored else f"The config file {self._shown}"
            check_trusted(str(value), registries, self._trust, where)


def _usable(name: str, value: Any, option: Option | None) -> Any:
    """A value that an option can be, a text as text, a path with the home folder in it."""
    check_value(name, value)
    if option is None:
        return value
    if option.is_text or option.is_text_list:
        value = text_from_value(option, value)
    return expand_home(value) if option.rule.is_path else value


def _negatives(loss_type: str | None, given: Any) -> Any:
    """Negatives to draw for a loss of pairs; no other loss has any."""
    if loss_type == "BPR":
        if isinstance(given, dict) and given.get("dynamic"):
            raise ConfigError("`train_neg_sample_args` dynamic is not available for video models; leave it out.")
        return dict(_DEFAULT_NEGATIVES) if given is None else given
    if given is not None:
        raise ConfigError(f"`train_neg_sample_args` belongs to loss_type=BPR, not to {loss_type}.")
    return None


def _at_a_cut_off(metric: Any, topk: Any) -> Any:
    """A default such as ``NDCG@10`` at a cut-off that there is: the first, where ``topk`` lacks its own."""
    top = topk if isinstance(topk, list) else [topk]
    head, at, own = str(metric).partition("@")
    if not at or not top or not all(map(is_whole, top)) or own in map(str, top):
        return metric
    return f"{head}@{top[0]}"


def _computed(metrics: list[str], topk: list[int]) -> list[str]:
    """Keys of the results that RecBole computes: metrics of lists at each cut-off, others once."""
    of_lists = {name for name, kind in metric_types.items() if kind is EvaluatorType.RANKING} - {"gauc"}
    names = [name.lower() for name in metrics]
    at_k = [f"{name}@{k}" for name in names if name in of_lists for k in topk]
    return at_k + [name for name in names if name not in of_lists]


def _check_metrics(metrics: Any) -> None:
    """Refuse metrics that RecBole has not."""
    if str(metrics).startswith("[") and unquoted(metrics):
        raise ConfigError(
            f"`metrics` is {shown_value(metrics)}; it is a list of names, such as [Hit, NDCG]{unquoted(metrics)}."
        )
    for name in metrics if isinstance(metrics, list) else [metrics]:
        if str(name).lower() not in metric_types:
            raise ConfigError(
                f"There is no metric named `{name}`{nearest(name, metric_types)}. Known: {', '.join(metric_types)}."
            )


# -- files -----------------------------------------------------------------------------------------


def _read_options(path: Any, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options that a YAML file holds, each read as its declaration says.

    Raises:
        ConfigError: If the file cannot be read or holds something else.
    """
    content = read_yaml(path, ConfigError, lambda node: keep_text(node, options))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"The config file `{path}` must hold `option: value` lines.")
    return content


def _layer(name: str) -> dict[str, Any]:
    """The options in a file of this package, if it is there."""
    return deepcopy(_layer_once(name))


@cache
def _layer_once(name: str) -> dict[str, Any]:
    resource = files("recbole_video.properties").joinpath(name)
    return _read_options(resource, {}) if resource.is_file() else {}  # no name in them looks like anything else


def _named_layer(kind: str, model: str, name: str) -> dict[str, Any]:
    """A variant of a model, or hyper-parameters of it or of all of a task; one that is named must exist."""
    folder = files("recbole_video.properties").joinpath(kind)
    known = sorted(path.name[len(model) + 1 : -5] for path in folder.iterdir() if path.name.startswith(f"{model}-"))
    if name not in known:
        raise ConfigError(f"There is no {kind} `{name}` of {model}{nearest(name, known)}: {', '.join(known)}.")
    return {kind: name, **_layer(f"{kind}/{model}-{name}.yaml")}


def resumed_run(
    config_files: Sequence[str | Path] | None = None,
    options: Mapping[str, Any] | None = None,
    command_line: Sequence[str] = (),
) -> str | None:
    """The folder that ``resume`` names; it is read before anything else is, since its run brings options of its own."""
    given = _Given(config_files or (), options or {}, command_line, trust=False, is_stored=False)
    resume = given.values(_RESUME).get("resume")
    return resume if isinstance(resume, str) else None


def class_named(path: str) -> type:
    """The model or item encoder at ``module:Class``, which must be the caller's word.

    Raises:
        ConfigError: If there is none, or it is neither.
    """
    cls = import_class("model or item encoder", path)
    is_encoder = isinstance(cls, type) and issubclass(cls, nn.Module) and not issubclass(cls, AbstractRecommender)
    return ITEM_ENCODERS.admit(cls, path) if is_encoder else _checked_model(cls, path)


def known_options(classes: Iterable[str] = ()) -> dict[str, Option]:
    """Every option that a command, or a model or encoder in the tables, declares; text where any has text.

    For what names options before it is known whose they are: a sweep, a command line with several models.

    Args:
        classes: Further ones, as ``module:Class``; one that this process does not know is passed over.
    """
    registries = (USER_ENCODERS, CONTROLS, POPULARITY_MODELS, LISTS)
    owners = [registry.get(name).Options for registry in registries for name in registry]
    owners += [ITEM_ENCODERS.get(name) for name in ITEM_ENCODERS]
    for registry in (*registries, ITEM_ENCODERS):
        further = [registry.get(name) for name in classes if ":" in name and registry.knows(name)]
        owners += [getattr(cls, "Options", cls) for cls in further]
    found = host_options(TEXT | TEXT_LISTS, {})
    for owner in dict.fromkeys([CommandOptions, *owners]):
        found |= {k: v for k, v in declared(owner).items() if v.is_text or v.is_text_list or k not in found}
    return found


# -- model, data set and item encoder --------------------------------------------------------------


def _chosen_model(model: Any, given: _Given) -> tuple[str, str, type]:
    """How it was named, its name, and its class."""
    if not model:
        default = next(iter(LISTS)) if given.choosing.get("score_lists") else DEFAULT_MODEL
        model = given.choosing.get("model") or default
        given.check_class_of_a_file("model", model, MODEL_REGISTRIES)
    return class_path(model), *_find_model(model)


def _chosen_dataset(dataset: str | None, given: _Given, task: str) -> str:
    name = str(dataset or given.choosing.get("dataset") or DEFAULT_DATASET[task])
    if not is_plain_name(name):  # option files are looked for by this name, too
        raise ConfigError(f"`dataset` is `{name}`; it must be the name of a folder, without a path to it.")
    return name


def _chosen_encoder(given: _Given, default: str, dataset_layer: dict[str, Any]) -> type:
    name = given.choosing.get("item_encoder")
    name = str(dataset_layer.get("item_encoder", default) if name is None else name)
    given.check_class_of_a_file("item_encoder", name, [ITEM_ENCODERS])
    return ITEM_ENCODERS.get(name)


def _find_model(model: str | type) -> tuple[str, type]:
    """Name and class of a model, by its name, by ``module:Class``, or as a class."""
    if not isinstance(model, str):
        cls = _checked_model(model, class_path(model))
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
        cls = _checked_model(import_class("model", model), model)
        return cls.__name__, cls
    return model, _stock_model(model, [*USER_ENCODERS, *CONTROLS, *POPULARITY_MODELS])


def _checked_model(cls: Any, shown: str) -> type:
    """A class that the caller gave as model, once it is known to be one.

    Raises:
        ConfigError: If it is none: neither of this package's nor of RecBole's kind.
    """
    kinds = {"recommendation": USER_ENCODERS, "lists": LISTS, "popularity": POPULARITY_MODELS, "stock": OTHER_MODELS}
    kind = _task_of(cls)
    is_control = kind == "recommendation" and cls.is_fitted_once()
    return (CONTROLS if is_control else kinds[kind]).admit(cls, shown)


def _task_of(model_class: type) -> str:
    if getattr(model_class, "is_popularity_model", False):
        return "popularity"
    if getattr(model_class, "is_ranked_lists", False):
        return "lists"
    return "recommendation" if getattr(model_class, "is_video_model", False) else "stock"


def _stock_model(name: str, others: Iterable[str] = ()) -> type:
    """RecBole's model class of that name; ``others`` are further names to suggest."""
    stock = {path.stem for path in MODEL_FILES.glob("*.yaml")}
    try:
        if name.lower() in {stem.lower() for stem in stock} | {"random"}:
            return get_model(name)
    except ImportError as error:
        raise ConfigError(f"RecBole's model `{name}` cannot be imported: {error}.") from error
    except (ValueError, AttributeError):
        pass  # another spelling of its name, which the message below suggests
    raise ConfigError(
        f"There is no model named `{name}`{nearest(name, stock | set(others))}. "
        f"Video models: {', '.join(USER_ENCODERS)}; controls: {', '.join(CONTROLS)}; popularity models: "
        f"{', '.join(POPULARITY_MODELS)}; RecBole's own run as well."
    )
