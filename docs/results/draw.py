"""Draws the figures of these pages from the numbers that stand on them: nothing of the data is needed.

    python docs/results/draw.py

writes a png beside this file for each figure below; after a table has changed, run it again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent
_CONTROL, _LEARNS, _PUBLISHED = "#8a8a8a", "#1f5fa8", "#c9712b"
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_DPI = 130


@dataclass(frozen=True)
class Row:
    """A system with what was measured of it.

    Attributes:
        label: Its name.
        value: The measure.
        low: Lower end of its interval, or the value.
        high: Upper end.
        color: Of its mark.
    """

    label: str
    value: float
    low: float
    high: float
    color: str = _LEARNS


@dataclass(frozen=True)
class Panel:
    """Systems beside each other, the first on top.

    Attributes:
        rows: The systems.
        title: What is measured.
        line: Where a line is drawn across, with its meaning.
        band: From where to where an area is shaded, with its meaning.
    """

    rows: Sequence[Row]
    title: str
    line: tuple[float, str] | None = None
    band: tuple[float, float, str] | None = None


def read_table(page: str, first_heading: str) -> list[dict[str, str]]:
    """The rows of the table of a page whose first heading begins so, cells by heading.

    Raises:
        LookupError: If the page has no such table.
    """
    lines = (FOLDER / page).read_text(encoding="utf-8").splitlines()
    starts = [i for i, line in enumerate(lines) if line.startswith(f"| {first_heading}")]
    if not starts:
        raise LookupError(f"`{page}` has no table that begins with `{first_heading}`.")
    head, _, *rest = lines[starts[0] :]
    names = [cell.strip() for cell in head.strip("|").split("|")]
    rows = []
    for line in rest:
        if not line.startswith("|"):
            break
        rows.append(dict(zip(names, (cell.strip() for cell in line.strip("|").split("|")), strict=True)))
    return rows


def numbers(cell: str) -> list[float]:
    """The numbers of a cell: ``5.99 to 6.42`` are two, ``1.3 ± 0.1`` too, an empty one none."""
    return [float(number) for number in _NUMBER.findall(cell)]


def rows_of(
    table: Sequence[dict[str, str]], name: str, value: str, interval: str = "", controls: Sequence[str] = ()
) -> list[Row]:
    """A row of a panel for each row of a table that has the value."""
    found = []
    for row in table:
        if not numbers(row[value]):
            continue
        middle = numbers(row[value])[0]
        low, high = numbers(row[interval]) if interval and len(numbers(row[interval])) == 2 else (middle, middle)
        is_control = any(row[name].startswith(one) for one in controls)
        found.append(Row(row[name], middle, low, high, _CONTROL if is_control else _LEARNS))
    return found


def microlens() -> list[Panel]:
    """HR@10 of all users and of those with a cold target, on MicroLens-50k."""
    table = read_table("microlens-50k.md", "HR × 100")
    name = next(iter(table[0]))
    controls = ("Random", "MostPopular", "ContentKNN", "Transition")
    every = rows_of(table, name, "HR@10", "95 %", controls)
    [cold] = [head for head in table[0] if head.startswith("HR@10, cold")]
    [n] = numbers(cold.partition("(")[2].replace(",", ""))
    few = [_with_exact_interval(row, int(n)) for row in rows_of(table, name, cold, controls=controls)]
    return [Panel(every, "HR@10 × 100, all users"), Panel(few, f"… {int(n):,} with cold targets")]


def _with_exact_interval(row: Row, n: int) -> Row:
    """The row, a share of n users × 100, with its exact 95 % interval (Clopper and Pearson)."""
    from scipy.stats import binomtest

    interval = binomtest(round(row.value / 100 * n), n).proportion_ci(0.95, "exact")
    return Row(row.label, row.value, 100 * interval.low, 100 * interval.high, row.color)


def short_video() -> list[Panel]:
    """HR@10 on Short-Video: the published rows between what learns nothing."""
    table = read_table("short-video.md", "| HR@10 | NDCG@10 | HR@20 | NDCG@20")
    controls = ("MostPopular", "Transition", "Random")
    ours = [cells for cells in table if not cells[""].startswith("published")]
    rows = rows_of(ours, "", "HR@10", controls=controls)
    found = [Row(row.label, row.value, *_spread(cells), row.color) for row, cells in zip(rows, ours, strict=True)]
    sweep = yaml.safe_load((FOLDER / "short-video.yaml").read_text(encoding="utf-8"))
    for row in (row for row in sweep["rows"] if "published" in row):
        value = row["published"][0]
        found.append(Row(f"{row['group']} + {row['label']}", value, value, value, _PUBLISHED))
    page = (FOLDER / "short-video.md").read_text(encoding="utf-8")
    low, high = map(float, re.findall(r"Its 95 % interval over users, HR@10 ([\d.]+) to ([\d.]+)", page)[0])
    return [Panel(found, "HR@10 × 100, Short-Video", band=(low, high, "95 % of MostPopular, over users"))]


def _spread(row: dict[str, str]) -> tuple[float, float]:
    """Mean minus and plus the standard deviation over seeds of a row's HR@10."""
    mean, spread = [*numbers(row["HR@10"]), 0.0][:2]
    return mean - spread, mean + spread


def vine() -> list[Panel]:
    """NMSE on Vine, by time and at random, beside boosted trees on the same metadata."""
    table = read_table("vine.md", "nMSE of the test")
    controls = ("Constant", "Metadata")
    panels = []
    for split in ("by time", "at random"):
        rows = rows_of(table, "nMSE of the test", split, controls=controls)
        trees = next(row.value for row in rows if row.label == "MetadataGBDT")
        panels.append(Panel(rows, f"nMSE, {split} (less is better)", line=(trees, "MetadataGBDT")))
    return panels


def microlens_popularity() -> list[Panel]:
    """MAE on MicroLens-50k's titles, beside boosted trees on what can be counted of them."""
    table = read_table("microlens-50k-popularity.md", "Test (1,922 videos)")
    rows = rows_of(table, next(iter(table[0])), "MAE", "95 %", ("Constant", "Metadata"))
    trees = next(row.value for row in rows if row.label == "MetadataGBDT")
    return [Panel(rows, "MAE of the test and its 95 % interval (less is better)", line=(trees, "MetadataGBDT"))]


FIGURES = {
    "microlens-50k": microlens,
    "short-video": short_video,
    "vine": vine,
    "microlens-50k-popularity": microlens_popularity,
}


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels side by side; a system that only one of them has leaves its place empty in the other."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    labels = list(dict.fromkeys(row.label for panel in panels for row in panel.rows))
    places = {label: len(labels) - i for i, label in enumerate(labels)}
    figure = Figure(figsize=(7.2, 0.24 * len(labels) + 0.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axis, panel in zip(axes, panels, strict=True):
        _draw_panel(axis, panel, places)
    axes[0].set_yticks(list(places.values()), [label.replace("`", "") for label in places], fontsize=9)
    axes[0].set_ylim(0.4, len(labels) + 0.6)
    figure.savefig(path, dpi=_DPI, metadata={"Software": "docs/results/draw.py", "Description": digest(panels)})


def digest(panels: Sequence[Panel]) -> str:
    """What a file keeps of the numbers that it was drawn from: one that is behind its page is known by it."""
    return hashlib.sha256(repr(list(panels)).encode()).hexdigest()[:16]


def _draw_panel(axis: Any, panel: Panel, places: Mapping[str, int]) -> None:
    """A mark with its interval for each row."""
    for row in panel.rows:
        place = places[row.label]
        axis.plot([row.low, row.high], [place, place], color=row.color, linewidth=1.6, solid_capstyle="butt")
        axis.plot(row.value, place, "o", color=row.color, markersize=5, clip_on=False)
    if panel.band is not None:
        low, high, meaning = panel.band
        axis.axvspan(low, high, color="#e4e4e4", zorder=0, label=meaning)
    if panel.line is not None:
        axis.axvline(panel.line[0], color="#555555", linestyle="--", linewidth=1, zorder=0, label=panel.line[1])
    if panel.band is not None or panel.line is not None:
        axis.legend(loc="best", frameon=True, fontsize=8)
    axis.set_title(panel.title, fontsize=10, loc="left")
    if min(row.low for row in panel.rows) < max(row.high for row in panel.rows) / 2:
        axis.set_xlim(left=0)
    axis.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axis.set_axisbelow(True)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=9)


if __name__ == "__main__":
    for name, make in FIGURES.items():
        draw(make(), FOLDER / f"{name}.png")
        print(f"Drawn: {FOLDER.name}/{name}.png")
