"""The command line: ``recbole-video`` and ``run_recbole_video.py``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recbole_video.entry_point import run_command

USAGE = """\
usage: run_recbole_video.py [--model=SASRec] [--item_encoder=CVA] [--dataset=microvideo-demo]
                            [--config_files="a.yaml b.yaml"] [--resume[=RUN_FOLDER]] [--OPTION=VALUE ...]
                            [--trust[=MODULE:CLASS]]
       run_recbole_video.py --sweep=NAME_OR_YAML [--demo] [--dry_run] [--verbose] [--resume[=SWEEP_FOLDER]]
                            [--cpus_per_trial=1] [--gpus_per_trial=0.5] [--max_concurrent=N]
                            [--search=random|optuna --n_trials=N] [--ray_address=HOST:PORT] [--latex]
                            [--OPTION=VALUE ...]
       run_recbole_video.py --report="FOLDER [FOLDER ...]" [--out=FOLDER] [--latex] [--correction=fdr]
       run_recbole_video.py --score_lists=FILE [--dataset=NAME] [--protocol=NAME] [--OPTION=VALUE ...]
       run_recbole_video.py --leak_report [--dataset=NAME] [--protocol=NAME] [--OPTION=VALUE ...]
       run_recbole_video.py --list      models, item encoders, data sets and sweeps
       run_recbole_video.py --help_options NAME      the options of a model or an item encoder

Every option of RecBole and of properties/*.yaml can be set; command line > config files > defaults.
A class of your own that a config file or a run to resume names (module:Class) is loaded only with --trust.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    if _has(words, "--sweep"):
        return run_command(lambda: _run(words), "Interrupted; a sweep that has begun goes on with --resume.")
    return run_command(lambda: _run(words), "Interrupted; a video model's run goes on with --resume.")


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
        from recbole_video.commands import report_command

        return report_command(words)
    if _has(words, "--leak_report"):
        from recbole_video.commands import leak_command

        return leak_command(words)
    if _has(words, "--sweep"):
        from recbole_video.commands import sweep_command

        return sweep_command(words)
    from recbole_video.options.listed import check_names
    from recbole_video.options.option import declared
    from recbole_video.options.parse import parse_command_line, split_paths
    from recbole_video.options.run import CommandOptions

    check_names(words)  # before what takes seconds to import
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
            f"sweeps:         {', '.join(preset_names())}, or a YAML file; each with --demo",
            "their options:  --help_options NAME, for a model or an item encoder",
        ]
    )
