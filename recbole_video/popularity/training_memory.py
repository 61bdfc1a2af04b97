"""The training videos that a model keeps to look up: what they show, what they say, how popular they became."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from recbole_video.data.labelled_loader import evenly_chosen, mask_name, pad_or_truncate
from recbole_video.errors import CheckpointError, ConfigError, TrainingError
from recbole_video.popularity.base import Batch
from recbole_video.popularity.neighbours import NeighbourIndex, Neighbours
from recbole_video.popularity.stap.temporal import sequence_mean
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor

_ROWS, _LABELS = "rows", "labels"


class TrainingMemory(nn.Module):
    """Training videos in the order in which they came: several vectors of frames, the mean of another modality.

    It is part of a checkpoint, so that a model can be used without the data set. Numbers lie in half precision where
    that loses nothing, as it does of what a frame store holds.

    Args:
        widths: Width of each modality that is kept, by its name.
        n_frames: Frames of a video to keep, at most, evenly chosen.
        n_first: Modalities of which several vectors are kept too, the first ones, and how many at most.

    Attributes:
        rows: Row of each video in the data set, int64 [N].
        labels: Popularity on the model's scale, float32 [N].
    """

    rows: Tensor
    labels: Tensor

    def __init__(self, widths: Mapping[str, int], n_frames: int, n_first: Mapping[str, int] | None = None) -> None:
        super().__init__()
        self.widths, self.n_frames = dict(widths), n_frames
        self._several = {"frames": n_frames, **(n_first or {})}
        self._indices: dict[str, NeighbourIndex] = {}
        self._hold({name: torch.zeros(0, *shape) for name, shape in self._shapes.items()})

    @property
    def _shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of what is kept of a video, by name."""
        kept: dict[str, tuple[int, ...]] = {_place(name): (width,) for name, width in self.widths.items()}
        for name, width in self.widths.items():
            if name in self._several:
                kept |= {_count(name): (), _place(name): (self._several[name], width)}
        return {_ROWS: (), _LABELS: (), **kept}

    def _hold(self, values: Mapping[str, Tensor]) -> None:
        """Values by name, each [N, ...], on the device on which the module is."""
        device = self.rows.device if _ROWS in self._buffers else None
        for name, value in values.items():
            whole = value.long() if name in self._whole else value
            self.register_buffer(name, whole.to(device), persistent=False)
        self._indices = {}

    @property
    def _whole(self) -> set[str]:
        """Names of what is whole numbers."""
        return {_ROWS, *map(_count, self._several)}

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def n_bytes(self) -> int:
        """What the memory takes."""
        return sum(value.numel() * value.element_size() for value in self.buffers())

    @torch.no_grad()
    def fill(self, batches: Iterable[Batch], scaled_labels: Callable[[Batch], Tensor], n_neighbours: int) -> None:
        """Keep the training videos, all that are shown.

        Args:
            batches: The videos.
            scaled_labels: Their popularity on the model's scale, [B], of a batch.
            n_neighbours: How many of them a video will be given.

        Raises:
            ConfigError: If there are too few of them.
        """
        found: dict[str, list[Tensor]] = {name: [] for name in self._shapes}
        for batch in batches:
            for name, value in self._of_batch(batch, scaled_labels(batch)).items():
                found[name].append(value)
        n = sum(map(len, found[_ROWS]))
        if n <= n_neighbours:
            raise ConfigError(
                f"`n_neighbours` is {n_neighbours}, but there are {n} training videos, of which one finds at most "
                f"{max(n - 1, 0)} others; lower it."
            )
        self._hold({name: torch.cat(parts) for name, parts in found.items()})

    def _of_batch(self, batch: Batch, labels: Tensor) -> dict[str, Tensor]:
        values = {_ROWS: batch["row"], _LABELS: labels.float()}
        for name in self.widths:
            if name in self._several:
                vectors, mask = self.chosen(name, batch)
                values |= {_place(name): _compact(vectors), _count(name): mask.sum(dim=1)}
            else:
                values[_place(name)] = _compact(mean_of(name, batch))
        return values

    def chosen_frames(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The frames of a batch as they are kept, [B, F, d_v], and their mask [B, F]."""
        return evenly_chosen(batch["frames"], batch["frame_mask"], self.n_frames)

    def chosen(self, name: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Vectors of a modality of which several are kept as they are kept, [B, n, d], and their mask [B, n]."""
        if name == "frames":
            return self.chosen_frames(batch)
        return pad_or_truncate(batch[name], batch[mask_name(name)], self._several[name])

    # -- looking up ----------------------------------------------------------------------------

    def nearest(self, name: str, batch: Batch, k: int) -> Neighbours:
        """The ``k`` kept videos whose mean of a modality is most similar to that of each video of a batch.

        Raises:
            TrainingError: Before the memory is filled.
        """
        if not len(self):
            raise TrainingError("The model has no training videos in its memory yet: train it first.")
        if name not in self._indices or self._indices[name].device != self.rows.device:
            self._indices[name] = NeighbourIndex(self._means(name), self.rows)
        queries = sequence_mean(*self.chosen(name, batch)) if name in self._several else mean_of(name, batch)
        return self._indices[name].nearest(queries, batch["row"], k)

    def _means(self, name: str) -> Tensor:
        """One vector per kept video, float32 [N, d]."""
        if name not in self._several:
            return self.get_buffer(_place(name)).float()
        every = torch.arange(len(self), device=self.rows.device)
        return torch.cat([sequence_mean(*self.several_of(name, part)) for part in every.split(1024)])

    def frames_of(self, places: Tensor) -> tuple[Tensor, Tensor]:
        """Frames of kept videos, float32 [..., F, d_v], and their mask [..., F]."""
        return self.several_of("frames", places)

    def several_of(self, name: str, places: Tensor) -> tuple[Tensor, Tensor]:
        """The vectors of a modality of which several are kept, float32 [..., n, d], and their mask [..., n]."""
        vectors = self.get_buffer(_place(name))[places].float()
        there = torch.arange(vectors.shape[-2], device=places.device)
        return vectors, there < self.get_buffer(_count(name))[places][..., None]

    def vectors_of(self, name: str, places: Tensor) -> Tensor:
        """The mean of a modality of which no more is kept, float32 [..., d]."""
        return self.get_buffer(_place(name))[places].float()

    # -- in a checkpoint -----------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Tensor]:
        """What is kept, as tensors by name; nothing before there is any."""
        return {name: self.get_buffer(name) for name in self._shapes} if len(self) else {}

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        if state:
            self._hold(state)

    def check_state(self, state: Any, n_neighbours: int, path: Path) -> None:
        """Refuse what lies in a file in the place of a memory.

        Raises:
            CheckpointError: If something is missing, of another shape or kind, or not finite, or there are too few
                videos.
        """
        fields = Fields(state, "memory", path)
        n = None
        for name, shape in self._shapes.items():
            value = fields.get(name)
            check_plain_tensor(value, name, path)
            n = len(value) if n is None and value.ndim else n
            is_whole = name in self._whole
            if value.shape != (n, *shape) or is_whole == value.is_floating_point():
                raise fields.refusal(f"`{name}`", f"of the shape {[n, *shape]} that the others and the options make")
            if not torch.isfinite(value).all():
                raise CheckpointError(f"`{path}` holds a model that is of no use: `{name}` holds NaN or infinity.")
        if n is None or n <= n_neighbours:
            raise fields.refusal("`rows`", f"of more than the {n_neighbours} neighbours that the options ask for")


def mean_of(name: str, batch: Batch) -> Tensor:
    """The mean of a modality of each video of a batch, float32 [B, d]; zero where there is none."""
    return sequence_mean(batch[name], batch[mask_name(name)])


def _place(name: str) -> str:
    """Name of the buffer of a modality, which is no other buffer's; no name of a buffer has a dot."""
    return f"kept_{name.replace('.', ':')}"


def _count(name: str) -> str:
    """Name of the buffer that says how many vectors of a modality each video has."""
    return "frame_counts" if name == "frames" else f"counts_{name.replace('.', ':')}"


def _compact(values: Tensor) -> Tensor:
    """In half precision, where that is the same."""
    half = values.half()
    return half if torch.equal(half.float(), values) else values
