"""The metrics of a run as a compact table on the console."""

from __future__ import annotations

from collections.abc import Sequence

from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.runtime.metric_names import is_share, metric_label

_TABLE_WIDTH = 110  # characters; a wider table is printed on its side


def result_table(rows: Sequence[tuple[str, Metrics]], cases: str = "users") -> str:
    """Align named rows of metrics; accuracy metrics are printed x 100, as in the papers.

    Args:
        rows: (label, metrics) pairs; a row's ``users`` goes into a column of its own.
        cases: What that column counts.
    """
    keys = [key for key in rows[0][1] if key != "users"]
    has_users = any("users" in metrics for _, metrics in rows)
    table = [["", *([cases] if has_users else []), *map(metric_label, keys)]]
    for label, metrics in rows:
        users = [f"{metrics['users']:,}" if "users" in metrics else ""] if has_users else []
        table.append([label, *users, *(_number(key, metrics.get(key)) for key in keys)])
    if sum(max(map(len, column)) + 2 for column in zip(*table, strict=True)) > _TABLE_WIDTH:
        table = [list(column) for column in zip(*table, strict=True)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in table
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if is_share(key) else f"{value:.4f}"
