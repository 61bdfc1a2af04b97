"""What controls share that rank alike for everybody: by counts of actions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_video.controls.base import Control
from recbole_video.controls.options import ControlOptions
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions
from recbole_video.options.option import option


class ByCount(Control):
    """Items by the number of their actions, of those that a subclass chooses."""

    @dataclass(frozen=True)
    class Options(ControlOptions):
        """Those of controls that count."""

        equal_counts: Literal["tie", "newest_first"] = option(
            "tie",
            "tie: equal scores, in the order of all ties; newest_first: the item that came into the data last goes "
            "first.",
            section="Counts",
        )

    scores: Tensor  # [n_items], equal to the counts, or in their order

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        self._has_ties: bool = config["equal_counts"] == "tie"
        self.register_buffer("scores", torch.zeros(dataset.item_num))

    def count(self, actions: Actions, chosen: np.ndarray) -> dict[str, Any]:
        """Count the ``chosen`` actions, bool [A], of each item."""
        counts = np.bincount(actions.items[chosen], minlength=actions.n_items)
        scores = counts if self._has_ties else np.argsort(np.argsort(counts, kind="stable"))  # ids follow first actions
        self.scores.copy_(torch.from_numpy(scores))
        return {"actions": int(counts.sum()), "items": int((counts > 0).sum())}

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        return self.scores.repeat(len(lengths), 1)
