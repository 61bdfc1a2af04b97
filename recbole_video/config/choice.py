"""Which model and data set were chosen, and which options there may be before that is known."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recbole.model.abstract_recommender import AbstractRecommender
from recbole.utils import get_model
from torch import nn

from recbole_video.config.given import STOCK_PREFIX, Given
from recbole_video.config.kinds import kind_of
from recbole_video.errors import ConfigError, nearest
from recbole_video.files.names import is_plain_name
from recbole_video.options.option import Option, declared
from recbole_video.options.recbole import host_options
from recbole_video.options.run import CommandOptions
from recbole_video.registries import (
    CONTROLS,
    ITEM_ENCODERS,
    LISTS,
    MODEL_REGISTRIES,
    POPULARITY_MODELS,
    USER_ENCODERS,
)
from recbole_video.registry import class_path, import_class
from recbole_video.runtime.recbole_host import MODEL_FILES
from recbole_video.runtime.recbole_options import TEXT, TEXT_LISTS

DEFAULT_MODEL = "SASRec"


def chosen_model(model: Any, given: Given) -> tuple[str, str, type]:
    """How the model was named, its name, and its class.

    Raises:
        ConfigError: If there is none, or a file names a class that is not trusted.
    """
    if not model:
        default = next(iter(LISTS)) if given.choosing.get("score_lists") else DEFAULT_MODEL
        model = given.choosing.get("model") or default
        given.check_class_of_a_file("model", model, MODEL_REGISTRIES)
    return class_path(model), *_find_model(model)


def chosen_dataset(dataset: str | None, given: Given, default: str) -> str:
    """Name of the data set.

    Raises:
        ConfigError: If it is no name of a folder.
    """
    name = str(dataset or given.choosing.get("dataset") or default)
    if not is_plain_name(name):  # option files are looked for by this name, too
        raise ConfigError(f"`dataset` is `{name}`; it must be the name of a folder, without a path to it.")
    return name


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
    return kind_of(cls).registry.admit(cls, shown)


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


def class_named(path: str) -> type:
    """The model or item encoder at ``module:Class``, which must be the caller's word.

    Raises:
        ConfigError: If there is none, or it is neither.
    """
    cls = import_class("model or item encoder", path)
    is_encoder = isinstance(cls, type) and issubclass(cls, nn.Module) and not issubclass(cls, AbstractRecommender)
    return ITEM_ENCODERS.admit(cls, path) if is_encoder else _checked_model(cls, path)


def known_options(classes: Iterable[str] = ()) -> dict[str, Option]:
    """Every option that any command, or a model or encoder in the tables, declares; text where any has text.

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
