"""``recbole-video explain RUN ITEM ...``: what the predictions of a trained popularity model rest on.

Prints, for each video of the run's data set, the prediction, its frame scores and the slots of the memory bank that it
retrieved, with their popularity and nearest training videos; of boosted trees and the ridge regression, what each
feature adds to the mean prediction. Draws it as explain-ITEM.png in the run folder. With --videos,
explain-ITEM.frames.png is a contact sheet of the frames with their scores. With --cold_start, the videos are cases of
the cold start (STAP, Fig. 7): test videos of authors with few videos, from the least popular to the most.
--smp_submission writes the predictions of the run's test videos as the SMP Challenge takes them, and explains nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.entry_point import Parser, expand_path_arguments, run_command
from recbole_video.errors import CheckpointError, DataError, counted, nearest
from recbole_video.files.names import as_file_name
from recbole_video.files.reading import read_json

if TYPE_CHECKING:  # imported when the command runs: see `entry_point`
    from recbole_video.data.labelled import PopularityDataset
    from recbole_video.popularity.explanation import Explanation
    from recbole_video.registry import Trust


def main(words: Sequence[str] | None = None) -> int:
    """Explain predictions.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    return run_command(lambda: explain_command(sys.argv[1:] if words is None else words))


def explain_command(words: Sequence[str]) -> int:
    """Explain predictions, or write those of a run for the SMP Challenge, as a command line asks.

    Args:
        words: What follows ``explain``.

    Returns:
        Exit status, 0.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    from recbole_video.options.run import trust_told

    parser = explain_parser()
    arguments = expand_path_arguments(parser.parse_args(trust_told(words)))
    if arguments.smp_submission is not None:
        return _submit(arguments)
    if not arguments.items and arguments.cold_start < 1:
        parser.error("the following arguments are required: items, or --cold_start of at least 1")
    explain_items(arguments.run, arguments.items, arguments.videos, arguments.trust, arguments.cold_start)
    return 0


def explain_parser() -> Parser:
    """What reads the arguments."""
    from recbole_video.options.run import add_trust

    parser = Parser(
        prog="recbole-video explain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("items", nargs="*", help="item tokens")
    parser.add_argument("--cold_start", type=int, default=0, metavar="N", help="N test videos of authors with few")
    parser.add_argument("--videos", type=Path, metavar="FOLDER", help="videos, for contact sheets")
    parser.add_argument(
        "--smp_submission", type=Path, metavar="FILE", help="write predictions.tsv for the SMP Challenge"
    )
    parser.add_argument("--details", metavar="TEXT", help="its external data; by default what made the embeddings")
    add_trust(parser)
    return parser


def _submit(arguments: argparse.Namespace) -> int:
    from recbole_video.serving.smp_submission import submission_of_run

    n = submission_of_run(arguments.run, arguments.smp_submission, arguments.details)
    print(f"{arguments.smp_submission}: {counted(n, 'post')}")
    return 0


def explain_items(
    run: Path, items: Sequence[str], videos: Path | None = None, trust: Trust = False, n_cold: int = 0
) -> list[Explanation]:
    """Explain the predictions of some videos of the run's data set.

    Args:
        run: Folder of the run.
        items: Item tokens.
        videos: Folder of the videos, for contact sheets.
        trust: As in :func:`recbole_video.load_model`.
        n_cold: So many cases of the cold start, too, see :func:`cold_start_cases`.

    Raises:
        CheckpointError: If the run is not one of popularity prediction.
        DataError: If an item is not in the data set, or has no video; or if there is no case of the cold start.
    """
    from recbole_video import load_model
    from recbole_video.popularity.figures import draw_explanation
    from recbole_video.serving.predictor import PopularityPredictor

    predictor = load_model(run, trust=trust)
    if not isinstance(predictor, PopularityPredictor):
        raise CheckpointError(f"`{run}` is not the run of a popularity model.")
    run = run.parent if run.is_file() else run
    dataset = _dataset_of_run(run, predictor.config)
    titles = dataset.titles()
    row_of = {item: row for row, item in enumerate(dataset.items)}
    found = []
    for item in [*items, *(cold_start_cases(dataset, predictor.config, n_cold) if n_cold else [])]:
        if item not in row_of:
            raise _no_video_error(dataset.name, item, row_of)
        explanation = predictor.explain_row(dataset, row_of[item])
        print(explanation.as_text(item, float(dataset.labels[row_of[item]]), titles))
        if row_of[item] in dataset.rows["train"]:
            print("  it is a training video, which the model has seen with its label")
        title = f"{item}: predicted {explanation.popularity:.3f}, true {dataset.labels[row_of[item]]:.3f}"
        picture = run / f"explain-{as_file_name(item)}.png"
        draw_explanation(title, explanation, picture)
        print(f"  drawn in {picture}")
        if videos is not None:
            _draw_frames(run, dataset, item, explanation, videos)
        found.append(explanation)
    return found


def _no_video_error(name: str, item: str, known: Mapping[str, int]) -> DataError:
    """What to do about an item that is none, be it a new video or a second run."""
    if Path(item).is_dir():
        return DataError(f"`{item}` is a folder; name one run, and then items of `{name}`.")
    return DataError(
        f"`{name}` has no labelled video `{item}`{nearest(item, known)}; predictions of new videos are explained in "
        "Python, by load_model(RUN).explain."
    )


def _dataset_of_run(run: Path, config: Any) -> PopularityDataset:
    """The data set as the run had it.

    Raises:
        DataError: If its videos, labels or splits are others now.
    """
    from recbole_video.data.labelled import PopularityDataset

    told = _data_of_run(run)
    later = [kind for kind in ("frames", "text") if told and f"without {kind}" not in told.get("dropped", {})]
    dataset = PopularityDataset(config, passed_over=later)
    summary = dataset.summary()
    if told.get("rows", summary["rows"]) != summary["rows"]:
        raise DataError(
            f"`{dataset.name}` has other videos than when `{run}` was trained ({_rows_shown(told['rows'])} then, "
            f"{_rows_shown(summary['rows'])} now); train anew, or bring the labels and stores back."
        )
    labels = told["label"].get("sha256") if isinstance(told.get("label"), dict) else None
    if labels not in (None, summary["label"]["sha256"]):
        raise DataError(
            f"`{dataset.label_path}` has other labels or splits than when `{run}` was trained; train anew, or bring "
            "the labels back."
        )
    return dataset


def _data_of_run(run: Path) -> dict[str, Any]:
    """What the result of a run says of its data; empty where there is none, or an earlier version wrote it."""
    path = run / "metrics.json"
    stored = read_json(path) if path.is_file() else {}
    data = stored.get("data") if isinstance(stored, dict) else None
    return data if isinstance(data, dict) else {}


def _rows_shown(rows: Mapping[str, int]) -> str:
    return " + ".join(f"{rows[split]:,}" for split in ("train", "valid", "test"))


def cold_start_cases(dataset: PopularityDataset, config: Any, n: int) -> list[str]:
    """Items of test videos by authors with at most ``cold_author_threshold`` videos, spread over their labels.

    Args:
        dataset: The run's data set.
        config: The run's configuration, which says how an author's videos are counted.
        n: How many, at most: the least and the most popular one, and between them at equal distances of rank.

    Raises:
        DataError: If there is none.
    """
    import numpy as np

    from recbole_video.evaluation.regression import author_counts

    counts, test = author_counts(dataset, config), dataset.rows["test"]
    cold = test[:0] if counts is None else test[counts[test] <= config["cold_author_threshold"]]
    if not len(cold):
        raise DataError(
            f"`{dataset.name}` has no test video of an author with at most {config['cold_author_threshold']} videos; "
            "name items instead."
        )
    by_label = cold[np.argsort(dataset.labels[cold], kind="stable")]
    places = np.unique(np.linspace(0, len(by_label) - 1, min(n, len(by_label))).round().astype(int))
    return [str(dataset.items[row]) for row in by_label[places]]


def _draw_frames(run: Path, dataset: PopularityDataset, item: str, explanation: Explanation, videos: Path) -> None:
    """A contact sheet of the frames that the store holds, with their scores; the highest score is marked."""
    import numpy as np

    from recbole_video.dataset_tools.video.contact_sheet import write_contact_sheet
    from recbole_video.dataset_tools.video.decode import decode_frames
    from recbole_video.dataset_tools.video.listing import list_videos
    from recbole_video.dataset_tools.video.probe import read_timeline
    from recbole_video.dataset_tools.video.samples import read_chosen

    weights = explanation.frame_weights
    if weights is None or dataset.frames is None:
        raise DataError("The model scores no frames: there is no contact sheet to draw.")
    store = dataset.frames.store.path
    chosen = read_chosen(store.with_name(store.name.replace(".frames.npy", ".samples.jsonl"))).samples
    paths = {video.item_id: video.path for video in list_videos(videos)}
    if item not in chosen or item not in paths:
        raise DataError(f"There is no video of `{item}` in `{videos}`, or its frames were not chosen by `frames`.")
    if len(chosen[item].frames) != len(weights):
        raise DataError(
            f"`{item}` has {len(chosen[item].frames)} frames in the store and {len(weights)} scores: n_frames."
        )
    frames = decode_frames(paths[item], read_timeline(paths[item]), np.array(chosen[item].frames), 160)
    caption = f"{item}: predicted {explanation.popularity:.3f}; frame scores"
    write_contact_sheet(
        run / f"explain-{as_file_name(item)}.frames.png", caption, frames, np.array([weights.argmax()]), weights
    )
