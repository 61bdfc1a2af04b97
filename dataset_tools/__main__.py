"""``python -m recbole_video.dataset_tools COMMAND ...``: data sets from raw downloads.

A command is a module with ``HELP``, one line; ``add_arguments(parser)``; and ``run(arguments)``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from recbole_video.entry_point import Parser, expand_home, run_command
from recbole_video.errors import fit_for_message, nearest

# Command -> module; a module is imported when its command runs or the commands are listed.
COMMANDS: dict[str, str] = {
    "generic": "recbole_video.dataset_tools.generic",
    "microlens": "recbole_video.dataset_tools.microlens",
    "shortvideo": "recbole_video.dataset_tools.shortvideo",
    "smpd": "recbole_video.dataset_tools.smpd",
    "informs": "recbole_video.dataset_tools.informs",
    "label": "recbole_video.dataset_tools.label",
    "frames": "recbole_video.dataset_tools.video.frames_command",
    "sample": "recbole_video.dataset_tools.video.sample_command",
    "embed": "recbole_video.dataset_tools.video.embed_command",
    "embed-text": "recbole_video.dataset_tools.video.text_command",
    "microvideo-demo": "recbole_video.dataset_tools.microvideo_demo",
    "ml-100k": "recbole_video.dataset_tools.ml_100k",
    "popularity-demo": "recbole_video.dataset_tools.popularity_demo",
}
_PROGRAM = "python -m recbole_video.dataset_tools"


def main(words: Sequence[str] | None = None) -> int:
    """Run a command.

    Returns:
        Exit status: 2 after a word that is no command, else see :func:`recbole_video.entry_point.run_command`.
    """
    given = list(sys.argv[1:] if words is None else words)
    return run_command(lambda: _run(given))


def _run(words: list[str]) -> int:
    import logging

    if not words or words[0] in ("-h", "--help"):
        print(overview())
        return 0 if words else 2
    command, *rest = words
    if command not in COMMANDS:
        names = ", ".join(COMMANDS)
        told = f"There is no command `{command}`{nearest(command, COMMANDS)}; there are {names}."
        print(fit_for_message(told), file=sys.stderr)
        return 2
    module = import_module(COMMANDS[command])
    arguments = expand_home(_parser(command, module).parse_args(rest))
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    module.run(arguments)
    return 0


def overview() -> str:
    """The commands, one line each."""
    lines = [f"  {name:<18}{import_module(module).HELP}" for name, module in COMMANDS.items()]
    return "\n".join([f"usage: {_PROGRAM} COMMAND ...   (COMMAND --help for its options)", "", *lines])


def _parser(command: str, module: Any) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{_PROGRAM} {command}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    module.add_arguments(parser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
