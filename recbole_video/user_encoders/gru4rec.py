"""GRU4Rec over item vectors."""

from __future__ import annotations

from recbole.model.sequential_recommender.gru4rec import GRU4Rec as RecBoleGRU4Rec
from torch import Tensor

from recbole_video.user_encoders.base import CausalVideoRecommender


class GRU4Rec(CausalVideoRecommender, RecBoleGRU4Rec):
    """Tan et al., "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS 2016."""

    def states(self, item_seq: Tensor) -> Tensor:
        hidden, _ = self.gru_layers(self.emb_dropout(self.item_embedding(item_seq)))
        return self.dense(hidden)
