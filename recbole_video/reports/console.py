"""The table of a report for a terminal."""

from __future__ import annotations

from recbole_video.reports.content import Section
from recbole_video.reports.markdown import cell_texts, head_text, one_line

_WIDE = 150  # characters; a wider table leaves out the published numbers


def console_table(section: Section) -> str:
    """Aligned columns; ours with the paper's in brackets where there is room."""
    full = _table(section, with_published=True)
    return full if max(map(len, full.splitlines())) <= _WIDE else _table(section, with_published=False)


def _table(section: Section, with_published: bool) -> str:
    table = section.table
    rows = [["", *(one_line(head_text(column.title, metric)) for column, metric in table.heads)]]
    for row in table.rows:
        cells = [one_line(row.name) or "run"]
        for cell, (_, metric) in zip(row.cells, table.heads, strict=True):
            ours, theirs = cell_texts(cell, metric)
            cells.append(f"{ours} ({theirs})" if theirs and with_published else ours)
        rows.append(cells)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])
