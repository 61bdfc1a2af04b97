"""Finds runs on disk: those of sweeps, with the sweep they are of, and hand-made ones."""

from __future__ import annotations

import hashlib
import json
import numbers
from collections.abc import Iterable
from dataclasses import dataclass, replace
from glob import glob
from pathlib import Path
from typing import Any

from recbole_video.data.protocols import PROTOCOLS, ProtocolOptions
from recbole_video.errors import ConfigError, DataError, counted
from recbole_video.files.reading import read_json, read_text
from recbole_video.options.effects import OF_NO_NUMBER, OF_NO_NUMBER_OF_RECBOLE
from recbole_video.options.option import declared
from recbole_video.results.earlier_versions import as_of_today
from recbole_video.results.per_case import has_cases
from recbole_video.runtime.metric_names import metric_label
from recbole_video.sweep.folder import FAILED, FINISHED, TrialState, trial_state
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import Trial, count_trials
from recbole_video.sweep.space import point_key
from recbole_video.sweep.spec import Row, Sweep, read_sweep

HAND_MADE = "runs"
_OF_NO_NUMBER = OF_NO_NUMBER | OF_NO_NUMBER_OF_RECBOLE | {"seed"}  # runs that differ in these are of one row
# Of these a label need not tell: they change no number of the test as a whole, or stand before it or in its heading.
OF_NO_DIFFERENCE = _OF_NO_NUMBER | {"eval_groups", "model", "item_encoder", "dataset", "protocol", "score_lists"}
# Options that some protocols alone read: each with the pairs of an option and its value that make it void.
_OF_ONE_PROTOCOL = {name: one.rule.void_when for name, one in declared(ProtocolOptions).items() if one.rule.void_when}


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
        command: What makes it again.
        repeats: Folders of finished runs that repeat the options and the seed of another, which alone counts.
    """

    sweep: Sweep
    records: tuple[Record, ...]
    planned: int
    folders: tuple[Path, ...]
    command: str = ""
    repeats: tuple[Path, ...] = ()


def collect(folders: Iterable[str | Path]) -> list[Collection]:
    """Read all runs under some folders; the same sweep in several becomes one, and hand-made runs one section.

    Sweeps are the same if they run the same, seeds and places apart. Of two runs of one cell and seed one alone counts:
    a finished one, and of two the later folder's. A repeat of a seed is no further seed.

    Raises:
        DataError: If a folder is missing, or holds neither a sweep nor a finished run.
    """
    found: dict[str, Collection] = {}
    hand_made: dict[Path, dict[str, Any]] = {}
    roots = []
    for path in matching_folders(folders):
        sweeps = [record.parent for record in sorted(path.rglob("sweep.json"))]
        runs = _read_finished(path, sweeps)
        if not sweeps and not runs:
            raise DataError(f"`{path}` holds no sweep and no finished run (no metrics.json of one).")
        for collection in map(_read_sweep_folder, sweeps):
            key = _sweep_key(collection.sweep)
            found[key] = _merge(found[key], collection) if key in found else collection
        new = {folder: result for folder, result in runs.items() if folder not in hand_made}
        hand_made |= new
        roots += [path] if new else []
    return [*found.values(), *([_read_runs(roots, hand_made)] if hand_made else [])]


def matching_folders(folders: Iterable[str | Path]) -> list[Path]:
    """The folders that are named; a name with ``*``, ``?`` or ``[...]`` of which there is no folder is a pattern.

    Raises:
        DataError: If a name or a pattern is of no folder.
    """
    found: list[Path] = []
    for given in map(str, folders):
        matches = [given] if Path(given).is_dir() else sorted(glob(given))  # noqa: PTH207 - it may be absolute
        named = [Path(path) for path in matches if Path(path).is_dir()]
        named = [path for path in named if _holds_runs(path)] or named  # a pattern finds earlier reports as well
        if not named:
            raise DataError(f"There is no folder `{given}` to report on.")
        found += named
    return found


def _holds_runs(path: Path) -> bool:
    """Whether there is a run or a sweep somewhere under a folder."""
    return any(True for name in ("metrics.json", "sweep.json") for _ in path.rglob(name))


def _read_finished(path: Path, sweeps: list[Path]) -> dict[Path, dict[str, Any]]:
    """Results of the finished runs under a folder that belong to none of its sweeps, by their folders."""
    found = {}
    for metrics in sorted(path.rglob("metrics.json")):
        if any(sweep in metrics.parents for sweep in sweeps):
            continue
        result = _read_json(metrics)
        if "test_result" in result and "config" in result:
            found[metrics.parent.resolve()] = _checked(result, metrics)
    return found


def _sweep_key(sweep: Sweep) -> str:
    """What tells one sweep from another: all that its trials compute, seeds apart."""
    base = {name: value for name, value in sweep.base.items() if name not in _OF_NO_NUMBER}
    cells = [(row.name, row.options) for row in sweep.rows] + [(c.label, c.options) for c in sweep.columns]
    return json.dumps([sweep.name, sweep.is_demo, base, cells, sweep.space, vars(sweep.search)], default=str)


def _read_sweep_folder(folder: Path) -> Collection:
    about = _read_json(folder / "sweep.json")
    text = read_text(folder / "sweep.yaml", DataError)
    records = [_read_record(path.parent) for path in sorted((folder / "trials").glob("*/trial.json"))]
    try:
        sweep = read_sweep(text, about["sweep"], str(folder / "sweep.yaml"), about["demo"])
        metrics = tuple(Metric.of(given) for given in about["metrics"])
        sweep = replace(sweep, metrics=metrics, seeds=tuple(about["seeds"]), base=dict(about["base"]))
        place = {name: i for i, name in enumerate(about["trials"])}
        planned, command = int(about["n_trials"]), str(about["command"])
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        raise DataError(f"`{folder / 'sweep.json'}` is not the record of a sweep of this version ({error}).") from error
    records.sort(key=lambda record: place.get(record.folder.name, len(place)))
    return Collection(sweep, tuple(records), planned, (folder,), command)


def _read_record(folder: Path) -> Record:
    path = folder / "trial.json"
    try:
        trial = Trial(**_read_json(path))
        is_trial = isinstance(trial.row, str) and isinstance(trial.column, str) and _is_whole(trial.seed)
        is_trial = is_trial and isinstance(trial.point, dict) and isinstance(trial.options, dict)
    except TypeError:
        is_trial = False
    if not is_trial:
        raise DataError(f"`{path}` does not say which trial this is; remove that run, or run it again.")
    state = trial_state(folder)
    if state.kind != FINISHED:
        return Record(trial, folder, state, {})
    try:
        return Record(trial, folder, state, _checked(_read_json(folder / "metrics.json"), folder / "metrics.json"))
    except DataError as error:
        return Record(trial, folder, TrialState(FAILED, str(error)), {})


def _read_runs(roots: list[Path], runs: dict[Path, dict[str, Any]]) -> Collection:
    """Hand-made runs: a row for each set of options that differ, its seeds together; data sets and protocols apart."""
    configs = {path: {**as_chosen(result["config"]), "data": _data_read(result)} for path, result in runs.items()}
    has_protocols = len({str(config["protocol"]) for config in configs.values() if config.get("protocol")}) > 1
    differing = _differing_options(list(configs.values()))
    rows: dict[str, Row] = {}
    records: dict[tuple[str, int], Record] = {}
    repeats = []
    for path, result in runs.items():
        row = _run_row(configs[path], differing[_kind(configs[path])], has_protocols)
        rows[row.name] = row
        trial = Trial(row.name, "", {}, result["config"].get("seed", 0), result["config"])
        record = Record(trial, path, TrialState(FINISHED), result)
        if (earlier := records.get((row.name, trial.seed))) is not None:
            record, other = _telling_more(earlier, record)
            repeats.append(other.folder)
        records[row.name, trial.seed] = record
    controls = {record.trial.row for record in records.values() if "control" in record.result}
    names: list[str] = list(dict.fromkeys(name for result in runs.values() for name in result["test_result"]))
    sweep = Sweep(
        name=HAND_MADE,
        title=_title(roots, list(configs.values())),
        base={},
        metrics=_metrics(names, list(runs.values())),
        rows=tuple(sorted(rows.values(), key=lambda row: (row.group, row.name in controls))),  # below the models
        seeds=tuple(sorted({seed for _, seed in records})),
    )
    return Collection(sweep, tuple(records.values()), len(records), tuple(roots), repeats=tuple(repeats))


def _telling_more(earlier: Record, later: Record) -> tuple[Record, Record]:
    """Of two runs of the same options the one to count, which has values per case where but one has; and the other."""
    if has_cases(earlier.folder) and not has_cases(later.folder):
        return earlier, later
    return later, earlier


def _title(roots: list[Path], configs: list[dict[str, Any]]) -> str:
    """The folder, or of several, how many runs there are and of which data."""
    if len(roots) == 1:
        return f"Runs in {roots[0].name or roots[0]}"
    return f"{counted(len(configs), 'run')} on {', '.join(sorted({str(config.get('dataset')) for config in configs}))}"


def _data_read(result: dict[str, Any]) -> str:
    """The checksums of what a run read, as one: runs of other data under one name are no repeats."""
    data = result.get("data") or {}
    read = [data, data.get("label"), data.get("lists"), data.get("frames"), *dict(data.get("inputs") or {}).values()]
    sums = [str(part.get(key)) for part in read if isinstance(part, dict) for key in ("inter_sha256", "sha256")]
    return hashlib.sha256(" ".join(sums).encode()).hexdigest()[:8]


def _checked(result: dict[str, Any], path: Path) -> dict[str, Any]:
    """A result whose parts are of the kinds that a report reads, and whose epochs are counted from 1.

    Raises:
        DataError: If one is of another kind.
    """
    tables = ("test_result", "config", "data", "made_by", "groups")
    wrong = [name for name in tables if not isinstance(result.get(name) or {}, dict)]
    wrong += [name for name in ("test_result", "config") if name in result and not isinstance(result[name], dict)]
    figures = ("best_valid_score", "seconds", "peak_memory_mb")
    wrong += [name for name in figures if not _is_number_or_none(result.get(name))]
    if not wrong and not _is_whole((result.get("config") or {}).get("seed", 0)):
        wrong.append("config")
    history = result.get("history") or []
    is_history = isinstance(history, list) and all(
        isinstance(epoch, dict) and all(map(_is_number_or_none, epoch.values())) and _is_whole(epoch.get("epoch"))
        for epoch in history
    )
    wrong += [] if is_history else ["history"]
    if wrong:
        raise DataError(f"`{wrong[0]}` of `{path}` is not what a run writes; remove that run, or run it again.")
    return as_of_today({**result, "history": history})


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number_or_none(value: Any) -> bool:
    return value is None or isinstance(value, numbers.Real)


def _metrics(names: list[str], results: list[dict[str, Any]]) -> tuple[Metric, ...]:
    """What a table of hand-made runs shows: all that they report on the test, cold and warm targets, costs."""
    of_test = [Metric.of(metric_label(name)) for name in names]
    costs = [Metric.of(name) for name in ("seconds", "GB")]
    return (*of_test, *_cold_metrics(names, results), *costs)


def _cold_metrics(names: list[str], results: list[dict[str, Any]]) -> list[Metric]:
    """The first metric of cold and of warm targets that a run tells apart."""
    for name in names:
        found = [
            Metric.of({"name": f"{metric_label(name)}, {kind}", "key": f"groups/cold/{kind}/{name}"})
            for kind in ("cold", "warm")
        ]
        if any(metric.read(result) is not None for metric in found for result in results):
            return found
    return []


def _kind(config: dict[str, Any]) -> tuple[str, str]:
    """Data set and model: between runs of which it is to be said what else differs."""
    return str(config.get("dataset")), _model_label(config)


def as_chosen(config: dict[str, Any]) -> dict[str, Any]:
    """A configuration without what only follows from its protocol, which nobody has set, or is of another protocol."""
    protocol = PROTOCOLS.get(str(config.get("protocol")))
    follows = protocol is not None and config.get("mask_history") == protocol.masks_history
    void = [
        name for name, pairs in _OF_ONE_PROTOCOL.items() if any(config.get(other) == value for other, value in pairs)
    ]
    return {**config, **dict.fromkeys([*void, *(["mask_history"] if follows else [])])}


def _differing_options(configs: list[dict[str, Any]]) -> dict[tuple[str, str], list[str]]:
    """Options that differ among the runs of each model on each data set, and may change a number."""
    names = sorted(set().union(*configs) - OF_NO_DIFFERENCE)
    same: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for config in configs:
        same.setdefault(_kind(config), []).append(config)
    return {kind: _telling(names, of_kind) for kind, of_kind in same.items()}


def _telling(names: list[str], configs: list[dict[str, Any]]) -> list[str]:
    """The options that tell some runs apart; the checksum of the data among them only where no option tells."""
    differing = [name for name in names if len(_values(name, configs)) > 1]
    options = [name for name in differing if name != "data"]
    n_told, n_all = (len({str([config.get(name) for name in of]) for config in configs}) for of in (options, differing))
    return options if n_told == n_all else differing


def _values(name: str, configs: list[dict[str, Any]]) -> set[str]:
    """What some runs have for an option; one that their protocol does not read sets none apart."""
    values = {str(config.get(name)) for config in configs}
    return values - {"None"} if name in _OF_ONE_PROTOCOL else values


def _model_label(config: dict[str, Any]) -> str:
    if config.get("score_lists"):
        return f"lists of {Path(config['score_lists']).name}"
    encoder = f" + {config['item_encoder']}" if config.get("item_encoder") else ""
    return f"{config.get('model')}{encoder}"


def _run_row(config: dict[str, Any], differing: list[str], has_protocols: bool) -> Row:
    """Its group is what results may be compared within; only a recommender's options name a protocol.

    An option that says ``none`` says it by its absence, beside rows that name something.
    """
    protocol = config.get("protocol") if has_protocols else None
    group = f"{config.get('dataset')}" + (f", protocol {protocol}" if protocol is not None else "")
    options = ", ".join(f"{name}={config[name]}" for name in differing if config.get(name) not in (None, "none"))
    return Row(_model_label(config) + (f", {options}" if options else ""), group, options={})


def _merge(a: Collection, b: Collection) -> Collection:
    def place(record: Record) -> tuple[str, str, str, int]:
        return record.trial.row, record.trial.column, point_key(record.trial.point), record.trial.seed

    records = {place(record): record for record in a.records}
    repeats = [*a.repeats, *b.repeats]
    for record in b.records:
        other = records.get(place(record), record)
        if other.state.kind == record.state.kind == FINISHED and other.folder.resolve() != record.folder.resolve():
            records[place(record)], left_out = _telling_more(other, record)
            repeats.append(left_out.folder)
        elif other.state.kind != FINISHED or record.state.kind == FINISHED:
            records[place(record)] = record
    seeds = tuple(dict.fromkeys([*a.sweep.seeds, *b.sweep.seeds]))
    rows = tuple({row.name: row for row in [*a.sweep.rows, *b.sweep.rows]}.values())
    sweep = replace(b.sweep, seeds=seeds, rows=rows)
    planned = max(count_trials(sweep), len(records))
    return Collection(sweep, tuple(records.values()), planned, (*a.folders, *b.folders), b.command, tuple(repeats))


def _read_json(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"`{path}` must hold names and values; remove that run, or run it again.")
    return content
