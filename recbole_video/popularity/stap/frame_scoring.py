"""Frame scoring: how much each frame matters, and the anchor of the video (STAP, Eq. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_EPSILON = 1e-6


class FrameScorer(nn.Module):
    """Scores frames by how they differ from the frame before; the anchor is their weighted mean.

    Args:
        width: d of the frames.
        scorer: ``mlp_delta`` is Eq. 4, an MLP on the difference; ``linear_abs`` is the released code's
            linear map of frame and absolute difference.
        enabled: False weighs all frames alike (Table 3, "w/o frame scoring").
        project_anchor: A linear map before the anchor's normalisation, as in the released code.
        dropout: On the anchor; the released code has it, the paper does not.
    """

    def __init__(
        self,
        width: int,
        scorer: str = "mlp_delta",
        enabled: bool = True,
        project_anchor: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.reads_frame = scorer == "linear_abs"
        self.score: nn.Module | None = None
        if enabled and self.reads_frame:
            self.score = nn.Linear(2 * width, 1, bias=False)
        elif enabled:
            self.score = nn.Sequential(nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, 1))
        self.project = nn.Linear(width, width) if project_anchor else nn.Identity()
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, frames: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Score the frames.

        Args:
            frames: [B, T, d] float.
            mask: [B, T] bool, true where a frame exists.

        Returns:
            Weights [B, T] in (0, 1), zero where there is no frame; anchor [B, d] in (-1, 1).
        """
        weights = mask.to(frames.dtype)
        if self.score is not None:
            weights = weights * torch.sigmoid(self._scores(frames))
        mean = (weights[..., None] * frames).sum(dim=1) / (weights.sum(dim=1, keepdim=True) + _EPSILON)
        return weights, self.dropout(torch.tanh(self.norm(self.project(mean))))

    def _scores(self, frames: Tensor) -> Tensor:
        change = torch.diff(frames, dim=1, prepend=frames[:, :1])  # the first frame has nothing before it: zero
        inputs = torch.cat([frames, change.abs()], dim=-1) if self.reads_frame else change
        return self.score(inputs).squeeze(-1)  # type: ignore[misc]
