"""What lies beside the csv of Short-Video: media files and their numbers, speech, category names, features."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.media.files import (
    TOLERANCE_SECONDS,
    check_durations,
    numbered_videos,
    read_durations,
    read_id_map,
)
from recbole_video.dataset_tools.media.id_audit import audit_ids
from recbole_video.dataset_tools.output.writer import DatasetWriter
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from tqdm import tqdm

from recbole_video.content.store import FrameBlock, write_frame_blocks
from recbole_video.errors import DataError, counted
from recbole_video.files.atomic import write_text
from recbole_video.files.raw import check_no_repeats, csv_rows, load_array, whole_number
from recbole_video.files.reading import read_text

# Media files are numbered from 1 to this; a larger pid is a hash that leads to no file.
N_MEDIA = 153_561
FEATURES = "published"
_FEATURE_SHAPE = (8, 256)
_FOLDERS = {"videos": "of <media id>.mp4", "asr": "of <media id>.txt", "features": "of <media id>.npy"}


@dataclass(frozen=True)
class Sources:
    """Files and folders beside the csv; None for one that is not given."""

    id_map: Path | None = None
    videos: Path | None = None
    asr: Path | None = None
    features: Path | None = None
    categories: Path | None = None


def add_media_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each of ``Sources``."""
    group = parser.add_argument_group("media and text")
    group.add_argument("--id_map", type=Path, metavar="FILE", help="csv of pid and media id (default: the same)")
    group.add_argument(
        "--videos", type=Path, metavar="FOLDER", help="mp4 files: compare their durations with the csv's"
    )
    group.add_argument(
        "--audit",
        type=Path,
        metavar="FILE",
        help="convert nothing: tell by durations how pids and --videos agree, and write the map that fits best to FILE",
    )
    group.add_argument("--asr", type=Path, metavar="FOLDER", help="txt files of recognised speech, for the text file")
    group.add_argument(
        "--features", type=Path, metavar="FOLDER", help="video_feature_total: npy files -> a frame store"
    )
    group.add_argument("--categories", type=Path, metavar="FILE", help="categories_cn_en.csv: names, for the text file")


def sources_from(arguments: argparse.Namespace) -> Sources:
    """The sources that were given.

    Raises:
        DataError: If one does not exist.
    """
    sources = Sources(**{name: getattr(arguments, name) for name in vars(Sources())})
    for name, path in vars(sources).items():
        if path is not None and not (path.is_dir() if name in _FOLDERS else path.is_file()):
            kind = f"folder `{path}`; --{name} takes one {_FOLDERS[name]}" if name in _FOLDERS else f"file `{path}`"
            raise DataError(f"There is no {kind}.")
    return sources


def find_media(items: Sequence[int], id_map: Path | None, card: Card) -> dict[int, str]:
    """Media id of each item; items without media are left out.

    Without a map, media ids are taken to be the pids, which is wrong for most videos: a warning says so.
    """
    if id_map is not None:
        return _mapped_media(items, id_map, card)
    if max(items) > N_MEDIA:
        card.warn("The pids of this version are hashes that lead to no media file; give --id_map if you have a map.")
        return {}
    card.warn(
        "Without --id_map, the file of video n is taken to be n.mp4. In the published data this is so for about a "
        "fifth of the videos, the others are shifted by 1 to 3: give a map, and --videos to check it by duration."
    )
    return {pid: str(pid) for pid in items}


def _mapped_media(items: Sequence[int], id_map: Path, card: Card) -> dict[int, str]:
    known = read_id_map(id_map)
    card.add_input(id_map)
    media = {pid: known[str(pid)] for pid in items if str(pid) in known}
    card.note("videos with media", len(media))
    if len(media) < len(items):
        card.warn(f"{len(items) - len(media):,} of {len(items):,} videos are not in `{id_map.name}`: no media.")
    return media


def read_categories(path: Path, card: Card) -> dict[int, str]:
    """English names of categories; of several names for one id, the first.

    Raises:
        DataError: If a column is missing or there twice, or an id is no number.
    """
    names: dict[int, str] = {}
    several: set[int] = set()
    rows = csv_rows(path)
    _, header = next(rows, (1, []))
    wanted = ("category_id", "category_name_en")
    check_no_repeats(path, wanted, header)
    columns = [header.index(name) for name in wanted if name in header]
    for number, row in rows:
        key = whole_number(row[columns[0]].strip()) if len(columns) == 2 and len(row) > max(columns) else None
        if key is None:
            raise DataError(f"`{path}`, line {number}: needs a category_id and a category_name_en.")
        name = row[columns[1]].strip()
        if names.setdefault(key, name) != name:
            several.add(key)
    card.add_input(path)
    if several:
        card.warn(
            f"{counted(len(several), 'category has', 'categories have')} several English names; the first is kept: "
            f"{sorted(several)}."
        )
    return names


def text_rows(
    items: pd.DataFrame, tags: Sequence[str], media: Mapping[int, str], sources: Sources, spool: TextSpool, card: Card
) -> Iterator[dict[str, Any]]:
    """Title, tags, category names, speech and media file of each video; what is empty is left out.

    Args:
        items: ``item_id``, ``tags`` (numbers) and ``category_1`` to ``category_3``.
        tags: Name of each tag.
        media: Item -> media id.
        sources: Where speech and names of categories are.
        spool: Holds the titles.
        card: Receives the counts of what is missing.
    """
    names = read_categories(sources.categories, card) if sources.categories else {}
    n_titles = n_speeches = 0
    for row in items.to_dict("records"):
        media_id = media.get(row["item_id"])
        text = {
            "title": spool.get(row["item_id"]).get("title"),
            "tags": [tags[code] for code in row["tags"]],
            "categories": _category_names(row, names),
            "speech": _read_speech(sources.asr, media_id),
            "media": f"{media_id}.mp4" if media_id else None,
        }
        n_titles += bool(text["title"])
        n_speeches += bool(text["speech"])
        yield {"item_id": row["item_id"], **{key: value for key, value in text.items() if value}}
    card.note("videos without a title", len(items) - n_titles)
    if sources.asr:
        card.note("videos without speech", len(items) - n_speeches)


def _category_names(row: Mapping[Any, Any], names: Mapping[int, str]) -> list[str]:
    """The names of a video's categories, those of the first level first."""
    categories = [*row["category_1"], *row["category_2"], *row["category_3"]]
    return [names[key] for key in categories if key in names]


def _read_speech(folder: Path | None, media_id: str | None) -> str:
    """Recognised speech; empty where recognition failed or there is no file.

    Raises:
        DataError: If the file is not in UTF-8.
    """
    if folder is None or media_id is None:
        return ""
    path = folder / f"{media_id}.txt"
    return read_text(path).strip() if path.is_file() else ""


def check_videos(folder: Path, items: pd.DataFrame, media: Mapping[int, str], card: Card) -> None:
    """Compare the durations of the csv with those of the files, and put the outcome on the card."""
    known = items[items["duration"].notna()]
    expected = {str(pid): float(seconds) for pid, seconds in zip(known["item_id"], known["duration"], strict=True)}
    check = check_durations(expected, {str(pid): folder / f"{name}.mp4" for pid, name in media.items()})
    card.note("durations of csv and videos", vars(check))
    if check.disagree:
        card.warn(
            f"{check.disagree:,} of {check.compared:,} videos are over {TOLERANCE_SECONDS} s longer or shorter than "
            f"the csv says: their files are probably other videos' (first: {check.examples[0]})."
        )
    if check.unreadable:
        card.warn(f"{check.unreadable:,} of the video files do not open, or do not say how long they are.")


def audit_media(items: pd.DataFrame, videos: Path, target: Path, overwrite: bool) -> None:
    """Print how pids and numbers of files agree, and write the map between them that fits best.

    Raises:
        DataError: If the pids lead to no file, there is nothing to compare, or ``target`` exists and ``overwrite`` is
            false.
    """
    if target.exists() and not overwrite:
        raise DataError(f"`{target}` exists; give --overwrite, or another --audit.")
    known = items[items["duration"].notna()]
    if len(known) and known["pid"].max() > N_MEDIA:
        raise DataError("The pids of this version are hashes that lead to no media file; audit another version.")
    expected = dict(zip(known["pid"].tolist(), known["duration"].tolist(), strict=True))
    files = {number: seconds for number, seconds in read_durations(numbered_videos(videos)) if seconds is not None}
    audit = audit_ids(expected, files, TOLERANCE_SECONDS)
    write_text(target, "".join(["pid,media_id\n", *(f"{pid},{number}\n" for pid, number in audit.media.items())]))
    print(f"{audit.report()}\nWritten: {target}; check it, and give it as --id_map.")


def add_feature_folder(out: DatasetWriter, folder: Path, media: Mapping[int, str]) -> None:
    """Write the published features of the kept videos, [8, 256] each, into a frame store.

    Videos whose file is missing are not in the store.

    Raises:
        DataError: If a file is of another form, or no video has one.
    """
    files = {pid: path for pid, name in media.items() if (path := folder / f"{name}.npy").is_file()}
    if not files:
        raise DataError(f"`{folder}` holds no features of the kept videos: there is no <media id>.npy of theirs.")
    out.file(f".{FEATURES}.frames.json")
    path = out.file(f".{FEATURES}.frames.npy")
    blocks = _feature_blocks(list(files.values()))
    items = [str(pid) for pid in files]
    write_frame_blocks(path, items, *_FEATURE_SHAPE, blocks, vfm="published", sampling="published")
    if len(files) < len(media):
        out.card.warn(
            f"{len(media) - len(files):,} of {len(media):,} videos have no features; set missing_items in a run."
        )


def _feature_blocks(files: Sequence[Path]) -> Iterator[FrameBlock]:
    n_frames = _FEATURE_SHAPE[0]
    for row, path in enumerate(tqdm(files, "features", disable=None)):
        yield FrameBlock(np.array([row]), _read_feature(path)[None], np.array([n_frames]))


def _read_feature(path: Path) -> np.ndarray:
    feature = load_array(path)
    if feature.shape != _FEATURE_SHAPE or feature.dtype.kind != "f":
        raise DataError(f"`{path}` holds {feature.dtype} of shape {feature.shape}, not real numbers [8, 256].")
    return np.asarray(feature)
