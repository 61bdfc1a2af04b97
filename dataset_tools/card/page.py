"""The card of a data set as one self-contained page: tables, and three plots drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Iterator
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } td, th { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; } th { font-weight: 600; }
td { overflow-wrap: break-word; } td.number { overflow-wrap: normal; white-space: nowrap; }
code { font-size: 12px; overflow-wrap: anywhere; } .warning { border-left: 4px solid #c60; padding-left: .6rem; }
.wide { overflow-x: auto; } .wide svg { width: 100%; min-width: 40rem; height: auto; }
svg text { font-size: 11px; fill: #444; } rect { fill: #3b6ea5; }
"""
_VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">'
_WIDTH, _HEIGHT, _LEFT, _TOP, _FLOOR = 720, 200, 60, 14, 166
_CHARACTER = 6.2  # width of one, about
_UNITS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
_QUARTILES = {
    "min": "least",
    "q1": "a quarter up to",
    "median": "half up to",
    "q3": "three quarters up to",
    "max": "most",
    "mean": "mean",
}
_PLOTS = (
    ("length", "Sequence lengths", "users by number of interactions"),
    ("popularity", "Item popularity", "items by number of interactions"),
    ("time", "Interactions over time", "interactions by start of the span, UTC"),
)


def page(card: dict[str, Any]) -> str:
    """Draw the page of a card.

    Args:
        card: What :meth:`recbole_video.dataset_tools.card.card.Card.content` returns.
    """
    title = escape(card["data_set"])
    notes = dict(card["notes"])
    options = notes.pop("options", {})
    are_dates = options.get("time_unit") == "iso"
    parts = [
        f"<h1>{title}</h1><p>Made by {escape(card['made_by'])}.</p>",
        *(f'<p class="warning">{escape(text)}</p>' for text in card["warnings"]),
        _section("Interactions", _facts(_in_words(card["interactions"], are_dates))),
        *(_section(heading, _plot(card["plots"].get(key), axis)) for key, heading, axis in _PLOTS),
        _section("What was left out", _rows(card["steps"], ("name", "before", "after", "dropped", "reason"))),
        _section("Further facts", _facts(notes)),
        _section(
            "Options of the converter", _facts({name: value for name, value in options.items() if _is_set(value)})
        ),
        _section("Inputs", _rows(card["inputs"], ("name", "bytes", "sha256"))),
        _section("Outputs", _rows(card["outputs"], ("name", "bytes", "sha256"))),
    ]
    head = f'<meta charset="utf-8">{_VIEWPORT}<title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>\n' + "\n".join(parts) + "\n</body></html>\n"


def _in_words(interactions: dict[str, Any], are_dates: bool) -> dict[str, Any]:
    """The facts on the interactions with the unit of the times by its name; what only programs read is left out."""
    shown = {key: value for key, value in interactions.items() if key != "first_time"}
    if unit := _UNITS.get(shown.get("time_unit", "")):
        shown["time_unit"] = "dates" if are_dates else unit
    return shown


def _is_set(value: Any) -> bool:
    return value not in (None, False, "", [], {})


def _section(heading: str, body: str) -> str:
    return f"<h2>{escape(heading)}</h2>\n{body}"


def _facts(facts: dict[str, Any]) -> str:
    rows = "".join(f"<tr><th>{escape(_words(key))}</th><td>{_value(value)}</td></tr>" for key, value in facts.items())
    return f"<table>{rows}</table>" if rows else "<p>None.</p>"


def _rows(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> str:
    if not rows:
        return "<p>None.</p>"
    kinds = {column: "number" if isinstance(rows[0][column], int) else "" for column in columns}
    head = "".join(f'<th class="{kinds[column]}">{escape(_words(column))}</th>' for column in columns)
    body = [
        "".join(f'<td class="{kinds[c]}">{_value(row[c], code=c == "sha256")}</td>' for c in columns) for row in rows
    ]
    return f"<table><tr>{head}</tr>{''.join(f'<tr>{cells}</tr>' for cells in body)}</table>"


def _words(key: str) -> str:
    return key if "." in key else key.replace("_", " ")  # a file name stays as it is


def _value(value: Any, code: bool = False) -> str:
    if isinstance(value, dict):
        names = _QUARTILES if set(value) == set(_QUARTILES) else {key: _words(str(key)) for key in value}
        return "; ".join(f"{escape(names[key])} {_value(inner)}" for key, inner in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_value(inner) for inner in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.2f}".rstrip("0").rstrip(".")
    return f"<code>{escape(str(value))}</code>" if code else escape(str(value))


def _plot(bars: dict[str, Any] | None, axis: str) -> str:
    """A bar chart; each bar tells its numbers when pointed at."""
    if bars is None:
        return "<p>The raw data have no times.</p>"
    shapes = [*_bars(bars), *_labels(bars["labels"], max(bars["counts"]), axis)]
    drawn = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(axis)}">{"".join(shapes)}</svg>'
    return f'<div class="wide">{drawn}</div>'


def _bars(bars: dict[str, Any]) -> Iterator[str]:
    counts = bars["counts"]
    step = (_WIDTH - _LEFT) / len(counts)
    for position, (label, count) in enumerate(zip(bars["labels"], counts, strict=True)):
        height = (_FLOOR - _TOP) * count / max(counts)
        x = _LEFT + position * step
        yield (
            f'<rect x="{x:.1f}" y="{_FLOOR - height:.1f}" width="{max(step - 1, 0.5):.1f}" height="{height:.1f}">'
            f"<title>{escape(label)}: {count:,}</title></rect>"
        )


def _labels(labels: list[str], highest: int, axis: str) -> Iterator[str]:
    """As many of the bars' labels as fit, the numbers of the upright axis, and what the other one counts."""
    step = (_WIDTH - _LEFT) / len(labels)
    every = math.ceil((max(map(len, labels)) + 1) * _CHARACTER / step)
    for position in range(0, len(labels), every):
        yield f'<text x="{_LEFT + position * step:.1f}" y="{_FLOOR + 14}">{escape(labels[position])}</text>'
    yield f'<text x="{_LEFT - 6}" y="{_TOP + 4}" text-anchor="end">{highest:,}</text>'
    yield f'<text x="{_LEFT - 6}" y="{_FLOOR}" text-anchor="end">0</text>'
    yield f'<text x="{_LEFT}" y="{_HEIGHT - 4}">{escape(axis)}</text>'
