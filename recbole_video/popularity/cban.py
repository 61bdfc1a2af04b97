"""CBAN (Cheung and Lam, Neurocomputing 2022): text and frames attend to what is like them and to what is unlike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recbole_video.options.option import option, share_option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector, PopularityModel
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.layers import AttentionPooling, masked_softmax, mean_of, require, with_metadata
from recbole_video.popularity.public_code import PublicCodeOptions
from recbole_video.popularity.stap.temporal import never_empty


class CBAN(PopularityModel):
    """Bipolar attention between the words of a text, or its one vector, and the frames; a linear regression of both.

    The paper classifies posts: its equations end here in one number. ``reimplementation`` is a public adaptation to
    frames, with its faults, which are the point of it: the negative branch is the positive one times -1, attention to
    frames is their sum, and sequences are pooled by weights that are no shares.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames, or no text.
    """

    @dataclass(frozen=True)
    class Options(PublicCodeOptions):
        """CBAN (Neurocomputing 514, 2022), with a regression in place of classes."""

        variant: Literal["original", "reimplementation"] = option(
            "original",
            "original: the paper's equations; reimplementation: public code for videos, faults included.",
            section="CBAN",
        )
        hidden_size: int | None = option(None, "d of the attention; empty: the width of the frames.", at_least=1)
        dropout: float = share_option(0.1, "Before each linear layer of the original.")
        weight_decay: float = option(1e-3, "As in the original code.", at_least=0)

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        require(inputs, "CBAN", all_of_them=True)
        width = config["hidden_size"] or inputs.frame_dim
        sizes = inputs.text_dim, inputs.frame_dim, width
        self.attention: nn.Module
        if config["variant"] == "original":
            self.attention = BipolarAttention(*sizes, config["dropout"])
        else:
            self.attention = CopiedAttention(*sizes, inputs.n_frames)
        self.metadata = MetadataVector(inputs)
        self.head = nn.Linear(2 * width + self.metadata.width, 1)

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        text, frames, _ = self.attention(batch)
        return self.head(with_metadata(self.metadata, batch, text, frames)).squeeze(-1)

    def explain(self, batch: Batch) -> Explanation:
        """The weight of each frame in what the head reads."""
        *_, weights = self.attention(batch)
        return Explanation(float(self.predict(batch)[0]), weights[0][batch["frame_mask"][0]].cpu().numpy())


class BipolarAttention(nn.Module):
    """The original equations.

    With ``A = tanh(W_t t) tanh(W_v v)'``, words see ``t+ = softmax(A) v`` and ``t- = softmax(-A) v``, frames see
    ``v+`` and ``v-`` of the words by A transposed; ``t' = tanh(W_3 [t; tanh(W_1 [t+; t-])])``, ``v'`` likewise, and
    each is pooled by attention. The softmax of one vector of text is 1, whatever A: words come from a store of them.

    Args:
        text_dim: d_t.
        frame_dim: d_v.
        width: d.
        dropout: Before each linear layer.
    """

    def __init__(self, text_dim: int, frame_dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.map_text, self.map_frames = nn.Linear(text_dim, width), nn.Linear(frame_dim, width)
        self.seen_by_text, self.seen_by_frames = nn.Linear(2 * frame_dim, width), nn.Linear(2 * text_dim, width)
        self.to_text, self.to_frames = nn.Linear(text_dim + width, width), nn.Linear(frame_dim + width, width)
        self.pool_text, self.pool_frames = AttentionPooling(width), AttentionPooling(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Text and frames of a batch as a vector each, [B, d], and the weights of the frames in it, [B, T]."""
        t, v = batch["text"], batch["frames"]
        text_mask, frame_mask = never_empty(batch["text_mask"]), never_empty(batch["frame_mask"])
        scores = self.scores(t, v)
        of_frames = [masked_softmax(sign * scores, frame_mask[:, None]) @ v for sign in (1, -1)]
        of_text = [masked_softmax(sign * scores.transpose(1, 2), text_mask[:, None]) @ t for sign in (1, -1)]
        t = self._joined(self.to_text, t, self.seen_by_text, of_frames)
        v = self._joined(self.to_frames, v, self.seen_by_frames, of_text)
        return self.pool_text(t, text_mask)[0], *self.pool_frames(v, frame_mask)

    def scores(self, t: Tensor, v: Tensor) -> Tensor:
        """A, [B, L, T]."""
        return torch.tanh(self.map_text(self.dropout(t))) @ torch.tanh(self.map_frames(self.dropout(v))).transpose(1, 2)

    def _joined(self, join: nn.Linear, own: Tensor, see: nn.Linear, seen: list[Tensor]) -> Tensor:
        other = torch.tanh(see(self.dropout(torch.cat(seen, dim=-1))))
        return torch.tanh(join(self.dropout(torch.cat([own, other], dim=-1))))


class CopiedAttention(nn.Module):
    """The public re-implementation, for one vector of text.

    ``S = tanh(w' (tanh(W_v v) + tanh(W_t t)))``; frames see ``softmax(S) t`` and its negative, text sees the sum of all
    frames, since its softmax runs over one value, and its negative. The weights of pooling are
    ``tanh(w' x + position)``, with a learned number for each place and width, and do not add up to one. The public code
    has four places; here there are as many as the data set has frames, and later frames share the last one.

    Args:
        text_dim: d_t.
        frame_dim: d_v.
        width: d.
        n_frames: The most frames that a video has.
    """

    def __init__(self, text_dim: int, frame_dim: int, width: int, n_frames: int) -> None:
        super().__init__()
        self.map_text, self.map_frames = nn.Linear(text_dim, width), nn.Linear(frame_dim, width)
        self.score = nn.Linear(width, 1)
        self.seen_by_text, self.seen_by_frames = nn.Linear(2 * frame_dim, width), nn.Linear(2 * text_dim, width)
        self.to_text, self.to_frames = nn.Linear(text_dim + width, width), nn.Linear(frame_dim + width, width)
        self.pool_text, self.pool_frames = _PositionPooling(width, 1), _PositionPooling(width, n_frames)

    def forward(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Text and frames of a batch as a vector each, [B, d], and the weights of the frames in it, [B, T]."""
        t, v, mask = mean_of(batch, "text")[:, None], batch["frames"], never_empty(batch["frame_mask"])
        scores = torch.tanh(self.score(torch.tanh(self.map_frames(v)) + torch.tanh(self.map_text(t))))
        of_text = masked_softmax(scores, mask[..., None], dim=1) @ t
        of_frames = (v * mask[..., None]).sum(dim=1, keepdim=True)
        t = _joined_with_copy(self.to_text, t, self.seen_by_text, of_frames)
        v = _joined_with_copy(self.to_frames, v, self.seen_by_frames, of_text)
        return self.pool_text(t, torch.ones_like(mask[:, :1]))[0], *self.pool_frames(v, mask)


def _joined_with_copy(join: nn.Linear, own: Tensor, see: nn.Linear, seen: Tensor) -> Tensor:
    other = torch.tanh(see(torch.cat([seen, -seen], dim=-1)))
    return torch.tanh(join(torch.cat([own, other], dim=-1)))


class _PositionPooling(nn.Module):
    """Sum of a sequence with weights ``tanh(w' (x + p))``, where p is learned for each place."""

    def __init__(self, width: int, n_places: int) -> None:
        super().__init__()
        self.score = nn.Linear(width, 1)
        self.position = nn.Parameter(torch.zeros(max(1, n_places), width))

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        places = torch.arange(x.shape[1], device=x.device).clamp(max=len(self.position) - 1)
        weights = torch.tanh(self.score(x + self.position[places])) * mask[..., None]
        return (weights * x).sum(dim=1), weights.squeeze(-1)
