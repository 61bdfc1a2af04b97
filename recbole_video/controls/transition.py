"""Control: what others watched next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.sparse import coo_array
from torch import Tensor

from recbole_video.controls.base import Control, last_items
from recbole_video.controls.content_knn import unit_vectors
from recbole_video.controls.options import ControlOptions
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions
from recbole_video.errors import CheckpointError
from recbole_video.options.option import option
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor

_STATE = "_extra_state"  # PyTorch's name of what get_extra_state gives
_PARTS = ("starts", "successors", "times_seen")
_BELOW_ONE = 1 - 2**-10  # a back-off ranks below the rarest transition, in float32 as well


class Transition(Control):
    """Items by how often they directly followed the last item of the history in training.

    Those that never did, and those that did equally often, are ranked by the back-off: by the cosine of their content
    to the last item; where that has none, or no content is read, by their training actions.
    """

    @dataclass(frozen=True)
    class Options(ControlOptions):
        """Those of Transition."""

        transition_backoff: Literal["content", "popularity"] = option(
            "content",
            "content, and popularity for an item without any; popularity: no content is read.",
            section="Transition",
        )

    starts: Tensor  # [n_items + 1] int64, where the successors of an item begin
    successors: Tensor  # [P] int64, item ids, ascending for each item
    times_seen: Tensor  # [P] float32, how often each followed
    popularity: Tensor  # [n_items], at least 0 and below 1
    vectors: Tensor  # [n_items, D], D = 0 where no content is read

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        n_items = dataset.item_num
        self.register_buffer("popularity", torch.zeros(n_items))
        self.register_buffer("vectors", torch.zeros(n_items, sum(dataset.content_dims.values())))
        self._set_transitions(torch.zeros(n_items + 1, dtype=torch.long), torch.zeros(0).long(), torch.zeros(0))

    @classmethod
    def reads_content(cls, config: Any) -> bool:
        return config["transition_backoff"] == "content"

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Count the transitions in training sequences, and what the back-off needs."""
        if self.content is not None:
            self.vectors.copy_(unit_vectors(self.content.averaged(), len(self.vectors)))
        counts = torch.from_numpy(actions.train_item_counts())
        self.popularity.copy_(counts / (counts.max() + 1))
        before = _places_with_successor(actions)
        pairs = (actions.items[before], actions.items[before + 1])
        table = coo_array((np.ones(len(before), np.float32), pairs), (actions.n_items,) * 2).tocsr()
        table.sort_indices()
        parts = (table.indptr.astype(np.int64), table.indices.astype(np.int64), table.data)
        self._set_transitions(*(torch.from_numpy(part).to(self.popularity.device) for part in parts))
        return {"transitions": len(before), "different": int(table.nnz)}

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        last = last_items(histories, lengths)
        scores = self._backoff(last)
        n = self.starts[last + 1] - self.starts[last]
        row = torch.arange(len(last), device=last.device).repeat_interleave(n)
        place = torch.arange(len(row), device=last.device) - (n.cumsum(0) - n)[row] + self.starts[last][row]
        scores[row, self.successors[place]] += self.times_seen[place]
        return scores

    def _backoff(self, last: Tensor) -> Tensor:
        """Scores of at least 0 and below 1, [B, n_items]."""
        by_popularity = self.popularity * _BELOW_ONE
        if not self.vectors.shape[1]:
            return by_popularity.repeat(len(last), 1)
        wanted = self.vectors[last]
        scores = (wanted @ self.vectors.T).clamp_(-1, 1).add_(1).mul_(_BELOW_ONE / 2)
        scores[(wanted == 0).all(dim=1)] = by_popularity
        return scores

    # -- in a checkpoint -----------------------------------------------------------------------

    def _set_transitions(self, *parts: Tensor) -> None:
        for name, part in zip(_PARTS, parts, strict=True):
            self.register_buffer(name, part, persistent=False)  # how many there are, no option says

    def get_extra_state(self) -> dict[str, Tensor]:
        """The transitions as tensors."""
        return {name: getattr(self, name) for name in _PARTS}

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        self._set_transitions(*(state[name].to(self.popularity.device) for name in _PARTS))

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check that the transitions of a checkpoint are between its items."""
        super().check_state(state, path)
        stored = Fields(state.get(_STATE), _STATE, path)
        for name in _PARTS:
            check_plain_tensor(stored.get(name), name, path)
        starts, successors, times_seen = (stored.get(name) for name in _PARTS)
        if not _are_transitions(starts, successors, times_seen, len(self.popularity)):
            raise CheckpointError(f"`{path}` holds transitions that are not between its items; it is damaged.")


def _places_with_successor(actions: Actions) -> np.ndarray:
    """Places of the training actions that are followed by one of the same sequence, [T]; each once."""
    rows = actions.split.train
    n = rows.length - 1
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    return np.repeat(rows.start, n) + within


def _are_transitions(starts: Tensor, successors: Tensor, times_seen: Tensor, n_items: int) -> bool:
    """Whether three arrays are a table of transitions between so many items."""
    kinds = (starts.dtype, successors.dtype, times_seen.dtype) == (torch.int64, torch.int64, torch.float32)
    if not kinds or starts.shape != (n_items + 1,) or successors.ndim != 1 or successors.shape != times_seen.shape:
        return False
    is_ordered = bool((starts.diff() >= 0).all()) and int(starts[0]) == 0 and int(starts[-1]) == len(successors)
    are_items = bool(((successors > 0) & (successors < n_items)).all())
    return is_ordered and are_items and bool((torch.isfinite(times_seen) & (times_seen > 0)).all())
