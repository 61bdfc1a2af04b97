"""MMRA (Zhong et al., SIGIR 2024): frames and text attend to each other, and so do those of similar training videos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from recbole_video.errors import ConfigError
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector
from recbole_video.popularity.explanation import Explanation
from recbole_video.popularity.neighbours import Neighbours
from recbole_video.popularity.retrieval import RetrievalModel, RetrievalOptions
from recbole_video.popularity.stap.temporal import never_empty, sequence_mean

_NEGATIVE = 0.6  # alpha, weight of the negative attention of the public code
_HEAD = (800, 200)


@dataclass(frozen=True)
class Retrieved:
    """What the nearest training videos of B videos are, on average.

    Attributes:
        found: Which they are.
        weights: Weight of each, [B, K].
        frames: [B, F, d_v]; zero behind the frames of the longest of them.
        mask: [B, F] bool.
        text: [B, d_t].
        labels: Popularity on the model's scale, [B].
    """

    found: Neighbours
    weights: Tensor
    frames: Tensor
    mask: Tensor
    text: Tensor
    labels: Tensor


class MMRA(RetrievalModel):
    """Bipolar attention between frames and text, twice: of the video, and of the mean of its nearest training videos.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there are no frames, no text, or nothing of the modality to retrieve by.
    """

    @dataclass(frozen=True)
    class Options(RetrievalOptions):
        """MMRA (SIGIR 2024)."""

        variant: Literal["mmra", "mmra_compat"] = option(
            "mmra", "mmra, or mmra_compat: the public code as it stands, but for its missing ReLU (docs/baselines.md)."
        )
        retrieval_by: str = option(
            "text", "text, frames (their mean), or another modality that content names: by what videos are similar."
        )
        retrieval_temperature: float = option(
            0.1, "Of the softmax over similarities.", above=0, void_when=(("variant", "mmra_compat"),)
        )
        learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = option("adam", "As in the public code.")
        learning_rate: float = option(1e-5, "As in the public code.", at_least=0)
        weight_decay: float = option(0.0, "As in the public code.", at_least=0)
        regression_loss: Literal["huber", "mse"] = option("mse", "huber or mse.")
        train_batch_size: int = option(64, at_least=1)
        epochs: int = option(100, at_least=1)
        stopping_step: int = option(20, "Stop after so many evaluations without a better one.")

    @classmethod
    def reads(cls, options: Any) -> frozenset[str]:
        """Frames, text, metadata, and what videos are similar by."""
        return cls.inputs_read | {options["retrieval_by"]}

    def __init__(self, config: Any, inputs: InputShape) -> None:
        kept = {"frames": inputs.frame_dim, "text": inputs.text_dim, **inputs.other_dims}
        super().__init__(config, inputs, kept)
        self.retrieval_by: str = config["retrieval_by"]
        if self.retrieval_by not in kept:
            raise ConfigError(
                f"`retrieval_by` is `{self.retrieval_by}`, of which there is nothing; name it in content, such as "
                f"[frames, text, {self.retrieval_by}], or retrieve by text or frames."
            )
        self.is_compat = is_compat = config["variant"] == "mmra_compat"
        self.temperature: float = 1.0 if is_compat else config["retrieval_temperature"]
        width = config["hidden_size"] or inputs.frame_dim
        self.of_frames = None if inputs.frame_dim == width else nn.Linear(inputs.frame_dim, width)
        self.of_text = None if inputs.text_dim == width else nn.Linear(inputs.text_dim, width)
        self.own, self.of_neighbours = BipolarAttention(width, is_compat), BipolarAttention(width, is_compat)
        self.label = nn.Linear(1, width)
        self.metadata = MetadataVector(inputs)
        first, second = _HEAD
        self.head = nn.Sequential(
            nn.Linear(10 * width + self.metadata.width, first),
            nn.ReLU(),
            nn.Linear(first, second),
            nn.ReLU(),
            nn.Linear(second, 1),
        )

    def forward(self, batch: Batch) -> Tensor:
        """Prediction on the model's scale, [B]."""
        retrieved = self.retrieve(batch)
        frames, mask = self.memory.chosen_frames(batch)
        text, text_mask = batch["text"], batch["text_mask"]
        if self.is_compat:
            text, text_mask = sequence_mean(text, text_mask)[:, None], torch.ones_like(text_mask[:, :1])
        v, t = self._interact(self.own, frames, mask, text, text_mask)
        one = torch.ones_like(text_mask[:, :1])
        v_r, t_r = self._interact(self.of_neighbours, retrieved.frames, retrieved.mask, retrieved.text[:, None], one)
        label = torch.relu(self.label(retrieved.labels[:, None]))
        blocks = [t, v, t_r, v_r, v * v_r, v * t_r, t * v_r, t * t_r, v * label, t * label]
        if self.metadata.width:
            blocks.append(self.metadata(batch))
        return self.head(torch.cat(blocks, dim=-1)).squeeze(-1)

    def _interact(
        self, attention: BipolarAttention, frames: Tensor, mask: Tensor, text: Tensor, text_mask: Tensor
    ) -> tuple[Tensor, Tensor]:
        v = frames if self.of_frames is None else self.of_frames(frames)
        t = text if self.of_text is None else self.of_text(text)
        return attention(v, never_empty(mask), t, never_empty(text_mask))

    def retrieve(self, batch: Batch) -> Retrieved:
        """The nearest training videos, and what they are on average."""
        found = self.memory.nearest(self.retrieval_by, batch, self.n_neighbours)
        weights = torch.softmax(found.similarities / self.temperature, dim=-1)
        text = (weights[..., None] * self.memory.vectors_of("text", found.places)).sum(dim=1)
        labels = (weights * self.memory.labels[found.places]).sum(dim=1)
        return Retrieved(found, weights, *self._mean_frames(found.places, weights), text, labels)

    def _mean_frames(self, places: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Weighted mean of the frames at each place, of the videos that have one there, and where there is any.

        One neighbour after the other: all at once would be K times a batch of frames.
        """
        total: Tensor | float = 0.0
        mass: Tensor | float = 0.0
        for place, weight in zip(places.T, weights.T, strict=True):
            frames, mask = self.memory.frames_of(place)
            there = weight[:, None] * mask
            total, mass = total + there[..., None] * frames, mass + there
        assert isinstance(total, Tensor) and isinstance(mass, Tensor)
        is_there = mass > 0
        # the public code divides by the weight of all of them: a video without the frame counts as a black one
        return total if self.is_compat else total / mass.clamp(min=1e-12)[..., None], is_there

    def explain(self, batch: Batch) -> Explanation:
        """The training videos that were looked up, the nearest first."""
        retrieved = self.retrieve(batch)
        nearest = zip(retrieved.found.places[0].tolist(), retrieved.found.similarities[0].tolist(), strict=True)
        slots = [self.neighbour(place, f"cosine of {self.retrieval_by} {cosine:.3f}") for place, cosine in nearest]
        weights = retrieved.weights[0].tolist()
        return Explanation(float(self.predict(batch)[0]), slots=slots, weights=weights, kind="neighbour")


class BipolarAttention(nn.Module):
    """Frames and text attend to what is like them and to what is unlike (CBAN), then each is pooled by attention.

    With ``S = tanh(W_v v) tanh(W_t t)' / sqrt(d)``, frames attend to text by softmax(S) and softmax(-S), and text to
    frames by those of its transpose. As the public code has it, ``S`` is divided by d, the negative attention is the
    positive one times -0.6, frames share one text between them, and text has the sum of all frames.

    Args:
        width: d.
        is_compat: As the public code has it.
    """

    def __init__(self, width: int, is_compat: bool = False) -> None:
        super().__init__()
        self.is_compat = is_compat
        self.scale = float(width) if is_compat else width**0.5
        self.map_frames, self.map_text = nn.Linear(width, width), nn.Linear(width, width)
        self.from_text, self.from_frames, self.to_frames, self.to_text = (nn.Linear(2 * width, width) for _ in range(4))
        self.pool_frames, self.pool_text = nn.Linear(width, 1), nn.Linear(width, 1)

    def forward(self, v: Tensor, mask: Tensor, t: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
        """Two vectors, [B, d] each, of frames [B, F, d] with mask [B, F] and text [B, L, d] with mask [B, L]."""
        scores = torch.tanh(self.map_frames(v)) @ torch.tanh(self.map_text(t)).transpose(1, 2) / self.scale
        attend = _shared if self.is_compat else _bipolar
        texts, frames = attend(scores, v, mask, t, text_mask)
        v = torch.tanh(self.to_frames(torch.cat([v, torch.tanh(self.from_text(texts))], dim=-1)))
        t = torch.tanh(self.to_text(torch.cat([t, torch.tanh(self.from_frames(frames))], dim=-1)))
        return self._pooled(self.pool_frames, v, mask), self._pooled(self.pool_text, t, text_mask)

    def _pooled(self, score: nn.Linear, x: Tensor, mask: Tensor) -> Tensor:
        """Mean of [B, n, d], weighted by attention."""
        weights = _softmax(score(x).squeeze(-1) / self.scale, mask, dim=1)
        return (weights[..., None] * x).sum(dim=1)


def _bipolar(scores: Tensor, v: Tensor, mask: Tensor, t: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
    """What frames see of text [B, F, 2 d] and text of frames [B, L, 2 d], attracted and repelled."""
    of_text = [_softmax(sign * scores, text_mask[:, None], dim=2) @ t for sign in (1, -1)]
    of_frames = [_softmax(sign * scores, mask[..., None], dim=1).transpose(1, 2) @ v for sign in (1, -1)]
    return torch.cat(of_text, dim=-1), torch.cat(of_frames, dim=-1)


def _shared(scores: Tensor, v: Tensor, mask: Tensor, t: Tensor, text_mask: Tensor) -> tuple[Tensor, Tensor]:
    """The same as in the public code, where there is one text: softmax along the other axis, the negative a copy."""
    of_text = _softmax(scores, mask[..., None], dim=1) @ t
    of_frames = (v * mask[..., None]).sum(dim=1, keepdim=True)
    return torch.cat([of_text, -_NEGATIVE * of_text], dim=-1), torch.cat([of_frames, -_NEGATIVE * of_frames], dim=-1)


def _softmax(scores: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Softmax over the places of a mask that broadcasts to the scores."""
    return scores.masked_fill(~mask, -torch.inf).softmax(dim=dim)
