"""A sweep as it is written down: rows, columns, space, seeds, published numbers (``properties/sweep/*.yaml``)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, fields, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from recbole_video.config import known_options
from recbole_video.errors import ConfigError, nearest
from recbole_video.files.names import check_file_name
from recbole_video.files.reading import dump_yaml, parse_yaml, read_text
from recbole_video.options.option import Option
from recbole_video.options.parse import check_value, keep_text
from recbole_video.options.run import LARGEST_SEED
from recbole_video.registries import CONTROLS
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.space import Space, read_hyper_file, read_space

SEARCHES = ("grid", "random", "optuna")
_DRAWS_OF_A_FILE = 10
FIGURES = ("bars", "groups", "lines")
RANKS = ("group", "table")  # where the best is sought
CORRECTIONS = ("holm", "fdr")  # of p-values, for several tests
_KEYS = frozenset([
    "name", "title", "source", "note", "base", "space", "search", "rows", "columns", "metrics", "seeds", "asha",
    "resources", "figure", "compare", "correction", "needs", "rank", "controls", "demo",
])  # fmt: skip
_ROW_KEYS = frozenset(["group", "label", "options", "published", "demo"])
_COLUMN_KEYS = frozenset(["label", "options", "demo"])
_CONTROL_KEYS = frozenset(["group", "models", "options", "demo"])
_DEMO_KEYS = frozenset(["base", "seeds", "note", "search", "space"])


# Keys of a sweep whose values are text, beside the options that are.
_TEXT_KEYS = ("name", "title", "source", "note", "group", "figure", "compare", "needs", "rank")


@dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        label: Its name; with ``group``, unique.
        group: Heading that it stands under; may be empty.
        options: Its options; None for a row that is only published.
        published: The paper's numbers by column label and metric name.
        of_controls: Whether it is of ``controls``: it takes of the sweep's options those that a control has, and runs
            once, whatever the space.
        runs_once: Whether it runs with the first seed alone, since the others would give the same.
    """

    label: str
    group: str = ""
    options: dict[str, Any] | None = None
    published: dict[str, dict[str, float]] = field(default_factory=dict)
    of_controls: bool = False
    runs_once: bool = False

    @property
    def name(self) -> str:
        """Group and label."""
        return f"{self.group} / {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Column:
    """A block of columns: what its runs have in common. A table without blocks has one without a label.

    Attributes:
        label: Its name; the published numbers are found by it.
        options: Its options.
        stand_in: In a demo, the data set in place of the paper's.
    """

    label: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    stand_in: str = ""

    @property
    def title(self) -> str:
        """The label, and in a demo which data stands in for the paper's."""
        return f"{self.stand_in} for {self.label}" if self.stand_in else self.label


@dataclass(frozen=True)
class Search:
    """How the space is searched.

    Attributes:
        kind: grid, random or optuna.
        n_trials: Draws; a grid has as many as it has points.
        seed: Seed by which points are sampled.
    """

    kind: str = "grid"
    n_trials: int = 0
    seed: int = 42


@dataclass(frozen=True)
class Asha:
    """Early stopping of trials (asynchronous successive halving, Li et al. 2020).

    Attributes:
        grace_epochs: Epochs that every trial gets.
        reduction_factor: One in so many goes on at each rung.
    """

    grace_epochs: int = 3
    reduction_factor: int = 3


@dataclass(frozen=True)
class Figure:
    """The paper's figure shape: bars stand on the rows' labels, lines run along them, groups stand on the columns.

    Attributes:
        line: A row that all others are to be read against; a line stands at its value, of each column where there are
            several. Without it the line is the best control's.
    """

    kind: str
    metric: str
    x_label: str = ""
    y_label: str = ""
    line: str = ""


@dataclass(frozen=True)
class Comparison:
    """Two rows whose difference is tested, over ``seeds`` or over test ``cases`` (users, videos)."""

    a: str
    b: str
    over: str = "seeds"


@dataclass(frozen=True)
class Need:
    """A data set that a sweep reads: where it comes from and which commands make it ready.

    Attributes:
        stores: Arguments of ``dataset_tools frames`` by the name of the frame store that they make.
        videos: How many videos it has, by which a dry run reckons what their frames take.
    """

    dataset: str
    download: str
    commands: tuple[str, ...]
    stores: dict[str, str] = field(default_factory=dict)
    videos: int | None = None


_CLASSES = ("model", "item_encoder")  # options that name one


@dataclass(frozen=True)
class Sweep:
    """A sweep, checked; its attributes are the keys of its YAML file, whose text it keeps."""

    name: str
    title: str
    base: dict[str, Any]
    metrics: tuple[Metric, ...]
    rows: tuple[Row, ...] = (Row("", options={}),)
    columns: tuple[Column, ...] = (Column(),)
    seeds: tuple[int, ...] = (42,)
    space: Space = field(default_factory=dict)
    search: Search = field(default_factory=Search)
    asha: Asha | None = None
    cpus: float = 1.0
    gpus: float | None = None
    source: str = ""
    note: str = ""
    figure: Figure | None = None
    compare: tuple[Comparison, ...] = ()
    needs: tuple[Need, ...] = ()
    rank: str = "group"
    correction: str = "holm"
    is_demo: bool = False
    has_demo: bool = False
    text: str = ""

    def classes(self) -> set[str]:
        """Models and item encoders that its options name, by name or as ``module:Class``."""
        given = [self.base, *(row.options or {} for row in self.rows), *(column.options for column in self.columns)]
        named = [options[name] for options in given for name in _CLASSES if name in options]
        named += [value for name in _CLASSES if name in self.space for value in self.space[name][1]]
        return {str(value) for value in named}


def preset_names() -> list[str]:
    """The sweeps that come with the package."""
    return sorted(path.name[:-5] for path in files("recbole_video.properties").joinpath("sweep").iterdir()
                  if path.name.endswith(".yaml"))  # fmt: skip


def load_sweep(name_or_path: str, demo: bool = False, classes: Collection[str] = ()) -> Sweep:
    """Read a sweep by its name or from a file.

    Args:
        name_or_path: Name of a preset, a YAML file, or RecBole's file of parameters (``.hyper``, ``.test``, ``.txt``).
        demo: In the size that runs on the bundled data in minutes.
        classes: As for :func:`read_sweep`.

    Raises:
        ConfigError: If there is none of that name, or it is malformed.
    """
    path = Path(name_or_path)
    if path.suffix in (".hyper", ".test", ".txt") and path.is_file():
        return read_sweep(_text_of_hyper_file(path, classes), path.stem, str(path), demo, classes)
    if path.suffix in (".yaml", ".yml"):
        if not path.is_file():
            raise ConfigError(f"There is no sweep file `{path}`; presets are {', '.join(preset_names())}.")
        return read_sweep(read_text(path, ConfigError), path.stem, str(path), demo, classes)
    known = preset_names()
    if name_or_path not in known:
        raise ConfigError(
            f"There is no sweep `{name_or_path}`{nearest(name_or_path, known)}; presets are {', '.join(known)}, and a "
            "path that ends in .yaml names a file."
        )
    resource = files("recbole_video.properties").joinpath("sweep").joinpath(f"{name_or_path}.yaml")
    return read_sweep(resource.read_text(encoding="utf-8"), name_or_path, f"{name_or_path}.yaml", demo, classes)


def _text_of_hyper_file(path: Path, classes: Collection[str]) -> str:
    """RecBole's file of parameters as the YAML of a sweep: at random where it has a range, as RecBole has it."""
    space = read_hyper_file(path, known_options(classes))
    lines = {option: values if kind == "choice" else {kind: values} for option, (kind, values) in space.items()}
    if all(kind == "choice" for kind, _ in space.values()):
        return dump_yaml({"space": lines})
    return dump_yaml({"space": lines, "search": {"kind": "random", "n_trials": _DRAWS_OF_A_FILE}})


def read_sweep(text: str, name: str, where: str, demo: bool = False, classes: Collection[str] = ()) -> Sweep:
    """Read and check the YAML text of a sweep.

    Its values are read as they are declared, by the models and encoders in the tables and by those that it names as
    ``module:Class`` and this process knows: before such a class is trusted and imported, its options are not known.

    Args:
        text: The YAML.
        name: Its name, where it does not say so itself.
        where: Where it stands, for messages.
        demo: In its demo size.
        classes: Models and encoders, as ``module:Class``, that the runs have from elsewhere.

    Raises:
        ConfigError: If it is malformed.
    """
    sweep = _read(text, name, where, demo, classes)
    named = {one for one in sweep.classes() if ":" in one} - set(classes)
    return _read(text, name, where, demo, {*classes, *named}) if named else sweep


def _read(text: str, name: str, where: str, demo: bool, classes: Collection[str]) -> Sweep:
    raw = _read_lines(text, where, demo, classes)
    metrics = tuple(Metric.of(given) for given in _list(raw.get("metrics"), f"`metrics` of `{where}`"))
    labels = _column_labels(raw.get("columns"), where)
    rows = _read_rows(raw.get("rows"), labels, metrics, demo, where) + _read_controls(raw.get("controls"), demo, where)
    _check_no_repeats([row.name for row in rows], "rows", where)
    resources = _read_resources(raw.get("resources"), where)
    sweep = Sweep(
        name=_read_name(raw, name, where),
        title=_text(raw, "title", f"`{where}`") or name,
        base=raw["base"],
        metrics=metrics,
        rows=rows,
        columns=_read_columns(raw.get("columns"), demo, where),
        seeds=_read_seeds(raw.get("seeds", [42]), where),
        space=read_space(_options(raw.get("space"), f"`space` of `{where}`")),
        search=_read_search(raw.get("search"), where),
        asha=_read_asha(raw.get("asha"), where),
        cpus=resources.get("cpus", 1.0),
        gpus=resources.get("gpus"),
        source=_text(raw, "source", f"`{where}`"),
        note=_text(raw, "note", f"`{where}`").strip(),
        figure=_read_figure(raw.get("figure"), metrics, rows, where),
        compare=_read_compare(raw.get("compare"), rows, where),
        needs=() if demo else _read_needs(raw.get("needs"), where),
        rank=str(_one_of(raw.get("rank", "group"), RANKS, f"`rank` of `{where}`")),
        correction=str(_one_of(raw.get("correction", "holm"), CORRECTIONS, f"`correction` of `{where}`")),
        is_demo=demo,
        has_demo=bool(raw.get("demo")),
        text=text,
    )
    _check_no_clashes(sweep, where)
    _check_unambiguous(sweep, where)
    return sweep


def _read_lines(text: str, where: str, demo: bool, classes: Collection[str]) -> dict[str, Any]:
    """The lines of a sweep, those of its demo size in the place of its own; ``base`` are checked options."""
    keys = _text_keys(classes)
    raw = parse_yaml(text, f"The sweep `{where}`", ConfigError, lambda node: keep_text(node, keys, deep=True))
    if not isinstance(raw, dict):
        raise ConfigError(f"The sweep `{where}` must hold `key: value` lines.")
    _check_keys(raw, _KEYS, f"the sweep `{where}`")
    for key, value in raw.items():
        check_value(key, value)
    of_demo = raw.get("demo") or {}
    _check_keys(of_demo, _DEMO_KEYS, f"`demo` of `{where}`")
    base = _options(raw.get("base"), f"`base` of `{where}`")
    if not demo:
        return {**raw, "base": base}
    if not of_demo:
        raise ConfigError(f"The sweep `{where}` has no demo size; leave out --demo.")
    instead = {key: of_demo[key] for key in ("seeds", "search", "space", "note") if key in of_demo}
    return {**raw, **instead, "base": {**base, **_options(of_demo.get("base"), f"`demo` of `{where}`")}}


def _text_keys(classes: Collection[str]) -> dict[str, Option]:
    """Keys whose values are text: of options, and of a sweep itself."""
    return {**known_options(classes), **{key: Option(key, str, "") for key in _TEXT_KEYS}}


def with_search(sweep: Sweep, kind: Any = None, n_trials: Any = None) -> Sweep:
    """A sweep that is searched otherwise: ``--search`` and ``--n_trials``.

    Raises:
        ConfigError: If there is no such search, or it has no number of trials.
    """
    if kind is None and n_trials is None:
        return sweep
    asked = {
        "kind": kind or sweep.search.kind,
        "n_trials": sweep.search.n_trials if n_trials is None else n_trials,
        "seed": sweep.search.seed,
    }
    if asked["kind"] == "grid" and n_trials is not None:
        raise ConfigError("A grid has as many trials as points; n_trials is for --search=random or optuna.")
    return replace(sweep, search=_read_search(asked, "the command line"))


def _check_unambiguous(sweep: Sweep, where: str) -> None:
    """What could be drawn or tested in two ways."""
    if sweep.compare and sweep.space:
        raise ConfigError(f"`compare` of `{where}` compares rows, and its space makes several of each; leave one out.")


def _check_no_clashes(sweep: Sweep, where: str) -> None:
    """An option has one place: rows, columns or the space; its values would otherwise depend on the order of layers."""
    of_rows = {option for row in sweep.rows if not row.of_controls for option in row.options or {}}
    of_columns = {option for column in sweep.columns for option in column.options}
    for one, other, what in (
        (of_rows, of_columns, "rows and columns"),
        (of_rows, set(sweep.space), "rows and the space"),
        (of_columns, set(sweep.space), "columns and the space"),
    ):
        if both := sorted(one & other):
            raise ConfigError(f"`{both[0]}` of `{where}` is set by {what}; keep it in one of them.")
    if "seed" in of_rows | of_columns | set(sweep.space) | set(sweep.base):
        raise ConfigError(f"`seed` of `{where}` is an option of its own; list the seeds under `seeds`.")


def _options(given: Any, what: str) -> dict[str, Any]:
    """``option: value`` lines; none for nothing."""
    if given is None:
        return {}
    if not isinstance(given, dict) or not all(isinstance(key, str) for key in given):
        raise ConfigError(f"{what[0].upper()}{what[1:]} must hold `option: value` lines; it is `{given}`.")
    return dict(given)


def _read_name(raw: dict[str, Any], name: str, where: str) -> str:
    """The name of a sweep, after which its folder is called."""
    name = _text(raw, "name", f"`{where}`") or name
    check_file_name(name, f"the sweep `{where}`", ConfigError)
    return name


def _text(raw: dict[str, Any], key: str, what: str) -> str:
    """The text of a key; empty for none."""
    given = raw.get(key)
    if given is not None and not isinstance(given, str):
        raise ConfigError(f"`{key}` of {what} is `{given}`; it must be text.")
    return given or ""


def _list(given: Any, what: str) -> list[Any]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise ConfigError(f"{what[0].upper()}{what[1:]} must be a list; it is `{given}`.")
    return given


def _read_resources(given: Any, where: str) -> dict[str, float]:
    resources = _options(given, f"`resources` of `{where}`")
    _check_keys(resources, {"cpus", "gpus"}, f"`resources` of `{where}`")
    for name, value in resources.items():
        _check_number(value, 0, f"`{name}` of `resources` of `{where}`")
    return resources


def _read_asha(given: Any, where: str) -> Asha | None:
    asha: Asha | None = _build(Asha, given, where, "asha")
    if asha is not None:
        _check_number(asha.grace_epochs, 1, f"`grace_epochs` of `{where}`", whole=True)
        _check_number(asha.reduction_factor, 2, f"`reduction_factor` of `{where}`")
    return asha


def _check_number(value: Any, least: float, what: str, whole: bool = False) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, str) and value.strip().isdecimal():
        raise ConfigError(f"{what} is `{value}`, which is text; write it without quotes.")
    if isinstance(value, bool) or not isinstance(value, kinds) or value < least:
        raise ConfigError(f"{what} is `{value}`; it must be a {'whole ' * whole}number of at least {least:g}.")


def _column_labels(given: Any, where: str) -> list[str]:
    """The labels of all columns, those too that a demo leaves out; one that is empty where there are no columns."""
    labels = []
    for raw in _list(given, f"`columns` of `{where}`"):
        _check_keys(raw, _COLUMN_KEYS, f"a column of `{where}`")
        labels.append(_label(raw, f"column of `{where}`"))
    _check_no_repeats(labels, "columns", where)
    return labels or [""]


def _read_columns(given: Any, demo: bool, where: str) -> tuple[Column, ...]:
    """The columns, whose keys and labels have been checked."""
    if not given:
        return (Column(),)
    columns = []
    for raw in given:
        what = f"column `{raw['label']}` of `{where}`"
        if demo and raw.get("demo") == "skip":
            continue
        of_demo = _options(raw.get("demo"), f"`demo` of {what}") if demo else {}
        options = {**_options(raw.get("options"), f"`options` of {what}"), **of_demo}
        columns.append(Column(raw["label"], options, str(of_demo.get("dataset", ""))))
    return tuple(columns)


def _label(raw: dict[str, Any], what: str) -> str:
    label = _text(raw, "label", f"a {what}")
    if not label:
        raise ConfigError(f"A {what} has no label; give each one.")
    return label


def _check_no_repeats(names: list[str], what: str, where: str) -> None:
    if twice := {name for name in names if names.count(name) > 1}:
        raise ConfigError(f"`{where}` has two {what} `{min(twice)}`; give each a label of its own.")


def _read_rows(given: Any, columns: list[str], metrics: tuple[Metric, ...], demo: bool, where: str) -> tuple[Row, ...]:
    if given is None:
        return (Row("", options={}),)
    if not isinstance(given, list) or not given:
        raise ConfigError(f"`rows` of `{where}` must list at least one row.")
    rows = []
    for raw in given:
        _check_keys(raw, _ROW_KEYS, f"a row of `{where}`")
        label = _label(raw, f"row of `{where}`")
        options = _options(raw["options"], f"`options` of row `{label}` of `{where}`") if "options" in raw else None
        of_demo = raw.get("demo") if demo else None
        if of_demo == "skip":
            options = None
        elif of_demo and options is not None:
            options |= _options(of_demo, f"`demo` of row `{label}` of `{where}`")
        published = _read_published(raw.get("published"), columns, metrics, f"row `{label}` of `{where}`")
        rows.append(Row(label, _text(raw, "group", f"row `{label}` of `{where}`"), options, published))
    if not any(row.options is not None for row in rows):
        raise ConfigError(f"The sweep `{where}` has zero trials: no row has options.")
    return tuple(rows)


def _read_controls(given: Any, demo: bool, where: str) -> tuple[Row, ...]:
    """The rows of ``controls``: True for all there are, or a list of blocks of them."""
    if given in (None, False):
        return ()
    blocks = [{}] if given is True else _list(given, f"`controls` of `{where}`")
    return tuple(row for block in blocks for row in _read_control_block(block, demo, where))


def _read_control_block(raw: Any, demo: bool, where: str) -> list[Row]:
    _check_keys(raw, _CONTROL_KEYS, f"a block of `controls` of `{where}`")
    if demo and raw.get("demo") == "skip":
        return []
    models = [str(name) for name in _list(raw.get("models", list(CONTROLS)), f"`models` of `controls` of `{where}`")]
    if not models:
        raise ConfigError(f"`models` of `controls` of `{where}` is empty; name controls, or leave it out for all.")
    if unknown := [name for name in models if name not in CONTROLS]:
        raise ConfigError(
            f"`controls` of `{where}` names `{unknown[0]}`{nearest(unknown[0], CONTROLS)}; known are "
            f"{', '.join(CONTROLS)}."
        )
    options = _options(raw.get("options"), f"`options` of `controls` of `{where}`")
    options |= _options(raw.get("demo"), f"`demo` of `controls` of `{where}`") if demo else {}
    group = _text(raw, "group", f"`controls` of `{where}`") or "Controls"
    return [
        Row(name, group, {**options, "model": name}, of_controls=True, runs_once=CONTROLS.get(name).is_deterministic)
        for name in models
    ]


def _read_published(
    given: Any, columns: list[str], metrics: tuple[Metric, ...], what: str
) -> dict[str, dict[str, float]]:
    """``[...]`` in the order of the metrics, or ``{column: [...]}``; ``~`` where the paper has no number."""
    if given is None:
        return {}
    if isinstance(given, list):
        if columns != [""]:
            raise ConfigError(f"The published numbers of {what} must be given by column: {{label: [...], ...}}.")
        given = {"": given}
    return {
        _known_column(column, columns, what): _by_metric(values, metrics, what)
        for column, values in _options(given, f"`published` of {what}").items()
    }


def _known_column(label: str, columns: list[str], what: str) -> str:
    if label in columns:
        return label
    if columns == [""]:
        raise ConfigError(f"The published numbers of {what} name `{label}`, and there are no columns: write [...].")
    raise ConfigError(
        f"The published numbers of {what} name the column `{label}`{nearest(label, columns)}, which the sweep lacks; "
        f"columns are {', '.join(columns)}."
    )


def _by_metric(values: Any, metrics: tuple[Metric, ...], what: str) -> dict[str, float]:
    """Published numbers by the names of their metrics."""
    are_numbers = all(
        v is None or (isinstance(v, (int, float)) and not isinstance(v, bool)) for v in _list(values, what)
    )
    if not are_numbers:
        raise ConfigError(f"The published numbers of {what} must be numbers, or ~ for none; they are `{values}`.")
    if len(values or ()) > len(metrics):
        raise ConfigError(f"{what} has {len(values)} published numbers for {len(metrics)} metrics.")
    pairs = zip(metrics, values or (), strict=False)
    return {metric.name: float(value) for metric, value in pairs if value is not None}


def _read_seeds(given: Any, where: str) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool):  # one seed, or so many? nobody knows
        raise ConfigError(
            f"`seeds` of `{where}` is `{given}`; list the seeds, as in [{given}] or, for several, [1, 2, 3]."
        )
    are_seeds = isinstance(given, list) and all(
        isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed <= LARGEST_SEED for seed in given
    )
    if not given or not are_seeds or len(set(given)) < len(given):
        raise ConfigError(
            f"`seeds` of `{where}` must list whole numbers from 0 to {LARGEST_SEED}, each once; it is `{given}`."
        )
    return tuple(given)


def _read_search(given: Any, where: str) -> Search:
    if isinstance(given, str):
        given = {"kind": given}
    search: Search = _build(Search, given, where, "search") or Search()
    _check_number(search.seed, 0, f"`seed` of `search` of `{where}`", whole=True)
    if search.kind not in SEARCHES:
        raise ConfigError(f"`search` of `{where}` is `{search.kind}`; choose from {', '.join(SEARCHES)}.")
    if search.kind != "grid" and search == replace(search, n_trials=0):
        raise ConfigError(f"`search` of `{where}` has zero trials; set n_trials.")
    _check_number(search.n_trials, 0 if search.kind == "grid" else 1, f"`n_trials` of `{where}`", whole=True)
    return search


def _read_figure(given: Any, metrics: tuple[Metric, ...], rows: tuple[Row, ...], where: str) -> Figure | None:
    figure: Figure | None = _build(Figure, given, where, "figure")
    if figure is None:
        return None
    if figure.kind not in FIGURES:
        raise ConfigError(f"`figure` of `{where}` is `{figure.kind}`; choose from {', '.join(FIGURES)}.")
    if figure.metric not in [metric.name for metric in metrics]:
        raise ConfigError(f"`figure` of `{where}` shows {figure.metric}, which is not among its metrics.")
    if not figure.line:
        return figure
    if figure.kind == "groups":
        raise ConfigError(f"`figure` of `{where}` draws columns as groups, which have no line of a row.")
    return replace(figure, line=_row_named(figure.line, rows, f"`figure` of `{where}`"))


def _read_compare(given: Any, rows: tuple[Row, ...], where: str) -> tuple[Comparison, ...]:
    found = []
    for raw in [given] if isinstance(given, dict) else _list(given, f"`compare` of `{where}`"):
        comparison: Comparison | None = _build(Comparison, raw, where, "compare")
        of = f"`compare` of `{where}`"
        if comparison is None:
            raise ConfigError(f"{of} lists `{raw}`, which is no comparison; write {{a: row, b: row}}.")
        comparison = replace(comparison, a=_row_named(comparison.a, rows, of), b=_row_named(comparison.b, rows, of))
        if comparison.a == comparison.b:
            raise ConfigError(f"{of} compares the row `{comparison.a}` with itself; name two rows.")
        if comparison.over not in ("seeds", "cases"):
            raise ConfigError(f"{of} is over `{comparison.over}`; choose seeds or cases.")
        found.append(comparison)
    return tuple(found)


def _row_named(name: str, rows: tuple[Row, ...], where: str) -> str:
    """The row of that name, or of that label where one row alone has it."""
    labelled = [row.name for row in rows if row.label == name]
    known = [row.name for row in rows]
    if name in known or len(labelled) == 1:
        return name if name in known else labelled[0]
    if labelled:
        raise ConfigError(f"{where} names `{name}`, which is {' and '.join(labelled)}; name one of them.")
    raise ConfigError(f"{where} names the row `{name}`{nearest(name, known)}, which it lacks.")


def _one_of(given: Any, known: tuple[str, ...], what: str) -> Any:
    if given not in known:
        raise ConfigError(f"{what} is `{given}`; choose from {', '.join(known)}.")
    return given


def _read_needs(given: Any, where: str) -> tuple[Need, ...]:
    needs = [given] if isinstance(given, dict) else _list(given, f"`needs` of `{where}`")
    return tuple(_read_need(need, where) for need in needs)


def _read_need(given: Any, where: str) -> Need:
    _check_keys(given, set(Need.__dataclass_fields__), f"`needs` of `{where}`")
    if missing := sorted({"dataset", "download", "commands"} - set(given)):
        raise ConfigError(f"A need of `{where}` lacks `{missing[0]}`.")
    of = f"a need of `{where}`"
    commands = _list(given["commands"], f"`commands` of {of}")
    stores = _options(given.get("stores"), f"`stores` of {of}")
    dataset, download = (_text(given, key, of) for key in ("dataset", "download"))
    for what, texts in (("dataset", [dataset]), ("commands", commands), ("stores", list(stores.values()))):
        if not all(isinstance(text, str) and text for text in texts):
            raise ConfigError(f"`{what}` of {of} is `{given[what]}`; each must be text.")
    videos = str(given.get("videos", "1"))  # what needs say is kept as text
    if not videos.isdecimal() or not int(videos):
        raise ConfigError(f"`videos` of {of} is `{videos}`; it must be a whole number above 0.")
    n_videos = int(videos) if "videos" in given else None
    return Need(dataset, download, tuple(commands), stores, n_videos)


def _build(kind: type, given: Any, where: str, key: str) -> Any:
    """A dataclass from its keys; None for nothing."""
    if given is None or given is False:
        return None
    given = {} if given is True else given
    known = {one.name: one for one in fields(kind)}
    _check_keys(given, known, f"`{key}` of `{where}`")
    for name in given:
        if known[name].type == "str":
            _text(given, name, f"`{key}` of `{where}`")
    try:
        return kind(**{name: value for name, value in given.items() if value is not None or known[name].type != "str"})
    except TypeError as error:
        raise ConfigError(f"`{key}` of `{where}` is incomplete: {error}.") from error


def _check_keys(given: Any, known: Any, where: str) -> None:
    if not isinstance(given, dict):
        raise ConfigError(f"{where[0].upper()}{where[1:]} must hold `key: value` lines; it is `{given}`.")
    unknown = [key for key in given if key not in known]
    if unknown:
        raise ConfigError(
            f"`{unknown[0]}` is no key of {where}{nearest(unknown[0], known)}; known are {', '.join(sorted(known))}."
        )
