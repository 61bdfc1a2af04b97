"""The mean frame itself (CVA, Table 6, row Pooling)."""

from __future__ import annotations

from torch import Tensor, nn

from recbole_video.content.mean import masked_mean
from recbole_video.errors import ConfigError


class Pooling(nn.Module):
    """Mean over the frames: no parameters, so the user encoder's width d has to be D.

    Args:
        frame_dim: D, width of a frame embedding.
        item_dim: d, width of an item vector.

    Raises:
        ConfigError: If the two widths differ.
    """

    begins_with_mean = True
    keeps_frame_dim = True

    def __init__(self, frame_dim: int, item_dim: int) -> None:
        super().__init__()
        if frame_dim != item_dim:
            raise ConfigError(
                f"Pooling keeps the frames' width: the user encoder's width must be {frame_dim}, not {item_dim}."
            )

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Average ``frames: [N, F, D]`` float over ``mask: [N, F]`` bool as item vectors [N, D]."""
        return masked_mean(frames, mask)
