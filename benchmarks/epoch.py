"""Measurement 2, first half: one epoch of SASRec + CVA (M = 4) against RecBole's SASRec with ids."""

from __future__ import annotations

from statistics import median
from time import perf_counter
from typing import Any

from benchmarks import host, ours
from benchmarks.common import Measurement, Options, Row, Stamped, epoch_rows, peak_rss_mb, run_child
from benchmarks.microlens_shaped import NAME

_BATCH = 512
_HOST_STEPS, _WARMUP = 24, 4


def measure(options: Options) -> Measurement:
    """Train a whole epoch of ours, and some steps of RecBole's, its anomaly detection off and on."""
    result = Measurement("epoch", "One epoch on the same interactions, batches of 512, d = 384, L = 10")
    common = {"data_path": str(options.folder)}
    steps = 6 if options.small else _HOST_STEPS
    some = steps if options.small else None
    own = run_child(options, "epoch.train_ours", **common, batch_size=_BATCH, n_steps=some)
    authors = run_child(options, "epoch.train_ours", **common, batch_size=240, group=60, n_steps=some)
    fast = run_child(options, "epoch.train_host", **common, anomaly_detection=False, n_steps=steps)
    shipped = run_child(options, "epoch.train_host", **common, anomaly_detection=True, n_steps=steps)
    result.raw = {
        "ours": own,
        "ours, 240 in groups of 60": authors,
        "RecBole, anomaly detection off": fast,
        "RecBole as shipped": shipped,
    }
    result.rows += epoch_rows(own, fast, shipped, goal=5.0)
    result.rows.append(
        Row(
            "epoch of 240 users a step in groups of 60, against RecBole with anomaly detection off",
            f"{authors['epoch_seconds']:.0f} s",
            f"{fast['epoch_seconds']:.0f} s",
            fast["epoch_seconds"] / authors["epoch_seconds"],
            10.0,
        )
    )
    for what, run in (("batches of 512", own), ("240 in groups of 60", authors)):
        memory, ratio = f"{run['peak_mb']:,.0f} MB", fast["peak_mb"] / run["peak_mb"]
        result.rows.append(Row(f"peak memory of the process, {what}", memory, f"{fast['peak_mb']:,.0f} MB", ratio, 1.0))
    result.notes.append(
        f"The same {own['targets']:,} training targets on both sides (protocol recbole). Ours: {own['steps']} steps of "
        f"{_BATCH} user sequences, SASRec + CVA (M = 4), in-batch softmax, the whole epoch. RecBole: SASRec with ids, "
        f"{fast['steps']} steps of {_BATCH} prefix rows, softmax over the catalogue; its own training loop is timed "
        f"for {steps - _WARMUP} steps after {_WARMUP} others, loading included, and the median step "
        f"({fast['step_seconds']:.2f} s; as shipped {shipped['step_seconds']:.2f} s) is multiplied. RecBole as shipped "
        "switches on autograd's anomaly detection for the whole process when its sequential models are imported."
    )
    return result


def train_ours(data_path: str, batch_size: int, n_steps: int | None, group: int | None = None) -> dict[str, Any]:
    """One epoch by this package's trainer; the first ``n_steps`` of it, multiplied, when given."""
    experiment = ours.prepare(data_path, NAME, protocol="recbole", train_batch_size=batch_size, candidate_group=group)
    trainer = ours.make_trainer(experiment)
    loader = Stamped(experiment.train, n_steps)
    started = perf_counter()
    trainer._train_epoch(loader, 0)
    seconds = perf_counter() - started
    if n_steps is not None:
        seconds = median(loader.step_seconds(warmup=2)) * len(loader)
    return {
        "epoch_seconds": seconds,
        "step_seconds": median(loader.step_seconds(warmup=2)),
        "steps": len(loader),
        "targets": int((experiment.train.rows.length - 1).sum()),
        "peak_mb": peak_rss_mb(),
    }


def train_host(data_path: str, anomaly_detection: bool, n_steps: int) -> dict[str, Any]:
    """The first steps of an epoch by RecBole's trainer, multiplied."""
    options = {**host.LARGE_SASREC, "MAX_ITEM_LIST_LENGTH": 10, "train_batch_size": _BATCH}
    experiment = host.prepare(data_path, NAME, anomaly_detection, **options)
    loader = Stamped(experiment.train, n_steps)
    experiment.trainer._train_epoch(loader, 0)
    step = median(loader.step_seconds(warmup=min(_WARMUP, n_steps - 1)))
    return {
        "epoch_seconds": step * len(loader),
        "step_seconds": step,
        "steps": len(loader),
        "targets": len(experiment.train._dataset),
        "peak_mb": peak_rss_mb(),
    }
