"""Attention of each frame to its neighbours, in a window that depends on the frame (STAP, Eq. 6)."""

from __future__ import annotations

import logging
import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

_FLOOR = 1e-6  # of the soft edge, far outside of the window


class SparseAttention(nn.Module):
    """Windowed self-attention; ``window_t = base + beta * signal_t`` frames to either side.

    Args:
        width: d of the frames, and d_a.
        base_window: Half width in frames, or a float: a share of the video's frames (1.0 is the main text's "100 %").
        heads: Eq. 6 has one, without a map of the output; several get one.
        window_signal: ``norm_zscore``: norm of the frame against those of its video; ``norm_raw``: the norm, as
            printed (constant for normalised frames); ``importance``: the frame's weight against the mean weight.
        window_mask: ``soft``: a sigmoid edge, through which beta learns; ``hard``: as printed, beta has no gradient;
            ``ste``: hard forward; beta learns through the soft edge inside of the window.
        edge: Width of the soft edge in frames.
        beta: Its initial value.
        dropout: On attention weights.
    """

    def __init__(
        self,
        width: int,
        base_window: float = 10,
        heads: int = 1,
        window_signal: str = "norm_zscore",
        window_mask: str = "soft",
        edge: float = 1.0,
        beta: float = 1.0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.base_window, self.heads, self.edge = base_window, heads, edge
        self.window_signal, self.window_mask = window_signal, window_mask
        self.query, self.key, self.value = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.output = nn.Linear(width, width) if heads > 1 else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.beta_raw = nn.Parameter(torch.tensor(math.log(math.expm1(beta))))
        self._is_checked = False

    def forward(self, frames: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Attend.

        Args:
            frames: [B, T, d] float.
            weights: [B, T] float, how much each frame matters.
            mask: [B, T] bool, true where a frame exists.

        Returns:
            [B, T, d].
        """
        bias = self._bias(self.windows(frames, weights, mask), mask)
        q, k, v = (self._split(layer(frames)) for layer in (self.query, self.key, self.value))
        scores = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1]) + bias[:, None].to(q.dtype)
        attended = self.dropout(scores.softmax(dim=-1)) @ v
        return self.output(attended.transpose(1, 2).flatten(2))

    def windows(self, frames: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        """Half width of each frame's window in frames, [B, T] within [1, T]."""
        lengths = mask.sum(dim=1, keepdim=True).clamp(min=1)
        base = self.base_window * lengths if isinstance(self.base_window, float) else self.base_window
        windows = base + softplus(self.beta_raw) * self._signal(frames, weights, mask)
        return windows.clamp(min=1).minimum(lengths.clamp(min=1).to(windows.dtype))

    def _signal(self, frames: Tensor, weights: Tensor, mask: Tensor) -> Tensor:
        values = weights if self.window_signal == "importance" else frames.norm(dim=-1)
        n = mask.sum(dim=1, keepdim=True).clamp(min=1)
        centred = (values - (values * mask).sum(dim=1, keepdim=True) / n) * mask
        if self.window_signal == "importance":
            return centred
        variance = centred.square().sum(dim=1, keepdim=True) / n
        self._warn_if_constant(variance)
        if self.window_signal == "norm_raw":
            return values
        return centred / (variance + _FLOOR**2).sqrt()

    def _warn_if_constant(self, variance: Tensor) -> None:
        if self._is_checked or not self.training:
            return
        self._is_checked = True  # once: looking makes a GPU wait
        if bool((variance < _FLOOR).all()):
            logging.getLogger().warning(
                "All frames of each video have one norm: the attention's windows are constant; choose another "
                "window_signal, or frame embeddings that are not normalised."
            )

    def _bias(self, windows: Tensor, mask: Tensor) -> Tensor:
        """What is added to the scores, [B, T, T]: 0 inside of the window, less outside, -inf where no frame is."""
        position = torch.arange(mask.shape[1], device=mask.device)
        distance = (position[:, None] - position).abs()
        inside = windows[..., None] - distance
        itself = torch.eye(len(position), dtype=torch.bool, device=mask.device)
        soft = hard = torch.zeros_like(inside)
        if self.window_mask != "soft":
            hard = hard.masked_fill(~((inside >= 0) | itself), -torch.inf)
        if self.window_mask != "hard":
            soft = torch.log(torch.sigmoid(inside / self.edge) + _FLOOR)
        bias = soft if self.window_mask == "soft" else hard + (soft - soft.detach())
        # A place without a frame sees itself, so that its row is a number; nobody else sees it.
        return bias.masked_fill(~(mask[:, None] | itself), -torch.inf)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
