"""MicroLens (50k, 100k, 1M) as its authors publish it -> a data set.

RAW is the folder of the download. Of its files these are read, where they are there:

  MicroLens-<size>_pairs.csv             user,item,timestamp in milliseconds (or the .tsv: no times)
  MicroLens-<size>_title(s)(_en).csv     titles, with or without a header
  MicroLens-<size>_likes_and_views.txt   item, likes, views
  MicroLens-<size>_comment(s)_en.txt     user, item, comment: they are counted
  tags_to_summary.csv                    one category per item

The licence forbids passing on what this command makes.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.filters import add_filter_arguments, apply_filters, drop_copies
from recbole_video.dataset_tools.cleaning.interactions import codes_of, sort_order
from recbole_video.dataset_tools.media.published_features import add_feature_file, feature_name
from recbole_video.dataset_tools.output.summary import print_summary
from recbole_video.dataset_tools.output.writer import DatasetWriter, add_output_arguments
from recbole_video.dataset_tools.raw.microlens_files import (
    STALE_VIEWS,
    count_comments,
    disagreements,
    numbered_texts,
    read_likes_and_views,
    read_sequences,
)
from recbole_video.dataset_tools.raw.times import warn_of_old_times

from recbole_video.errors import DataError, counted
from recbole_video.files.raw import find_file, find_optional, read_integers

HELP = "MicroLens 50k, 100k or 1M, from its published files"
SIZES = ("50k", "100k", "1M")
_PAIRS = ("MicroLens-{}_pairs.csv", "MicroLens-{}_pairs.tsv")
_TITLES = ("MicroLens-{}_title_en.csv", "MicroLens-{}_titles.csv", "MicroLens-{}_title.csv")
_LIKES = ("MicroLens-{}_likes_and_views.txt",)
_COMMENTS = ("MicroLens-{}_comment_en.txt", "MicroLens-{}_comments_en.txt")
_TAGS = ("tags_to_summary.csv",)
_OUTDATED = "a file fetched before 2025-01-26 holds counts that are too large by a factor of 10,000; fetch it again"
_ADVICE = "which the maintainers of the data set advise to drop"


@dataclass(frozen=True)
class RawFiles:
    """The files of one size; None for one that is not there.

    Attributes:
        pairs: The csv of pairs, or the tsv where there is none.
        sequences: The tsv of pairs.
    """

    pairs: Path
    sequences: Path | None
    titles: Path | None
    likes: Path | None
    comments: Path | None
    tags: Path | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder of the download")
    parser.add_argument("--size", choices=SIZES, help="which MicroLens (default: the one whose pairs are in RAW)")
    parser.add_argument("--titles", type=Path, metavar="FILE", help="csv of titles in place of the one in RAW")
    parser.add_argument(
        "--fill_titles", type=Path, metavar="FILE", help="csv of titles for items whose own is missing or empty"
    )
    parser.add_argument(
        "--features",
        nargs="+",
        default=[],
        metavar="[NAME=]FILE",
        help="published features (.npy or .json), each of which becomes a frame store",
    )
    parser.add_argument(
        "--implausible_counts",
        choices=("keep", "drop"),
        default="keep",
        help="likes and views of items with more likes than views, or outdated ones: keep them, or leave them empty",
    )
    parser.add_argument(
        "--with_counts",
        action="store_true",
        help="put likes, views and comments into .item too; they include what happened in the test period",
    )
    add_filter_arguments(parser)
    add_output_arguments(parser)


def run(arguments: argparse.Namespace) -> None:
    """Convert the download to a data set."""
    size = arguments.size or find_size(arguments.raw)
    arguments.name = f"microlens-{size.lower()}" if arguments.name is None else arguments.name
    files = find_files(arguments.raw, size, arguments.titles)
    with DatasetWriter.from_arguments(arguments) as out:
        for path in dict.fromkeys(vars(files).values()):
            if path is not None:
                out.card.add_input(path)
        pairs = read_user_item_pairs(files, out.card)
        kept = apply_filters(pairs, arguments, out.card)
        out.write_interactions(kept, "ms")
        counts = _counts(files, pairs, arguments.implausible_counts == "drop", out.card)
        out.write_counts(counts)
        _write_items(out, _categories(files.tags, out.card), counts if arguments.with_counts else None)
        if files.titles or arguments.fill_titles:
            out.write_text(_titles(files.titles, arguments.fill_titles, out.items, out.card))
        for option in arguments.features:
            add_feature_file(out, *feature_name(option), last_item=int(out.items[-1]))
    print_summary(out)


def find_size(raw: Path) -> str:
    """The size whose pairs are in the folder.

    Raises:
        DataError: If there is none, or more than one.
    """
    candidates = {size: [name.format(size) for name in _PAIRS] for size in SIZES}
    found = [size for size, names in candidates.items() if find_optional(raw, names)]
    if not found:
        names = ", ".join(f"`{name}`" for names in candidates.values() for name in names)
        raise DataError(f"`{raw}` holds no pairs of MicroLens: there is none of {names}.")
    if len(found) > 1:
        raise DataError(f"`{raw}` holds the pairs of MicroLens {' and '.join(found)}; choose one by --size.")
    return found[0]


def find_files(raw: Path, size: str, titles: Path | None = None) -> RawFiles:
    """The raw files of one size; ``titles`` stands in for the one in the folder.

    Raises:
        DataError: If there are no pairs.
    """

    def named(names: tuple[str, ...]) -> list[str]:
        return [name.format(size) for name in names]

    return RawFiles(
        pairs=find_file(raw, named(_PAIRS)),
        sequences=find_optional(raw, named(_PAIRS[1:])),
        titles=titles or find_optional(raw, named(_TITLES)),
        likes=find_optional(raw, named(_LIKES)),
        comments=find_optional(raw, named(_COMMENTS)),
        tags=find_optional(raw, _TAGS),
    )


def read_user_item_pairs(files: RawFiles, card: Card) -> dict[str, np.ndarray]:
    """The interactions, without exact copies; with times if the csv is there, and compared with the tsv."""
    if files.pairs == files.sequences:
        card.warn("Without the csv of pairs there are no times: timestamp is the position in the user's sequence.")
        return read_sequences(files.pairs)
    table = read_integers(files.pairs, ("user", "item", "timestamp"))
    pairs = {"user_id": table["user"], "item_id": table["item"], "time": table["timestamp"]}
    warn_of_old_times(pairs["time"], "ms", card, "MicroLens has milliseconds since 1970, and this file something else")
    if files.sequences is not None:
        _compare(pairs, files.sequences, card)
    return drop_copies(pairs, card)


def _compare(pairs: Mapping[str, np.ndarray], tsv: Path, card: Card) -> None:
    order = sort_order(codes_of(pairs["user_id"])[0], pairs["time"])
    in_order = {name: pairs[name][order] for name in ("user_id", "item_id")}
    found = disagreements(in_order, read_sequences(tsv))
    for kind, users in found.items():
        card.warn(
            f"The csv and the tsv of pairs disagree for {counted(len(users), 'user')} {kind} (first: {users[0]})."
        )
    card.note("csv and tsv of pairs agree", not found)


def _counts(files: RawFiles, pairs: Mapping[str, np.ndarray], drop: bool, card: Card) -> dict[str, np.ndarray]:
    """What is known of each item's popularity: one column per source, NaN where a file does not list the item."""
    codes, distinct = codes_of(pairs["item_id"])
    sources: dict[str, dict[int, float]] = {}
    if files.likes:
        sources.update(_likes_and_views(files.likes, drop, card))
    if files.comments:
        faults: Counter[str] = Counter()
        sources["comments"] = count_comments(files.comments, faults)
        _report(files.comments, faults, card)
    sources["interactions"] = dict(zip(distinct.tolist(), np.bincount(codes).tolist(), strict=True))
    items = sorted(set().union(*sources.values()))
    # An item that no line of a complete list names has none; likes and views of an unlisted item are unknown.
    default = {"comments": 0, "interactions": 0}
    columns = {name: [of.get(item, default.get(name, np.nan)) for item in items] for name, of in sources.items()}
    return {"item_id": np.array(items), **{name: np.array(values) for name, values in columns.items()}}


def _likes_and_views(path: Path, drop: bool, card: Card) -> dict[str, dict[int, float]]:
    table = read_likes_and_views(path)
    items, likes, views = (table[name] for name in ("item_id", "likes", "views"))
    stale, odd = views > STALE_VIEWS, likes > views
    done = "They are left empty." if drop else "They are kept; --implausible_counts=drop leaves them empty."
    for bad, what in ((stale, f"more than 10^10 views: {_OUTDATED}"), (odd, f"more likes than views, {_ADVICE}")):
        if bad.any():
            of = f"{bad.sum():,} of {len(items):,} items (first: {items[bad][0]})"
            card.warn(f"In `{path.name}`, {of} have {what}. {done}")
    kept = ~(stale | odd) if drop else np.ones(len(items), dtype=bool)
    pairs = {"likes": likes, "views": views}
    return {n: dict(zip(items[kept].tolist(), values[kept].tolist(), strict=True)) for n, values in pairs.items()}


def _categories(path: Path | None, card: Card) -> dict[int, str]:
    if path is None:
        return {}
    faults: Counter[str] = Counter()
    categories = dict(numbered_texts(path, faults))
    _report(path, faults, card)
    return categories


def _write_items(out: DatasetWriter, categories: Mapping[int, str], counts: Mapping[str, np.ndarray] | None) -> None:
    """Write ``.item`` for the items that have interactions, if there is anything to say of them."""
    items = out.items
    table: dict[str, Any] = {"item_id": items}
    types: dict[str, str] = {}
    if categories:
        table["category"] = [categories.get(item, "") for item in items.tolist()]
        types["category"] = "token"
        _note_missing(out.card, "category", items, categories)
    if counts is not None:
        rows = np.searchsorted(counts["item_id"], items)
        for name in (n for n in counts if n != "item_id"):
            table[name] = counts[name][rows]
            types[name] = "float"
        out.card.warn(
            ".item holds counts that include the test period (--with_counts): a model that reads them sees the future. "
            "RecBole fills an empty cell with the mean of its column."
        )
    if types:
        out.write_items(table, types)


def _titles(path: Path | None, fill: Path | None, items: np.ndarray, card: Card) -> Iterator[dict[str, Any]]:
    """Rows of the text sidecar, in the order of the file; empty titles are left out."""
    faults: Counter[str] = Counter()
    written: set[int] = set()
    for source in filter(None, (path, fill)):
        before = len(written)
        for item, title in numbered_texts(source, faults):
            if title and item not in written:
                written.add(item)
                yield {"item_id": item, "title": title}
        card.note(f"{source.name}: titles used", len(written) - before)
        _report(source, faults, card)
        faults.clear()
    if fill is not None:
        card.add_input(fill)
    _note_missing(card, "title", items, written)


def _report(path: Path, faults: Counter[str], card: Card) -> None:
    for fault, number in faults.items():
        if number:
            card.note(f"{path.name}: {fault}", number)


def _note_missing(card: Card, what: str, items: np.ndarray, known: Any) -> None:
    missing = [item for item in items.tolist() if item not in known]
    if missing:
        card.warn(f"{len(missing):,} of {len(items):,} items have no {what} (first: {missing[0]}).")
    others = len(known) - (len(items) - len(missing))
    if others:
        card.note(f"items with a {what} and without interactions", others)
