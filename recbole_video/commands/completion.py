"""``completion`` on the command line: what Tab completes, as a script for bash and zsh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from recbole_video.errors import ConfigError, nearest

SHELLS = ("bash", "zsh")
_SCRIPT = """\
# Tab completion of recbole-video in {shell}; made by `recbole-video completion {shell}`.
{first}_recbole_video() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="" known name
  # bash takes --NAME=VALUE apart at the =, zsh does not
  if [ "$word" = "=" ]; then
    before="${{COMP_WORDS[COMP_CWORD-1]}}=" word=""
  elif [ "$COMP_CWORD" -ge 3 ] && [ "${{COMP_WORDS[COMP_CWORD-1]}}" = "=" ]; then
    before="${{COMP_WORDS[COMP_CWORD-2]}}="
  fi
  if [ "$COMP_CWORD" -eq 1 ]; then
    known="{commands}"
  else
    case "${{COMP_WORDS[1]}}" in
{cases}
    esac
  fi
  case "$known" in
    *--dataset=*) for name in $(ls dataset 2>/dev/null); do known="$known --dataset=$name"; done ;;
  esac
  COMPREPLY=($(compgen -W "$known" -- "$before$word" | sort -u))
  COMPREPLY=("${{COMPREPLY[@]#"$before"}}")
  case "${{COMPREPLY[0]}}" in *=) compopt -o nospace 2>/dev/null ;; esac
}}
complete -o default -F _recbole_video recbole-video
"""
_ZSH_FIRST = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def completion_command(words: Sequence[str], commands: Iterable[str]) -> int:
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
    print(completion_script(shell, commands, _words_by_command()), end="")
    return 0


def completion_script(shell: str, commands: Iterable[str], words: Mapping[str, Iterable[str]]) -> str:
    """The script; ``words`` are those that may follow each subcommand, and under ``*`` any other."""
    cases = "\n".join(f'      {command}) known="{" ".join(follow)}" ;;' for command, follow in words.items())
    first = _ZSH_FIRST if shell == "zsh" else ""
    return _SCRIPT.format(shell=shell, first=first, commands=" ".join(commands), cases=cases)


def _words_by_command() -> dict[str, list[str]]:
    from recbole_video.dataset_tools import BUNDLED
    from recbole_video.dataset_tools.__main__ import COMMANDS
    from recbole_video.options.listed import listed_names
    from recbole_video.registries import CONTROLS, ITEM_ENCODERS, POPULARITY_MODELS, USER_ENCODERS
    from recbole_video.sweep.spec import preset_names

    named = {"model": [*USER_ENCODERS, *CONTROLS, *POPULARITY_MODELS], "item_encoder": list(ITEM_ENCODERS)}
    named["dataset"] = list(BUNDLED)
    options = [f"--{name}={value}" for name, values in named.items() for value in values]
    options += [f"--{name}=" for name in sorted(listed_names() - set(named))]
    return {
        "sweep": [*preset_names(), "--demo", "--dry_run", "--verbose", "--resume", "--latex", *options],
        "data": list(COMMANDS),
        "frames": [
            "--videos=",
            "--name=",
            "--sampler=",
            "--n_frames=",
            "--frame_encoder=",
            "--store=",
            "--new",
            "--help",
        ],
        "report": ["--out=", "--latex", "--correction="],
        "recommend": ["--history=", "--histories=", "--k=", "--add_store=", "--include_seen"],
        "completion": list(SHELLS),
        "help": [],
        "*": options,
    }
