"""The result files of a run: a table to read and the raw numbers beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import Measurement, Row
from benchmarks.machine import kind

# More than this share of the processors used by others makes times doubtful.
_QUIET = 0.05


def write(folder: Path, machine: dict[str, Any], measurements: list[Measurement], command: str) -> Path:
    """Write ``<machine>.md`` and ``<machine>.json`` into ``folder`` and return the former's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind(machine)}.md"
    path.write_text(_markdown(machine, measurements, command), encoding="utf-8")
    record = {"machine": machine, "command": command, "measurements": [asdict(m) for m in measurements]}
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return path


def as_text(measurement: Measurement) -> str:
    """The table of a measurement, for the console."""
    return "\n".join([measurement.title, *(f"  {' | '.join(_cells(row))}" for row in measurement.rows)])


def _markdown(machine: dict[str, Any], measurements: list[Measurement], command: str) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in machine["libraries"].items())
    lines = [
        "# Benchmarks",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB of memory, "
        f"{machine['gpu'] or 'no GPU'}; {machine['system']}.  ",
        f"Python {machine['python']}, {libraries}.  ",
        f"Commit {machine['commit']}, {machine['date']}.  ",
        f"Command: `{command}`",
        "",
        "A ratio is how many times less time or memory ours takes, or how many times more users it serves. Both sides "
        "ran in this one run, with the same number of threads.",
    ]
    for measurement in measurements:
        lines += ["", f"## {measurement.title}", ""]
        if measurement.rows:
            lines += ["| | ours | baseline | ratio | goal | met |", "|---|---|---|---|---|---|"]
            lines += [f"| {' | '.join(_cells(row))} |" for row in measurement.rows]
            lines.append("")
        lines += [f"- {note}" for note in [*measurement.notes, *_load_note(measurement)]]
    return "\n".join(lines) + "\n"


def _load_note(measurement: Measurement) -> list[str]:
    share = measurement.raw.get("other_load", 0.0)
    if share <= _QUIET:
        return []
    return [f"Other programs used {share:.0%} of the processors meanwhile: the times are doubtful."]


def _cells(row: Row) -> list[str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
    goal = f"≥ {row.goal:g} ×" if isinstance(row.goal, (int, float)) else row.goal or ""
    met = {None: "", True: "yes", False: "no"}[row.is_met]
    return [row.what, row.ours, row.baseline, ratio, goal, met]
