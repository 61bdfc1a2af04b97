"""Measurement: SASRec with ids beside RecTools' and Cornac's, training and the best 20 items of every user."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from recbole_video.dataset_tools import prepare

from benchmarks import environments, ours
from benchmarks.common import Measurement, Options, Row, Stamped, peak_rss_mb, run_child
from benchmarks.microlens_shaped import NAME as SHAPED
from benchmarks.peer_work import Sequences, Setting, StepClock, quality, timed, write_lists
from recbole_video.serving.recommender import Recommender

_REAL = "ml-100k"
_SETTINGS = {
    _REAL: Setting(width=64, length=50, batch=32, dropout=0.2, epochs=8, n_steps=None, repeats=3, n_slow=None),
    SHAPED: Setting(width=384, length=10, batch=60, dropout=0.1, epochs=1, n_steps=24, repeats=1, n_slow=500),
}


@dataclass(frozen=True)
class _Peer:
    """Another library, and our loss of the same family.

    Attributes:
        label: Its name and version.
        module: What runs it.
        requirement: What is installed.
        loss: Our options that are the loss which it is trained with.
        about: That loss, in words.
    """

    label: str
    module: str
    requirement: str
    loss: dict[str, Any]
    about: str


_PEERS = (
    _Peer("RecTools 0.19.0", "peer_rectools", "rectools[torch]==0.19.0", {"loss_type": "CE"}, "softmax over all items"),
    _Peer(
        "Cornac 3.0.1", "peer_cornac", "cornac==3.0.1", {"loss_type": "in_batch", "logq_power": 0.0}, "in-batch softmax"
    ),
)


def measure(options: Options) -> Measurement:
    """Train ours and theirs in turns, with the same loss, each in a process of its own."""
    result = Measurement("peers", "SASRec with ids beside RecTools and Cornac")
    prepare(_REAL, options.folder / _REAL)
    for dataset, setting in _SETTINGS.items():
        chosen = replace(setting, epochs=1, n_steps=6, repeats=1, n_slow=50) if options.small else setting
        about = _export(options, dataset, chosen)
        for peer in _PEERS:
            runs = _run_both(options, dataset, chosen, peer)
            result.raw[f"{dataset}, {peer.label}"] = runs
            result.rows += _rows(dataset, peer, runs, is_real=dataset == _REAL)
        result.notes.append(_about_data(dataset, chosen, about))
    result.notes += _ABOUT
    return result


def _export(options: Options, dataset: str, chosen: Setting) -> dict[str, int]:
    paths = {"data_path": str(options.folder), "sequences": _path(options, dataset, "npz")}
    return run_child(options, "peers.export", **paths, dataset=dataset, setting=asdict(chosen))


def _path(options: Options, dataset: str, suffix: str) -> str:
    return str(options.folder / f"peers-{dataset}.{suffix}")


def _run_both(options: Options, dataset: str, chosen: Setting, peer: _Peer) -> dict[str, Any]:
    name = peer.label.replace(" ", "-").lower()
    python = environments.python_of(name, (peer.requirement, f"torch=={torch.__version__}"))
    common = {"sequences": _path(options, dataset, "npz"), "setting": asdict(chosen)}
    mine, its = _path(options, dataset, "ours.npy"), _path(options, dataset, "peer.npy")
    place = {"data_path": str(options.folder), "dataset": dataset, "loss": peer.loss}
    own = run_child(options, "peers.train_ours", **common, **place, lists=mine)
    other = run_child(options, f"{peer.module}.train", python=python, **common, lists=its)
    targets = Sequences.read(common["sequences"]).targets
    for run, path in ((own, mine), (other, its)):
        lists = np.load(path)
        run.update(quality(lists, targets[: len(lists)]))
    return {"ours": own, peer.label: other}


def _rows(dataset: str, peer: _Peer, runs: dict[str, Any], is_real: bool) -> list[Row]:
    own, other = runs.values()
    what = f"{dataset}, against {peer.label}, {peer.about}"
    rows = [
        _faster(f"{what}: an epoch", "epoch_seconds", own, other),
        _faster(f"{what}: the best 20 of all users", "top_seconds", own, other),
        Row(
            f"{what}: peak memory of the process",
            f"{own['peak_mb']:,.0f} MB",
            f"{other['peak_mb']:,.0f} MB",
            other["peak_mb"] / own["peak_mb"],
        ),
    ]
    return [*rows, _as_good(what, own, other)] if is_real else rows


def _faster(what: str, key: str, own: dict[str, Any], other: dict[str, Any]) -> Row:
    return Row(what, f"{own[key]:,.3g} s", f"{other[key]:,.3g} s", other[key] / own[key], 1.0)


def _as_good(what: str, own: dict[str, Any], other: dict[str, Any]) -> Row:
    cells = [f"{100 * run['hr@10']:.2f}, {100 * run['ndcg@10']:.2f}" for run in (own, other)]
    is_met = own["ndcg@10"] >= other["ndcg@10"]
    ratio = own["ndcg@10"] / max(other["ndcg@10"], 1e-9)
    return Row(f"{what}: HR@10, NDCG@10 of these lists, × 100", *cells, ratio, "NDCG not lower", met=is_met)


def _about_data(dataset: str, chosen: Setting, about: dict[str, int]) -> str:
    trained = f"{chosen.epochs} whole epochs" if chosen.n_steps is None else f"{chosen.n_steps} steps, the median times"
    steps = "" if chosen.n_steps is None else " those of an epoch"
    asked = "all users" if chosen.n_slow is None else f"the first {chosen.n_slow:,} users, multiplied"
    return (
        f"{dataset}: {about['users']:,} users, {about['targets']:,} training targets, {about['items']:,} items; width "
        f"{chosen.width}, {chosen.heads} heads, {chosen.blocks} blocks, L = {chosen.length}, dropout {chosen.dropout}, "
        f"{chosen.batch} users a step, Adam at {chosen.learning_rate}; {trained}{steps}. Lists: ours and RecTools' of "
        f"all users, Cornac's of {asked}. The median of {chosen.repeats}."
    )


_ABOUT = [
    "All sides read the same sequences, cut to the last L + 3 actions of each user (protocol microlens): the last "
    "tests, the last but one is in the histories only, the others train. What is in a history is not recommended. "
    "HR and NDCG are computed from the lists by one function; on the synthetic data they would mean nothing.",
    "RecTools' SASRecModel has a softmax over the catalogue, BCE, gBCE and a sampled softmax; the first is our "
    "loss_type=CE. Cornac's SASRec has softmax, BCE, BPR, BPR-max and TOP1, all over the targets of the batch and some "
    "sampled items; its softmax without sampled items (by default it adds 2048) is our in_batch without the "
    "popularity correction. Ours leaves the items of a user's own sequence out of the negatives, Cornac's does not.",
    "RecTools trains, as ours, on all positions of a user's sequence. Cornac trains on one row for each target: its "
    "batch has as many rows as ours has targets, so that both make as many steps.",
    "Lists: Recommender.recommend here; model.recommend of RecTools; of Cornac, whose SASRec scores one history "
    "at a time, model.rank for each user. Feed-forward layers are as wide as the model and have a ReLU on all sides; "
    "layer normalisation comes after the residual in ours (RecBole's), before it in theirs. The same PyTorch on all "
    "sides.",
]


# -- in a process of its own -----------------------------------------------------------------------


def export(data_path: str, dataset: str, setting: dict[str, Any], sequences: str) -> dict[str, int]:
    """Write what all sides read."""
    experiment = _prepare(data_path, dataset, Setting(**setting), {"loss_type": "CE"})
    rows = experiment.test.rows
    bounds = list(zip(rows.first, rows.end + 1, strict=True))
    if any(end != start for (_, end), (start, _) in pairwise(bounds)):
        raise ValueError("The users' actions do not lie one after the other.")
    start = np.append(rows.first, len(experiment.data.actions.items))
    found = Sequences(experiment.data.actions.items, start)
    found.write(sequences)
    return {"users": found.n_users, "targets": found.n_targets, "items": experiment.data.catalogue.item_num - 1}


def train_ours(
    data_path: str, dataset: str, setting: dict[str, Any], loss: dict[str, Any], sequences: str, lists: str
) -> dict[str, Any]:
    """Train by this package's trainer, and make the lists of all users by its serving interface."""
    chosen, clock = Setting(**setting), StepClock()
    experiment = _prepare(data_path, dataset, chosen, loss)
    trainer = ours.make_trainer(experiment)
    loader = Stamped(experiment.train, chosen.n_steps)
    trainer._train_step = _clocked(trainer._train_step, clock)  # type: ignore[method-assign]
    for epoch in range(chosen.epochs):
        clock.begin()
        trainer._train_epoch(loader, epoch)
        clock.stamp()
    tokens = [str(token) for token in experiment.data.dataset.item_tokens]
    recommender = Recommender(experiment.model, experiment.config, tokens, None)
    histories = {
        user: [tokens[item] for item in history] for user, history in enumerate(Sequences.read(sequences).histories())
    }
    top_seconds, table = timed(lambda: recommender.recommend(histories, k=chosen.k), chosen.repeats)
    id_of = {token: item for item, token in enumerate(tokens)}
    items = [id_of[token] for token in table["item_id"]]
    write_lists(lists, table["user_id"].to_numpy(int), table["rank"], items, chosen.k)
    return {
        "epoch_seconds": clock.epoch_seconds(len(experiment.train)),
        "steps": len(experiment.train),
        "top_seconds": top_seconds,
        "peak_mb": peak_rss_mb(),
        "parameters": experiment.model.parameter_counts()["model"],
    }


def _prepare(data_path: str, dataset: str, chosen: Setting, loss: dict[str, Any]) -> ours.Experiment:
    return ours.prepare(
        data_path,
        dataset,
        item_encoder="ID",
        protocol="microlens",
        learner="adam",
        train_batch_size=chosen.batch,
        **chosen.sasrec_options(),
        **loss,
    )


def _clocked(step: Any, clock: StepClock) -> Any:
    def timed_step(interaction: Any) -> Any:
        clock.stamp()
        return step(interaction)

    return timed_step
