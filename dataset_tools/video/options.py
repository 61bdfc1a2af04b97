"""The options that the commands on videos share, and what they stand for."""

from __future__ import annotations

import argparse
import logging
import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.dataset_tools.output.summary import is_of_popularity, place, tool_command, training_command
from recbole_video.dataset_tools.video.samplers import RESAMPLE, SAMPLERS, Sampling
from recbole_video.dataset_tools.video.titles import CONDITIONS, Titles, read_titles

from recbole_video.data.text import read_media, sidecar_path
from recbole_video.errors import ConfigError, DataError, counted, nearest
from recbole_video.files.names import is_plain_name

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.executors import Executor
    from recbole_video.dataset_tools.video.frame_encoders import Placement
    from recbole_video.dataset_tools.video.job import Outputs
    from recbole_video.dataset_tools.video.listing import VideoFile
    from recbole_video.dataset_tools.video.pipeline import Summary
    from recbole_video.dataset_tools.video.weights import Source

# Named here as well as in frame_encoders, which takes PyTorch to import.
_FRAME_ENCODERS = "dinov2, dinov3, clip, vit, clip-patches (for ICPF), or, without weights, histogram and random"


def add_files(parser: argparse.ArgumentParser) -> None:
    """``--videos``, ``--name``, ``--out``, ``--store``, ``--new`` and ``--overwrite``."""
    parser.add_argument(
        "--videos",
        type=Path,
        required=True,
        metavar="DIR",
        help="folder of videos, named by item or as `media` in NAME.text.jsonl says; or a csv of item_id and path",
    )
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
    parser.add_argument("--store", default="", help="name of the frame store, where a data set has several")
    parser.add_argument(
        "--new",
        action="store_true",
        help="videos that came after the training, named by item, into a --store of their own: no other item is missed",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the results of an earlier run")


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """How frames are chosen, titles included."""
    group = parser.add_argument_group("frames")
    group.add_argument("--sampler", default=RESAMPLE, help=f"one of {', '.join(SAMPLERS)} (default: {RESAMPLE})")
    group.add_argument("--n_frames", type=int, default=5, help="frames to keep per video (default: 5)")
    group.add_argument("--n_candidates", type=int, default=100, help="frames to choose them from (default: 100)")
    group.add_argument("--seed", type=int, default=42, help="of whatever is random (default: 42)")
    group.add_argument("--accept_truncated", action="store_true", help="take what a truncated video still holds")
    group.add_argument("--contact_sheets", type=Path, metavar="DIR", help="write a PNG per video that shows its frames")
    group = parser.add_argument_group("titles, for resample")
    group.add_argument(
        "--titles",
        type=Path,
        metavar="FILE",
        help="JSON lines or csv with item_id and title (default: NAME.text.jsonl)",
    )
    group.add_argument("--title_condition", default="clean", help=f"one of {', '.join(CONDITIONS)} (default: clean)")
    group.add_argument(
        "--title_noise", type=float, help="for noise: its length, in lengths of the embedding (default: 1)"
    )
    group.add_argument("--clip_weights", metavar="PLACE", help="another CLIP model: a folder or a hub id")
    group.add_argument("--clip_revision", help="its commit, tag or branch on the hub")


def add_encoder(parser: argparse.ArgumentParser) -> None:
    """Which frame encoder, and from where."""
    group = parser.add_argument_group("frame encoder")
    group.add_argument("--frame_encoder", default="dinov2", help=f"one of {_FRAME_ENCODERS} (default: dinov2)")
    group.add_argument("--weights", metavar="PLACE", help="another vision model: a folder or a hub id")
    group.add_argument("--revision", help="its commit, tag or branch on the hub")


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Where the work is done."""
    group = parser.add_argument_group("machine")
    group.add_argument("--workers", type=int, default=2, help="processes that decode (default: 2)")
    group.add_argument(
        "--timeout",
        type=float,
        default=600.0,
        help="seconds that a video may take to decode, without --ray (default: 600)",
    )
    add_placement(group)
    group.add_argument("--ray", action="store_true", help="work on a Ray cluster; without RAY_ADDRESS, a local one")
    group.add_argument("--actors", type=int, default=1, help="for --ray: processes that run the models (default: 1)")
    group.add_argument(
        "--gpus_per_actor", type=float, help="for --ray: 0.5 for two on a GPU (default: 1 where there are)"
    )


def add_placement(group: Any) -> None:
    """Where and how models run: to a parser, or a group of its options."""
    group.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, ... (default: auto)")
    group.add_argument("--precision", default="auto", help="auto, float32, bfloat16 or float16 (default: auto)")
    group.add_argument("--batch_size", type=int, help="inputs per pass (default: 128; pictures on a CPU: 16)")


def outputs(arguments: argparse.Namespace) -> Outputs:
    """The files of the results that the options name."""
    from recbole_video.dataset_tools.video.job import Outputs

    check_names(arguments)
    return Outputs(arguments.out / arguments.name, arguments.name, arguments.store)


def check_names(arguments: argparse.Namespace) -> None:
    """Check that no name of a data set or store leads out of the data set's folder.

    Raises:
        ConfigError: If one is no plain name, or new videos have no store of their own.
    """
    if getattr(arguments, "new", None) and not arguments.store:
        raise ConfigError("--new needs a store of its own beside that of the training: give --store=new.")
    for option in ("name", "store"):
        given = getattr(arguments, option)
        if not is_plain_name(given) and (given or option == "name"):
            raise ConfigError(f"--{option} is `{given}`, which cannot be a part of a file's name; give a plain name.")


def videos(arguments: argparse.Namespace) -> list[VideoFile]:
    """The videos: of a folder, those that the data set's text names as ``media``, or each file by its name.

    An item of the data set without a video is one that is missing, so that the report of failures names it; unless
    the videos are new ones, which neither the interactions nor the text know.
    """
    from recbole_video.dataset_tools.video.listing import list_videos, with_items

    from recbole_video.data.atomic_file import read_columns

    check_names(arguments)
    log = logging.getLogger(__name__)
    folder = arguments.out / arguments.name
    if arguments.new:
        return list_videos(arguments.videos)
    media: dict[str, str] = {}
    if arguments.videos.is_dir():
        path = sidecar_path(folder, arguments.name)
        media = read_media(path)
        if media:
            log.info(f"{path.name} says which of the files belongs to which item.")
    inter = folder / f"{arguments.name}.inter"
    if not inter.is_file():
        converted = [path.stem for path in arguments.out.glob("*/*.inter") if path.stem == path.parent.name]
        log.warning(
            f"There is no {inter}{nearest(arguments.name, converted)}; frames are made of every video all the same, by "
            "the item that its file is named after."
        )
        return list_videos(arguments.videos, media)
    wanted = set(read_columns(inter, {"item_id"}, set())["item_id"])
    found = list_videos(arguments.videos, media, wanted)
    listed = {video.item_id for video in found}
    if absent := len(wanted - listed):
        log.warning(f"{absent:,} of {len(wanted):,} items of {inter.name} have no video in {arguments.videos}.")
    if others := len(listed - wanted):
        log.info(f"{others:,} of {len(listed):,} videos are of items without interactions; they are done as well.")
    return with_items(found, wanted)


def sampling(arguments: argparse.Namespace) -> Sampling:
    """The settings by which frames are chosen."""
    return Sampling(arguments.sampler, arguments.n_frames, arguments.n_candidates, arguments.seed)


def titles(arguments: argparse.Namespace) -> Titles:
    """The titles to score frames against; none where the sampler does not look at them.

    Raises:
        DataError: If titles are needed and there is no file of them.
        ConfigError: If an option is set that would have no effect.
    """
    from recbole_video.dataset_tools.video.listing import check_source

    _check_effect(arguments)
    if arguments.sampler != RESAMPLE or arguments.title_condition == "none":
        return Titles({}, arguments.title_condition, arguments.seed)
    check_names(arguments)
    check_source(arguments.videos)  # first: whoever mistyped it has no titles there either
    path = arguments.titles or sidecar_path(arguments.out / arguments.name, arguments.name)
    if not path.is_file():
        raise DataError(
            f"There are no titles `{path}`; give them with --titles, or choose frames without them: --sampler uniform."
        )
    return Titles(read_titles(path), arguments.title_condition, arguments.seed)


def _check_effect(arguments: argparse.Namespace) -> None:
    """Check that each option that was given has an effect."""
    about_titles = ("titles", "title_noise", "clip_weights", "clip_revision")
    given = [name for name in about_titles if getattr(arguments, name) is not None]
    if arguments.sampler != RESAMPLE:
        given += ["title_condition"] if arguments.title_condition != "clean" else []
        why = f"the sampler {arguments.sampler} does not look at titles"
    elif arguments.title_condition == "none":
        why = "with title_condition none, nothing looks at titles"
    else:
        given = ["title_noise"] if "title_noise" in given and arguments.title_condition != "noise" else []
        why = f"with title_condition {arguments.title_condition} there is no noise"
    if given:
        raise ConfigError(f"--{given[0]} has no effect: {why}; leave it out.")


def title_noise(arguments: argparse.Namespace) -> float:
    """Length of the noise on titles' embeddings, 0 for none."""
    if arguments.title_condition != "noise":
        return 0.0
    return 1.0 if arguments.title_noise is None else arguments.title_noise


def clip(arguments: argparse.Namespace) -> Source | None:
    """The CLIP model that scores frames; None where none are scored."""
    from recbole_video.dataset_tools.video.frame_encoders import CLIP

    if arguments.sampler != RESAMPLE or arguments.title_condition == "none":
        return None
    return CLIP.at(arguments.clip_weights, arguments.clip_revision)


def encoder(arguments: argparse.Namespace) -> Source:
    """The frame encoder that the options name.

    Raises:
        ConfigError: If there is none, or weights are named for one that has none.
    """
    from recbole_video.dataset_tools.video.frame_encoders import frame_encoder_source

    source = frame_encoder_source(arguments.frame_encoder)
    if source.is_rule and (arguments.weights or arguments.revision):
        raise ConfigError(f"--weights and --revision have no effect: {source.name} has no weights; leave them out.")
    return source.at(arguments.weights, arguments.revision)


def placement(arguments: argparse.Namespace) -> Placement:
    """Where and how the models run."""
    from recbole_video.dataset_tools.video.frame_encoders import Placement

    return Placement(arguments.device, arguments.precision, arguments.batch_size)


def executor(arguments: argparse.Namespace) -> Executor:
    """Where the work is done.

    Raises:
        ConfigError: If there is no process to do it.
    """
    if arguments.workers < 1:
        raise ConfigError(f"workers is {arguments.workers}; at least one process must decode.")
    if arguments.timeout <= 0:
        raise ConfigError(f"timeout is {arguments.timeout}; it is a number of seconds above 0.")
    from recbole_video.dataset_tools.video.executors import run_here, run_on_ray

    if arguments.ray:
        return run_on_ray(arguments.actors, arguments.gpus_per_actor)
    return run_here(arguments.workers, arguments.timeout)


def refuse_other_encoder(arguments: argparse.Namespace, encoder: Source) -> None:
    """Refuse to embed new videos by another vision model than those of the training: no trained model would take them.

    Raises:
        ConfigError: If the data set has frames that `frames` or `embed` made, and none by this model.
    """
    from recbole_video.content.store import FrameStore

    own = outputs(arguments).frames
    suffix = ".frames.npy"
    made = [path for path in sorted(own.parent.glob(f"*{suffix}")) if path != own]
    made = [path for path in made if path.with_name(path.name.replace(suffix, ".samples.jsonl")).is_file()]
    made_by = {path.name: FrameStore(path).manifest.vfm for path in made}
    # A store is named after the folder that its weights were in, or the hub's id; one in the weights folder, by a word.
    place = Path(encoder.place)
    called = {place.resolve().name} if place.is_dir() else {encoder.place, encoder.name}
    if made_by and not called & {*made_by.values()}:
        told = ", ".join(f"`{name}` by `{vfm}`" for name, vfm in made_by.items())
        raise ConfigError(
            f"New videos must be embedded as those of the training, {told}, and not by `{encoder.name}`; choose by "
            "--frame_encoder and --weights."
        )


def report(summary: Summary, results: Outputs, made: Path, is_new: bool = False) -> None:
    """Log how a run ended, and print what it made and what may be typed next.

    Args:
        summary: What was done.
        results: The files of the results.
        made: The file that matters: the frame store, or the chosen frames.
        is_new: Whether these are videos for a model that is trained already.
    """
    _report_failures(summary, results)
    print(f"{counted(summary.n_videos, 'video has', 'videos have')} frames; written: {made}")
    following = None if made == results.samples else _next_command(results, is_new)
    if following:
        print(f"Next: {following}")


def _next_command(results: Outputs, is_new: bool) -> str | None:
    """What a frame store is made for; None where that depends on labels to come."""
    folder, name = results.folder, results.name
    if is_of_popularity(folder, name):
        return None
    if is_new:
        return (
            f'recbole-video recommend RUN_FOLDER --add_store={shlex.quote(str(results.frames))} --history="ITEM ITEM"'
        )
    if (folder / f"{name}.inter").is_file():
        return training_command(folder, name, results.store)
    return tool_command("generic", "CLICKS.csv", f"--name={name}", *place(folder, "out"))


def _report_failures(summary: Summary, results: Outputs) -> None:
    log = logging.getLogger(__name__)
    if summary.n_untitled:
        log.warning(
            f"{counted(summary.n_untitled, 'video has', 'videos have')} no title: frames were chosen at random."
        )
    if summary.failures:
        reasons = Counter(failure.reason for failure in summary.failures)
        shown = ", ".join(f"{n} {reason}" for reason, n in reasons.most_common())
        log.warning(f"{counted(len(summary.failures), 'video')} gave no frames ({shown}); see {results.failures}.")
