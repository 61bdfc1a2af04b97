"""Where a GPU is at hand: 30 epochs at the paper's setting, beside the paper's seconds and memory."""

from __future__ import annotations

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


def measure(options: Options) -> Measurement:
    """Train and validate some epochs on the GPU; skipped where there is none."""
    result = Measurement("gpu", "GPU: 30 epochs at the paper's setting (SASRec + CVA, M = 4, batch 60)")
    if not torch.cuda.is_available():
        result.notes.append("Skipped: PyTorch sees no GPU on this machine.")
        return result
    run = run_child(options, "gpu.train", gpu=True, data_path=str(options.folder), epochs=options.epochs)
    result.raw = run
    trained, validated = mean(run["train_seconds"]), mean(run["valid_seconds"])
    is_whole = len(run["train_seconds"]) == _EPOCHS
    label = "" if is_whole else f" ({len(run['train_seconds'])} timed, multiplied)"
    result.rows += [
        _against_paper(f"30 epochs of training and validation{label}", _EPOCHS * (trained + validated)),
        _against_paper(f"30 epochs of training alone{label}", _EPOCHS * trained),
        Row(
            "peak memory on the GPU, frames held there",
            f"{run['peak_gb']:.2f} GB",
            f"{_PAPER_GB} GB (paper)",
            _PAPER_GB / run["peak_gb"],
        ),
    ]
    result.notes.append(
        "The paper's figures are for the real MicroLens-100K on four L40S; ours are for synthetic data of its shape on "
        f"one {run['device']}. bfloat16 autocast, as the package has it by default on such a GPU: {run['amp']}."
    )
    return result


def _against_paper(what: str, seconds: float) -> Row:
    return Row(what, f"{seconds:.0f} s", f"{_PAPER_SECONDS} s (paper)", _PAPER_SECONDS / seconds)


def train(data_path: str, epochs: int) -> dict[str, Any]:
    """Epochs by this package's trainer at its defaults, which are the paper's setting."""
    experiment = ours.prepare(data_path, NAME, use_gpu=True, mask_history=True)
    trainer = ours.make_trainer(experiment)
    outcome: dict[str, Any] = {"train_seconds": [], "valid_seconds": []}
    for epoch in range(epochs):
        outcome["train_seconds"].append(_timed(lambda epoch=epoch: trainer._train_epoch(experiment.train, epoch)))
        outcome["valid_seconds"].append(_timed(lambda: experiment.task.evaluate("valid")))
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
