"""The item tower: stands in for the id table of a RecBole model and makes vectors from content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recbole_video.content.items import ContentRows, GatheredContent
from recbole_video.errors import ConfigError, DeviceMemoryError, counted
from recbole_video.item_encoders.fusion import ContentEncoder
from recbole_video.item_encoders.id_fusion import IdFusion
from recbole_video.runtime.processes import processes


class ItemTower(nn.Module):
    """Quacks like the ``nn.Embedding`` it replaces: call it with ids, read its ``weight``.

    Row 0, the padding, is zero and never encoded; rows from ``n_items`` on (BERT4Rec's mask token)
    are learned. In a training step, :meth:`encode_once` encodes each distinct item once. Out of
    training, the whole catalogue is encoded on first use, in chunks, and kept until the weights
    may have changed.

    With ``sqrt_dim`` vectors from content are divided by the square root of d, as attention scores are;
    those of ids, and extra rows, never are. Item encoders end in entries of about unit size, with which
    scores would start in the hundreds; training then first makes all items alike and, at the CVA paper's
    learning rate, does not come back. Divided, they start at the size of RecBole's id table. The factor
    adds no parameter and changes no ranking.

    Args:
        encoder: An item encoder for the one modality, one for several, or the ID encoder.
        content: The content by item id; None for the ID encoder.
        n_items: Items, padding included.
        item_dim: d.
        extra: [E, d] initial values of the learned rows behind the items; E may be 0.
        fusion: Adds an id vector to the content vector, or None.
        chunk: Items encoded at once when the catalogue is.
        item_scale: ``sqrt_dim``, or ``none`` for vectors from content as they are encoded.
    """

    def __init__(
        self,
        encoder: nn.Module,
        content: GatheredContent | None,
        n_items: int,
        item_dim: int,
        extra: Tensor,
        fusion: IdFusion | None = None,
        chunk: int = 4096,
        item_scale: str = "sqrt_dim",
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.fusion = fusion
        self.content = content
        self.num_embeddings = n_items + len(extra)
        self.embedding_dim = item_dim
        self.n_items = n_items
        self.chunk = chunk
        self.is_scaled = item_scale == "sqrt_dim"
        self.extra = nn.Parameter(extra) if len(extra) else None
        self._catalogue: Tensor | None = None
        self._step: StepVectors | None = None
        self.register_load_state_dict_post_hook(ItemTower._clear_when_loaded)

    @property
    def reads_frames(self) -> bool:
        """Whether vectors come from content, so that a new video can have one."""
        return getattr(self.encoder, "reads_frames", True)

    @property
    def weight(self) -> Tensor:
        """Vectors of all ids, [n_items + n_extra, d], as ``nn.Embedding.weight``."""
        try:
            return self._all_vectors()
        except AttributeError as error:  # nn.Module would report "no attribute 'weight'"
            raise RuntimeError(f"The item vectors cannot be computed: {error}") from error

    def forward(self, ids: Tensor) -> Tensor:
        """Look up ``ids: [...]`` int as vectors [..., d].

        Raises:
            IndexError: Inside :meth:`encode_once`, for an id that was not announced (on a GPU, a
                device-side assertion).
        """
        if self._step is not None:
            return self._step.lookup(ids)
        if self.training or torch.is_grad_enabled():
            distinct, inverse = torch.unique(ids, return_inverse=True)
            with self.encode_once(distinct[(distinct > 0) & (distinct < self.n_items)]) as vectors:
                return vectors.lookup(distinct)[inverse]
        return F.embedding(ids, self._all_vectors())

    @contextmanager
    def encode_once(
        self, ids: Tensor, read: Mapping[str, Tensor] | None = None, gathered: Sequence[int] = ()
    ) -> Iterator[StepVectors]:
        """Serve every lookup within from one encoding.

        Args:
            ids: [U] what is encoded: distinct, ascending, without padding.
            read: Content of what this process encodes, as far as it was read from disk already, see
                :meth:`GatheredContent.gather`.
            gathered: How many of the items each process encodes for all; empty to encode all of them here.
        """
        if gathered:
            group = processes()
            own = ids.split(list(gathered))[group.rank]
            vectors = group.gathered(self.encode(own, read), gathered)
        else:
            vectors = self.encode(ids, read)
        self._step = StepVectors(ids, vectors, self.extra, self.n_items)
        try:
            yield self._step
        finally:
            self._step = None

    def encode(self, ids: Tensor, read: Mapping[str, Tensor] | None = None) -> Tensor:
        """Encode ``ids: [U]``, no padding or extra row, as vectors [U, d]; ``read`` as for :meth:`encode_once`."""
        if not self.reads_frames:
            return self.encoder(ids)
        if self.content is None:
            raise RuntimeError("The model was loaded without content, so only its saved item vectors can be used.")
        content = self.encode_new(self.content.gather(ids, read))
        return content if self.fusion is None else self.fusion(content, ids)

    def encode_new(self, content: Mapping[str, ContentRows]) -> Tensor:
        """Encode N videos that have no id, their rows by modality, as vectors [N, d].

        Raises:
            ConfigError: If the encoder gives anything but one vector per video, as wide as item vectors are.
        """
        if isinstance(self.encoder, ContentEncoder):
            vectors = self.encoder(content)
        else:
            (rows,) = content.values()
            vectors = self.encoder(*rows)
        wanted = (len(next(iter(content.values()))[0]), self.embedding_dim)
        if vectors.shape != wanted:
            raise ConfigError(
                f"The item encoder `{type(self.encoder).__name__}` gives {list(vectors.shape)} for {wanted[0]} videos, "
                f"and must give one vector of {wanted[1]} numbers for each, {list(wanted)}; change what its `forward` "
                "returns."
            )
        return vectors * self.embedding_dim**-0.5 if self.is_scaled else vectors

    def set_catalogue(self, vectors: Tensor) -> None:
        """Use ready ``vectors: [n_items + n_extra, d]`` until the weights change."""
        self._catalogue = vectors

    def clear_catalogue(self) -> None:
        """Drop the encoded catalogue."""
        self._catalogue = None

    def _clear_when_loaded(self, _: object) -> None:
        self.clear_catalogue()

    def train(self, mode: bool = True) -> ItemTower:
        self.clear_catalogue()
        return super().train(mode)

    def _all_vectors(self) -> Tensor:
        if self._step is not None and self._step.holds_all:
            return self._step.table
        if self.training or torch.is_grad_enabled():
            return self._with_edges(self.encode(self._all_ids()))
        if self._catalogue is None:
            try:
                self._catalogue = self._with_edges(self._encode_catalogue())
            except torch.cuda.OutOfMemoryError as error:
                raise DeviceMemoryError(
                    f"The vectors of {counted(self.n_items - 1, 'item')} do not fit on the device; lower encode_chunk "
                    f"(now {self.chunk}) or set frames_on_device=False."
                ) from error
        return self._catalogue

    def _encode_catalogue(self) -> Tensor:
        """Vectors of all items, [n_items - 1, d], in chunks."""
        return torch.cat([self.encode(ids) for ids in self._all_ids().split(self.chunk)])

    @torch.no_grad()
    def encode_catalogue_together(self) -> None:
        """Encode the catalogue by several processes, each some of the chunks; all of them have to call it.

        Out of training; what is looked up afterwards is served from it until the weights may have changed.
        """
        group, chunks = processes(), self._all_ids().split(self.chunk)
        if group.is_alone or self._catalogue is not None:
            return
        edges = np.cumsum([0, *group.split(len(chunks))])
        own = [self.encode(ids) for ids in chunks[edges[group.rank] : edges[group.rank + 1]]]
        vectors = torch.cat(own) if own else torch.zeros(0, self.embedding_dim, device=self.device)
        sizes = [sum(map(len, chunks[start:stop])) for start, stop in pairwise(edges)]
        self.set_catalogue(self._with_edges(group.gathered(vectors.float(), sizes)))

    def _all_ids(self) -> Tensor:
        return torch.arange(1, self.n_items, device=self.device)

    @property
    def device(self) -> torch.device:
        """Where the vectors are computed."""
        return next(self.parameters()).device if self.content is None else self.content.device

    def _with_edges(self, vectors: Tensor) -> Tensor:
        """Put the zero row before and the learned rows behind ``vectors: [n_items - 1, d]``."""
        return _with_edges(vectors, self.extra)


class StepVectors:
    """The vectors of one training step.

    Places are found by a binary search, without an array of the size of the catalogue.

    Attributes:
        ids: [U] the encoded item ids, ascending.
        vectors: [U, d] their vectors.
        table: [1 + U + extra, d] with the padding row before and the learned rows behind.
    """

    def __init__(self, ids: Tensor, vectors: Tensor, extra: Tensor | None, n_items: int) -> None:
        self.ids = ids
        self.vectors = vectors
        self.table = _with_edges(vectors, extra)
        self.holds_all = len(ids) == n_items - 1
        n_extra = 0 if extra is None else len(extra)
        behind = torch.arange(n_items, n_items + n_extra, device=ids.device)
        self._announced = torch.cat([ids.new_zeros(1), ids, behind])

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of ``ids: [...]``, which must be among the encoded ones: [..., d]."""
        # F.embedding refuses the place -1 of an unknown id; indexing would wrap around in silence.
        return F.embedding(self._places(ids), self.table)

    def column(self, ids: Tensor) -> Tensor:
        """Position of ``ids: [...]`` in :attr:`ids`; -1 for padding."""
        return self._places(ids) - 1

    def _places(self, ids: Tensor) -> Tensor:
        """Row of the table, [...]; -1 for an id that it has not."""
        if self.holds_all:
            return ids
        place = torch.searchsorted(self._announced, ids).clamp(max=len(self._announced) - 1)
        return torch.where(self._announced[place] == ids, place, -1)


def _with_edges(vectors: Tensor, extra: Tensor | None) -> Tensor:
    padding = vectors.new_zeros(1, vectors.shape[1])
    return torch.cat([padding, vectors] if extra is None else [padding, vectors, extra.to(vectors.dtype)])
