"""The table of a report for a terminal."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from textwrap import wrap

from recbole_video.reports.content import Section
from recbole_video.reports.markdown import cell_texts, head_text, one_line

_NOT_A_TERMINAL = (100, 24)
_MOST_LINES = 12  # on what marks are about; the report has all
_MOST_TESTS = 30  # of comparisons, likewise
_LABEL_SHARE = 0.4  # of the width, at most, where the table is wider than the terminal
_NARROWEST_LABEL = 16


def console_table(section: Section, width: int | None = None) -> str:
    """Aligned columns; ours with the paper's in brackets where there is room, folded where ours alone are too wide.

    Labels then take a part of the width alone and go on in lines of their own. The paper's numbers are left out where
    ours are of other data.

    Args:
        section: What is shown.
        width: In characters; by default that of the terminal, 100 where there is none.
    """
    width = width or shutil.get_terminal_size(_NOT_A_TERMINAL).columns
    full = _cells(section, with_published=False)
    beside = _cells(section, with_published=True)
    if beside != full and sum(_widths(beside)) - 2 <= width:
        return f"{_aligned(beside)}\n\nIn brackets the published number."
    if sum(_widths(full)) - 2 > width:
        full = _with_folded_labels(full, max(_NARROWEST_LABEL, int(_LABEL_SHARE * width)))
    return "\n\n".join(_aligned([[row[0], *(row[j] for j in part)] for row in full]) for part in _parts(full, width))


def note_lines(section: Section) -> list[str]:
    """What a reader of the table has to know: the comparisons that were asked for, what marks are about, and the rest.

    The comparisons are one paragraph, and so are the marks.
    """
    shown = [one_line(line) for line in section.against[:_MOST_LINES]]
    more = len(section.against) - len(shown)
    head = (
        "Cannot be told apart († best control, ‡ next worse value of the column; p corrected, the larger of two tests):"
    )
    lines = [head, *shown]
    against = ["\n".join([*lines, *([f"… and {more:,} more in the report"] if more else [])])] if shown else []
    return [*_test_paragraph(section), *against, *map(one_line, section.notes)]


def _test_paragraph(section: Section) -> list[str]:
    """The comparisons that the sweep asks for, a line each below what their numbers are; empty without any."""
    lines = [one_line(line) for line in section.short_test_lines]
    if not lines:
        return []
    more = [f"… and {len(lines) - _MOST_TESTS:,} more in the report"] if len(lines) > _MOST_TESTS else []
    head = f"Mean differences, in brackets 95 % intervals (uncorrected), p of the paired t-test {section.correction}:"
    return ["\n".join([head, *lines[:_MOST_TESTS], *more])]


def _cells(section: Section, with_published: bool) -> list[list[str]]:
    """Heads and rows; a row by its label where all are of one group."""
    table = section.table
    has_groups = len({row.group for row in table.rows}) > 1
    rows = [["", *(one_line(head_text(column.title, metric)) for column, metric in table.heads)]]
    for row in table.rows:
        cells = [one_line(row.name if has_groups else row.label) or "run"]
        for cell, (_, metric) in zip(row.cells, table.heads, strict=True):
            ours, theirs = cell_texts(cell, metric)
            is_beside = with_published and theirs and cell.is_comparable
            cells.append(f"{ours} ({theirs})" if is_beside else ours)
        rows.append(cells)
    return rows


def _with_folded_labels(rows: Sequence[Sequence[str]], width: int) -> list[list[str]]:
    """The same rows with labels of so many characters at most: the rest of one stands below, beside empty cells."""
    found = []
    for label, *cells in rows:
        first, *others = wrap(label, width, subsequent_indent="  ") or [""]
        found += [[first, *cells], *([line, *[""] * len(cells)] for line in others)]
    return found


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    """Of each column, with the space behind it."""
    return [max(map(len, column)) + 2 for column in zip(*rows, strict=True)]


def _parts(rows: Sequence[Sequence[str]], width: int) -> list[list[int]]:
    """Columns that stand beside each other: as many as there is room for behind the labels, one at least."""
    first, *others = _widths(rows)
    parts: list[list[int]] = [[]]
    taken = first - 2
    for j, own in enumerate(others, 1):
        if parts[-1] and taken + own > width:
            parts.append([])
            taken = first - 2
        parts[-1].append(j)
        taken += own
    return parts


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [width - 2 for width in _widths(rows)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *(line.rstrip() for line in lines[1:])])
