"""The subcommands of the command line, a module each; :mod:`recbole_video.cli` imports the one that is called."""

from __future__ import annotations

from typing import Any

from recbole_video.errors import ConfigError

_SWITCHES = ("demo", "dry_run", "latex", "verbose")


def check_switches(given: dict[str, Any]) -> None:
    """Refuse a value behind what is on or off.

    Raises:
        ConfigError: If there is one.
    """
    for name in _SWITCHES:
        if not isinstance(given.get(name, False), bool):
            raise ConfigError(f"`--{name}` is `{given[name]}`; write --{name}, or leave it out.")
