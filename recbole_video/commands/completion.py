"""``completion`` on the command line: what Tab completes, as a script for bash and zsh."""

from __future__ import annotations

import shlex
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, get_origin

from recbole_video.errors import ConfigError, nearest
from recbole_video.options.option import Option, declared

if TYPE_CHECKING:
    from recbole_video.registry import Registry

SHELLS = ("bash", "zsh")
# `compgen -W` expands what it is given as the shell does, commands in it as well: a name on the disk is never among it.
_SCRIPT = """\
# Tab completion of recbole-video in {shell}; made by `recbole-video completion {shell}`.
{first}_recbole_video() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="" known="" typed folder name quoted
  # bash takes --NAME=VALUE apart at the =, zsh does not
  if [ "$word" = "=" ]; then
    before="${{COMP_WORDS[COMP_CWORD-1]}}=" word=""
  elif [ "$COMP_CWORD" -ge 3 ] && [ "${{COMP_WORDS[COMP_CWORD-1]}}" = "=" ]; then
    before="${{COMP_WORDS[COMP_CWORD-2]}}="
  fi
  typed="$before$word"
  if [ "$COMP_CWORD" -eq 1 ]; then
    known={commands}
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
    if [ "${{COMP_WORDS[1]}}" = data ] && [ "$COMP_CWORD" -ge 3 ]; then
      known=""
      case "${{COMP_WORDS[2]}}" in
{tools}
      esac
    fi
  fi
  COMPREPLY=($(compgen -W "$known" -- "$typed" | sort -u))
  case "$known" in
    *--dataset=*)
      for folder in dataset/*/; do
        name="${{folder#dataset/}}"
        name="${{name%/}}"
        quoted="$(printf %q "$name")"
        case " $known " in *" --dataset=$name "*) continue ;; esac
        [ -d "$folder" ] || continue  # where there is none, it is the pattern
        case "--dataset=$name" in "$typed"*) COMPREPLY+=("--dataset=$quoted"); continue ;; esac
        case "--dataset=$quoted" in "$typed"*) COMPREPLY+=("--dataset=$quoted") ;; esac
      done ;;
  esac
  COMPREPLY=("${{COMPREPLY[@]#"$before"}}")
  case "${{COMPREPLY[0]}}" in *=) compopt -o nospace 2>/dev/null ;; esac
}}
complete -o default -F _recbole_video recbole-video
"""
_ZSH_FIRST = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def completion_command(words: Sequence[str], commands: Sequence[str]) -> int:
    """Print the script for a shell.

    Args:
        words: What follows ``completion``: the shell.
        commands: The subcommands that there are.

    Returns:
        Exit status, 0.

    Raises:
        ConfigError: If it is another shell.
    """
    shell = words[0] if len(words) == 1 else ""
    if shell not in SHELLS:
        given = f"; `{shell}` is none{nearest(shell, SHELLS)}" if shell else ""
        raise ConfigError(f"completion needs a shell: `recbole-video completion bash`, or zsh{given}.")
    print(completion_script(shell, commands, _words_by_command(commands), _words_by_tool()), end="")
    return 0


def completion_script(
    shell: str,
    commands: Iterable[str],
    words: Mapping[str, Iterable[str]],
    of_tools: Mapping[str, Iterable[str]] | None = None,
) -> str:
    """The script.

    Args:
        shell: One of :data:`SHELLS`.
        commands: The subcommands.
        words: Those that may follow each of them, and under ``*`` any other.
        of_tools: Those that may follow each command behind ``data``.
    """
    first = _ZSH_FIRST if shell == "zsh" else ""
    cases, tools = _cases(words, 6), _cases(of_tools or {}, 8)
    return _SCRIPT.format(shell=shell, first=first, commands=_quoted(commands), cases=cases, tools=tools)


def _cases(words: Mapping[str, Iterable[str]], indent: int) -> str:
    return "\n".join(f"{' ' * indent}{command}) known={_quoted(follow)} ;;" for command, follow in words.items())


def _quoted(words: Iterable[str]) -> str:
    """Words as one of the shell's, separated by spaces."""
    return shlex.quote(" ".join(words))


def _words_by_command(commands: Iterable[str]) -> dict[str, list[str]]:
    from recbole_video.commands.explain import explain_parser
    from recbole_video.commands.options import ReportOptions, sweep_options
    from recbole_video.commands.predict import predict_parser
    from recbole_video.commands.recommend import recommend_parser
    from recbole_video.dataset_tools import BUNDLED
    from recbole_video.dataset_tools.__main__ import COMMANDS
    from recbole_video.options.listed import listed_names
    from recbole_video.registries import CONTROLS, ITEM_ENCODERS, POPULARITY_MODELS, USER_ENCODERS
    from recbole_video.sweep.spec import preset_names

    named = _choices((USER_ENCODERS, CONTROLS, POPULARITY_MODELS, ITEM_ENCODERS))
    named |= {"model": [*USER_ENCODERS, *CONTROLS, *POPULARITY_MODELS], "item_encoder": list(ITEM_ENCODERS)}
    named["dataset"] = list(BUNDLED)
    options = [f"--{name}={value}" for name, values in named.items() for value in values]
    options += [f"--{name}=" for name in sorted(listed_names() - set(named))]
    return {
        "sweep": [*preset_names(), *_flags(sweep_options(), "sweep"), "--trust", *options],
        "data": list(COMMANDS),
        "frames": _words_by_tool()["frames"],
        "report": _flags(declared(ReportOptions), "report"),
        "recommend": _flags_of(recommend_parser()),
        "predict": _flags_of(predict_parser()),
        "explain": _flags_of(explain_parser()),
        "options": [*named["model"], *named["item_encoder"]],
        "list": [],
        "completion": list(SHELLS),
        "help": list(commands),
        "*": [*options, "--resume", "--trust"],
    }


def _words_by_tool() -> dict[str, list[str]]:
    from pkgutil import resolve_name

    from recbole_video.dataset_tools.__main__ import COMMANDS, _parser

    return {
        name: _flags_of(_parser(name, resolve_name(place)), _choices_of_frames()) for name, place in COMMANDS.items()
    }


def _choices_of_frames() -> dict[str, Iterable[str]]:
    """The values of options of the tools for videos that their parsers leave to others to check."""
    from recbole_video.dataset_tools.video.frame_encoders import FRAME_ENCODERS
    from recbole_video.dataset_tools.video.samplers import SAMPLERS
    from recbole_video.dataset_tools.video.titles import CONDITIONS

    return {"sampler": SAMPLERS, "title_condition": CONDITIONS, "frame_encoder": FRAME_ENCODERS}


def _choices(registries: Iterable[Registry[Any]]) -> dict[str, list[str]]:
    """The values of each option that has a fixed set of them, of whatever model or item encoder declares it."""
    found: dict[str, list[str]] = {}
    owners: list[Any] = [registry.get(name) for registry in registries for name in registry]
    for owner in owners:
        for name, one in declared(getattr(owner, "Options", owner)).items():
            if all(get_origin(member) is Literal for member in one.types):  # else there are other values, too
                found.setdefault(name, []).extend(map(str, one.choices))
    return {name: list(dict.fromkeys(values)) for name, values in found.items() if values}


def _flags(options: Mapping[str, Option], command: str) -> list[str]:
    """Declared options as they are typed: alone where they may stand so, before a value elsewhere."""
    return [flag for name, one in options.items() if name != command for flag in _flags_as_declared(one)]


def _flags_as_declared(option: Option) -> Iterator[str]:
    if bool in option.types:
        yield f"--{option.name}"
    if option.types != (bool,):
        yield f"--{option.name}="


def _flags_of(parser: ArgumentParser, named: Mapping[str, Iterable[str]] | None = None) -> list[str]:
    """The options of a parser as they are typed; ``named`` are values that it leaves to others to check."""
    known = dict(named or {})
    found = []
    for action in parser._actions:
        longs = [flag for flag in action.option_strings if flag.startswith("--")]
        found += longs if action.nargs in (0, "?") else []
        found += (
            []
            if action.nargs == 0
            else [f"{flag}={one}" for flag in longs for one in known.get(action.dest) or action.choices or [""]]
        )
    return found
