"""Batches of videos with labels, as plans of steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from recbole_video.content.table import ContentTable
from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.step_plan import StepPlan
from recbole_video.errors import ConfigError
from recbole_video.runtime.processes import Processes, processes


class PopularityLoader:
    """Some videos of a data set, batch by batch; features are gathered as a batch is made.

    Fields: ``row`` int64 [B], ``label`` float32 [B]; of what the data set has, ``frames`` float32 [B, T, d_v] and
    ``frame_mask`` bool [B, T], ``text`` [B, L, d_t] and ``text_mask``, another modality and its mask likewise by its
    name, ``numeric`` float32 [B, n] and ``categories`` int64 [B, m].

    Args:
        config: The run's configuration.
        dataset: The videos.
        rows: Which of them, int64 [n].
        shuffle: In an order that follows from seed and epoch; else in that of ``rows``.
        at_once: All of them in one batch: for models that are fitted in one go to all that it holds.
        in_double: ``label`` is float64: for models that are fitted in one go.
    """

    def __init__(
        self,
        config: Any,
        dataset: PopularityDataset,
        rows: np.ndarray,
        shuffle: bool,
        at_once: bool = False,
        in_double: bool = False,
    ) -> None:
        self.dataset, self.rows, self.shuffle = dataset, rows, shuffle
        self.batch_size: int = config["train_batch_size"] if shuffle else config["eval_batch_size"]
        if at_once:
            self.batch_size = len(rows)
        self.label_type = np.float64 if in_double else np.float32
        self.seed: int = config["seed"]
        self.n_frames: int | None = config["n_frames"]
        self.reads_missing: bool = config.model_class.reads_missing_frames(config)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of an epoch; the same seed and epoch give the same order."""
        self.epoch = epoch

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size)

    def __iter__(self) -> Iterator[StepPlan]:
        """All batches in order; to train on, where several processes do it together, this one's videos of each."""
        if not self.shuffle:
            yield from self.of_process(Processes())
            return
        rows = np.random.default_rng((self.seed, self.epoch)).permutation(self.rows)
        for start in range(0, len(rows), self.batch_size):
            yield self._to_train(rows[start : start + self.batch_size], processes())

    def of_process(self, group: Processes) -> Iterator[StepPlan]:
        """Of all batches in order, those that one of several processes predicts: every N-th."""
        for start in range(group.rank * self.batch_size, len(self.rows), group.size * self.batch_size):
            yield self.batch(self.rows[start : start + self.batch_size])

    def _to_train(self, rows: np.ndarray, group: Processes) -> StepPlan:
        """The part of a step that one process does; one without any video does one that weighs nothing."""
        if group.is_alone:
            return self.batch(rows)
        sizes = group.split(len(rows))
        own = np.split(rows, np.cumsum(sizes)[:-1])[group.rank]
        plan = self.batch(own if len(own) else rows[:1])
        return replace(plan, share=len(own) / len(rows), gathered=tuple(sizes))

    def batch(self, rows: np.ndarray) -> StepPlan:
        """The batch of some rows."""
        dataset = self.dataset
        fields = {
            "row": torch.from_numpy(np.ascontiguousarray(rows)),
            "label": torch.from_numpy(dataset.labels[rows].astype(self.label_type)),
        }
        if dataset.frames is not None:
            frames, mask = _gather(dataset.frames, rows)
            if self.n_frames is not None and self.n_frames < frames.shape[1]:
                frames, mask = evenly_chosen(frames, mask, self.n_frames)
            wanted = frames.shape[1] if self.reads_missing else dataset.frames.longest(rows + 1)
            fields["frames"], fields[mask_name("frames")] = pad_or_truncate(frames, mask, wanted)
        for name, table in dataset.content.tables.items():
            if name != "frames":
                values, mask = _gather(table, rows)
                longest = table.longest(rows + 1)
                fields[name], fields[mask_name(name)] = values[:, :longest], mask[:, :longest]
        if dataset.metadata is not None:
            fields["numeric"] = torch.from_numpy(dataset.metadata.numeric[rows])
            fields["categories"] = torch.from_numpy(dataset.metadata.codes[rows])
        return StepPlan(fields)


def check_batch_fields(modalities: Iterable[str]) -> None:
    """Refuse modalities whose rows or mask would stand in a batch in the place of something else.

    Raises:
        ConfigError: On the first one.
    """
    taken = {"row", "label", "numeric", "categories", "metadata", "frames", "frame_mask", "text", "text_mask"}
    for name in modalities:
        own = {name, mask_name(name)}
        if name not in ("frames", "text") and (clash := sorted(own & taken)):
            raise ConfigError(
                f"`content` names `{name}`, and a batch of a popularity model has something else by the name "
                f"`{clash[0]}`; give the modality another name, with its store: {{NAME: STORE}}."
            )
        taken |= own


def mask_name(modality: str) -> str:
    """The field of a batch that says which rows of a modality there are."""
    return "frame_mask" if modality == "frames" else f"{modality}_mask"


def sample_rows(rows: np.ndarray, n: int | None, seed: int) -> np.ndarray:
    """A random sample of rows without repetition, in the order in which they come.

    Args:
        rows: int64 [N].
        n: How many; None, or one that is not below N: all.
        seed: Of the random sample.

    Returns:
        int64 [min(n, N)].
    """
    if n is None or n >= len(rows):
        return rows
    chosen = np.random.default_rng(seed).choice(len(rows), n, replace=False)
    return rows[np.sort(chosen)]


def _gather(table: ContentTable, rows: np.ndarray) -> tuple[Tensor, Tensor]:
    return table.gather(torch.from_numpy(rows + 1).to(table.device))  # id 0 is padding


def pad_or_truncate(frames: Tensor, mask: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """Frames [B, T, d] and mask [B, T] cut off behind the length ``wanted``, or padded to it with zeros."""
    missing = max(0, wanted - frames.shape[1])
    frames, mask = frames[:, :wanted], mask[:, :wanted]
    return (pad(frames, (0, 0, 0, missing)), pad(mask, (0, missing))) if missing else (frames, mask)


def evenly_chosen(frames: Tensor, mask: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """At most ``n`` frames of each video, first and last among them, in order.

    Args:
        frames: [B, T, d].
        mask: [B, T] bool, true for the first frames of each video.
        n: Frames to keep; of a video with fewer, all.

    Returns:
        [B, n, d], zero where there is no frame, and mask [B, n].
    """
    counts = mask.sum(dim=1, keepdim=True)
    kept = counts.clamp(max=n)
    places = torch.arange(n, device=frames.device).expand(len(frames), n)
    chosen = (places * (counts - 1).clamp(min=0) / (kept - 1).clamp(min=1)).round().long()
    is_kept = places < kept
    chosen = torch.where(is_kept, chosen, 0)
    taken = frames.gather(1, chosen[..., None].expand(-1, -1, frames.shape[-1]))
    return taken * is_kept[..., None], is_kept
