"""The ranks and metrics of each test user as a table."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import RankingMetrics
from recbole_video.files.atomic import write_text


def write_per_user(
    path: Path,
    ranking: Ranking,
    metrics: RankingMetrics,
    tokens: tuple[np.ndarray, np.ndarray],
    groups: Mapping[str, np.ndarray],
) -> None:
    """Write one line per test user: the user, the target, its rank, every top-k metric, the groups of the target.

    Args:
        path: The file.
        ranking: The outcome over all users.
        metrics: Computes them.
        tokens: Of users and of items, by id.
        groups: Whole numbers, [users] each, by the name of their column.
    """
    user_tokens, item_tokens = tokens
    values = metrics.per_user(ranking)
    lines = ["\t".join(["user_id", "item_id", "rank", *values, *groups])]
    columns = [values[name] for name in values]
    for row in np.argsort(ranking.users, kind="stable"):
        cells = [user_tokens[ranking.users[row]], item_tokens[ranking.targets[row]], str(ranking.ranks[row])]
        own = [str(group[row]) for group in groups.values()]
        lines.append("\t".join([*map(str, cells), *(f"{column[row]:.6g}" for column in columns), *own]))
    write_text(path, "\n".join(lines) + "\n")
