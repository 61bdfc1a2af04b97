"""Pictures of a popularity run: predicted against true, and what a prediction rests on."""

from __future__ import annotations

import warnings
from io import BytesIO
from pathlib import Path
from typing import Any
from unicodedata import east_asian_width

import numpy as np

from recbole_video.evaluation.ranking_metrics import Metrics
from recbole_video.evaluation.regression import Predictions
from recbole_video.files.atomic import write_atomically
from recbole_video.popularity.explanation import Contribution, Explanation
from recbole_video.results.curve import show_whole_numbers
from recbole_video.runtime.metric_names import metric_label

_MAX_POINTS, _FEW_POINTS = 20_000, 2_000
_RAISES, _LOWERS = "#c8553d", "#2b6cb0"
# The most that fits in places of a picture, in Latin letters.
_LONGEST_TITLE, _LONGEST_LABEL, _LONGEST_NAME, _LONGEST_SLOT, _LONGEST_FOOT = 115, 64, 44, 26, 140


def draw_scatter(predictions: Predictions, metrics: Metrics, path: Path, label: str = "popularity") -> None:
    """Draw predicted against true popularity; points on the diagonal are right.

    Args:
        predictions: Of the test videos.
        metrics: For the title.
        path: The PNG.
        label: The name of the label, for the axes.
    """
    figure = empty_figure(5, 5)
    axis = figure.add_subplot()
    n = len(predictions.labels)
    chosen = slice(None) if n <= _MAX_POINTS else np.random.default_rng(0).choice(n, _MAX_POINTS, replace=False)
    labels, values = predictions.labels[chosen], predictions.values[chosen]
    few = n <= _FEW_POINTS  # they hide each other less
    axis.scatter(labels, values, s=18 if few else 8, alpha=0.7 if few else 0.4, linewidths=0, rasterized=True)
    ends = [min(labels.min(), values.min()), max(labels.max(), values.max())]
    axis.plot(ends, ends, color="tab:gray", linewidth=1)
    name = _cut_within(label, _LONGEST_NAME)
    axis.set_xlabel(f"true {name}", parse_math=False)
    axis.set_ylabel(f"predicted {name}", parse_math=False)
    axis.set_title(", ".join(f"{metric_label(name)} {value:.4f}" for name, value in metrics.items()), fontsize=9)
    save_figure(figure, path)


def draw_explanation(title: str, explanation: Explanation, path: Path) -> None:
    """Draw the score of each frame, what was retrieved by weight and popularity, and what each feature adds.

    Args:
        title: Above the picture.
        explanation: What the prediction rests on; what it does not tell is left out.
        path: The PNG.
    """
    draws = [_draw_frame_weights] if explanation.frame_weights is not None else []
    draws += [_draw_slots] if explanation.slots else []
    draws += [_draw_contributions] if explanation.base is not None else []
    draws = draws or ([_draw_what_ifs] if explanation.without else [])
    n_lines = max(len(explanation.listed()), len(explanation.slots))
    figure = empty_figure(max(9, 4.5 * len(draws)), max(3.2, 1.4 + 0.27 * n_lines))
    ratios = [2 if draw is _draw_contributions else 1 for draw in draws]  # whose labels are long
    axes = figure.subplots(1, max(1, len(draws)), squeeze=False, width_ratios=ratios or None)[0]
    for axis, draw in zip(axes, draws, strict=False):
        draw(axis, explanation)
    figure.suptitle(_cut_within(title, _LONGEST_TITLE), fontsize=10, parse_math=False)
    if explanation.without and draws != [_draw_what_ifs]:
        told = ", ".join(f"without its {one.lacking} {one.popularity:.3f}" for one in explanation.without)
        figure.supxlabel(_cut(f"what if: {told}", _LONGEST_FOOT), fontsize=8, parse_math=False)
    save_figure(figure, path)


def _draw_frame_weights(axis: Any, explanation: Explanation) -> None:
    weights = np.asarray(explanation.frame_weights)
    axis.bar(np.arange(len(weights)) + 1, weights)
    show_whole_numbers(axis)
    axis.set_xlabel("frame, from 1")
    axis.set_ylabel("frame score")


def _draw_slots(axis: Any, explanation: Explanation) -> None:
    slots, places = explanation.slots, np.arange(len(explanation.slots))
    bars = axis.barh(places, list(explanation.weights))
    axis.bar_label(bars, [f"popularity {_number(slot.popularity, 2)}" for slot in slots], padding=3, fontsize=8)
    axis.set_yticks(places, [_cut_within(slot.label, _LONGEST_SLOT) for slot in slots], fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.6)
    axis.set_xlabel(f"weight of each {explanation.kind}")


def _draw_contributions(axis: Any, explanation: Explanation) -> None:
    found, places = explanation.listed(), np.arange(len(explanation.listed()))
    amounts = [one.amount for one in found]
    bars = axis.barh(places, amounts, color=[_RAISES if amount >= 0 else _LOWERS for amount in amounts])
    axis.bar_label(bars, [f"{'+' * (amount >= 0)}{_number(amount, 3)}" for amount in amounts], padding=3, fontsize=8)
    axis.set_yticks(places, [_feature(one) for one in found], fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.25)
    axis.axvline(0, color="tab:gray", linewidth=1)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8)
    mean = f"mean of {explanation.scale}" if explanation.scale else "mean prediction"
    axis.set_xlabel(f"added to the {mean} in training, {explanation.base:.3f}", fontsize=9)


def _draw_what_ifs(axis: Any, explanation: Explanation) -> None:
    """What there is to draw where a model tells of nothing else."""
    asked = [("with all", explanation.popularity)]
    asked += [(f"without its {one.lacking}", one.popularity) for one in explanation.without]
    bars = axis.barh(np.arange(len(asked)), [value for _, value in asked])
    axis.bar_label(bars, [_number(value, 3) for _, value in asked], padding=3, fontsize=8)
    names = [_cut(name, _LONGEST_LABEL) for name, _ in asked]
    axis.set_yticks(np.arange(len(asked)), names, fontsize=8, parse_math=False)
    axis.invert_yaxis()
    axis.margins(x=0.15)
    axis.set_xlabel("prediction")


def _number(value: float, digits: int) -> str:
    """With so many digits behind the point, or, from 1,000 on, none."""
    return f"{value:,.{digits if abs(value) < 1_000 else 0}f}"


def _feature(one: Contribution) -> str:
    """Name and value, of which a long name is cut within, and what is still too long behind."""
    name = _cut_within(one.feature, _LONGEST_NAME) if one.value else one.feature
    return _cut(f"{name}: {one.value}" if one.value else name, _LONGEST_LABEL)


def _cut(text: str, longest: int) -> str:
    """A text on one line, and of a long one its beginning; East Asian letters take the room of two."""
    text = " ".join(text.split())
    if _width(text) <= longest:
        return text
    n = next(n for n in range(len(text), -1, -1) if _width(text[:n]) < longest)
    return f"{text[:n]}…"


def _cut_within(text: str, longest: int) -> str:
    """The same, but that a long text keeps its end, too."""
    text = " ".join(text.split())
    if _width(text) <= longest:
        return text
    end = _cut(text[::-1], longest // 2)[-2::-1]
    return f"{_cut(text, longest - _width(end))}{end}"


def _width(text: str) -> int:
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


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
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box stands for it
        figure.savefig(image, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(image.getvalue()))
