"""One feed-forward layer on the mean frame (CVA, Table 6, row MLP)."""

from __future__ import annotations

from typing import Annotated

from torch import Tensor, nn

from recbole_video.content.mean import masked_mean
from recbole_video.item_encoders.layers import FeedForward
from recbole_video.options.option import Rule


class MLP(nn.Module):
    """Mean over the frames, then GEGLU and a linear layer; 1,772,928 parameters at D = d = 384.

    Args:
        frame_dim: D, width of a frame embedding.
        item_dim: d, width of an item vector.
        expansion: Width inside, in multiples of d.
    """

    begins_with_mean = True

    def __init__(
        self,
        frame_dim: int,
        item_dim: int,
        *,
        expansion: Annotated[int, Rule("Width inside, in multiples of d.", at_least=1)] = 4,
    ) -> None:
        super().__init__()
        self.feed_forward = FeedForward(frame_dim, item_dim, expansion)

    def forward(self, frames: Tensor, mask: Tensor) -> Tensor:
        """Encode ``frames: [N, F, D]`` float with ``mask: [N, F]`` bool as item vectors [N, d]."""
        return self.feed_forward(masked_mean(frames, mask))
