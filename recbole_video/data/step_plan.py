"""What a training step needs to know before it begins: made from ids alone, on the host, ahead of the step."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from queue import Empty, Queue
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

# Fields beside RecBole's own (item_id_list, item_length, item_id, user_id).
TARGET_LIST = "target_list"  # [B, L] the item after each position, 0 where there is none
SEQUENCE = "sequence_list"  # [B, W] every item of the user's training sequence, in order
MASKED_LIST = "masked_list"  # [B, L] a sequence with the mask token where an item is to be found
ITEMS = "step_items"  # [C] the distinct items that the step encodes, ascending, padding left out
COUNTS = "step_item_counts"  # [G, C] how often each occurs in the sequences of a group of candidates
GROUP = "step_group"  # [B] group of each row
QUERY_ROW = "query_row"  # [Q] row of the batch that each query belongs to, ascending
QUERY_POSITION = "query_position"  # [Q] its position in the history
QUERY_TARGET = "query_target"  # [Q] the item that it should rank first
NEGATIVES = "query_negatives"  # [Q, S] items that its user has not, drawn for the loss BPR
IS_QUERY = "is_query"  # [Q] 1, and 0 for copies that fill a step up; only in steps of one shape
# What a step has for each query, before it is filled up.
OF_QUERIES = (QUERY_ROW, QUERY_POSITION, QUERY_TARGET, NEGATIVES)

_PART_ROWS, _MOST_PARTS = 32, 6

T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """Rows of a batch that are computed at once.

    Attributes:
        start: The first row.
        stop: The row behind the last.
        width: Length of their longest history.
        queries: Those that belong to these rows.
    """

    start: int
    stop: int
    width: int
    queries: slice


@dataclass(frozen=True)
class StepPlan(Mapping[str, Tensor]):
    """The batch of one step: RecBole's fields by their names, and those of this module's head.

    It takes the place of RecBole's ``Interaction``, whose fields must have one length, in ``calculate_loss``. All that
    follows from ids is there, so that the model neither searches for distinct items nor reads a file, and never makes
    its device wait for the host.

    Attributes:
        fields: Name -> tensor.
        parts: How the rows, sorted by length, are cut on a CPU, where padding costs time; empty elsewhere.
        content: Name of a modality -> [C, R, D] float16, the rows of :data:`ITEMS` that were read from disk; empty for
            content that lies on the device.
        share: Weight of this loss in that of the whole step, of which other processes may have other rows.
        gathered: How many of :data:`ITEMS` each process encodes for all; empty where each encodes its own.
        packed: The memory that all fields of int64 share, one behind the other; None where each has its own.
    """

    fields: Mapping[str, Tensor]
    parts: tuple[Part, ...] = ()
    content: Mapping[str, Tensor] = field(default_factory=dict)
    share: float = 1.0
    gathered: tuple[int, ...] = ()
    packed: Tensor | None = None

    def __getitem__(self, name: str) -> Tensor:
        return self.fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.fields)

    def __len__(self) -> int:
        return len(self.fields)

    def pinned(self) -> StepPlan:
        """The same in page-locked memory, from where a GPU copies without waiting."""
        whole, others = self._by_kind()
        packed = torch.cat([tensor.reshape(-1) for tensor in whole.values()]).pin_memory()
        fields = {**_cut(packed, whole), **{name: _pinned(tensor) for name, tensor in others.items()}}
        content = {name: _pinned(rows) for name, rows in self.content.items()}
        return replace(self, fields=fields, content=content, packed=packed)

    def to(self, device: torch.device | str) -> StepPlan:
        """The same on a device; whole numbers by one copy, and from page-locked memory nobody waits for it."""
        if torch.device(device).type == "cpu":
            return self
        whole, others = self._by_kind()
        fields = {name: tensor.to(device, non_blocking=True) for name, tensor in others.items()}
        if whole:
            packed = self.packed
            if packed is None:
                packed = torch.cat([tensor.reshape(-1) for tensor in whole.values()])
            packed = packed.to(device, non_blocking=True)
            fields.update(_cut(packed, whole))
        content = {name: rows.to(device, non_blocking=True) for name, rows in self.content.items()}
        return replace(self, fields=fields, parts=(), content=content, packed=packed if whole else None)

    @property
    def shapes(self) -> tuple[tuple[str, torch.Size], ...]:
        """Name and shape of all that is there, in its order: plans with the same can take each other's place."""
        return tuple((name, tensor.shape) for name, tensor in self._tensors(packed=False).items())

    def take_over(self, other: StepPlan) -> None:
        """Copy into the memory of this plan the values of another one that had the same :attr:`shapes` on the host."""
        packed = self.packed is not None and other.packed is not None
        values = other._tensors(packed)
        for name, tensor in self._tensors(packed).items():
            tensor.copy_(values[name], non_blocking=True)

    def _tensors(self, packed: bool) -> dict[str, Tensor]:
        """All that the plan holds; as one tensor what is packed, if wanted."""
        fields = {n: tensor for n, tensor in self.fields.items() if not (packed and tensor.dtype == torch.int64)}
        content = {f"content of {name}": rows for name, rows in self.content.items()}
        return {**fields, **content, **({"packed": self.packed} if packed and self.packed is not None else {})}

    def _by_kind(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The fields of int64 that lie on the host, which are copied as one, and the others."""
        whole = {n: t for n, t in self.fields.items() if t.dtype == torch.int64 and t.device.type == "cpu"}
        return whole, {name: tensor for name, tensor in self.fields.items() if name not in whole}


def _pinned(tensor: Tensor) -> Tensor:
    return tensor.pin_memory() if tensor.device.type == "cpu" else tensor


def _cut(packed: Tensor, shapes: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Cut ``packed: [sum of sizes]`` into tensors of the shapes of others, in their order."""
    pieces = packed.split([tensor.numel() for tensor in shapes.values()])
    return {name: piece.view(shape.shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}


def as_tensors(arrays: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """NumPy's arrays as tensors that share their memory."""
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}


def cut_in_parts(
    length: np.ndarray, query_row: np.ndarray, rows: int = _PART_ROWS, most: int = _MOST_PARTS
) -> tuple[Part, ...]:
    """Cut rows that are sorted by length into parts.

    Args:
        length: [B] length of each history, ascending.
        query_row: [Q] row of each query, ascending.
        rows: Rows of a part, at least.
        most: Parts, at most.
    """
    n_parts = max(1, min(most, len(length) // rows))
    edges = np.round(np.linspace(0, len(length), n_parts + 1)).astype(int)
    queries = np.searchsorted(query_row, edges)
    return tuple(
        Part(start, stop, int(length[stop - 1]), slice(first, last))
        for (start, stop), (first, last) in zip(pairwise(edges.tolist()), pairwise(queries.tolist()), strict=True)
    )


def distinct_items(sequences: np.ndarray, group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The distinct items of ``sequences: [B, W]``, 0 being padding, and how often each group has them.

    Args:
        sequences: Item ids.
        group: [B] group of each row, from 0 on.

    Returns:
        Items, int64 [C] ascending, and counts, int64 [G, C].
    """
    items, place = np.unique(sequences, return_inverse=True)
    cell = group[:, None] * len(items) + place.reshape(sequences.shape)
    n_groups = int(group.max(initial=0)) + 1
    counts = np.bincount(cell.reshape(-1), minlength=n_groups * len(items)).reshape(n_groups, -1)
    is_item = items > 0
    return items[is_item], counts[:, is_item]


# -- making plans ahead ------------------------------------------------------------------------


class _Failure:
    """What a thread raised, on its way to the thread that waits for it."""

    def __init__(self, error: BaseException) -> None:
        self.error = error


_END = object()


def planned_ahead(batches: Iterable[T], device: torch.device, n_ahead: int = 3) -> Iterator[T]:
    """Yield what ``batches`` yields, made by another thread while the caller uses what came before.

    The thread ends when the caller is done, also where it leaves the loop early.

    Args:
        batches: Makes the batches, in order; :class:`StepPlan` or others.
        device: Where they will be used; for a GPU plans are put into page-locked memory.
        n_ahead: Batches that may wait to be used.

    Raises:
        BaseException: What making a batch raised, in the caller's thread.
    """
    queue: Queue[Any] = Queue()
    free = threading.Semaphore(n_ahead)
    is_left = threading.Event()

    def make() -> None:
        try:
            for batch in batches:
                free.acquire()
                if is_left.is_set():
                    return
                queue.put(batch.pinned() if device.type == "cuda" and isinstance(batch, StepPlan) else batch)
            queue.put(_END)
        except BaseException as error:  # it is raised where the batch is awaited
            queue.put(_Failure(error))

    thread = threading.Thread(target=make, name="step plans", daemon=True)
    thread.start()
    try:
        while (batch := queue.get()) is not _END:
            if isinstance(batch, _Failure):
                raise batch.error
            free.release()
            yield batch
    finally:
        is_left.set()
        free.release()
        thread.join()
        _drop(queue)


def _drop(queue: Queue[Any]) -> None:
    """Let go of what nobody will take."""
    try:
        while True:
            queue.get_nowait()
    except Empty:
        return
