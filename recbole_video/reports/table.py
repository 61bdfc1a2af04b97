"""The table of a sweep: ours as mean and spread over seeds, beside what was published."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import fmean, stdev

from recbole_video.reports.cases import Part, n_in_group
from recbole_video.reports.collect import HAND_MADE, Collection, Record
from recbole_video.reports.comparable import COUNTS, difference
from recbole_video.reports.intervals import Interval
from recbole_video.sweep.folder import FAILED, FINISHED, STOPPED
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import point_labels, seeds_of
from recbole_video.sweep.space import point_key
from recbole_video.sweep.spec import Column, Row

BEST, SECOND = 1, 2


@dataclass(frozen=True)
class Cell:
    """One number of a table.

    Attributes:
        values: Ours, one per seed.
        published: The paper's, if it has one.
        missing: Why there is none of ours, or how many seeds there are, and of how many; empty if all are there.
        rank: BEST, SECOND or 0 among ours.
        is_comparable: Whether the paper's number is of the same data, so that a difference means something.
        interval: 95 % interval over test users, where it is known.
        marks: What it cannot be told from, as signs that the report explains.
        against: Of each mark the row that it is about, with the p-value.
        stars: How surely it differs from all that the sweep compares it with.
    """

    values: tuple[float, ...]
    published: float | None
    missing: str = ""
    rank: int = 0
    is_comparable: bool = True
    interval: Interval | None = None
    marks: str = ""
    against: tuple[str, ...] = ()
    stars: str = ""

    @property
    def mean(self) -> float | None:
        """Mean of the values over seeds; None without any."""
        return fmean(self.values) if self.values else None

    @property
    def spread(self) -> float | None:
        """Standard deviation of the sample of seeds; None below two."""
        return stdev(self.values) if len(self.values) > 1 else None

    @property
    def difference(self) -> float | None:
        """Our mean less the paper's number; None where either is missing, or they are of different data."""
        if self.mean is None or self.published is None or not self.is_comparable:
            return None
        return self.mean - self.published


@dataclass(frozen=True)
class TableRow:
    """A row: heading, label, one cell per column and metric.

    Attributes:
        group: Its heading.
        label: Its name under that.
        cells: One per column and metric.
        records: The finished runs of each cell.
        of_controls: Whether it is of the sweep's ``controls``.
    """

    group: str
    label: str
    cells: tuple[Cell, ...]
    records: tuple[tuple[Record, ...], ...] = ()
    of_controls: bool = False

    @property
    def name(self) -> str:
        """Group and label."""
        return f"{self.group} / {self.label}" if self.group else self.label


@dataclass(frozen=True)
class Table:
    """The finished table.

    Attributes:
        heads: Block and metric of each column.
        rows: From top to bottom.
        not_comparable: What rows that would be ranked together are judged on differently, a sentence each.
    """

    heads: tuple[tuple[Column, Metric], ...]
    rows: tuple[TableRow, ...] = field(default_factory=tuple)
    not_comparable: tuple[str, ...] = ()

    @property
    def has_published(self) -> bool:
        """Whether a paper's numbers stand in it."""
        return any(cell.published is not None for row in self.rows for cell in row.cells)


@dataclass(frozen=True)
class _Seeds:
    """How many seeds of a row there should be, and how that is said; of hand-made runs nobody has planned any."""

    n: int
    text: str = ""

    def missing(self, n: int) -> str:
        return f"{n}{self.text} seed{'s' * (n > 1 or bool(self.text))}" if n < self.n else ""


def make_table(collection: Collection) -> Table:
    """Lay out the runs of a sweep in the order of its rows; points of a search by their validation score."""
    sweep = collection.sweep
    heads = tuple((column, metric) for column in sweep.columns for metric in sweep.metrics)
    rows = []
    most = max(Counter(record.trial.row for record in collection.records).values(), default=0)
    for row in sweep.rows:
        planned = len(seeds_of(sweep, row))
        seeds = _Seeds(most) if sweep.name == HAND_MADE else _Seeds(planned, f" of {planned}")
        records = [record for record in collection.records if record.trial.row == row.name]
        for label, same in _by_point(collection, row, records):
            cells = tuple(
                replace(_cell(row, column, metric, same, seeds), is_comparable=not sweep.is_demo)
                for column, metric in heads
            )
            done = [record for record in same if record.state.kind == FINISHED]
            of_cells = tuple(tuple(r for r in done if r.trial.column == column.label) for column, _ in heads)
            rows.append(TableRow(row.group, label, cells, of_cells, row.of_controls))
    ranked, not_comparable = _ranked(heads, rows, sweep.rank)
    return Table(heads, ranked, not_comparable)


def _by_point(collection: Collection, row: Row, records: list[Record]) -> list[tuple[str, list[Record]]]:
    if not collection.sweep.space:
        return [(row.label, records)]
    points: dict[str, list[Record]] = {}
    for record in records:
        points.setdefault(point_key(record.trial.point), []).append(record)
    labels = point_labels(record.trial.point for record in records)
    ordered = list(points.items())
    if collection.sweep.search.kind != "grid":
        ordered.sort(key=lambda item: _validation(item[1]), reverse=True)
    return [(" · ".join(part for part in (row.label, labels[key]) if part), same) for key, same in ordered]


def _validation(records: list[Record]) -> float:
    """Mean validation score of some runs, turned so that more is better."""
    scores = [
        record.result["best_valid_score"] * (1 if record.result.get("valid_score_bigger", True) else -1)
        for record in records
        if record.result.get("best_valid_score") is not None
    ]
    return fmean(scores) if scores else -float("inf")


def _cell(row: Row, column: Column, metric: Metric, records: list[Record], seeds: _Seeds) -> Cell:
    published = row.published.get(column.label, {}).get(metric.name)
    if row.options is None:
        return Cell((), published, "published only" if published is not None else "")
    here = [record for record in records if record.trial.column == column.label]
    values = [metric.read(record.result) for record in here if record.state.kind == FINISHED]
    known = tuple(value for value in values if value is not None)
    if not known:
        return Cell((), published, _why_missing(metric, here))
    return Cell(known, published, seeds.missing(len(known)))


def _why_missing(metric: Metric, records: list[Record]) -> str:
    finished = [record for record in records if record.state.kind == FINISHED]
    if finished:
        if metric.key == "parameters" and all(record.result.get("parameters") == {} for record in finished):
            return "none"
        if not any(_has_cut_off(metric, record) for record in finished):
            return "not in topk"
        sizes = {n_in_group(metric, record) for record in finished}
        return f"no {_of_group(metric)}" if sizes == {0} else "not reported"
    kinds = {record.state.kind for record in records}
    return next((kind for kind in (FAILED, STOPPED) if kind in kinds), "unfinished" if kinds else "not run")


def _has_cut_off(metric: Metric, record: Record) -> bool:
    """Whether a run was measured at the cut-off of a metric; where its options do not say, it is taken to be."""
    cut_off, chosen = metric.key.rpartition("@")[2], (record.result.get("config") or {}).get("topk")
    return not cut_off.isdigit() or not isinstance(chosen, list) or int(cut_off) in chosen


def _of_group(metric: Metric) -> str:
    """What a group is made of; those of cold and of warm targets by their name."""
    part = Part.of(metric)
    if part is None or part.kind != "cold":
        return "test video of the group" if part is not None and part.kind == "cold_start" else "target of the group"
    return f"{part.group} target"


def _ranked(
    heads: tuple[tuple[Column, Metric], ...], rows: list[TableRow], within: str
) -> tuple[tuple[TableRow, ...], tuple[str, ...]]:
    """Mark the best and the second of ours in each column, within each group or the table; costs are not ranked.

    Nor are rows that are judged on different data; of them it is told what differs.
    """
    cells = [list(row.cells) for row in rows]
    groups = [row.group if within == "group" else "" for row in rows]
    told: dict[str, None] = {}
    for group in dict.fromkeys(groups):
        members = [i for i, own in enumerate(groups) if own == group]
        for j, (_, metric) in enumerate(heads):
            if not metric.is_quality:
                continue
            ours = {i: mean for i in members if (mean := cells[i][j].mean) is not None}
            if unlike := _unlike([rows[i] for i in ours], j):
                told[unlike] = None
                continue
            means = sorted(set(ours.values()), reverse=metric.bigger)
            if len(means) < 2:
                continue
            for i, mean in ours.items():
                if mean in means[:2]:
                    cells[i][j] = replace(cells[i][j], rank=means.index(mean) + 1)
    return tuple(replace(row, cells=tuple(own)) for row, own in zip(rows, cells, strict=True)), tuple(told)


def _unlike(rows: list[TableRow], j: int) -> str | None:
    """What two of some rows are judged on differently in a column, as a sentence; None where all are comparable."""
    for a, b in combinations(rows, 2):
        if (what := difference(a.records[j], b.records[j])) is not None:
            remedy = " The same missing_items in all runs leaves out the same videos." if what in COUNTS else ""
            return (
                f"{a.name or 'run'} and {b.name or 'run'} are judged on different data ({what}): they can be neither "
                f"ranked nor tested against each other.{remedy}"
            )
    return None
