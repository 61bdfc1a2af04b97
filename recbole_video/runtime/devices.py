"""Which device a run computes on."""

from __future__ import annotations

from typing import Any

import torch

from recbole_video.errors import ConfigError


def choose_device(gpu_id: Any, use_gpu: bool) -> torch.device:
    """The device that the options name.

    GPUs are counted among those that PyTorch sees, so that a ``CUDA_VISIBLE_DEVICES`` set by a scheduler holds. The
    environment is not changed: CUDA reads it once per process, and may have done so already.

    Args:
        gpu_id: A number, or several of which the first is taken; empty or -1 for the CPU.
        use_gpu: False for the CPU, whatever ``gpu_id`` is.

    Returns:
        The CPU too where no GPU is visible and the first one was asked for, as by default.

    Raises:
        ConfigError: If ``gpu_id`` is no number, or there is no such GPU.
    """
    index = _first_number(gpu_id) if use_gpu else None
    if index is None:
        return torch.device("cpu")
    n_visible = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if index < n_visible:
        return torch.device("cuda", index)
    if index == 0:
        return torch.device("cpu")
    found = f"GPUs 0 to {n_visible - 1} are" if n_visible > 1 else "GPU 0 alone is" if n_visible else "no GPU is"
    raise ConfigError(f"`gpu_id` is {index}, and {found} visible; choose another, or set use_gpu=False for the CPU.")


def listed(gpu_id: Any) -> str:
    """``gpu_id`` as RecBole writes it: numbers, separated by commas."""
    return ",".join(map(str, gpu_id)) if isinstance(gpu_id, (list, tuple)) else "" if gpu_id is None else str(gpu_id)


def make_current(device: torch.device) -> None:
    """Let what names no GPU use this one; RecBole's own models do."""
    if device.type == "cuda":
        torch.cuda.set_device(device)


def _first_number(gpu_id: Any) -> int | None:
    first = listed(gpu_id).split(",")[0].strip()
    if first in ("", "-1"):
        return None
    if not (first.isascii() and first.isdigit()):
        raise ConfigError(
            f"`gpu_id` is `{gpu_id}`; it must be a number, counted from 0 among the visible GPUs (the environment "
            "variable CUDA_VISIBLE_DEVICES hides others); use_gpu=False is the CPU."
        )
    return int(first)
