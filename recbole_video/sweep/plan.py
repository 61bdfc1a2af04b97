"""What a sweep will run: one trial per row, column, point of the space and seed, each with all its options."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any

from recbole.evaluator.register import metric_types
from recbole.utils import EvaluatorType

from recbole_video.config import Config
from recbole_video.data.protocols import ProtocolOptions
from recbole_video.errors import ConfigError, nearest
from recbole_video.options.content import named_stores
from recbole_video.options.option import declared
from recbole_video.runtime.metric_names import metric_label
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.space import as_key, grid, n_points, point_key, sample
from recbole_video.sweep.spec import Row, Sweep

_SLUG_LENGTH = 48
_MOST_CHECKED = 300  # configurations; of each option, values


@dataclass(frozen=True)
class Trial:
    """One run of a sweep.

    Attributes:
        row: Name of its row, group and label.
        column: Label of its column.
        point: The values of the space that it takes.
        seed: Its seed.
        options: All that differs from the package's defaults.
    """

    row: str
    column: str
    point: dict[str, Any]
    seed: int
    options: dict[str, Any]

    @property
    def label(self) -> str:
        """For people: what tells it from the others."""
        return " · ".join([part for part in (self.row, self.column, point_label(self.point)) if part] or ["run"])

    @property
    def name(self) -> str:
        """Of its folder: the label, the seed, and a digest of the options."""
        label = re.sub(r"(?<=\d)e\+(?=\d)", "e", self.label)  # 1e+06 is no 1e-06
        slug = re.sub(r"[^A-Za-z0-9.=]+", "-", label).strip("-")[:_SLUG_LENGTH].strip("-")
        return f"{slug}-seed{self.seed}-{_digest(self.options)}"

    def as_plain(self) -> dict[str, Any]:
        """Plain values for ``trial.json``."""
        return {"row": self.row, "column": self.column, "point": self.point, "seed": self.seed, "options": self.options}


@dataclass(frozen=True)
class Dataset:
    """A data set that trials read: its name, its folder, and the frame stores beside its default one."""

    name: str
    folder: Path
    stores: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A sweep with the user's own options, and its trials.

    Attributes:
        sweep: Its metrics are resolved.
        trials: All that is known before it starts, or the first of them; none of a search by Optuna.
        n_trials: How many there will be.
        valid_metric: What trials are chosen by.
        bigger: Whether more of it is better.
        epochs: The most that a trial trains.
        datasets: What the trials read.
        checked: Trials whose options stand for those of all, with their configurations.
    """

    sweep: Sweep
    trials: tuple[Trial, ...]
    n_trials: int
    valid_metric: str
    bigger: bool
    epochs: int
    datasets: tuple[Dataset, ...]
    checked: tuple[tuple[Trial, Config], ...]


def make_plan(sweep: Sweep, own_options: dict[str, Any] | None = None, first: int | None = None) -> Plan:
    """Lay out the trials; every option is checked before anything runs.

    Of more trials than can be checked in a second, those are that show each value of each option, and an even sample.

    Args:
        sweep: The sweep.
        own_options: The user's options, which win over the sweep's.
        first: Lay out so many trials at most, to show what a sweep would run.

    Raises:
        ConfigError: If an option is unknown or unusable, a metric is not computed, or there is no trial.
    """
    own = dict(own_options or {})
    if "seed" in own:
        sweep = replace(sweep, seeds=(own.pop("seed"),))
    sweep = replace(sweep, base={**sweep.base, **own})
    if clash := sorted(set(own) & _options_of_cells(sweep)):
        raise ConfigError(f"`{clash[0]}` is what the sweep `{sweep.name}` varies; leave it out.")
    _check_control_options(sweep)
    is_open = sweep.search.kind == "optuna"
    if is_open and (len(_runnable(sweep)) * len(sweep.columns) * len(sweep.seeds) > 1):
        raise ConfigError("A search by Optuna has one row, one column and one seed; use random for several.")
    if sweep.search.kind != "grid" and not sweep.space:
        raise ConfigError(f"The sweep `{sweep.name}` searches nothing: its space is empty.")
    _check_stopping_is_fair(sweep)
    n_trials = count_trials(sweep)
    shown = None if first is None or n_trials <= max(first, _MOST_CHECKED) else first
    trials = () if is_open else tuple(islice(_generate_trials(sweep, shown), shown))
    if not trials and not is_open:
        raise ConfigError(f"The sweep `{sweep.name}` has zero trials.")
    checked = tuple((trial, _config(trial)) for trial in _trials_to_check(sweep, trials, n_trials))
    configs = [config for _, config in checked]
    metrics = sweep.metrics or _default_metrics(configs[0])
    for config in configs:
        _check_metrics(metrics, config)
    return Plan(
        sweep=replace(sweep, metrics=metrics),
        trials=trials,
        n_trials=n_trials if is_open or shown is not None else len(trials),
        valid_metric=str(configs[0]["valid_metric"]),
        bigger=bool(configs[0]["valid_metric_bigger"]),
        epochs=max(int(config["epochs"] or 1) for config in configs),
        datasets=_datasets(configs),
        checked=checked,
    )


def make_trial(sweep: Sweep, row: Row, column: int, point: dict[str, Any], seed: int) -> Trial:
    """The trial of a row, a column, a point of the space and a seed; the later ones win over the sweep's base."""
    block = sweep.columns[column]
    options = {**sweep.base, **block.options, **(row.options or {}), **point, "seed": seed}
    if row.of_controls:
        known = _options_of_control(row.label)
        options = {name: value for name, value in options.items() if name in known}
    return Trial(row.name, block.label, point, seed, {k: v for k, v in sorted(options.items())})


def point_label(point: dict[str, Any]) -> str:
    """Values of a point as people write them."""
    return ", ".join(f"{k}={v:.4g}" if isinstance(v, float) else f"{k}={v}" for k, v in point.items())


def point_labels(points: Iterable[dict[str, Any]]) -> dict[str, str]:
    """Key of a point -> its label; where four digits do not tell two points apart, with all digits."""
    by_label: dict[str, dict[str, dict[str, Any]]] = {}
    for point in points:
        by_label.setdefault(point_label(point), {})[point_key(point)] = point
    found = {}
    for label, same in by_label.items():
        for key, point in same.items():
            found[key] = label if len(same) == 1 else ", ".join(f"{k}={v}" for k, v in point.items())
    return found


def _check_stopping_is_fair(sweep: Sweep) -> None:
    """ASHA ranks all trials by one score: it must mean the same for all, and stop no seed of a mean."""
    if sweep.asha is None:
        return
    if len(sweep.seeds) > 1:
        raise ConfigError(
            f"asha of `{sweep.name}` would stop the worse seeds and flatter the mean of the rest; give one seed, or "
            "leave asha out."
        )
    split = {name for name in declared(ProtocolOptions) if name.startswith(("protocol", "temporal_"))}
    uneven = _options_of_cells(sweep) & {"dataset", "valid_metric", "label", "preset", *split}
    if uneven:
        raise ConfigError(
            f"asha of `{sweep.name}` would compare scores of trials that differ in `{min(uneven)}`; leave asha out, or "
            "make a sweep of each."
        )


def _datasets(configs: list[Config]) -> tuple[Dataset, ...]:
    found: dict[str, tuple[Path, dict[str, None]]] = {}
    for config in configs:
        _, stores = found.setdefault(config["dataset"], (Path(config["data_path"]), {}))
        stores |= dict.fromkeys(named_stores(config))
    return tuple(Dataset(name, folder, tuple(stores)) for name, (folder, stores) in sorted(found.items()))


def _generate_trials(sweep: Sweep, first: int | None = None) -> Iterator[Trial]:
    """The trials in order; of a space no more than the ``first`` points."""
    if sweep.search.kind == "random":
        points = list(islice(sample(sweep.space, sweep.search.n_trials, sweep.search.seed), first))
    else:
        points = list(islice(grid(sweep.space), first))
    for row in _runnable(sweep):
        for column in range(len(sweep.columns)):
            for point in [{}] if row.of_controls else points:
                for seed in seeds_of(sweep, row):
                    yield make_trial(sweep, row, column, point, seed)


def seeds_of(sweep: Sweep, row: Row) -> tuple[int, ...]:
    """The seeds with which a row runs."""
    return sweep.seeds[:1] if row.runs_once else sweep.seeds


def count_trials(sweep: Sweep) -> int:
    """How many trials there will be, which are not laid out for it."""
    known = n_points(sweep.space)
    asked = sweep.search.n_trials
    per_cell = known or 0 if sweep.search.kind == "grid" else min(asked, known or asked)
    n_rows = sum(not row.of_controls for row in _runnable(sweep))
    return per_cell * n_rows * len(sweep.columns) * len(sweep.seeds) + count_control_trials(sweep)


def count_control_trials(sweep: Sweep) -> int:
    """How many of the trials are of controls."""
    return sum(len(seeds_of(sweep, row)) for row in sweep.rows if row.of_controls) * len(sweep.columns)


@cache
def _options_of_control(name: str) -> frozenset[str]:
    """What a control takes of the options of a sweep."""
    config = Config(name)
    return (frozenset(config.declarations) | {"model", "dataset"}) - config.model_class.Options.without_effect


def _check_control_options(sweep: Sweep) -> None:
    """Refuse an option of ``controls`` that none of them has; of the sweep's own, each takes what it has."""
    controls = [row for row in sweep.rows if row.of_controls]
    known = frozenset().union(*(_options_of_control(row.label) for row in controls))
    if unknown := sorted({option for row in controls for option in row.options or {}} - known):
        raise ConfigError(
            f"`{unknown[0]}` of `controls` of `{sweep.name}` is no option of a control{nearest(unknown[0], known)}."
        )


def _trials_to_check(sweep: Sweep, trials: tuple[Trial, ...], n_trials: int) -> Iterable[Trial]:
    """Trials whose options are checked for all: one of each digest, or a choice where there are too many."""
    if n_trials <= _MOST_CHECKED and trials:
        return {_digest({**trial.options, "seed": 0}): trial for trial in trials}.values()
    rows, columns, seed = _runnable(sweep), range(len(sweep.columns)), sweep.seeds[0]
    [point] = sample(sweep.space, 1, sweep.search.seed)
    cells = [make_trial(sweep, row, column, point, seed) for row in rows for column in columns]
    varied = [
        make_trial(sweep, rows[0], 0, {**point, option: value}, seed)
        for option, (kind, values) in sweep.space.items()
        if kind == "choice"
        for value in _evenly_chosen(values)
    ]
    return [*cells, *varied, *_evenly_chosen(trials)]


def _evenly_chosen(values: Any) -> list[Any]:
    """So many of them as can be checked, evenly, the first among them."""
    return list(values[:: -(-len(values) // _MOST_CHECKED) or 1])


def _runnable(sweep: Sweep) -> list[Row]:
    return [row for row in sweep.rows if row.options is not None]


def _options_of_cells(sweep: Sweep) -> set[str]:
    rows = [row.options or {} for row in sweep.rows if not row.of_controls]
    cells = [*rows, *(column.options for column in sweep.columns), sweep.space]
    return {option for cell in cells for option in cell}


def _config(trial: Trial) -> Config:
    try:
        return Config(config_dict=trial.options, is_shared=True)
    except ConfigError as error:
        raise ConfigError(f"The trial `{trial.label}` cannot run: {error}") from error


def _default_metrics(config: Config) -> tuple[Metric, ...]:
    """What the runs report, and what they cost."""
    of_lists = {name for name, kind in metric_types.items() if kind is EvaluatorType.RANKING} - {"gauc"}
    given = [str(name) for name in config["metrics"]]
    at_k = [metric_label(name) for name in given if name.lower() in of_lists]
    names = [f"{name}@{k}" for k in config["topk"] or () for name in at_k]
    names += [name for name in given if name.lower() not in of_lists]
    return tuple(Metric.of(name) for name in [*names, "seconds", "GB"])


def _check_metrics(metrics: tuple[Metric, ...], config: Config) -> None:
    if twice := [metric.name for i, metric in enumerate(metrics) if metric.name in [m.name for m in metrics[:i]]]:
        raise ConfigError(f"`{twice[0]}` is listed twice under metrics.")
    computed = {metric.key.rpartition("/")[2]: metric.name for metric in _default_metrics(config)}
    for metric in metrics:
        head, _, key = metric.key.rpartition("/")
        if head == "test_result" and key not in computed:
            names = list(computed.values())
            raise ConfigError(
                f"The runs do not report `{metric.name}`{nearest(metric.name, names)}; they report {', '.join(names)}: "
                "extend metrics or topk."
            )
        group = head.removeprefix("groups/").partition("/")[0]
        if head.startswith("groups/") and "eval_groups" in config and group not in config["eval_groups"]:
            raise ConfigError(f"`{metric.name}` is of the group `{group}`; add it to eval_groups.")


def _digest(options: dict[str, Any]) -> str:
    return hashlib.sha256(as_key(options).encode()).hexdigest()[:8]
