"""The frames of a data set in the order of RecBole's item ids, on the device or on disk."""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_video.content.mean import MeanTable, masked_mean
from recbole_video.content.store import FrameStore, refuse_non_finite
from recbole_video.content.twins import Twins
from recbole_video.errors import DataError, DeviceMemoryError, counted
from recbole_video.runtime.memory import available_memory
from recbole_video.runtime.processes import n_on_this_machine

# Share of the free memory that the frames may take before they stay on disk.
_MEMORY_SHARE = 0.25
_BLOCK_ROWS = 4096
# Frames on disk are compared with their checksum up to this size: beyond, it would take many seconds.
_CHECKED_BYTES = 4 << 30


class ContentTable:
    """Frames by item id, from memory on ``device`` or gathered from the map on disk.

    Not a module and not a buffer: frames are data, and must not enter checkpoints.

    Args:
        store: The frame store.
        tokens: Item token of each id; id 0 is padding.
        device: Where frames are wanted.
        on_device: ``auto`` to hold them there when they take at most a quarter of its free
            memory, True to hold them there in any case, False to gather each batch from disk.
        zero_missing: Give items that the store lacks zero frames, instead of failing.
        n_tables: How many tables there are, which share what ``auto`` may take.

    Raises:
        DataError: If items have no frames, the store is damaged, or values are not finite.
        DeviceMemoryError: If ``on_device`` is True and the frames do not fit.
    """

    def __init__(
        self,
        store: FrameStore,
        tokens: np.ndarray,
        device: torch.device,
        on_device: str | bool = "auto",
        zero_missing: bool = False,
        n_tables: int = 1,
    ) -> None:
        self.store = store
        self._share = _MEMORY_SHARE / n_tables
        self.device = torch.device(device)
        self._rows = store.rows_of(list(tokens))
        self._rows[0] = -1
        counts = store.counts_of(self._rows)
        missing = np.flatnonzero(counts[1:] == 0) + 1
        if len(missing) and not zero_missing:
            raise missing_frames_error(store, [str(tokens[i]) for i in missing])
        self._host_counts = counts
        self._counts = torch.from_numpy(counts).to(self.device)
        self._on_device = on_device
        self.is_on_device = self._is_to_be_held()
        self._table: Tensor | None = None  # loaded when it is first asked for: who averages frames never needs it
        if not self.is_on_device and store.nbytes <= _CHECKED_BYTES:
            store.verify()

    def _is_to_be_held(self) -> bool:
        return self._fits(len(self._rows) * self.store.n_frames * self.store.frame_dim * 2)

    def _fits(self, n_bytes: int) -> bool:
        """Whether so much may be held on the device, by the option that says so."""
        if self._on_device == "auto":
            return n_bytes <= self._share * _free_memory(self.device)
        return bool(self._on_device)

    def __getstate__(self) -> dict[str, Any]:
        """Arrays in the host's memory, which processes can share."""
        table = self._held().cpu().numpy() if self.is_on_device else None
        values = {"store": self.store, "rows": self._rows, "counts": self._host_counts, "table": table}
        return {**values, "share": self._share}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.store, self.device = state["store"], torch.device("cpu")
        self._on_device, self.is_on_device, self._share = "auto", state["table"] is not None, state["share"]
        self._rows, self._host_counts = state["rows"], state["counts"]
        self._counts = torch.from_numpy(np.array(state["counts"]))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")  # nothing writes to it
            self._table = None if state["table"] is None else torch.from_numpy(state["table"])

    def on(self, device: torch.device, on_device: str | bool = "auto") -> ContentTable:
        """The same frames for another device; what is held in the host's memory is shared where it is wanted there."""
        moved = copy.copy(self)
        moved.device = torch.device(device)
        moved._counts = self._counts.to(moved.device)
        moved._on_device = on_device
        moved.is_on_device = moved._is_to_be_held()
        moved._table = None
        if moved.is_on_device and self._table is not None:
            moved._table = self._to_device(self._table, moved.device)
        return moved

    def _held(self) -> Tensor:
        """The frames of all items on the device, [n_items, F, D] float16."""
        if self._table is None:
            self._table = self._load()
        return self._table

    @property
    def frame_dim(self) -> int:
        return self.store.frame_dim

    def longest(self, ids: np.ndarray) -> int:
        """Frames of the longest of some items, at least 1; known without asking the device."""
        return max(1, int(self._host_counts[ids].max(initial=0)))

    def gather(self, ids: Tensor, read: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Frames of some items.

        Args:
            ids: [U] int on the table's device.
            read: What :meth:`read` gave for them, on the table's device; None to gather them here.

        Returns:
            Frames [U, F, D] float32, zero where missing, whatever the file holds there, and mask [U, F] bool,
            true where a frame exists.
        """
        counts = self._counts[ids]
        mask = torch.arange(self.store.n_frames, device=self.device) < counts[:, None]
        if read is None:
            read = self._held()[ids] if self.is_on_device else self.read(ids.cpu().numpy()).to(self.device)
        return read.float(), mask

    def averaged(self) -> ContentTable | MeanTable:
        """The mean of each item's frames in their place; this table where that may not be held on the device."""
        n_items = len(self._rows)
        if not self._fits(n_items * self.store.frame_dim * 4):
            return self
        means = torch.zeros(n_items, self.store.frame_dim)
        for ids in torch.arange(1, n_items).split(_BLOCK_ROWS):
            means[ids] = masked_mean(*self._on_host(ids))
        if self.is_on_device and self._table is None:
            self.store.verify()
        return MeanTable(self.store, self._to_device(means, self.device), self._counts)

    def _on_host(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of ``ids: [U]``, [U, F, D] float32, and which exist, [U, F] bool, in the host's memory."""
        frames = self.read(ids.numpy()) if self._table is None else self._table[ids.to(self.device)].cpu()
        counts = torch.from_numpy(self._host_counts[ids.numpy()])
        return frames.float(), torch.arange(self.store.n_frames) < counts[:, None]

    def read(self, ids: np.ndarray) -> Tensor:
        """Frames of ``ids: [U]`` from disk, float16 [U, F, D] in the host's memory, zero where missing."""
        return torch.from_numpy(self._read(self._rows[ids]))

    def twins(self) -> Twins | None:
        """Items whose frames equal those of another one.

        Of frames that take too long to compare, what their manifest says of the whole store.
        """
        if self.store.nbytes > _CHECKED_BYTES:
            return self.store.noted_twins
        return self.store.twins(self._rows)

    def _read(self, rows: np.ndarray) -> np.ndarray:
        # Sorted rows read the file in one direction; blocks keep the second copy small.
        order = np.argsort(rows, kind="stable")
        frames = np.empty((len(rows), *self.store.frames.shape[1:]), np.float16)
        for start in range(0, len(order), _BLOCK_ROWS):
            block = order[start : start + _BLOCK_ROWS]
            frames[block] = self.store.read(rows[block])
        refuse_non_finite(frames, lambda row: self.store.items[rows[row]], self.store.path)
        return frames

    def _load(self) -> Tensor:
        frames = torch.from_numpy(self._read(self._rows))
        self.store.verify()
        return self._to_device(frames, self.device)

    @staticmethod
    def _to_device(frames: Tensor, device: torch.device) -> Tensor:
        try:
            return frames.to(device)
        except torch.cuda.OutOfMemoryError as error:
            size = frames.numel() * frames.element_size() / 2**20
            raise DeviceMemoryError(
                f"The frames take {size:.0f} MB, which {device} does not have free; set frames_on_device=False."
            ) from error


def missing_frames_error(store: FrameStore, tokens: list[str], modality: str = "frames") -> DataError:
    """The error for items without frames, or another modality: how many, and which first."""
    first = ", ".join(f"`{t}`" for t in tokens[:5])
    zeros = "zero frames" if modality == "frames" else "zeros"
    return DataError(
        f"{counted(len(tokens), 'item has', 'items have')} no {modality} in `{store.path}` (first: {first}); add them, "
        f"or set missing_items=drop to leave out their interactions or missing_items=zero to give them {zeros}."
    )


def _free_memory(device: torch.device) -> int:
    """Free memory of the device, in bytes."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return available_memory() // n_on_this_machine()  # of which each holds its own
