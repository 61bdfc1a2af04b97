"""Measurement 2, second half: from the start of a run to its first batch, against RecBole's pipeline.

Imports are inside the functions, because they are a part of what is measured.
"""

from __future__ import annotations

from statistics import median
from time import perf_counter, time

from benchmarks.common import Measurement, Options, Row, peak_rss_mb, run_child
from benchmarks.microlens_shaped import NAME


def measure(options: Options) -> Measurement:
    """Start both sides in turns, each in a fresh process."""
    result = Measurement("startup", "Start to first step: load, filter, split, build")
    runs: dict[str, list[dict[str, float]]] = {"start_ours": [], "start_ours_with_ids": [], "start_host": []}
    for _ in range(1 if options.small else 3):
        for function, outcomes in runs.items():
            outcomes.append(run_child(options, f"startup.{function}", data_path=str(options.folder), spawned=time()))
    result.raw = runs
    medians = {name: {k: median(run[k] for run in out) for k in out[0]} for name, out in runs.items()}
    theirs = medians["start_host"]
    for function, label in (("start_ours", "SASRec + CVA"), ("start_ours_with_ids", "SASRec with ids")):
        own = medians[function]
        goals = (4.0, None, 1.0) if function == "start_ours" else (None, None, None)
        for key, what, unit, goal in (
            ("seconds", "load, filter, split, build, first batch", "s", goals[0]),
            ("seconds_with_imports", "the same from the start of the process, imports included", "s", goals[1]),
            ("peak_mb", "peak memory of the process until then", "MB", goals[2]),
        ):
            digits = 2 if unit == "s" else 0
            result.rows.append(
                Row(
                    f"{label}: {what}",
                    f"{own[key]:,.{digits}f} {unit}",
                    f"{theirs[key]:,.{digits}f} {unit}",
                    theirs[key] / own[key],
                    goal,
                )
            )
    result.notes.append(
        f"Medians of {len(runs['start_host'])} fresh processes on each side, in turns, the files warm in the page "
        "cache. RecBole reads no frames; ours with CVA also maps the frame store, checks its checksum and holds it in "
        "memory."
    )
    return result


def start_ours(data_path: str, spawned: float) -> dict[str, float]:
    """This package's pipeline for SASRec + CVA on the interactions RecBole has."""
    return _start_ours(data_path, spawned, item_encoder="CVA")


def start_ours_with_ids(data_path: str, spawned: float) -> dict[str, float]:
    """The same without frames."""
    return _start_ours(data_path, spawned, item_encoder="ID")


def _start_ours(data_path: str, spawned: float, item_encoder: str) -> dict[str, float]:
    from benchmarks import ours
    from recbole_video.runtime import recbole_compat

    recbole_compat.apply()  # imports RecBole's models and trainer
    started = perf_counter()
    options = {"protocol": "recbole", "train_batch_size": 512, "item_encoder": item_encoder}
    experiment = ours.prepare(data_path, NAME, **options)
    next(iter(experiment.train))
    return _outcome(started, spawned)


def start_host(data_path: str, spawned: float) -> dict[str, float]:
    """RecBole's pipeline for SASRec."""
    from benchmarks import host
    from recbole_video.runtime import recbole_compat

    recbole_compat.apply()
    started = perf_counter()
    options = {"MAX_ITEM_LIST_LENGTH": 10, "train_batch_size": 512}
    experiment = host.prepare(data_path, NAME, **host.LARGE_SASREC, **options)
    next(iter(experiment.train))
    return _outcome(started, spawned)


def _outcome(started: float, spawned: float) -> dict[str, float]:
    return {
        "seconds": perf_counter() - started,
        "seconds_with_imports": time() - spawned,
        "peak_mb": peak_rss_mb(),
    }
