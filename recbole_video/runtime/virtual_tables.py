"""Id tables that RecBole's constructors make and nobody will read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

# Below this many values a table is made as RecBole makes it: its random numbers come before those of all other weights.
LARGE = 2**28  # 1 GB of them
_MOST_EXTRA = 8  # rows that a model learns behind those of the items, such as a mask token


@contextmanager
def virtual_tables(n_rows: int) -> Iterator[None]:
    """Give large tables of ``n_rows`` rows, and of some more, a shape and no memory, while a model is constructed.

    A table of ten million items would take 15 GB and a minute, to be thrown away for an item tower.
    """
    original = nn.Embedding.__init__

    def make(self: nn.Embedding, num_embeddings: int, embedding_dim: int, *args: Any, **options: Any) -> None:
        if n_rows <= num_embeddings <= n_rows + _MOST_EXTRA and num_embeddings * embedding_dim >= LARGE:
            options["device"] = "meta"
        original(self, num_embeddings, embedding_dim, *args, **options)

    nn.Embedding.__init__ = make  # type: ignore[method-assign]
    try:
        yield
    finally:
        nn.Embedding.__init__ = original  # type: ignore[method-assign]
