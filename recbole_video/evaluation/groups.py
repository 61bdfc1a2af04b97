"""Results beyond the totals: by popularity of the target, and for cold items."""

from __future__ import annotations

import numpy as np

from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics

N_POPULARITY_GROUPS = 10


def popularity_groups(train_counts: np.ndarray) -> np.ndarray:
    """Group of each item id, 1 (rarest) to 10 (most popular) by training frequency (CVA, Table 15).

    The groups hold equally many items; items of equal frequency are divided by id.

    Args:
        train_counts: [n_items] training actions of each item; id 0 is padding.

    Returns:
        [n_items] int64, 0 for the padding.
    """
    group = np.zeros(len(train_counts), np.int64)
    order = np.argsort(train_counts[1:], kind="stable") + 1
    group[order] = np.arange(len(order)) * N_POPULARITY_GROUPS // max(1, len(order)) + 1
    return group


def ranking_results_by_group(
    ranking: Ranking, metrics: RankingMetrics, wanted: list[str], cold_threshold: int
) -> dict[str, dict[str, Metrics]]:
    """Metrics of the users whose target falls into each group.

    Args:
        ranking: The outcome over all users.
        metrics: Computes them.
        wanted: ``popularity`` and/or ``cold``.
        cold_threshold: A cold item has fewer training actions than this.

    Returns:
        Kind -> group -> metrics, with ``users``, the number of users in the group.
    """
    members: dict[str, dict[str, np.ndarray]] = {}
    counts = metrics.train_counts
    if "popularity" in wanted:
        group = popularity_groups(counts)[ranking.targets]
        members["popularity"] = {str(g): group == g for g in range(1, N_POPULARITY_GROUPS + 1)}
    if "cold" in wanted:
        is_cold = counts[ranking.targets] < cold_threshold
        members["cold"] = {"cold": is_cold, "warm": ~is_cold}
    return {
        kind: {name: _group_result(ranking, metrics, inside) for name, inside in groups.items()}
        for kind, groups in members.items()
    }


def _group_result(ranking: Ranking, metrics: RankingMetrics, inside: np.ndarray) -> Metrics:
    result: Metrics = {"users": int(inside.sum())}
    if inside.any():
        result.update(metrics.average(ranking.take(np.flatnonzero(inside))))
    return result
