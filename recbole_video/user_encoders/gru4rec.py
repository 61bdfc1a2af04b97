"""GRU4Rec over item vectors."""

from __future__ import annotations

from dataclasses import dataclass

from recbole.model.sequential_recommender.gru4rec import GRU4Rec as RecBoleGRU4Rec
from torch import Tensor

from recbole_video.options.option import layers_option, share_option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.user_encoders.base import CausalVideoRecommender, recurrent


class GRU4Rec(CausalVideoRecommender, RecBoleGRU4Rec):
    """Tan et al., "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS 2016."""

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Tan et al., "Improved Recurrent Neural Networks for Session-based Recommendations", DLRS 2016."""

        embedding_size: int = size_option(384, "d, the width of item vectors.")
        hidden_size: int = size_option(384, "Width of the GRU state.")
        num_layers: int = layers_option(1, "GRU layers.")
        dropout_prob: float = share_option(0.1)

    def states(self, item_seq: Tensor) -> Tensor:
        return self.dense(recurrent(self.gru_layers, self.emb_dropout(self.item_embedding(item_seq))))
