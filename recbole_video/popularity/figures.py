"""Pictures of a popularity run: predicted against true, and what a prediction rests on."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import Predictions
from recbole_video.files.atomic import write_atomically
from recbole_video.popularity.explanation import Explanation

_MAX_POINTS = 20_000
_RAISES, _LOWERS = "#c8553d", "#2b6cb0"
_LONGEST_LABEL = 56  # characters


def draw_scatter(predictions: Predictions, metrics: Metrics, path: Path) -> None:
    """Draw predicted against true popularity; points on the diagonal are right."""
    figure = empty_figure(5, 5)
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
    save_figure(figure, path)


def draw_explanation(title: str, explanation: Explanation, path: Path) -> None:
    """Draw the score of each frame, what was retrieved by weight and popularity, and what each feature adds.

    Args:
        title: Above the picture.
        explanation: What the prediction rests on; what it does not tell is left out.
        path: The PNG.
    """
    figure = empty_figure(9, max(3.2, 1.4 + 0.27 * len(explanation.listed())))
    draws = [_draw_frame_weights] if explanation.frame_weights is not None else []
    draws += [_draw_slots] if explanation.slots else []
    draws += [_draw_contributions] if explanation.base is not None else []
    axes = figure.subplots(1, max(1, len(draws)), squeeze=False)[0]
    for axis, draw in zip(axes, draws, strict=False):
        draw(axis, explanation)
    figure.suptitle(title, fontsize=10, parse_math=False)
    save_figure(figure, path)


def _draw_frame_weights(axis: Any, explanation: Explanation) -> None:
    weights = np.asarray(explanation.frame_weights)
    axis.bar(np.arange(len(weights)), weights)
    axis.set_xlabel("frame")
    axis.set_ylabel("frame score")


def _draw_slots(axis: Any, explanation: Explanation) -> None:
    slots, weights = explanation.slots, explanation.weights
    axis.barh([slot.label for slot in slots], list(weights))
    for y, (slot, weight) in enumerate(zip(slots, weights, strict=True)):
        axis.text(weight, y, f" popularity {slot.popularity:.2f}", va="center", fontsize=8)
    axis.invert_yaxis()
    axis.margins(x=0.35)
    axis.set_xlabel("weight")


def _draw_contributions(axis: Any, explanation: Explanation) -> None:
    found, places = explanation.listed(), np.arange(len(explanation.listed()))
    amounts = [one.amount for one in found]
    bars = axis.barh(places, amounts, color=[_RAISES if amount >= 0 else _LOWERS for amount in amounts])
    axis.bar_label(bars, [f"{amount:+.3f}" for amount in amounts], padding=3, fontsize=8)
    axis.set_yticks(places, [_shortened(str(one)) for one in found], fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.axvline(0, color="tab:gray", linewidth=1)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    mean = f"mean of {explanation.scale}" if explanation.scale else "mean prediction"
    axis.set_xlabel(f"added to the {mean} in training, {explanation.base:.3f}", fontsize=9)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"


def empty_figure(width: float, height: float) -> Any:
    """A figure of so many inches, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def save_figure(figure: Any, path: Path) -> None:
    """Write a figure as a PNG, whole or not at all."""
    image = BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(image.getvalue()))
