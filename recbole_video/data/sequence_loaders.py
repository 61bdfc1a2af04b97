"""Batches of training sequences and of histories to evaluate, as RecBole ``Interaction`` objects."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_video.data.protocols import Rows
from recbole_video.data.sequences import Actions

# Fields beside RecBole's own (item_id_list, item_length, item_id, user_id).
TARGET_LIST = "target_list"  # [B, L] the item after each position, 0 where there is none
SEQUENCE = "sequence_list"  # [B, W] every item of the user's training sequence, in order


@dataclass(frozen=True)
class FieldNames:
    """RecBole's field names under the run's configuration."""

    user: str
    item: str
    item_list: str
    item_length: str

    @classmethod
    def of(cls, config: Any) -> FieldNames:
        item = config["ITEM_ID_FIELD"]
        return cls(config["USER_ID_FIELD"], item, item + config["LIST_SUFFIX"], config["ITEM_LIST_LENGTH_FIELD"])


class SequenceLoader:
    """Training batches: one row per user sequence, a target at every position.

    Rows of a batch are sorted by length, so that parts of it can be trimmed to their longest.

    Args:
        config: The run's configuration.
        actions: The sorted actions and their split.
    """

    def __init__(self, config: Any, actions: Actions) -> None:
        self.names = FieldNames.of(config)
        self.actions = actions
        self.rows = self._make_rows(actions.split.train, config["MAX_ITEM_LIST_LENGTH"])
        self.max_history = config["MAX_ITEM_LIST_LENGTH"]
        self.batch_size = config["train_batch_size"]
        self.seed = config["seed"]
        self.shuffle = config["shuffle"]
        self.epoch = 0

    def _make_rows(self, train: Rows, max_history: int) -> Rows:
        return train

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the same seed and epoch give the same order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[Interaction]:
        order = np.arange(len(self.rows))
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        for start in range(0, len(order), self.batch_size):
            index = order[start : start + self.batch_size]
            yield self.batch(index[np.argsort(self.rows.length[index], kind="stable")])

    def batch(self, index: np.ndarray) -> Interaction:
        """The training batch of some rows: fields as in this module's head, plus RecBole's own."""
        rows = self.rows.take(index)
        sequence = padded(self.actions.items, rows.start, rows.length, self.max_history + 1)
        length = torch.from_numpy(rows.length - 1)
        history = sequence[:, :-1] * (torch.arange(self.max_history) < length[:, None])
        return Interaction(
            {
                self.names.user: torch.from_numpy(self.actions.users[rows.start]),
                self.names.item_list: history,
                self.names.item_length: length,
                self.names.item: sequence.gather(1, length[:, None])[:, 0],
                TARGET_LIST: sequence[:, 1:],
                SEQUENCE: sequence,
            }
        )


class PrefixLoader(SequenceLoader):
    """Training batches as RecBole makes them: one row per prefix, its last position the target.

    For models that are not causal, or read the last position only. The rows' ``sequence_list``
    holds the user's later training items too, so that none of them becomes a negative.
    """

    def _make_rows(self, train: Rows, max_history: int) -> Rows:
        n_prefixes = train.length - 1
        window = np.repeat(np.arange(len(train)), n_prefixes)
        within = np.arange(len(window)) - np.repeat(np.cumsum(n_prefixes) - n_prefixes, n_prefixes)
        target = train.start[window] + within + 1
        start = np.maximum(train.first[window], target - max_history)
        self._sequence_length = train.end[window] - start
        return Rows(start, target - start, train.first[window])

    def batch(self, index: np.ndarray) -> Interaction:
        rows = self.rows.take(index)
        return Interaction(
            {
                self.names.user: torch.from_numpy(self.actions.users[rows.start]),
                self.names.item_list: padded(self.actions.items, rows.start, rows.length, self.max_history),
                self.names.item_length: torch.from_numpy(rows.length),
                self.names.item: torch.from_numpy(self.actions.items[rows.end]),
                SEQUENCE: padded(
                    self.actions.items, rows.start, self._sequence_length[index], 2 * self.max_history + 1
                ),
            }
        )


@dataclass(frozen=True)
class EvalBatch:
    """Users to rank the catalogue for.

    Attributes:
        index: [B] rows of the evaluated part that these are.
        interaction: Histories and target item, as RecBole's models read them.
        seen: Rows of the batch [S] and an item id that each has seen before its target [S], int64;
            None where the protocol ranks them.
    """

    index: np.ndarray
    interaction: Interaction
    seen: tuple[Tensor, Tensor] | None


class HistoryLoader:
    """Evaluation batches, rows in order of length so that padding is short.

    Args:
        config: The run's configuration.
        actions: The sorted actions.
        rows: The part's histories; the action after each is the target.
        n_items: Items to rank, padding included; bounds the batch by ``eval_memory_mb``.
        trim: Cut the padding that a whole batch has; for models that do not depend on it.
    """

    def __init__(self, config: Any, actions: Actions, rows: Rows, n_items: int, trim: bool) -> None:
        self.names = FieldNames.of(config)
        self.actions = actions
        self.rows = rows
        self.n_items = n_items
        self.max_history = config["MAX_ITEM_LIST_LENGTH"]
        self.trim = trim
        self.mask_history = config["mask_history"]
        fitting = int(config["eval_memory_mb"] * 2**20 // (4 * n_items))
        self.batch_size = max(1, min(config["eval_batch_size"], fitting))

    @property
    def targets(self) -> np.ndarray:
        """Target item id of each row, [R] int64."""
        return self.actions.items[self.rows.end]

    @property
    def users(self) -> np.ndarray:
        """User id of each row, [R] int64."""
        return self.actions.users[self.rows.start]

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[EvalBatch]:
        order = np.argsort(self.rows.length, kind="stable")
        for start in range(0, len(order), self.batch_size):
            yield self.batch(order[start : start + self.batch_size])

    def batch(self, index: np.ndarray) -> EvalBatch:
        rows = self.rows.take(index)
        width = int(rows.length.max()) if self.trim else self.max_history
        interaction = Interaction(
            {
                self.names.user: torch.from_numpy(self.actions.users[rows.start]),
                self.names.item_list: padded(self.actions.items, rows.start, rows.length, width),
                self.names.item_length: torch.from_numpy(rows.length),
                self.names.item: torch.from_numpy(self.actions.items[rows.end]),
            }
        )
        return EvalBatch(index, interaction, self._seen(rows) if self.mask_history else None)

    def _seen(self, rows: Rows) -> tuple[Tensor, Tensor]:
        n_seen = rows.end - rows.first
        row = np.repeat(np.arange(len(rows)), n_seen)
        within = np.arange(len(row)) - np.repeat(np.cumsum(n_seen) - n_seen, n_seen)
        return torch.from_numpy(row), torch.from_numpy(self.actions.items[rows.first[row] + within])


def padded(items: np.ndarray, start: np.ndarray, length: np.ndarray, width: int) -> Tensor:
    """Slices of ``items`` as rows of ``width``, zeros behind: int64 [R, width]."""
    column = np.arange(width)
    index = np.minimum(start[:, None] + column, len(items) - 1)
    return torch.from_numpy(np.where(column < length[:, None], items[index], 0))
