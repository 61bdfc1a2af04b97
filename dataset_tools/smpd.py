"""SMPD-Video (SMP Challenge 2025, video track) as it comes -> a data set of posts with the official score.

RAW is the folder of the JSON lines (SMP-Video_anonymized_posts_train.jsonl and so on), or of an export of the hub
data set as parquet. The word `train` or `test` in the path of a file tells its split; its columns tell what it holds.

Each post is one interaction, of its author. The score is in the .counts file. Posts of the test split have none; they
are marked by `split` in .item and never filled in.

The SMP Challenge Community License applies. Do not pass on the data, nor what this command makes of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.output.summary import label_command, print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.smpd_files import USER_COUNTS, VIDEO_NUMBERS, VIDEO_TOKENS, Tables, read_download
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from recbole_video.dataset_tools.raw.wrapped_counts import unwrap_columns

from recbole_video.errors import DataError, counted

HELP = "SMPD-Video: posts, users, videos and scores, as JSON lines or parquet"

_ITEM_TYPES = {
    **dict.fromkeys(("split", "location", "language", *VIDEO_TOKENS), "token"),
    **dict.fromkeys(VIDEO_NUMBERS, "float"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of the download")
    parser.add_argument(
        "--empty_text",
        default="",
        metavar="TEXT",
        help="title of a post without caption and suggested words (scripts with STAP's settings: 'video content')",
    )
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="unpacked videos: count the posts without a file")
    add_output_arguments(parser, "smpd-video")


def run(arguments: argparse.Namespace) -> None:
    """Convert the download to a data set."""
    if arguments.videos is not None and not arguments.videos.is_dir():
        raise DataError(f"There is no folder `{arguments.videos}`; give the folder that holds `train` and `test`.")
    with DatasetWriter.from_arguments(arguments) as out, TextSpool() as spool:
        tables = read_download(arguments.raw, spool, arguments.empty_text, out.card)
        posts = join_posts(tables, out.card)
        out.write_interactions(posts, "s")
        out.write_items(posts, _ITEM_TYPES)
        out.write_users(
            prepare_authors(tables, posts["user_id"].unique(), out.card), dict.fromkeys(USER_COUNTS, "float")
        )
        out.write_counts(posts[["item_id", "score"]])
        out.write_text({"item_id": item, **spool.get(item)} for item in posts["item_id"] if item in spool)
        _describe_split(posts, out.card)
        if arguments.videos is not None:
            _count_videos(arguments.videos, posts["item_id"], spool, out.card)
    print_summary(out, next_command=label_command(out, "--preset=stap-smpd"))


def join_posts(tables: Tables, card: Card) -> pd.DataFrame:
    """One row per post: ``item_id``, ``user_id``, ``time`` (s), ``split``, features, ``score`` (NaN without one).

    A post without an author is left out: it would be nobody's interaction.

    Raises:
        DataError: If no post has an author.
    """
    found = tables.rows["posts"]
    rows = [{"item_id": pid, **row} for pid, row in found.items() if row["user_id"]]
    if not rows:
        raise DataError(f"None of the {len(found):,} posts has a uid, the id of its author; check the files of posts.")
    card.step("posts without an author", len(found), len(rows), "the uid is null")
    posts = pd.DataFrame(rows)
    nothing: dict[str, Any] = {**dict.fromkeys(VIDEO_NUMBERS), **dict.fromkeys(VIDEO_TOKENS, "")}
    _join(posts, tables.rows["videos"], nothing, "videos", card)
    _join(posts, tables.rows["scores"], {"score": None}, "scores", card)
    return posts.astype(dict.fromkeys((*VIDEO_NUMBERS, "score"), np.float64))


def _join(posts: pd.DataFrame, rows: Mapping[str, Any], nothing: Mapping[str, Any], table: str, card: Card) -> None:
    """Add the columns of ``nothing`` from ``rows``, or from itself where a post has no row."""
    found = [rows.get(pid, nothing) for pid in posts["item_id"]]
    for name in nothing:
        posts[name] = [row[name] for row in found]
    known = set(rows) & set(posts["item_id"])
    if table != "scores" and len(known) < len(posts):
        card.warn(f"{len(posts) - len(known):,} of {len(posts):,} posts have no row in {table}.")
    if len(known) < len(rows):
        card.note(f"rows of {table} without a post", len(rows) - len(known))


def prepare_authors(tables: Tables, authors: np.ndarray, card: Card) -> pd.DataFrame:
    """The ``.user`` table of the authors: displayed counts, 32-bit overflow undone where that is possible."""
    rows = tables.rows["users"]
    known = [uid for uid in authors if uid in rows]
    card.note("users without a post", len(rows) - len(known))
    columns = {name: np.array([rows[uid][name] for uid in known], dtype=np.float64) for name in USER_COUNTS}
    users, repairs = unwrap_columns(pd.DataFrame({"user_id": known, **columns}), list(USER_COUNTS))
    repairs["user_id"] = users["user_id"].to_numpy()[repairs["row"].to_numpy(dtype=np.int64)]
    _report_repairs(repairs, card)
    unequal = users[users["user_likes_count"] != users["user_heart_count"]].dropna(
        subset=["user_likes_count", "user_heart_count"]
    )
    if len(unequal):
        card.warn(
            f"{counted(len(unequal), 'user has', 'users have')} a likes count other than the heart count, which is "
            "the same number."
        )
    return users


def _report_repairs(repairs: pd.DataFrame, card: Card) -> None:
    lost = repairs[repairs["repaired"].isna()]
    card.note(
        "repaired counts",
        repairs[repairs["repaired"].notna()][["user_id", "column", "found", "repaired"]].to_dict("records"),
    )
    if len(repairs) > len(lost):
        card.warn(
            f"{counted(len(repairs) - len(lost), 'count')} of users had overflowed 32 bits; the notes list their "
            "repair."
        )
    if len(lost):
        first = lost.iloc[0]
        card.warn(
            f"{counted(len(lost), 'count of users is', 'counts of users are')} no displayed count and no single "
            f"overflow explains them (first: {first['column']} {first['found']:.0f} of {first['user_id']}); they are "
            "left empty."
        )


def _describe_split(posts: pd.DataFrame, card: Card) -> None:
    """Count posts and scores per split; a score in the train split that is missing is a flaw."""
    counts = posts.groupby("split")["score"].agg(["size", "count"])
    sizes = {split: {"posts": int(n), "scores": int(k)} for split, n, k in counts.itertuples()}
    card.note("splits", sizes)
    missing = posts[(posts["split"] == "train") & posts["score"].isna()]
    if len(missing):
        card.warn(
            f"{counted(len(missing), 'post of the train split has', 'posts of the train split have')} no score "
            f"(first: {missing['item_id'].iloc[0]})."
        )


def _count_videos(folder: Path, items: pd.Series, spool: TextSpool, card: Card) -> None:
    missing = [item for item in items if not (media := spool.get(item).get("media")) or not (folder / media).is_file()]
    card.note("posts without a video file", len(missing))
    if missing:
        card.warn(f"{len(missing):,} of {len(items):,} posts have no video under `{folder}` (first: {missing[0]}).")
