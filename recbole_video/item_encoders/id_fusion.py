"""Content plus id: a learned id vector beside the content vector.

Recent work finds that the two together beat either alone ("Frozen LVLMs for Micro-Video
Recommendation", 2025). An item that training never saw has no id vector and keeps its content
vector alone; id dropout makes that case part of training.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class IdFusion(nn.Module):
    """Adds id vectors to content vectors: ``sum`` as they are, ``gate`` through a learned gate.

    Args:
        n_items: Items, padding included.
        item_dim: d.
        mode: ``sum`` or ``gate``.
        dropout: Probability that a training step hides an item's id vector.
        is_trained: [n_items] bool, items that occur in training.
    """

    is_trained: Tensor

    def __init__(self, n_items: int, item_dim: int, mode: str, dropout: float, is_trained: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(n_items, item_dim)
        nn.init.normal_(self.table.weight, std=0.02)
        self.gate = nn.Linear(2 * item_dim, item_dim) if mode == "gate" else None
        self.dropout = dropout
        self.register_buffer("is_trained", is_trained)

    def forward(self, content: Tensor, ids: Tensor) -> Tensor:
        """Fuse ``content: [U, d]`` with the id vectors of ``ids: [U]``: [U, d]."""
        shown = self.is_trained[ids]
        if self.training and self.dropout:
            shown = shown & (torch.rand(len(ids), device=ids.device) >= self.dropout)
        id_vector = self.table(ids)
        if self.gate is not None:
            id_vector = id_vector * torch.sigmoid(self.gate(torch.cat([content, id_vector], dim=-1)))
        return content + id_vector * shown[:, None]
