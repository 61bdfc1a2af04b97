"""NARM over item vectors, trained on all prefixes of a sequence in one pass."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from recbole.model.sequential_recommender.narm import NARM as RecBoleNARM
from torch import Tensor

from recbole_video.options.option import layers_option, option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.user_encoders.base import CausalVideoRecommender, recurrent


class NARM(CausalVideoRecommender, RecBoleNARM):
    """Li et al., "Neural Attentive Session-based Recommendation", CIKM 2017."""

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Li et al., "Neural Attentive Session-based Recommendation", CIKM 2017."""

        embedding_size: int = size_option(384, "d, the width of item vectors.")
        hidden_size: int = size_option(384, "Width of the GRU state.")
        n_layers: int = layers_option(1, "GRU layers.")
        dropout_probs: list[float] = option([0.1, 0.1], "Dropout of the item vectors and of the session vector.")

    def states(self, item_seq: Tensor) -> Tensor:
        """NARM's session vector of every prefix; its GRU is causal and its attention reads the past."""
        hidden = recurrent(self.gru, self.emb_dropout(self.item_embedding(item_seq)))
        keys, queries = self.a_1(hidden), self.a_2(hidden)
        local = []
        for t in range(item_seq.shape[1]):
            alpha = self.v_t(torch.sigmoid(keys[:, : t + 1] + queries[:, t : t + 1]))  # [B, t+1, 1]
            alpha = alpha * (item_seq[:, : t + 1, None] > 0)
            local.append((alpha * hidden[:, : t + 1]).sum(dim=1))
        session = torch.cat([torch.stack(local, dim=1), hidden], dim=-1)
        return self.b(self.ct_dropout(session))
