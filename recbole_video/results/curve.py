"""The curve of a run as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from recbole_video.files.atomic import write_atomically


def draw_curve(
    history: Sequence[dict[str, float]],
    valid_metric: str,
    best_epoch: int,
    path: Path,
    loss: str = "nats",
    milestones: Mapping[int, str] | None = None,
) -> None:
    """Draw training loss and validation score per epoch, from 1.

    Args:
        history: A record of each epoch.
        valid_metric: The name of the score.
        best_epoch: The epoch to mark; 0 for none.
        path: The PNG.
        loss: The loss's name or unit.
        milestones: What changed in training, by the epoch that began with it; marked before that.
    """
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
    if best_epoch > 0:
        score_axis.axvline(best_epoch, color="tab:blue", linestyle=":", label=f"best epoch: {best_epoch}")
    for epoch, change in (milestones or {}).items():
        score_axis.axvline(epoch - 0.5, color="tab:gray", linestyle="--", linewidth=1, label=change)
    loss_axis.set_xlabel("epoch")
    loss_axis.set_ylabel(f"training loss ({loss})")
    score_axis.set_ylabel(f"validation {valid_metric}")
    lines = [*loss_axis.get_lines(), *score_axis.get_lines()]
    show_whole_numbers(loss_axis)
    figure.legend(lines, [str(line.get_label()) for line in lines], loc="outside lower center", ncols=3)
    image = BytesIO()
    figure.savefig(image, dpi=120, format="png")
    write_atomically(path, lambda file: file.write(image.getvalue()))


def show_whole_numbers(axis: Any) -> None:
    """Mark whole numbers alone on the horizontal axis of a figure, however few epochs or frames there are."""
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
