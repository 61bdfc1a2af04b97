"""Pictures of a popularity run: predicted against true, use of the memory's slots, what a prediction rests on."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import Predictions
from recbole_video.files.atomic import write_atomically
from recbole_video.results.curve import show_whole_epochs

_MAX_POINTS = 20_000


def draw_scatter(predictions: Predictions, metrics: Metrics, path: Path) -> None:
    """Draw predicted against true popularity; points on the diagonal are right."""
    figure = _figure(5, 5)
    axis = figure.add_subplot()
    n = len(predictions.labels)
    chosen = slice(None) if n <= _MAX_POINTS else np.random.default_rng(0).choice(n, _MAX_POINTS, replace=False)
    labels, values = predictions.labels[chosen], predictions.values[chosen]
    axis.scatter(labels, values, s=6, alpha=0.4, linewidths=0, rasterized=True)
    ends = [min(labels.min(), values.min()), max(labels.max(), values.max())]
    axis.plot(ends, ends, color="tab:gray", linewidth=1)
    axis.set_xlabel("true popularity")
    axis.set_ylabel("predicted popularity")
    axis.set_title(", ".join(f"{name} {value:.4f}" for name, value in metrics.items()), fontsize=9)
    _save(figure, path)


def draw_slot_usage(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw how evenly the memory's slots are used per epoch: entropy (1: alike) and Gini coefficient (0: alike)."""
    figure = _figure(7, 4)
    axis = figure.add_subplot()
    records = [record for record in history if "slot_entropy" in record]
    epochs = [record["epoch"] for record in records]
    names = {"slot_entropy": "entropy", "slot_gini": "Gini coefficient", "slot_top5_share": "share of the top five"}
    for key, label in names.items():
        axis.plot(epochs, [record[key] for record in records], marker=".", label=label)
    axis.set_ylim(0, 1)
    axis.set_xlabel("epoch")
    show_whole_epochs(axis)
    axis.set_ylabel("use of the memory's slots")
    axis.legend()
    _save(figure, path)


def draw_explanation(title: str, weights: np.ndarray | None, slots: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw the score of each frame, and the retrieved slots by weight and popularity.

    Args:
        title: Above the picture.
        weights: [T] float; None where frames are not scored.
        slots: ``partition``, ``cluster``, ``weight`` and ``popularity`` of each kept slot; empty without a bank.
        path: The PNG.
    """
    figure = _figure(9, 3.2)
    parts = [part for part in ("frames" if weights is not None else "", "slots" if slots else "") if part]
    axes = figure.subplots(1, max(1, len(parts)), squeeze=False)[0]
    for axis, part in zip(axes, parts, strict=False):
        if part == "frames" and weights is not None:
            axis.bar(np.arange(len(weights)), weights)
            axis.set_xlabel("frame")
            axis.set_ylabel("frame score")
        else:
            names = [f"partition {s['partition'] + 1}, topic {s['cluster'] + 1}" for s in slots]
            axis.barh(names, [s["weight"] for s in slots])
            for y, slot in enumerate(slots):
                axis.text(slot["weight"], y, f" popularity {slot['popularity']:.2f}", va="center", fontsize=8)
            axis.invert_yaxis()
            axis.margins(x=0.35)
            axis.set_xlabel("weight")
    figure.suptitle(title, fontsize=10)
    _save(figure, path)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _save(figure: Any, path: Path) -> None:
    image = BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(image.getvalue()))
