"""RecTools' side of the comparison with peers: its SASRecModel, trained and asked by its own methods.

Runs in RecTools' own environment.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.common import peak_rss_mb
from benchmarks.peer_work import Sequences, Setting, StepClock, timed, write_lists


class _Clocked(lightning.Callback):
    def __init__(self, clock: StepClock) -> None:
        self.clock = clock

    def __deepcopy__(self, memo: dict[int, Any]) -> _Clocked:
        return self  # RecTools trains with a copy of the trainer

    def on_train_epoch_start(self, *_: Any) -> None:
        self.clock.begin()

    def on_train_batch_start(self, *_: Any) -> None:
        self.clock.stamp()

    def on_train_epoch_end(self, *_: Any) -> None:
        self.clock.stamp()


def train(sequences: str, lists: str, setting: dict[str, Any]) -> dict[str, Any]:
    """Train SASRecModel with its softmax over the catalogue, and make the lists of all users."""
    data, chosen, clock = Sequences.read(sequences), Setting(**setting), StepClock()
    lightning.seed_everything(chosen.seed, verbose=False)
    model = SASRecModel(
        n_blocks=chosen.blocks,
        n_heads=chosen.heads,
        n_factors=chosen.width,
        dropout_rate=chosen.dropout,
        session_max_len=chosen.length,
        loss="softmax",
        lr=chosen.learning_rate,
        batch_size=chosen.batch,
        recommend_torch_device="cpu",
    )
    model._trainer = _trainer(chosen, clock)  # as RecTools' documentation has it
    model.fit(_dataset(*data.without_last(2)))
    n_steps = -(-data.n_users // chosen.batch)
    known, users = _dataset(*data.without_last(1)), np.arange(data.n_users)
    top_seconds, table = timed(lambda: model.recommend(users, known, k=chosen.k, filter_viewed=True), chosen.repeats)
    write_lists(lists, table[Columns.User], table[Columns.Rank], table[Columns.Item], chosen.k)
    return {
        "epoch_seconds": clock.epoch_seconds(n_steps),
        "steps": n_steps,
        "top_seconds": top_seconds,
        "peak_mb": peak_rss_mb(),
        "parameters": sum(p.numel() for p in model.torch_model.parameters()),
    }


def _trainer(chosen: Setting, clock: StepClock) -> lightning.Trainer:
    """RecTools' default trainer, which tells the clock of each step."""
    return lightning.Trainer(
        max_epochs=chosen.epochs,
        min_epochs=chosen.epochs,
        limit_train_batches=chosen.n_steps,
        enable_progress_bar=False,
        enable_model_summary=False,
        logger=False,
        enable_checkpointing=False,
        accelerator="cpu",
        devices=1,
        callbacks=[_Clocked(clock)],
    )


def _dataset(users: np.ndarray, items: np.ndarray) -> Dataset:
    times = pd.to_datetime(np.arange(len(users)), unit="s")
    columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1, Columns.Datetime: times}
    return Dataset.construct(pd.DataFrame(columns))
