"""Which content a run reads: the options ``content``, ``frame_store`` and those of text, as names with their stores."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from recbole_video.errors import ConfigError, nearest

EARLY = "early"
LATE = ("late", "late_gate", "late_concat")
_NAME = re.compile(r"\w[\w.-]*")
_OLD_OPTION = {"frames": "frame_store", "text": "text_store"}


def chosen_content(config: Any) -> dict[str, str | None]:
    """Name of each modality that a run may read -> its store, as :func:`recbole_video.content.store.store_path` has it.

    Without ``content`` it is ``frames``, of ``frame_store``, and for popularity ``text``, of ``text_store``.
    ``use_frames=False`` and ``use_text=False`` leave theirs out, whatever ``content`` lists.

    Args:
        config: The configuration; only options are read, so that it may be one that notes them.
    """
    own = {name: config[option] for name, option in _OLD_OPTION.items() if option in config}
    given = config["content"]
    chosen = own if given is None else {name: store or own.get(name) for name, store in _by_name(given).items()}
    return {name: store for name, store in chosen.items() if f"use_{name}" not in config or config[f"use_{name}"]}


def named_stores(config: Any) -> list[str]:
    """The stores that options name, beside the frames that a data set has without being asked."""
    if "content" not in config:  # a model of RecBole's own
        return []
    if config["content"] is None:
        return [config["frame_store"]] if config["frame_store"] else []
    return [store or name for name, store in chosen_content(config).items() if store or name != "frames"]


def reads_several(config: Any) -> bool:
    """Whether an item encoder is to read more than one modality."""
    return len(chosen_content(config)) > 1


def _by_name(content: Any) -> dict[str, str | None]:
    """``frames``, ``[frames, text]`` or ``{frames: clip, text: ~}`` as the last one."""
    if isinstance(content, dict):
        return dict(content)
    return dict.fromkeys([content] if isinstance(content, str) else content)


def check_content(config: Any, readable: Collection[str] | None = None) -> None:
    """Refuse a ``content`` that is no names, names one twice, or contradicts ``frame_store`` or ``text_store``.

    Args:
        config: The configuration, all layers merged.
        readable: The names that the model knows; None for any.

    Raises:
        ConfigError: On the first fault.
    """
    content = config["content"]
    if content is None:
        return
    _check_shape(content)
    _check_no_repeats(content)
    for name in _by_name(content):
        if not _NAME.fullmatch(name):
            raise ConfigError(f"`content` names `{name}`; a name is made of letters, digits, _, . and -.")
        if readable is not None and name not in readable:
            raise ConfigError(
                f"`content` names `{name}`, which {config['model']} does not read{nearest(name, readable)}; it reads "
                f"{', '.join(sorted(readable))}."
            )
    for name, option in _OLD_OPTION.items():
        if option in config:
            _check_single_store(config, name, option)


def _check_shape(content: Any) -> None:
    stores = list(content.values()) if isinstance(content, dict) else []
    names = [content] if isinstance(content, str) else content
    is_list = isinstance(names, (list, dict)) and len(names) > 0 and all(isinstance(name, str) for name in names)
    if not is_list or not all(store is None or isinstance(store, str) for store in stores):
        raise ConfigError(
            f"`content` is `{content}`; it must be a list of names, such as [frames, text], or names with their "
            "stores, such as {frames: clip, text: ~}."
        )


def _check_no_repeats(content: Any) -> None:
    twice = [name for name in content if content.count(name) > 1] if isinstance(content, list) else []
    if twice:
        raise ConfigError(f"`content` names `{twice[0]}` twice; name each modality once.")


def _check_single_store(config: Any, name: str, option: str) -> None:
    """``content`` and the older option may both name a store, but not two, nor one for nothing."""
    older, named = config[option], _by_name(config["content"])
    if older is None or older == config.defaults.get(option):
        return
    if name not in named:
        raise ConfigError(f"`{option}` is the store of `{name}`, which `content` does not name; leave one of them out.")
    if named[name] not in (None, older):
        raise ConfigError(f"`content` says `{named[name]}` of `{name}`, and `{option}` says `{older}`; leave one out.")


def check_fusion(config: Any) -> None:
    """Refuse options about several modalities that cannot be, or do nothing.

    A single modality named by ``content`` keeps the options of the runs that it is compared with.

    Raises:
        ConfigError: On the first such option.
    """
    how, width = config["content_fusion"], config["content_width"]
    if how not in (None, EARLY, *LATE):
        raise ConfigError(f"`content_fusion` is `{how}`; it must be one of {', '.join((EARLY, *LATE))}, or empty.")
    if width is not None and (isinstance(width, bool) or not isinstance(width, int) or width < 1):
        raise ConfigError(f"`content_width` is `{width}`; it must be a whole number of at least 1, or empty.")
    for name, value in (("content_fusion", how), ("content_width", width)):
        if value is not None and config["content"] is None:
            raise ConfigError(f"`{name}` is about several modalities; name them by content, or leave it out.")
    if width is not None and how in LATE:
        raise ConfigError(f"`content_width` is what content_fusion=early projects to; leave it out with {how}.")
