"""Memory: how much this process may still take, and the most that a run has held."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import torch

# Per version of control groups: its files of limit and use, and what of memory.stat the system gives back at need.
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_V2 = ("memory.max", "memory.current", "inactive_file")


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that can be taken without swapping: of the machine, and of every control group that the process is in.

    A container, or a job of a scheduler, may have a small part of the machine. What the system tells of the whole
    would have it take more, and be killed.

    Args:
        root: Where ``proc`` and ``sys`` are.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups(root)]))


def _left_in_groups(root: Path) -> Iterator[int]:
    """What is left in each control group that has a limit; none elsewhere than on Linux."""
    for folder, (limit, used, reclaimable) in _groups(root):
        with suppress(OSError, ValueError):  # no such file, or `max`: no limit
            most = int((folder / limit).read_text(encoding="ascii"))
            yield most - int((folder / used).read_text(encoding="ascii")) + _statistic(folder, reclaimable)


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The process's groups and all above them: a limit holds for those below.

    In a container the file may name a path of the host; what is mounted there is the container's own group.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return
    mounted = root / "sys/fs/cgroup"
    for line in lines:
        number, _, rest = line.partition(":")
        controllers, _, name = rest.partition(":")
        if "memory" in controllers.split(","):
            top, names = mounted / "memory", _V1
        elif number == "0" and not controllers:
            top, names = mounted / "unified" if (mounted / "unified").is_dir() else mounted, _V2
        else:
            continue
        parts = [part for part in name.split("/") if part not in ("", "..")]
        for depth in range(len(parts), -1, -1):
            yield top.joinpath(*parts[:depth]), names


def _statistic(folder: Path, name: str) -> int:
    """A line of ``memory.stat``; 0 where it is missing."""
    with suppress(OSError, ValueError):
        for line in (folder / "memory.stat").read_text(encoding="ascii").splitlines():
            key, _, value = line.partition(" ")
            if key == name:
                return int(value)
    return 0


def reset_peak_memory(device: torch.device) -> None:
    """Before a run, so that its peak is not that of an earlier one in the same process; on Linux and on GPUs."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # the C library may be another than glibc
            ctypes.CDLL(None).malloc_trim(0)  # what earlier runs freed goes back to the system
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # elsewhere than on Linux there is no such file
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that the run has held: on the GPU where it ran on one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        peaks = [line.split()[1] for line in status.read_text(encoding="ascii").splitlines() if "VmHWM" in line]
        if peaks:
            return int(peaks[0]) / 2**10
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
