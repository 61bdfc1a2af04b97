"""ICPF (Cheng et al., AAAI 2025) on stored features: similar training videos as prompts for small encoders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from recbole_video.errors import ConfigError
from recbole_video.options.option import layers_option, option, size_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.neighbours import Neighbours
from recbole_video.popularity.retrieval import RetrievalModel, RetrievalOptions
from recbole_video.popularity.stap.temporal import never_empty

_PROMPT_HEADS, _POOL_WIDTH = 8, 64


class ICPF(RetrievalModel):
    """ICPF-lite: retrieval by frames and by text apart, prompts of what was found, one small encoder for each.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames, no text, or a width has no whole heads.
    """

    @dataclass(frozen=True)
    class Options(RetrievalOptions):
        """ICPF (AAAI 2025) on stored features: icpf_lite of docs/baselines.md."""

        n_neighbours: int = size_option(14, "K, training videos that each video is given by frames and by text.")
        n_prompts: int = size_option(8, "Prompts of each modality.")
        encoder_layers: int = layers_option(2, "Transformer layers in place of each frozen encoder.")
        encoder_heads: int = size_option(8, "Of these layers.")
        dropout: float = option(0.1, at_least=0, below=1, must="is a share, at least 0 and below 1")
        learning_rate: float = option(1e-4, "As in the public code.", at_least=0)
        weight_decay: float = option(0.01, "As in the public code.", at_least=0)
        regression_loss: Literal["huber", "mse"] = option("mse", "huber or mse.")
        train_batch_size: int = option(64, at_least=1)
        eval_batch_size: int = option(64, "Videos per batch, each with the frames of K others.", at_least=1)
        epochs: int = option(30, at_least=1)
        stopping_step: int = option(5, "Stop after so many evaluations without a better one.")

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs, {"frames": inputs.frame_dim, "text": inputs.text_dim})
        options = config.options(self.Options)
        width = options.hidden_size or inputs.frame_dim
        if width % options.encoder_heads:
            raise ConfigError(
                f"d, {width}, must be a multiple of encoder_heads, {options.encoder_heads}; set hidden_size or that."
            )
        self.of_frames = None if inputs.frame_dim == width else nn.Linear(inputs.frame_dim, width)
        self.of_text = None if inputs.text_dim == width else nn.Linear(inputs.text_dim, width)
        self.frame_branch, self.text_branch = (Branch(width, options) for _ in range(2))
        self.label_of_rank = nn.Parameter(torch.randn(self.n_neighbours, width))
        self.label_norm = nn.LayerNorm(width)
        self.fusion = FusionBlock(width, options.dropout)
        self.frame_layers, self.text_layers = (
            nn.Sequential(nn.Linear(width, width), nn.LeakyReLU(), nn.Linear(width, width)) for _ in range(2)
        )
        self.metadata = MetadataVector(inputs)
        self.head = nn.Linear(2 * width + self.metadata.width, 1)

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """That the encoders are small ones that are trained, and not those of the paper."""
        return "ICPF-lite"

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        by_text, by_frames = self._nearest(batch)
        text, text_mask = self._read_text(batch, by_text)
        frames, frame_mask = self._read_frames(batch, by_frames)
        label = self._read_labels(by_text, by_frames)
        tokens = torch.cat([text, frames, label], dim=1)
        mask = torch.cat([text_mask, frame_mask, torch.ones_like(text_mask[:, :1])], dim=1)
        joined = self.fusion(tokens, mask)
        blocks = [self.text_layers(joined[:, 0]), self.frame_layers(joined[:, text.shape[1]])]
        if self.metadata.width:
            blocks.append(self.metadata(batch))
        return self.head(torch.cat(blocks, dim=-1)).squeeze(-1)

    def _nearest(self, batch: Batch) -> tuple[Neighbours, Neighbours]:
        """The nearest training videos by text, and by frames."""
        by_text, by_frames = (self.memory.nearest(name, batch, self.n_neighbours) for name in ("text", "frames"))
        return by_text, by_frames

    def _read_text(self, batch: Batch, found: Neighbours) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + L + prompts, d] and mask; what was found is one text, their mean."""
        text, others = batch["text"], self.memory.vectors_of("text", found.places).mean(dim=1)[:, None, None]
        if self.of_text is not None:
            text, others = self.of_text(text), self.of_text(others)
        return self.text_branch(text, batch["text_mask"], others, torch.ones_like(others[..., 0], dtype=torch.bool))

    def _read_frames(self, batch: Batch, found: Neighbours) -> tuple[Tensor, Tensor]:
        """Tokens [B, 1 + F + prompts, d] and mask; each video that was found is attended to apart."""
        frames, mask = self.memory.chosen_frames(batch)
        others, other_mask = self.memory.frames_of(found.places)
        if self.of_frames is not None:
            frames, others = self.of_frames(frames), self.of_frames(others)
        return self.frame_branch(frames, mask, others, other_mask)

    def _read_labels(self, *found: Neighbours) -> Tensor:
        """One token of how popular the neighbours became, [B, 1, d]: a vector per rank, times the popularity."""
        parts = [self.label_norm(self.memory.labels[one.places][..., None] * self.label_of_rank) for one in found]
        return torch.cat(parts, dim=1).mean(dim=1, keepdim=True)

    def parameter_counts(self) -> dict[str, int]:
        """Trainable parameters of the model, and of the encoders that stand for the frozen ones."""
        encoders = [self.text_branch.encoder, self.frame_branch.encoder]
        n = sum(weights.numel() for encoder in encoders for weights in encoder.parameters())
        return {**super().parameter_counts(), "encoders": n}

    def explain(self, batch: Batch) -> Explanation:
        """The training videos that were looked up, by text and then by frames, which all weigh the same."""
        slots = [
            self.neighbour(place, f"number {rank} by {name}, cosine {cosine:.3f}")
            for name, found in zip(("text", "frames"), self._nearest(batch), strict=True)
            for rank, (place, cosine) in enumerate(
                zip(found.places[0].tolist(), found.similarities[0].tolist(), strict=True), start=1
            )
        ]
        weights = [1 / len(slots)] * len(slots)
        return Explanation(float(self.predict(batch)[0]), slots=slots, weights=weights, kind="neighbour")


class Branch(nn.Module):
    """One modality: a class token, its own tokens, and prompts of what its neighbours have, before an encoder.

    The class token stands for that of the frozen encoders, whose place the prediction reads.
    Sizes follow d as those of the public code follow 768: a hidden layer of 4/3 d, eight heads of d / 12.

    Args:
        width: d.
        options: The model's.
    """

    def __init__(self, width: int, options: ICPF.Options) -> None:
        super().__init__()
        hidden, dropout = max(1, 4 * width // 3), options.dropout
        self.first = nn.Parameter(0.02 * torch.randn(1, 1, width))
        self.layers = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, width))
        self.attention = CrossAttention(width, max(1, width // 12), dropout)
        self.pool = nn.Sequential(nn.Linear(width, _POOL_WIDTH), nn.Tanh(), nn.Linear(_POOL_WIDTH, options.n_prompts))
        layer = nn.TransformerEncoderLayer(width, options.encoder_heads, hidden, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, options.encoder_layers, enable_nested_tensor=False)
        self.project = nn.Linear(width, width)

    def forward(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Encode tokens with their prompts.

        Args:
            own: The video's tokens, [B, n, d].
            mask: [B, n] bool.
            others: Tokens of what was found, [B, K, m, d].
            other_mask: [B, K, m] bool.

        Returns:
            [B, 1 + n + prompts, d], the class token first, and its mask.
        """
        own = torch.cat([self.first.expand(len(own), -1, -1), own], dim=1)
        mask = torch.cat([mask.new_ones(len(mask), 1), mask], dim=1)
        prompts = self.prompts(own, mask, others, never_empty(other_mask.flatten(0, 1)).view_as(other_mask))
        tokens, mask = torch.cat([own, prompts], dim=1), torch.cat([mask, mask.new_ones(prompts.shape[:2])], dim=1)
        return self.project(self.encoder(tokens, src_key_padding_mask=~mask)), mask

    def prompts(self, own: Tensor, mask: Tensor, others: Tensor, other_mask: Tensor) -> Tensor:
        """What the tokens find in each neighbour, on average, pooled to prompts, [B, prompts, d]."""
        found = self.attention(self.layers(own), self.layers(others), other_mask).mean(dim=1)
        shares = self.pool(found).masked_fill(~mask[..., None], -torch.inf).softmax(dim=1)
        return shares.transpose(1, 2) @ found


class CrossAttention(nn.Module):
    """Tokens of a video attend to those of each neighbour; eight heads, whose width does not follow from d."""

    def __init__(self, width: int, head_width: int, dropout: float) -> None:
        super().__init__()
        inner = _PROMPT_HEADS * head_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.output = nn.Sequential(nn.Linear(inner, width), nn.Dropout(dropout))

    def forward(self, own: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """[B, K, n, d] of tokens [B, n, d] and those of neighbours [B, K, m, d] with mask [B, K, m]."""
        query = _heads(self.query(own))[:, None]  # [B, 1, heads, n, inner / heads]
        key, value = _heads(self.key(others)), _heads(self.value(others))
        query = query.expand(-1, key.shape[1], -1, -1, -1)
        found = scaled_dot_product_attention(query, key, value, attn_mask=mask[:, :, None, None])
        return self.output(found.transpose(-3, -2).flatten(-2))


def _heads(x: Tensor) -> Tensor:
    """[..., n, inner] as [..., heads, n, inner / heads]."""
    return x.unflatten(-1, (_PROMPT_HEADS, -1)).transpose(-3, -2)


class FusionBlock(nn.Module):
    """A Transformer block over the tokens of text, frames and label: one head without biases, norms behind."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 1, dropout=dropout, bias=False, batch_first=True)
        self.feed = nn.Sequential(nn.Linear(width, 4 * width), nn.ReLU(), nn.Linear(4 * width, width))
        self.norm, self.feed_norm = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """[B, n, d] of tokens [B, n, d] with mask [B, n]."""
        x = self.dropout(tokens)
        attended, _ = self.attention(x, x, x, key_padding_mask=~mask, need_weights=False)
        x = self.norm(x + self.dropout(attended))
        return self.feed_norm(x + self.dropout(self.feed(x)))
