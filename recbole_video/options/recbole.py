"""RecBole's own options as declarations: made from its files' defaults, and what those do not say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from recbole_video.errors import ConfigError, nearest
from recbole_video.options.option import (
    A_SHARE,
    MOST_LAYERS,
    REQUIRED,
    Option,
    Rule,
    shown_value,
    type_of,
    unquoted,
)
from recbole_video.options.run import is_number
from recbole_video.runtime.recbole_options import (
    ANY_KIND,
    INTERVALS,
    LAYERS,
    MAY_BE_EMPTY,
    NOTATION,
    PATHS,
    SHARES,
    SIZES,
    TEXT,
    TEXT_LISTS,
)

_CLIPPING = frozenset(["max_norm", "norm_type", "error_if_nonfinite", "foreach"])
_INTERVAL = re.compile(
    r"[(\[]\s*[-+]?(?:[\d.]+(?:e[-+]?\d+)?|inf)\s*,\s*[-+]?(?:[\d.]+(?:e[-+]?\d+)?|inf)\s*[)\]]", re.I
)
_TEXTS = list[str] | dict[str, list[str]] | None


def host_options(names: Iterable[str], defaults: Mapping[str, Any]) -> dict[str, Option]:
    """Declarations of RecBole's options ``names``, some of which have defaults."""
    return {name: _declaration(name, defaults.get(name)) for name in names}


def _declaration(name: str, default: Any) -> Option:
    if name in TEXT_LISTS:
        return Option(name, _TEXTS, default, Rule(by_hand=name in ANY_KIND or not isinstance(default, list)))
    if name in TEXT or (isinstance(default, str) and name not in ANY_KIND):
        kind: Any = str | None if name in NOTATION or name in MAY_BE_EMPTY else str
        if default is None and name not in MAY_BE_EMPTY:
            default = REQUIRED
        rule = Rule(is_path=name in PATHS, is_notation=name in NOTATION, by_hand=default in (None, REQUIRED))
        return Option(name, kind, default, rule)
    if name in ANY_KIND or default is None:
        return Option(name, Any, default, Rule(by_hand=True))
    kind = type_of(default)
    return Option(name, kind | None if kind is dict else kind, default, _bounds(name))


def _bounds(name: str) -> Rule:
    if name in SHARES:
        return Rule(at_least=0, at_most=1, must=A_SHARE)
    return Rule(at_least=1 if name in SIZES else None, at_most=MOST_LAYERS if name in LAYERS else None)


# Keys of options that are dictionaries, of which RecBole passes over what it does not know.
_KEYS: dict[str, tuple[str, ...]] = {
    "eval_args": ("split", "group_by", "order", "mode"),
    "eval_args split": ("RS", "LS"),
    "eval_args mode": ("valid", "test"),
    "train_neg_sample_args": ("distribution", "sample_num", "alpha", "dynamic", "candidate_num"),
}


def check_known_keys(given: Mapping[str, Any]) -> None:
    """Refuse keys that RecBole would pass over, in options that are dictionaries of known keys.

    Args:
        given: What was given, by option.

    Raises:
        ConfigError: On the first such key.
    """
    for name, known in _KEYS.items():
        option, _, inner = name.partition(" ")
        value = given.get(option)
        value = value.get(inner) if inner and isinstance(value, dict) else None if inner else value
        unknown = [key for key in value if key not in known] if isinstance(value, dict) else []
        if unknown:
            key = str(unknown[0])
            meant, space = nearest(key.partition(":")[0], known), "; write a space after its colon" * (":" in key)
            raise ConfigError(f"`{key}` is no key of `{name}`{meant}; it has {', '.join(known)}{space}.")


def check_host_options(values: Mapping[str, Any]) -> None:
    """Refuse values of RecBole's options that no model can use, its own included.

    Raises:
        ConfigError: On the first such value.
    """
    _check_clipping(values["clip_grad_norm"])
    columns = values["load_col"]
    if columns is not None and not (isinstance(columns, dict) and columns.get("inter")):
        raise ConfigError(
            f"`load_col` is `{columns}`; it names the fields to read of each file, such as "
            "{inter: [user_id, item_id, timestamp]}."
        )
    for name in INTERVALS:
        _check_interval(name, values[name])
    if not isinstance(values["val_interval"] or {}, dict):
        raise ConfigError(
            f"`val_interval` is {shown_value(values['val_interval'])}; it gives an interval by field, such as "
            f"{{rating: '[3,inf)'}}{unquoted(values['val_interval'])}."
        )
    for field, interval in (values["val_interval"] or {}).items():
        _check_interval(f"val_interval {field}", interval)


def _check_clipping(clip: Any) -> None:
    """What ``clip_grad_norm_`` takes; a norm below 0 would turn the gradient round."""
    if clip is None:
        return
    norms: list[Any] = [clip.get("max_norm"), clip.get("norm_type", 2.0)] if isinstance(clip, dict) else [None]
    if not (all(is_number(n) and n > 0 for n in norms) and set(clip) <= _CLIPPING):
        raise ConfigError(
            f"`clip_grad_norm` is {shown_value(clip)}; it must be a dictionary such as {{'max_norm': 1.0}}, with "
            f"numbers above 0{unquoted(clip)}."
        )


def _check_interval(name: str, interval: Any) -> None:
    """RecBole's notation; it leaves out what it cannot read."""
    if interval is not None and not all(_INTERVAL.fullmatch(part.strip()) for part in str(interval).split(";")):
        raise ConfigError(
            f"`{name}` is `{interval}`; it must be an interval such as [5,inf), or several with ; between."
        )
