"""Cornac's side of the comparison with peers: its SASRec, trained and asked by its own methods.

Runs in Cornac's own environment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import numpy as np
from cornac.data import SequentialDataset
from cornac.models import SASRec
from cornac.models.sasrec import recom_sasrec

from benchmarks.common import peak_rss_mb
from benchmarks.peer_work import EpochChoice, Sequences, Setting, StepClock, timed, write_lists


def train(sequences: str, lists: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Train SASRec with its in-batch softmax, and make the lists of users one by one.

    A row of its batches has one target. A batch gets as many rows as ours has targets on average, so that both make
    as many steps of as many targets.
    """
    data, chosen, clock = Sequences.read(sequences), Setting(**setting), StepClock()
    batch = round(chosen.batch * data.n_targets / data.n_users)
    model = _model(chosen, batch)
    recom_sasrec.session_seq_iter = _clocked(recom_sasrec.session_seq_iter, clock, chosen.n_steps)
    known = _known(data)
    model.fit(known)
    n_steps = -(-data.n_targets // batch)
    asked = data.histories()[: chosen.n_slow]
    top_seconds, best = timed(lambda: _best(model, known, asked, chosen.k), chosen.repeats)
    rows = np.arange(len(asked)).repeat(chosen.k)
    write_lists(lists, rows, np.tile(np.arange(1, chosen.k + 1), len(asked)), best.ravel(), chosen.k)
    return {
        "epoch_seconds": clock.epoch_seconds(n_steps),
        "steps": n_steps,
        "rows_of_a_step": batch,
        "top_seconds": top_seconds * data.n_users / len(asked),
        "top_users": len(asked),
        "peak_mb": peak_rss_mb(),
        "parameters": sum(p.numel() for p in model.model.parameters()),
    }


def choose(sequences: str, lists: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Train as :func:`train` does, validate after each epoch, and write the best epoch's lists, histories ranked.

    A batch has as many rows as ours has targets, from windows.
    """
    data, chosen = Sequences.read(sequences), Setting(**setting)
    model, known = _model(chosen, data.rows_of_step(chosen)), _known(data)
    choice = EpochChoice(data, lambda n: _best(model, known, data.histories(n), chosen.k, with_seen=True), lists)
    recom_sasrec.session_seq_iter = _followed(recom_sasrec.session_seq_iter, choice.end_epoch)
    model.fit(known)
    return {"valid": choice.curve, "parameters": sum(p.numel() for p in model.model.parameters())}


def _model(chosen: Setting, batch: int) -> SASRec:
    return SASRec(
        embedding_dim=chosen.width,
        loss="ce",
        batch_size=batch,
        learning_rate=chosen.learning_rate,
        n_sample=0,
        n_epochs=chosen.epochs,
        max_len=chosen.length,
        num_blocks=chosen.blocks,
        num_heads=chosen.heads,
        dropout=chosen.dropout,
        seed=chosen.seed,
    )


def _known(data: Sequences) -> SequentialDataset:
    users, items = data.without_last(2)
    rows = zip(users.tolist(), users.tolist(), items.tolist(), range(len(users)), strict=True)
    return SequentialDataset.build(list(rows), fmt="USIT")


def _followed(batches: Callable[..., Iterator[Any]], then: Callable[[], None]) -> Callable[..., Iterator[Any]]:
    """The iterator of an epoch's batches, which calls ``then`` after the last step."""

    def iterate(*args: Any, **options: Any) -> Iterator[Any]:
        yield from batches(*args, **options)
        then()

    return iterate


def _clocked(batches: Callable[..., Iterator[Any]], clock: StepClock, n_steps: int | None) -> Callable[..., Any]:
    """The iterator of an epoch's batches, with the clock told of each, and cut short."""

    def iterate(*args: Any, **options: Any) -> Iterator[Any]:
        clock.begin()
        for batch in islice(batches(*args, **options), n_steps):
            clock.stamp()
            yield batch
        clock.stamp()

    return iterate


def _best(
    model: SASRec, known: SequentialDataset, histories: list[list[int]], k: int, with_seen: bool = False
) -> np.ndarray:
    """The best items of each history, [U, k], without what is in it, as Cornac's evaluation asks for them."""
    items = np.array(list(known.iid_map))
    lists = []
    for user, history in enumerate(histories):
        seen = [known.iid_map[item] for item in history if item in known.iid_map]
        others = np.delete(np.arange(known.num_items), [] if with_seen else seen)
        lists.append(items[model.rank(user, others, k=k, history_items=seen)[0][:k]])
    return np.stack(lists)
