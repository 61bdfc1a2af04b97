"""What a result was made with: code, libraries, machine."""

from __future__ import annotations

import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

import recbole_video

_LIBRARIES = (
    "recbole",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "ray",
    "optuna",
)


def provenance() -> dict[str, Any]:
    """Versions, commit and machine: what is needed to redo a run."""
    found = [f"{name} {known}" for name in _LIBRARIES if (known := _version(name))]
    return {
        "recbole_video": recbole_video.__version__,
        "commit": _commit(),
        "python": platform.python_version(),
        # PyTorch's own word tells its build (+cpu, +cu130), which its wheel's name may leave out.
        "libraries": ", ".join([f"torch {torch.__version__}", *found]),
        "machine": ", ".join([f"{platform.system()} {platform.machine()}", *_processor(), *_resources()]),
    }


def _version(library: str) -> str | None:
    try:
        return version(library)
    except PackageNotFoundError:
        return None


def _processor() -> list[str]:
    """Its name; Linux tells it in a file."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return [line.partition(":")[2].strip()]
    return [name] if (name := platform.processor()) else []


def _resources() -> list[str]:
    memory = psutil.virtual_memory().total / 2**30
    gpu = [torch.cuda.get_device_name()] if torch.cuda.is_available() else []
    return [f"{os.cpu_count()} cores of which {torch.get_num_threads()} used", f"{memory:.0f} GiB", *gpu]


def _commit() -> str | None:
    """The checkout's commit, with ``+`` for uncommitted changes; None for an installed package."""
    root = Path(recbole_video.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.strip() + ("+" if changed.stdout.strip() else "")
