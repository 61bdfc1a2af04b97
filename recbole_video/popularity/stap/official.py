"""Blocks of the authors' released code, as far as they differ from the paper (variant ``official``).

Restated from a description of the code, not taken from it. What the description leaves open is marked.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu, softplus

from recbole_video.popularity.stap.frame_scoring import FrameScorer
from recbole_video.popularity.stap.scan import linear_scan
from recbole_video.popularity.stap.sparse_attention import SparseAttention
from recbole_video.popularity.stap.temporal import Video, sequence_mean, sinusoidal

_LOWEST_STEP = 0.5  # what the lower bound is cut to
_STEP_HIDDEN = 64  # of the MLP from frame differences to steps; the description does not say


class MambaBlock(nn.Module):
    """A Mamba block whose steps all rise and fall with one number per frame.

    ``delta = softplus(W_dt (delta_base(x) + s_t) + b)`` per channel, with ``s_t`` between two bounds: delta_min and
    delta_max, which pass through softplus first, the lower one then through a clamp. Whatever Table S1 says, the lower
    one is 0.5 and stays there without gradient; the upper one starts at 1.31 (0.74 for MicroLens) and is trained.
    Directions share their weights and are mixed 0.75 to 0.25. Exponential decay, Euler input.

    Args:
        width: d; the block is 2 d wide inside.
        delta_min: Lower bound of the step, of Table S1.
        delta_max: Upper bound of the step, of Table S1.
        direction_mix: Weights of the forward and the backward scan.
        state: Numbers of state per channel.
        conv: Frames that the causal convolution sees.
        rank: Rank of the projection that makes the steps.
    """

    def __init__(
        self,
        width: int,
        delta_min: float,
        delta_max: float,
        direction_mix: tuple[float, float] = (0.75, 0.25),
        state: int = 16,
        conv: int = 4,
        rank: int = 48,
    ) -> None:
        super().__init__()
        inner = 2 * width
        self.state, self.rank, self.direction_mix = state, rank, direction_mix
        self.input = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, conv, groups=inner, padding=conv - 1)
        self.select = nn.Linear(inner, rank + 2 * state, bias=False)
        self.step = nn.Linear(rank, inner)
        self.frame_step = nn.Sequential(nn.Linear(2 * width + 1, _STEP_HIDDEN), nn.GELU(), nn.Linear(_STEP_HIDDEN, 1))
        self.range = nn.Parameter(torch.tensor([delta_min, delta_max]))
        self.decay_log = nn.Parameter(torch.log(torch.arange(1, state + 1).float()).repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.output = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor, weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Scan both ways.

        Args:
            x: [B, T, d].
            weights: [B, T].
            mask: [B, T] bool.

        Returns:
            [B, T, d], and the last state of the forward scan averaged over its numbers, [B, 2 d].
        """
        change = torch.diff(x, dim=1, prepend=x[:, :1])
        share = torch.sigmoid(self.frame_step(torch.cat([change, change.abs(), weights[..., None]], dim=-1)))
        low, high = self.bounds()
        steps = low + (high - low) * share
        forward, last = self._scan(x, steps, mask)
        lengths = mask.sum(dim=1)
        turned, turned_steps = (_turn(part, lengths) for part in (x, steps))
        backward = _turn(self._scan(turned, turned_steps, mask)[0], lengths)
        ahead, back = self.direction_mix
        return ahead * forward + back * backward, last

    def bounds(self) -> tuple[Tensor, Tensor]:
        """Lowest and highest ``s_t``, scalars. Which clamp the upper one passes is not known: it does not act there."""
        low, high = softplus(self.range)
        return low.clamp(max=_LOWEST_STEP), high

    def _scan(self, x: Tensor, steps: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        inner, gate = self.input(x).chunk(2, dim=-1)
        inner = silu(self.conv(inner.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2)) * mask[..., None]
        base, into, out = self.select(inner).split([self.rank, self.state, self.state], dim=-1)
        delta = softplus(self.step(base + steps))[..., None] * mask[..., None, None]  # [B, T, inner, 1]
        decay = torch.exp(-delta * self.decay_log.exp())
        inputs = delta * into[:, :, None] * inner[..., None]
        states = linear_scan(decay.transpose(0, 1).contiguous(), inputs.transpose(0, 1).contiguous()).transpose(0, 1)
        y = (states * out[:, :, None]).sum(dim=-1) + self.skip * inner
        # Without frames the state stands still: the last one is that of the last frame.
        return self.output(y * silu(gate)), states[:, -1].mean(dim=-1)


class OfficialBlock(nn.Module):
    """Mamba and attention with the anchor as a token, mixed per frame, then a feed-forward layer; pre-norms."""

    def __init__(self, width: int, ssm: MambaBlock, attention: SparseAttention, dropout: float) -> None:
        super().__init__()
        self.ssm, self.attention = ssm, attention
        self.norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.gate = nn.Linear(2 * width, 1)
        self.feed = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(dropout), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, token: Tensor, weights: Tensor, mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Frames [B, T, d], token [B, d] and last state [B, 2 d]."""
        normed = self.norm(x)
        scanned, last = self.ssm(normed, weights, mask)
        attended = self.attention(normed, weights, mask, token)
        token = token + attended[:, -1]
        attended = attended[:, :-1]
        gate = torch.sigmoid(self.gate(torch.cat([scanned, attended], dim=-1)))
        x = x + self.dropout(gate * scanned + (1 - gate) * attended)
        return x + self.dropout(self.feed(self.feed_norm(x))), token, last


class OfficialTemporalEncoder(nn.Module):
    """The released temporal encoder: one vector per video from frames, token and state.

    Args:
        frame_dim: d_v.
        width: d.
        scorer: Scores the frames.
        blocks: The stacked blocks.
        pos_encoding: ``sinusoidal`` adds one to the projected frames, as released; ``none`` leaves it out.
    """

    def __init__(
        self,
        frame_dim: int,
        width: int,
        scorer: FrameScorer,
        blocks: list[OfficialBlock],
        pos_encoding: str = "sinusoidal",
    ) -> None:
        super().__init__()
        self.pos_encoding = pos_encoding
        self.project = nn.Linear(frame_dim, width)
        self.scorer = scorer
        self.blocks = nn.ModuleList(blocks)
        self.of_state = nn.Linear(2 * width, width)
        self.mix = nn.Sequential(nn.Linear(3 * width, width), nn.ReLU(), nn.Linear(width, 3))

    def forward(self, frames: Tensor, mask: Tensor) -> Video:
        """Encode frames [B, T, d_v] with their mask [B, T]."""
        x = self.project(frames)
        if self.pos_encoding == "sinusoidal":
            x = x + sinusoidal(x.shape[1], x.shape[2]).to(x)
        weights, token = self.scorer(x, mask)
        state = x.new_zeros(())
        for block in self.blocks:
            x, token, state = block(x, token, weights, mask)
        pooled = (weights[..., None] * x).sum(dim=1) / weights.sum(dim=1, keepdim=True).clamp(min=1e-6)
        parts = [pooled, token, self.of_state(state)]
        shares = self.mix(torch.cat(parts, dim=-1)).softmax(dim=-1)
        video = sum(shares[:, i, None] * part for i, part in enumerate(parts))
        return Video(video[:, None], torch.ones_like(mask[:, :1]), video, weights)


class Interaction(nn.Module):
    """MMRA's interaction of frames and text, here of two single vectors: every softmax over one entry is 1.

    ``V* = tanh(W3 [v; tanh(W1 [t; -0.5 t])])`` and ``T* = tanh(W4 [t; tanh(W2 [v; -0.5 v])])``. The similarity maps
    of the original are kept in the count and have no effect on the result.
    """

    def __init__(self, width: int, negative: float = 0.5) -> None:
        super().__init__()
        self.negative = negative
        self.map_frames, self.map_text = nn.Linear(width, width), nn.Linear(width, width)
        self.from_text, self.from_frames, self.to_frames, self.to_text = (nn.Linear(2 * width, width) for _ in range(4))

    def forward(self, frames: Tensor, frame_mask: Tensor, text: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """``V*`` [B, d] and ``T*`` [B, d] of the mean frame and the mean text."""
        v, t = sequence_mean(frames, frame_mask), sequence_mean(text, text_mask)
        similarity = (torch.tanh(self.map_frames(v)) * torch.tanh(self.map_text(t))).mean(dim=-1, keepdim=True)
        weight = similarity[..., None].softmax(dim=-1)[..., 0]  # of one entry: 1
        of_text, of_frames = weight * t, weight * v
        frames = torch.tanh(self.from_text(torch.cat([of_text, -self.negative * of_text], dim=-1)))
        text_side = torch.tanh(self.from_frames(torch.cat([of_frames, -self.negative * of_frames], dim=-1)))
        v_star = torch.tanh(self.to_frames(torch.cat([v, frames], dim=-1)))
        return v_star, torch.tanh(self.to_text(torch.cat([t, text_side], dim=-1)))


def _turn(x: Tensor, lengths: Tensor) -> Tensor:
    """Reverse the frames of each video [B, T, ...]; what is behind its last frame stays."""
    places = torch.arange(x.shape[1], device=x.device)
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
    return x.gather(1, turned.view(*turned.shape, *[1] * (x.dim() - 2)).expand_as(x))
