"""Values of options out of what was written: words of a command line, YAML files, values of a program.

A name stays what was written, though it looks like a number or a boolean: ``--label=2024_01`` is no 202401,
``dataset: no`` no False, and ``--frame_store=007`` keeps its zeros. What is a name, the declarations say.
"""

from __future__ import annotations

import ast
import math
import numbers
import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

import yaml

from recbole_video.errors import ConfigError
from recbole_video.files.reading import parse_yaml
from recbole_video.options.option import Option

SHORT_FLAGS = {"-m": "model", "-d": "dataset"}
_WORDS = {"True": True, "true": True, "False": False, "false": False, "None": None, "null": None, "~": None}
_EMPTY_WORDS = ("", "~", "None")
_SWITCH_WORDS = {"True": True, "true": True, "False": False, "false": False}
# What YAML reads out of a word that is not in quotes.
_IMPLICIT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "merge", "timestamp"))
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_TEXT = "tag:yaml.org,2002:str"
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")  # none of which a name or a separator needs
_LARGEST_INTEGER = 2**63 - 1
# What says itself what it lacks.
_ALONE = frozenset(["sweep", "report", "resume", "config_files"])
# An option without a declaration.
_UNDECLARED = Option("", Any, None)
_LIST_OF_TEXTS = Option("", list[str], None)


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


def convert_option(option: Option | None, text: str) -> Any:
    """Turn the text of an option into its value; that of a text option stays as it is written."""
    if option is None or not (option.is_text or option.is_text_list):
        return convert_value(text)
    if option.is_text:
        return text_from_word(option, text)
    found = convert_list_of_texts(text)
    word = text.strip()
    if isinstance(found, str) and (word[:1], word[-1:]) in (("[", "]"), ("{", "}")):  # meant as one: say what is wrong
        parse_yaml(word, f"`{option.name}`", ConfigError)
    return found


def convert_list_of_texts(text: str) -> Any:
    """Turn the text of a list of names into the list; a text that is none stays as it is."""
    if not text.strip().startswith(("[", "{", "(")):
        return None if _WORDS.get(text.strip(), text) is None else text  # one name
    value = _literal(text.strip())
    if value is not None and _are_text(value):
        return value
    try:
        return parse_yaml(text, "An option", ConfigError, lambda node: _as_text(node, _LIST_OF_TEXTS))
    except ConfigError:
        return text


def convert_given(option: Option | None, value: Any) -> Any:
    """The value that a program gives for an option: RecBole takes text for notation, unless the option is text."""
    if option is not None and (option.is_text or (option.is_text_list and not isinstance(value, str))):
        return text_from_value(option, value)
    return convert_option(option, value) if isinstance(value, str) and value.strip() else value


def _literal(text: str) -> Any:
    """The value of a Python literal; None if it is none."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # the last two: nested too deeply
        return None


def _are_text(value: Any) -> bool:
    """Whether it is text, a list of texts, or texts by name, of which some may be empty."""
    if isinstance(value, dict):
        return _are_text(list(value)) and all(inner is None or _are_text(inner) for inner in value.values())
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


def text_from_word(option: Option, word: str) -> str | bool | None:
    """The value of a text option as it was written on the command line: quotes around all of it are taken off."""
    if option.is_switch and word in _SWITCH_WORDS:
        return _SWITCH_WORDS[word]
    if option.may_be_empty and word in _EMPTY_WORDS:
        return None
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        try:
            return str(ast.literal_eval(word))
        except (ValueError, SyntaxError):
            return word
    return word


def text_from_value(option: Option, value: Any) -> Any:
    """The value of a text option, or of a list of texts, as a program gave it: a whole number becomes its digits.

    Raises:
        ConfigError: If it is a fraction or a boolean, of which nobody knows how they were written.
    """
    if value is None or isinstance(value, str) or (option.name == "model" and isinstance(value, type)):
        return value
    if isinstance(value, PurePath) or (isinstance(value, numbers.Integral) and not isinstance(value, bool)):
        return str(value)
    if option.is_switch and isinstance(value, bool):
        return value
    if option.is_text_list and isinstance(value, (list, tuple)):
        return [text_from_value(option, inner) for inner in value]
    if option.is_text_list and isinstance(value, dict):
        return {text_from_value(option, key): text_from_value(option, inner) for key, inner in value.items()}
    what = "True, False or text" if option.is_switch else "text"
    raise ConfigError(f"`{option.name}` is `{value}`; it must be {what}: write it in quotes.")


def keep_text(node: yaml.Node, options: Mapping[str, Option], deep: bool = False) -> yaml.Node:
    """Let YAML read the values of text options, and all keys, as they are written.

    Args:
        node: A document, composed and not yet made into values.
        options: Declarations by key.
        deep: Look for those keys at any depth, not in the outermost lines alone.
    """
    if isinstance(node, yaml.SequenceNode) and deep:
        return _with_value(node, [keep_text(inner, options, deep) for inner in node.value])
    if not isinstance(node, yaml.MappingNode):
        return node
    pairs = []
    for key, value in node.value:
        option = options.get(key.value, _UNDECLARED) if isinstance(key, yaml.ScalarNode) else _UNDECLARED
        below = keep_text(value, options, deep) if deep else value
        pairs.append((_key(key), _text_or_empty(value, option) if option.is_text or option.is_text_list else below))
    return _with_value(node, pairs)


def _text_or_empty(node: yaml.Node, option: Option) -> yaml.Node:
    may_be_empty = option.may_be_empty or option.is_text_list
    return node if may_be_empty and _is_null(node) else _as_text(node, option)


def _is_null(node: yaml.Node) -> bool:
    """Whether it is ``null`` without quotes, as YAML is written where there is no value."""
    return node.tag == _NULL and node.value == "null"


def _as_text(node: yaml.Node, option: Option) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode):
        return _with_value(node, [_as_text(inner, option) for inner in node.value])
    if isinstance(node, yaml.MappingNode):
        return _with_value(node, [(_key(key), _text_or_none(value, option)) for key, value in node.value])
    if option.is_switch and node.tag == _BOOL:
        return node
    is_word = node.tag == _NULL and node.value not in ("", "~")
    return yaml.ScalarNode(_TEXT, node.value) if is_word or node.tag in _IMPLICIT_TAGS else node


def _text_or_none(node: yaml.Node, option: Option) -> yaml.Node:
    """The text that belongs to a name, of which there may be none, as of a store."""
    return node if _is_null(node) else _as_text(node, option)


def _key(node: yaml.Node) -> yaml.Node:
    is_merge = node.tag == "tag:yaml.org,2002:merge"
    return node if is_merge or not isinstance(node, yaml.ScalarNode) else yaml.ScalarNode(_TEXT, node.value)


def _with_value(node: Any, value: list[Any]) -> yaml.Node:
    return type(node)(node.tag, value, node.start_mark, node.end_mark)


def expand_home(path: Any) -> Any:
    """``path`` with the home folder in the place of ``~``; what is no text stays as it is."""
    return os.path.expanduser(path) if isinstance(path, str) else path  # noqa: PTH111 - an unknown user's stays


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
    return [str(expand_home(str(path))) for path in paths]


def _split(given: str, name: str) -> list[str]:
    """The paths in a text: one that exists, a list in brackets, or words separated by spaces."""
    if _exists(expand_home(given)):
        return [given]
    if given.lstrip().startswith("["):
        listed = convert_list_of_texts(given)
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


def split_command_line(arguments: Sequence[str]) -> dict[str, str | None]:
    """Read ``--key=value``, ``--key value``, ``--flag``, ``-m MODEL`` and ``-d DATASET``; values stay text.

    Returns:
        Text by option; None for a flag alone.

    Raises:
        ConfigError: If a word belongs to no option, or an option is given twice with two values.
    """
    found: dict[str, str | None] = {}
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
        text = value if has_value else words.pop(0) if words and not _is_flag(words[0]) else None
        if found.get(key, text) != text:
            shown = ["True" if one is None else one for one in (found[key], text)]
            raise ConfigError(f"`--{key}` is given twice, as `{shown[0]}` and `{shown[1]}`; keep one.")
        found[key] = text
    return found


def free_words(arguments: Sequence[str], options: Mapping[str, Option]) -> tuple[list[str], list[str]]:
    """The words of a command line that belong to no option, wherever they stand, and the rest.

    A word behind an option without = is the value of that, but for one that is declared to be on or off.
    """
    free: list[str] = []
    rest: list[str] = []
    takes: Sequence[str] | None = None  # the values of the option before, where it may have one; empty for any
    for word in arguments:
        if _is_flag(word):
            option = options.get(word.removeprefix("--"))
            takes = None if "=" in word else tuple(_SWITCH_WORDS) if option and option.types == (bool,) else ()
            rest.append(word)
        elif word.startswith("-") or (takes is not None and (not takes or word in takes)):
            takes = None
            rest.append(word)
        else:
            free.append(word)
    return free, rest


def _is_flag(word: str) -> bool:
    return word.startswith("--") or word.partition("=")[0] in SHORT_FLAGS


def convert_words(words: Mapping[str, str | None], options: Mapping[str, Option]) -> dict[str, Any]:
    """The values of options from the words of a command line; a flag alone is True.

    Raises:
        ConfigError: If a text option lacks its value.
    """
    return {key: _convert_word(key, text, options.get(key)) for key, text in words.items()}


def _convert_word(key: str, text: str | None, option: Option | None) -> Any:
    if text is not None:
        converted = convert_option(option, text)
    elif option is not None and (option.is_text or option.is_text_list) and key not in _ALONE:
        what = "[NAME, NAME]" if option.is_text_list else "PATH" if option.rule.is_path else "NAME"
        raise ConfigError(f"`--{key}` lacks its value; write --{key}={what}.")
    else:
        converted = True
    check_value(key, converted)
    return converted


def parse_command_line(arguments: Sequence[str], options: Mapping[str, Option]) -> dict[str, Any]:
    """Read the words of a command line by the declarations of ``options``.

    Raises:
        ConfigError: See :func:`split_command_line` and :func:`convert_words`.
    """
    return convert_words(split_command_line(arguments), options)
