"""Several modalities through item encoders that read one: joined before the encoder, or after one encoder each.

An encoder keeps its signature, ``Encoder(frame_dim, item_dim)`` and ``forward(frames, mask)``: what it reads as frames
are rows of content, from wherever they came. With a single modality it is used as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from recbole_video.content.items import ContentRows
from recbole_video.options.content import EARLY

_VECTOR_STD = 0.02  # of a modality vector at first, as of RecBole's embeddings


def build_content_encoder(
    make: Callable[[int], nn.Module], dims: Mapping[str, int], item_dim: int, how: str | None, width: int | None
) -> nn.Module:
    """An encoder of one modality as it is, or one for several.

    Args:
        make: Makes an item encoder that reads rows of the given width.
        dims: Width of each modality, in the order in which they are read.
        item_dim: d, width of an item vector.
        how: ``early`` (or None), ``late``, ``late_gate`` or ``late_concat``; nothing to a single modality.
        width: To which early fusion projects; d by default.
    """
    if len(dims) < 2:
        return make(next(iter(dims.values()), 0))
    if how in (None, EARLY):
        return EarlyFusion(make, dims, item_dim if width is None else width)
    return LateFusion(make, dims, item_dim, str(how).removeprefix("late_"))


def begins_with_mean(encoder: nn.Module) -> bool:
    """Whether an encoder reads nothing but the mean of an item's rows, which can then be computed once.

    It says so by an attribute of this name, and takes as ``mask`` how many rows each one is the mean of.
    """
    return bool(getattr(encoder, "begins_with_mean", False))


class ContentEncoder(nn.Module):
    """Base of what encodes several modalities: ``forward(content)`` takes :class:`ContentRows` by name."""

    begins_with_mean = False

    def forward(self, content: Mapping[str, ContentRows]) -> Tensor:
        """Encode the content of N items as item vectors [N, d]."""
        raise NotImplementedError


class EarlyFusion(ContentEncoder):
    """Join the rows of all modalities in one sequence with one mask, for one encoder.

    Each row is projected to a common width and gets the learned vector of its modality, so that an encoder that attends
    to rows can tell where they came from. One that averages gives each *row* the same weight: five frames weigh five
    times as much as a title.

    Args:
        make: Makes an item encoder that reads rows of the given width.
        dims: Width of each modality.
        width: The common width.
    """

    def __init__(self, make: Callable[[int], nn.Module], dims: Mapping[str, int], width: int) -> None:
        super().__init__()
        self.names = tuple(dims)
        self.projections = nn.ModuleList(nn.Linear(dim, width) for dim in dims.values())
        self.modality = nn.Parameter(torch.randn(len(dims), width) * _VECTOR_STD)
        self.encoder = make(width)
        self.begins_with_mean = begins_with_mean(self.encoder)  # a projection of a mean is the mean of projections

    def join(self, content: Mapping[str, ContentRows]) -> ContentRows:
        """The rows of all modalities, [N, R_1 + R_2 + ..., width], one modality after the other."""
        parts = [
            project(content[name].values) + vector
            for name, project, vector in zip(self.names, self.projections, self.modality, strict=True)
        ]
        mask = torch.cat([content[name].mask for name in self.names], dim=1)
        values = torch.cat(parts, dim=1)
        return ContentRows(values.masked_fill(mask[..., None] == 0, 0.0), mask)  # as an encoder finds what is missing

    def forward(self, content: Mapping[str, ContentRows]) -> Tensor:
        """Encode the joined rows."""
        return self.encoder(*self.join(content))


class LateFusion(ContentEncoder):
    """An encoder for each modality; their vectors are joined, those of the modalities that an item has.

    ``late`` adds them. ``gate`` weighs them by a softmax over those present, of scores that are linear in all of them.
    ``concat`` puts them side by side, zeros for what is missing, and projects them to d.

    Args:
        make: Makes an item encoder that reads rows of the given width.
        dims: Width of each modality.
        item_dim: d.
        how: ``late``, ``gate`` or ``concat``.
    """

    def __init__(self, make: Callable[[int], nn.Module], dims: Mapping[str, int], item_dim: int, how: str) -> None:
        super().__init__()
        self.names = tuple(dims)
        self.encoders = nn.ModuleList(make(dim) for dim in dims.values())
        self.begins_with_mean = all(map(begins_with_mean, self.encoders))
        side_by_side = len(dims) * item_dim
        self.gate = nn.Linear(side_by_side, len(dims)) if how == "gate" else None
        self.out = nn.Linear(side_by_side, item_dim) if how == "concat" else None

    def forward(self, content: Mapping[str, ContentRows]) -> Tensor:
        """Encode each modality, and join the vectors."""
        present = torch.stack([content[name].mask.any(dim=1) for name in self.names], dim=1)  # [N, M]
        encoded = [encode(*content[name]) for name, encode in zip(self.names, self.encoders, strict=True)]
        vectors = torch.stack(encoded, dim=1)  # [N, M, d]
        vectors = vectors * present[..., None]  # an encoder of nothing gives its bias
        if self.out is not None:
            return self.out(vectors.flatten(1))
        if self.gate is not None:
            vectors = vectors * self._weights(vectors, present)[..., None]
        return vectors.sum(dim=1)

    def _weights(self, vectors: Tensor, present: Tensor) -> Tensor:
        """Weight of each modality, [N, M]: above 0 for those present, with sum 1; of no consequence where none is."""
        assert self.gate is not None
        scores = self.gate(vectors.flatten(1)).float()
        return scores.masked_fill(~present, torch.finfo(scores.dtype).min).softmax(dim=1).to(vectors.dtype)
