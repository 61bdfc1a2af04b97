"""``explain`` on the command line: what the predictions of a trained popularity model rest on."""

from __future__ import annotations

from argparse import Namespace, RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from recbole_video.commands.new_videos import add_new_videos, inputs_of_new_videos, stores_named
from recbole_video.entry_point import Parser, expand_path_arguments
from recbole_video.errors import ConfigError, counted
from recbole_video.options.run import add_trust, trust_told

_DESCRIPTION = """\
Explain the predictions of a trained popularity model.

  recbole-video explain saved/STAP-posts-... p17 p42
  recbole-video explain saved/MetadataGBDT-posts-... n1 --table=new_videos.csv --item=video --user=author
  recbole-video explain saved/STAP-clips-... n1 --frames=dataset/clips/clips.new.frames.npy

Prints, for each video, the prediction, its frame scores and the slots of the memory bank that it retrieved, with their
popularity and nearest training videos; of boosted trees and the ridge regression, what each feature adds to the mean
prediction. Draws it as explain-ITEM.png in the run folder. The videos are those of the run's data set or, where a table
or stores are named as for predict, of these.

With --videos, explain-ITEM.frames.png is a contact sheet of the frames with their scores. With --cold_start, the videos
are cases of the cold start (STAP, Fig. 7): test videos of authors with few videos, from the least popular to the most.
--smp_submission writes the predictions of the run's test videos as the SMP Challenge takes them, and explains nothing.
"""


def explain_command(words: Sequence[str]) -> int:
    """Explain predictions, or write those of a run for the SMP Challenge, as a command line asks.

    Args:
        words: What follows ``explain``.

    Returns:
        Exit status, 0.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    parser = explain_parser()
    asked = expand_path_arguments(parser.parse_args(trust_told(words)))
    stores = stores_named(asked)
    is_new = asked.table is not None or bool(stores)
    if asked.smp_submission is not None and not is_new:
        return _submit(asked)
    if is_new and (own := _of_the_run(asked)):
        raise ConfigError(f"{own}; leave it out, or the table and the stores.")
    if not asked.items and asked.cold_start < 1:
        parser.error("the following arguments are required: items, or --cold_start of at least 1")
    if is_new:
        return _explain_new(asked, stores)
    from recbole_video.serving.explain import explain_items

    explain_items(asked.run, asked.items, asked.videos, asked.trust, asked.cold_start)
    return 0


def _of_the_run(asked: Namespace) -> str:
    """The option that reads the run's data, and no other videos; empty if none is given."""
    if asked.smp_submission is not None:
        return "`--smp_submission` is of the run's test videos"
    return "`--cold_start` chooses among the run's data" if asked.cold_start else ""


def _explain_new(asked: Namespace, stores: dict[str, Path]) -> int:
    """Explain videos of a table or of stores.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    from recbole_video.serving.explain import explain_new_items, popularity_model

    model = popularity_model(asked.run, asked.trust)
    videos = inputs_of_new_videos(asked, stores, model)
    explain_new_items(asked.run, model, asked.items, videos, asked.videos, stores.get("frames"))
    return 0


def explain_parser() -> Parser:
    """What reads the arguments."""
    parser = Parser(prog="recbole-video explain", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or its model.pth")
    parser.add_argument("items", nargs="*", metavar="ITEM", help="ids of videos")
    parser.add_argument("--table", type=Path, metavar="TABLE", help="that holds them, a row per video, as for predict")
    add_new_videos(parser)
    parser.add_argument("--cold_start", type=int, default=0, metavar="N", help="N test videos of authors with few")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="videos, for contact sheets")
    parser.add_argument(
        "--smp_submission", type=Path, metavar="FILE", help="write predictions.tsv for the SMP Challenge"
    )
    parser.add_argument("--details", metavar="TEXT", help="its external data; by default what made the embeddings")
    add_trust(parser)
    return parser


def _submit(asked: Namespace) -> int:
    from recbole_video.serving.smp_submission import submission_of_run

    n = submission_of_run(asked.run, asked.smp_submission, asked.details)
    print(f"{asked.smp_submission}: {counted(n, 'post')}")
    return 0
