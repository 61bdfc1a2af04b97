"""Raw videos -> frame store, in one go.

  frames --videos videos/ --name mine                     of 100 frames per video the 5 most like its title, by DINOv2
  frames --videos videos/ --name mine --sampler uniform   without titles and CLIP

Writes NAME.frames.npy with its manifest, NAME.samples.jsonl (the chosen frames) and NAME.failures.csv (videos without
frames, and why). A run that was stopped goes on when the same command is given again.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from recbole_video.dataset_tools.video import options

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.weights import Source

HELP = "raw videos to frame embeddings, in one go"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    options.add_files(parser)
    options.add_sampling(parser)
    options.add_encoder(parser)
    options.add_machine(parser)


def run(arguments: argparse.Namespace) -> None:
    """Choose frames and embed them, decoding each video once."""
    make_from_videos(arguments, options.encoder(arguments))


def make_from_videos(arguments: argparse.Namespace, encoder: Source | None) -> None:
    """Choose frames, and embed them where there is a frame encoder."""
    from recbole_video.dataset_tools.video.pipeline import Job, make
    from recbole_video.dataset_tools.video.plan import make_plan

    titles = options.titles(arguments)
    videos = options.videos(arguments)
    plan = make_plan(
        sampling=options.sampling(arguments),
        encoder=encoder,
        clip=options.clip(arguments),
        placement=options.placement(arguments),
        title_noise=options.title_noise(arguments),
        accept_truncated=arguments.accept_truncated,
        contact_sheets=arguments.contact_sheets,
    )
    results = options.outputs(arguments)
    job = Job(videos, plan, titles, results, overwrite=arguments.overwrite)
    options.report(make(job, options.executor(arguments)), results)
