"""Measurement 1: one training step of SASRec + CVA (M = 4) against plain implementations."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from benchmarks import ours
from benchmarks.common import Measurement, Options, Row, medians, run_child, time_each
from benchmarks.microlens_shaped import NAME
from benchmarks.plain import FullCatalogueRecommender, PlainRecommender
from recbole_video.quick_start import make_config
from recbole_video.training.schedule import make_optimizer

_BATCHES = 8  # different ones, so that no single batch decides
_BATCH_SIZES = (60, 512)
_PLAIN, _LEAN, _FULL = "plain", "plain, padding not encoded", "the full catalogue encoded"
_TURNS = 4
_PER_TURN = {"ours": 10, _PLAIN: 5, _LEAN: 5, _FULL: 1}


def measure(options: Options) -> Measurement:
    """Time steps at both batch sizes, all implementations in turns in one process each."""
    result = Measurement("step", "Training step, SASRec + CVA (M = 4)")
    for size in _BATCH_SIZES:
        run = run_child(
            options,
            "step.time_steps",
            data_path=str(options.folder),
            batch_size=size,
            turns=1 if options.small else _TURNS,
        )
        result.raw[f"batch {size}"] = run
        seconds = medians(run["seconds"])
        for name, goal in ((_PLAIN, 2.5), (_LEAN, None), (_FULL, 20.0)):
            result.rows.append(
                Row(
                    f"step, batch {size}, against {name}",
                    f"{1000 * seconds['ours']:.0f} ms",
                    f"{1000 * seconds[name]:.0f} ms",
                    seconds[name] / seconds["ours"],
                    goal,
                )
            )
    result.notes += [
        "Forward, backward and the same fused AdamW step; medians of steps on the same batches, the implementations in "
        "turns; protocol microlens, dropout 0.1. Before timing, the plain losses are compared with ours on the same "
        "weights without dropout.",
        "Plain: every position of the batch encoded, padding included, as code does that stacks a batch's frames (the "
        "public MicroLens code, for one); full self-attention; one column of logits per occurrence; user states at all "
        "padded positions. Full catalogue: all items encoded with gradient, softmax over them.",
    ]
    return result


def time_steps(data_path: str, batch_size: int, turns: int) -> dict[str, Any]:
    """Seconds of each step by implementation, and how far their losses are apart."""
    options = {"train_batch_size": batch_size}
    experiment = ours.prepare(data_path, NAME, **options)
    own = make_config("SASRec", NAME, config_dict={"data_path": data_path, "loss_type": "CE", **options})
    host_config = own.host(device=experiment.config["device"])
    catalogue = experiment.data.catalogue
    model = experiment.model
    models = {
        "ours": model,
        _PLAIN: PlainRecommender(model, host_config, catalogue),
        _LEAN: PlainRecommender(model, host_config, catalogue, encodes_padding=False),
        _FULL: FullCatalogueRecommender(model, host_config, catalogue),
    }
    batches = [batch for _, batch in zip(range(_BATCHES), experiment.train, strict=False)]
    differences = _loss_differences(models, batches[0])
    steps = {name: partial(_step, m, _optimizer(experiment, m), _cycle(batches)) for name, m in models.items()}
    for m in models.values():
        m.train()
    torch.autograd.set_detect_anomaly(False)  # RecBole's import leaves it on
    return {"seconds": time_each(steps, turns, _PER_TURN), "loss_difference": differences}


def _loss_differences(models: dict[str, Any], batch: Any) -> dict[str, float]:
    """Relative difference of each plain loss from ours, without dropout."""
    for model in models.values():
        model.eval()
    differences = {}
    for name in (_PLAIN, _LEAN, _FULL):
        models["ours"].loss_type = "CE" if name == _FULL else "in_batch"
        wanted = models["ours"].calculate_loss(batch).item()
        differences[name] = abs(models[name].calculate_loss(batch).item() - wanted) / wanted
        if differences[name] > 1e-5:
            raise RuntimeError(f"The loss of `{name}` is not ours: relative difference {differences[name]:.1e}.")
    models["ours"].loss_type = "in_batch"
    return differences


def _optimizer(experiment: ours.Experiment, model: nn.Module) -> torch.optim.Optimizer:
    return make_optimizer(experiment.config, model.parameters())


def _step(model: Any, optimizer: torch.optim.Optimizer, batches: Any) -> None:
    optimizer.zero_grad(set_to_none=True)
    model.calculate_loss(next(batches)).backward()
    optimizer.step()


def _cycle(batches: list[Any]):
    while True:
        yield from batches
