"""VK-LSVD (deepvk/VK-LSVD on the hub): weeks of exposures as parquet -> a data set, its own split in time kept.

RAW is the folder `interactions` of the download or one of `subsamples`, such as subsamples/ur0.01_ir0.01; it holds
train/week_00.parquet and so on, validation and test. The folder `metadata` is looked for beside it and above it.

The data say which week an exposure is of, and the order, but no time: seconds are spread evenly over a week. The card,
and the last line that is printed, say which --temporal_cut is the split of the data.

The licence of the data is Apache 2.0.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.filters import add_filter_arguments, apply_filters
from recbole_video.dataset_tools.cleaning.interactions import codes_of, select
from recbole_video.dataset_tools.output.summary import print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.vk_lsvd_files import (
    CONTEXT,
    FLAGS,
    SECONDS_PER_WEEK,
    Week,
    find_weeks,
    read_embeddings,
    read_metadata,
    read_weeks,
)

from recbole_video.content.store import write_frame_store
from recbole_video.errors import DataError

HELP = "VK-LSVD: weeks of short-video exposures as parquet, with content vectors"
_INTER_TYPES = {**dict.fromkeys(("timespent", *FLAGS), "float"), **dict.fromkeys(CONTEXT, "token")}
_ITEM_TYPES = {"author_id": "token", "duration": "float"}
_USER_TYPES = {"age": "float", "gender": "token", "geo": "token"}
# Flag of an exposure -> its sum in the .counts file.
COUNTS = dict(
    zip(FLAGS, ("likes", "dislikes", "shares", "bookmarks", "clicks_on_author", "comments_opened"), strict=True)
)
STORE = "content"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of train, validation and test")
    parser.add_argument("--metadata", type=Path, metavar="FOLDER", help="of the tables of users and items, and vectors")
    parser.add_argument(
        "--positive", nargs="+", choices=FLAGS, default=[], help="only exposures with any of these (default: all)"
    )
    parser.add_argument(
        "--watched", type=float, metavar="SECONDS", help="only exposures watched so long; with --positive, either"
    )
    add_filter_arguments(parser)
    add_output_arguments(parser, "vk-lsvd")


def run(arguments: argparse.Namespace) -> None:
    """Convert the weeks to a data set."""
    weeks = find_weeks(arguments.raw)
    metadata = arguments.metadata or find_metadata(arguments.raw)
    with DatasetWriter.from_arguments(arguments) as out:
        for week in weeks:
            out.card.add_input(week.path)
        exposures = read_weeks(weeks)
        counts = count_feedback(exposures)
        kept = choose_positive(exposures, arguments.positive, arguments.watched, out.card)
        kept = apply_filters(kept, arguments, out.card)
        out.write_interactions(kept, "s", _INTER_TYPES)
        out.write_counts(select(counts, np.isin(counts["item_id"], out.items)))
        cut = _note_split(weeks, int(kept["time"].min()), out.card)
        if metadata is not None:
            _write_metadata(out, metadata, np.unique(kept["user_id"]))
    print_summary(out, cut)


def find_metadata(raw: Path) -> Path | None:
    """The folder ``metadata`` in a folder or in one of the two above it, as the download has it; None without one."""
    folder = raw.resolve()
    candidates = [place / "metadata" for place in (folder, folder.parent, folder.parent.parent)]
    return next((candidate for candidate in candidates if candidate.is_dir()), None)


def choose_positive(
    exposures: dict[str, np.ndarray], positive: Sequence[str], watched: float | None, card: Card
) -> dict[str, np.ndarray]:
    """The exposures that have one of some flags, or were watched for so many seconds; all of them without either."""
    rules = [exposures[flag] > 0 for flag in positive]
    names = list(positive)
    if watched is not None:
        rules.append(exposures["timespent"] >= watched)
        names.append(f"timespent >= {watched:g}")
    if not rules:
        return exposures
    kept = np.logical_or.reduce(rules)
    card.step("positive rule", len(kept), int(kept.sum()), f"none of {', '.join(names)}")
    return select(exposures, kept)


def count_feedback(exposures: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The ``.counts`` table: exposures and feedback over all users and weeks, before any filter."""
    codes, items = codes_of(exposures["item_id"])
    sums = {name: np.bincount(codes, exposures[flag], len(items)) for flag, name in COUNTS.items()}
    return {"item_id": items, "exposures": np.bincount(codes, minlength=len(items)), **sums}


def _note_split(weeks: Sequence[Week], first: int, card: Card) -> str:
    """Put on the card where the parts begin, and say by which options a run splits there."""
    starts = {}
    for week in reversed(weeks):
        starts[week.part] = week.number * SECONDS_PER_WEEK - first
    cuts = [starts[part] for part in ("validation", "test") if part in starts]
    card.note("timestamp", "the week and the order are the data's; seconds are spread evenly over a week")
    card.note("parts begin at", dict(reversed(starts.items())))
    if not cuts:
        return "It has neither validation nor test: there is no split to keep."
    if len(cuts) > 1:
        options = f'--protocol=temporal --temporal_cut="[{cuts[0]},{cuts[1]}]"'
    else:
        options = f"--protocol=temporal --temporal_cut={cuts[0]} --temporal_valid=last_training"
    card.note("split of the data", options)
    return f"Its own split: {options}"


def _write_metadata(out: DatasetWriter, folder: Path, users: np.ndarray) -> None:
    """Write what there is of features and vectors."""
    items = np.asarray(out.items)
    for name, key, wanted, types, write in (
        ("items_metadata", "item_id", items, _ITEM_TYPES, out.write_items),
        ("users_metadata", "user_id", users, _USER_TYPES, out.write_users),
    ):
        if (path := folder / f"{name}.parquet").is_file():
            out.card.add_input(path)
            write(read_metadata(path, key, list(types), wanted), types)
    if (path := folder / "item_embeddings.npz").is_file():
        out.card.add_input(path)
        _write_store(out, *read_embeddings(path, items))


def _write_store(out: DatasetWriter, items: np.ndarray, vectors: np.ndarray) -> None:
    """Write the content vectors as a store of one frame per video."""
    if not len(items):
        raise DataError("`item_embeddings.npz` holds none of the videos that have interactions; give their --metadata.")
    out.file(f".{STORE}.frames.json")
    path = out.file(f".{STORE}.frames.npy")
    write_frame_store(path, list(map(str, items)), vectors[:, None, :], vfm="VK-LSVD's own", sampling="published")
    if len(items) < len(out.items):
        out.card.warn(
            f"{len(out.items) - len(items):,} of {len(out.items):,} videos have no content vector; set missing_items "
            "in a run."
        )
