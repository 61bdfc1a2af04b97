"""What the predictions of a trained popularity model rest on, told and drawn: of its data set, and of new videos."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.data.text import read_titles
from recbole_video.errors import CheckpointError, DataError, nearest
from recbole_video.files.names import as_file_name
from recbole_video.files.reading import read_json

if TYPE_CHECKING:  # imported when the command runs: see `entry_point`
    from recbole_video.data.labelled import PopularityDataset
    from recbole_video.popularity.explanation import Explanation
    from recbole_video.registry import Trust
    from recbole_video.serving.predictor import Inputs, PopularityPredictor


@dataclass(frozen=True)
class _Pictures:
    """Where pictures go, and what contact sheets are made of.

    Attributes:
        folder: That of the run.
        videos: Folder of the videos; None for no contact sheets.
        store: The frame store of the videos; None where there is none.
    """

    folder: Path
    videos: Path | None
    store: Path | None

    def draw(self, item: str, explanation: Explanation, label: float | None = None) -> None:
        """Draw the picture of a video and, where there are videos, its contact sheet."""
        from recbole_video.popularity.figures import draw_explanation

        true = "" if label is None else f", true {label:.3f}"
        picture = self.folder / f"explain-{as_file_name(item)}.png"
        draw_explanation(f"{item}: predicted {explanation.popularity:.3f}{true}", explanation, picture)
        print(f"  drawn in {picture}")
        if self.videos is not None:
            _draw_frames(self, self.videos, item, explanation)


def popularity_model(run: Path, trust: Trust = False) -> PopularityPredictor:
    """The model of a run, or of its ``model.pth``.

    Raises:
        CheckpointError: If the run is not one of popularity prediction.
    """
    from recbole_video import load_model
    from recbole_video.serving.predictor import PopularityPredictor

    predictor = load_model(run, trust=trust)
    if not isinstance(predictor, PopularityPredictor):
        raise CheckpointError(f"`{run}` is not the run of a popularity model.")
    return predictor


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
    predictor = popularity_model(run, trust)
    run = run.parent if run.is_file() else run
    dataset = _dataset_of_run(run, predictor)
    titles = dataset.titles()
    pictures = _Pictures(run, videos, None if dataset.frames is None else dataset.frames.store.path)
    row_of = {item: row for row, item in enumerate(dataset.items)}
    found = []
    for item in [*items, *(cold_start_cases(dataset, predictor.config, n_cold) if n_cold else [])]:
        if item not in row_of:
            advice = "; a new video is explained from a table, --table=FILE, or its stores, --frames=FILE"
            raise _no_video_error(item, f"`{dataset.name}`", "labelled video", row_of, advice)
        explanation, label = predictor.explain_row(dataset, row_of[item]), float(dataset.labels[row_of[item]])
        print(explanation.as_text(item, label, titles))
        if row_of[item] in dataset.rows["train"]:
            print("  it is a training video, which the model has seen with its label")
        pictures.draw(item, explanation, label)
        found.append(explanation)
    return found


def explain_new_items(
    run: Path,
    predictor: PopularityPredictor,
    items: Sequence[str],
    given: Inputs,
    videos: Path | None = None,
    store: Path | None = None,
) -> list[Explanation]:
    """Explain the predictions of videos that no data set holds.

    Args:
        run: Folder of the run, or its ``model.pth``; pictures go into the folder.
        predictor: The model.
        items: Item tokens, of those that ``given`` names.
        given: The videos.
        videos: Their folder, for contact sheets.
        store: Their frame store.

    Raises:
        DataError: If an item is not among the videos.
    """
    config = predictor.config
    titles = {**read_titles(Path(config["data_path"]), config["dataset"]), **_titles_given(given)}
    pictures = _Pictures(run.parent if run.is_file() else run, videos, store)
    row_of = {item: row for row, item in reversed(list(enumerate(given.items or ())))}
    found = []
    for item in items:
        if item not in row_of:
            raise _no_video_error(item, "What is given", "video", row_of)
        explanation = predictor.explain(given, row_of[item])
        print(explanation.as_text(item, titles=titles))
        pictures.draw(item, explanation)
        found.append(explanation)
    return found


def _titles_given(given: Inputs) -> dict[str, str]:
    """Titles of the new videos, where their metadata are made of these; no other is taken for one of theirs."""
    items, metadata = given.items or (), given.metadata
    titles = [""] * len(items) if metadata is None or "title" not in metadata else metadata["title"]
    return {item: title if isinstance(title, str) else "" for item, title in zip(items, titles, strict=True)}


def _no_video_error(item: str, holder: str, what: str, known: Collection[str], advice: str = "") -> DataError:
    """What to do about an item that is none, be it a new video or a second run."""
    if Path(item).is_dir():
        return DataError(f"`{item}` is a folder; name one run, and then ids of videos.")
    return DataError(f"{holder} has no {what} `{item}`{nearest(item, known)}{advice}.")


def _dataset_of_run(run: Path, predictor: PopularityPredictor) -> PopularityDataset:
    """The data set as the run had it.

    Raises:
        DataError: If its videos, labels or splits are others now.
    """
    from recbole_video.data.labelled import PopularityDataset

    told = _data_of_run(run)
    later = [kind for kind in ("frames", "text") if told and f"without {kind}" not in told.get("dropped", {})]
    dataset = PopularityDataset(predictor.config, passed_over=later, encoder=predictor.metadata_encoder)
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


def _draw_frames(pictures: _Pictures, videos: Path, item: str, explanation: Explanation) -> None:
    """A contact sheet of the frames that the store holds, with their scores; the highest score is marked."""
    import numpy as np

    from recbole_video.dataset_tools.video.contact_sheet import write_contact_sheet
    from recbole_video.dataset_tools.video.decode import decode_frames
    from recbole_video.dataset_tools.video.listing import list_videos
    from recbole_video.dataset_tools.video.probe import read_timeline
    from recbole_video.dataset_tools.video.samples import read_chosen

    weights, store = explanation.frame_weights, pictures.store
    if weights is None or store is None:
        raise DataError("The model scores no frames: there is no contact sheet to draw.")
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
    sheet = pictures.folder / f"explain-{as_file_name(item)}.frames.png"
    write_contact_sheet(sheet, caption, frames, np.array([weights.argmax()]), weights)
