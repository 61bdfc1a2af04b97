"""SASRec over item vectors."""

from __future__ import annotations

from typing import Any

import torch
from recbole.model.sequential_recommender.sasrec import SASRec as RecBoleSASRec
from torch import Tensor
from torch.nn import functional as F

from recbole_video.user_encoders.base import CausalVideoRecommender


class SASRec(CausalVideoRecommender, RecBoleSASRec):
    """Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018."""

    width_option = "hidden_size"

    def states(self, item_seq: Tensor) -> Tensor:
        positions = torch.arange(item_seq.shape[1], device=item_seq.device)
        x = self.item_embedding(item_seq) + self.position_embedding(positions)
        x = self.dropout(self.LayerNorm(x))
        return self.trm_encoder(x, self.get_attention_mask(item_seq), output_all_encoded_layers=True)[-1]

    def real_states(self, item_seq: Tensor, length: Tensor) -> Tensor:
        """On a CPU, compute the real positions only: padding is most of a batch of short histories.

        RecBole's layers act on each position by itself, but for the attention, which is the only
        part that sees the padded batch.
        """
        if item_seq.device.type != "cpu":
            return super().real_states(item_seq, length)
        item_seq = item_seq[:, : int(length.max())]
        real = torch.arange(item_seq.shape[1]) < length[:, None]
        positions = torch.nonzero(real)[:, 1]
        x = self.item_embedding(item_seq[real]) + self.position_embedding(positions)
        x = self.dropout(self.LayerNorm(x))
        for layer in self.trm_encoder.layer:
            x = layer.feed_forward(_attend(layer.multi_head_attention, x, real))
        return x


def _attend(attention: Any, x: Tensor, real: Tensor) -> Tensor:
    """RecBole's causal self-attention with its residual over ``x: [T, d]``, at ``real: [B, L]`` bool."""

    def spread(packed: Tensor) -> Tensor:  # [T, d] -> [B, heads, L, d / heads]
        padded = packed.new_zeros(*real.shape, packed.shape[1])
        padded[real] = packed
        return padded.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

    query, key, value = (spread(project(x)) for project in (attention.query, attention.key, attention.value))
    dropout = attention.attn_dropout.p if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
    mixed = mixed.transpose(1, 2).flatten(-2)[real]
    return attention.LayerNorm(attention.out_dropout(attention.dense(mixed)) + x)
