"""The names of all options, read from the lists on disk: a typo is told before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from recbole_video.errors import ConfigError, nearest
from recbole_video.options.option import declared
from recbole_video.options.parse import split_command_line
from recbole_video.options.run import CommandOptions
from recbole_video.runtime.recbole_options import UNLISTED, UNLISTED_OF_MODELS

_IN_YAML = re.compile(r"^#? ?([\w-]+):", re.MULTILINE)
_IN_PYTHON = re.compile(r"""config(?:\[|\.get\()\s*['"](\w+)['"]""")
_IN_A_LIST = re.compile(r"""['"](\w+)['"]""")
_NO_OPTIONS = ("url.yaml", "kg_url.yaml")  # RecBole's data sets, and where it gets them
_OPEN = frozenset(["config_files", "trust"])  # what they bring may declare options of its own


def check_names(words: Sequence[str], of_commands: Mapping[str, type] = MappingProxyType({})) -> None:
    """Refuse a name that no model, item encoder or data set has as an option, in a tenth of a second.

    Nothing is said of a command line that names a class or a file, which may bring options of their own; which option
    belongs to which model is checked later, by :class:`~recbole_video.config.Config`.

    Args:
        words: The command line of a run.
        of_commands: Classes whose fields are options of other commands, by the flag that such a command begins with.

    Raises:
        ConfigError: If there is such a name.
    """
    given = split_command_line(words)
    if _OPEN & set(given) or any(value is not None and ":" in value for value in given.values()):
        return
    for flag, owner in of_commands.items():
        if found := sorted(set(declared(owner)) & set(given) - {"resume"}):
            raise ConfigError(f"`--{found[0]}` stands beside {flag} only, which is missing here.")
    if "resume" in given:  # the run may be of a class of its own
        return
    known = listed_names()
    unknown = [name for name in given if name not in known]
    if unknown:
        named = ", ".join(f"`{name}` is not an option{nearest(name, known)}" for name in unknown)
        raise ConfigError(f"{named} of any model; --help_options NAME shows those of a model or an item encoder.")


def listed_names() -> set[str]:
    """The names in ``properties/`` and, wherever RecBole reads one or gives it a default, in RecBole's own files."""
    found = {
        *declared(CommandOptions),
        *UNLISTED,
        *UNLISTED_OF_MODELS,
        *_names(_folder("recbole_video.properties"), "*.yaml", _IN_YAML),
    }
    host = _folder("recbole")
    found |= _names(host, "*.yaml", _IN_YAML) | _names(host, "*.py", _IN_PYTHON)
    return found | _names(host / "utils", "argument_list.py", _IN_A_LIST)


def _folder(package: str) -> Path:
    """Where a package lies, which need not be imported for that."""
    spec = find_spec(package)
    places: Iterable[str] = (spec.submodule_search_locations or ()) if spec else ()
    return Path(next(iter(places), "."))


def _names(folder: Path, pattern: str, name: re.Pattern[str]) -> set[str]:
    files = (path for path in folder.rglob(pattern) if path.name not in _NO_OPTIONS)
    return {found for path in files for found in name.findall(path.read_text(encoding="utf-8"))}
