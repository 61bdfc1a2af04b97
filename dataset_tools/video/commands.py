"""The commands that turn raw videos, and texts of items, into frame stores."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.dataset_tools.video import options
from recbole_video.dataset_tools.video.tfidf import TFIDF

from recbole_video.content.store import refuse_other_file, store_path, write_frame_blocks
from recbole_video.data.text import sidecar_path
from recbole_video.errors import ConfigError, DataError, counted
from recbole_video.files.cells import spreadsheet_safe

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.failures import Failure
    from recbole_video.dataset_tools.video.listing import VideoFile
    from recbole_video.dataset_tools.video.samples import ChosenFrames
    from recbole_video.dataset_tools.video.texts import Embeds
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


class EmbedTextCommand:
    """Text of items -> text embeddings, one vector per item, as popularity models take them (STAP: UAE-Large-V1).

      embed-text --name microlens-100k                                       the titles
      embed-text --name shortvideo --fields title tags --store title-tags    titles and tags, as one text
      embed-text --name mine --encoder tfidf                                 no weights: TF-IDF and SVD
      embed-text --name mine --encoder tfidf --parts "#" --n_parts 5         what stands between #, a row each

    Writes NAME.text.frames.npy and its manifest: a frame store with one row per item that has text, or one per part.
    """

    HELP = "texts to text embeddings"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        add = parser.add_argument
        add("--name", required=True, help="name of the data set")
        add("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
        add("--text", type=Path, metavar="FILE", help="JSON lines with item_id (default: NAME.text.jsonl)")
        add("--fields", nargs="+", default=["title"], help="what to embed, joined (default: title)")
        add("--store", default="text", help="name of the store (default: text)")
        add("--overwrite", action="store_true", help="replace an earlier store of that name")
        add("--encoder", choices=["uae", TFIDF], default="uae", help="uae (default), or tfidf, without weights")
        add("--dim", type=int, default=128, help="tfidf: width of an embedding (default: 128)")
        add("--parts", metavar="TEXT", help="embed apart what stands between this, as the # of hashtags")
        add("--n_parts", type=int, default=5, help="parts to keep, the first ones (default: 5)")
        add("--weights", metavar="PLACE", help="uae: another language model: a folder or a hub id")
        add("--revision", help="its commit, tag or branch on the hub")
        options.add_placement(parser)

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Embed the texts of items and write the frame store."""
        from recbole_video.dataset_tools.video.texts import embed_in_blocks, in_parts, read_texts

        options.check_names(arguments)
        check_text_arguments(arguments)
        folder = arguments.out / arguments.name
        path = store_path(folder, arguments.name, arguments.store)
        if path.exists() and not arguments.overwrite:
            raise DataError(f"`{path}` exists; give --overwrite to make it anew, or another --store.")
        refuse_other_file(path)
        items, texts = read_texts(arguments.text or sidecar_path(folder, arguments.name), arguments.fields)
        parts = [in_parts(text, arguments.parts, arguments.n_parts) for text in texts]
        encoder, made = make_text_encoder(arguments, parts)
        sampling = "+".join(arguments.fields) + (f", parts between {arguments.parts}" if arguments.parts else "")
        blocks = embed_in_blocks(parts, encoder)
        write_frame_blocks(path, items, max(map(len, parts)), encoder.dim, blocks, sampling=sampling, **made)
        print(f"{counted(len(items), 'text is', 'texts are')} embedded in {path}.")


def check_text_arguments(arguments: argparse.Namespace) -> None:
    """Refuse arguments of ``embed-text`` that cannot be, or that do nothing.

    Raises:
        ConfigError: On the first of them.
    """
    for name in ("dim", "n_parts"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; it must be at least 1.")
    if arguments.parts == "":
        raise ConfigError("--parts is empty; give what stands between two parts, or leave it out.")
    if arguments.encoder == TFIDF and (arguments.weights or arguments.revision):
        raise ConfigError("--weights and --revision are for --encoder uae; tfidf has no weights.")


def make_text_encoder(arguments: argparse.Namespace, parts: Sequence[Sequence[str]]) -> tuple[Embeds, dict[str, Any]]:
    """What embeds the texts, and what the manifest says of it."""
    from recbole_video.dataset_tools.video.texts import UAE, TextEncoder
    from recbole_video.dataset_tools.video.tfidf import TfidfEncoder
    from recbole_video.dataset_tools.video.weights import find_weights

    if arguments.encoder == TFIDF:
        return TfidfEncoder(arguments.dim, [part for text in parts for part in text]), {"vfm": "TF-IDF and SVD"}
    weights = find_weights(UAE.at(arguments.weights, arguments.revision))
    return TextEncoder(weights, options.placement(arguments)), {"vfm": weights.name, **weights.as_plain()}
