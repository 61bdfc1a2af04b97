"""Informs (2024 INFORMS Data Mining Society Data Challenge) as it comes -> a data set of videos with four counts.

RAW is the folder of training.xlsx, testing.xlsx and, for the counts of the test videos, testing_set_with_labels.xlsx.

Each video is one interaction, of its author. The split is the challenge's: the test sheet tests; of the training sheet
the last videos, in the order of the file, validate. Counts are in the .counts file; what has none is never filled in.

No licence of these data is known. Do not pass them on, nor what this command makes of them.
"""

from __future__ import annotations

import argparse
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.output.summary import label_command, print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.informs_sheets import (
    AUTHOR,
    AUTHOR_NUMBERS,
    DESCRIPTION,
    KEY,
    KNOWN,
    TARGETS,
    TIME,
    VIDEO,
    VIDEO_TOKENS,
    SheetRow,
    read_rows,
    read_sheet_header,
)
from recbole_video.dataset_tools.raw.text_spool import TextSpool

from recbole_video.errors import DataError, counted
from recbole_video.files.raw import find_file, find_optional

HELP = "Informs challenge: the three xlsx workbooks"

TRAINING, TESTING, LABELLED = "training.xlsx", "testing.xlsx", "testing_set_with_labels.xlsx"
VIDEO_FOLDERS = {"train": "train_converted_mp4", "test": "test_converted_mp4"}
_REQUIRED = (KEY, VIDEO, AUTHOR, TIME)
_ITEM_TYPES = {
    **dict.fromkeys((KEY, "split", *VIDEO_TOKENS), "token"),
    **dict.fromkeys(AUTHOR_NUMBERS, "float"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of the workbooks")
    parser.add_argument(
        "--valid_share",
        type=_share,
        default=0.2,
        help="share of the training sheet, at its end, that validates (default: 0.2)",
    )
    parser.add_argument(
        "--missing_videos",
        choices=("keep", "drop"),
        default="keep",
        help="videos without a file in the video folders: keep them (default), or leave them out as STAP's scripts do",
    )
    parser.add_argument(
        "--videos", type=Path, metavar="FOLDER", help="holds train_converted_mp4 and test_converted_mp4 (default: RAW)"
    )
    add_output_arguments(parser, "informs")


def run(arguments: argparse.Namespace) -> None:
    """Convert the workbooks to a data set."""
    folder = arguments.videos or arguments.raw
    with DatasetWriter.from_arguments(arguments) as out, TextSpool() as spool:
        videos = read_videos(arguments.raw, spool, out.card)
        videos = _check_files(videos, folder, arguments.missing_videos == "drop", out.card)
        videos["split"] = official_split(videos["split"].to_numpy(), arguments.valid_share)
        out.card.note("splits", videos["split"].value_counts().to_dict())
        out.write_interactions(videos, "s")
        out.write_items(videos, _ITEM_TYPES)
        out.write_counts(videos[["item_id", *TARGETS.values()]])
        out.write_text({"item_id": item, **spool.get(item)} for item in videos["item_id"])
    print_summary(out, next_command=label_command(out, "--preset=informs"))


def read_videos(raw: Path, spool: TextSpool, card: Card) -> pd.DataFrame:
    """All videos of the training and the test sheet, in this order; descriptions and media paths go to ``spool``.

    Returns:
        ``item_id``, ``user_id``, ``time`` (s), ``split`` (``train`` or ``test``), the other columns of the sheets
        (NaN and empty text where a cell is empty), and the targets under the names of the ``.counts`` file.

    Raises:
        DataError: If a workbook cannot be read or an id was rounded.
    """
    sheets = {"train": find_file(raw, [TRAINING]), "test": find_file(raw, [TESTING, LABELLED])}
    labelled = find_optional(raw, [LABELLED])
    faults: Counter[str] = Counter()
    rows = []
    for split, path in sheets.items():
        card.add_input(path)
        _note_unknown_columns(path, card)
        required = (*_REQUIRED, *TARGETS) if split == "train" else _REQUIRED
        rows += [_read_video(row, split, spool) for row in read_rows(path, required, faults)]
    if not rows:
        raise DataError(f"The workbooks of `{raw}` hold no video; fetch them again.")
    videos = _distinct(pd.DataFrame(rows), card)
    if labelled is not None:
        if labelled not in sheets.values():
            card.add_input(labelled)
        _add_labels(videos, read_labels(labelled, faults, card), card)
    else:
        card.warn(f"`{raw}` holds no {LABELLED}: the test videos have no counts.")
    for fault, number in faults.items():
        card.note(fault, number)
    return videos


def _read_video(row: SheetRow, split: str, spool: TextSpool) -> dict[str, Any]:
    item = row.exact_id(VIDEO)
    if item and item not in spool:
        texts = {"title": row.text(DESCRIPTION).strip(), "media": f"{VIDEO_FOLDERS[split]}/{item}.mp4"}
        spool.put(item, {name: text for name, text in texts.items() if text})
    return {
        "item_id": item,
        "user_id": row.author(AUTHOR),
        "time": row.seconds(TIME),
        "split": split,
        KEY: row.token(KEY),
        **{name: row.text(name).strip() for name in VIDEO_TOKENS},
        **{name: row.number(name) for name in AUTHOR_NUMBERS},
        **{new: row.number(old) for old, new in TARGETS.items()},
    }


def _distinct(videos: pd.DataFrame, card: Card) -> pd.DataFrame:
    """Leave out rows without video, author or date, and all but the first row of a video."""
    whole = (videos["item_id"] != "") & (videos["user_id"] != "") & videos["time"].notna()
    card.step("incomplete rows", len(videos), int(whole.sum()), f"no {VIDEO}, {AUTHOR} or {TIME}")
    videos = videos[whole]
    first = ~videos.duplicated("item_id")
    card.step("repeated videos", len(videos), int(first.sum()), "a video's later rows")
    videos = videos[first].reset_index(drop=True)
    return videos.assign(time=videos["time"].astype(np.int64))


def _note_unknown_columns(path: Path, card: Card) -> None:
    unknown = [name for name in read_sheet_header(path) if name not in KNOWN]
    if unknown:
        card.note(f"{path.name}: columns left out", unknown)


@dataclass
class PublishedLabels:
    """Targets by identifier, from the workbook that was published after the contest.

    Attributes:
        counts: Identifier -> counts, in the order of ``TARGETS``.
        contradictory: Identifiers with several rows that differ: which is right cannot be known.
    """

    counts: dict[str, tuple[float, ...]]
    contradictory: set[str]


def read_labels(path: Path, faults: Counter[str], card: Card) -> PublishedLabels:
    """Read the targets of the test videos, which join on the identifier."""
    labels = PublishedLabels({}, set())
    copies = 0
    for row in read_rows(path, (KEY, *TARGETS), faults):
        key, counts = row.token(KEY), tuple(row.number(name) for name in TARGETS)
        if not key:
            faults["label rows without an identifier"] += 1
            continue
        known = labels.counts.setdefault(key, counts)
        if known is counts:
            continue
        if _same(known, counts):
            copies += 1
        else:
            labels.contradictory.add(key)
    if copies:
        card.note("label rows that repeat another", copies)
    return labels


def _same(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    return all(a == b or (math.isnan(a) and math.isnan(b)) for a, b in zip(one, other, strict=True))


def _add_labels(videos: pd.DataFrame, labels: PublishedLabels, card: Card) -> None:
    """Fill in the targets of test videos, in place; those with contradictory rows stay empty."""
    test = videos.index[videos["split"] == "test"]
    keys = videos.loc[test, KEY]
    usable = {key: counts for key, counts in labels.counts.items() if key not in labels.contradictory}
    nothing = (math.nan,) * len(TARGETS)
    videos.loc[test, list(TARGETS.values())] = np.array([usable.get(key, nothing) for key in keys]).reshape(
        -1, len(TARGETS)
    )
    absent = [key for key in keys if key not in labels.counts]
    if absent:
        card.warn(
            f"{len(absent):,} of {len(test):,} test videos have no row of labels (first: identifier {absent[0]})."
        )
    if labels.contradictory:
        card.warn(
            f"{counted(len(labels.contradictory), 'identifier has', 'identifiers have')} several rows of labels that "
            f"differ (first: {min(labels.contradictory)}); their videos stay without counts."
        )
    if strangers := len(set(labels.counts) - set(keys)):
        card.note("rows of labels without a test video", strangers)


def _check_files(videos: pd.DataFrame, folder: Path, drop: bool, card: Card) -> pd.DataFrame:
    """Count the videos without a file, and leave them out if asked to."""
    if not any((folder / name).is_dir() for name in VIDEO_FOLDERS.values()):
        if drop:
            names = " nor ".join(f"`{name}`" for name in VIDEO_FOLDERS.values())
            raise DataError(f"`{folder}` holds neither {names}; --missing_videos=drop would leave out every video.")
        return videos
    splits = zip(videos["split"], videos["item_id"], strict=True)
    there = np.array([(folder / VIDEO_FOLDERS[split] / f"{item}.mp4").is_file() for split, item in splits])
    card.note("videos without a file", int((~there).sum()))
    if not drop:
        return videos
    card.step("missing videos", len(videos), int(there.sum()), "no mp4 file")
    return videos[there].reset_index(drop=True)


def official_split(sheets: np.ndarray, valid_share: float) -> np.ndarray:
    """Split of each video: ``test`` as it is; the last ``valid_share`` of the ``train`` sheet becomes ``valid``.

    Args:
        sheets: ``train`` or ``test`` [N], each in the order of its file.
        valid_share: The share of the training sheet that validates; the number of videos that train is rounded down.
    """
    split = sheets.astype(object)
    training = np.flatnonzero(sheets == "train")
    split[training[int((1 - valid_share) * len(training)) :]] = "valid"
    return split


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not in [0, 1)")
    return value
