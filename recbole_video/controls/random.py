"""Control: chance."""

from __future__ import annotations

import zlib
from typing import Any

import torch
from torch import Tensor

from recbole_video.controls.base import Control
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions


class Random(Control):
    """Items in a random order of each history's own, which follows from the seed and the history."""

    is_deterministic = False

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        self._seed: int = config["seed"]

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Nothing is fitted."""
        return {"seed": self._seed}

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        generator = torch.Generator()  # of the CPU, so that every device ranks alike
        scores = torch.empty(len(lengths), self.n_items)
        rows = zip(histories.tolist(), lengths.tolist(), scores, strict=True)
        for history, length, row in rows:
            key = f"{self._seed} {history[:length]}"
            generator.manual_seed(zlib.crc32(key.encode()))  # of a longer seed it would read 32 bits
            torch.rand(self.n_items, generator=generator, out=row)
        return scores.to(lengths.device)
