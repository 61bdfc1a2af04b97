"""The result files of a machine: a table to read and the raw numbers beside it.

Each measurement carries its own commit, date and command: to repeat one replaces that one alone.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.common import Measurement, Row
from benchmarks.machine import kind
from recbole_video.files.atomic import write_text

# More than this share of the processors used by others makes times doubtful.
_QUIET = 0.05
_ABOUT_THE_RUN = ("commit", "date", "libraries")


def write(folder: Path, machine: dict[str, Any], measurements: list[Measurement], command: str) -> Path:
    """Write ``<machine>.md`` and ``<machine>.json`` into ``folder`` and return the former's path.

    Measurements that the files hold already and that were not taken again stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind(machine)}.md"
    about = {key: machine[key] for key in _ABOUT_THE_RUN} | {"command": command}
    records = _earlier(path.with_suffix(".json"))
    records.update({m.name: {**asdict(m), **about} for m in measurements})
    hardware = {key: value for key, value in machine.items() if key not in _ABOUT_THE_RUN}
    record = {"machine": hardware, "measurements": list(records.values())}
    write_text(path.with_suffix(".json"), json.dumps(record, indent=1) + "\n")
    write_text(path, _markdown(hardware, list(records.values())))
    return path


def as_text(measurement: Measurement) -> str:
    """The table of a measurement, for the console."""
    return "\n".join([measurement.title, *(f"  {' | '.join(_cells(row))}" for row in measurement.rows)])


def _earlier(path: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        return {}
    return {m["name"]: m for m in json.loads(path.read_text(encoding="utf-8"))["measurements"]}


def _markdown(machine: dict[str, Any], records: list[dict[str, Any]]) -> str:
    lines = [
        "# Benchmarks",
        "",
        f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB of memory, "
        f"{machine['gpu'] or 'no GPU'}; {machine['system']}; Python {machine['python']}.",
        "",
        "A ratio is how many times less time or memory ours takes, or how many times more users it serves. Both sides "
        "of a ratio ran in one run, with the same number of threads.",
    ]
    for record in records:
        lines += ["", f"## {record['title']}", "", *_table([Row(**row) for row in record["rows"]])]
        lines += [f"- {note}" for note in [*record["notes"], *_load_note(record["raw"]), _about(record)]]
    return "\n".join(lines) + "\n"


def _table(rows: list[Row]) -> list[str]:
    if not rows:
        return []
    head = ["| | ours | baseline | ratio | goal | met |", "|---|---|---|---|---|---|"]
    return [*head, *(f"| {' | '.join(_cells(row))} |" for row in rows), ""]


def _about(record: dict[str, Any]) -> str:
    libraries = ", ".join(f"{name} {number}" for name, number in record["libraries"].items())
    return f"Commit {record['commit']}, {record['date']}, `{record['command']}`; {libraries}."


def _load_note(raw: dict[str, Any]) -> list[str]:
    share = raw.get("other_load", 0.0)
    if share <= _QUIET:
        return []
    return [f"Other programs used {share:.0%} of the processors meanwhile: the times are doubtful."]


def _cells(row: Row) -> list[str]:
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} ×"
    goal = f"≥ {row.goal:g} ×" if isinstance(row.goal, (int, float)) else row.goal or ""
    met = {None: "", True: "yes", False: "no"}[row.is_met]
    return [row.what, row.ours, row.baseline, ratio, goal, met]
