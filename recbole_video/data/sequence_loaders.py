"""Batches of training sequences and of histories to evaluate, in RecBole's fields."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_video.content.items import GatheredContent
from recbole_video.data.negatives import NegativeSampler
from recbole_video.data.protocols import PROTOCOLS, Rows
from recbole_video.data.sequences import Actions
from recbole_video.data.step_padding import padded_step
from recbole_video.data.step_plan import (
    COUNTS,
    GROUP,
    ITEMS,
    MASKED_LIST,
    NEGATIVES,
    QUERY_POSITION,
    QUERY_ROW,
    QUERY_TARGET,
    SEQUENCE,
    TARGET_LIST,
    StepPlan,
    as_tensors,
    cut_in_parts,
    distinct_items,
)
from recbole_video.data.step_shard import shard
from recbole_video.runtime.processes import Processes, processes

_NEGATIVES, _MASKS = 0, 1  # what random numbers of a step are drawn for


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
    """Training batches: one row per user sequence, a query with a target at every position.

    Rows of a batch are sorted by length, so that parts of it can be trimmed to their longest. What is drawn at random
    in a step follows from the seed, the epoch and the step alone, so that batches can be made ahead, by any thread or
    process, and a resumed run draws what an unbroken one draws.

    Args:
        config: The run's configuration.
        actions: The sorted actions and their split.
        content: What the items have; what of it lies on disk is read with the batch. None if no content is read.
    """

    def __init__(self, config: Any, actions: Actions, content: GatheredContent | None = None) -> None:
        self.names = FieldNames.of(config)
        self.actions = actions
        self.content = content
        self.rows = self._make_rows(actions.split.train, config["MAX_ITEM_LIST_LENGTH"])
        self.max_history: int = config["MAX_ITEM_LIST_LENGTH"]
        self.batch_size: int = config["train_batch_size"]
        self.in_groups = config["candidate_group"] is not None
        self.group_size: int = config["candidate_group"] or self.batch_size
        self.processes = processes()
        self.seed: int = config["seed"]
        self.shuffle: bool = config["shuffle"]
        self.encodes_all = config["loss_type"] == "CE"
        self.has_one_shape: bool = config["cuda_graph"]
        self.negatives = None
        if config["loss_type"] == "BPR":
            self.negatives = NegativeSampler(
                config["train_neg_sample_args"],
                actions.train_item_counts(),
                only_trained=not PROTOCOLS[config["protocol"]].knows_later_items,
            )
        self.epoch = 0

    def _make_rows(self, train: Rows, max_history: int) -> Rows:
        return train

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the same seed and epoch give the same order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[StepPlan]:
        order = np.arange(len(self.rows))
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        for step, start in enumerate(range(0, len(order), self.batch_size)):
            yield self.batch(order[start : start + self.batch_size], step)

    def batch(self, index: np.ndarray, step: int = 0) -> StepPlan:
        """The plan of the step on some rows, of which each :attr:`group_size` are a group of candidates.

        Where several processes train together, it is of this one's rows: whole groups, where the options ask for
        groups. Without, rows of all processes compete, and each process encodes a part of all their items.
        """
        by_length = np.argsort(self.rows.length[index], kind="stable")
        fields = self.fields(index[by_length], step)
        fields[GROUP] = by_length // self.group_size
        if self.negatives is not None:
            fields[NEGATIVES] = self.negatives.draw(fields[SEQUENCE][fields[QUERY_ROW]], self._random(step, _NEGATIVES))
        own, share = fields, 1.0
        gathered: tuple[int, ...] = ()
        if not self.processes.is_alone:
            own, share = shard(fields, self.processes.rank, self.processes.size, self.in_groups)
        competing = own if self.in_groups or self.negatives is not None else fields
        items, own[COUNTS] = distinct_items(competing[SEQUENCE], competing[GROUP])
        own[ITEMS] = np.union1d(items, own[NEGATIVES]) if NEGATIVES in own else items
        if competing is not own:
            gathered = tuple(self.processes.split(self.actions.n_items - 1 if self.encodes_all else len(items)))
        parts = cut_in_parts(own[self.names.item_length], own[QUERY_ROW])
        if self.has_one_shape and len(index) == self.batch_size:
            own, parts = padded_step(own, self.most_queries, self.actions.n_items), ()
        return StepPlan(as_tensors(own), parts, self._read(own[ITEMS], gathered), share, gathered)

    @property
    def most_queries(self) -> int:
        """The most that a step can have."""
        return self.batch_size * self.max_history

    def _read(self, items: np.ndarray, gathered: tuple[int, ...]) -> dict[str, Tensor]:
        """Content on disk of the items that this process encodes in the step."""
        if self.content is None or self.encodes_all:
            return {}
        if gathered:
            items = np.split(items, np.cumsum(gathered)[:-1])[self.processes.rank]
        return self.content.read(items)

    def _random(self, step: int, purpose: int) -> np.random.Generator:
        return np.random.default_rng((self.seed, self.epoch, step, purpose))

    def fields(self, index: np.ndarray, step: int) -> dict[str, np.ndarray]:
        """RecBole's fields of some rows, sorted by length, their sequences and the queries of the step."""
        rows = self.rows.take(index)
        sequence = padded(self.actions.items, rows.start, rows.length, self.max_history + 1)
        length = rows.length - 1
        row = np.repeat(np.arange(len(index)), length)
        position = np.arange(len(row)) - np.repeat(np.cumsum(length) - length, length)
        return {
            self.names.user: self.actions.users[rows.start],
            self.names.item_list: sequence[:, :-1] * (np.arange(self.max_history) < length[:, None]),
            self.names.item_length: length,
            self.names.item: sequence[np.arange(len(index)), length],
            TARGET_LIST: sequence[:, 1:],
            SEQUENCE: sequence,
            QUERY_ROW: row,
            QUERY_POSITION: position,
            QUERY_TARGET: sequence[row, position + 1],
        }


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

    @property
    def most_queries(self) -> int:
        return self.batch_size

    def fields(self, index: np.ndarray, step: int) -> dict[str, np.ndarray]:
        rows, items = self.rows.take(index), self.actions.items
        target = items[rows.end]
        return {
            self.names.user: self.actions.users[rows.start],
            self.names.item_list: padded(items, rows.start, rows.length, self.max_history),
            self.names.item_length: rows.length,
            self.names.item: target,
            SEQUENCE: padded(items, rows.start, self._sequence_length[index], 2 * self.max_history + 1),
            QUERY_ROW: np.arange(len(index)),
            QUERY_POSITION: rows.length - 1,
            QUERY_TARGET: target,
        }


class MaskedLoader(SequenceLoader):
    """Training batches of sequences in which some items are masked, to be found from those on both sides.

    Each position of the last L items of a sequence is masked with probability ``mask_ratio``, and one at least: the
    last where there would be none. A step in ``ft_ratio`` of all masks the last of each sequence only.
    """

    def __init__(self, config: Any, actions: Actions, content: GatheredContent | None = None) -> None:
        super().__init__(config, actions, content)
        self.mask_ratio: float = config["mask_ratio"]
        self.last_only_ratio: float = config["ft_ratio"]

    def fields(self, index: np.ndarray, step: int) -> dict[str, np.ndarray]:
        fields = super().fields(index, step)
        sequence = fields[SEQUENCE]
        last_items = np.where(sequence[:, -1:] > 0, sequence[:, 1:], sequence[:, :-1])
        masked = self._choose_masked(last_items > 0, self._random(step, _MASKS))
        row, position = np.nonzero(masked)
        return {
            **fields,
            MASKED_LIST: np.where(masked, self.actions.n_items, last_items),
            QUERY_ROW: row,
            QUERY_POSITION: position,
            QUERY_TARGET: last_items[row, position],
        }

    def _choose_masked(self, is_item: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Positions to predict of ``is_item: [B, L]`` bool, likewise."""
        last = np.arange(is_item.shape[1]) == is_item.sum(axis=1, keepdims=True) - 1
        if random.random() < self.last_only_ratio:
            return last
        masked = (random.random(is_item.shape) < self.mask_ratio) & is_item
        return np.where(masked.any(axis=1, keepdims=True), masked, last)


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
        return self.of_process(Processes())

    def of_process(self, group: Processes) -> Iterator[EvalBatch]:
        """Of all batches, those that one of several processes ranks: every N-th."""
        order = np.argsort(self.rows.length, kind="stable")
        for start in range(group.rank * self.batch_size, len(order), group.size * self.batch_size):
            yield self.batch(order[start : start + self.batch_size])

    def batch(self, index: np.ndarray) -> EvalBatch:
        rows = self.rows.take(index)
        width = int(rows.length.max()) if self.trim else self.max_history
        interaction = Interaction(
            {
                self.names.user: torch.from_numpy(self.actions.users[rows.start]),
                self.names.item_list: torch.from_numpy(padded(self.actions.items, rows.start, rows.length, width)),
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


def padded(items: np.ndarray, start: np.ndarray, length: np.ndarray, width: int) -> np.ndarray:
    """Slices of ``items`` as rows of ``width``, zeros behind: int64 [R, width]."""
    column = np.arange(width)
    index = np.minimum(start[:, None] + column, len(items) - 1)
    return np.where(column < length[:, None], items[index], 0)
