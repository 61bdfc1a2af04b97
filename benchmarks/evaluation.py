"""Measurement 3: ranking the whole catalogue for all test users, against RecBole's evaluator."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch

from benchmarks import host, ours
from benchmarks.common import Measurement, MemoryPeak, Options, Row, run_child
from benchmarks.microlens_shaped import NAME
from recbole_video.training.schedule import make_optimizer

_METRICS = {
    "metrics": ["Hit", "NDCG", "MRR", "Recall", "Precision", "MAP"],
    "topk": [10, 20],
    "valid_metric": "NDCG@10",
    "metric_decimal_place": 5,
}
_OURS = {"item_encoder": "ID", "protocol": "recbole", "mask_history": False, **_METRICS}
# RecBole's default and a smaller batch; ours by its default and with scores bounded two ways.
_HOST_BATCHES = (4096, 512)
_TURNS = 3
_OWN_SETTINGS = {
    "defaults": {},
    "eval_memory_mb=16": {"eval_memory_mb": 16, "eval_batch_size": 4096},
    "eval_memory_mb=256": {"eval_memory_mb": 256, "eval_batch_size": 4096},
}


def measure(options: Options) -> Measurement:
    """Rank all users with the same weights on both sides, each time in a process of its own."""
    result = Measurement("evaluation", "Full-ranking evaluation of all test users, SASRec with ids")
    common = {"data_path": str(options.folder), "weights": str(options.folder / "sasrec.pth")}
    run_child(options, "evaluation.make_weights", **common)
    own, theirs = _run_in_turns(options, common)
    result.raw = {"ours": own, "RecBole": theirs}
    shipped, best = theirs[str(_HOST_BATCHES[0])], max(theirs.values(), key=_speed)
    result.rows += [
        _speed_row("at its default batch of 4096", own["defaults"], shipped, 5.0),
        _speed_row("at its faster batch size", own["defaults"], best, None),
        _metrics_row(own["defaults"], shipped),
        *(_memory_row(name, own, shipped) for name in own),
        Row(
            "peak memory of the process, data and model included",
            f"{own['defaults']['peak_mb']:,.0f} MB",
            f"{shipped['peak_mb']:,.0f} MB",
            shipped["peak_mb"] / own["defaults"]["peak_mb"],
        ),
    ]
    result.notes.append(
        "The same weights (some steps of training, which learn the popularity of items) in RecBole's SASRec and ours "
        "with ids; protocol recbole, no history masking; both give Hit, NDCG, MRR, Recall, Precision and MAP at 10 and "
        "20. Both sides ran in turns, three times; of each, the run of median speed is shown. RecBole's default batch "
        "is 4096 users; 512 suits a CPU better."
    )
    return result


def _speed_row(label: str, ours_run: dict[str, Any], run: dict[str, Any], goal: float | None) -> Row:
    return Row(
        f"users ranked per second, against RecBole {label}",
        f"{_speed(ours_run):,.0f}",
        f"{_speed(run):,.0f}",
        _speed(ours_run) / _speed(run),
        goal,
    )


def _metrics_row(ours_run: dict[str, Any], run: dict[str, Any]) -> Row:
    same = all(value == ours_run["metrics"][name.lower()] for name, value in run["metrics"].items())
    return Row(
        f"metrics of {run['users']:,} users, 5 decimals ({len(run['metrics'])} of them)",
        f"NDCG@10 {ours_run['metrics']['ndcg@10']}",
        f"NDCG@10 {run['metrics']['ndcg@10']}",
        goal="identical",
        met=same,
    )


def _memory_row(name: str, own: dict[str, Any], shipped: dict[str, Any]) -> Row:
    is_bounded = "=" in name
    return Row(
        f"memory that evaluation adds, ours with {name}",
        f"{own[name]['added_mb']:,.0f} MB",
        f"{shipped['added_mb']:,.0f} MB",
        shipped["added_mb"] / own[name]["added_mb"],
        goal="bounded by an option" if is_bounded else None,
        met=own["eval_memory_mb=16"]["added_mb"] < own["eval_memory_mb=256"]["added_mb"] if is_bounded else None,
    )


def _run_in_turns(options: Options, common: dict[str, str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Our runs by setting and RecBole's by batch size; of several, the one of median speed."""
    ours_runs: dict[str, list[Any]] = {name: [] for name in _OWN_SETTINGS}
    host_runs: dict[str, list[Any]] = {str(size): [] for size in _HOST_BATCHES}
    for turn in range(1 if options.small else _TURNS):
        for name, settings in _OWN_SETTINGS.items():
            if turn == 0 or name == "defaults":
                ours_runs[name].append(run_child(options, "evaluation.evaluate_ours", **common, settings=settings))
        for size in _HOST_BATCHES:
            host_runs[str(size)].append(run_child(options, "evaluation.evaluate_host", **common, batch_size=size))
    return tuple(
        {name: sorted(runs, key=_speed)[len(runs) // 2] for name, runs in side.items()}
        for side in (ours_runs, host_runs)
    )


def _speed(run: dict[str, Any]) -> float:
    return run["users_per_second"]


def make_weights(data_path: str, weights: str, n_steps: int = 12) -> dict[str, Any]:
    """Train ours a little, so that metrics are not those of chance, and save it for both sides."""
    experiment = ours.prepare(data_path, NAME, **_OURS, train_batch_size=256, loss_type="CE", learning_rate=0.003)
    optimizer = make_optimizer(experiment.config, experiment.model.parameters())
    experiment.model.train()
    for _, batch in zip(range(n_steps), experiment.train, strict=False):
        optimizer.zero_grad(set_to_none=True)
        experiment.model.calculate_loss(batch).backward()
        optimizer.step()
    torch.save(experiment.model.state_dict(), weights)
    return {}


def evaluate_ours(data_path: str, weights: str, settings: dict[str, Any]) -> dict[str, Any]:
    """Rank all test users with :func:`rank_targets`."""
    experiment = ours.prepare(data_path, NAME, **_OURS, **settings)
    experiment.model.load_state_dict(torch.load(weights))
    ours.make_trainer(experiment)
    _warm_up(experiment)
    with MemoryPeak() as memory:
        started = perf_counter()
        _, metrics = experiment.task.evaluate("test")
        seconds = perf_counter() - started
    return _outcome(len(experiment.test.rows), seconds, memory, metrics)


def _warm_up(experiment: ours.Experiment) -> None:
    """Start the threads on a catalogue of nothing but a few products."""
    with torch.no_grad():
        experiment.model(torch.ones(8, 10, dtype=torch.long), torch.full((8,), 10))


def evaluate_host(data_path: str, weights: str, batch_size: int) -> dict[str, Any]:
    """Rank all test users with RecBole's ``Trainer.evaluate``."""
    options = {**host.LARGE_SASREC, **_METRICS, "MAX_ITEM_LIST_LENGTH": 10, "eval_batch_size": batch_size}
    experiment = host.prepare(data_path, NAME, **options)
    experiment.model.load_state_dict(host_state(torch.load(weights)))
    with torch.no_grad():
        experiment.model(torch.ones(8, 10, dtype=torch.long), torch.full((8,), 10))
    with MemoryPeak() as memory:
        started = perf_counter()
        metrics = experiment.trainer.evaluate(experiment.test, load_best_model=False)
        seconds = perf_counter() - started
    return _outcome(len(experiment.test._dataset), seconds, memory, dict(metrics))


def host_state(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of our SASRec with ids under the names of RecBole's SASRec."""
    own, theirs = "item_embedding.encoder.table.weight", "item_embedding.weight"
    return {theirs if name == own else name: value for name, value in state.items()}


def _outcome(n_users: int, seconds: float, memory: MemoryPeak, metrics: dict[str, float]) -> dict[str, Any]:
    return {
        "users": n_users,
        "seconds": seconds,
        "users_per_second": n_users / seconds,
        "added_mb": memory.rss_mb - memory.before_mb,
        "peak_mb": memory.rss_mb,
        "metrics": metrics,
    }
