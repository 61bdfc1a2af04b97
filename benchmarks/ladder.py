"""Measurement: what each change to a training step is worth, one after the other, SASRec + CVA (M = 4)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch

from benchmarks import ours
from benchmarks.common import Measurement, Options, Row, Stamped, peak_rss_mb, run_child
from benchmarks.microlens_shaped import NAME
from recbole_video.runtime.launch import launch
from recbole_video.runtime.processes import processes

# Rungs: what each adds to those before; the last is of several processes of one thread each.
_RUNGS: dict[str, dict[str, Any]] = {
    "60 users a step, frames gathered and averaged in each, batches made between steps": {},
    "+ the mean of the frames computed once": {"averaged": True},
    "+ batches made ahead by another thread": {"averaged": True, "ahead": True},
    "+ 240 users a step, in groups of 60": {"averaged": True, "ahead": True, "users": 240},
    "+ two processes of one thread each": {"averaged": True, "ahead": True, "users": 240, "nproc": 2},
}
_IN_BFLOAT16 = {
    "240 in groups of 60, one process, bfloat16 autocast": {"averaged": True, "ahead": True, "users": 240, "amp": True}
}
_STEPS, _WARMUP, _TURNS = 40, 5, 3


def measure(options: Options) -> Measurement:
    """Train some steps of an epoch on each rung, the rungs in turns, each in a process of its own."""
    result = Measurement("ladder", "Users trained per second, one change after the other")
    rungs = {**_RUNGS, **(_IN_BFLOAT16 if has_bfloat16_matrices() else {})}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in rungs}
    for _ in range(1 if options.small else _TURNS):
        for name, rung in rungs.items():
            n_steps = 8 if options.small else _STEPS
            run = run_child(options, "ladder.train", data_path=str(options.folder), n_steps=n_steps, **rung)
            runs[name].append(run)
    result.raw = runs
    first, before = None, None
    for name, found in runs.items():
        rate, memory = (median(run[key] for run in found) for key in ("users_per_second", "peak_mb"))
        first, before = first or rate, before or rate
        result.rows.append(
            Row(name, f"{rate:,.0f} users/s, {memory:,.0f} MB", f"{rate / before:.2f} × the row above", rate / first)
        )
        before = rate
    _add_evaluation(result, options)
    result.notes.append(
        f"Forward, backward, fused AdamW, loading; medians of {_STEPS - _WARMUP} steps, and of {_TURNS} turns. Memory: "
        "peak of the process, of two processes the sum. The same batches on all rungs; between steps, they "
        "are made by the same thread."
    )
    return result


def has_bfloat16_matrices() -> bool:
    """Whether the processor multiplies matrices of bfloat16 in units of their own, as far as Linux tells."""
    about = Path("/proc/cpuinfo")
    return about.is_file() and "amx_bf16" in about.read_text(encoding="utf-8")


def _add_evaluation(result: Measurement, options: Options) -> None:
    """Rank the catalogue for all validation users, by one process and by two."""
    one, two = ([_evaluated(options, nproc) for _ in range(1 if options.small else _TURNS)] for nproc in (1, 2))
    result.raw["evaluation"] = {"one process": one, "two processes": two}
    alone, shared = (min(run["seconds"] for run in runs) for runs in (one, two))
    same = {str(run["metrics"]) for run in (*one, *two)}
    result.rows.append(
        Row(
            f"evaluation, two processes of one thread each; {'the same' if len(same) == 1 else 'OTHER'} metrics",
            f"{shared:.2f} s",
            f"{alone:.2f} s (one of two threads)",
            alone / shared,
        )
    )


def _evaluated(options: Options, nproc: int) -> dict[str, Any]:
    return run_child(options, "ladder.evaluate", data_path=str(options.folder), nproc=nproc)


def evaluate(data_path: str, nproc: int) -> dict[str, Any]:
    """Seconds to encode the catalogue and rank it for all validation users, and the metrics."""
    work = partial(_evaluate, data_path, nproc)
    return work() if nproc == 1 else launch(work, nproc)


def _evaluate(data_path: str, nproc: int) -> dict[str, Any]:
    torch.set_num_threads(max(1, torch.get_num_threads() // nproc))
    experiment = ours.prepare(data_path, NAME, nproc=nproc)
    ours.make_trainer(experiment)  # lays out what is evaluated
    seconds = []
    for _ in range(2):  # the first one warms up
        experiment.model.train()  # drops the encoded catalogue
        experiment.model.eval()
        started = perf_counter()
        _, metrics = experiment.task.evaluate("valid")
        seconds.append(perf_counter() - started)
    return {"seconds": seconds[-1], "metrics": metrics}


def train(
    data_path: str,
    n_steps: int,
    averaged: bool = False,
    ahead: bool = False,
    users: int = 60,
    nproc: int = 1,
    amp: bool = False,
) -> dict[str, float]:
    """Users trained per second by the median step, and peak memory."""
    work = partial(_train, data_path, n_steps, averaged, ahead, users, nproc, amp)
    return work() if nproc == 1 else launch(work, nproc)


def _train(
    data_path: str, n_steps: int, averaged: bool, ahead: bool, users: int, nproc: int, amp: bool
) -> dict[str, float]:
    torch.set_num_threads(max(1, torch.get_num_threads() // nproc))
    options = {
        "train_batch_size": users,
        "nproc": nproc,
        "enable_amp": amp,
        **({"candidate_group": 60} if users > 60 else {}),
    }
    experiment = ours.prepare(data_path, NAME, **options)
    if not averaged:
        experiment.model.item_embedding.content = experiment.data.catalogue.content
    trainer = ours.make_trainer(experiment)
    steps = _Stamps(trainer._train_step)
    trainer._train_step = steps  # type: ignore[method-assign]
    with nullcontext() if ahead else patch("recbole_video.training.trainer.planned_ahead", _made_between):
        trainer._train_epoch(Stamped(experiment.train, n_steps), 0)
    seconds = steps.seconds()
    peaks = [peak_rss_mb()]
    if nproc > 1:
        peaks = processes().sum_of(torch.tensor(peaks)).tolist()
    return {"users_per_second": users / median(seconds), "peak_mb": sum(peaks)}


def _made_between(batches: Iterable[Any], *_: Any) -> Iterator[Any]:
    return iter(batches)


class _Stamps:
    """A training step that notes when it begins: from one beginning to the next, loading is included."""

    def __init__(self, step: Any) -> None:
        self.step = step
        self.stamps: list[float] = []

    def __call__(self, interaction: Any) -> Any:
        self.stamps.append(perf_counter())
        return self.step(interaction)

    def seconds(self) -> list[float]:
        """Seconds from step to step, after some that warm up."""
        return [after - before for before, after in pairwise(self.stamps[_WARMUP:])]
