"""Finds runs on disk: those of sweeps, with the sweep they are of, and hand-made ones."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recbole_video.errors import DataError
from recbole_video.sweep.folder import FAILED, FINISHED, UNFINISHED, TrialState, trial_state
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import Trial
from recbole_video.sweep.spec import Row, Sweep, read_sweep

HAND_MADE = "runs"
_PLACES = frozenset([
    "checkpoint_dir", "data_path", "log_dir", "tensorboard_dir", "gpu_id", "use_gpu", "show_progress", "seed",
])  # fmt: skip


@dataclass(frozen=True)
class Record:
    """A run and its place in a table.

    Attributes:
        trial: Row, column, point and seed.
        folder: Where it lies.
        state: What became of it.
        result: Its ``metrics.json``; empty where it has not finished.
    """

    trial: Trial
    folder: Path
    state: TrialState
    result: dict[str, Any]


@dataclass(frozen=True)
class Collection:
    """The runs of one sweep, which may come from several folders.

    Attributes:
        sweep: The sweep, its metrics resolved.
        records: One per trial that was started.
        planned: Trials that there should be.
        folders: Where they come from.
        made_by: Provenance of the folders' sweeps.
        command: What makes it again.
    """

    sweep: Sweep
    records: tuple[Record, ...]
    planned: int
    folders: tuple[Path, ...]
    command: str = ""


def collect(folders: Iterable[str | Path]) -> list[Collection]:
    """Read all runs under some folders; the same sweep in several becomes one.

    Sweeps are the same if they run the same, seeds and places apart. Of two runs of one cell and seed a finished one
    wins, then the later folder's.

    Raises:
        DataError: If a folder is missing, or holds neither a sweep nor a finished run.
    """
    found: dict[str, Collection] = {}
    for given in folders:
        path = Path(given)
        if not path.is_dir():
            raise DataError(f"There is no folder `{path}` to report on.")
        for collection in _read_folder(path):
            key = _what_runs(collection.sweep)
            found[key] = _merge(found[key], collection) if key in found else collection
    return list(found.values())


def _read_folder(path: Path) -> list[Collection]:
    """The sweeps under a folder, and the runs that belong to none of them."""
    sweeps = [record.parent for record in sorted(path.rglob("sweep.json"))]
    runs = [
        metrics.parent
        for metrics in sorted(path.rglob("metrics.json"))
        if not any(sweep in metrics.parents for sweep in sweeps)
    ]
    hand_made = _read_runs(path, runs)
    if not sweeps and hand_made is None:
        raise DataError(f"`{path}` holds no sweep and no finished run (no metrics.json of one).")
    return [*map(_read_sweep_folder, sweeps), *([hand_made] if hand_made else [])]


def _what_runs(sweep: Sweep) -> str:
    """What tells one sweep from another: all that its trials compute, seeds apart."""
    base = {name: value for name, value in sweep.base.items() if name not in _PLACES}
    cells = [(row.name, row.options) for row in sweep.rows] + [(c.label, c.options) for c in sweep.columns]
    return json.dumps([sweep.name, sweep.is_demo, base, cells, sweep.space, vars(sweep.search)], default=str)


def _read_sweep_folder(folder: Path) -> Collection:
    about = _read_json(folder / "sweep.json")
    try:
        text = (folder / "sweep.yaml").read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"`{folder}` lacks its sweep.yaml; it is not the whole folder of a sweep.") from error
    sweep = read_sweep(text, about["sweep"], str(folder / "sweep.yaml"), about["demo"])
    sweep = replace(
        sweep,
        metrics=tuple(Metric.of(given) for given in about["metrics"]),
        seeds=tuple(about["seeds"]),
        base=about["base"],
    )
    records = [_read_record(path.parent) for path in sorted((folder / "trials").glob("*/trial.json"))]
    place = {name: i for i, name in enumerate(about["trials"])}
    records.sort(key=lambda record: place.get(record.folder.name, len(place)))
    planned = about["n_trials"]
    return Collection(sweep, tuple(records), planned, (folder,), about["command"])


def _read_record(folder: Path) -> Record:
    trial = Trial(**_read_json(folder / "trial.json"))
    state = trial_state(folder)
    if state.kind != FINISHED:
        return Record(trial, folder, state, {})
    try:
        return Record(trial, folder, state, _read_json(folder / "metrics.json"))
    except DataError as error:
        return Record(trial, folder, TrialState(FAILED, str(error)), {})


def _read_runs(folder: Path, paths: list[Path]) -> Collection | None:
    """Hand-made runs: a row for each set of options that differ, its seeds together; data sets and protocols apart."""
    runs = [(path, _read_json(path / "metrics.json")) for path in paths]
    runs = [(path, result) for path, result in runs if "test_result" in result and "config" in result]
    if not runs:
        return None
    differing = _differing_options([result["config"] for _, result in runs])
    rows: dict[str, Row] = {}
    records = []
    for path, result in runs:
        row = _run_row(result["config"], differing)
        rows[row.name] = row
        trial = Trial(row.name, "", {}, result["config"].get("seed", 0), result["config"])
        records.append(Record(trial, path, TrialState(FINISHED), result))
    names = dict.fromkeys(name for _, result in runs for name in result["test_result"])
    sweep = Sweep(
        name=HAND_MADE,
        title=f"Runs in {folder.name or folder}",
        base={},
        metrics=tuple(Metric.of(name) for name in [*map(_shown, names), "seconds", "GB"]),
        rows=tuple(sorted(rows.values(), key=lambda row: row.group)),
        seeds=tuple(sorted({record.trial.seed for record in records})),
    )
    return Collection(sweep, tuple(records), len(records), (folder,))


def _differing_options(configs: list[dict[str, Any]]) -> list[str]:
    ignored = _PLACES | {"model", "item_encoder", "dataset"}
    names = sorted(set().union(*configs) - ignored)
    of_model: dict[str, list[dict[str, Any]]] = {}
    for config in configs:
        of_model.setdefault(_model_label(config), []).append(config)
    return [
        name for name in names if any(len({str(config.get(name)) for config in same}) > 1 for same in of_model.values())
    ]


def _model_label(config: dict[str, Any]) -> str:
    encoder = f" + {config['item_encoder']}" if config.get("item_encoder") else ""
    return f"{config.get('model')}{encoder}"


def _run_row(config: dict[str, Any], differing: list[str]) -> Row:
    """Its group is what results may be compared within."""
    group = f"{config.get('dataset')}" + (f", protocol {config['protocol']}" if "protocol" in differing else "")
    options = ", ".join(
        f"{name}={config[name]}" for name in differing if config.get(name) is not None and name != "protocol"
    )
    return Row(_model_label(config) + (f", {options}" if options else ""), group, options={})


def _shown(name: str) -> str:
    head, at, k = name.partition("@")
    known = {"hit": "HR", "ndcg": "NDCG", "mrr": "MRR", "nmse": "nMSE", "mae": "MAE", "src": "SRC", "mape": "MAPE"}
    return known.get(head, head) + at + k


def _merge(a: Collection, b: Collection) -> Collection:
    def place(record: Record) -> tuple[str, str, str, int]:
        return record.trial.row, record.trial.column, str(record.trial.point), record.trial.seed

    records = {place(record): record for record in a.records}
    for record in b.records:
        kinds = records[place(record)].state.kind if place(record) in records else UNFINISHED, record.state.kind
        if kinds[1] == FINISHED or kinds[0] != FINISHED:
            records[place(record)] = record
    seeds = tuple(dict.fromkeys([*a.sweep.seeds, *b.sweep.seeds]))
    rows = tuple({row.name: row for row in [*a.sweep.rows, *b.sweep.rows]}.values())
    planned = max(round(max(c.planned / len(c.sweep.seeds) for c in (a, b)) * len(seeds)), len(records))
    sweep = replace(b.sweep, seeds=seeds, rows=rows)
    return Collection(sweep, tuple(records.values()), planned, (*a.folders, *b.folders), b.command)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"`{path}` cannot be read: {error}; remove that run, or run it again.") from error
