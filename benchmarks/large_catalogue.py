"""Measurement: training on catalogues of one and of ten million items, most of which occur once."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.output.atomic import write_atomic_file

from benchmarks import ours
from benchmarks.common import Measurement, MemoryPeak, Options, Row, run_child
from recbole_video import write_frame_store

_SIZES = (1_000_000, 10_000_000)
_ACTIONS, _WIDTH, _STEPS, _WARMUP = 8, 16, 30, 5


def measure(options: Options) -> Measurement:
    """Some in-batch steps of SASRec + CVA on each catalogue, the frames on disk."""
    result = Measurement("large_catalogue", "In-batch training as the catalogue grows, SASRec + CVA (M = 4)")
    sizes = [n // 100 for n in _SIZES] if options.small else _SIZES
    runs = {n: run_child(options, "large_catalogue.train", data_path=str(options.folder), n_items=n) for n in sizes}
    result.raw = runs
    first = runs[sizes[0]]
    for n, run in runs.items():
        result.rows += [
            Row(
                f"a step of 240 users in groups of 60, {n:,} items",
                f"{1e3 * run['step_seconds']:.0f} ms",
                f"{1e3 * first['step_seconds']:.0f} ms",
                first["step_seconds"] / run["step_seconds"],
            ),
            Row(
                f"until the first step, {n:,} items",
                f"{run['start_seconds']:.0f} s, {run['start_mb']:,.0f} MB",
                f"peak of the whole: {run['peak_mb']:,.0f} MB",
            ),
        ]
    result.notes.append(
        f"{_ACTIONS} actions of each user, one item in each; content of {_WIDTH} numbers, d = 64. Steps include the "
        "reading of content from disk."
    )
    return result


def train(data_path: str, n_items: int) -> dict[str, Any]:
    """Read the data set, take some steps and measure them."""
    name = _make(Path(data_path), n_items)
    started = perf_counter()
    with MemoryPeak() as memory:
        experiment = ours.prepare(
            data_path,
            name,
            train_batch_size=240,
            candidate_group=60,
            frames_on_device=False,
            hidden_size=64,
            inner_size=256,
        )
        trainer = ours.make_trainer(experiment)
        experiment.model.train()
        seconds, before = perf_counter() - started, memory.anonymous_mb
        steps = []
        for batch in islice(experiment.train, _STEPS):
            begun = perf_counter()
            trainer._train_step(batch)
            steps.append(perf_counter() - begun)
    return {
        "start_seconds": seconds,
        "start_mb": before,
        "step_seconds": median(steps[_WARMUP:]),
        "peak_mb": memory.rss_mb,
    }


def _make(folder: Path, n_items: int) -> str:
    """A data set in which each item occurs once, and a hundredth of them ten times more."""
    name = f"sparse-{n_items}"
    target = folder / name
    if (target / f"{name}.frames.json").is_file():  # written last
        return name
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(n_items)
    items = rng.permutation(np.concatenate([np.arange(n_items), rng.integers(0, n_items // 100, n_items // 9)]))
    items = items[: len(items) // _ACTIONS * _ACTIONS]
    columns = {
        "user_id:token": pd.Series(np.repeat(np.arange(len(items) // _ACTIONS), _ACTIONS) + 1),
        "item_id:token": pd.Series(items + 1),
        "timestamp:float": pd.Series(np.tile(np.arange(_ACTIONS), len(items) // _ACTIONS) + 1),
    }
    write_atomic_file(target / f"{name}.inter", columns)
    frames = rng.standard_normal((n_items, 1, _WIDTH), dtype=np.float32)
    tokens = [str(i + 1) for i in range(n_items)]
    write_frame_store(target / f"{name}.frames.npy", tokens, frames, vfm="synthetic", sampling="noise")
    return name
