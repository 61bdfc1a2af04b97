"""The figures of a report: the paper's own shapes beside the paper's numbers, and learning curves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from recbole_video.files.atomic import write_atomically
from recbole_video.reports.collect import HAND_MADE, Collection
from recbole_video.reports.table import Cell, Table, TableRow
from recbole_video.sweep.plan import point_labels
from recbole_video.sweep.space import point_key

_OURS, _THEIRS = "#1f5fa8", "#c9712b"
_LEGEND_LINE = 0.2  # inches
_SHORT_LABEL, _LONGEST_LABEL = 45, 110  # characters; two columns hold short ones, one the longest
_DASHES = ("-", "--", ":", "-.")
_DPI = 130
_APART = " Not all rows are judged on the same, as the remarks say; curves of rows that are not cannot be compared."
MADE_BY = "recbole_video report"  # in the files, so that they are known again
_CYCLE = ("#1f5fa8", "#c9712b", "#3a8f5c", "#8457a3", "#b3414d", "#6b6b6b", "#2aa0a8", "#a88f1f", "#d472a8", "#7f9a3a",
          "#4d4dbf", "#8a5a3c")  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: Name of its files, without ending.
        caption: One sentence.
        png: Bytes.
        svg: Bytes.
    """

    name: str
    caption: str
    png: bytes
    svg: bytes

    def write(self, folder: Path, prefix: str = "") -> None:
        """Write both files."""
        write_atomically(folder / f"{prefix}{self.name}.png", lambda file: file.write(self.png))
        write_atomically(folder / f"{prefix}{self.name}.svg", lambda file: file.write(self.svg))


def draw_all(collection: Collection, table: Table) -> list[Picture]:
    """The figure that the sweep asks for, if it has anything to show, and the learning curves."""
    pictures = []
    figure = collection.sweep.figure
    if figure is not None and any(cell.values for row in table.rows for cell in row.cells):
        draw = {"bars": _bars, "groups": _groups, "lines": _lines}[figure.kind]
        caption = f"{collection.sweep.title}: {figure.y_label or figure.metric}" + (
            "; error bars are standard deviations over seeds" if _has_spread(table) else ""
        )
        below = 2 * _LEGEND_LINE
        pictures.append(_picture("figure", caption + ".", lambda axes: draw(axes[0], collection, table), below=below))
    if panels := _curves_by_data(collection):
        labels = curve_styles(panels)
        below = -(-len(labels) // _legend_columns(labels))
        pictures.append(
            _picture(
                "learning_curves",
                f"Validation score after each epoch{_cut(panels)}{_of_seeds(panels)}{_panels(panels, collection)}."
                + _APART * bool(table.not_comparable),
                lambda axes: _draw_curves(axes, panels, collection),
                len(panels),
                _LEGEND_LINE * below,
            )
        )
    return pictures


def _picture(
    name: str, caption: str, draw: Callable[[Sequence[Any]], None], n_panels: int = 1, below: float = 0.0
) -> Picture:
    """A figure of panels one below the other, which ``draw`` is given, and so many inches more below them."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # A label with dollars is no formula.
    with mpl.rc_context({"svg.hashsalt": name, "svg.fonttype": "path", "font.size": 10, "text.parse_math": False}):
        figure = Figure(figsize=(7.2, (4.2 if n_panels == 1 else 3.0 * n_panels) + below), layout="constrained")
        FigureCanvasAgg(figure)
        axes = list(figure.subplots(n_panels, squeeze=False)[:, 0])
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
            axis.grid(axis="y", color="#dddddd", linewidth=0.7)
            axis.set_axisbelow(True)
        draw(axes)
        png, svg = BytesIO(), BytesIO()
        figure.savefig(png, format="png", dpi=_DPI, metadata={"Software": MADE_BY})
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": MADE_BY})
    return Picture(name, caption, png.getvalue(), svg.getvalue())


def _bars(axis: Any, collection: Collection, table: Table) -> None:
    """A bar per row and column; the paper's numbers as marks. Bars start where differences can be seen."""
    metric, cells = _figure_cells(collection, table)
    cells = [(row, own) for row, own in cells if any(cell.values or cell.published is not None for cell in own)]
    blocks = [column.title for column, m in table.heads if m.name == metric]
    width = 0.75 / len(blocks)
    places = np.arange(len(cells))
    drawn = []
    for j, block in enumerate(blocks):
        at = places + (j - (len(blocks) - 1) / 2) * width
        ours = np.array([_or_nan(own[j].mean) for _, own in cells])
        theirs = np.array([_or_nan(own[j].published) for _, own in cells])
        spread = [own[j].spread or 0.0 for _, own in cells]
        name = " ".join(part for part in ("ours", block if len(blocks) > 1 else "") if part)
        errors = spread if any(spread) else None
        axis.bar(at, ours, width * 0.9, color=_color_of_block(j), label=name, yerr=errors, capsize=3)
        if np.isfinite(theirs).any() and not collection.sweep.is_demo:
            axis.plot(at, theirs, "D", color=_THEIRS, label="paper" if j == 0 else None, markersize=6)
            drawn.append(theirs)
        drawn.append(ours)
    drawn.append(np.array(_draw_line(axis, collection, table, blocks)))
    _label_places(axis, [row.label for row, _ in cells])
    is_cut = _zoom(axis, np.concatenate(drawn))
    axis.set_xlabel(_x_label(collection))
    axis.set_ylabel(metric + (" (axis does not start at 0)" if is_cut else ""))
    _legend_below(axis)


def _groups(axis: Any, collection: Collection, table: Table) -> None:
    """For each column a bar of each row; of one row alone, one of ours and one of the paper's."""
    figure = collection.sweep.figure
    assert figure is not None
    rows = [row for row in table.rows if not row.of_controls and any(cell.values for cell in row.cells)]
    results = [record.result for record in collection.records]
    labels = [column.title or metric.title_in(results) for column, metric in table.heads]
    series = [(row.label if len(rows) > 1 else "ours", [cell.mean for cell in row.cells]) for row in rows]
    spreads: list[list[float]] = [[cell.spread or 0.0 for cell in row.cells] for row in rows]
    theirs = [cell.published for cell in rows[0].cells]
    if len(rows) == 1 and any(value is not None for value in theirs) and not collection.sweep.is_demo:
        series.append(("paper", theirs))
        spreads.append([])
    width = 0.7 if len(series) == 1 else 0.8 / len(series)
    colors = (_OURS, _THEIRS) if len(rows) == 1 else _CYCLE
    for j, ((name, heights), spread) in enumerate(zip(series, spreads, strict=True)):
        at = np.arange(len(labels)) + (j - (len(series) - 1) / 2) * width
        errors = spread if any(spread) else None
        axis.bar(
            at, [_or_nan(height) for height in heights], width, color=colors[j % len(colors)], label=name, yerr=errors,
            capsize=2,
        )  # fmt: skip
    _label_places(axis, labels)
    axis.set_xlabel(_x_label(collection))
    axis.set_ylabel(figure.y_label or figure.metric)
    _legend_below(axis)


def _lines(axis: Any, collection: Collection, table: Table) -> None:
    """A line per group and column along the rows' labels."""
    metric, cells = _figure_cells(collection, table)
    blocks = [column.title for column, m in table.heads if m.name == metric]
    groups = list(dict.fromkeys(row.group for row, _ in cells))
    labels = list(dict.fromkeys(row.label for row, _ in cells))
    numbers = _numbers(labels)
    color = 0
    for group in groups:
        for j, block in enumerate(blocks):
            points = [(labels.index(row.label), own[j]) for row, own in cells if row.group == group]
            known = [(i, cell) for i, cell in points if cell.values]
            if not known:
                continue
            x = [numbers[i] if numbers else i for i, _ in known]
            y = [cell.mean for _, cell in known]
            name = " · ".join(part for part in (group, block) if part) or "ours"
            errors = [cell.spread or 0.0 for _, cell in known]
            axis.errorbar(x, y, yerr=errors, marker="o", capsize=3, color=_CYCLE[color % len(_CYCLE)], label=name)
            theirs = [(x, cell.published) for x, (_, cell) in zip(x, known, strict=True) if cell.published is not None]
            if theirs and not collection.sweep.is_demo:
                axis.plot(*zip(*theirs, strict=True), "D--", color=_CYCLE[color % len(_CYCLE)], alpha=0.5,
                          label=f"{name}, paper")  # fmt: skip
            color += 1
    _draw_line(axis, collection, table, blocks)
    if numbers:
        axis.set_xticks(numbers, labels)
    else:
        _label_places(axis, labels)
    axis.set_xlabel(_x_label(collection))
    axis.set_ylabel(metric)
    _legend_below(axis)


def _curves_by_data(collection: Collection) -> dict[str, dict[str, list[list[dict[str, float]]]]]:
    """Histories of validation scores, one of each seed: by the cell of the table, by its data set and protocol."""
    panels: dict[str, dict[str, list[list[dict[str, float]]]]] = {}
    labels = point_labels(record.trial.point for record in collection.records)
    rows = {row.name: row for row in collection.sweep.rows} if collection.sweep.name == HAND_MADE else {}
    for record in collection.records:
        history = [epoch for epoch in record.result.get("history", []) if "valid_score" in epoch]
        if history:
            row = rows.get(record.trial.row)
            name = record.trial.row if row is None else row.label  # the panel says which data
            parts = (name, record.trial.column, labels[point_key(record.trial.point)])
            label = " · ".join(part for part in parts if part) or "run"
            panel = str((record.result.get("config") or {}).get("dataset")) if row is None else row.group
            panels.setdefault(panel, {}).setdefault(label, []).append(history)
    return panels


def _of_seeds(panels: Mapping[str, Mapping[str, Sequence[Any]]]) -> str:
    """What a curve is where some row has several seeds, each of which has trained."""
    counts = {len(histories) for curves in panels.values() for histories in curves.values()}
    if max(counts) == 1:
        return ""
    return f", the mean over {max(counts)} seeds{' or as many as a row has' * (len(counts) > 1)}"


def _panels(panels: Mapping[str, Any], collection: Collection) -> str:
    """What each panel is of, where there are several."""
    if len(panels) < 2:
        return ""
    datasets = {str((record.result.get("config") or {}).get("dataset")) for record in collection.records}
    return ", a panel per data set" + " and protocol" * (not set(panels) <= datasets)


def _cut(panels: Mapping[str, Mapping[str, Sequence[Sequence[Any]]]]) -> str:
    """What is to be said where a curve ends before some of its seeds do: the mean would be of other seeds behind it."""
    lengths = ({len(history) for history in seeds} for curves in panels.values() for seeds in curves.values())
    return " that all seeds of the row have trained" if any(len(own) > 1 for own in lengths) else ""


def curve_styles(panels: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each curve by its label, in all panels the same."""
    labels = dict.fromkeys(label for curves in panels.values() for label in curves)
    return {
        label: {"color": _CYCLE[i % len(_CYCLE)], "linestyle": _DASHES[i // len(_CYCLE) % len(_DASHES)]}
        for i, label in enumerate(labels)
    }


def _legend_columns(labels: Iterable[str]) -> int:
    return 2 if max(map(len, labels)) <= _SHORT_LABEL else 1


def _draw_curves(
    axes: Sequence[Any], panels: Mapping[str, Mapping[str, list[list[dict[str, float]]]]], collection: Collection
) -> None:
    """Mean validation score over seeds, a line per cell of the table; one legend below."""
    from matplotlib.lines import Line2D
    from matplotlib.ticker import MaxNLocator

    styles = curve_styles(panels)
    configs = [record.result.get("config") or {} for record in collection.records if record.result.get("history")]
    names = {str(config["valid_metric"]) for config in configs if config.get("valid_metric") is not None}
    for axis, (dataset, curves) in zip(axes, panels.items(), strict=True):
        for label, histories in curves.items():
            length = min(len(history) for history in histories)
            scores = np.array([[epoch["valid_score"] for epoch in history[:length]] for history in histories])
            epochs = [epoch["epoch"] for epoch in histories[0][:length]]
            axis.plot(epochs, scores.mean(axis=0), linewidth=1.6, **styles[label])
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_ylabel(f"validation {', '.join(sorted(names)) or 'score'}")
        axis.set_title(dataset if len(panels) > 1 else "", loc="left", fontsize=10)
    axes[-1].set_xlabel("epoch")
    lines = [
        Line2D([], [], label=shorten(label, _LONGEST_LABEL, placeholder=" …"), linewidth=1.6, **style)
        for label, style in styles.items()
    ]
    axes[0].figure.legend(
        handles=lines,
        loc="outside lower center",
        ncols=_legend_columns(styles),
        frameon=False,
        fontsize=8,
        handlelength=3,
    )


def _figure_cells(collection: Collection, table: Table) -> tuple[str, list[tuple[TableRow, list[Cell]]]]:
    """The figure's metric, and the cells of each row that show it."""
    figure = collection.sweep.figure
    assert figure is not None
    chosen = [i for i, (_, metric) in enumerate(table.heads) if metric.name == figure.metric]
    return figure.metric, [(row, [row.cells[i] for i in chosen]) for row in table.rows if not row.of_controls]


def _draw_line(axis: Any, collection: Collection, table: Table, blocks: Sequence[str]) -> list[float]:
    """A line for each block at the row that the figure names; else one at the best control. Returns the heights."""
    figure = collection.sweep.figure
    assert figure is not None
    if not figure.line:
        return _draw_best_control(axis, collection, table)
    chosen = [i for i, (_, metric) in enumerate(table.heads) if metric.name == figure.metric]
    row = next(row for row in table.rows if row.name == figure.line)
    heights = []
    for j, (i, block) in enumerate(zip(chosen, blocks, strict=True)):
        if (height := row.cells[i].mean) is not None:
            name = f"{row.label}, {block}" if len(blocks) > 1 else row.label
            axis.axhline(height, color=_color_of_block(j), linestyle=":", label=name)
            heights.append(height)
    return heights


def _legend_below(axis: Any) -> None:
    """Below the axis, where it hides no line."""
    _, labels = axis.get_legend_handles_labels()
    axis.figure.legend(
        loc="outside lower center", ncols=min(len(labels), _legend_columns(labels) + 1), frameon=False, fontsize=9
    )


def _color_of_block(j: int) -> str:
    return _CYCLE[2 * j % len(_CYCLE)]


def _draw_best_control(axis: Any, collection: Collection, table: Table) -> list[float]:
    """A line at the best control of a table of one block, which every row is to be read against; its height."""
    figure = collection.sweep.figure
    assert figure is not None
    chosen = [j for j, (_, metric) in enumerate(table.heads) if metric.name == figure.metric]
    rows = [row for row in table.rows if row.of_controls]
    known = [(mean, row.label) for row in rows if (mean := row.cells[chosen[0]].mean) is not None]
    if len(chosen) > 1 or not known or len({row.group for row in rows}) > 1:
        return []
    mean, label = (max if table.heads[chosen[0]][1].bigger else min)(known)
    axis.axhline(mean, color="#6b6b6b", linestyle=":", label=f"best control: {label}")
    return [mean]


def _x_label(collection: Collection) -> str:
    return "" if collection.sweep.figure is None else collection.sweep.figure.x_label


def _label_places(axis: Any, labels: list[str]) -> None:
    is_long = max(map(len, labels), default=0) * len(labels) > 90
    axis.set_xticks(range(len(labels)), labels, rotation=30 if is_long else 0, ha="right" if is_long else "center")


def _zoom(axis: Any, values: np.ndarray) -> bool:
    """Let the axis begin above zero where all values are close together; whether it does."""
    known = values[np.isfinite(values)]
    low, high = known.min(), known.max()
    is_cut = bool(low > 0 and high - low < 0.3 * high)
    if is_cut:
        axis.set_ylim(max(0.0, low - 1.0 * (high - low) - 0.01 * high), high + 0.25 * (high - low) + 0.01 * high)
    return is_cut


def _numbers(labels: list[str]) -> list[float] | None:
    try:
        return [float(label.rpartition("=")[2].rstrip(" %")) for label in labels]
    except ValueError:
        return None


def _has_spread(table: Table) -> bool:
    return any(cell.spread is not None for row in table.rows for cell in row.cells)


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
