"""Blocks of the authors' released code, as far as they differ from the paper (variant ``official``).

Restated from what ``models/gsar_jamba_v2.py`` of ``AI4SS/STAP`` does at f6aec3b and its training script at 4d98914;
nothing of it is copied. docs/popularity.md says what is not kept.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, pad, silu, softplus

from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.scan import linear_scan
from recbole_video.popularity.stap.temporal import Video, sequence_mean, sinusoidal

_START = -0.1  # of alpha and rho: frames that matter have smaller steps
_WINDOW_FACTOR = 0.5  # how much the importance of a frame widens its window


class MambaBlock(nn.Module):
    """A Mamba block whose steps depend on the anchor and on how much a frame matters.

    ``delta = softplus(W_dt r(x) + b + alpha cos(x, anchor) + rho w)`` per channel, with alpha and rho trained from -0.1
    on and no bounds. One causal convolution serves both directions, whose frames and steps are turned behind it; they
    share their weights and are mixed 0.75 to 0.25. Exponential decay, Euler input.

    Args:
        width: d; the block is 2 d wide inside.
        direction_mix: Weights of the forward and the backward scan.
        dropout: On the output.
        state: Numbers of state per channel.
        conv: Frames that the causal convolution sees.
        rank: Rank of the projection that makes the steps.
    """

    former_weights: ClassVar[dict[str, str]] = {
        "frame_step.0.weight": (
            "it has the blocks of variant=official from before the revision f6aec3b of the released code was read, "
            "which this version does not have; train it anew"
        )
    }

    def __init__(
        self,
        width: int,
        direction_mix: tuple[float, float] = (0.75, 0.25),
        dropout: float = 0.1,
        state: int = 16,
        conv: int = 4,
        rank: int = 48,
    ) -> None:
        super().__init__()
        inner = 2 * width
        self.state, self.rank, self.direction_mix = state, rank, direction_mix
        self.alpha, self.rho = nn.Parameter(torch.tensor(_START)), nn.Parameter(torch.tensor(_START))
        self.input = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, conv, groups=inner, padding=conv - 1)
        self.select = nn.Linear(inner, rank + 2 * state, bias=False)
        self.step = nn.Linear(rank, inner)
        nn.init.ones_(self.step.bias)
        self.decay_log = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scan both ways.

        Args:
            x: [B, T, d].
            weights: [B, T].
            anchor: [B, d].
            mask: [B, T] bool.

        Returns:
            [B, T, d], and the last state of the forward scan averaged over its numbers, [B, 2 d].
        """
        inner, gate = self.input(x).chunk(2, dim=-1)
        inner = silu(self.conv(inner.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)) * mask[..., None]
        base, into, out = self.select(inner).split([self.rank, self.state, self.state], dim=-1)
        steps = self.steps(self.step(base), x, weights, anchor) * mask[..., None]
        forward, last = self._scan(inner, steps, into, out)
        lengths = mask.sum(dim=1)
        turned, _ = self._scan(*(_turn(part, lengths) for part in (inner, steps, into, out)))
        ahead, back = self.direction_mix
        y = ahead * forward + back * _turn(turned, lengths)
        return self.dropout(self.output(y * silu(gate))), last

    def steps(self, base: Tensor, x: Tensor, weights: Tensor, anchor: Tensor) -> Tensor:
        """Size of each step, [B, T, 2 d], of what the block makes of the frames, ``base`` [B, T, 2 d], and the rest."""
        like_anchor = cosine_similarity(x, anchor[:, None], dim=-1)
        return softplus(base + (self.alpha * like_anchor + self.rho * weights)[..., None])

    def _scan(self, inner: Tensor, steps: Tensor, into: Tensor, out: Tensor) -> tuple[Tensor, Tensor]:
        """Output [B, T, 2 d] and last state [B, 2 d]; with a step of 0, where no frame is, the state stands still."""
        delta = steps[..., None]
        decay = torch.exp(-delta * self.decay_log.exp())
        inputs = delta * into[:, :, None] * inner[..., None]
        states = linear_scan(decay.transpose(0, 1).contiguous(), inputs.transpose(0, 1).contiguous()).transpose(0, 1)
        return (states * out[:, :, None]).sum(dim=-1) + self.skip * inner, states[:, -1].mean(dim=-1)


class WindowedAttention(nn.Module):
    """Attention of frames to their neighbours and to the anchor, which sees all frames, between norm and residual.

    A frame's window has ``floor(base (1 + 0.5 (w - mean w)))`` frames, half of them, rounded down, to each side. As in
    the released code, the residual is the block's *normed* input. Its mean of the windows over the batch is not kept.

    Args:
        width: d.
        base_window: Frames of a window, or a float: a share of the video's frames.
        heads: Heads.
        dropout: On attention weights and on the output.
    """

    def __init__(self, width: int, base_window: float, heads: int, dropout: float) -> None:
        super().__init__()
        self.base_window, self.heads = base_window, heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Frames [B, T, d] and token [B, d] of frames [B, T, d], their weights, the anchor [B, d], and the mask."""
        tokens = torch.cat([x, anchor[:, None]], dim=1)
        normed = self.norm(tokens)
        query, key, value = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(-1, -2) * query.shape[-1] ** -0.5
        scores = scores.masked_fill(~self._seen(weights, mask)[:, None], -torch.inf)
        attended = (self.dropout(scores.softmax(dim=-1)) @ value).transpose(1, 2).flatten(2)
        attended = self.dropout(self.output(attended)) + tokens
        return attended[:, :-1], attended[:, -1]

    def half_windows(self, weights: Tensor, mask: Tensor) -> Tensor:
        """Frames to each side, [B, T]."""
        lengths = mask.sum(dim=1, keepdim=True)
        mean = (weights * mask).sum(dim=1, keepdim=True) / lengths.clamp(min=1)
        base = self.base_window * lengths if isinstance(self.base_window, float) else self.base_window
        whole = torch.floor(base * (1 + _WINDOW_FACTOR * (weights - mean)))
        return torch.div(whole.clamp(min=1).minimum(lengths.clamp(min=1)), 2, rounding_mode="floor")

    def _seen(self, weights: Tensor, mask: Tensor) -> Tensor:
        """What each frame and, last, the token sees, [B, T + 1, T + 1]; a place without a frame sees the token."""
        place = torch.arange(mask.shape[1], device=mask.device)
        is_near = (place[:, None] - place).abs() <= self.half_windows(weights, mask)[..., None]
        frames = pad(is_near & mask[:, None], (0, 1), value=True)
        return torch.cat([frames, pad(mask, (0, 1), value=True)[:, None]], dim=1)


class OfficialBlock(nn.Module):
    """Mamba and attention beside each other, mixed by one number per frame, then a feed-forward layer; pre-norms."""

    def __init__(self, width: int, ssm: MambaBlock, attention: WindowedAttention, dropout: float) -> None:
        super().__init__()
        self.ssm, self.attention = ssm, attention
        self.norm, self.attention_norm, self.feed_norm = (nn.LayerNorm(width) for _ in range(3))
        self.gate = nn.Linear(2 * width + 1, 1)
        nn.init.zeros_(self.gate.bias)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, weights: Tensor, anchor: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames [B, T, d], token [B, d] and last state [B, 2 d]."""
        scanned, last = self.ssm(self.norm(x), weights, anchor, mask)
        attended, token = self.attention(self.attention_norm(x), weights, anchor, mask)
        mean = sequence_mean(weights[..., None], mask)
        of_video = torch.cat([anchor, mean], dim=-1)[:, None].expand(-1, x.shape[1], -1)
        gate = torch.sigmoid(self.gate(torch.cat([x, of_video], dim=-1)))
        x = self.dropout(x + gate * scanned + (1 - gate) * attended)
        return x + self.feed(self.feed_norm(x)), token, last


class OfficialTemporalEncoder(nn.Module):
    """The released temporal encoder: one vector per video from frames, token and state.

    Args:
        frame_dim: d_v.
        width: d.
        scorer: Scores the frames; its anchor is that of all blocks.
        blocks: The stacked blocks, of which the last one gives token and state.
        pos_encoding: ``sinusoidal`` adds one to the projected frames, as released; ``none`` leaves it out.
        dropout: On the frames with their positions, and on the result.
    """

    def __init__(
        self,
        frame_dim: int,
        width: int,
        scorer: FrameScorer,
        blocks: list[OfficialBlock],
        pos_encoding: str = "sinusoidal",
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.pos_encoding = pos_encoding
        self.project = nn.Linear(frame_dim, width)
        self.scorer = scorer
        self.blocks = nn.ModuleList(blocks)
        self.last_norm = nn.LayerNorm(width)
        self.of_state = nn.Linear(2 * width, width)
        self.mix = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 3))
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> Video:
        """Encode frames [B, T, d_v] with their mask [B, T]."""
        x = self.project(frames)
        if self.pos_encoding == "sinusoidal":
            x = x + sinusoidal(x.shape[1], x.shape[2]).to(x)
        x = self.dropout(x)
        weights, anchor = self.scorer(x, mask)
        token = state = x.new_zeros(())
        for block in self.blocks:
            x, token, state = block(x, weights, anchor, mask)
        x = self.last_norm(x)
        pooled = (weights[..., None] * x).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        parts = [pooled, token, self.of_state(state)]
        shares = self.mix(torch.cat(parts, dim=-1)).softmax(dim=-1)
        video = self.dropout(sum(shares[:, i, None] * part for i, part in enumerate(parts)))
        return Video(video[:, None], torch.ones_like(mask[:, :1]), video, weights)


class Interaction(nn.Module):
    """MMRA's interaction of two single vectors: every softmax over one entry is 1.

    ``V* = tanh(W3 [v; tanh(W1 [t; -0.5 t])])`` and ``T* = tanh(W4 [t; tanh(W2 [v; -0.5 v])])``. The similarity maps and
    the scores of the pooling are in the count and have no effect on the result.

    Args:
        width: d.
        shares_map: Whether one map serves both sides, as where the retrieved vector meets itself.
        negative: Weight of the negative attention.
    """

    def __init__(self, width: int, shares_map: bool = False, negative: float = 0.5) -> None:
        super().__init__()
        self.negative = negative
        self.map_frames = nn.Linear(width, width)
        self.map_text = self.map_frames if shares_map else nn.Linear(width, width)
        self.from_text, self.from_frames, self.to_frames, self.to_text = (nn.Linear(2 * width, width) for _ in range(4))
        self.pool_frames, self.pool_text = nn.Linear(width, 1), nn.Linear(width, 1)

    def forward(self, frames: Tensor, frame_mask: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """``V*`` [B, d] and ``T*`` [B, d] of the mean frame and the mean text."""
        return self.interact(sequence_mean(frames, frame_mask), sequence_mean(text, text_mask))

    def interact(self, v: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """``V*`` [B, d] and ``T*`` [B, d] of two vectors [B, d]."""
        similarity = (torch.tanh(self.map_frames(v)) * torch.tanh(self.map_text(t))).mean(dim=-1, keepdim=True)
        weight = _of_one(similarity)
        of_text, of_frames = weight * t, weight * v
        frames = torch.tanh(self.from_text(torch.cat([of_text, -self.negative * of_text], dim=-1)))
        text_side = torch.tanh(self.from_frames(torch.cat([of_frames, -self.negative * of_frames], dim=-1)))
        v_star = torch.tanh(self.to_frames(torch.cat([v, frames], dim=-1)))
        t_star = torch.tanh(self.to_text(torch.cat([t, text_side], dim=-1)))
        return _of_one(self.pool_frames(v_star)) * v_star, _of_one(self.pool_text(t_star)) * t_star


def _of_one(score: Tensor) -> Tensor:
    """Attention to the one vector that there is, [B, 1]: 1, whatever the score [B, 1]."""
    return score.softmax(dim=-1)


def _turn(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the frames of each video [B, T, ...]; what is behind its last frame stays."""
    places = torch.arange(x.shape[1], device=x.device)
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return x.gather(1, turned.view(*turned.shape, *[1] * (x.dim() - 2)).expand_as(x))
