"""The commands that turn raw videos into frame stores."""

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
    from recbole_video.dataset_tools.video.weights import Source


class FramesCommand:
    """Raw videos -> frame store, in one go.

      frames --videos videos/ --name mine                     of 100 frames a video the 5 most like its title, by DINOv2
      frames --videos videos/ --name mine --sampler uniform   without titles and CLIP
      frames --videos new/ --name mine --new --store new      videos that came later, for a model that is trained

    Writes NAME.frames.npy with its manifest, NAME.samples.jsonl (the chosen frames) and NAME.failures.csv (videos
    without frames, and why). A run that was stopped goes on when the same command is given again.
    """

    HELP = "raw videos to frame embeddings, in one go"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        options.add_files(parser)
        options.add_sampling(parser)
        options.add_encoder(parser)
        options.add_machine(parser)

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Choose frames and embed them, decoding each video once."""
        _make_from_videos(arguments, options.encoder(arguments))


class SampleCommand:
    """Raw videos -> chosen frames: the first half of `frames`, for several frame encoders on the same choice.

    Writes NAME.samples.jsonl, a line per video: frame numbers, times in seconds, similarity to the title. `embed` reads
    it.
    """

    HELP = "raw videos to the times of chosen frames"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        options.add_files(parser)
        options.add_sampling(parser)
        options.add_machine(parser)

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Choose frames and write which they are."""
        _make_from_videos(arguments, None)


def _make_from_videos(arguments: argparse.Namespace, encoder: Source | None) -> None:
    """Choose frames, and embed them where there is a frame encoder."""
    from recbole_video.dataset_tools.video.job import Job, make_frame_plan
    from recbole_video.dataset_tools.video.pipeline import run_job

    if arguments.new and encoder is not None:
        options.refuse_other_encoder(arguments, encoder)
    titles = options.titles(arguments)
    videos = options.videos(arguments)
    plan = make_frame_plan(
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
    made = results.samples if encoder is None else results.frames
    options.report(run_job(job, options.executor(arguments)), results, made, arguments.new)


class EmbedCommand:
    """Chosen frames -> frame store: the second half of `frames`.

      sample --videos videos/ --name mine
      embed --videos videos/ --name mine --frame_encoder dinov2
      embed --videos videos/ --name mine --frame_encoder clip --store clip

    The stores are those that `frames` would have made.
    """

    HELP = "chosen frames to frame embeddings"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        options.add_files(parser)
        parser.add_argument(
            "--samples", type=Path, metavar="FILE", help="the chosen frames (default: NAME.samples.jsonl)"
        )
        options.add_encoder(parser)
        options.add_machine(parser)

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Embed the chosen frames and write the frame store."""
        from recbole_video.dataset_tools.video.failures import read_failures
        from recbole_video.dataset_tools.video.job import Job, make_frame_plan
        from recbole_video.dataset_tools.video.pipeline import run_job
        from recbole_video.dataset_tools.video.samples import read_chosen
        from recbole_video.dataset_tools.video.titles import Titles

        results = options.outputs(arguments)
        path = arguments.samples or results.folder / f"{results.name}.samples.jsonl"
        chosen = read_chosen(path)
        stem = path.name.removesuffix(".samples.jsonl")
        earlier = [] if stem == path.name else read_failures(path.with_name(f"{stem}.failures.csv"))
        videos, failed = split_by_choice(options.videos(arguments), chosen, earlier)
        plan = make_frame_plan(
            sampling=chosen.sampling,
            encoder=options.encoder(arguments),
            clip=None,
            placement=options.placement(arguments),
            accept_truncated=True,  # whether such a video counts was decided when its frames were chosen
            min_short_side=chosen.short_side,
        )
        job = Job(videos, plan, Titles({}), results, chosen, failed, arguments.overwrite)
        options.report(run_job(job, options.executor(arguments)), results, results.frames, arguments.new)


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
