"""The configuration of a run: made in one pass from what is declared and what was given, and left alone then.

Later layers win: RecBole's defaults < what run, task, model and item encoder declare < data set < variant < preset <
preset of that variant < config files < config_dict < command line.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from copy import copy, deepcopy
from pathlib import Path
from typing import Any, TypeVar

import torch
from recbole.evaluator import metric_types

from recbole_video.config.choice import chosen_dataset, chosen_model
from recbole_video.config.given import Given
from recbole_video.config.kinds import kind_of
from recbole_video.config.layers import at_a_cut_off, layer
from recbole_video.errors import ConfigError, nearest
from recbole_video.evaluation.regression_metrics import register as register_popularity_metrics
from recbole_video.files.values import is_plain, plain
from recbole_video.options.content import read_content
from recbole_video.options.option import (
    ENCODER_PREFIX,
    REQUIRED,
    Option,
    as_declared,
    check_void_rules,
    declared,
    shown_value,
    unquoted,
)
from recbole_video.options.recbole import check_host_options, check_known_keys, host_options
from recbole_video.options.run import RunOptions
from recbole_video.registry import Trust
from recbole_video.runtime import recbole_compat
from recbole_video.runtime.devices import choose_device
from recbole_video.runtime.metric_names import called_here
from recbole_video.runtime.processes import n_on_this_machine, processes
from recbole_video.runtime.recbole_host import HostConfig, host_defaults
from recbole_video.runtime.recbole_options import UNLISTED, names_read_by

O = TypeVar("O")  # noqa: E741 - a class of options

# What RecBole's own checks raise, on values of another kind too; RuntimeError is that of nesting too.
_HOST_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)
_LENGTH = "MAX_ITEM_LIST_LENGTH"  # of histories, which RecBole's own models read as well
_DERIVED = frozenset(["valid_neg_sample_args", "test_neg_sample_args", "valid_metric_bigger", "resume", "MODEL_TYPE"])


# What RecBole's models call the same thing by other names.
_SYNONYMS = (
    ("hidden_size", "embedding_size"),
    ("n_layers", "num_layers", "block_num"),
    ("hidden_dropout_prob", "dropout_prob", "dropout_probs"),
)


def _known_as(name: str, known: Collection[str]) -> str:
    """Under which name a model has what other models call otherwise; empty for none."""
    other = next((other for same in _SYNONYMS if name in same for other in same if other in known), None)
    return f" (it is called `{other}` here)" if other else ""


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
        is_stored: As the argument is.
        is_shared: As the argument is; so are options that were stored.

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
        given = Given(config_file_list or (), config_dict or {}, command_line, trust, is_stored)
        self.is_stored, self.is_shared = is_stored, is_shared or is_stored
        self.model_class: Any  # one of this package's kinds, or of RecBole's
        self._model_option, self.model, self.model_class = chosen_model(model, given)
        kind = kind_of(self.model_class)
        self.dataset = chosen_dataset(dataset, given, kind.default_dataset)
        self._kind = kind(self.model, self.model_class, given, layer(f"dataset/{self.dataset}.yaml"))
        host, host_names = host_defaults(self.model, self.model_class, self.dataset)
        own = self._declare(host, host_names)
        self.given: Mapping[str, Any] = {
            name: value for name, value in given.values(self.declarations).items() if not self._is_no_value(name, value)
        }
        self.file_options: Mapping[str, Any] = given.file_values(self.declarations)
        self.defaults: Mapping[str, Any] = self._layered(host, own)
        self._check_no_unknown_options()
        self._values: Mapping[str, Any] = {**self.defaults, **self.given, "model": self.model, "dataset": self.dataset}
        self._host = self._finish()
        self._values = self._host.final_config_dict
        self._kind.check(self)

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
        return self._kind.task

    @property
    def keeps_frame_dim(self) -> bool:
        """Whether item vectors are as wide as the one modality that is read, whatever the model's default."""
        return self._kind.keeps_frame_dim(self)

    @property
    def inputs_read(self) -> frozenset[str]:
        """Which inputs the model reads, by name, where they are there.

        Of a popularity model, which of ``frames``, ``text``, ``metadata`` and further modalities; a control reads
        fewer. Of a recommender, the modalities of its content; none where the item encoder knows ids alone, or a
        control asks for none.
        """
        return self._kind.inputs_read(self)

    @property
    def filters_by_content(self) -> bool:
        """Whether a control that reads no content leaves out what others leave out for want of it."""
        return self._kind.filters_by_content(self)

    def encoder_options(self) -> dict[str, Any]:
        """Constructor arguments of the item encoder: the ``encoder_*`` options, without the prefix."""
        encoder = self._kind.encoder
        options = declared(encoder) if encoder is not None else {}
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
        if option is None or option.is_text or not (self.is_stored and isinstance(value, str)):
            return False
        return option.default is not REQUIRED and not is_plain(option.default)

    def _declare(self, host: dict[str, Any], host_names: Iterable[str]) -> dict[str, Option]:
        """Find out which options there are; return those of this package."""
        own = self._kind.declared(host["MODEL_TYPE"])
        names = {*host, *host_names, *UNLISTED, *names_read_by(self.model_class)} - {"MODEL_TYPE"}
        self.declarations: Mapping[str, Option] = {**host_options(names, host), **own}
        check_void_rules(own, self.declarations, self.model)
        return own

    def _layered(self, host: dict[str, Any], own: dict[str, Option]) -> dict[str, Any]:
        """The default of each option in this run, after data set, variant and preset."""
        defaults = {k: deepcopy(option.default) for k, option in own.items() if option.default is not REQUIRED}
        defaults = {**host, **defaults}
        self._kind.add_layers(defaults, self.given)
        defaults["valid_metric"] = at_a_cut_off(defaults["valid_metric"], self.given.get("topk", defaults.get("topk")))
        return defaults

    def _check_no_unknown_options(self) -> None:
        known = self.declarations
        unknown = [key for key in self.given if key not in known]
        if unknown:
            named = ", ".join(
                f"`{key}` is not an option{_known_as(key, known) or nearest(key, known)}" for key in unknown
            )
            raise ConfigError(f"{named} for {self._kind.shown}.")

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
        self._kind.complete(self, values, device)
        try:
            host = HostConfig(self.model, self.model_class, self.dataset, values, device)
        except _HOST_ERRORS as error:
            raise ConfigError(f"RecBole refuses these options: {error}") from error
        host.final_config_dict |= self._kind.for_host(values)
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
        if not self.is_stored:  # an earlier version left them alone
            check_known_keys(self.given)
        if _LENGTH in self.given:
            self.declarations[_LENGTH].check(self.given[_LENGTH])
        if values.get("world_size") not in (None, 1) or "local_rank" in values:
            raise ConfigError(
                "`world_size` and `local_rank` follow from who starts the processes: use nproc for several on this "
                "machine, or torchrun."
            )
        self._kind.check_given(self, values)

    def _check_not_empty(self, name: str, value: Any) -> None:
        """Refuse ``option: ~`` where the option must be something."""
        option, default = self.declarations[name], self.defaults.get(name)
        if value is None and option.is_text and isinstance(default, str) and not option.may_be_empty:
            raise ConfigError(f"`{name}` is empty; leave it out for `{default}`, or set it.")


def _check_metrics(metrics: Any) -> None:
    """Refuse metrics that RecBole has not."""
    if str(metrics).startswith("[") and unquoted(metrics):
        raise ConfigError(
            f"`metrics` is {shown_value(metrics)}; it is a list of names, such as [Hit, NDCG]{unquoted(metrics)}."
        )
    for name in metrics if isinstance(metrics, list) else [metrics]:
        head, at, cut_off = str(name).partition("@")
        if str(name).lower() not in metric_types:
            advice = f"; cut-offs are `topk`, --topk={cut_off}" if at else ""
            raise ConfigError(
                f"There is no metric named `{name}`{called_here(head, metric_types) or nearest(head, metric_types)}"
                f"{advice}. "
                f"Known: {', '.join(metric_types)}."
            )
