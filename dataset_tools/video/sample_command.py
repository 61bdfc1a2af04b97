"""Raw videos -> chosen frames: the first half of `frames`, for several frame encoders on the same choice.

Writes NAME.samples.jsonl, a line per video: frame numbers, times in seconds, similarity to the title. `embed` reads it.
"""

from __future__ import annotations

import argparse

from recbole_video.dataset_tools.video import options
from recbole_video.dataset_tools.video.frames_command import make_from_videos

HELP = "raw videos to the times of chosen frames"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_files(parser)
    options.add_sampling(parser)
    options.add_machine(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose frames."""
    make_from_videos(arguments, None)
