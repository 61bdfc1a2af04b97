"""NextItNet over item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.model.sequential_recommender.nextitnet import NextItNet as RecBoleNextItNet
from torch import Tensor

from recbole_video.data.catalogue import Catalogue
from recbole_video.errors import ConfigError
from recbole_video.item_encoders import ID
from recbole_video.options.option import layers_option, option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.user_encoders.base import CausalVideoRecommender

_MOST_BLOCKS = 10_000


class NextItNet(CausalVideoRecommender, RecBoleNextItNet):
    """Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM 2019.

    Differs from RecBole on purpose: RecBole reads the last column, which is padding for every
    history shorter than the maximum; here the last *real* position is read, so that scores do not
    depend on ``MAX_ITEM_LIST_LENGTH``. RecBole's L2 term on the id table is kept for ids and left
    out for encoded vectors, which are no weights.
    """

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Yuan et al., "A Simple Convolutional Generative Network for Next Item Recommendation", WSDM 2019."""

        embedding_size: int = size_option(384, "d, the width of item vectors and channels.")
        kernel_size: int = size_option(3, "Width of a convolution.")
        block_num: int = layers_option(2, "Times that the dilations are repeated.")
        dilations: list[int] = option([1, 4], at_least=1, is_filled=True)
        reg_weight: float = option(1e-05, "RecBole's L2 term on the network's own weights.")

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        # RecBole lists them all before it makes the first.
        if len(config["dilations"]) * config["block_num"] > _MOST_BLOCKS:
            raise ConfigError(
                f"`block_num` is {config['block_num']}, with {len(config['dilations'])} dilations each; lower it, "
                f"NextItNet may have {_MOST_BLOCKS:,} blocks in all."
            )
        super().__init__(config, dataset)

    def states(self, item_seq: Tensor) -> Tensor:
        return self.final_layer(self.residual_blocks(self.item_embedding(item_seq)))

    def forward(self, item_seq: Tensor, item_seq_len: Tensor | None = None) -> Tensor:
        """User vector [B, d] of ``item_seq: [B, L]``."""
        length = (item_seq != 0).sum(dim=1) if item_seq_len is None else item_seq_len
        hidden = self.residual_blocks(self.item_embedding(item_seq))
        return self.final_layer(self.gather_indexes(hidden, length - 1))

    def penalty(self) -> Tensor | float:
        weights = [self.final_layer.weight]
        if isinstance(self.item_embedding.encoder, ID):
            weights.append(self.item_embedding.encoder.table.weight)
        norms = torch.stack([w.norm(2) for w in weights]).sum()
        return self.reg_weight * norms + self.reg_loss_rb()
