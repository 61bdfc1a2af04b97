"""What a run leaves to read: a compact table on the console, metrics as JSON, the curve as PNG."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Sequence
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from recbole_video.data.files import write_atomically, write_text
from recbole_video.evaluation.metrics import Metrics, RankingMetrics
from recbole_video.evaluation.ranking import Ranking

_SHOWN_NAMES = {"hit": "HR", "ndcg": "NDCG", "mrr": "MRR", "map": "MAP"}
_TABLE_WIDTH = 110  # characters; a wider table is printed on its side
_PERCENT = {"hit", "ndcg", "mrr", "map", "recall", "precision"}


def result_table(rows: Sequence[tuple[str, Metrics]]) -> str:
    """Align named rows of metrics; accuracy metrics are printed x 100, as in the papers.

    Args:
        rows: (label, metrics) pairs; a row's ``users`` goes into a column of its own.
    """
    keys = [key for key in rows[0][1] if key != "users"]
    has_users = any("users" in metrics for _, metrics in rows)
    table = [["", *(["users"] if has_users else []), *(_shown(key) for key in keys)]]
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


def _shown(key: str) -> str:
    name, at, k = key.partition("@")
    return f"{_SHOWN_NAMES.get(name, name)}{at}{k}"


def _number(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{100 * value:.2f}" if key.partition("@")[0] in _PERCENT else f"{value:.4f}"


def draw_curve(
    history: Sequence[dict[str, float]], valid_metric: str, best_epoch: int, path: Path, loss: str = "nats"
) -> None:
    """Draw training loss and validation score per epoch; the best epoch is marked. ``loss`` is its name or unit."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axis = figure.add_subplot()
    score_axis = loss_axis.twinx()
    epochs = [record["epoch"] for record in history]
    loss_axis.plot(epochs, [record["train_loss"] for record in history], color="tab:gray", label="training loss")
    scored = [record for record in history if "valid_score" in record]
    scored_epochs = [record["epoch"] for record in scored]
    scores = [record["valid_score"] for record in scored]
    score_axis.plot(scored_epochs, scores, color="tab:blue", marker=".", label=f"validation {valid_metric}")
    if best_epoch >= 0:
        score_axis.axvline(best_epoch, color="tab:blue", linestyle=":", label=f"best epoch: {best_epoch}")
    loss_axis.set_xlabel("epoch")
    loss_axis.set_ylabel(f"training loss ({loss})")
    score_axis.set_ylabel(f"validation {valid_metric}")
    lines = [*loss_axis.get_lines(), *score_axis.get_lines()]
    show_whole_epochs(loss_axis)
    figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside lower center", ncols=3)
    image = BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(image.getvalue()))


def show_whole_epochs(axis: Any) -> None:
    """Mark whole numbers alone on the horizontal axis of a figure, however few epochs there are."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))


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


def forget_peak_memory(device: torch.device) -> None:
    """Before a run, so that its peak is not that of an earlier one in the same process; on Linux and on GPUs."""
    gc.collect()
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):  # the C library may be another than glibc
            ctypes.CDLL(None).malloc_trim(0)  # what earlier runs freed goes back to the system
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with suppress(OSError):  # elsewhere than on Linux there is no such file
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_memory_mb(device: torch.device) -> float:
    """Most memory that the run has held: on the GPU where it ran on one, else of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        peaks = [line.split()[1] for line in status.read_text(encoding="ascii").splitlines() if "VmHWM" in line]
        if peaks:
            return int(peaks[0]) / 2**10
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def parameter_counts(model: Any) -> dict[str, int]:
    """Trainable parameters of the model and of its item encoder."""
    counts = {"model": sum(p.numel() for p in model.parameters() if p.requires_grad)}
    if hasattr(model.item_embedding, "encoder"):
        counts["item_encoder"] = sum(p.numel() for p in model.item_embedding.encoder.parameters())
    return counts
