"""RecBole's id table behind the interface of an item encoder, for comparison."""

from __future__ import annotations

from torch import Tensor, nn


class ID(nn.Module):
    """A learned vector per item id; reads ids instead of frames, so cold items stay untrained.

    Args:
        table: The ``item_embedding`` of RecBole's model, with its initial values.
    """

    reads_frames = False

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ``ids: [N]`` int as item vectors [N, d]."""
        return self.table(ids)
