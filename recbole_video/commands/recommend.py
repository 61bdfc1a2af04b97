"""``recommend`` on the command line: the best videos for some histories, from a run folder."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Iterator, Sequence
from pathlib import Path

from recbole_video.entry_point import Parser, expand_path_arguments
from recbole_video.errors import ConfigError, DataError
from recbole_video.files.reading import read_text

_DESCRIPTION = """\
Recommend videos for what users have watched, by a trained recommender.

  recbole-video recommend saved/SASRec-CVA-mine-... --history="v12 v7 v31"
  recbole-video recommend saved/SASRec-CVA-mine-... --histories=histories.txt --k=20 > lists.tsv

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
    asked = expand_path_arguments(recommend_parser().parse_args(words))
    histories = [one.split() for one in asked.history]
    histories += [] if asked.histories is None else list(_read(asked.histories))
    if not histories:
        raise ConfigError('recommend needs what was watched: --history="v1 v2", oldest first, or --histories=FILE.')
    from recbole_video.serving.recommender import Recommender
    from recbole_video.tasks.load import load_model

    model = load_model(asked.run)
    if not isinstance(model, Recommender):
        raise ConfigError(f"`{asked.run}` is no recommender but a {type(model).__name__}, which has other uses.")
    table = model.recommend(histories, k=asked.k, exclude_seen=not asked.include_seen)
    print("\t".join(table.columns))
    for user, rank, item, score in table.itertuples(index=False):
        print(f"{user}\t{rank}\t{item}\t{score:.6g}")
    return 0


def _read(path: Path) -> Iterator[list[str]]:
    """The histories of a file, one a line, items separated by spaces."""
    for number, line in enumerate(read_text(path, DataError).splitlines(), start=1):
        if not line.split():
            raise DataError(f"`{path}`, line {number} is empty; a line is a history, its items separated by spaces.")
        yield line.split()


def recommend_parser() -> Parser:
    """What reads the arguments."""
    parser = Parser(
        prog="recbole-video recommend", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or its model.pth")
    parser.add_argument(
        "--history", action="append", default=[], metavar="ITEMS", help="items, oldest first; repeatable"
    )
    parser.add_argument("--histories", type=Path, metavar="FILE", help="a text file, a history per line")
    parser.add_argument("--k", type=int, default=10, help="how many (default: 10)")
    parser.add_argument("--include_seen", action="store_true", help="recommend what is in the history, too")
    return parser
