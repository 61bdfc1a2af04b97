"""What is killed: four commands on tiny data, and what is compared of their results."""

import csv
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
import yaml

from ..conftest import small_options, write_dataset
from ..test_popularity import METADATA, SMALL, write_popularity
from ..tiny_models import save_clip, save_vision_model
from ..videos import cut, write_video
from .process import ROOT

_RUN = ("recbole_video.cli:main", (str(ROOT / "run_recbole_video.py"),))
_TOOLS = ("recbole_video.dataset_tools.__main__:main", ("-m", "recbole_video.dataset_tools"))
_TIME = re.compile(r"[A-Z][a-z]{2}-\d\d-\d{4}_\d\d-\d\d-\d\d(-\d+)?")
_COSTS = ("seconds", "GB")  # rows of a table that no two runs share


@dataclass(frozen=True)
class Kind:
    """A command that is killed.

    Attributes:
        entry: Where it starts.
        program: The same in a fresh interpreter.
        modules: What it imports, so that forks need not.
        write_inputs: Fills a folder that all cases read.
        prepare: Fills the folder of a case; gets the inputs' folder and the case's own.
        words: Its options, likewise.
        resume: What is added to go on.
        result: Of a finished run's folder, what two runs must have in common, by name.
        n_at_once: Cases that run at a time; a sweep takes all cores.
        started: Pattern of a file whose appearance shows that the real work has begun.
    """

    entry: str
    program: tuple
    modules: tuple
    write_inputs: Callable
    prepare: Callable
    words: Callable
    resume: tuple
    result: Callable
    started: str
    n_at_once: int = 2


# -- training ------------------------------------------------------------------------------------


def _write_recommendation(inputs):
    write_dataset(inputs)


def _prepare_recommendation(inputs, folder):
    options = small_options(data_path=str(inputs), epochs=12, learning_rate=0.003, lr_scheduler="cosine")
    options |= {"model": "SASRec", "dataset": "tiny", "id_fusion": "sum", "save_per_user": True}
    _write_options(folder, options)


def _write_popularity(inputs):
    write_popularity(inputs)


def _prepare_popularity(inputs, folder):
    options = {**SMALL, **METADATA, "model": "STAP", "dataset": "pop", "data_path": str(inputs), "epochs": 8}
    options |= {"memory_update": "both", "memory_warmup_epochs": 1, "learning_rate": 0.003, "use_gpu": False}
    _write_options(folder, options)


def _write_options(folder, options):
    (folder / "options.yaml").write_text(yaml.safe_dump(options))


def _run_words(inputs, folder):
    return ("--config_files=options.yaml",)


def _run_results(folder):
    """Of every finished run below ``saved``: its numbers, its weights, its tables."""
    results = {}
    for number, metrics in enumerate(sorted((folder / "saved").glob("*/metrics.json"))):
        results |= {f"run {number}: {name}": value for name, value in _numbers(metrics.parent).items()}
    return results


def _numbers(run):
    record = json.loads((run / "metrics.json").read_text())
    found = {name: record[name] for name in ("best_valid_score", "best_valid_result", "test_result", "best_epoch")}
    found["groups"] = record["groups"]
    found["curve"] = [{k: v for k, v in e.items() if not k.endswith("seconds")} for e in record["history"]]
    found["weights"] = _digest_of_weights(run / "model.pth")
    for name in ("predictions.tsv", "slots.tsv", "per_user.tsv"):
        if (run / name).is_file():
            found[name] = hashlib.sha256((run / name).read_bytes()).hexdigest()
    return found


def _digest_of_weights(path):
    state = torch.load(path, weights_only=True)["state_dict"]
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode() + str(state[name].dtype).encode() + state[name].numpy().tobytes())
    return digest.hexdigest()


# -- frames --------------------------------------------------------------------------------------


def _write_videos(inputs):
    videos = inputs / "videos"
    videos.mkdir(parents=True)
    for number in range(12):
        write_video(videos / f"v{number}.mp4", 20 + 5 * number)
    write_video(inputs / "whole.mkv", 60)
    cut(inputs / "whole.mkv", videos / "bad.mkv", 0.7)
    titles = [json.dumps({"item_id": f"v{number}", "title": f"title number {number}"}) for number in range(11)]
    (inputs / "titles.jsonl").write_text("\n".join(titles) + "\n")
    save_clip(inputs / "clip")
    save_vision_model(inputs / "dinov2", "dinov2")


def _frames_words(inputs, folder):
    given = {"videos": "videos", "titles": "titles.jsonl", "clip_weights": "clip", "weights": "dinov2"}
    places = [word for name, value in given.items() for word in (f"--{name}", str(inputs / value))]
    return ("frames", *places, "--name", "d", "--out", "dataset", "--device", "cpu", "--workers", "1")


def _frames_results(folder):
    found = sorted((folder / "dataset" / "d").glob("d.*"))
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found if path.is_file()}


# -- sweep ---------------------------------------------------------------------------------------


def _prepare_sweep(inputs, folder):
    options = small_options(data_path=str(inputs), epochs=6, stopping_step=99)
    base = {"model": "SASRec", "dataset": "tiny", **{k: v for k, v in options.items() if k != "show_progress"}}
    sweep = {"base": base, "space": {"learning_rate": [0.003, 0.001]}, "seeds": [1]}
    (folder / "mine.yaml").write_text(yaml.safe_dump(sweep))


def _sweep_results(folder):
    results = {}
    for metrics in sorted((folder / "saved" / "sweeps").glob("*/trials/*/metrics.json")):
        results |= {f"{metrics.parent.name}: {name}": value for name, value in _numbers(metrics.parent).items()}
    for number, table in enumerate(sorted((folder / "saved" / "sweeps").glob("*/results.csv"))):
        with table.open(newline="") as file:
            results[f"results.csv {number}"] = [row for row in csv.DictReader(file) if row["metric"] not in _COSTS]
    return results


# Also what is imported on the way, so that a run takes a second in place of ten.
_TRAINING = (
    "recbole_video.cli", "recbole_video.quick_start", "recbole_video.recommendation.tower", "recbole.trainer",
    "torch._dynamo", "torch.utils.tensorboard", "matplotlib.figure", "PIL.PngImagePlugin",
)  # fmt: skip
_FRAMES = (
    "recbole_video.dataset_tools.__main__", "recbole_video.dataset_tools.video.commands",
    "recbole_video.dataset_tools.video.pipeline", "torch", "torch._dynamo", "transformers.models.dinov2", "av",
)  # fmt: skip

KINDS = {
    "training": Kind(
        *_RUN, _TRAINING, _write_recommendation, _prepare_recommendation, _run_words, ("--resume",), _run_results,
        "saved/*/last.pth",
    ),
    "popularity": Kind(
        *_RUN, _TRAINING, _write_popularity, _prepare_popularity, _run_words, ("--resume",), _run_results,
        "saved/*/last.pth",
    ),
    "frames": Kind(
        *_TOOLS, _FRAMES, _write_videos, lambda inputs, folder: None, _frames_words, (), _frames_results,
        "dataset/d/d.parts/*",
    ),
    "sweep": Kind(
        *_RUN, (*_TRAINING, "recbole_video.commands.sweep"), _write_recommendation, _prepare_sweep,
        lambda inputs, folder: ("--sweep=mine.yaml",), ("--resume",), _sweep_results,
        "saved/sweeps/*/trials/*/trial.json", n_at_once=1,
    ),
}  # fmt: skip


def file_names(folder, paths=None):
    """All that lies in a case's folder, or these paths of it: logs left out, times in names made equal."""
    relative = [path.relative_to(folder) for path in (folder.rglob("*") if paths is None else paths)]
    kept = [path for path in relative if not any(part in ("log", "log_tensorboard") for part in path.parts)]
    return Counter(_TIME.sub("TIME", str(path)) for path in kept)
