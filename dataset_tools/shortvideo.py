"""Short-Video (tsinghua-fib-lab/ShortVideo_dataset): its csv of 28 columns -> a data set.

RAW is the csv file or the folder that holds it, under any of its public names. Its rows are folded into exposures
(user, video, second), exposures are filtered, and each that is left is one interaction.

The csv's `pid` is often not the number of the video's file: give --id_map, and --videos to check by duration, or let
--audit FILE propose a map by the durations of --videos.

The data have no explicit licence. Do not pass them on, nor what this command makes of them.
"""

from __future__ import annotations

import argparse
import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.exposure_filter import (
    EFFECTIVE_VIEW,
    add_exposure_filter_arguments,
    apply_filter,
    filter_from,
)
from recbole_video.dataset_tools.cleaning.interactions import codes_of, select, sort_order
from recbole_video.dataset_tools.media.shortvideo_media import (
    add_feature_folder,
    add_media_arguments,
    audit_media,
    check_videos,
    find_media,
    sources_from,
    text_rows,
)
from recbole_video.dataset_tools.output.summary import print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.broken_csv import Layout, Tally, read_csv_header
from recbole_video.dataset_tools.raw.csv_tables import read_tables
from recbole_video.dataset_tools.raw.exposures import COLUMNS, FLAGS, KEY, KINDS, USER_ATTRIBUTES, Fold
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from tqdm import tqdm

from recbole_video.errors import ConfigError, DataError, counted, nearest

HELP = "Short-Video: the csv of 28 columns, in any of its public versions"

# The first is the download's own spelling.
FILES = ("interaciton_filtered.csv", "interaction_filtered.csv", "interaction.csv", "interaction_sampled.csv")
LEVELS = (1, 2, 3)
# Columns that are not converted, but must look like numbers where a record begins or ends.
_UNUSED = ("parent_id", "root_id", "author_fans_count", "p_hour", "p_date")
_INTER_TYPES = dict.fromkeys(("watch_time", "duration", *FLAGS, EFFECTIVE_VIEW), "float")
_ITEM_TYPES = {
    "author_id": "token",
    **{f"category_{level}": "token_seq" for level in LEVELS},
    "tags": "token_seq",
    "duration": "float",
}
# Column of an exposure -> its sum in the .counts file.
COUNTS = {
    EFFECTIVE_VIEW: "views",
    "cvm_like": "likes",
    "comment": "comments",
    "follow": "follows",
    "collect": "collects",
    "forward": "forwards",
    "hate": "hates",
}
_USER_TYPES = {**dict.fromkeys(USER_ATTRIBUTES, "token"), "age": "float", "mod_price": "float"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="the csv file, or the folder of the download")
    parser.add_argument(
        "--effective_view",
        type=_seconds,
        default=3.0,
        metavar="SECONDS",
        help="a view is effective beyond this (default: 3)",
    )
    parser.add_argument("--effective_view_at_least", action="store_true", help="exactly so many seconds are enough")
    add_exposure_filter_arguments(parser)
    add_media_arguments(parser)
    add_output_arguments(parser, "shortvideo")


def _seconds(text: str) -> float:
    if not math.isfinite(value := float(text)):
        raise argparse.ArgumentTypeError(f"{text} is no number of seconds")
    return value


def run(arguments: argparse.Namespace) -> None:
    """Convert the csv file to a data set."""
    settings, sources = filter_from(arguments), sources_from(arguments)
    path = find_csv(arguments.raw)
    if arguments.audit is not None:
        _audit(arguments, path, sources.videos)
        return
    with DatasetWriter.from_arguments(arguments) as out, TextSpool() as spool:
        out.card.note("filter", vars(settings))
        fold = read_csv(path, spool, out.card)
        exposures = prepare_exposures(fold, arguments.effective_view, arguments.effective_view_at_least)
        out.card.step("rows to exposures", fold.rows, len(exposures), "rows of one user, video and second")
        kept = apply_filter(exposures, settings, out.card)
        out.write_interactions(kept, "s", _INTER_TYPES)
        items = prepare_items(fold, kept["item_id"].unique())
        out.write_items(items, _ITEM_TYPES)
        out.write_users(prepare_users(fold, kept["user_id"].unique()), _USER_TYPES)
        out.write_counts(count_feedback(exposures, items["item_id"].to_numpy()))
        media = find_media(items["item_id"].tolist(), sources.id_map, out.card)
        out.write_text(text_rows(items, fold.tags.words, media, sources, spool, out.card))
        if sources.videos:
            check_videos(sources.videos, items, media, out.card)
        if sources.features:
            add_feature_folder(out, sources.features, media)
    print_summary(out)


def _audit(arguments: argparse.Namespace, path: Path, videos: Path | None) -> None:
    if videos is None or arguments.id_map is not None:
        raise ConfigError("`--audit` needs --videos, and proposes an --id_map; give the one, and leave out the other.")
    with TextSpool() as spool:
        items = read_csv(path, spool, Card(arguments.name)).items()
    audit_media(items, videos, arguments.audit, arguments.overwrite)


def find_csv(raw: Path) -> Path:
    """The csv file in a folder, or ``raw`` itself.

    Raises:
        DataError: If there is none, or several.
    """
    if raw.is_file():
        return raw
    found = [raw / name for name in FILES if (raw / name).is_file()]
    if not found:
        raise DataError(f"`{raw}` is no csv file and holds none of {', '.join(FILES)}.")
    if len(found) > 1:
        names = " and ".join(f"`{path.name}`" for path in found)
        raise DataError(f"`{raw}` holds {names}, which are different data sets; give the file itself.")
    return found[0]


def layout_of(path: Path) -> Layout:
    """The layout of the file, by the names in its header.

    Raises:
        DataError: If a column is missing or named twice.
    """
    columns = read_csv_header(path)
    for name in COLUMNS:
        if columns.count(name) != 1:
            problem = "names the column twice:" if name in columns else "has no column"
            hint = "" if name in columns else nearest(name, columns)
            raise DataError(
                f"The header of `{path}` {problem} `{name}`{hint}; it is no csv of Short-Video as published."
            )
    return Layout(columns, "title", {**KINDS, **{name: "number" for name in _UNUSED if name in columns}})


def read_csv(path: Path, spool: TextSpool, card: Card) -> Fold:
    """Read the file once, and put on the card how its records were read.

    Raises:
        DataError: If it holds no record, or most of it is in another encoding.
    """
    layout = layout_of(path)
    fold, tally = Fold(spool), Tally()
    with tqdm(total=path.stat().st_size, desc=path.name, unit="B", unit_scale=True, disable=None) as progress:
        for table in read_tables(path, layout, COLUMNS, tally, progress.update):
            fold.add(table)
    if not fold.rows:
        raise DataError(f"`{path}` holds no record that can be read ({counted(tally.unreadable, 'line')} cannot).")
    if 2 * tally.not_utf8 > tally.records:
        raise DataError(
            f"`{path}` is not text in UTF-8: bytes of {counted(tally.not_utf8, 'line')} do not fit (first: line "
            f"{tally.first_not_utf8:,}); save it as UTF-8."
        )
    card.add_input(path)
    card.note("reading", vars(tally))
    _warn_of_flaws(fold, tally, card)
    card.note("columns_left_out", [c for c in layout.columns if c not in COLUMNS])
    return fold


def _warn_of_flaws(fold: Fold, tally: Tally, card: Card) -> None:
    wrong = f"(first: line {tally.first_not_utf8:,})"
    flaws = {
        f"lines that belong to no record, left out (first: line {tally.first_unreadable:,})": tally.unreadable,
        f"lines that are not UTF-8, whose wrong bytes became U+FFFD {wrong}": tally.not_utf8,
        "empty flags, taken as false": fold.empty_flags,
        "videos with several titles, of which the first is kept": len(fold.titles.conflicts),
        "videos with several authors or durations, of which the first is kept": fold.conflicting_items(),
        "users with several sets of attributes, of which the first is kept": fold.conflicting_users(),
    }
    for flaw, count in flaws.items():
        if count:
            card.warn(f"{count:,} {flaw}.")


def prepare_exposures(fold: Fold, effective_seconds: float, at_least: bool) -> pd.DataFrame:
    """Exposures by user, time and first row, under RecBole's names, with ``effective_view``."""
    frame = fold.exposures().rename(columns=dict(zip(KEY, ("user_id", "item_id", "time"), strict=True)))
    watch = frame["watch_time"].to_numpy()
    frame[EFFECTIVE_VIEW] = (watch >= effective_seconds if at_least else watch > effective_seconds).astype(np.uint8)
    users = codes_of(frame["user_id"].to_numpy())[0]
    return select(frame, sort_order(users, frame["time"].to_numpy()))


def prepare_items(fold: Fold, kept: np.ndarray) -> pd.DataFrame:
    """The ``.item`` table of the kept videos: author, categories per level, tags (numbers), duration."""
    items = fold.items().rename(columns={"pid": "item_id"})
    items = items[items["item_id"].isin(kept)].sort_values("item_id", ignore_index=True)
    items["author_id"] = items["author_id"].astype(object).where(items["author_id"] >= 0, None)
    tags = _sets(fold.item_tags(), "tag")
    items["tags"] = [tags.get(pid, []) for pid in items["item_id"]]
    categories = fold.item_categories()
    for level in LEVELS:
        sets = _sets(categories[categories["category_level"] == level], "category_id")
        items[f"category_{level}"] = [sets.get(pid, []) for pid in items["item_id"]]
    return items


def _sets(rows: pd.DataFrame, column: str) -> Mapping[int, list[int]]:
    """Pid -> its distinct values, in the order of the file."""
    sets: dict[int, list[int]] = defaultdict(list)
    for pid, value in zip(rows["pid"].tolist(), rows[column].tolist(), strict=True):
        sets[pid].append(value)
    return sets


def count_feedback(exposures: pd.DataFrame, kept: np.ndarray) -> pd.DataFrame:
    """The ``.counts`` table of the kept videos: exposures and feedback over all users, before any filter."""
    counts = exposures.groupby("item_id")[list(COUNTS)].sum().rename(columns=COUNTS)
    counts.insert(0, "exposures", exposures["item_id"].value_counts())
    return counts.loc[kept].reset_index()


def prepare_users(fold: Fold, kept: np.ndarray) -> pd.DataFrame:
    """The ``.user`` table of the kept users; an age or price that is no number is empty."""
    users = fold.users()
    users = users[users["user_id"].isin(kept)].sort_values("user_id", ignore_index=True)
    for name in ("age", "mod_price"):
        numbers = pd.to_numeric(users[name], errors="coerce").to_numpy(dtype=np.float64)
        users[name] = np.where(np.isfinite(numbers), numbers, np.nan)
    return users
