"""Sweeps: what parallel trials cost beyond the runs, start-up, memory of a second trial, RecBole's own search."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from time import perf_counter
from typing import Any

import numpy as np
import psutil
import yaml

from benchmarks import microlens_shaped
from benchmarks.common import ROOT, Measurement, Options, Row, run_child

TRIALS = 16
_PLAIN_RUNS = 4  # of the sixteen, which differ by rate and seed alone
_CORES = 2
_BASE = {
    "model": "SASRec", "item_encoder": "CVA", "dataset": "microvideo-demo", "hidden_size": 128, "inner_size": 256,
    "encoder_latent_dim": 64, "epochs": 8, "stopping_step": 99, "use_gpu": False,
}  # fmt: skip
_FEWER_USERS = microlens_shaped.Shape(n_users=20_000, n_interactions=143_881)  # all videos, an epoch in a minute
_RATES = (0.001, 0.0005)
_HYPER = {"model": "SASRec", "dataset": "microvideo-demo", "epochs": 3, "stopping_step": 99, "use_gpu": False,
          "train_batch_size": 256}  # fmt: skip
_HYPER_SPACE = "learning_rate choice [0.003,0.001]\nhidden_dropout_prob choice [0.1,0.3]\n"


def measure(options: Options) -> Measurement:
    """Run sweeps and the same runs by hand."""
    work = options.folder / "sweep-benchmark"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    measurement = Measurement("sweep", f"Sweeps of runs on {_CORES} cores, one thread per trial")
    _run(work, "--epochs=1", "--hidden_size=16", "--inner_size=16")  # makes the demo data
    _overhead(options, work, measurement)
    _memory(options, work, measurement)
    _against_run_hyper(options, work, measurement)
    return measurement


def _overhead(options: Options, work: Path, measurement: Measurement) -> None:
    n = 4 if options.small else TRIALS
    base = {**_BASE, "epochs": 1} if options.small else _BASE
    seeds = list(range(1, n // len(_RATES) + 1))
    (work / "overhead.yaml").write_text(
        yaml.safe_dump({"base": base, "space": {"learning_rate": list(_RATES)}, "seeds": seeds})
    )
    words = [f"--{name}={value}" for name, value in base.items()]
    plain = [
        _run(work, *words, f"--learning_rate={rate}", f"--seed={seed}")
        for seed in seeds[: _PLAIN_RUNS // len(_RATES)]
        for rate in _RATES
    ]
    expected = fmean(plain) * n / _CORES
    first: list[float] = []
    taken = _run(work, "--sweep=overhead.yaml", watch=lambda at, _: _note_first(work, at, first))
    measurement.rows += [
        Row(
            f"{n} trials, {_CORES} at a time, against the plain runs' sum divided by {_CORES}",
            f"{taken:.1f} s",
            f"{expected:.1f} s ({n} x {fmean(plain):.1f} s / {_CORES})",
            expected / taken,
            round(1 / 1.15, 2),
        ),
        Row(
            "from the command to the first trial's start",
            f"{first[0]:.1f} s",
            "",
            met=first[0] < 10,
            goal="< 10 s",
        ),
    ]
    measurement.raw["overhead"] = {"plain": plain, "sweep": taken, "start": first[0]}


def _memory(options: Options, work: Path, measurement: Measurement) -> None:
    """Proportional memory of everything that belongs to a sweep, while one trial trains and while two do."""
    data = work / "fewer-users"
    microlens_shaped.make(data, microlens_shaped.Shape(2_000, 14_388, 1_000) if options.small else _FEWER_USERS)
    base = {**_BASE, "dataset": microlens_shaped.NAME, "data_path": str(data), "epochs": 1}
    (work / "memory.yaml").write_text(yaml.safe_dump({"base": base, "seeds": [1, 2]}))
    peaks = {}
    for n in (1, 2):
        samples: list[dict[str, float]] = []
        _run(
            work, "--sweep=memory.yaml", f"--max_concurrent={n}", watch=lambda _, pid, to=samples: to.append(_pss(pid))
        )
        training = [s for s in samples if s["trials"] == n] or samples
        peaks[n] = max(training, key=lambda s: s["total"])
    first, second = peaks[1]["total"], peaks[2]["total"] - peaks[1]["total"]
    measurement.rows.append(
        Row(
            "memory that a second trial adds, against a sweep with one (proportional shares, MicroLens-shaped videos)",
            f"{second:,.0f} MB",
            f"{first:,.0f} MB",
            first / second,
            "well below",
            met=second < 0.6 * first,
        )
    )
    measurement.raw["memory_mb"] = {str(n): peak for n, peak in peaks.items()}


def _against_run_hyper(options: Options, work: Path, measurement: Measurement) -> None:
    (work / "space.hyper").write_text(_HYPER_SPACE)
    words = [f"--{name}={value}" for name, value in {**_HYPER, "model": "recbole:SASRec"}.items()]
    taken = _run(work, "--sweep=space.hyper", *words)
    theirs = run_child(options, "sweep.run_hyper", folder=str(work))
    measurement.rows.append(
        Row(
            "the same four runs of RecBole's SASRec by its own run_hyper (one after the other, all cores each)",
            f"{taken:.1f} s",
            f"{theirs['seconds']:.1f} s",
            theirs["seconds"] / taken,
            1.0,
        )
    )
    measurement.raw["run_hyper"] = {"ours": taken, "theirs": theirs}
    measurement.notes.append(
        "run_hyper is RecBole's HyperTuning with its own objective, less its call of tune.report, which current Ray "
        "refuses, and with a generator of random numbers that current hyperopt accepts."
    )


class _RandomState(np.random.RandomState):
    """RecBole's generator with the name by which current hyperopt calls `randint`."""

    integers = np.random.RandomState.randint


def run_hyper(folder: str) -> dict[str, Any]:
    """RecBole's exhaustive search over the space, in this process."""
    started = perf_counter()
    os.chdir(folder)
    from types import SimpleNamespace

    from recbole_video.runtime import recbole_compat

    recbole_compat.apply()
    import recbole.quick_start.quick_start as quick_start
    from recbole.trainer import HyperTuning

    quick_start.tune = SimpleNamespace(report=lambda **_: None)
    np.random.RandomState = _RandomState  # type: ignore[misc]
    options = {**_HYPER, "data_path": "dataset", "show_progress": False, "load_col": {
        "inter": ["user_id", "item_id", "timestamp"]}, "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO",
        "group_by": "user", "mode": "full"}, "metrics": ["Hit", "NDCG"], "topk": [10, 20], "valid_metric": "NDCG@10",
        "train_neg_sample_args": None}  # fmt: skip

    def objective(config_dict: dict[str, Any], config_file_list: list[str]) -> dict[str, Any]:
        return quick_start.objective_function({**options, **config_dict}, config_file_list, saved=False)

    search = HyperTuning(objective, algo="exhaustive", params_file="space.hyper", fixed_config_file_list=[])
    search.run()
    return {"seconds": perf_counter() - started, "runs": len(search.params2result)}


def _run(work: Path, *words: str, watch: Callable[[float, int], None] | None = None) -> float:
    """Seconds of the command in a process of its own, one thread per run."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    started = perf_counter()
    command = [sys.executable, str(ROOT / "run_recbole_video.py"), *words]
    with (work / "output.txt").open("a") as output:
        process = subprocess.Popen(command, cwd=work, env=environment, stdout=output, stderr=output)
        while process.poll() is None:
            if watch is not None:
                watch(perf_counter() - started, process.pid)
            time.sleep(0.1)
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)} failed: {(work / 'output.txt').read_text()[-2000:]}")
    return perf_counter() - started


def _note_first(work: Path, at: float, found: list[float]) -> None:
    if not found and any(work.glob("saved/sweeps/overhead-*/trials/*/trial.json")):
        found.append(at)


def _pss(pid: int) -> dict[str, float]:
    """MB of a process and all below it, memory that several share counted once; how many of them train."""
    try:
        everybody = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return {"total": 0.0, "trials": 0}
    shares = [_pss_of(process) for process in everybody]
    return {"total": sum(share for share, _ in shares), "trials": sum(is_trial for _, is_trial in shares)}


def _pss_of(process: psutil.Process) -> tuple[float, bool]:
    try:
        return process.memory_full_info().pss / 2**20, "ImplicitFunc" in process.name()
    except psutil.Error:  # it has ended
        return 0.0, False
