"""Results beyond the totals: by popularity or tag of the target, and for cold items."""

from __future__ import annotations

import numpy as np

from recbole_video.data.tags import ItemTags
from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics

N_POPULARITY_GROUPS = 10
MOST_TAGS = 20  # that are told of, those of the most targets


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
    ranking: Ranking, metrics: RankingMetrics, wanted: list[str], cold_threshold: int, tags: ItemTags | None = None
) -> dict[str, dict[str, Metrics]]:
    """Metrics of the users whose target falls into each group.

    Args:
        ranking: The outcome over all users.
        metrics: Computes them.
        wanted: ``popularity`` and/or ``cold``.
        cold_threshold: A cold item has fewer training actions than this.
        tags: Of the items, for the groups of ``tag``: a target belongs to each of its tags.

    Returns:
        Kind -> group -> metrics, with ``users``, the number of users in the group.
    """
    members: dict[str, dict[str, np.ndarray]] = {}
    group_of = groups_of_targets(ranking.targets, metrics.train_counts, wanted, cold_threshold)
    if "popularity" in wanted:
        members["popularity"] = {str(g): group_of["popularity_group"] == g for g in range(1, N_POPULARITY_GROUPS + 1)}
    if "cold" in wanted:
        members["cold"] = {"cold": group_of["cold"] == 1, "warm": group_of["cold"] == 0}
    if tags is not None:
        members["tag"] = tag_groups(ranking.targets, tags)
    return {
        kind: {name: _group_result(ranking, metrics, inside) for name, inside in groups.items()}
        for kind, groups in members.items()
    }


def groups_of_targets(
    targets: np.ndarray, train_counts: np.ndarray, wanted: list[str], cold_threshold: int
) -> dict[str, np.ndarray]:
    """The group of each target, int64 [users], by column of ``per_user.tsv``; tags, of which one has several, are none.

    Args:
        targets: [users] item ids.
        train_counts: [n_items] training actions of each item.
        wanted: ``popularity`` and/or ``cold``.
        cold_threshold: A cold item has fewer training actions than this.

    Returns:
        ``popularity_group``, 1 to 10, and ``cold``, 1 or 0, as wanted.
    """
    found = {}
    if "popularity" in wanted:
        found["popularity_group"] = popularity_groups(train_counts)[targets]
    if "cold" in wanted:
        found["cold"] = (train_counts[targets] < cold_threshold).astype(np.int64)
    return found


def tag_groups(targets: np.ndarray, tags: ItemTags) -> dict[str, np.ndarray]:
    """The users whose target has a tag, [users] bool, by tag: the 20 of the most users, those of most first."""
    members = {name: np.isin(targets, tags.items_with(tag)) for tag, name in enumerate(tags.names)}
    most = sorted((name for name in members if members[name].any()), key=lambda name: (-members[name].sum(), name))
    return {name: members[name] for name in most[:MOST_TAGS]}


def _group_result(ranking: Ranking, metrics: RankingMetrics, inside: np.ndarray) -> Metrics:
    result: Metrics = {"users": int(inside.sum())}
    if inside.any():
        result.update(metrics.average(ranking.take(np.flatnonzero(inside))))
    return result
