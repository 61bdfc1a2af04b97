"""``predict`` on the command line: the popularity of videos in a table or in frame stores, from a run folder."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from recbole_video.commands.new_videos import add_new_videos, inputs_of_new_videos, stores_named
from recbole_video.entry_point import Parser, expand_path_arguments
from recbole_video.errors import ConfigError
from recbole_video.options.run import add_trust, trust_told

_DESCRIPTION = """\
Predict how popular videos will be, by a trained popularity model.

  recbole-video predict saved/MetadataGBDT-posts-... new_videos.csv --item=video --user=author --time=posted_at
  recbole-video predict saved/STAP-posts-... new_videos.csv --frames=dataset/posts/posts.new.frames.npy > new.tsv
  recbole-video predict saved/STAP-clips-... --frames=dataset/clips/clips.new.frames.npy

Prints a line per video, tab-separated: its id, the prediction on the label's scale and, where the label is made of one
count, that count. The table has the columns that the model's metadata are made of; without metadata, none is needed."""


def predict_command(words: Sequence[str]) -> int:
    """Print the predictions for the videos of a command line.

    Args:
        words: What follows ``predict``.

    Returns:
        Exit status, 0.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    asked = expand_path_arguments(predict_parser().parse_args(trust_told(words)))
    stores = stores_named(asked)
    from recbole_video.serving.predictor import PopularityPredictor
    from recbole_video.tasks.load import load_model

    model = load_model(asked.run, trust=asked.trust)
    if not isinstance(model, PopularityPredictor):
        raise ConfigError(f"`{asked.run}` is no popularity model but a recommender; use it by recbole-video recommend.")
    videos = inputs_of_new_videos(asked, stores, model)
    predictions = model.predict(videos)
    counts = [] if model.count is None else [model.to_counts(predictions)]
    print("\t".join(["item_id", "prediction", *([model.count] if model.count else [])]))
    for item, *values in zip(videos.items or (), predictions, *counts, strict=True):
        print("\t".join([item, *(f"{value:.6g}" for value in values)]))
    return 0


def predict_parser() -> Parser:
    """What reads the arguments."""
    parser = Parser(prog="recbole-video predict", description=_DESCRIPTION, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, metavar="RUN", help="run folder, or its model.pth")
    parser.add_argument(
        "table", type=Path, nargs="?", metavar="TABLE", help="csv, tsv, JSON lines or parquet, a row per video"
    )
    add_new_videos(parser)
    add_trust(parser)
    return parser
