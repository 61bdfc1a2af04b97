"""What was given for a run, by files, program and command line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from recbole_video.errors import ConfigError
from recbole_video.files.reading import read_yaml
from recbole_video.options.option import Option, declared
from recbole_video.options.parse import (
    check_value,
    convert_given,
    convert_words,
    expand_home,
    keep_text,
    split_command_line,
    split_paths,
    text_from_value,
)
from recbole_video.options.run import CommandOptions, resume_option
from recbole_video.registry import Registry, Trust, check_trusted

STOCK_PREFIX = "recbole:"
# Options that say which options there are: read as text before any other.
_CHOOSING = {name: Option(name, str, "") for name in ("model", "dataset", "item_encoder", "score_lists")}
_RESUME = {"resume": Option("resume", bool | str | None, False, resume_option().metadata["rule"])}


class Given:
    """What was given for a run, as it was written, until it is known which options there are.

    Args:
        config_files: YAML files, the last one winning.
        options: What the program gave, or a checkpoint.
        words: Those of the command line.
        trust: Which classes that a file names may be imported.
        is_stored: ``options`` were read from a file, too.

    Attributes:
        choosing: What was given of the options that say which others there are.
    """

    def __init__(
        self,
        config_files: Sequence[str | Path],
        options: Mapping[str, Any],
        words: Sequence[str],
        trust: Trust,
        is_stored: bool,
    ) -> None:
        self._shown = ", ".join(f"`{path}`" for path in config_files)
        self._paths = split_paths(list(config_files), "config_files")
        self._options = {str(name): value for name, value in options.items()}
        self._words = split_command_line(words)
        self._is_stored = is_stored
        self._trust = trust
        if "trust" in self._words:
            self._trust = convert_words({"trust": self._words.pop("trust")}, declared(CommandOptions))["trust"]
        self.choosing = self.values(_CHOOSING)

    def file_values(self, options: Mapping[str, Option]) -> dict[str, Any]:
        """What the files hold, the last one winning."""
        found: dict[str, Any] = {}
        for path in self._paths:
            found.update(read_options(path, options))
        return found

    def values(self, options: Mapping[str, Option]) -> dict[str, Any]:
        """All that was given, by the declarations of ``options``; the command line wins over program and files.

        Raises:
            ConfigError: On a value that no option can be.
        """
        merged = {
            **self.file_values(options),
            **{name: convert_given(options.get(name), value) for name, value in self._options.items()},
            **convert_words(self._words, options),
        }
        return {name: _usable(name, value, options.get(name)) for name, value in merged.items()}

    def check_class_of_a_file(self, option: str, value: Any, registries: Iterable[Registry]) -> None:
        """Refuse ``module:Class`` that neither the program nor the command line gave, unless it is trusted."""
        if str(value).startswith(STOCK_PREFIX):  # RecBole's own version, no path to a class
            return
        is_callers_word = option in self._options and not self._is_stored
        if not is_callers_word and option not in self._words:
            where = "The checkpoint" if self._is_stored else f"The config file {self._shown}"
            check_trusted(str(value), registries, self._trust, where)


def _usable(name: str, value: Any, option: Option | None) -> Any:
    """A value that an option can be, a text as text, a path with the home folder in it."""
    check_value(name, value)
    if option is None:
        return value
    if option.is_text or option.is_text_list:
        value = text_from_value(option, value)
    return expand_home(value) if option.rule.is_path else value


def read_options(path: Any, options: Mapping[str, Option]) -> dict[str, Any]:
    """The options that a YAML file holds, each read as its declaration says.

    Raises:
        ConfigError: If the file cannot be read or holds something else.
    """
    content = read_yaml(path, ConfigError, lambda node: keep_text(node, options))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ConfigError(f"The config file `{path}` must hold `option: value` lines.")
    return content


def resumed_run(
    config_files: Sequence[str | Path] | None = None,
    options: Mapping[str, Any] | None = None,
    command_line: Sequence[str] = (),
) -> str | None:
    """The folder that ``resume`` names; it is read before anything else is, since its run brings options of its own."""
    given = Given(config_files or (), options or {}, command_line, trust=False, is_stored=False)
    resume = given.values(_RESUME).get("resume")
    return resume if isinstance(resume, str) else None
