"""What all measurements share: processes of their own, clocks, peak memory, rows of the result."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Options:
    """How a run of the benchmarks was asked for.

    Attributes:
        folder: Workspace: data sets, and whatever RecBole writes.
        threads: Threads of every process.
        seconds: Wall time that each side trains in the ``ml-100k`` measurement.
        epochs: Epochs that the GPU measurement times.
        small: Small data and few repeats, to try the programs out; its figures mean nothing.
    """

    folder: Path
    threads: int
    seconds: float
    epochs: int
    small: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a result table.

    Attributes:
        what: What was measured.
        ours: Our value with its unit.
        baseline: The value to compare with, and whose it is.
        ratio: How many times better ours is; None where there is nothing to divide.
        goal: The ratio to reach; None for a figure without a goal.
        met: Whether the goal is met, where it is not a ratio.
    """

    what: str
    ours: str
    baseline: str
    ratio: float | None = None
    goal: float | str | None = None
    met: bool | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without a goal."""
        if self.met is not None or not isinstance(self.goal, (int, float)) or self.ratio is None:
            return self.met
        return self.ratio >= self.goal


@dataclass
class Measurement:
    """The outcome of one measurement: a table, remarks on how it was taken, raw numbers."""

    name: str
    title: str
    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    raw: dict[str, Any] = field(default_factory=dict)


def epoch_rows(
    own: dict[str, Any], quick: dict[str, Any], shipped: dict[str, Any], goal: float | None = None
) -> list[Row]:
    """Seconds of an epoch beside RecBole's, without its anomaly detection (held to ``goal``) and with it."""
    sides = (("RecBole with anomaly detection off", quick, goal), ("RecBole as shipped", shipped, None))
    return [
        Row(
            f"epoch, against {label}",
            f"{own['epoch_seconds']:,.3g} s",
            f"{run['epoch_seconds']:,.0f} s",
            run["epoch_seconds"] / own["epoch_seconds"],
            to_reach,
        )
        for label, run, to_reach in sides
    ]


def run_child(
    options: Options, target: str, gpu: bool = False, python: str | Path = sys.executable, **arguments: Any
) -> dict[str, Any]:
    """Call ``module.function`` of this package in a fresh process and return its result.

    Args:
        options: How the benchmarks were asked for.
        target: ``module.function``, without the package's name.
        gpu: Let the process see the GPU.
        python: The interpreter, of another environment for other people's packages.
        arguments: Plain values for the function.
    """
    module, function = target.split(".")
    with tempfile.TemporaryDirectory() as folder:
        given, returned = Path(folder, "arguments.json"), Path(folder, "result.json")
        given.write_text(json.dumps(arguments))
        command = [str(python), "-m", "benchmarks.child", f"benchmarks.{module}", function]
        subprocess.run(
            [*command, str(given), str(returned)], env=_environment(options, gpu), cwd=options.folder, check=True
        )
        return json.loads(returned.read_text())


def _environment(options: Options, gpu: bool) -> dict[str, str]:
    environment = dict(os.environ)
    environment["PYTHONPATH"] = str(ROOT)
    environment["PYTHONWARNINGS"] = "ignore"  # RecBole's, about pandas
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment[name] = str(options.threads)
    if not gpu:
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def peak_rss_mb() -> float:
    """Most memory that this process has held at once.

    Where Linux tells, from the program itself: ``ru_maxrss`` starts at the size of the process
    that started it.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return _status_mb("VmHWM")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def _status_mb(name: str) -> float:
    text = Path("/proc/self/status").read_text()
    return int(text.partition(f"{name}:")[2].split()[0]) / 1024


class MemoryPeak:
    """Samples this process's memory within a ``with`` block.

    Attributes:
        before_mb: Resident memory on entry.
        rss_mb: Most resident memory within.
        anonymous_mb: Most memory that is not a file's: without what is mapped from disk.
    """

    def __init__(self, interval: float = 0.002) -> None:
        self.interval = interval
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemoryPeak:
        self.before_mb = self.rss_mb = _status_mb("VmRSS")
        self.anonymous_mb = _status_mb("RssAnon")
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.interval):
            self.rss_mb = max(self.rss_mb, _status_mb("VmRSS"))
            self.anonymous_mb = max(self.anonymous_mb, _status_mb("RssAnon"))


def time_each(
    steps: dict[str, Callable[[], Any]], turns: int, per_turn: dict[str, int], warms_up: bool = True
) -> dict[str, list[float]]:
    """Time functions in turns, so that a change of the machine's speed meets all of them.

    A turn starts with an untimed call: what another function has left in caches and in the memory
    allocator would otherwise be charged to this one, which never meets it when it runs alone.

    Args:
        steps: Name -> function.
        turns: Turns of each.
        per_turn: Name -> timed calls per turn.
        warms_up: Whether a turn starts with the untimed call; it may be left out for long ones.

    Returns:
        Name -> seconds of each call.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(turns):
        for name, step in steps.items():
            if warms_up:
                step()
            for _ in range(per_turn[name]):
                started = perf_counter()
                step()
                seconds[name].append(perf_counter() - started)
    return seconds


def medians(seconds: dict[str, list[float]]) -> dict[str, float]:
    """Median of each list."""
    return {name: median(values) for name, values in seconds.items()}


class Stamped:
    """The first batches of a loader, with the time at which each was asked for.

    Attributes:
        stamps: Times; differences between neighbours are whole steps, loading included.
    """

    def __init__(self, loader: Any, n_batches: int | None = None, seconds: float | None = None) -> None:
        self.loader = loader
        self.n_batches = n_batches
        self.seconds = seconds
        self.stamps: list[float] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.loader, name)

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self):
        for batch in self.loader:
            self.stamps.append(perf_counter())
            if self._is_enough():
                return
            yield batch
        self.stamps.append(perf_counter())

    def _is_enough(self) -> bool:
        if self.n_batches is not None and len(self.stamps) > self.n_batches:
            return True
        return self.seconds is not None and self.stamps[-1] - self.stamps[0] > self.seconds

    def step_seconds(self, warmup: int) -> list[float]:
        """Seconds of each step after the first ``warmup``."""
        pairs = zip(self.stamps[warmup:], self.stamps[warmup + 1 :], strict=False)
        return [after - before for before, after in pairs]
