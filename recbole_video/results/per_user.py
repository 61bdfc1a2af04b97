"""The ranks and metrics of each test user as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recbole_video.evaluation.ranking import Ranking
from recbole_video.evaluation.ranking_metrics import RankingMetrics
from recbole_video.files.atomic import write_text


def write_per_user(
    path: Path, ranking: Ranking, metrics: RankingMetrics, user_tokens: np.ndarray, item_tokens: np.ndarray
) -> None:
    """Write one line per test user: the user, the target, its rank, every top-k metric."""
    values = metrics.per_user(ranking)
    lines = ["\t".join(["user_id", "item_id", "rank", *values])]
    columns = [values[name] for name in values]
    for row in np.argsort(ranking.users, kind="stable"):
        cells = [user_tokens[ranking.users[row]], item_tokens[ranking.targets[row]], str(ranking.ranks[row])]
        lines.append("\t".join([*map(str, cells), *(f"{column[row]:.6g}" for column in columns)]))
    write_text(path, "\n".join(lines) + "\n")
