"""Blocks that the neural baselines share: pooling with masks, recurrence, experts and their product, heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from recbole_video.errors import ConfigError
from recbole_video.popularity.base import Batch, InputShape, MetadataVector
from recbole_video.popularity.stap.temporal import never_empty, sequence_mean
from recbole_video.runtime.precision import full_precision

_LOG_DEVIATION = (-20.0, 2.0)  # bounds of the logarithm of an expert's standard deviation, of HMMVED's code

# -- inputs ----------------------------------------------------------------------------------------


def require(
    inputs: InputShape, model: str, names: Sequence[str] = ("frames", "text"), all_of_them: bool = False
) -> None:
    """Refuse a model of frames and text where there are none.

    Args:
        inputs: Sizes of the inputs.
        model: Its name, for the message.
        names: ``frames``, ``text`` or both.
        all_of_them: Whether it needs each of them, not any.

    Raises:
        ConfigError: If what it needs is not there.
    """
    widths = {"frames": inputs.frame_dim, "text": inputs.text_dim}
    missing = [name for name in names if not widths[name]]
    if missing and (all_of_them or len(missing) == len(names)):
        word = " and " if all_of_them else " or "
        raise ConfigError(
            f"{model} reads {word.join(names)}, and there is no {missing[0]}; make a store of it (docs/video.md), or "
            f"leave out use_{missing[0]}=False."
        )


def mean_of(batch: Batch, name: str) -> Tensor:
    """Mean of the ``frames`` or ``text`` of each video that are there, [B, d]; zero where there are none."""
    return sequence_mean(batch[name], batch["frame_mask" if name == "frames" else f"{name}_mask"])


def with_metadata(metadata: MetadataVector, batch: Batch, *parts: Tensor) -> Tensor:
    """Vectors [B, d] side by side, with the metadata vector U behind them where there is metadata."""
    return torch.cat([*parts, metadata(batch)] if metadata.width else parts, dim=-1)


# -- pooling and recurrence ------------------------------------------------------------------------


def masked_softmax(scores: Tensor, mask: Tensor, dim: int = -1) -> Tensor:
    """Softmax over the places where a mask is true, which broadcasts to the scores; zero elsewhere.

    There must be such a place: :func:`never_empty` sees to it.
    """
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=dim)


class AttentionPooling(nn.Module):
    """Mean of a sequence whose weights are ``softmax(w' x / sqrt(d))``."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1, bias=False)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Pool x [B, n, d] over the places of the mask [B, n], at least one of each row: [B, d], and weights [B, n]."""
        weights = masked_softmax(self.score(x).squeeze(-1) / x.shape[-1] ** 0.5, mask)
        return (weights[..., None] * x).sum(dim=1), weights


def last_place(x: Tensor, mask: Tensor) -> Tensor:
    """What stands at the last place of x [B, n, d] that the mask [B, n] has, [B, d]; of an empty row, at the first."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (places * never_empty(mask)).amax(dim=1)
    return x[torch.arange(len(x), device=x.device), last]


def last_state(layers: nn.LSTM, x: Tensor, mask: Tensor) -> Tensor:
    """State after the last of x [B, n, d] that the mask [B, n] has, [B, h]; in single precision under autocast too."""
    with full_precision(x.device):
        return last_place(layers(x.float())[0], mask)


def mlp(*widths: int, last_is_linear: bool = False) -> nn.Sequential:
    """Linear layers of these widths, a ReLU behind each, or behind each but the last."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*(layers[:-1] if last_is_linear else layers))


# -- experts ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Gaussian:
    """A normal distribution with independent dimensions for each video.

    Attributes:
        mean: [B, n].
        variance: [B, n], above 0.
    """

    mean: Tensor
    variance: Tensor

    def sample(self, noise: Tensor | None = None) -> Tensor:
        """A draw that gradients flow through, [B, n]; by ``noise`` in place of one from the standard normal."""
        noise = torch.randn_like(self.mean) if noise is None else noise
        return self.mean + noise * self.variance.sqrt()

    def divergence(self, prior: Gaussian | None = None) -> Tensor:
        """KL(self || prior), summed over dimensions, [B]; by default from the standard normal distribution."""
        if prior is None:
            terms = self.mean**2 + self.variance - 1 - self.variance.log()
        else:
            ratio = self.variance / prior.variance
            terms = (self.mean - prior.mean) ** 2 / prior.variance + ratio - 1 - ratio.log()
        return terms.sum(dim=-1) / 2


def product_of_experts(experts: Sequence[Gaussian], present: Tensor) -> Gaussian:
    """The product of normal densities, of those experts that a video has something of; no prior among them.

    ``mean = sum(mean_k / variance_k) / sum(1 / variance_k)`` and ``variance = 1 / sum(1 / variance_k)``.

    Args:
        experts: K distributions.
        present: [B, K] bool; a video that has nothing at all is judged by all of them, which read zeros.
    """
    present = present | ~present.any(dim=1, keepdim=True)
    precisions = torch.stack([one.variance.reciprocal() for one in experts], dim=1) * present[..., None]
    means = torch.stack([one.mean for one in experts], dim=1)
    total = precisions.sum(dim=1)
    return Gaussian((precisions * means).sum(dim=1) / total, total.reciprocal())


class Expert(nn.Module):
    """A normal distribution of the latent vector: mean and spread, linear in a vector each.

    Args:
        width: Of what it reads.
        latent_size: n.
        is_bounded: The second layer gives the logarithm of the standard deviation, cut to -20 to 2; else, of the
            variance.
    """

    def __init__(self, width: int, latent_size: int, is_bounded: bool = False) -> None:
        super().__init__()
        self.mean, self.spread = nn.Linear(width, latent_size), nn.Linear(width, latent_size)
        self.is_bounded = is_bounded

    def forward(self, x: Tensor) -> Gaussian:
        """The distribution for each row of x [B, width], in single precision."""
        mean, spread = self.mean(x).float(), self.spread(x).float()
        log_variance = 2 * spread.clamp(*_LOG_DEVIATION) if self.is_bounded else spread
        return Gaussian(mean, log_variance.exp())


class LastFrame(nn.Module):
    """Frames through one encoder layer of a Transformer, normalised after each half; what its last frame becomes.

    Args:
        width: d_v of the frames.
        heads: Attention heads.
        feedforward_size: Width of the layer between.
        dropout: Within the layer.

    Raises:
        ConfigError: If the heads do not share the width out.
    """

    def __init__(self, width: int, heads: int, feedforward_size: int, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(f"`attn_heads` is {heads}, and frames are {width} wide; set it to a divisor of {width}.")
        self.layer = nn.TransformerEncoderLayer(width, heads, feedforward_size, dropout, batch_first=True)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Read frames [B, T, d_v] with their mask [B, T], to [B, d_v]."""
        return last_place(self.layer(frames, src_key_padding_mask=~never_empty(mask)), mask)


class ModalityExperts(nn.Module):
    """An expert of the frames and one of the text, where there are such, and their product.

    As two public re-implementations have it: the last frame behind one Transformer layer, then two layers for each
    modality; or, without that layer, the mean of the frames and as many layers as there are widths.

    Args:
        inputs: Sizes of the inputs.
        widths: Of the layers before an expert.
        latent_size: n.
        frames: What reads the frames; None for their mean.
        is_bounded: As for :class:`Expert`.
    """

    def __init__(
        self,
        inputs: InputShape,
        widths: Sequence[int],
        latent_size: int,
        frames: nn.Module | None = None,
        is_bounded: bool = False,
    ) -> None:
        super().__init__()
        self.frames = frames
        sizes = {"frames": inputs.frame_dim, "text": inputs.text_dim}
        self.encoders, self.experts = nn.ModuleDict(), nn.ModuleDict()
        for name, width in sizes.items():
            if width:
                self.encoders[name] = mlp(width, *widths)
                self.experts[name] = Expert(widths[-1], latent_size, is_bounded)

    def forward(self, batch: Batch) -> Gaussian:
        """The product of the experts of what each video has."""
        found, present = [], []
        for name, encode in self.encoders.items():
            mask = batch["frame_mask" if name == "frames" else "text_mask"]
            reads = self.frames if name == "frames" else None
            x = mean_of(batch, name) if reads is None else reads(batch[name], mask)
            found.append(self.experts[name](encode(x)))
            present.append(mask.any(dim=1))
        return product_of_experts(found, torch.stack(present, dim=1))
