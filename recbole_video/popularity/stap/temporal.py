"""Temporal enlargement: frames -> frame scores, two views of their order, one gated sequence (STAP, Section 3.2)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.ssm import SSMBlock


@dataclass(frozen=True)
class Video:
    """What a temporal encoder makes of frames.

    Attributes:
        sequence: [B, T', d], for cross-attention.
        mask: [B, T'] bool, true where ``sequence`` has something.
        pooled: [B, d], for the query of the memory bank.
        weights: How much each frame matters, [B, T]; None where frames are not scored.
    """

    sequence: Tensor
    mask: Tensor
    pooled: Tensor
    weights: Tensor | None


class TemporalEncoder(nn.Module):
    """Frame scoring, state space block, sparse attention and gated fusion (Eq. 4 to 7).

    Eq. 7 adds sequences and vectors; here vectors are added at every frame, the sequence feeds cross-attention
    and its mean the query.

    Args:
        frame_dim: d_v of the frame embeddings.
        width: d.
        scorer: Scores frames; it belongs to the first block.
        blocks: Pairs of state space block and attention, either of which may be None (Table 3). A block beyond
            the first reads the normalised output of the one before, added to its input.
        pos_encoding: ``sinusoidal`` adds one to the projected frames; the paper has none, the released code does.
    """

    def __init__(
        self,
        frame_dim: int,
        width: int,
        scorer: FrameScorer,
        blocks: list[tuple[SSMBlock | None, SparseAttention | None]],
        pos_encoding: str = "none",
    ) -> None:
        super().__init__()
        self.project = nn.Linear(frame_dim, width)
        self.residual = nn.Linear(frame_dim, width)
        self.scorer = scorer
        self.blocks = nn.ModuleList(GatedBlock(width, ssm, attention) for ssm, attention in blocks)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in blocks[1:])
        self.pos_encoding = pos_encoding

    def forward(self, frames: Tensor, mask: Tensor) -> Video:
        """Encode frames [B, T, d_v] with their mask [B, T]."""
        x = self.project(frames)
        if self.pos_encoding == "sinusoidal":
            x = x + sinusoidal(x.shape[1], x.shape[2]).to(x)
        weights, anchor = self.scorer(x, mask)
        fused = self.blocks[0](x, weights, anchor, mask)
        for norm, block in zip(self.norms, self.blocks[1:], strict=True):
            x = norm(x + fused)
            fused = block(x, weights, anchor, mask)
        sequence = (fused + sequence_mean(self.residual(frames), mask)[:, None]) * mask[..., None]
        return Video(sequence, mask, sequence_mean(sequence, mask), weights)


class GatedBlock(nn.Module):
    """Weighted sum of state space block, attention and anchor; the weights follow from their means (Eq. 7)."""

    def __init__(self, width: int, ssm: SSMBlock | None, attention: SparseAttention | None) -> None:
        super().__init__()
        self.ssm, self.attention = ssm, attention
        n_parts = 1 + (ssm is not None) + (attention is not None)
        self.gate = nn.Linear(n_parts * width, n_parts)

    def forward(self, x: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> Tensor:
        """Fuse, [B, T, d]."""
        parts = [] if self.ssm is None else [self.ssm(x, weights, anchor, mask)]
        if self.attention is not None:
            parts.append(self.attention(x, weights, mask))
        means = [*(sequence_mean(part, mask) for part in parts), anchor]
        shares = self.gate(torch.cat(means, dim=-1)).softmax(dim=-1)
        fused = (shares[:, -1:] * anchor)[:, None].expand_as(x)
        for i, part in enumerate(parts):
            fused = fused + shares[:, i, None, None] * part
        return fused


class PooledFrames(nn.Module):
    """The mean frame, projected: what is left of the temporal encoder without its blocks."""

    def __init__(self, frame_dim: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(frame_dim, width)

    def forward(self, frames: Tensor, mask: Tensor) -> Video:
        """Encode frames [B, T, d_v] with their mask [B, T]."""
        pooled = sequence_mean(self.project(frames), mask)
        return Video(pooled[:, None], torch.ones_like(mask[:, :1]), pooled, None)


def sequence_mean(x: Tensor, mask: Tensor) -> Tensor:
    """Mean of [B, T, d] over the places where ``mask`` [B, T] is true, [B, d]; zero where there are none."""
    return (x * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def never_empty(mask: Tensor) -> Tensor:
    """The mask [B, T], with the first place taken where there is nothing: attention over nothing is not a number.

    The place holds zeros, so that a video without frames or text is read as the bias of the projection.
    """
    empty = ~mask.any(dim=1, keepdim=True)
    return torch.cat([mask[:, :1] | empty, mask[:, 1:]], dim=1)


def sinusoidal(length: int, width: int) -> Tensor:
    """Position encoding of Vaswani et al. (2017), [length, width]."""
    rates = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
