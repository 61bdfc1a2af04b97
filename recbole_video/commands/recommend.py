"""``recommend`` on the command line: the best videos for some histories, from a run folder."""

from __future__ import annotations

import sys
import warnings
from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_video.entry_point import Parser, expand_path_arguments
from recbole_video.errors import ConfigError, DataError, counted, fit_for_message
from recbole_video.files.reading import read_text
from recbole_video.options.run import add_trust, trust_told

if TYPE_CHECKING:  # imported when the command runs: see `entry_point`
    from recbole_video.serving.recommender import Recommender

_USERS_TOLD = 3  # of whom the places of new videos are said
_DESCRIPTION = """\
Recommend videos for what users have watched, by a trained recommender.

  recbole-video recommend saved/SASRec-CVA-mine-... --history="v12 v7 v31"
  recbole-video recommend saved/SASRec-CVA-mine-... --histories=histories.txt --k=20 > lists.tsv
  recbole-video recommend saved/SASRec-CVA-mine-... --history="v12" --add_store=dataset/mine/mine.new.frames.npy

Prints a line per recommendation: user (by number, from 0), rank, item and score, tab-separated."""


def recommend_command(words: Sequence[str]) -> int:
    """Print recommendations for the histories of a command line.

    Args:
        words: What follows ``recommend``.

    Returns:
        Exit status, 0.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    asked = expand_path_arguments(recommend_parser().parse_args(trust_told(words)))
    histories = [_items(one) for one in asked.history]
    histories += [] if asked.histories is None else list(_read(asked.histories))
    if not histories:
        raise ConfigError('recommend needs what was watched: --history="v1 v2", oldest first, or --histories=FILE.')
    from recbole_video.content.store import FrameStore
    from recbole_video.serving.recommender import Recommender
    from recbole_video.tasks.load import load_model

    model = load_model(asked.run, trust=asked.trust)
    if not isinstance(model, Recommender):
        raise ConfigError(f"`{asked.run}` is no recommender but a popularity model; use it by recbole-video predict.")
    trained_on = frozenset(model.items)
    for path in asked.add_store:
        n_new, n_known = model.add_store(path), len(frozenset(model.items).intersection(FrameStore(path).items))
        known = f"; what the model knows already ({n_known - n_new:,}) stays as it was" if n_known > n_new else ""
        print(f"{counted(n_new, 'new video')} from {path}{known}.", file=sys.stderr)
    _tell_unknown(histories, frozenset(model.items))
    if asked.k > len(model.items):
        print(f"There are {counted(len(model.items), 'video')} to recommend, fewer than k.", file=sys.stderr)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Left out: ")  # it has just been told
        table = model.recommend(histories, k=asked.k, exclude_seen=not asked.include_seen)
    if table.empty:
        raise DataError("Nothing is left to recommend: the histories hold all videos; give --include_seen.")
    print("\t".join(table.columns))
    for user, rank, item, score in table.itertuples(index=False):
        print(f"{user}\t{rank}\t{item}\t{score:.6g}")
    if asked.add_store:
        _tell_places(model, histories[:_USERS_TOLD], trained_on, not asked.include_seen)
    return 0


def _tell_places(
    model: Recommender, histories: Sequence[Sequence[str]], trained_on: frozenset[str], exclude_seen: bool
) -> None:
    """Say where the new videos stand, which may be below the list."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Left out: ")
        whole = model.recommend(histories, k=len(model.items), exclude_seen=exclude_seen)
    new = whole[~whole["item_id"].isin(trained_on)]
    for user, places in new.groupby("user_id", sort=False):
        best, n = places.iloc[0], int((whole["user_id"] == user).sum())
        print(
            f"User {user}: the best of the new videos, `{best['item_id']}`, is {best['rank']:,} of {n:,}.",
            file=sys.stderr,
        )


def _tell_unknown(histories: Sequence[Sequence[str]], known: frozenset[str]) -> None:
    """Say which items are left out.

    Raises:
        DataError: If no history has an item that the model knows.
    """
    unknown = [item for history in histories for item in history if item not in known]
    if not unknown:
        return
    told = f"The model does not know {counted(len(unknown), 'item')} of the histories (first: `{unknown[0]}`)"
    advice = "; separate items by spaces, not commas" if any("," in item for item in unknown) else ""
    if any(item in words for words in (token.split() for token in known if " " in token) for item in unknown):
        advice = "; ids of this model hold spaces: separate items by tabs"
    lost = sum(known.isdisjoint(history) for history in histories)
    if lost == len(histories):
        raise DataError(f"{told}, which are all{advice or '; new videos are taken in by --add_store=FILE'}.")
    users = f", and {counted(lost, 'user')} of whom it knows none" if lost else ""
    print(fit_for_message(f"{told}{users}: left out{advice}."), file=sys.stderr)


def _read(path: Path) -> Iterator[list[str]]:
    """The histories of a file, one a line."""
    for number, line in enumerate(read_text(path, DataError).splitlines(), start=1):
        if not _items(line):
            raise DataError(f"`{path}`, line {number} is empty; a line is a history, its items separated by spaces.")
        yield _items(line)


def _items(history: str) -> list[str]:
    """The items of a history: what tabs separate, where there is one, else spaces."""
    return [item for item in history.split("\t") if item.strip()] if "\t" in history else history.split()


def recommend_parser() -> Parser:
    """What reads the arguments."""
    parser = Parser(
        prog="recbole-video recommend", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or its model.pth")
    parser.add_argument(
        "--history",
        action="append",
        default=[],
        metavar="ITEMS",
        help="items, oldest first, separated by spaces or, where ids hold spaces, by tabs; repeatable",
    )
    parser.add_argument("--histories", type=Path, metavar="FILE", help="a text file, a history per line")
    parser.add_argument("-k", "--k", type=int, default=10, help="how many (default: 10)")
    parser.add_argument(
        "--add_store",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a frame store of videos that came after the training, as `frames --new` makes it; repeatable",
    )
    parser.add_argument("--include_seen", action="store_true", help="recommend what is in the history, too")
    add_trust(parser)
    return parser
