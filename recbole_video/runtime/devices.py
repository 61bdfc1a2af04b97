"""Which device a run computes on."""

from __future__ import annotations

from typing import Any

import torch

from recbole_video.errors import ConfigError
from recbole_video.runtime.processes import local_rank


def choose_device(gpu_id: Any, use_gpu: bool, n_processes: int = 1) -> torch.device:
    """The device that the options name for this process.

    GPUs are counted among those that PyTorch sees, so that a ``CUDA_VISIBLE_DEVICES`` set by a scheduler holds. The
    environment is not changed: CUDA reads it once per process, and may have done so already.

    Args:
        gpu_id: A number, or several of which the first is taken; empty or -1 for the CPU.
        use_gpu: False for the CPU, whatever ``gpu_id`` is.
        n_processes: Processes on this machine that train together: each takes one of the GPUs that are named, or the
            one of its number where a single one is.

    Returns:
        The CPU too where no GPU is visible and the first one was asked for, as by default.

    Raises:
        ConfigError: If ``gpu_id`` is no number, or there is no such GPU.
    """
    named = _numbers(gpu_id) if use_gpu else []
    if not named:
        return torch.device("cpu")
    if n_processes > 1 and len(named) == 1:
        named = list(range(n_processes))
    if len(named) < n_processes:
        raise ConfigError(f"`nproc` is {n_processes}, and `gpu_id` names {len(named)} GPUs; name one for each process.")
    n_visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if n_visible == 0 and named[0] == 0:
        return torch.device("cpu")
    index = named[local_rank()] if n_processes > 1 else named[0]
    wanted = max(named[:n_processes])
    if wanted < n_visible:
        return torch.device("cuda", index)
    found = f"GPUs 0 to {n_visible - 1} are" if n_visible > 1 else "GPU 0 alone is" if n_visible else "no GPU is"
    what = f"`gpu_id` is {wanted}" if n_processes == 1 else f"`nproc` is {n_processes}"
    raise ConfigError(f"{what}, and {found} visible; choose another, or set use_gpu=False for the CPU.")


def listed(gpu_id: Any) -> str:
    """``gpu_id`` as RecBole writes it: numbers, separated by commas."""
    return ",".join(map(str, gpu_id)) if isinstance(gpu_id, (list, tuple)) else "" if gpu_id is None else str(gpu_id)


def make_current(device: torch.device) -> None:
    """Let what names no GPU use this one; RecBole's own models do."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _numbers(gpu_id: Any) -> list[int]:
    """The GPUs that are named; none for the CPU."""
    words = [word.strip() for word in listed(gpu_id).split(",")]
    if words[0] in ("", "-1"):
        return []
    for word in words:
        if not (word.isascii() and word.isdigit()):
            raise ConfigError(
                f"`gpu_id` is `{gpu_id}`; it must be a number, counted from 0 among the visible GPUs (the environment "
                "variable CUDA_VISIBLE_DEVICES hides others); use_gpu=False is the CPU."
            )
    return [int(word) for word in words]
