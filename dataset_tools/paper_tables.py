"""What CVA's Tables 1 to 3 tell of data and frames, of a data set and its frame stores, beside what was published.

  paper-tables --name microlens-100k

Table 1: how often videos occur, of NAME.inter. Table 2: how good the chosen frames are, of each store and its samples:
similarity to the title where frames were chosen by it, and how different the frames of a video are. Table 3: what the
stores take. The tables are printed as Markdown; nothing is written.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from glob import escape
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.cleaning.interactions import quartiles
from recbole_video.dataset_tools.video.samples import read_chosen

from recbole_video.content.store import SUFFIX, FrameStore
from recbole_video.data.atomic_file import read_columns
from recbole_video.errors import ConfigError, DataError
from recbole_video.files.names import is_plain_name

HELP = "CVA's Tables 1 to 3 of a data set and its frame stores"

_TIMES = (1, 2, 3, 5, 10, 20)
# Videos; percent of them with 1, 2, 3, 5, 10, 20 actions; mean; quartiles; largest.
_PUBLISHED = {
    "microlens-100k": (19738, (2.34, 2.83, 3.16, 3.09, 2.41, 1.60), 36.45, (9, 22, 49), 640),
    "shortvideo": (135666, (27.36, 21.70, 14.56, 6.05, 1.29, 0.28), 4.73, (1, 3, 5), 798),
}
# Seconds and MB for the five frames of each video of MicroLens-100K.
_PUBLISHED_COST = {"dinov3": (189, 172.1), "dinov2": (159, 153.6), "clip": (101, 222.5), "vit": (206, 298.2)}
_AT_ONCE = 1024  # videos that are read together
_NOTES = """
Similarity is the cosine of title and frame by CLIP, as measured when the frames were chosen: its mean over the
chosen frames of a video, and over videos. Difference is one minus the mean cosine of each two frames of a video, by
the store's own embeddings, over the videos of at least two.
Columns of the paper's Table 2 about captions need a model that writes captions, which is not part of this package.
MB are those of the array, in float16. Seconds are not stored, since the same command makes the same bytes: time the
command `frames`. Published costs are of five frames of each video of MicroLens-100K.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")


def run(arguments: argparse.Namespace) -> None:
    """Print the tables."""
    folder, name = arguments.out / arguments.name, arguments.name
    if not is_plain_name(name):
        raise ConfigError(f"`{name}` cannot be the name of a data set; the folder of data sets is what --out names.")
    parts = ["Table 1: actions of a video", "", table_of_actions(folder, name)]
    stores = [FrameStore(path) for path in sorted(folder.glob(f"{escape(name)}.*frames.npy"))]
    if stores:
        parts += ["", "Tables 2 and 3: chosen frames and their cost", "", table_of_stores(stores), _NOTES.rstrip()]
    print("\n".join(parts))


def table_of_actions(folder: Path, name: str) -> str:
    """How many videos occur how often, in percent of the videos that occur at all.

    Raises:
        DataError: If the data set is missing or malformed.
    """
    path = folder / f"{name}.inter"
    if not path.is_file():
        raise DataError(f"There is no data set `{name}`: `{path}` does not exist; check --name and --out.")
    counts = read_columns(path, {"item_id"}, set())["item_id"].value_counts().to_numpy()
    found = quartiles(counts)
    shares = [100 * float((counts == times).mean()) for times in _TIMES]
    ours = _row_of_actions("ours", len(counts), shares, found["mean"], [found[q] for q in ("q1", "median", "q3")],
                           found["max"])  # fmt: skip
    published = [_row_of_actions("published", *_PUBLISHED[name])] if name in _PUBLISHED else []
    heads = ["", "videos", *(f"% with {times}" for times in _TIMES), "mean", "quartiles", "most"]
    return _markdown(heads, [ours, *published])


def _row_of_actions(
    label: str, n: int, shares: Sequence[float], mean: float, quarters: Sequence[float], most: float
) -> list[str]:
    middle = " / ".join(f"{q:g}" for q in quarters)
    return [label, f"{n:,}", *(f"{share:.2f}" for share in shares), f"{mean:.2f}", middle, f"{most:g}"]


def table_of_stores(stores: Sequence[FrameStore]) -> str:
    """Similarity, difference and size of each frame store."""
    rows = []
    for store in stores:
        similarity, difference = title_similarity(store), difference_of_frames(store)
        rows.append([
            store.path.name.removesuffix(SUFFIX), store.manifest.vfm, store.manifest.sampling, f"{len(store.items):,}",
            _or_dash(similarity), _or_dash(difference), f"{store.nbytes / 1e6:.1f}", *_published_cost(store),
        ])  # fmt: skip
    heads = ["store", "model", "frames", "videos", "similarity", "difference", "MB", "published s", "published MB"]
    return _markdown(heads, rows)


def _published_cost(store: FrameStore) -> list[str]:
    """Seconds and MB of the paper for five frames of this model, where the data set is the paper's."""
    model = store.manifest.vfm.lower()
    cost = next((cost for name, cost in _PUBLISHED_COST.items() if name in model), None)
    if cost is None or store.n_frames != 5 or not store.path.name.startswith("microlens-100k."):
        return ["", ""]
    return [str(cost[0]), f"{cost[1]:.1f}"]


def title_similarity(store: FrameStore) -> float | None:
    """Mean similarity of a video's chosen frames to its title, over videos; None where none was measured."""
    samples = store.path.with_name(f"{store.path.name.removesuffix(SUFFIX)}.samples.jsonl")
    if not samples.is_file():
        return None
    means = [np.mean(sample.similarity) for sample in read_chosen(samples).samples.values() if sample.similarity]
    return float(np.mean(means)) if means else None


def difference_of_frames(store: FrameStore) -> float | None:
    """One minus the mean cosine of each two frames of a video, over the videos of at least two; None without any."""
    found = []
    for start in range(0, len(store.items), _AT_ONCE):
        rows = np.arange(start, min(start + _AT_ONCE, len(store.items)))
        rows = rows[store.frame_counts[rows] > 1]
        frames, n = store.read(rows).astype(np.float64), store.frame_counts[rows]
        lengths = np.linalg.norm(frames, axis=2, keepdims=True)
        unit = np.divide(frames, lengths, out=np.zeros_like(frames), where=lengths > 0)
        # Of unit vectors, the squared length of the sum is n plus twice the sum of the cosines of all pairs.
        cosines = (np.square(unit.sum(axis=1)).sum(axis=1) - np.square(unit).sum(axis=(1, 2))) / (n * (n - 1))
        found.append(1 - cosines)
    differences = np.concatenate(found) if found else np.zeros(0)
    return float(differences.mean()) if len(differences) else None


def _or_dash(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
