"""SASRec over item vectors."""

from __future__ import annotations

import torch
from recbole.model.sequential_recommender.sasrec import SASRec as RecBoleSASRec
from torch import Tensor

from recbole_video.user_encoders.base import CausalVideoRecommender


class SASRec(CausalVideoRecommender, RecBoleSASRec):
    """Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018."""

    width_option = "hidden_size"

    def states(self, item_seq: Tensor) -> Tensor:
        positions = torch.arange(item_seq.shape[1], device=item_seq.device)
        x = self.item_embedding(item_seq) + self.position_embedding(positions)
        x = self.dropout(self.LayerNorm(x))
        return self.trm_encoder(x, self.get_attention_mask(item_seq), output_all_encoded_layers=True)[-1]
