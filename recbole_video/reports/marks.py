"""Which cells of a table cannot be told from the best control, or from the next row below."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from recbole_video.reports.cases import Cases
from recbole_video.reports.collect import Collection, Record
from recbole_video.reports.intervals import interval_of
from recbole_video.reports.significance import Tested, corrected, over_cases, test_all
from recbole_video.reports.table import Table, TableRow
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.spec import Comparison

CONTROL, NEIGHBOUR = "†", "‡"


@dataclass(frozen=True)
class Judged:
    """A table whose cells have intervals and marks, and the tests behind it.

    Attributes:
        table: The table.
        tests: The comparisons that the sweep asks for, corrected for all tests of the table.
        n_tests: How many tests there were.
        has_marks: Whether cells were tested, so that one without a mark is told apart.
    """

    table: Table
    tests: tuple[Tested, ...]
    n_tests: int
    has_marks: bool


@dataclass(frozen=True)
class _Rival:
    """A test of a cell, and the mark that it gets if it is not told apart."""

    row: int
    head: int
    mark: str
    test: Tested


def judge(collection: Collection, table: Table) -> Judged:
    """Test each cell against the best control of its data and against the row below it, and give it its interval."""
    cases = Cases()
    asked = test_all(collection, cases)
    rivals = list(_rivals(collection, table, cases))
    tests = corrected([*asked, *(rival.test for rival in rivals)], collection.sweep.correction)
    marks: dict[tuple[int, int], str] = {}
    for rival, test in zip(rivals, tests[len(asked) :], strict=True):
        if not test.is_told_apart:
            place = (rival.row, rival.head)
            marks[place] = marks.get(place, "") + rival.mark
    stars = stars_by_cell(tests[: len(asked)])
    rows = tuple(_with_signs(table, i, marks, stars, cases) for i in range(len(table.rows)))
    n_tests = sum(test.p is not None for test in tests)
    return Judged(replace(table, rows=rows), tuple(tests[: len(asked)]), n_tests, bool(rivals))


def stars_by_cell(tests: list[Tested]) -> dict[tuple[str, str, str], str]:
    """By row, column and metric, the fewest stars that the row has in a comparison of the sweep."""
    found: dict[tuple[str, str, str], str] = {}
    for test in tests:
        place = (test.a, test.column, test.metric)
        found[place] = min(found.get(place, test.stars), test.stars, key=len)
    return found


def _with_signs(
    table: Table,
    i: int,
    marks: dict[tuple[int, int], str],
    stars: dict[tuple[str, str, str], str],
    cases: Cases,
) -> TableRow:
    row = table.rows[i]
    cells = [
        replace(
            cell,
            interval=interval_of(metric, list(records), cases),
            marks=marks.get((i, j), ""),
            stars=stars.get((row.name, column.label, metric.name), ""),
        )
        for j, (cell, records, (column, metric)) in enumerate(zip(row.cells, row.records, table.heads, strict=True))
    ]
    return replace(row, cells=tuple(cells))


def _rivals(collection: Collection, table: Table, cases: Cases) -> Iterator[_Rival]:
    """Every test of a cell that can be made over test users or videos."""
    for j, (column, metric) in enumerate(table.heads):
        if not metric.is_quality or not metric.key.startswith("test_result/"):
            continue
        for i, row in enumerate(table.rows):
            if row.cells[j].mean is None or _are_of_a_control(row.records[j]):
                continue
            others = ((CONTROL, _best_control(table, i, j)), (NEIGHBOUR, _next_below(collection, table, i, j)))
            for mark, other in others:
                if other is not None and (test := _test(table, (i, other), j, metric, column.label, cases)):
                    yield _Rival(i, j, mark, test)


def _test(table: Table, rows: tuple[int, int], j: int, metric: Metric, column: str, cases: Cases) -> Tested | None:
    a, b = (table.rows[row] for row in rows)
    comparison = Comparison(a.name, b.name, "cases")
    found = over_cases(comparison, column, [metric], list(a.records[j]), list(b.records[j]), cases)
    usable = [test for test in found if test.p is not None or test.difference is not None]
    return usable[0] if usable else None


def _are_of_a_control(records: Iterable[Record]) -> bool:
    """Whether runs are of a control: a model that is fitted in one go says what it fitted."""
    return any("control" in record.result for record in records)


def _best_control(table: Table, i: int, j: int) -> int | None:
    """The best row among the controls on the data of a cell."""
    data = _data_of(table.rows[i].records[j])
    rows = [
        k for k, row in enumerate(table.rows) if _are_of_a_control(row.records[j]) and _data_of(row.records[j]) == data
    ]
    return max(rows, key=lambda k: _quality(table, k, j), default=None)


def _next_below(collection: Collection, table: Table, i: int, j: int) -> int | None:
    """The next worse row of the rows that a cell is ranked with, controls left out."""
    within = collection.sweep.rank == "group"
    own, data = table.rows[i], _data_of(table.rows[i].records[j])
    rows = [
        k
        for k, row in enumerate(table.rows)
        if k != i
        and (row.group == own.group or not within)
        and row.cells[j].mean is not None
        and not _are_of_a_control(row.records[j])
        and _data_of(row.records[j]) == data
        and (_quality(table, k, j), -k) < (_quality(table, i, j), -i)
    ]
    return max(rows, key=lambda k: (_quality(table, k, j), -k), default=None)


def _quality(table: Table, i: int, j: int) -> float:
    mean, metric = table.rows[i].cells[j].mean, table.heads[j][1]
    return float("-inf") if mean is None else mean if metric.bigger else -mean


def _data_of(records: Iterable[Record]) -> tuple[str, ...]:
    """What tells the test users or videos of runs from those of others."""
    for record in records:
        data = record.result.get("data") or {}
        label = data.get("label")
        sums = (data.get("dataset"), data.get("protocol"), data.get("inter_sha256"), data.get("test_users"))
        return tuple(map(str, [*sums, label.get("sha256") if isinstance(label, dict) else None]))
    return ()
