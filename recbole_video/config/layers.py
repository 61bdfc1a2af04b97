"""The layers between the declared defaults and what was given: the option files of this package."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from importlib.resources import files
from typing import Any

from recbole_video.config.given import read_options
from recbole_video.errors import ConfigError, nearest
from recbole_video.options.run import is_whole


def layer(name: str) -> dict[str, Any]:
    """The options in a file of this package, if it is there."""
    return deepcopy(_layer_once(name))


@cache
def _layer_once(name: str) -> dict[str, Any]:
    resource = files("recbole_video.properties").joinpath(name)
    return read_options(resource, {}) if resource.is_file() else {}  # no name in them looks like anything else


def named_layer(kind: str, model: str, name: str) -> dict[str, Any]:
    """A variant of a model, or hyper-parameters of it or of all of a task; one that is named must exist."""
    folder = files("recbole_video.properties").joinpath(kind)
    known = sorted(path.name[len(model) + 1 : -5] for path in folder.iterdir() if path.name.startswith(f"{model}-"))
    if name not in known:
        raise ConfigError(f"There is no {kind} `{name}` of {model}{nearest(name, known)}: {', '.join(known)}.")
    return {kind: name, **layer(f"{kind}/{model}-{name}.yaml")}


def at_a_cut_off(metric: Any, topk: Any) -> Any:
    """A default such as ``NDCG@10`` at a cut-off that there is: the first, where ``topk`` lacks its own."""
    top = topk if isinstance(topk, list) else [topk]
    head, at, own = str(metric).partition("@")
    if not at or not top or not all(map(is_whole, top)) or own in map(str, top):
        return metric
    return f"{head}@{top[0]}"
