"""Nearest training videos by cosine similarity: exact, in chunks, the same whatever the chunks are."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

_BUDGET = 8 << 20  # bytes of what a search holds at once beside its vectors: a processor's cache
# Cosines are compared as multiples of 2^-30: what a matrix product leaves in its last digits depends on the sizes of
# its factors, and would order equal videos by the chunk that they happen to lie in.
_ONE = 1 << 30
_PLACES = 1 << 32  # below each cosine in a key, the place of its video
_TAKEN_OUT = torch.iinfo(torch.int64).min


@dataclass(frozen=True)
class Neighbours:
    """What was found for B queries.

    Attributes:
        places: Places of the K nearest vectors in the index, the nearest first, int64 [B, K].
        similarities: Their cosine similarities, float32 [B, K].
    """

    places: Tensor
    similarities: Tensor


class NeighbourIndex:
    """Vectors to search, of one modality of the training videos.

    All are compared, none is left out by a shortcut. Of equally near ones the one that comes first in the index is the
    nearer. A vector of zeros, as of a video without text, has similarity 0 to every other.

    Args:
        vectors: [N, d] float.
        rows: Row in the data set of each, int64 [N], by which a video is kept from finding itself.
    """

    def __init__(self, vectors: Tensor, rows: Tensor) -> None:
        self._vectors, self._rows = vectors.float(), rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def device(self) -> torch.device:
        """Where the search takes place."""
        return self._vectors.device

    @torch.no_grad()
    def nearest(self, queries: Tensor, rows: Tensor, k: int, chunk: int | None = None) -> Neighbours:
        """The ``k`` nearest vectors of each query, without the video that asks.

        Args:
            queries: [B, d] float.
            rows: Row of each query in the data set, int64 [B]; negative for a video that is not of it.
            k: How many, fewer than N.
            chunk: Vectors that are compared at once; by default as many as 8 MiB allow.

        Raises:
            ValueError: If there are not so many.
        """
        if k >= len(self):
            raise ValueError(f"{k} neighbours of {len(self)} vectors, one of which may be the query's own")
        wanted = _of_unit_length(queries)
        chunk = chunk or chunk_size(len(queries), queries.shape[-1])
        best = torch.zeros(len(queries), 0, dtype=torch.int64, device=self.device)
        for start in range(0, len(self), chunk):
            part = slice(start, start + chunk)
            keys = _keys(wanted @ _of_unit_length(self._vectors[part]).T, start)
            keys.masked_fill_(rows[:, None] == self._rows[part], _TAKEN_OUT)
            best = torch.cat([best, keys.topk(min(k, keys.shape[1]), dim=1).values], dim=1)
            best = best.topk(min(k, best.shape[1]), dim=1).values
        return Neighbours(_PLACES - 1 - best % _PLACES, (best // _PLACES).float() / _ONE)


def chunk_size(n_queries: int, width: int) -> int:
    """How many vectors to compare at once, so that a search holds no more than 8 MiB beside them."""
    per_vector = 8 * (width + 3 * n_queries)  # the vector in double precision; its cosines, keys and mask
    return max(1, _BUDGET // per_vector)


def _of_unit_length(vectors: Tensor) -> Tensor:
    """Double precision: in single, parallel vectors would differ by more than the step of the comparison."""
    return normalize(vectors.double(), dim=-1)


def _keys(cosines: Tensor, start: int) -> Tensor:
    """Whole numbers in the order of cosines [B, C], of equal ones the first place the largest, int64 [B, C]."""
    places = torch.arange(start, start + cosines.shape[1], device=cosines.device)
    return (cosines * _ONE).round().long() * _PLACES + (_PLACES - 1 - places)
