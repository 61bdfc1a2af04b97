"""Optimisers and learning-rate schedules by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

_LEARNERS: dict[str, Callable[..., torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "rmsprop": torch.optim.RMSprop,
}
# The single-kernel form of these is several times faster; PyTorch 2.4 brought it to CPUs.
_FUSED = ("adam", "adamw")
_OF_A_DEVICE = ("fused", "capturable")
_FUSED_SINCE = {"cuda": (2, 0), "cpu": (2, 4)}


def make_optimizer(config: Any, parameters: Iterable[Any], is_recorded: bool = False) -> torch.optim.Optimizer:
    """The optimiser that ``learner``, ``learning_rate`` and ``weight_decay`` name.

    Args:
        config: The run's configuration.
        parameters: Parameters, or groups of them, which may have an ``lr`` and a ``weight_decay`` of their own.
        is_recorded: Whether its steps are recorded as CUDA graphs: it then reads its rates from the device's memory,
            where a schedule may change them between two replays.
    """
    name = config["learner"]
    options: dict[str, Any] = {"lr": config["learning_rate"], "weight_decay": config["weight_decay"]}
    since = _FUSED_SINCE.get(config["device"].type)
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    if name in _FUSED and since is not None and version >= since:
        options["fused"] = True
    optimizer = _LEARNERS[name](parameters, **options, **({"capturable": True} if is_recorded else {}))
    if is_recorded:
        _put_rates_on(optimizer, config["device"])
    return optimizer


def load_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Load a checkpoint's state; the run may go on on another device, recorded or not, as the optimiser was made."""
    as_made = [{name: group.get(name) for name in ("lr", *_OF_A_DEVICE)} for group in optimizer.param_groups]
    optimizer.load_state_dict(state)
    for group, made in zip(optimizer.param_groups, as_made, strict=True):
        group.update({name: made[name] for name in _OF_A_DEVICE})
        rate = float(group["lr"])
        group["lr"] = torch.full_like(made["lr"], rate) if isinstance(made["lr"], torch.Tensor) else rate


def _put_rates_on(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    for group in optimizer.param_groups:
        group["initial_lr"] = rate = group["lr"]  # a number, from which a schedule computes without asking the device
        group["lr"] = torch.tensor(rate, device=device)


def make_schedule(config: Any, optimizer: torch.optim.Optimizer, steps_per_epoch: int) -> LambdaLR:
    """The schedule that ``lr_scheduler`` names, after a linear warm-up over ``lr_warmup`` of all steps."""
    total = max(1, steps_per_epoch * config["epochs"])
    factor = partial(rate_factor, config["lr_scheduler"], total, config["lr_warmup"])
    return LambdaLR(optimizer, factor)


def rate_factor(name: str, total_steps: int, warmup: float, step: int) -> float:
    """What the learning rate is multiplied by at ``step``, counted from 0.

    Args:
        name: ``constant``, ``linear`` (to 0) or ``cosine`` (half a period, to 0).
        total_steps: Steps of the whole training.
        warmup: Share of them over which the factor rises from near 0 to 1.
        step: The step.
    """
    warmup_steps = round(warmup * total_steps)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    if name == "linear":
        return 1.0 - progress
    if name == "cosine":
        return 0.5 * (1.0 + math.cos(math.pi * progress))
    return 1.0
