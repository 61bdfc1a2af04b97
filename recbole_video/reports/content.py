"""What a report says, before it is written as Markdown, HTML, CSV or LaTeX."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import count, islice

from recbole_video.errors import counted
from recbole_video.reports.cases import Part, n_in_group
from recbole_video.reports.collect import HAND_MADE, Collection, Record
from recbole_video.reports.figures import Picture, draw_all
from recbole_video.reports.intervals import n_targets
from recbole_video.reports.marks import BELOW, CONTROL, NEIGHBOUR, Judged, judge
from recbole_video.reports.rows import other_options, same_results
from recbole_video.reports.significance import ALPHA, CORRECTION_NAMES, ENOUGH_SEEDS, Tested, n_tested
from recbole_video.reports.table import Cell, Table, make_table
from recbole_video.results.targets import was_best_last
from recbole_video.sweep.folder import FAILED, FINISHED
from recbole_video.sweep.metrics import Metric

_SMALL_P = 1e-4
_REAL_AND_BUNDLED = frozenset(["ml-100k"])
_SHOWN_REPEATS = 5


@dataclass(frozen=True)
class Section:
    """One sweep of a report."""

    name: str
    title: str
    source: str
    warnings: tuple[str, ...]
    table: Table
    legend: str
    pictures: tuple[Picture, ...]
    prefix: str
    tests: tuple[Tested, ...]
    correction: str
    against: tuple[str, ...]
    notes: tuple[str, ...]
    interval_heads: list[str]
    interval_rows: list[list[str]]
    trial_heads: list[str]
    trial_rows: list[list[str]]
    data_lines: tuple[tuple[str, str], ...]
    command: str

    @property
    def test_lines(self) -> list[str]:
        """Each comparison as a sentence."""
        return [_test_line(tested, self.correction) for tested in self.tests]

    @property
    def short_test_lines(self) -> list[str]:
        """Each comparison in a few words, for a console."""
        return [_short_test_line(tested) for tested in self.tests]


@dataclass(frozen=True)
class Content:
    """A report.

    Attributes:
        title: Title of the page.
        sections: One per sweep.
        made_by: Name and value: versions, machine, commit.
    """

    title: str
    sections: tuple[Section, ...]
    made_by: tuple[tuple[str, str], ...]


def make_content(collections: list[Collection], correction: str | None = None) -> Content:
    """Tables, figures, tests and provenance of some sweeps; ``correction`` in the place of what the sweeps say."""
    if correction is not None:
        collections = [replace(one, sweep=replace(one.sweep, correction=correction)) for one in collections]
    several = len(collections) > 1
    sections = tuple(
        _section(collection, name, several) for collection, name in zip(collections, _names(collections), strict=True)
    )
    title = "Report" if several else sections[0].title
    return Content(title, sections, _made_by(collections))


def _names(collections: list[Collection]) -> list[str]:
    """Of each sweep; numbered where several of one name ran differently."""
    bases = [one.sweep.name + ("-demo" if one.sweep.is_demo else "") for one in collections]
    names: list[str] = []
    for base in bases:
        numbered = (f"{base}-{n}" for n in count(2))
        taken = {*names, *bases} if base in names else set()
        names.append(next(name for name in (base, *islice(numbered, len(bases))) if name not in taken))
    return names


def _section(collection: Collection, name: str, several: bool) -> Section:
    sweep = collection.sweep
    judged = judge(collection, make_table(collection))
    table = judged.table
    heads, rows = _intervals(table)
    of_data, of_tests, of_epochs = table.not_comparable, _untested(collection, judged), _still_rising(table)
    of_rows = [*same_results(table), *other_options(collection)]
    is_second = name != sweep.name + ("-demo" if sweep.is_demo else "")
    return Section(
        name=name,
        title=sweep.title + (f" ({collection.folders[0]})" if is_second else ""),
        source=sweep.source,
        warnings=(*_warnings(collection), *_repeats(collection), *of_data, *of_epochs),
        table=table,
        legend=" ".join(
            [
                *_legend(collection, table),
                *_hits(collection, table),
                *_group_sizes(table),
                *_marks(collection, judged),
                *of_tests,
                *_stars(judged),
                *of_rows,
            ]
        ),
        pictures=tuple(draw_all(collection, table)),
        prefix=f"{name}-" if several else "",
        tests=judged.tests,
        correction=_correction(collection, n_tested(judged.tests), "that the sweep asks for"),
        against=judged.against,
        notes=(*_repeats(collection), *of_data, *of_tests, *_stars(judged), *of_rows, *of_epochs),
        interval_heads=heads,
        interval_rows=rows,
        trial_heads=["trial", "seed", "state", "validation", "epochs", "seconds", "GB"],
        trial_rows=[_trial_row(record) for record in collection.records],
        data_lines=tuple(_data_lines(collection.records)),
        command=collection.command,
    )


def _warnings(collection: Collection) -> list[str]:
    sweep = collection.sweep
    found = []
    if sweep.is_demo:
        used = {str(record.trial.options.get("dataset")) for record in collection.records}
        data, kind = ", ".join(sorted(used)) or "none", "" if used & _REAL_AND_BUNDLED else "synthetic "
        found.append(
            f"Demo: small runs on bundled {kind}data ({data}), whatever rows and columns are called. It shows that "
            "the sweep works; its numbers cannot be compared with the published ones."
        )
    if sweep.note:
        found.append(sweep.note)
    finished = sum(record.state.kind == FINISHED for record in collection.records)
    if finished < collection.planned:
        found.append(f"{finished} of {collection.planned} trials have finished; a cell that is missing says why.")
    found += [
        f"Failed: {record.trial.label}, seed {record.trial.seed}: {record.state.detail}"
        for record in collection.records
        if record.state.kind == FAILED
    ]
    commits = {record.result["made_by"].get("commit") for record in collection.records if record.result.get("made_by")}
    if len(commits) > 1:
        found.append("The trials were made by different commits of recbole_video.")
    return found


def _repeats(collection: Collection) -> list[str]:
    n = len(collection.repeats)
    if not n:
        return []
    folders = ", ".join(sorted({folder.name for folder in collection.repeats})[:_SHOWN_REPEATS])
    return [
        f"{n} {'run repeats' if n == 1 else 'runs repeat'} the options and the seed of another and "
        f"{'is' if n == 1 else 'are'} left out ({folders}{', …' * (n > _SHOWN_REPEATS)}): a repeat of a seed is "
        "no further seed."
    ]


def _legend(collection: Collection, table: Table) -> list[str]:
    parts = []
    counts = {len(cell.values) for row in table.rows for cell in row.cells if cell.values}
    if counts and max(counts) > 1:
        parts.append(
            f"Mean ± standard deviation over {max(counts)} seeds{', or as many as a cell says' * (len(counts) > 1)}."
        )
    elif counts:
        parts.append("One seed.")
    is_by_group = collection.sweep.rank == "group" and len({row.group for row in table.rows}) > 1
    parts.append(f"Best{' of each group' * is_by_group} bold, second underlined.")
    if table.has_published:
        told = "of the paper's own data." if collection.sweep.is_demo else "and how far ours is from it."
        parts.append(f"In brackets the published number {told}")
    if any(metric.factor == 100.0 for _, metric in table.heads):
        parts.append("Ranking metrics × 100.")
    encoders = any("item_encoder" in (r.result.get("parameters") or {}) for r in collection.records)
    if encoders and any(metric.key == "parameters" for _, metric in table.heads):
        parts.append("Parameters are those of the item encoder.")
    costs = {metric.name for _, metric in table.heads}
    if "seconds" in costs:
        parts.append("Seconds are of a whole run on this machine, other trials beside it.")
    if "GB" in costs:
        parts.append("GB is the most memory that a run held.")
    return parts


def _hits(collection: Collection, table: Table) -> list[str]:
    """What one hit is worth in points, for each data set that was tested on."""
    if not any(metric.key.startswith("test_result/hit@") for _, metric in table.heads):
        return []
    tested = {
        (
            str(record.result["data"].get("dataset")),
            n,
            "users" if record.result["data"].get("test_users") == n else "targets",
        ): None
        for record in collection.records
        if record.result and (n := n_targets(record)) is not None
    }
    named = [f"{100 / n:.2g} points{f' on {name}' * (len(tested) > 1)} ({n:,} test {what})" for name, n, what in tested]
    return [f"One hit is worth {', '.join(named)}."] if named else []


def _group_sizes(table: Table) -> list[str]:
    """Targets of each group that has a column, and what one hit is worth there."""
    found: dict[tuple[str, str, int], None] = {}
    for j, (_, metric) in enumerate(table.heads):
        part = Part.of(metric)
        if part is None or not part.kind or not part.metric.startswith("hit@"):
            continue
        group = part.group if part.kind == "cold" else f"{part.kind} {part.group}"
        for record in (record for row in table.rows if row.records for record in row.records[j]):
            if n := n_in_group(metric, record):
                found[str(record.result["data"].get("dataset")), group, n] = None
    several = len({dataset for dataset, _, _ in found}) > 1
    shown = [
        f"{group}{f' on {dataset}' * several}: {n:,} target{'s' * (n > 1)}, one hit is {100 / n:.2g} points"
        for dataset, group, n in found
    ]
    return [f"Of groups: {'; '.join(shown)}."] if shown else []


def _marks(collection: Collection, judged: Judged) -> list[str]:
    """What the marks mean, and by which tests they are given."""
    if not judged.has_marks:
        return []
    is_below = any(BELOW in cell.marks for row in judged.table.rows for cell in row.cells)
    return [
        f"{CONTROL} cannot be told from the best control on its data, {NEIGHBOUR} not from the next worse value of the "
        "column among the rows it is ranked with, controls left out; which row that is stands under Not told apart. "
        "Student's paired t-test or Wilcoxon's signed-rank test over test cases, each the mean over the row's seeds, "
        f"gives p ≥ {ALPHA:g} {_correction(collection, judged.n_tests, 'behind these marks')}: p is the larger of both."
        + f" {BELOW} is below the best control, by the same tests."
        * is_below
    ]


def _untested(collection: Collection, judged: Judged) -> list[str]:
    """Where a missing mark says nothing."""
    if not judged.has_marks:
        return _why_no_marks(collection, judged.table)
    lines = []
    if judged.untested:
        lines.append(
            "Not tested against the best control, as none is judged on the same data or a run keeps no values per case "
            f"(save_per_user=True keeps them): {'; '.join(judged.untested)}."
        )
    if judged.untestable:
        lines.append(f"Not tested, as the tables of cases have no values of them: {', '.join(judged.untestable)}.")
    return lines


def _why_no_marks(collection: Collection, table: Table) -> list[str]:
    """Why no row of several that were measured on users was tested against another."""
    finished = [record for record in collection.records if record.result]
    measured = [
        row
        for row in table.rows
        if any(
            cell.mean is not None and metric.is_quality
            for cell, (_, metric) in zip(row.cells, table.heads, strict=True)
        )
    ]
    if len(measured) < 2 or all(n_targets(record) is None for record in finished):
        return []
    if all((record.folder / "per_user.tsv").is_file() for record in finished):
        return ["No row was tested against another: the tables of cases have no values of these metrics."]
    return ["No row was tested against another: that needs save_per_user=True in both."]


def _stars(judged: Judged) -> list[str]:
    """What stars mean, and of which comparisons they are, where a cell has some."""
    if not any(cell.stars for row in judged.table.rows for cell in row.cells):
        return []
    won = dict.fromkeys(f"{test.a} against {test.b}" for test in judged.tests if test.stars)
    return [
        "* p < 0.05, ** p < 0.01, *** p < 0.001, corrected, of the paired t-test in each comparison under "
        f"Significance that the row is the first of, and in each the better one: {', '.join(won)}."
    ]


def _still_rising(table: Table) -> list[str]:
    """Rows of which a run was best in the last epoch that it was allowed: their order may be one of patience."""
    found = {
        row.name: None for row in table.rows for records in row.records if any(was_best_last(r.result) for r in records)
    }
    trained = {
        row.name for row in table.rows for records in row.records if any(r.result.get("history") for r in records)
    }
    if not found:
        return []
    return [
        f"In {len(found)} of {counted(len(trained), 'row')} trained by epochs the last epoch was the best of a run: "
        f"more epochs may change the numbers and their order ({', '.join(name or 'run' for name in found)})."
    ]


def _correction(collection: Collection, n: int, which: str) -> str:
    """The correction of a family of tests, by its name, with their number."""
    return f"after {CORRECTION_NAMES[collection.sweep.correction]} over {counted(n, 'test')} {which}"


def _intervals(table: Table) -> tuple[list[str], list[list[str]]]:
    """Heads and rows of the table of intervals: of those cells that have one."""
    shown = [j for j in range(len(table.heads)) if any(row.cells[j].interval for row in table.rows)]
    heads = ["", *(f"{table.heads[j][0].title} {table.heads[j][1].name}".strip() for j in shown)]
    rows = [
        [row.name or "run", *(_interval(row.cells[j], table.heads[j][1]) for j in shown)]
        for row in table.rows
        if any(row.cells[j].interval for j in shown)
    ]
    return heads, rows


def _interval(cell: Cell, metric: Metric) -> str:
    if cell.interval is None:
        return "–"
    low, high = (metric.write(end) for end in (cell.interval.low, cell.interval.high))
    return f"{low} to {high}{'' if cell.interval.is_exact else ' b'}"


def _trial_row(record: Record) -> list[str]:
    result = record.result
    history = result.get("history") or []
    score = result.get("best_valid_score") if result else record.state.score
    detail = f": {record.state.detail}" if record.state.detail and record.state.kind != FAILED else ""
    return [
        record.trial.label,
        str(record.trial.seed),
        record.state.kind + detail,
        "–" if score is None else f"{score:.5f}",
        str(len(history)) if history else "–",
        f"{result['seconds']:.1f}" if result.get("seconds") is not None else "–",
        f"{result['peak_memory_mb'] / 1024:.2f}" if result.get("peak_memory_mb") is not None else "–",
    ]


def _data_lines(records: tuple[Record, ...]) -> list[tuple[str, str]]:
    """Each data set and feature store once, by its name, with its checksum."""
    lines: dict[tuple[str, str], None] = {}
    for record in records:
        data = record.result.get("data") or {}
        name = str(data.get("dataset"))
        if "inter_sha256" in data:
            lines[name, f".inter SHA-256 {data['inter_sha256']}, protocol {data.get('protocol')}"] = None
        inputs = data.get("inputs") or {}
        if isinstance(label := data.get("label"), dict):
            lines[name, f"label {label.get('name')}, SHA-256 {label.get('sha256')}"] = None
        for store in (data.get("frames"), inputs.get("frames"), inputs.get("text")):
            if isinstance(store, dict):
                about = f"{store.get('vfm')}, {store.get('sampling')}, SHA-256 {store.get('sha256')}"
                lines[str(store.get("file")), about] = None
    return list(lines) or [("none", "no run has finished")]


def _made_by(collections: list[Collection]) -> tuple[tuple[str, str], ...]:
    found: dict[str, dict[str, None]] = {}
    for collection in collections:
        for record in collection.records:
            for name, value in (record.result.get("made_by") or {}).items():
                found.setdefault(name, {})[str(value)] = None
        seeds = ", ".join(str(seed) for seed in sorted({record.trial.seed for record in collection.records}))
        name = "seeds" if len(collections) == 1 else f"seeds of {collection.sweep.name}"
        if collection.sweep.name != HAND_MADE or seeds:
            found.setdefault(name, {})[seeds] = None
    return tuple((name.replace("_", " "), "; ".join(values)) for name, values in found.items())


SIGNIFICANCE_NOTE = (
    "Intervals are of one comparison each, not corrected for their number; p-values are, as each line says."
)
INTERVALS_NOTE = (
    "95 % intervals over test users, of popularity over test videos: Clopper's and Pearson's for the hits of one run, "
    "exact; b: percentiles of a seeded bootstrap, each user or video the mean over seeds."
)


def _test_line(tested: Tested, correction: str) -> str:
    where = f" on {tested.column}" if tested.column else ""
    head = f"{tested.a} against {tested.b}{where}, {tested.metric}"
    if tested.p is None:
        return f"{head}: not tested ({tested.why_not})."
    of_t, of_w = tested.corrected
    other = "" if tested.wilcoxon is None else f"; Wilcoxon's signed-rank test, {_p(tested.wilcoxon, of_w)}"
    few = "" if tested.few_seeds is None else f" Only {tested.few_seeds} seeds: {ENOUGH_SEEDS} or more tell more."
    return f"{head}: {_difference(tested)}, {tested.test}, {_p(tested.p, of_t)}{other} ({correction}).{few}"


def _short_test_line(tested: Tested) -> str:
    """A comparison without the names of its tests: over what, the difference, its interval, the corrected p."""
    where = f" on {tested.column}" if tested.column else ""
    head = f"{tested.a} against {tested.b}{where}, {tested.metric}"
    pairs = tested.test.removeprefix("paired t-test").partition(", ")[0]  # such as: over 3 seeds
    if tested.p is None or tested.difference is None:
        return f"{head}: not tested ({tested.why_not})"
    p = tested.p if tested.corrected[0] is None else tested.corrected[0]
    ends = "" if tested.interval is None else " ({:+.4f} to {:+.4f})".format(*tested.interval)
    return f"{head}{pairs}: {tested.difference:+.4f}{ends}".replace("-", "−") + f", {_p(p, None)}{tested.stars}"


def _difference(tested: Tested) -> str:
    """Mean difference, in brackets its interval and its share of the row that is compared with."""
    about = []
    if tested.interval is not None:
        low, high = (f"{end:+.4f}" for end in tested.interval)
        about.append(f"95 % {low} to {high}")
    if tested.relative is not None:
        about.append(f"{tested.relative:+.1%}".replace("%", " %"))
    text = f"{tested.difference:+.4f}" + (f" ({'; '.join(about)})" if about else "")
    return text.replace("-", "−")  # as in the table


def _p(p: float, corrected: float | None) -> str:
    """A p-value as it is and, in an arrow's place, corrected."""
    words = [
        f"< {_SMALL_P:g}" if value < _SMALL_P else f"= {value:.4f}" for value in (p, corrected) if value is not None
    ]
    return f"p {', corrected '.join(words)}"
