"""Several modalities on real content: TikTok's image and audio vectors, MicroLens-50k's titles and their tags.

    python benchmarks/real_content.py DATA [--out=FILE.json] [--cache=FOLDER] [--seeds=1,2,3] [--only=tiktok]
    python benchmarks/real_content.py --table FILE.json

DATA is the folder that holds ``tiktok/`` (``actions.csv``, ``image.npy``, ``audio.npy``) and ``microlens/``
(``MicroLens-50k_pairs.tsv``, ``MicroLens-50k_titles.csv``). Runs that FILE.json holds already are not repeated; it is
written after each. ``--options='{"epochs": 20}'`` trains with other options, for another FILE.json. Converted data go
to the cache, a temporary folder by default. One thread.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import mean, stdev
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from recbole_video.dataset_tools.__main__ import main as dataset_tools

from recbole_video import run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.files.atomic import write_json
from recbole_video.recommendation.data import load_data
from recbole_video.runtime.provenance import provenance

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "benchmarks" / "results" / "real-content.json"
N_USERS = 10_000  # of MicroLens-50k: the first lines of its file
TITLE_WIDTH = 128  # of its vectors, by TF-IDF and SVD
METRICS = ("hit@10", "hit@20", "ndcg@10")
OPTIONS: dict[str, Any] = {
    "model": "SASRec",
    "protocol": "recbole",
    "item_encoder": "MLP",
    "hidden_size": 64,
    "inner_size": 256,
    "MAX_ITEM_LIST_LENGTH": 10,
    "epochs": 5,
    "train_batch_size": 240,
    "missing_items": "zero",
}
_COUNTS = "counts"
SHUFFLED = "-shuffled"  # the same vectors, each given to another video
Case = tuple[str, dict[str, Any]]


def cases(dataset: str, names: tuple[str, str]) -> list[Case]:
    """What is compared on a data set: a label, and the options that make it."""
    first, second = names
    both = list(names)
    found: list[Case] = [
        ("most popular, by RecBole's Pop", {"model": "Pop"}),
        ("most popular, of the same users", {"model": _COUNTS}),
        ("ids", {"item_encoder": "ID"}),
        (first, {"content": [first]}),
        (second, {"content": [second]}),
        (f"{first} + {second}, early", {"content": both}),
        (f"{first} + {second}, late", {"content": both, "content_fusion": "late"}),
        (f"{first} + {second}, late_gate", {"content": both, "content_fusion": "late_gate"}),
        (f"{first} + {second}, late_concat", {"content": both, "content_fusion": "late_concat"}),
        ("both shuffled, early", {"content": {name: f"{name}{SHUFFLED}" for name in names}}),
    ]
    with_ids = [(label, options) for label, options in found if "content" in options and "late_" not in label]
    found += [(f"{label}; ids added", {**options, "id_fusion": "sum"}) for label, options in with_ids]
    return found


# -- data --------------------------------------------------------------------------------------


def make_tiktok(raw: Path, cache: Path) -> None:
    """Actions in the order of the file, and the vectors as two stores."""
    _convert(
        "generic", raw / "actions.csv", "--user", "user", "--item", "item", "--no_time", name="tiktok", cache=cache
    )
    for name in ("image", "audio"):
        vectors = np.load(raw / f"{name}.npy")
        items = [str(item) for item in range(len(vectors))]
        _write_stores(cache / "tiktok", "tiktok", name, items, vectors[:, None], f"published {name} vectors")


def make_microlens(raw: Path, cache: Path) -> None:
    """The first users, and what titles say before their first ``#`` and after it."""
    pairs, titles = (f"MicroLens-50k_{kind}" for kind in ("pairs.tsv", "titles.csv"))
    with tempfile.TemporaryDirectory() as folder:
        lines = (raw / pairs).read_text(encoding="utf-8").splitlines()[:N_USERS]
        (Path(folder) / pairs).write_text("\n".join(lines) + "\n", encoding="utf-8")
        (Path(folder) / titles).write_bytes((raw / titles).read_bytes())
        _convert("microlens", folder, name="microlens-50k", cache=cache)
    with (raw / titles).open(encoding="utf-8", newline="") as file:
        title_of = {row["item"]: row["title"] for row in csv.DictReader(file)}
    for name, part in (("title", 0), ("tags", 2)):
        texts = {
            item: " ".join(title.partition("#")[part].replace("#", " ").split()) for item, title in title_of.items()
        }
        items = [item for item, text in texts.items() if text]  # the others are not in the store: they are masked
        vectors = _text_vectors([texts[item] for item in items])
        _write_stores(cache / "microlens-50k", "microlens-50k", name, items, vectors[:, None], "TF-IDF and SVD")


def _convert(command: str, raw: str | Path, *words: str, name: str, cache: Path) -> None:
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
        status = dataset_tools([command, str(raw), *words, "--name", name, "--out", str(cache)])
    if status:
        raise SystemExit(quiet.getvalue())


def _text_vectors(texts: list[str]) -> np.ndarray:
    """Unit vectors of texts, fitted to the texts alone, float32 [N, TITLE_WIDTH]."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import normalize

    weights = TfidfVectorizer(sublinear_tf=True, min_df=2).fit_transform(texts)
    return normalize(TruncatedSVD(TITLE_WIDTH, random_state=0).fit_transform(weights)).astype(np.float32)


def _write_stores(folder: Path, dataset: str, name: str, items: list[str], rows: np.ndarray, vfm: str) -> None:
    order = np.random.default_rng(0).permutation(len(items))
    for suffix, values in (("", rows), (SHUFFLED, rows[order])):
        path = folder / f"{dataset}.{name}{suffix}.frames.npy"
        write_frame_store(path, items, values, vfm=vfm, sampling=f"one row a video{suffix}", modality=name)


DATASETS = {
    "tiktok": ("tiktok", make_tiktok, ("image", "audio")),
    "microlens-50k": ("microlens", make_microlens, ("title", "tags")),
}


# -- runs --------------------------------------------------------------------------------------


def planned(only: str, seeds: list[int]) -> Iterator[tuple[str, str, dict[str, Any], int]]:
    """Data set, label, options and seed of each run, seed by seed; what is not trained runs once."""
    for seed in seeds:
        for dataset, (_, _, names) in DATASETS.items():
            for label, options in cases(dataset, names):
                if only in dataset and (seed == seeds[0] or "model" not in options):
                    yield dataset, label, options, seed


def run_one(dataset: str, label: str, options: dict[str, Any], seed: int, cache: Path) -> dict[str, Any]:
    """One run, and what it gave."""
    chosen = {**OPTIONS, **options, "seed": seed}
    if chosen["model"] == "Pop":  # RecBole's, which has no options of ours
        chosen = {"model": "Pop", "epochs": 1, "seed": seed}
    if chosen["model"] == _COUNTS:
        return {"dataset": dataset, "label": label, "seed": seed, "test": _by_counts(dataset, cache)}
    silent = {"show_progress": False, "use_gpu": False, "state": "WARNING", "data_path": str(cache)}
    with tempfile.TemporaryDirectory() as logs:
        places = {name: str(Path(logs) / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
        result = run_recbole_video(config_dict={**chosen, "dataset": dataset, **silent, **places}, saved=False)
    return {
        "dataset": dataset,
        "label": label,
        "seed": seed,
        "options": chosen,
        "test": {name: result["test_result"][name] for name in METRICS},
        "valid": result["best_valid_score"],
        "best_epoch": result.get("best_epoch"),
        "seconds": result.get("seconds"),
        "parameters": result.get("parameters"),
        "data": result.get("data"),
    }


def _by_counts(dataset: str, cache: Path) -> dict[str, float]:
    """Metrics of one ranking for all: items by their training actions, the lower id first among equals."""
    options = {"protocol": OPTIONS["protocol"], "item_encoder": "ID", "data_path": str(cache), "use_gpu": False}
    data = load_data(Config("SASRec", dataset, config_dict=options))
    counts = data.catalogue.train_counts.numpy()[1:]
    place = np.empty(len(counts), dtype=np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    found = place[data.actions.items[data.actions.split.test.end] - 1]
    gain = np.where(found < 10, 1 / np.log2(found + 2), 0.0)
    return {"hit@10": float((found < 10).mean()), "hit@20": float((found < 20).mean()), "ndcg@10": float(gain.mean())}


def run_all(raw: Path, out: Path, cache: Path, seeds: list[int], only: str) -> None:
    """Make what is missing of the data and of the runs."""
    torch.set_num_threads(1)
    for dataset, (folder, make, _) in DATASETS.items():
        if only in dataset and not list((cache / dataset).glob("*.frames.npy")):
            make(raw / folder, cache)
    record = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"runs": []}
    done = {(run["dataset"], run["label"], run["seed"]) for run in record["runs"]}
    for dataset, label, options, seed in planned(only, seeds):
        if (dataset, label, seed) in done:
            continue
        run = run_one(dataset, label, options, seed, cache)
        print(f"{dataset}, {label}, seed {seed}: {run['test']}", flush=True)
        record = {"made_by": provenance(), "runs": [*record["runs"], run]}
        write_json(out, record)


# -- table -------------------------------------------------------------------------------------


def table(record: dict[str, Any]) -> str:
    """Mean and spread over seeds, x 100, as Markdown: a table for each data set."""
    lines: list[str] = []
    for dataset, (_, _, names) in DATASETS.items():
        runs = [run for run in record["runs"] if run["dataset"] == dataset]
        lines += [f"| {dataset} | HR@10 | HR@20 | NDCG@10 | seeds |", "|---|---|---|---|---|"]
        for label, _ in cases(dataset, names):
            of_label = [run for run in runs if run["label"] == label]
            cells = [_cell([run["test"][name] for run in of_label]) for name in METRICS]
            if of_label:
                lines.append(f"| {label} | {' | '.join(cells)} | {len(of_label)} |")
        lines.append("")
    return "\n".join(lines)


def _cell(values: list[float]) -> str:
    percent = [100 * value for value in values]
    spread = f" ± {stdev(percent):.2f}" if len(percent) > 1 else ""
    return f"{mean(percent):.2f}{spread}" if percent else ""


def main(words: list[str]) -> int:
    """See the module's text."""
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    places = [word for word in words if not word.startswith("--")]
    if len(places) != 1:
        print(__doc__)
        return 2
    if "table" in flags:
        print(table(json.loads(Path(places[0]).read_text(encoding="utf-8"))))
        return 0
    OPTIONS.update(json.loads(flags.get("options", "{}")))
    seeds = [int(seed) for seed in flags.get("seeds", "1,2,3").split(",")]
    with tempfile.TemporaryDirectory() as made:
        cache = Path(flags.get("cache", made))
        run_all(Path(places[0]), Path(flags.get("out", OUT)), cache, seeds, flags.get("only", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
