"""RecTools' side of the comparison with peers: its SASRecModel, trained and asked by its own methods.

Runs in RecTools' own environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as lightning
from rectools import Columns
from rectools.dataset import Dataset
from rectools.models import SASRecModel

from benchmarks.common import peak_rss_mb
from benchmarks.peer_work import EpochChoice, Sequences, Setting, StepClock, as_lists, timed, write_lists


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
    model = _model(chosen, _Clocked(clock))
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


class _AfterEpoch(lightning.Callback):
    def __init__(self, then: Callable[[], None]) -> None:
        self.then = then

    def __deepcopy__(self, memo: dict[int, Any]) -> _AfterEpoch:
        return self

    def on_train_epoch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        self.then()
        module.train()


def choose(sequences: str, lists: str, setting: dict[str, Any], in_windows: bool) -> dict[str, Any]:
    """Train as :func:`train` does, validate after each epoch, and write the best epoch's lists, histories ranked.

    RecTools trains on the last L + 1 items of a user. ``in_windows`` gives it what is before them, too, as users of
    their own that nothing is recommended to.
    """
    data, chosen = Sequences.read(sequences), Setting(**setting)
    users, known = np.arange(data.n_users), {n: _dataset(*data.without_last(n)) for n in (1, 2)}

    def lists_of(n: int) -> np.ndarray:
        model.is_fitted = True  # it says so only after the last epoch
        table = model.recommend(users, known[n], k=chosen.k, filter_viewed=False)
        return as_lists(table[Columns.User], table[Columns.Rank], table[Columns.Item], chosen.k)

    choice = EpochChoice(data, lists_of, lists)
    model = _model(chosen, _AfterEpoch(choice.end_epoch))
    windows = data.windows(chosen.length)
    windowed = np.arange(len(windows)).repeat([len(window) for window in windows]), np.concatenate(windows)
    model.fit(_dataset(*windowed) if in_windows else known[2])
    return {"valid": choice.curve, "parameters": sum(p.numel() for p in model.torch_model.parameters())}


def _model(chosen: Setting, callback: lightning.Callback) -> SASRecModel:
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
    model._trainer = _trainer(chosen, callback)  # as RecTools' documentation has it
    return model


def _trainer(chosen: Setting, callback: lightning.Callback) -> lightning.Trainer:
    """RecTools' default trainer with a callback."""
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
        callbacks=[callback],
    )


def _dataset(users: np.ndarray, items: np.ndarray) -> Dataset:
    times = pd.to_datetime(np.arange(len(users)), unit="s")
    columns = {Columns.User: users, Columns.Item: items, Columns.Weight: 1, Columns.Datetime: times}
    return Dataset.construct(pd.DataFrame(columns))
