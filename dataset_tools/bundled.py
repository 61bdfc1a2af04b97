"""The commands that make a bundled data set."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools import prepare


def bundled_command(name: str) -> tuple[Callable[[argparse.ArgumentParser], None], Callable[[Any], None]]:
    """``add_arguments`` and ``run`` of the command that makes what is missing of the data set ``name``.

    Its one option is the folder, ``dataset/<name>`` by default.
    """
    folder = Path("dataset") / name

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        help_text = f"where to make it (default: {folder})"
        parser.add_argument("folder", nargs="?", type=Path, default=folder, help=help_text)

    def run(arguments: argparse.Namespace) -> None:
        prepare(name, arguments.folder)
        print(f"{name} is in {arguments.folder}.")

    return add_arguments, run
