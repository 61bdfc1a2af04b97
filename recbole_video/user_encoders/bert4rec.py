"""BERT4Rec over item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.sequential_recommender.bert4rec import BERT4Rec as RecBoleBERT4Rec
from torch import Tensor

from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequence_loaders import MaskedLoader
from recbole_video.data.step_plan import MASKED_LIST, QUERY_POSITION, QUERY_ROW, QUERY_TARGET, StepPlan
from recbole_video.item_encoders import ID
from recbole_video.options.option import layers_option, option, share_option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.user_encoders.base import Queries, VideoRecommender


class BERT4Rec(VideoRecommender, RecBoleBERT4Rec):
    """Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations
    from Transformer", CIKM 2019.

    Trains on one row per user, some of its positions masked, the first one included. Masks are
    built without RecBole's loops. To score, the mask token goes behind the history; RecBole drops
    the first item of every history for it, here only a history of L items loses one, so that a
    history of one item is read at all. RecBole's bias per item stays zero with a content encoder: a
    cold item would be scored by a bias that was never trained.
    """

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Sun et al., "BERT4Rec", CIKM 2019."""

        hidden_size: int = size_option(384, "d, the width of item vectors and hidden states.")
        inner_size: int = size_option(1536, "Width inside the feed-forward layers.")
        n_layers: int = layers_option(2, "Transformer layers.")
        n_heads: int = size_option(2, "Attention heads.")
        hidden_dropout_prob: float = share_option(0.1)
        attn_dropout_prob: float = share_option(0.1)
        hidden_act: str = option("gelu")
        layer_norm_eps: float = option(1e-12)
        initializer_range: float = option(0.02)
        mask_ratio: float = share_option(0.2, "Probability that a position is masked in training.")
        ft_ratio: float = share_option(0.5, "Probability that a batch masks each sequence's last position only.")

    loader = MaskedLoader
    ignores_padding = True
    width_option = "hidden_size"

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        self.output_bias.requires_grad_(isinstance(self.item_embedding.encoder, ID))

    def queries(self, plan: StepPlan) -> Queries:
        states = self.forward(plan[MASKED_LIST])
        places = plan[QUERY_ROW] * states.shape[1] + plan[QUERY_POSITION]
        return Queries(states.flatten(0, 1)[places], plan[QUERY_TARGET], plan[QUERY_ROW])

    def user_vectors(self, interaction: Interaction) -> Tensor:
        masked, position = self._append_mask(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return self.gather_indexes(self.forward(masked), position)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        catalogue = self.item_embedding.weight[: self.n_items]
        return self.user_vectors(interaction) @ catalogue.T + self.output_bias

    def predict(self, interaction: Interaction) -> Tensor:
        items = interaction[self.ITEM_ID]
        scores = (self.user_vectors(interaction) * self.item_embedding(items)).sum(dim=1)
        return scores + self.output_bias[items]

    def item_bias(self) -> Tensor | None:
        return self.output_bias if self.output_bias.requires_grad else None

    def _append_mask(self, item_seq: Tensor, length: Tensor) -> tuple[Tensor, Tensor]:
        """Put the mask token behind each history; one of L items loses its first for it.

        Returns:
            ``item_seq: [B, W]`` with the mask token, [B, min(W + 1, L)], and its position [B].
        """
        longer = torch.cat([item_seq, torch.zeros_like(item_seq[:, :1])], dim=1)
        longer = longer.scatter(1, length[:, None], self.mask_token)
        if longer.shape[1] <= self.max_seq_length:
            return longer, length
        is_full = length == self.max_seq_length
        return torch.where(is_full[:, None], longer[:, 1:], longer[:, :-1]), length - is_full.long()
