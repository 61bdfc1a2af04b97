"""Training for recommendation: an epoch is judged by ranking the catalogue."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from recbole_video.data.sequence_loaders import HistoryLoader
from recbole_video.evaluation.ranking import Ranking, rank_targets
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics
from recbole_video.training.trainer import Trainer


class VideoTrainer(Trainer):
    """Trains and evaluates a user encoder over item vectors.

    Args:
        config: The run's configuration.
        model: The model, on its device.
        metrics: Computes the metrics.
        rest: As in :class:`Trainer`.
    """

    memory_advice = "lower train_batch_size, or use loss_type=in_batch"

    def __init__(self, config: Any, model: Any, metrics: RankingMetrics, *rest: Any) -> None:
        super().__init__(config, model, *rest)
        self.metrics = metrics

    def evaluate(self, data: HistoryLoader) -> tuple[Ranking, Metrics]:
        """Rank the catalogue for all histories of ``data`` with the current weights."""
        ranking = rank_targets(self.model, data, self.device, self.metrics.n_top, self.config["show_progress"])
        return ranking, self.metrics.average(ranking)

    def parts_to_compile(self) -> list[nn.Module]:
        """The item encoder and the user encoder's blocks."""
        tower = self.model.item_embedding
        blocks = [part for part in self.model.children() if part is not tower and any(True for _ in part.children())]
        return [tower.encoder, *blocks]

    def state_for_use(self) -> dict[str, Any]:
        """The item vectors, so that the catalogue need not be encoded to recommend from it."""
        if not self.model.item_embedding.reads_frames:
            return {}
        with torch.no_grad():
            return {"item_vectors": self.model.item_embedding.weight.detach()}
