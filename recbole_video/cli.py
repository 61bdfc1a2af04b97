"""The command line: ``recbole-video`` and ``run_recbole_video.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recbole_video.entry_point import run_command

USAGE = """\
usage: recbole-video COMMAND ...      (COMMAND --help for its options)

  run          train and evaluate a model: recbole-video run --model=SASRec --item_encoder=CVA
  sweep        run the trials of a table or figure: recbole-video sweep cva-table6 --demo
  report       tables and figures of finished runs: recbole-video report saved
  data         a data set from raw files: recbole-video data generic --help
  frames       raw videos to frame embeddings: recbole-video frames --help
  recommend    the best videos for a history: recbole-video recommend RUN --history="v12 v7"
  predict      how popular new videos will be: recbole-video predict RUN new_videos.csv
  explain      what the prediction for a video rests on: recbole-video explain RUN VIDEO
  leaks        what a split lets training know of the time after its test targets
  list         models, item encoders, data sets and sweeps
  options      the options of a model or an item encoder: recbole-video options SASRec
  completion   Tab completion: recbole-video completion bash > FILE, then `source FILE` in ~/.bashrc

`python -m recbole_video` is the same. `python run_recbole_video.py` in a checkout, too; without a command both run,
the script even without any word:

       run_recbole_video.py [--model=SASRec] [--item_encoder=CVA] [--dataset=microvideo-demo]
                            [--config_files="a.yaml b.yaml"] [--resume[=RUN_FOLDER]] [--OPTION=VALUE ...]
                            [--trust[=MODULE:CLASS]]
       run_recbole_video.py --sweep=NAME_OR_YAML [--demo] [--dry_run] [--verbose] [--resume[=SWEEP_FOLDER]]
                            [--cpus_per_trial=1] [--gpus_per_trial=0.5] [--max_concurrent=N]
                            [--search=random|optuna --n_trials=N] [--ray_address=HOST:PORT] [--latex]
                            [--OPTION=VALUE ...]
       run_recbole_video.py --report="FOLDER [FOLDER ...]" [--out=FOLDER] [--latex] [--correction=fdr]
       run_recbole_video.py --score_lists=FILE [--dataset=NAME] [--protocol=NAME] [--OPTION=VALUE ...]
       run_recbole_video.py --leak_report [--dataset=NAME] [--protocol=NAME] [--OPTION=VALUE ...]
       run_recbole_video.py --list
       run_recbole_video.py --help_options NAME

Every option of RecBole and of properties/*.yaml can be set; command line > config files > defaults.
A class of your own that a config file or a run to resume names (module:Class) is loaded only with --trust.
"""
COMMANDS = (
    "run",
    "sweep",
    "report",
    "data",
    "frames",
    "recommend",
    "predict",
    "explain",
    "leaks",
    "list",
    "options",
    "completion",
)

# What reads a trained model; imported when it runs.
_OF_A_RUN = {
    "recommend": "recbole_video.commands.recommend:recommend_command",
    "predict": "recbole_video.commands.predict:predict_command",
    "explain": "recbole_video.commands.explain:explain_command",
}

_INTERRUPTED = {
    "run": "Interrupted; a video model's run goes on with --resume.",
    "sweep": "Interrupted; a sweep that has begun goes on with --resume.",
    "frames": "Interrupted; the same command goes on.",
    "data": "Interrupted; what makes frames goes on by the same command.",
}


def program() -> int:
    """Run what ``recbole-video`` was called with; alone, it prints its commands and trains nothing.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    return main(sys.argv[1:] or ["--help"])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and not given[0].startswith("-"):
        return run_command(lambda: _run_named(given[0], given[1:]), _INTERRUPTED.get(given[0], "Interrupted."))
    words = given
    if _has(words, "--sweep"):
        return run_command(lambda: _run(words), _INTERRUPTED["sweep"])
    return run_command(lambda: _run(words), _INTERRUPTED["run"])


def _run_named(command: str, words: list[str]) -> int:
    """Run a subcommand: those of older versions by their flags, the others by their own modules."""
    from recbole_video.errors import ConfigError, nearest

    if command not in COMMANDS and command != "help":
        raise ConfigError(
            f"There is no command `{command}`{nearest(command, COMMANDS)}; there are {', '.join(COMMANDS)}, and "
            "an option is written --NAME=VALUE."
        )
    if command == "help":
        return _help(words)
    from recbole_video.commands.help import HELP

    if {"-h", "--help"} & set(words) and command in HELP:
        print(HELP[command], end="")
        return 0
    if command == "completion":
        from recbole_video.commands.completion import completion_command

        return completion_command(words, COMMANDS)
    if command in ("data", "frames"):
        from recbole_video.dataset_tools.__main__ import run_tool

        if command == "frames":
            return run_tool(["frames", *words], "recbole-video")
        return run_tool(words, "recbole-video data")
    if command in _OF_A_RUN:
        from pkgutil import resolve_name

        return int(resolve_name(_OF_A_RUN[command])(words))
    return _run(_as_flags(command, words))


def _help(words: list[str]) -> int:
    """The help of the command that is named; without one, of all."""
    from recbole_video.errors import ConfigError

    if not words or words[0].startswith("-"):
        return _run(["--help"])
    if len(words) > 1:
        raise ConfigError(f"help is of one command: `recbole-video help {words[0]}`; leave out `{words[1]}`.")
    return _run_named(words[0], ["--help"])


def _as_flags(command: str, words: list[str]) -> list[str]:
    """The flags that a subcommand stands for: ``sweep NAME`` is ``--sweep=NAME``, ``report A B`` ``--report="A B"``."""
    if command == "report":
        return _report_flags(words)
    if command == "sweep":
        return _sweep_flags(words)
    if command == "options":
        return ["--help_options", *words]
    return [*{"leaks": ["--leak_report"], "list": ["--list"]}.get(command, []), *words]


def _report_flags(words: list[str]) -> list[str]:
    import shlex

    from recbole_video.commands.options import ReportOptions
    from recbole_video.options.option import declared
    from recbole_video.options.parse import free_words

    names, rest = free_words(words, declared(ReportOptions))
    return [f"--report={shlex.join(names)}" if names else "--report", *rest]


def _sweep_flags(words: list[str]) -> list[str]:
    """The name may stand anywhere; behind ``--resume`` as well, which needs no value where there is no other name."""
    from recbole_video.commands.options import sweep_options
    from recbole_video.config import known_options
    from recbole_video.options.parse import free_words
    from recbole_video.options.run import trust_told

    options = {**known_options(), **sweep_options()}
    words = trust_told(words)
    names, rest = free_words(words, options)
    if not names and "--resume" in rest:
        place = rest.index("--resume") + 1
        names, after = free_words(rest[place:], options)
        rest = [*rest[:place], *after]
    return [f"--sweep={names[0]}" if names else "--sweep", *names[1:], *rest]


def _run(words: list[str]) -> int:
    if {"-h", "--help"} & set(words):
        print(USAGE, end="")
        return 0
    if "--list" in words:
        _check_is_alone(words)
        print(_listing())
        return 0
    if _has(words, "--help_options"):
        return _help_options(words)
    if _has(words, "--report"):
        from recbole_video.commands.report import report_command

        return report_command(words)
    if _has(words, "--leak_report"):
        from recbole_video.commands.leaks import leak_command

        return leak_command(words)
    if _has(words, "--sweep"):
        from recbole_video.commands.sweep import sweep_command

        return sweep_command(words)
    from recbole_video.commands.options import OF_COMMANDS
    from recbole_video.options.listed import check_names
    from recbole_video.options.option import declared
    from recbole_video.options.parse import parse_command_line, split_paths
    from recbole_video.options.run import CommandOptions

    check_names(words, OF_COMMANDS)  # before what takes seconds to import
    from recbole_video.quick_start import run_recbole_video

    files = split_paths(parse_command_line(words, declared(CommandOptions)).get("config_files"), "config_files")
    run_recbole_video(config_file_list=files, command_line=words)
    return 0


def _has(words: list[str], flag: str) -> bool:
    return any(word.partition("=")[0] == flag for word in words)


def _check_is_alone(words: list[str]) -> None:
    """Refuse what stands beside ``--list``, which nothing would read."""
    from recbole_video.errors import ConfigError

    if others := [word for word in words if word != "--list"]:
        raise ConfigError(f"--list takes nothing beside it; leave out `{others[0]}`.")


def _help_options(words: list[str]) -> int:
    from recbole_video.errors import ConfigError
    from recbole_video.listing import options_text
    from recbole_video.options.parse import split_command_line

    given = split_command_line(words)
    if list(given) != ["help_options"] or not given["help_options"]:
        raise ConfigError("--help_options takes the name of a model or an item encoder, alone: --help_options=SASRec.")
    print(options_text(given["help_options"]), end="")
    return 0


def _listing() -> str:
    from recbole_video.dataset_tools import BUNDLED
    from recbole_video.registries import CONTROLS, ITEM_ENCODERS, POPULARITY_MODELS, USER_ENCODERS
    from recbole_video.sweep.spec import preset_names

    return "\n".join(
        [
            f"models:         {', '.join(USER_ENCODERS)}, and every model of RecBole (recbole:NAME for its version)",
            f"controls:       {', '.join(CONTROLS)}",
            f"popularity:     {', '.join(POPULARITY_MODELS)}",
            f"item encoders:  {', '.join(ITEM_ENCODERS)}, or module:Class",
            f"data sets:      {', '.join(BUNDLED)} (made on first use), any folder of atomic files under dataset/",
            f"sweeps:         {', '.join(preset_names())}, each with --demo, or a YAML file",
            "their options:  --help_options NAME, for a model or an item encoder",
        ]
    )
