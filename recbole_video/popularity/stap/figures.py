"""How evenly the slots of a memory bank are used, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_video.popularity.figures import empty_figure, save_figure
from recbole_video.results.curve import show_whole_numbers

SLOT_USAGE = "slot_usage.png"  # in the folder of a run


def draw_slot_usage(history: Sequence[dict[str, float]], path: Path) -> None:
    """Draw how evenly the memory's slots are used per epoch: entropy (1: alike) and Gini coefficient (0: alike)."""
    figure = empty_figure(7, 4)
    axis = figure.add_subplot()
    records = [record for record in history if "slot_entropy" in record]
    epochs = [record["epoch"] for record in records]
    names = {"slot_entropy": "entropy", "slot_gini": "Gini coefficient", "slot_top5_share": "share of the top five"}
    for key, label in names.items():
        axis.plot(epochs, [record[key] for record in records], marker=".", label=label)
    axis.set_ylim(0, 1)
    axis.set_xlabel("epoch")
    show_whole_numbers(axis)
    axis.set_ylabel("use of the memory's slots")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    save_figure(figure, path)
