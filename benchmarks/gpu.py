"""Where a GPU is at hand: 30 epochs at the paper's and its authors' setting, beside the paper's seconds and memory."""

from __future__ import annotations

from functools import partial
from statistics import mean
from time import perf_counter
from typing import Any

import torch

from benchmarks import ours
from benchmarks.common import Measurement, Options, Row, run_child
from benchmarks.microlens_shaped import NAME

_EPOCHS = 30
# SASRec + CVA (M = 4) on MicroLens-100K, Table 4 of arXiv 2605.08810, on four L40S.
_PAPER_SECONDS, _PAPER_GB = 1131, 1.09
_GROUPS = {"train_batch_size": 240, "candidate_group": 60}
_SETTINGS: dict[str, dict[str, Any]] = {
    "60 users a step": {},
    "60 users a step, recorded": {"cuda_graph": True},
    "240 in groups of 60": _GROUPS,
    "240 in groups of 60, recorded": {**_GROUPS, "cuda_graph": True},
    "240 in groups of 60, compiled": {**_GROUPS, "compile": True},
    "240 in groups of 60, recorded, float32": {**_GROUPS, "cuda_graph": True, "enable_amp": False},
}


def measure(options: Options) -> Measurement:
    """Train and validate some epochs on the GPU; skipped where there is none."""
    result = Measurement("gpu", "GPU: 30 epochs of SASRec + CVA (M = 4)")
    if not torch.cuda.is_available():
        result.notes.append("Skipped: PyTorch sees no GPU on this machine.")
        return result
    for name, setting in _SETTINGS.items():
        run = run_child(
            options, "gpu.train", gpu=True, data_path=str(options.folder), epochs=options.epochs, setting=setting
        )
        result.raw[name] = run
        result.rows += _rows_of(name, run)
    result.notes.append(
        "The paper's figures are for the real MicroLens-100K on four L40S, its memory the sum over four processes; "
        f"ours are for synthetic data of its shape on one {run['device']}. {run['timed']} epochs after a first one "
        "were timed and multiplied. bfloat16 autocast unless said otherwise: {run['amp']}."
    )
    return result


def _rows_of(name: str, run: dict[str, Any]) -> list[Row]:
    trained, validated = mean(run["train_seconds"]), mean(run["valid_seconds"])
    step = f"{1e3 * trained / run['steps']:.2f} ms a step, loss {run['losses'][-1]:.4f}"
    memory = f"{run['peak_gb']:.2f} GB"
    return [
        _against_paper(f"{name}: training and validation ({step})", _EPOCHS * (trained + validated)),
        _against_paper(f"{name}: training alone", _EPOCHS * trained),
        Row(f"{name}: peak memory on the GPU", memory, f"{_PAPER_GB} GB (paper)", _PAPER_GB / run["peak_gb"]),
    ]


def _against_paper(what: str, seconds: float) -> Row:
    return Row(what, f"{seconds:.0f} s", f"{_PAPER_SECONDS} s (paper)", _PAPER_SECONDS / seconds)


def train(data_path: str, epochs: int, setting: dict[str, Any]) -> dict[str, Any]:
    """Epochs by this package's trainer, after one that warms up."""
    experiment = ours.prepare(data_path, NAME, use_gpu=True, mask_history=True, **setting)
    trainer = ours.make_trainer(experiment)
    losses = [trainer._train_epoch(experiment.train, 0)]
    outcome: dict[str, Any] = {"train_seconds": [], "valid_seconds": [], "losses": losses, "timed": epochs}
    for epoch in range(1, epochs + 1):
        train = partial(trainer._train_epoch, experiment.train, epoch)
        outcome["train_seconds"].append(_timed(lambda train=train: losses.append(train())))
        outcome["valid_seconds"].append(_timed(lambda: experiment.task.evaluate("valid")))
    outcome["steps"] = len(experiment.train)
    outcome["peak_gb"] = torch.cuda.max_memory_allocated() / 1e9
    outcome["device"] = torch.cuda.get_device_name()
    outcome["amp"] = trainer.use_amp
    return outcome


def _timed(call: Any) -> float:
    torch.cuda.synchronize()
    started = perf_counter()
    call()
    torch.cuda.synchronize()
    return perf_counter() - started
