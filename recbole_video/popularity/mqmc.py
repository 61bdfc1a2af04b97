"""MQMC-R: multi-queue momentum contrast (Du et al., WSDM 2023), adapted here to predict popularity."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from recbole_video.data.step_plan import StepPlan
from recbole_video.options.option import option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.layers import mean_of, mlp, require, with_metadata
from recbole_video.popularity.options import PopularityOptions
from recbole_video.runtime.processes import processes

_TEMPERATURE = 0.07
_SIDES = ("frames", "text")  # a query of one is compared with keys of the other


@dataclass(frozen=True)
class Keys:
    """What the momentum copies make of a batch.

    Attributes:
        frames: Instance of the frames, of length one, [B, h].
        text: That of the text, [B, h].
        bins: Popularity bin, [B].
        present: Whether a video has both, bool [B].
    """

    frames: Tensor
    text: Tensor
    bins: Tensor
    present: Tensor


class MQMC(PopularityModel):
    """A regression of the fused video, and a contrast of frames and text against queues of other videos.

    The published model retrieves products for videos; there is nothing of popularity in it, and how benchmarks made it
    a regression is not known. This adaptation is ours: a video's frames and its text are the positive pair, queues are
    of popularity bins in place of categories, and the regression stands on the fused instance. Every encoder has a
    momentum copy; layers are normalised by themselves, and not over a batch.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames, or no text.
    """

    @dataclass(frozen=True)
    class Options(PopularityOptions):
        """MQMC-R, an adaptation of MQMC (WSDM 2023) to popularity."""

        hidden_size: int = size_option(512, "h, of instances; the layers before are twice as wide.")
        n_bins: int = size_option(6, "Popularity bins, with as many training videos each, and a queue each.")
        queue_size: int = size_option(256, "Keys in a queue.")
        momentum: float = option(
            0.999, "Of the copies.", at_least=0, below=1, must="is a share, at least 0 and below 1"
        )
        contrast_weight: float = option(0.1, "0 switches the contrast off.", at_least=0)
        clip_predictions: bool = option(True, "Cut predictions off at the least and the largest training label.")
        learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = option("adam", "As in the original code.")
        learning_rate: float = option(1e-4, "As in the original code.", at_least=0)
        weight_decay: float = option(1e-3, "As in the original code.", at_least=0)
        train_batch_size: int = option(256, at_least=1)

    label_range: Tensor
    bin_edges: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require(inputs, "MQMC", all_of_them=True)
        options = config.options(self.Options)
        width = options.hidden_size
        self.encoders = Encoders(inputs, width)
        self.copies = deepcopy(self.encoders)
        self.copies.requires_grad_(False)
        self.fusion = Fusion(width)
        self.metadata = MetadataVector(inputs)
        self.head = mlp(width + self.metadata.width, max(1, width // 4), 1, last_is_linear=True)
        self.queues = nn.ModuleDict({side: Queues(options.n_bins, options.queue_size, width) for side in _SIDES})
        self.register_buffer("label_range", torch.tensor([-torch.inf, torch.inf]))
        self.register_buffer("bin_edges", torch.full((options.n_bins - 1,), torch.inf))
        self._options = options
        self._keys: Keys | None = None
        self._contrasts: list[Tensor] = []

    # -- prediction ----------------------------------------------------------------------------

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        frames, text = self.encoders(batch)
        return self._value(frames, text, batch)

    def _value(self, frames: Tensor, text: Tensor, batch: Batch) -> Tensor:
        instance = self.encoders.instance(self.fusion(frames, text))
        return self.head(with_metadata(self.metadata, batch, instance)).squeeze(-1)

    def predict(self, interaction: Batch) -> Tensor:
        """Popularity of each video on the labels' scale, within the range of the training labels if asked for, [B]."""
        values = super().predict(interaction)
        return values.clamp(*self.label_range) if self._options.clip_predictions else values

    @torch.no_grad()
    def look_inside(
        self, batches: Callable[[str], Iterable[Batch]], items: np.ndarray, best_epoch: int, folder: Path | None
    ) -> dict[str, Any]:
        """How many predictions of each split are outside of the range of the training labels, before any cut."""
        low, high = self.label_range
        found = {}
        for split in ("valid", "test"):
            values = torch.cat([super(MQMC, self).predict(batch) for batch in batches(split)])
            found[split] = int(((values < low) | (values > high)).sum())
        return {"predictions_out_of_range": {**found, "clipped": self._options.clip_predictions}}

    # -- training ------------------------------------------------------------------------------

    def before_epoch(self, epoch: int, batches: Iterable[Batch]) -> None:
        """Find the range of the training labels and the edges of the popularity bins, once."""
        if torch.isfinite(self.label_range).all():
            return
        labels = torch.cat([batch["label"] for batch in batches]).double()
        self.label_range.copy_(torch.stack([labels.min(), labels.max()]))
        n = self._options.n_bins
        edges = np.quantile(labels.cpu().numpy(), np.arange(1, n) / n)
        self.bin_edges.copy_(torch.from_numpy(edges))

    def calculate_loss(self, interaction: Batch) -> Tensor:
        """Regression, and the contrast in both directions."""
        frames, text = self.encoders(interaction)
        loss = self.regression_loss(self._value(frames, text, interaction), self.scaled_labels(interaction))
        if not self._options.contrast_weight:
            return loss
        keys = self._keys_of(interaction)
        queries = {"frames": self.encoders.instance(frames), "text": self.encoders.instance(text)}
        contrast = self._contrast({side: _unit(query) for side, query in queries.items()}, keys)
        self._contrasts.append(contrast.detach())
        self._keys = _of_whole_step(keys, interaction)
        return loss + self._options.contrast_weight * contrast

    @torch.no_grad()
    def _keys_of(self, batch: Batch) -> Keys:
        frames, text = (_unit(self.copies.instance(one)) for one in self.copies(batch))
        bins = torch.bucketize(batch["label"], self.bin_edges, right=True)
        return Keys(frames, text, bins, batch["frame_mask"].any(dim=1) & batch["text_mask"].any(dim=1))

    def _queues_of(self, side: str) -> Queues:
        return cast(Queues, self.queues[side])

    def _contrast(self, queries: dict[str, Tensor], keys: Keys) -> Tensor:
        """Mean over both directions and the videos that have frames and text."""
        total = self.label_mean.new_zeros(len(keys.bins))
        for side, key in (("frames", keys.text), ("text", keys.frames)):
            other = "text" if side == "frames" else "frames"
            total = total + self._queues_of(other).contrast(queries[side], key, keys.bins)
        return (total * keys.present).sum() / (len(_SIDES) * keys.present.sum().clamp(min=1))

    @torch.no_grad()
    def after_step(self) -> None:
        """Move the copies after their encoders, and the step's keys into the queues."""
        keys, self._keys = self._keys, None
        if keys is None:
            return
        for copy, own in zip(self.copies.parameters(), self.encoders.parameters(), strict=True):
            copy.lerp_(own, 1 - self._options.momentum)
        for side, values in (("frames", keys.frames), ("text", keys.text)):
            self._queues_of(side).push(values[keys.present], keys.bins[keys.present])

    def epoch_statistics(self) -> dict[str, float]:
        """The mean contrast."""
        values, self._contrasts = self._contrasts, []
        return {"contrast_loss": float(torch.stack(values).mean())} if values else {}

    def loss_name(self) -> str:
        """The regression's, and the contrast."""
        return f"{super().loss_name()} + contrast" if self._options.contrast_weight else super().loss_name()


def _unit(x: Tensor) -> Tensor:
    return normalize(x.float(), dim=-1)


def _of_whole_step(own: Keys, batch: Batch) -> Keys:
    """The keys of all processes: their queues stay the same."""
    sizes = batch.gathered if isinstance(batch, StepPlan) else ()
    if not sizes:
        return own
    frames, text, bins = (processes().gathered(values, sizes) for values in (own.frames, own.text, own.bins))
    return Keys(frames, text, bins, processes().gathered(own.present.long(), sizes) > 0)


class Encoders(nn.Module):
    """What encodes frames and text, and an instance encoder that both and the fused video share.

    Args:
        inputs: Sizes of the inputs.
        width: h.
    """

    def __init__(self, inputs: InputShape, width: int) -> None:
        super().__init__()
        self.frames = _normalised_mlp(inputs.frame_dim, width, width, 2 * width)
        self.text = _normalised_mlp(inputs.text_dim, 2 * width)
        self.instance = _normalised_mlp(2 * width, 2 * width, 2 * width, width)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Mean frame and mean text, encoded, [B, 2 h] each."""
        return self.frames(mean_of(batch, "frames")), self.text(mean_of(batch, "text"))


class Fusion(nn.Module):
    """``h * sigmoid(W_g h)`` of ``h = norm(W_o [W_a v; W_b t])``.

    Args:
        width: h of the instances; vectors are twice as wide.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.map_frames, self.map_text = nn.Linear(2 * width, 2 * width), nn.Linear(2 * width, 2 * width)
        self.join, self.norm = nn.Linear(4 * width, 2 * width), nn.LayerNorm(2 * width)
        self.gate = nn.Linear(2 * width, 2 * width)

    def forward(self, frames: Tensor, text: Tensor) -> Tensor:
        """One vector of two, [B, 2 h] each."""
        fused = self.norm(self.join(torch.cat([self.map_frames(frames), self.map_text(text)], dim=-1)))
        return fused * torch.sigmoid(self.gate(fused))


class Queues(nn.Module):
    """The last keys of each popularity bin.

    Args:
        n_bins: Queues.
        size: Keys in each.
        width: Of a key.

    Attributes:
        keys: [n_bins, size, width].
        counts: Keys that each queue was ever given, int64 [n_bins].
    """

    keys: Tensor
    counts: Tensor

    def __init__(self, n_bins: int, size: int, width: int) -> None:
        super().__init__()
        self.register_buffer("keys", torch.zeros(n_bins, size, width))
        self.register_buffer("counts", torch.zeros(n_bins, dtype=torch.long))

    def push(self, keys: Tensor, bins: Tensor) -> None:
        """Put keys [B, width] into the queues of their bins [B], in the place of the oldest."""
        size = self.keys.shape[1]
        for number in range(len(self.counts)):
            new = keys[bins == number]
            places = (self.counts[number] + torch.arange(len(new), device=keys.device)) % size
            self.keys[number, places[-size:]] = new[-size:].to(self.keys)
            self.counts[number] += len(new)

    def weights(self) -> Tensor:
        """How much a key of each bin counts for a query of each, [n_bins, n_bins].

        One in the query's own bin; else ``1 - y``, where y are the exponentials of the distances between the bins'
        centres, each row of length one: what is near is the harder negative.
        """
        filled = self._is_filled()
        centres = (self.keys * filled[..., None]).sum(dim=1) / filled.sum(dim=1, keepdim=True).clamp(min=1)
        away = normalize(torch.cdist(centres, centres).exp(), dim=1)
        return (1 - away).fill_diagonal_(1.0)

    def contrast(self, queries: Tensor, positives: Tensor, bins: Tensor) -> Tensor:
        """Cross-entropy of finding each query's own key among those of the queues, [B].

        Args:
            queries: [B, width], of length one.
            positives: The own key of each, likewise.
            bins: [B].
        """
        own = (queries * positives).sum(dim=1, keepdim=True)
        others = torch.einsum("bd,nsd->bns", queries, self.keys) * self.weights()[bins][..., None]
        others = others.masked_fill(~self._is_filled(), -torch.inf).flatten(1)
        logits = torch.cat([own, others], dim=1) / _TEMPERATURE
        return cross_entropy(logits, torch.zeros_like(bins), reduction="none")

    def _is_filled(self) -> Tensor:
        """Which places hold a key, bool [n_bins, size]."""
        return torch.arange(self.keys.shape[1], device=self.keys.device) < self.counts[:, None]


def _normalised_mlp(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.LayerNorm(after), nn.LeakyReLU()]
    return nn.Sequential(*layers)
