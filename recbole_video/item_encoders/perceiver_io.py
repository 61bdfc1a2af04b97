"""Perceiver IO over frames (Jaegle et al., ICLR 2022) with the ablations of CVA's Table 6."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from recbole_video.content.mean import masked_mean
from recbole_video.errors import ConfigError
from recbole_video.item_encoders.layers import GEGLU, CrossAttention, FeedForward, LatentBlock
from recbole_video.options.option import MOST_LAYERS, Rule

VARIANTS = ("full", "no_first_cross_attention", "no_cross_attention", "no_attention")


class PerceiverIO(nn.Module):
    """Learned latents read the frames, attend to each other, and one learned query reads them.

    The variants remove attention step by step (parameters at D = d = 384):

    ========================  ==========  ==============================================================
    full                       5,321,344  latents <- cross-attention to the frames
    no_first_cross_attention   4,637,568  latents <- copies of GEGLU(mean of the frames)
    no_cross_attention         4,504,960  and the output is a linear layer on the latents' mean (CVA, R = 32)
    no_attention                 829,568  and the blocks mix the latents, then their entries, as in MLP-Mixer
    ========================  ==========  ==============================================================

    As in the authors' code, ``no_attention`` counts a query that nothing reads.

    Args:
        frame_dim: D, width of a frame embedding.
        item_dim: d, width of an item vector.
        variant: One of the four above.
        latent_dim: H, width of the latents.
        depth: Self-attention blocks, or mixers.
        n_latents: Number of latents.
        n_heads: Heads of the self-attention; cross-attention has one.
        head_dim: Width of a head.
        query_dim: Width of the learned output query.

    Raises:
        ConfigError: If ``variant`` is none of the four.
    """

    former_weights: ClassVar[dict[str, str]] = {
        "blocks.offsets": "its encoder_variant=no_attention is an earlier network of the same size, which is gone; "
        "train it anew"
    }

    def __init__(
        self,
        frame_dim: int,
        item_dim: int,
        *,
        variant: Annotated[
            Literal["full", "no_first_cross_attention", "no_cross_attention", "no_attention"],
            Rule("full, no_first_cross_attention, no_cross_attention or no_attention."),
        ] = "full",
        latent_dim: Annotated[int, Rule("H, width of the latents.", at_least=1)] = 256,
        depth: Annotated[
            int, Rule("Self-attention blocks; mixers of no_attention.", at_least=0, at_most=MOST_LAYERS)
        ] = 4,
        n_latents: Annotated[int, Rule("Latents.", at_least=1)] = 32,
        n_heads: Annotated[int, Rule("Heads of the self-attention.", at_least=1)] = 4,
        head_dim: Annotated[int, Rule("Width of a head.", at_least=1)] = 64,
        query_dim: Annotated[int, Rule("Width of the learned output query.", at_least=1)] = 384,
    ) -> None:
        super().__init__()
        if variant not in VARIANTS:
            raise ConfigError(f"`encoder_variant` is `{variant}`; it must be one of {', '.join(VARIANTS)}.")
        self.n_latents = n_latents
        self.reader: nn.Module
        if variant == "full":
            self.reader = _LatentReader(frame_dim, latent_dim, n_latents, head_dim)
        else:
            self.reader = _MeanReader(frame_dim, latent_dim, n_latents)
        if variant == "no_attention":
            self.unused_query = nn.Parameter(torch.randn(1, query_dim) * 0.02)
            self.blocks = nn.Sequential(*(_Mixer(latent_dim, n_latents) for _ in range(depth)))
        else:
            self.blocks = nn.Sequential(*(LatentBlock(latent_dim, n_heads, head_dim) for _ in range(depth)))
        if variant in ("full", "no_first_cross_attention"):
            self.out: nn.Module = _QueryOutput(latent_dim, query_dim, item_dim, head_dim)
        else:
            self.out = nn.Sequential(_LatentMean(), nn.LayerNorm(latent_dim), nn.Linear(latent_dim, item_dim))

    @property
    def begins_with_mean(self) -> bool:
        """Whether nothing but the mean of the frames is read."""
        return isinstance(self.reader, _MeanReader)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Encode ``frames: [N, F, D]`` float with ``mask: [N, F]`` bool as item vectors [N, d]."""
        return self.out(self.blocks(self.reader(frames, mask)))


class _LatentReader(nn.Module):
    """Learned latents attend to the frames: [N, F, D] -> [N, R, H]."""

    def __init__(self, frame_dim: int, latent_dim: int, n_latents: int, head_dim: int) -> None:
        super().__init__()
        self.latents = nn.Parameter(torch.randn(n_latents, latent_dim) * 0.02)
        self.attention = CrossAttention(latent_dim, frame_dim, n_heads=1, head_dim=head_dim)
        self.norm = nn.LayerNorm(latent_dim)
        self.feed_forward = FeedForward(latent_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        latents = self.latents.expand(len(frames), -1, -1)
        latents = latents + self.attention(latents, frames, mask)
        return latents + self.feed_forward(self.norm(latents))


class _MeanReader(nn.Module):
    """Copies of the compressed mean of the frames: [N, F, D] -> [N, R, H] (CVA, Eq. 1-2)."""

    def __init__(self, frame_dim: int, latent_dim: int, n_latents: int) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.compress = GEGLU(frame_dim, latent_dim)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        return self.compress(masked_mean(frames, mask))[:, None, :].expand(-1, self.n_latents, -1)


class _Mixer(nn.Module):
    """One layer across the latents, then one across their entries, each pre-norm with a residual.

    The first layer's norm runs over the R latents as well: equal copies are told apart by its biases.
    """

    def __init__(self, latent_dim: int, n_latents: int) -> None:
        super().__init__()
        self.across_latents = nn.Sequential(nn.LayerNorm(n_latents), nn.Linear(n_latents, n_latents), nn.GELU())
        self.across_entries = nn.Sequential(nn.LayerNorm(latent_dim), GEGLU(latent_dim, latent_dim))

    def forward(self, latents: Tensor) -> Tensor:
        """Mix ``latents: [N, R, H]``, of the same shape after it."""
        latents = latents + self.across_latents(latents.transpose(1, 2)).transpose(1, 2)
        return latents + self.across_entries(latents)


class _LatentMean(nn.Module):
    """Mean over the latents: [N, R, H] -> [N, H]."""

    def forward(self, latents: Tensor) -> Tensor:
        return latents.mean(dim=1)


class _QueryOutput(nn.Module):
    """One learned query attends to the latents: [N, R, H] -> [N, d]."""

    def __init__(self, latent_dim: int, query_dim: int, item_dim: int, head_dim: int) -> None:
        super().__init__()
        self.query = nn.Parameter(torch.randn(1, query_dim) * 0.02)
        self.attention = CrossAttention(query_dim, latent_dim, n_heads=1, head_dim=head_dim)
        self.out = nn.Linear(query_dim, item_dim)

    def forward(self, latents: Tensor) -> Tensor:
        query = self.query.expand(len(latents), -1, -1)
        return self.out(self.attention(query, latents))[:, 0]
