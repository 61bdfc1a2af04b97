"""The options of the commands that make a bundled data set."""

from __future__ import annotations

import argparse
from pathlib import Path

from recbole_video.dataset_tools import prepare


def add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    """Add the folder, ``dataset/<name>`` by default."""
    folder = Path("dataset") / name
    parser.add_argument("folder", nargs="?", type=Path, default=folder, help=f"where to make it (default: {folder})")


def run(name: str, arguments: argparse.Namespace) -> None:
    """Make what is missing of the data set."""
    prepare(name, arguments.folder)
    print(f"{name} is in {arguments.folder}.")
