"""SASRec over item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.sasrec import SASRec as RecBoleSASRec
from torch import Tensor
from torch.nn import functional as F

from recbole_video.data.step_plan import QUERY_POSITION, QUERY_ROW, StepPlan
from recbole_video.options.option import layers_option, option, share_option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.user_encoders.base import CausalVideoRecommender


class SASRec(CausalVideoRecommender, RecBoleSASRec):
    """Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018."""

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018. Sizes of the MicroLens benchmark."""

        hidden_size: int = size_option(384, "d, the width of item vectors and hidden states.")
        inner_size: int = size_option(1536, "Width inside the feed-forward layers.")
        n_layers: int = layers_option(2, "Transformer layers.")
        n_heads: int = size_option(2, "Attention heads.")
        hidden_dropout_prob: float = share_option(0.1)
        attn_dropout_prob: float = share_option(0.1)
        hidden_act: str = option("gelu")
        layer_norm_eps: float = option(1e-12)
        initializer_range: float = option(0.02)

    width_option = "hidden_size"

    def states(self, item_seq: Tensor) -> Tensor:
        positions = torch.arange(item_seq.shape[1], device=item_seq.device)
        x = self.item_embedding(item_seq) + self.position_embedding(positions)
        x = self.dropout(self.LayerNorm(x))
        return self.trm_encoder(x, self.get_attention_mask(item_seq), output_all_encoded_layers=True)[-1]

    def real_states(self, plan: StepPlan) -> Tensor:
        """On a CPU, compute the real positions only: padding is most of a batch of short histories.

        RecBole's layers act on each position by itself, but for the attention, which is the only
        part that sees the padded batch.
        """
        item_seq = plan[self.ITEM_SEQ]
        if not plan.parts:
            return super().real_states(plan)
        places = _Places(plan[QUERY_ROW], plan[QUERY_POSITION], len(item_seq), plan.parts[-1].width)
        x = self._embed(item_seq[:, : places.width], places)
        for layer in self.trm_encoder.layer:
            x = _feed_forward(layer.feed_forward, _attend(layer.multi_head_attention, x, places))
        return x

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """RecBole's scores, to float precision; on a CPU from :meth:`last_states`."""
        item_seq, length = interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN]
        if self.training or item_seq.device.type != "cpu":
            return super().full_sort_predict(interaction)
        return self.last_states(item_seq, length) @ self.item_embedding.weight.T

    def last_states(self, item_seq: Tensor, length: Tensor) -> Tensor:
        """What ``forward`` computes, [B, d], from real positions, the last layer at the last one only."""
        item_seq = item_seq[:, : int(length.max())]
        real = torch.arange(item_seq.shape[1]) < length[:, None]
        rows, positions = real.nonzero(as_tuple=True)
        places = _Places(rows, positions, len(item_seq), item_seq.shape[1])
        x = self._embed(item_seq, places)
        *layers, last = self.trm_encoder.layer
        for layer in layers:
            x = _feed_forward(layer.feed_forward, _attend(layer.multi_head_attention, x, places))
        return _feed_forward(last.feed_forward, _attend_from_last(last.multi_head_attention, x, places, real, length))

    def _embed(self, item_seq: Tensor, places: _Places) -> Tensor:
        """Input of the first layer at the T real positions of ``item_seq: [B, W]``, [T, d]."""
        x = self.item_embedding(places.taken(item_seq)) + self.position_embedding(places.positions)
        return self.dropout(self.LayerNorm(x))


class _Places:
    """Where the T real positions lie in a padded batch, row by row.

    Args:
        rows: [T] row of each, ascending.
        positions: [T] position in its row.
        n_rows: B.
        width: W, positions of a row.
    """

    def __init__(self, rows: Tensor, positions: Tensor, n_rows: int, width: int) -> None:
        self.positions, self.n_rows, self.width = positions, n_rows, width
        self._flat = rows * width + positions

    def taken(self, padded: Tensor) -> Tensor:
        """Values at the real positions of ``padded: [B, W, ...]``: [T, ...]."""
        return padded.flatten(0, 1)[self._flat]

    def spread(self, packed: Tensor) -> Tensor:
        """Put rows ``packed: [T, d]`` at the real positions, zeros elsewhere: [B, W, d]."""
        padded = packed.new_zeros(self.n_rows * self.width, packed.shape[1])
        return padded.index_copy(0, self._flat, packed).unflatten(0, (self.n_rows, self.width))


def _attend(attention: Any, x: Tensor, places: _Places) -> Tensor:
    """RecBole's causal self-attention with its residual over the real positions ``x: [T, d]``."""
    query, key, value = (
        _as_heads(attention, places.spread(project(x))) for project in (attention.query, attention.key, attention.value)
    )
    dropout = attention.attn_dropout.p if attention.training else 0.0
    mixed = F.scaled_dot_product_attention(query, key, value, dropout_p=dropout, is_causal=True)
    mixed = places.taken(mixed.transpose(1, 2).flatten(-2))
    return attention.LayerNorm(attention.out_dropout(attention.dense(mixed)) + x)


def _attend_from_last(attention: Any, x: Tensor, places: _Places, real: Tensor, length: Tensor) -> Tensor:
    """The same for the last position of each row only: [T, d] -> [B, d]; ``real: [B, W]`` bool."""
    x_last = x[length.cumsum(0) - 1]
    query = _as_heads(attention, attention.query(x_last)[:, None])
    key, value = (_as_heads(attention, places.spread(project(x))) for project in (attention.key, attention.value))
    mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None])
    mixed = mixed.transpose(1, 2).flatten(-2)[:, 0]
    return attention.LayerNorm(attention.out_dropout(attention.dense(mixed)) + x_last)


def _feed_forward(block: Any, x: Tensor) -> Tensor:
    """RecBole's feed-forward over ``x: [T, d]``; its GELU of five operations is one of PyTorch's."""
    hidden = block.dense_1(x)
    hidden = F.gelu(hidden) if block.intermediate_act_fn == block.gelu else block.intermediate_act_fn(hidden)
    return block.LayerNorm(block.dropout(block.dense_2(hidden)) + x)


def _as_heads(attention: Any, x: Tensor) -> Tensor:
    """[B, L, d] -> [B, heads, L, d / heads]."""
    return x.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)
