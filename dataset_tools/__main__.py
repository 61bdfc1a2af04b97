"""``python -m recbole_video.dataset_tools COMMAND ...``: data sets from raw downloads.

A command is a module, or a class in one (``module:Class``), whose docstring describes it, with ``HELP``, one line;
``add_arguments(parser)``; and ``run(arguments)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from inspect import getdoc
from pkgutil import resolve_name
from typing import Any

from recbole_video.entry_point import Parser, expand_path_arguments, run_command
from recbole_video.errors import fit_for_message, nearest

# Command -> where it is; a module is imported when its command runs or the commands are listed.
COMMANDS: dict[str, str] = {
    "generic": "recbole_video.dataset_tools.generic",
    "microlens": "recbole_video.dataset_tools.microlens",
    "shortvideo": "recbole_video.dataset_tools.shortvideo",
    "smpd": "recbole_video.dataset_tools.smpd",
    "informs": "recbole_video.dataset_tools.informs",
    "vk-lsvd": "recbole_video.dataset_tools.vk_lsvd",
    "label": "recbole_video.dataset_tools.label",
    "vectors": "recbole_video.dataset_tools.vectors",
    "frames": "recbole_video.dataset_tools.video.commands:FramesCommand",
    "sample": "recbole_video.dataset_tools.video.commands:SampleCommand",
    "embed": "recbole_video.dataset_tools.video.commands:EmbedCommand",
    "embed-text": "recbole_video.dataset_tools.video.text_commands:EmbedTextCommand",
    "paper-tables": "recbole_video.dataset_tools.paper_tables",
    "microvideo-demo": "recbole_video.dataset_tools.microvideo_demo",
    "ml-100k": "recbole_video.dataset_tools.ml_100k",
    "popularity-demo": "recbole_video.dataset_tools.popularity_demo",
    "trends-demo": "recbole_video.dataset_tools.trends_demo",
}
_PROGRAM = "python -m recbole_video.dataset_tools"


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status: 2 after a word that is no command, else see :func:`recbole_video.entry_point.run_command`.
    """
    given = list(sys.argv[1:] if words is None else words)
    return run_command(lambda: run_tool(given))


def run_tool(words: list[str], program: str = _PROGRAM) -> int:
    """Run the command that some words name, or list all.

    Args:
        words: What follows the program.
        program: What it was called, for its help.

    Returns:
        Exit status.
    """
    import logging

    if not words or words[0] in ("-h", "--help"):
        print(overview(program))
        return 0 if words else 2
    name, *rest = words
    if name not in COMMANDS:
        problem = f"There is no command `{name}`{nearest(name, COMMANDS)}; there are {', '.join(COMMANDS)}."
        print(fit_for_message(problem), file=sys.stderr)
        return 2
    command = resolve_name(COMMANDS[name])
    arguments = expand_path_arguments(_parser(name, command, program).parse_args(rest))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command.run(arguments)
    return 0


def overview(program: str = _PROGRAM) -> str:
    """The commands, one line each."""
    lines = [f"  {name:<18}{resolve_name(place).HELP}" for name, place in COMMANDS.items()]
    return "\n".join([f"usage: {program} COMMAND ...   (COMMAND --help for its options)", "", *lines])


def _parser(name: str, command: Any, program: str = _PROGRAM) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{program} {name}",
        description=getdoc(command),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
