"""Which content a run reads: the options ``content``, ``frame_store`` and those of text, as names with their stores."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from recbole_video.errors import ConfigError, nearest

FRAMES = "frames"
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
    chosen = own if given is None else {name: store or own.get(name) for name, store in stores_by_name(given).items()}
    return {name: store for name, store in chosen.items() if f"use_{name}" not in config or config[f"use_{name}"]}


def named_stores(config: Any) -> list[str]:
    """The stores that options name, beside the frames that a data set has without being asked."""
    if "content" not in config:  # a model of RecBole's own
        return []
    if config["content"] is None:
        words = [config["frame_store"] or FRAMES]
    else:
        words = [store or name for name, store in chosen_content(config).items()]
    return [word for word in words if word != FRAMES]


def reads_several(config: Any) -> bool:
    """Whether an item encoder is to read more than one modality."""
    return len(chosen_content(config)) > 1


def in_order(content: Any) -> Any:
    """``content`` in a form whose order neither a file nor a comparison loses.

    The order of modalities is part of a model, of its weights and of its random numbers. Files are written with sorted
    keys, and mappings are equal in whatever order: names with stores that are not sorted become a list of them,
    ``[{frames: clip}, audio]``. Anything else stays as it is.
    """
    if not isinstance(content, dict) or list(content) == sorted(content, key=str):
        return content
    return [name if store is None else {name: store} for name, store in content.items()]


def read_content(given: Any) -> Any:
    """``content`` as it was given, in order.

    Raises:
        ConfigError: If it is no names.
    """
    if given is None:
        return None
    _check_shape(given)
    return in_order(given)


def ordered_as(content: Any, names: Sequence[str]) -> Any:
    """``content``, which a file has as a mapping with sorted keys, in the order of ``names``, see :func:`in_order`."""
    place = {name: i for i, name in enumerate(names)}
    return in_order({name: content[name] for name in sorted(content, key=lambda name: place.get(name, len(place)))})


def stores_by_name(content: Any) -> dict[Any, Any]:
    """Name -> store of what ``content`` is, which may be neither, in its order; a name alone has None."""
    return dict(_pairs(content))


def _pairs(content: Any) -> list[tuple[Any, Any]]:
    """Names with their stores of ``frames``, ``[frames, {text: titles}]`` or ``{frames: clip, text: ~}``."""
    parts = content if isinstance(content, list) else [content]
    return [pair for part in parts for pair in (part.items() if isinstance(part, dict) else [(part, None)])]


def check_content(config: Any, readable: Collection[str] | None = None, reads: Collection[str] = ()) -> None:
    """Refuse a ``content`` that names what cannot be, or one twice, or contradicts ``frame_store`` or ``text_store``.

    Args:
        config: The configuration, all layers merged.
        readable: The names that may be given; None for any.
        reads: Those of them that the model reads, for the message.

    Raises:
        ConfigError: On the first fault.
    """
    content = config["content"]
    if content is None:
        return
    names = [name for name, _ in _pairs(content)]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"`content` names `{twice[0]}` twice; name each modality once.")
    for name in names:
        _check_name(name)
        if readable is not None and name not in readable:
            does = f"it reads {', '.join(sorted(reads))}" if reads else "it only leaves out what frames and text lack"
            raise ConfigError(
                f"`content` names `{name}`, which {config['model']} does not read{nearest(name, readable)}; {does}."
            )
    for name, option in _OLD_OPTION.items():
        if option in config:
            _check_single_store(config, name, option)


def _check_shape(content: Any) -> None:
    pairs = _pairs(content)
    are_names = all(isinstance(name, str) for name, _ in pairs)
    if not pairs or not are_names or not all(store is None or isinstance(store, str) for _, store in pairs):
        raise ConfigError(
            f"`content` is `{content}`; it must be a list of names, such as [frames, text], or names with their "
            "stores, such as {frames: clip, text: ~}."
        )


def _check_name(name: str) -> None:
    """Refuse what cannot be the name of a modality, which is a word where a store's may have spaces."""
    if _NAME.fullmatch(name):
        return
    word = re.sub(r"\W+", "_", name).strip("_") or "NAME"
    how = f"[{', '.join(part.strip() for part in name.split(','))}]" if "," in name else f"{{{word}: '{name}'}}"
    raise ConfigError(
        f"`content` names `{name}`; a name is made of letters, digits, _, . and -: "
        f"{'several are' if ',' in name else 'a store of another name is'} written {how}."
    )


def _check_single_store(config: Any, name: str, option: str) -> None:
    """``content`` and the older option may both name a store, but not two, nor one for nothing."""
    older, named = config[option], stores_by_name(config["content"])
    if older is None or older == config.defaults.get(option):
        return
    if name not in named:
        raise ConfigError(f"`{option}` is the store of `{name}`, which `content` does not name; leave one of them out.")
    if named[name] not in (None, older):
        raise ConfigError(f"`content` says `{named[name]}` of `{name}`, and `{option}` says `{older}`; leave one out.")


def check_fusion(config: Any, is_of_before: bool = False) -> None:
    """Refuse options about several modalities that cannot be, or do nothing.

    Args:
        config: The configuration, all layers merged.
        is_of_before: Whether it is of a run that was made before: earlier versions took them for one modality, too.

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
        if value is not None and not is_of_before and not reads_several(config):
            [only] = chosen_content(config)
            raise ConfigError(
                f"`{name}` is about several modalities, and `content` names `{only}` alone; leave it out."
            )
    if width is not None and how in LATE:
        raise ConfigError(f"`content_width` is what content_fusion=early projects to; leave it out with {how}.")
