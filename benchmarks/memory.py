"""Measurement 5: peak memory of training by number of items, the frames on disk, and by batch size."""

from __future__ import annotations

import gc
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from benchmarks import microlens_shaped, ours
from benchmarks.common import Measurement, MemoryPeak, Options, Row, run_child

_ITEMS = (20_000, 40_000, 80_000)
_BATCHES = (60, 240, 960)
_STEPS = 12
# Growth below this share of what the frames themselves grow by: tokens and counts of the items.
_NEGLIGIBLE = 0.25
_USERS, _ACTIONS = 20_000, 143_881


def measure(options: Options) -> Measurement:
    """Train some steps on catalogues of three sizes, and with batches of three sizes on the first one."""
    result = Measurement("memory", "Peak memory of training, SASRec + CVA (M = 4), frames on disk")
    sizes = [n // 10 for n in _ITEMS] if options.small else _ITEMS
    by_items = {n: _train(options, n, _BATCHES[1], False) for n in sizes}
    held = {n: _train(options, n, _BATCHES[1], True) for n in sizes}
    by_batch = {size: _train(options, sizes[0], size, False) for size in _BATCHES}
    result.raw = {"by items": by_items, "by items, frames in memory": held, "by batch": by_batch}
    smallest = sizes[0]
    for n in sizes:
        run = by_items[n]
        grown = run["peak_mb"] - by_items[smallest]["peak_mb"]
        result.rows.append(
            Row(
                f"N = {n:,} items ({run['store_mb']:,.0f} MB of frames), batch {_BATCHES[1]}: on disk / held in memory",
                f"{run['peak_mb']:,.0f} MB",
                f"{held[n]['peak_mb']:,.0f} MB",
                held[n]["peak_mb"] / run["peak_mb"],
                goal="does not grow with F × N" if n != smallest else None,
                met=grown < _NEGLIGIBLE * (run["store_mb"] - by_items[smallest]["store_mb"]) if n != smallest else None,
            )
        )
    for size in _BATCHES:
        grown = by_batch[size]["peak_mb"] / by_batch[_BATCHES[0]]["peak_mb"]
        result.rows.append(
            Row(
                f"batch {size}, N = {sizes[0]:,}, on disk / the same with batch {_BATCHES[0]}",
                f"{by_batch[size]['peak_mb']:,.0f} MB",
                f"{by_batch[_BATCHES[0]]['peak_mb']:,.0f} MB",
                goal="grows with the batch" if size != _BATCHES[0] else None,
                met=grown > 1 if size != _BATCHES[0] else None,
            )
        )
    result.notes.append(
        f"Most memory that {_STEPS} steps take beyond what the process held before the data were loaded: "
        + (
            "what PyTorch has allocated on the GPU."
            if by_items[smallest]["device"] == "cuda"
            else "anonymous memory, so without the pages of the mapped store that the system may drop at any time."
        )
        + " Model, gradients and AdamW's state (8 million parameters) are in it; memory counts as "
        "not growing with the frames when it grows by less than a quarter of what they do: item tokens and counts do."
    )
    return result


def _train(options: Options, n_items: int, batch_size: int, held: bool) -> dict[str, Any]:
    return run_child(
        options,
        "memory.train",
        gpu=True,
        data_path=str(options.folder),
        n_items=n_items,
        batch_size=batch_size,
        held=held,
    )


def train(data_path: str, n_items: int, batch_size: int, held: bool) -> dict[str, Any]:
    """Some training steps on a data set of ``n_items`` items, and the memory they take."""
    name = _make(data_path, n_items)
    use_gpu = torch.cuda.is_available()
    gc.collect()
    with MemoryPeak() as memory:
        before = memory.anonymous_mb
        options = {"train_batch_size": batch_size, "frames_on_device": held, "use_gpu": use_gpu}
        experiment = ours.prepare(data_path, name, **options)
        trainer = ours.make_trainer(experiment)
        experiment.model.train()
        for batch in islice(experiment.train, _STEPS):
            trainer._train_step(batch.to(experiment.config["device"]))
    peak = torch.cuda.max_memory_allocated() / 2**20 if use_gpu else memory.anonymous_mb - before
    store = experiment.data.dataset.stores["frames"]
    return {
        "peak_mb": peak,
        "rss_mb": memory.rss_mb,
        "store_mb": store.nbytes / 2**20,
        "device": "cuda" if use_gpu else "cpu",
    }


def _make(data_path: str, n_items: int) -> str:
    """A data set of 20,000 users with as many items; returns its name."""
    name = f"items-{n_items}"
    shape = microlens_shaped.Shape(n_users=_USERS, n_interactions=_ACTIONS, n_items=n_items)
    microlens_shaped.make(Path(data_path), shape, name)
    return name
