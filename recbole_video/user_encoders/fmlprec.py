"""FMLPRec, which RecBole lacks, in RecBole's style and over item vectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.data.interaction import Interaction
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.model.layers import FeedForward
from torch import Tensor, nn

from recbole_video.options.option import layers_option, option, share_option, size_option
from recbole_video.recommendation.options import RecommendationOptions
from recbole_video.runtime.precision import full_precision
from recbole_video.user_encoders.base import VideoRecommender


class FilterLayer(nn.Module):
    """Multiply the sequence's spectrum by a learned complex filter: [B, L, d] -> [B, L, d].

    The product of spectra is a circular convolution over the whole window, so a position sees
    later ones too.

    Args:
        max_length: L, the window.
        hidden_size: d.
        dropout: Dropout before the residual.
        layer_norm_eps: Of the layer norm behind it.
    """

    def __init__(self, max_length: int, hidden_size: int, dropout: float, layer_norm_eps: float) -> None:
        super().__init__()
        self.filter = nn.Parameter(torch.randn(1, max_length // 2 + 1, hidden_size, 2) * 0.02)
        self.dropout = nn.Dropout(dropout)
        self.LayerNorm = nn.LayerNorm(hidden_size, eps=layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        # FFT has no bfloat16; it is a small part of the work.
        with full_precision(x.device):
            spectrum = torch.fft.rfft(x.float(), dim=1, norm="ortho")
            filtered = spectrum * torch.view_as_complex(self.filter)
            hidden = torch.fft.irfft(filtered, n=x.shape[1], dim=1, norm="ortho")
        return self.LayerNorm(self.dropout(hidden) + x)


class FilterBlock(nn.Module):
    """Filter, then RecBole's feed-forward with its residual and layer norm."""

    def __init__(self, filter_layer: FilterLayer, feed_forward: FeedForward) -> None:
        super().__init__()
        self.filter_layer = filter_layer
        self.feed_forward = feed_forward

    def forward(self, x: Tensor) -> Tensor:
        return self.feed_forward(self.filter_layer(x))


class FilterMLP(SequentialRecommender):
    """The network over an id table, as RecBole would have it.

    The window is circular, so histories lie at its end, padding before them, as in the authors'
    code: the last position is always the newest action.
    """

    def __init__(self, config: Any, dataset: Any) -> None:
        super().__init__(config, dataset)
        self.hidden_size = config["hidden_size"]
        self.initializer_range = config["initializer_range"]
        dropout, eps = config["hidden_dropout_prob"], config["layer_norm_eps"]
        self.item_embedding: Any = nn.Embedding(self.n_items, self.hidden_size, padding_idx=0)
        self.position_embedding = nn.Embedding(self.max_seq_length, self.hidden_size)
        self.LayerNorm = nn.LayerNorm(self.hidden_size, eps=eps)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(
            *(
                FilterBlock(
                    FilterLayer(self.max_seq_length, self.hidden_size, dropout, eps),
                    FeedForward(self.hidden_size, config["inner_size"], dropout, config["hidden_act"], eps),
                )
                for _ in range(config["n_layers"])
            )
        )
        self.apply(self._init_weights)

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, (nn.Linear, nn.Embedding)):
            module.weight.data.normal_(mean=0.0, std=self.initializer_range)
        if isinstance(module, nn.Linear) and module.bias is not None:
            module.bias.data.zero_()

    def forward(self, item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        """User vector [B, d] of ``item_seq: [B, L]``, L being ``MAX_ITEM_LIST_LENGTH``."""
        newest_last = self._move_padding_to_front(item_seq, item_seq_len)
        positions = torch.arange(item_seq.shape[1], device=item_seq.device)
        x = self.item_embedding(newest_last) + self.position_embedding(positions)
        return self.blocks(self.dropout(self.LayerNorm(x)))[:, -1]

    @staticmethod
    def _move_padding_to_front(item_seq: Tensor, item_seq_len: Tensor) -> Tensor:
        width = item_seq.shape[1]
        columns = torch.arange(width, device=item_seq.device) + item_seq_len[:, None]
        return item_seq.gather(1, columns % width)

    def predict(self, interaction: Interaction) -> Tensor:
        """Score of each row's item, [B]."""
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return (user * self.item_embedding(interaction[self.ITEM_ID])).sum(dim=1)

    def full_sort_predict(self, interaction: Interaction) -> Tensor:
        """Scores of all items, [B, n_items]."""
        user = self.forward(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])
        return user @ self.item_embedding.weight.T


class FMLPRec(VideoRecommender, FilterMLP):
    """Zhou et al., "Filter-enhanced MLP is All You Need for Sequential Recommendation", WWW 2022.

    The filter is circular and sees the whole window, so only the last position can be trained on:
    one row per prefix, as in the authors' code.
    """

    @dataclass(frozen=True)
    class Options(RecommendationOptions):
        """Zhou et al., "Filter-enhanced MLP is All You Need for Sequential Recommendation", WWW 2022."""

        hidden_size: int = size_option(384, "d, the width of item vectors and hidden states.")
        inner_size: int = size_option(1536, "Width inside the feed-forward layers.")
        n_layers: int = layers_option(2, "Filter blocks.")
        hidden_dropout_prob: float = share_option(0.1)
        hidden_act: str = option("gelu")
        layer_norm_eps: float = option(1e-12)
        initializer_range: float = option(0.02)

    width_option = "hidden_size"
