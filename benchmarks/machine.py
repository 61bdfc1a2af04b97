"""What a result file says about the machine, the libraries and the code that it was measured with."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from benchmarks.common import ROOT

_LIBRARIES = ("torch", "recbole", "numpy", "pandas", "scipy")
_OPTIONAL = ("av", "transformers", "open_clip_torch", "decord", "lmdb", "safetensors")  # the extras video and bench


def describe() -> dict[str, Any]:
    """CPU, cores, memory, GPU, versions, commit and date, as plain values."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "gpu": gpu,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "libraries": {name: version(name) for name in (*_LIBRARIES, *filter(_is_installed, _OPTIONAL))},
        "commit": _commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _is_installed(name: str) -> bool:
    try:
        return bool(version(name))
    except PackageNotFoundError:
        return False


def kind(machine: dict[str, Any]) -> str:
    """Name of the result file: the GPU where there is one, else the CPU and its cores."""
    name = machine["gpu"] or f"{machine['cpu']} {machine['cores']} cores"
    return re.sub(r"[^a-z0-9]+", "-", re.sub(r"\(r\)|\(tm\)|cpu @.*ghz", "", name.lower())).strip("-")


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        names = re.findall(r"model name\s*:\s*(.+)", path.read_text())
        if names:
            return names[0]
    return platform.processor() or platform.machine()


def _commit() -> str:
    """The commit of this checkout, marked where files of the package differ from it."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD")
        changed = _git("status", "--porcelain", "--", "recbole_video", "properties", "dataset_tools", "benchmarks/*.py")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} with uncommitted changes" if changed else commit


def _git(*words: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


class OtherLoad:
    """How much of the processors other programs used within a ``with`` block.

    Attributes:
        share: Of all cores' time, what was busy and not ours or our children's; 0 to 1.
    """

    share = 0.0

    def __enter__(self) -> OtherLoad:
        self._busy, self._all = _cpu_seconds()
        self._own = _own_seconds()
        return self

    def __exit__(self, *error: object) -> None:
        busy, all_ = _cpu_seconds()
        others = (busy - self._busy) - (_own_seconds() - self._own)
        self.share = max(0.0, others) / max(1e-9, all_ - self._all)


def _cpu_seconds() -> tuple[float, float]:
    """Busy and all seconds of all processors since the start of the machine."""
    times = psutil.cpu_times()
    counted = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return counted - times.idle - getattr(times, "iowait", 0.0), counted


def _own_seconds() -> float:
    """Processor seconds of this process and of its children that have ended."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
