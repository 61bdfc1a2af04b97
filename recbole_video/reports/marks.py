"""Which cells of a table cannot be told from the best control, or from the next worse value of their column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from recbole_video.reports.cases import Cases, Part
from recbole_video.reports.collect import Collection, Record
from recbole_video.reports.comparable import difference
from recbole_video.reports.intervals import interval_of
from recbole_video.reports.significance import Tested, corrected, n_tested, of_column, test_all
from recbole_video.reports.table import Table, TableRow
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.spec import Comparison

CONTROL, NEIGHBOUR, BELOW = "†", "‡", "↓"


@dataclass(frozen=True)
class Judged:
    """A table whose cells have intervals and marks, and the tests behind it.

    Attributes:
        table: The table.
        tests: The comparisons that the sweep asks for, corrected for their number.
        n_tests: How many tests there were behind the marks, which are corrected for that number.
        has_marks: Whether cells were tested, so that one without a mark is told apart, but for those in ``untested``.
        against: Of each mark what it stands for, from the first row to the last.
        untested: Cells that could not be tested against the best control, by row, each with the control's name.
        untestable: Metrics that were tested nowhere, where others were: a single case has no value of them.
    """

    table: Table
    tests: tuple[Tested, ...]
    n_tests: int
    has_marks: bool
    against: tuple[str, ...] = ()
    untested: tuple[str, ...] = ()
    untestable: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rival:
    """A test of a cell, and the mark that it gets if it is not told apart."""

    row: int
    head: int
    mark: str
    other: int
    test: Tested


def judge(collection: Collection, table: Table) -> Judged:
    """Test each cell against the best control and the next worse value of its column; give it its interval.

    The comparisons that the sweep asks for were declared before there were results, and are a family of their own:
    how many marks a table has does not make them weaker, nor they the marks.
    """
    cases = Cases()
    asked = corrected(test_all(collection, cases), collection.sweep.correction)
    rivals = list(_rivals(collection, table, cases))
    tests = corrected([rival.test for rival in rivals], collection.sweep.correction)
    marks: dict[tuple[int, int], dict[str, str]] = {}
    below: set[tuple[int, int]] = set()
    for rival, test in zip(rivals, tests, strict=True):
        if not test.is_told_apart or test.is_better != _is_better(table, rival):
            marks.setdefault((rival.row, rival.head), {})[rival.mark] = _against(table, rival, test)
        elif rival.mark == CONTROL and not test.is_better:
            below.add((rival.row, rival.head))
    stars = stars_by_cell(asked)
    rows = tuple(_with_signs(table, i, marks, below, stars, cases) for i in range(len(table.rows)))
    against = tuple(
        f"{mark} {_shown(table, i)} against {about}"
        for (i, _), own in sorted(marks.items())
        for mark, about in own.items()
    )
    signed = {(i, j) for (i, j), own in marks.items() if CONTROL in own} | below
    untested = tuple(_without_control(table, rivals, signed))
    untestable = _untestable(table, rivals) if rivals else ()
    return Judged(replace(table, rows=rows), tuple(asked), n_tested(tests), bool(rivals), against, untested, untestable)


def _is_better(table: Table, rival: _Rival) -> bool:
    """Whether the table has the row above the other, which a test of the cases that both share need not find."""
    return _quality(table, rival.row, rival.head) > _quality(table, rival.other, rival.head)


def _without_control(table: Table, rivals: list[_Rival], signed: set[tuple[int, int]]) -> Iterator[str]:
    """Rows of models with cells that were not tested against the best control, where the column has controls.

    A cell that has its sign from another control, which is no better, needs no other test.
    """
    tested = {(rival.row, rival.head, rival.other) for rival in rivals if rival.mark == CONTROL}
    columns = {rival.head for rival in rivals}  # the others are of metrics that no case has
    for i, row in enumerate(table.rows):
        lacking: dict[int | None, list[str]] = {}
        for j, (_, metric) in enumerate(table.heads):
            is_judged = j in columns and metric.is_quality and row.cells[j].mean is not None
            if is_judged and not _are_of_a_control(row.records[j]) and _has_control(table, j):
                best = next(iter(_controls(table, i, j)), None)
                if (i, j, best) not in tested and (i, j) not in signed:
                    lacking.setdefault(best, []).append(metric.name)
        for k, names in lacking.items():
            yield f"{_shown(table, i)} ({'no control' if k is None else _shown(table, k)}: {', '.join(names)})"


def _untestable(table: Table, rivals: list[_Rival]) -> tuple[str, ...]:
    """Metrics of quality of which no column was tested, in the table's order."""
    tested = {table.heads[rival.head][1].name for rival in rivals}
    measured = [any(row.cells[j].mean is not None for row in table.rows) for j in range(len(table.heads))]
    names = (
        metric.name
        for (_, metric), is_there in zip(table.heads, measured, strict=True)
        if metric.is_quality and is_there and metric.name not in tested
    )
    return tuple(dict.fromkeys(names))


def _has_control(table: Table, j: int) -> bool:
    return any(row.cells[j].mean is not None and _are_of_a_control(row.records[j]) for row in table.rows)


def _against(table: Table, rival: _Rival, test: Tested) -> str:
    """The row and the column of a test, and the larger of its p-values, for which it tells nothing apart."""
    column, metric = table.heads[rival.head]
    known = [p for p in test.corrected if p is not None]
    about = f"p = {max(known):.2g}" if known else test.why_not
    return f"{_shown(table, rival.other)}, {f'{column.title} {metric.name}'.strip()}: {about}"


def _shown(table: Table, i: int) -> str:
    """A row by its label, with its group where another row has that label."""
    row = table.rows[i]
    is_one = sum(other.label == row.label for other in table.rows) == 1
    return (row.label if is_one else row.name) or "run"


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
    marks: dict[tuple[int, int], dict[str, str]],
    below: set[tuple[int, int]],
    stars: dict[tuple[str, str, str], str],
    cases: Cases,
) -> TableRow:
    row = table.rows[i]
    cells = [
        replace(
            cell,
            interval=interval_of(metric, list(records), cases),
            marks="".join([*marks.get((i, j), {}), *([BELOW] if (i, j) in below else [])]),
            against=tuple(f"{mark} {about}" for mark, about in marks.get((i, j), {}).items()),
            stars=stars.get((row.name, column.label, metric.name), ""),
        )
        for j, (cell, records, (column, metric)) in enumerate(zip(row.cells, row.records, table.heads, strict=True))
    ]
    return replace(row, cells=tuple(cells))


def _rivals(collection: Collection, table: Table, cases: Cases) -> Iterator[_Rival]:
    """Every test of a cell that can be made over test users or videos."""
    for j, (column, metric) in enumerate(table.heads):
        if not metric.is_quality or Part.of(metric) is None:
            continue
        for i, row in enumerate(table.rows):
            if row.cells[j].mean is None or _are_of_a_control(row.records[j]):
                continue
            neighbour = _next_worse(collection, table, i, j)
            others = ((CONTROL, _controls(table, i, j)), (NEIGHBOUR, [] if neighbour is None else [neighbour]))
            for mark, rivals in others:
                tests = ((k, _test(table, (i, k), j, metric, column.label, cases)) for k in rivals)
                if found := next(((k, test) for k, test in tests if test is not None), None):
                    yield _Rival(i, j, mark, *found)


def _test(table: Table, rows: tuple[int, int], j: int, metric: Metric, column: str, cases: Cases) -> Tested | None:
    a, b = (table.rows[row] for row in rows)
    comparison = Comparison(a.name, b.name, "cases")
    found = of_column(comparison, column, metric, list(a.records[j]), list(b.records[j]), cases)
    return found if found is not None and found.difference is not None else None


def _are_of_a_control(records: Iterable[Record]) -> bool:
    """Whether runs are of a control, which says under this name what it fitted."""
    return any("control" in record.result for record in records)


def _controls(table: Table, i: int, j: int) -> list[int]:
    """The rows of controls on the data of a cell, the best first."""
    own = table.rows[i].records[j]
    rows = [
        k
        for k, row in enumerate(table.rows)
        if row.cells[j].mean is not None
        and _are_of_a_control(row.records[j])
        and difference(own, row.records[j]) is None
    ]
    return sorted(rows, key=lambda k: -_quality(table, k, j))


def _next_worse(collection: Collection, table: Table, i: int, j: int) -> int | None:
    """The row of the next worse value in the column, of the rows that a cell is ranked with, controls left out."""
    within = collection.sweep.rank == "group"
    own = table.rows[i]
    rows = [
        k
        for k, row in enumerate(table.rows)
        if k != i
        and (row.group == own.group or not within)
        and row.cells[j].mean is not None
        and not _are_of_a_control(row.records[j])
        and difference(own.records[j], row.records[j]) is None
        and (_quality(table, k, j), -k) < (_quality(table, i, j), -i)
    ]
    return max(rows, key=lambda k: (_quality(table, k, j), -k), default=None)


def _quality(table: Table, i: int, j: int) -> float:
    mean, metric = table.rows[i].cells[j].mean, table.heads[j][1]
    return float("-inf") if mean is None else mean if metric.bigger else -mean
