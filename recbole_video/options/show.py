"""Declared options as people read them: a YAML file with a comment on each line, a table on the console."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Any

import yaml

from recbole_video.options.option import REQUIRED, Option, declared

_COMMENT_COLUMN = 32
_PLAIN_WORD = re.compile(r"[A-Za-z][\w.@/-]*")
_MOST_WIDTH = 40  # of a name with its default in the table


def as_yaml(owner: type, above: type | None = None) -> str:
    """The defaults that a class declares as a YAML file, each with its kind and all that else is declared of it.

    Args:
        owner: An ``Options`` dataclass or an item encoder.
        above: The ``Options`` from which it inherits what has a file of its own.
    """
    lines = [f"# {heading(owner)}"]
    section = ""
    for option, its_section in by_section(owner, above):
        if its_section != section:
            lines += ["", f"# {its_section}"]
            section = its_section
        setting = f"{option.name}: {as_yaml_value(option.default)}"
        comment = " ".join(part for part in (f"({option.kind})", explanation(option)) if part)
        lines.append(f"{setting:{_COMMENT_COLUMN - 1}} # {comment}")
    return "\n".join(lines) + "\n"


def heading(owner: type) -> str:
    """The first paragraphs of what a class of options says of itself, or the first line of an encoder's text."""
    text = inspect.getdoc(owner) or owner.__name__
    return " ".join(text.split()) if hasattr(owner, "__dataclass_fields__") else text.partition("\n")[0]


def by_section(owner: type, above: type | None = None) -> Iterator[tuple[Option, str]]:
    """The options of a class in the order of its bodies, with the heading that each stands under.

    Args:
        owner: An ``Options`` dataclass or an item encoder.
        above: What to leave out, but where it is declared anew.
    """
    options = declared(owner)
    if not hasattr(owner, "__dataclass_fields__"):
        yield from ((option, "") for option in options.values())
        return
    left_out = () if above is None else above.__mro__
    for cls in reversed([cls for cls in owner.__mro__ if cls not in left_out]):
        section = ""
        for name in inspect.get_annotations(cls):
            section = declared(cls)[name].rule.section or section if name in options else section
            if name in options and _declares(owner, name) is cls:
                yield options[name], section


def _declares(owner: type, name: str) -> type | None:
    """The class of which the declaration holds."""
    return next((cls for cls in owner.__mro__ if name in inspect.get_annotations(cls)), None)


def as_yaml_value(value: Any) -> str:
    """A plain value as this package writes it in YAML."""
    if value is None or value is REQUIRED:
        return "~"
    if isinstance(value, PurePath):
        value = str(value)
    if isinstance(value, str):
        is_plain = _PLAIN_WORD.fullmatch(value) is not None and isinstance(yaml.safe_load(value), str)
        return value if is_plain else json.dumps(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(as_yaml_value, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {as_yaml_value(inner)}' for key, inner in value.items())}}}"
    # YAML takes 1e-05 for a word
    return repr(value).replace("e", ".0e", 1) if re.fullmatch(r"-?\d+e[-+]?\d+", repr(value)) else repr(value)


def as_table(title: str, options: Iterable[tuple[Option, str]], width: int = 120) -> str:
    """A table of options: name and default, kind, and what else is declared of them.

    Args:
        title: Its first line.
        options: Options with the heading that each stands under.
        width: Width of the table, in characters.
    """
    rows = [(option, section, f"--{option.name}={as_yaml_value(option.default)}") for option, section in options]
    first = min(max((len(setting) for _, _, setting in rows), default=0), _MOST_WIDTH)
    second = max((len(option.kind) for option, _, _ in rows), default=0)
    lines, section = [title], None
    for option, its_section, setting in rows:
        if its_section != section:
            lines += ["", *([its_section] if its_section else [])]
            section = its_section
        told = textwrap.wrap(explanation(option), max(width - first - second - 6, 30), break_on_hyphens=False) or [""]
        if len(setting) > first:
            lines.append(f"  {setting}")
            setting = ""
        lines.append(f"  {setting:{first}}  {option.kind:{second}}  {told[0]}".rstrip())
        lines += [f"{'':{first + second + 6}}{more}" for more in told[1:]]
    return "\n".join(lines) + "\n"


def explanation(option: Option) -> str:
    """Help, choices or bounds, and what makes an option void, in one text."""
    parts = [option.rule.help]
    unnamed = [str(choice) for choice in option.choices if not re.search(rf"\b{choice}\b", option.rule.help)]
    if unnamed:
        parts.append(f"One of {', '.join(map(str, option.choices))}.")
    if option.rule.bounds and not option.rule.help.endswith(f"{option.rule.bounds}."):
        parts.append(f"{option.rule.bounds[0].upper()}{option.rule.bounds[1:]}.")
    if option.rule.void_when:
        parts.append(f"No effect with {' or '.join(f'{name}={value}' for name, value in option.rule.void_when)}.")
    return " ".join(part for part in parts if part)
