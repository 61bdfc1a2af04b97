"""The command line and option values in RecBole's notation, and the options of item encoders."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from typing import Any

import yaml

from recbole_video.errors import ConfigError

# Before the name of each option of an item encoder.
ENCODER_PREFIX = "encoder_"
SHORT_FLAGS = {"-m": "model", "-d": "dataset"}
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None, "~": None}


def convert_value(text: str) -> Any:
    """Turn the text of an option into a number, list, dict, boolean, ``None`` or string.

    RecBole evaluates the text as a Python expression; this reads Python and YAML literals only, so
    that no option can run code.
    """
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        pass
    if text.startswith(("[", "{")):
        try:
            return yaml.safe_load(text)
        except yaml.YAMLError:
            return text  # an interval such as [0,inf)
    return text


def parse_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """Read ``--key=value``, ``--key value``, ``--flag`` (True), ``-m MODEL`` and ``-d DATASET``.

    Raises:
        ConfigError: If a word belongs to no option, or an option is given twice with two values.
    """
    options: dict[str, Any] = {}
    words = list(arguments)
    while words:
        word = words.pop(0)
        flag, has_value, value = word.partition("=")
        if flag in SHORT_FLAGS:
            key = SHORT_FLAGS[flag]
        elif flag.startswith("--") and len(flag) > 2:
            key = flag[2:]
        else:
            raise ConfigError(f"`{word}` belongs to no option; write options as --key=value.")
        if not has_value:
            value = words.pop(0) if words and not _is_flag(words[0]) else "True"
        if key in options and options[key] != convert_value(value):
            raise ConfigError(f"`--{key}` is given twice, as `{options[key]}` and `{value}`; keep one.")
        options[key] = convert_value(value)
    return options


def _is_flag(word: str) -> bool:
    return word.startswith("--") or word.partition("=")[0] in SHORT_FLAGS


def constructor_options(cls: type) -> tuple[str, ...]:
    """Options of an item encoder: its constructor's arguments, apart from what the tower gives it."""
    given = ("frame_dim", "item_dim", "table")
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(cls).parameters.values()
    return tuple(p.name for p in parameters if p.kind in named and p.name not in given)


def constructor_defaults(cls: type) -> dict[str, Any]:
    """Default of each ``encoder_*`` option of an item encoder that has one."""
    parameters = inspect.signature(cls).parameters
    names = constructor_options(cls)
    return {ENCODER_PREFIX + n: parameters[n].default for n in names if parameters[n].default is not inspect._empty}
