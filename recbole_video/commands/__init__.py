"""The subcommands of the command line, a module each; :mod:`recbole_video.cli` imports the one that is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from recbole_video.errors import ConfigError
from recbole_video.options.option import Option


def check_switches(given: Mapping[str, Any], options: Mapping[str, Option]) -> None:
    """Refuse a value behind what is declared to be on or off.

    Raises:
        ConfigError: If there is one.
    """
    for name in (name for name, one in options.items() if one.types == (bool,)):
        if not isinstance(given.get(name, False), bool):
            raise ConfigError(f"`--{name}` is `{given[name]}`; write --{name}, or leave it out.")
