"""Control: what looks like what was watched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from recbole_video.content.items import ContentRows, GatheredContent
from recbole_video.content.mean import masked_mean
from recbole_video.controls.base import Control, last_items
from recbole_video.controls.options import ControlOptions
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions
from recbole_video.options.option import option

_ITEMS_AT_ONCE = 4096


class ContentKNN(Control):
    """Items by the cosine of their content to the last item, or to the mean of the history.

    An item's vector is the mean of its rows, of length one. Several modalities, each of length one, stand side by side,
    so that a cosine of items that have all of them is the mean of those within each modality. An item without content
    is as far from everything as what is unlike it: its cosine is 0.
    """

    @dataclass(frozen=True)
    class Options(ControlOptions):
        """Those of ContentKNN."""

        similar_to: Literal["last", "mean"] = option(
            "last",
            "last: the last item of the history; mean: the mean vector of its last L items.",
            section="ContentKNN",
        )

    vectors: Tensor

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        self._similar_to: str = config["similar_to"]
        self.register_buffer("vectors", torch.zeros(dataset.item_num, sum(dataset.content_dims.values())))

    @classmethod
    def reads_content(cls, config: Any) -> bool:
        return True

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Take the vector of each item; nothing is learned of the actions."""
        assert self.content is not None
        self.vectors.copy_(unit_vectors(self.content.averaged(), len(self.vectors)))
        return {"items_without_content": int((self.vectors[1:] == 0).all(dim=1).sum())}

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        if self._similar_to == "last":
            wanted = self.vectors[last_items(histories, lengths)]
        else:  # the padding's vector is zero
            wanted = F.normalize(F.embedding_bag(histories, self.vectors, mode="sum"))
        return wanted @ self.vectors.T


def unit_vectors(content: GatheredContent, n_items: int) -> Tensor:
    """Each item's mean content as a vector of length one, zero without any: [n_items, D], padding included."""
    ids = torch.arange(1, n_items, device=content.device)
    parts = [unit_vectors_of(content.gather(some)) for some in ids.split(_ITEMS_AT_ONCE)]
    vectors = torch.cat(parts)
    return torch.cat([vectors.new_zeros(1, vectors.shape[1]), vectors])


def unit_vectors_of(content: dict[str, ContentRows]) -> Tensor:
    """The same of N items whose rows are given, [N, D]."""
    means = [F.normalize(masked_mean(*rows)) for rows in content.values()]
    return F.normalize(torch.cat(means, dim=1))
