"""What is to be said of the rows of a table beside their numbers: which have one result, and what sets runs apart."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from textwrap import shorten
from typing import Any

from recbole_video.errors import counted
from recbole_video.reports.collect import HAND_MADE, OF_NO_DIFFERENCE, Collection, Record, as_chosen
from recbole_video.reports.table import Table, TableRow

# What rows are judged by, which a report tells of by itself where it differs.
_JUDGED_BY = frozenset(["mask_history", "eval_args", "metric_batching", "metric_batch_size"])
# What a control reads of the data, and what one reads that has metadata.
_OF_INPUTS = ("missing_items", "missing_text", "train_share")
_OF_METADATA = ("author_history", "metadata", "metadata_numeric", "metadata_categorical", "metadata_log1p")
_MOST_VALUES = 10  # options whose values are told
_MOST_ROWS = 2  # that are named beside a value
_LONGEST_VALUE = 40  # characters


def same_results(table: Table) -> list[str]:
    """Rows whose runs agree to the last digit in every metric, a sentence for each set of them.

    They compute the same, whatever they are called, and stand in a figure as one curve. Seconds, memory and parameters
    are no such metrics.
    """
    alike: dict[str, list[TableRow]] = {}
    for row in table.rows:
        if (results := _results(row)) is not None:
            alike.setdefault(results, []).append(row)
    return [
        f"The same result to the last digit in every metric, on validation too: {_listed(_name(row) for row in rows)}"
        + ("; their curves lie over each other." if any(_is_trained(row) for row in rows) else ".")
        for rows in alike.values()
        if len(rows) > 1
    ]


def _results(row: TableRow) -> str | None:
    """All that the runs of a row were measured by, by column and seed; None without a finished one."""
    found = {
        f"{record.trial.column}, {record.trial.seed}": [
            record.result.get(part) for part in ("test_result", "best_valid_result", "groups")
        ]
        for record in _records(row)
    }
    return json.dumps(found, sort_keys=True) if found else None


def _is_trained(row: TableRow) -> bool:
    return any(record.result.get("history") for record in _records(row))


def _records(row: TableRow) -> Iterable[Record]:
    return (record for records in row.records for record in records)


def _name(row: TableRow) -> str:
    return row.name or "run"


def _listed(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} and {last}" if first else last


def other_options(collection: Collection) -> list[str]:
    """What else hand-made runs differ in than model and item encoder, a sentence for each group of their rows.

    Of each option that several models have and that may change a number, the values; a row whose label tells its value
    is left out, and so are lists; of controls, those of what they read count. Rows of a sweep are called what they are
    by whoever wrote it.
    """
    if collection.sweep.name != HAND_MADE:
        return []
    groups: dict[str, dict[str, dict[str, Any]]] = {row.group: {} for row in collection.sweep.rows}
    rows = {row.name: row for row in collection.sweep.rows}
    for record in collection.records:
        row, options = rows[record.trial.row], as_chosen(record.trial.options)
        if "control" in record.result:
            options = _of_inputs(options, record.result)
        if "lists" not in record.result:
            groups[row.group].setdefault(row.label, options)
    sentences = []
    for group, configs in groups.items():
        if parts := _differences(configs):
            where = f" on {group}" if len(groups) > 1 else ""
            sentences.append(f"Beside model and item encoder, rows{where} differ in {', '.join(parts)}.")
    return sentences


def _of_inputs(options: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a control that say what it reads of the data; a control without metadata has none of those."""
    inputs = (result.get("data") or {}).get("inputs") or {}
    names = _OF_INPUTS + (_OF_METADATA if "metadata" in inputs else ())
    return {name: options[name] for name in names if name in options}


def _differences(configs: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Each option that differs between some rows and that not every label tells, with its values; of many, the name."""
    found = {}
    for name in sorted(set().union(*configs.values()) - OF_NO_DIFFERENCE - _JUDGED_BY):
        values: dict[str, list[str]] = {}
        for label, config in configs.items():
            if name in config:
                values.setdefault(_shown(config[name]), []).append(label)
        untold = {
            value: [label for label in rows if f", {name}=" not in label and value != "none"]
            for value, rows in values.items()
        }
        if len(values) > 1 and any(untold.values()):
            found[name] = "; ".join(_value(value, rows) for value, rows in untold.items() if rows)
    parts = [f"{name} ({values})" for name, values in list(found.items())[:_MOST_VALUES]]
    return [*parts, *list(found)[_MOST_VALUES:]]


def _shown(value: Any) -> str:
    """A value as it is compared and shown: 1 and 1.0 are one, and an option without a value is empty."""
    if value is None:
        return "empty"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _value(value: str, rows: Sequence[str]) -> str:
    """A value and the rows that have it, or how many there are."""
    shown = _listed(rows) if len(rows) <= _MOST_ROWS else counted(len(rows), "row")
    return f"{shorten(value, _LONGEST_VALUE, placeholder=' …')}: {shown}"
