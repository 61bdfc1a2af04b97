"""The command line and option values in RecBole's notation, and the options of item encoders."""

from __future__ import annotations

import ast
import inspect
import math
import numbers
import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from recbole_video.errors import ConfigError
from recbole_video.files.reading import parse_yaml
from recbole_video.text_options import (
    PATH_OPTIONS,
    TEXT_LISTS,
    TEXT_OPTIONS,
    expand_home,
    keep_text,
    text_from_value,
    text_from_word,
)

# Before the name of each option of an item encoder.
ENCODER_PREFIX = "encoder_"
SHORT_FLAGS = {"-m": "model", "-d": "dataset"}
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None, "~": None}
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # none of which a name or a separator needs
_LARGEST_INTEGER = 2**63 - 1
# Commands that say themselves what they lack.
_ALONE = frozenset(["sweep", "report", "resume"])


def convert_value(text: str) -> Any:
    """Turn the text of an option into a number, list, dict, boolean, ``None`` or string.

    RecBole evaluates the text as a Python expression; this reads Python and YAML literals only, so
    that no option can run code.
    """
    text = text.strip()
    if text in _WORDS:
        return _WORDS[text]
    value = _literal(text)
    if value is not None:
        return value
    if text.startswith(("[", "{")):
        try:
            return parse_yaml(text, "An option", ConfigError)
        except ConfigError:
            return text  # an interval such as [0,inf)
    return text


def convert_option(name: str, text: str) -> Any:
    """Turn the text of the option ``name`` into its value; that of a text option stays as it is written."""
    if name in TEXT_OPTIONS:
        return text_from_word(name, text)
    if name not in TEXT_LISTS or not text.strip().startswith(("[", "{", "(")):
        return text if name in TEXT_LISTS and text.strip() not in _WORDS else convert_value(text)
    value = _literal(text.strip())
    if value is not None and _are_text(value):
        return value
    try:
        lines = parse_yaml(f"{name}: {text}", f"`{name}`", ConfigError, keep_text)
        return lines[name]
    except ConfigError:
        return text


def convert_given(name: str, value: Any) -> Any:
    """The value that a program gives for an option: RecBole takes text for notation, unless the option is text."""
    if name in TEXT_OPTIONS or (name in TEXT_LISTS and not isinstance(value, str)):
        return text_from_value(name, value)
    if not isinstance(value, str) or not value.strip():
        return value
    converted = convert_option(name, value)
    return value if name in TEXT_LISTS and isinstance(converted, (bool, int, float)) else converted  # one name


def _literal(text: str) -> Any:
    """The value of a Python literal; None if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested too deeply
        return None


def _are_text(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_are_text(inner) for pair in value.items() for inner in pair)
    return all(map(_are_text, value)) if isinstance(value, (list, tuple)) else isinstance(value, str)


def check_value(name: str, value: Any) -> None:
    """Refuse what no option can be: text that is no Unicode or acts on a terminal, numbers beyond 64 bits or endless.

    Raises:
        ConfigError: On the first such value, however deep.
    """
    if isinstance(value, str):
        if _CONTROL.search(value) or not _is_unicode(value):
            raise ConfigError(f"`{name}` is `{value}`; it holds a character that text cannot have: write it anew.")
    elif isinstance(value, dict):
        for inner in (*value, *value.values()):
            check_value(name, inner)
    elif isinstance(value, (list, tuple, set)):
        for inner in value:
            check_value(name, inner)
    elif isinstance(value, numbers.Integral):
        if abs(int(value)) > _LARGEST_INTEGER:
            raise ConfigError(f"`{name}` has a whole number beyond 64 bits; give a smaller one.")
    elif isinstance(value, numbers.Real) and not math.isfinite(value):
        raise ConfigError(f"`{name}` is `{value}`; give a number that has an end.")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def split_paths(given: Any, name: str) -> list[str]:
    """The paths of an option that takes several: a list, or separated by spaces, in quotes where they have one.

    One path that exists is taken as it is, spaces and all. ``~`` is the home folder.

    Raises:
        ConfigError: If they cannot be told apart, or there is none.
    """
    if given in (None, ""):
        return []
    if isinstance(given, Path):
        given = str(given)
    paths = _split(given, name) if isinstance(given, str) else given
    if not isinstance(paths, (list, tuple)) or not all(isinstance(path, (str, Path)) for path in paths):
        raise ConfigError(f'`{name}` is `{given}`; name files or folders, as in --{name}="a b".')
    return [str(expand_home("data_path", str(path))) for path in paths]


def _split(given: str, name: str) -> list[str]:
    """Of a text, the paths in it."""
    if _exists(expand_home("data_path", given)):
        return [given]
    if given.lstrip().startswith("["):
        listed = convert_option("config_files", given)
        if isinstance(listed, list):
            return [str(path) for path in listed]
    if not set(given) & set("'\""):
        return given.split()
    try:
        return shlex.split(given)
    except ValueError as error:
        raise ConfigError(f"`{name}` is `{given}`; close its quotes.") from error


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # longer than a name can be, or no text
        return False


def parse_command_line(arguments: Sequence[str]) -> dict[str, Any]:
    """Read ``--key=value``, ``--key value``, ``--flag`` (True), ``-m MODEL`` and ``-d DATASET``.

    Raises:
        ConfigError: If a word belongs to no option, an option is given twice with two values, or lacks its value.
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
        if has_value or (words and not _is_flag(words[0])):
            converted = convert_option(key, value if has_value else words.pop(0))
        elif key in TEXT_OPTIONS - _ALONE:
            raise ConfigError(f"`{word}` lacks its value; write --{key}={'PATH' if key in PATH_OPTIONS else 'NAME'}.")
        else:
            converted = True
        check_value(key, converted)
        if key in options and options[key] != converted:
            raise ConfigError(f"`--{key}` is given twice, as `{options[key]}` and `{converted}`; keep one.")
        options[key] = converted
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
