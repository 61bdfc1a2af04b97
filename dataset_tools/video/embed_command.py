"""Chosen frames -> frame store: the second half of `frames`.

  sample --videos videos/ --name mine
  embed --videos videos/ --name mine --frame_encoder dinov2
  embed --videos videos/ --name mine --frame_encoder clip --store clip

The stores are those that `frames` would have made.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_video.dataset_tools.video import options

from recbole_video.files.cells import spreadsheet_safe

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.failures import Failure
    from recbole_video.dataset_tools.video.listing import VideoFile
    from recbole_video.dataset_tools.video.samples import ChosenFrames

HELP = "chosen frames to frame embeddings"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_files(parser)
    parser.add_argument("--samples", type=Path, metavar="FILE", help="the chosen frames (default: NAME.samples.jsonl)")
    options.add_encoder(parser)
    options.add_machine(parser)


def run(arguments: argparse.Namespace) -> None:
    """Embed the chosen frames."""
    from recbole_video.dataset_tools.video.failures import read_failures
    from recbole_video.dataset_tools.video.pipeline import Job, make
    from recbole_video.dataset_tools.video.plan import make_plan
    from recbole_video.dataset_tools.video.samples import read_chosen
    from recbole_video.dataset_tools.video.titles import Titles

    results = options.outputs(arguments)
    path = arguments.samples or results.folder / f"{results.name}.samples.jsonl"
    chosen = read_chosen(path)
    stem = path.name.removesuffix(".samples.jsonl")
    earlier = [] if stem == path.name else read_failures(path.with_name(f"{stem}.failures.csv"))
    videos, failed = split_by_choice(options.videos(arguments), chosen, earlier)
    plan = make_plan(
        sampling=chosen.sampling,
        encoder=options.encoder(arguments),
        clip=None,
        placement=options.placement(arguments),
        accept_truncated=True,  # whether such a video counts was decided when its frames were chosen
        min_short_side=chosen.short_side,
    )
    job = Job(videos, plan, Titles({}), results, chosen, failed, arguments.overwrite)
    options.report(make(job, options.executor(arguments)), results)


def split_by_choice(
    listed: list[VideoFile], chosen: ChosenFrames, earlier: list[Failure]
) -> tuple[list[VideoFile], list[Failure]]:
    """Videos whose frames were chosen, and a failure for each of the others.

    Args:
        listed: The videos that there are.
        chosen: The chosen frames; one of a video that is not listed counts as missing.
        earlier: Why videos have no chosen frames.
    """
    from recbole_video.dataset_tools.video.failures import Failure

    known = {failure.item_id: failure for failure in earlier}  # as they are in the report
    videos = [video for video in listed if video.item_id in chosen.samples]
    failed = [
        replace(known[safe], item_id=v.item_id)
        if (safe := spreadsheet_safe(v.item_id)) in known
        else Failure(v.item_id, v.name, "not_sampled", "choose its frames with `sample`")
        for v in listed
        if v.item_id not in chosen.samples
    ]
    gone = sorted(chosen.samples.keys() - {video.item_id for video in listed})
    failed += [Failure(item_id, "", "missing", "its frames were chosen, but it is not listed") for item_id in gone]
    return videos, failed
