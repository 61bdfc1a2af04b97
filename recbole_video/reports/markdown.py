"""The report as Markdown, and the table as CSV and LaTeX."""

from __future__ import annotations

import csv
import io
import re
from typing import Any

from recbole_video.files.cells import spreadsheet_safe
from recbole_video.reports.content import INTERVALS_NOTE, SIGNIFICANCE_NOTE, Content, Section
from recbole_video.reports.table import BEST, SECOND, Cell, Table
from recbole_video.sweep.metrics import Metric

# What Markdown, and the HTML in it, would act on; between letters an underscore is only that.
_MARKS = re.compile(r"[\\`*<>\[\]~]|(?<!\w)_|_(?!\w)|&(?=[#\w]+;)")
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}
_FIRST_MARKS = re.compile(r"^(?:#{1,6}|[+=-]|\d+[.)])(?=\s|[-=]|$)")  # of a heading, a list, a rule


CSV_HEAD = ("sweep", "group", "row", "column", "metric", "ours", "std", "seeds", "published", "difference", "missing")
_CSV_MORE = ("low", "high", "marks", "stars")  # behind what every report has had
LATEX_HEAD = "% needs \\usepackage{booktabs}\n\\begin{table}\n"
AGAINST_HEAD = "### Not told apart"
TRIALS_HEAD, LAST_HEAD = "### Trials", "## How this was made"


def to_markdown(content: Content) -> str:
    """The whole report; what labels and notes say is shown, and not taken for Markdown or HTML."""
    parts = [f"# {plain_text(content.title)}", ""]
    for section in content.sections:
        parts += [f"## {plain_text(section.title)}", ""] if len(content.sections) > 1 else []
        parts += _section(section)
    made_by = [f"- {name}: {plain_text(value)}" for name, value in content.made_by]
    parts += [LAST_HEAD, "", *made_by, ""]
    return "\n".join(parts)


def plain_text(text: str) -> str:
    """Text for a line of Markdown that is shown as it is."""
    line = _MARKS.sub(lambda mark: _ENTITIES.get(mark.group(), f"\\{mark.group()}"), one_line(text))
    return _FIRST_MARKS.sub(lambda mark: f"{mark.group()[:-1]}\\{mark.group()[-1]}", line)


def one_line(text: str) -> str:
    """Text in one line, with what cannot be seen, or acts on a terminal, as a question mark."""
    return "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))


def _section(section: Section) -> list[str]:
    parts: list[str] = []
    if section.source:
        parts += [f"Published numbers: {plain_text(section.source)}.", ""]
    parts += [f"> {plain_text(warning)}\n" for warning in section.warnings]
    parts += [_table(section.table), "", plain_text(section.legend), ""]
    for picture in section.pictures:
        caption = plain_text(picture.caption)
        parts += [f"![{caption}]({section.prefix}{picture.name}.png)", "", f"*{caption}*", ""]
    if section.against:
        parts += [AGAINST_HEAD, "", *[f"- {plain_text(line)}" for line in section.against], ""]
    if section.interval_rows:
        shown = [[plain_text(cell) for cell in row] for row in section.interval_rows]
        heads = [plain_text(head) for head in section.interval_heads]
        parts += ["### Intervals", "", INTERVALS_NOTE, "", _plain_table(heads, shown), ""]
    if section.tests:
        parts += [
            "### Significance",
            "",
            SIGNIFICANCE_NOTE,
            "",
            *[f"- {plain_text(line)}" for line in section.test_lines],
            "",
        ]
    trials = [[plain_text(cell) for cell in row] for row in section.trial_rows]
    parts += [TRIALS_HEAD, "", _plain_table(section.trial_heads, trials), ""]
    parts += ["### Data", "", *[f"- {plain_text(name)}: {plain_text(about)}" for name, about in section.data_lines], ""]
    if section.command:
        parts += ["To run it again:", "", *_code(section.command), ""]
    return parts


def _code(command: str) -> list[str]:
    """A block of code that the command cannot end."""
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", command)), 3)
    return [f"{fence}bash", " ".join(command.splitlines()), fence]


def _table(table: Table) -> str:
    has_groups = any(row.group for row in table.rows)
    heads = [*([""] if has_groups else []), ""]
    heads += [plain_text(head_text(column.title, metric)) for column, metric in table.heads]
    lines = []
    last = None
    for row in table.rows:
        cells = [markdown_cell(cell, metric) for cell, (_, metric) in zip(row.cells, table.heads, strict=True)]
        group = [plain_text(row.group) if row.group != last else ""] if has_groups else []
        last = row.group
        lines.append([*group, plain_text(row.label), *cells])
    return _plain_table(heads, lines)


def _plain_table(heads: list[str], rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in [heads, *rows]]
    return "\n".join([lines[0], "|" + "---|" * len(heads), *lines[1:]])


def head_text(block: str, metric: Metric) -> str:
    """Heading of a column."""
    return f"{block} {metric.name}".strip()


def cell_texts(cell: Cell, metric: Metric) -> tuple[str, str]:
    """Ours with its spread, or why there is none; the paper's with the difference."""
    if cell.mean is None:
        ours = "–" if cell.missing in ("", "published only") else cell.missing
    else:
        varies = cell.spread is not None and (cell.spread > 0 or metric.decimals > 0)  # a count that does not is exact
        ours = metric.write(cell.mean) + (f" ± {metric.write(cell.spread or 0.0)}" if varies else "")
        ours += cell.stars + (f" {cell.marks}" if cell.marks else "")
        ours += f" [{cell.missing}]" if cell.missing else ""
    if cell.published is None:
        return ours, ""
    theirs = metric.write(cell.published)
    if cell.difference is not None:
        theirs += f", {'+' if cell.difference >= 0 else '−'}{metric.write(abs(cell.difference))}"
    return ours, theirs


def markdown_cell(cell: Cell, metric: Metric) -> str:
    """Best bold, second underlined, the paper's in brackets."""
    ours, theirs = cell_texts(cell, metric)
    ours = ours.replace("*", r"\*")
    if cell.rank == BEST:
        ours = f"**{ours}**"
    elif cell.rank == SECOND:
        ours = f"<u>{ours}</u>"
    return f"{ours} ({theirs})" if theirs else ours


def to_csv(content: Content) -> str:
    """One line per cell."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([*CSV_HEAD, *_CSV_MORE])
    for section in content.sections:
        for row in section.table.rows:
            for cell, (column, metric) in zip(row.cells, section.table.heads, strict=True):
                numbers = [_number(cell.mean), _number(cell.spread), len(cell.values) or ""]
                numbers += [_number(cell.published), _number(cell.difference), cell.missing]
                ends = (None, None) if cell.interval is None else (cell.interval.low, cell.interval.high)
                numbers += [*map(_number, ends), cell.marks, cell.stars]
                names = [section.name, row.group, row.label, column.label, metric.name]
                writer.writerow([*map(spreadsheet_safe, names), *numbers])
    return out.getvalue()


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}",
          "^": r"\textasciicircum{}", "\\": r"\textbackslash{}", "±": r"$\pm$", "−": "$-$", "–": "--", "·": r"$\cdot$",
          "<": "$<$", ">": "$>$", "α": r"$\alpha$", "|": "$|$",
          "†": r"\dag{}", "‡": r"\ddag{}", "↓": r"$\downarrow$", "≥": r"$\geq$",
          "[": "{[}", "]": "{]}", "*": "{*}"}  # fmt: skip


def to_latex(content: Content) -> str:
    """Each table as a ``tabular`` that needs booktabs: ours, and the paper's numbers in a second line."""
    return "\n".join(_latex_table(section) for section in content.sections)


def _latex_table(section: Section) -> str:
    table = section.table
    heads = ["", *(_tex(head_text(column.title, metric)) for column, metric in table.heads)]
    lines = [
        f"{LATEX_HEAD}\\caption{{{_tex(section.title)}}}",
        f"\\begin{{tabular}}{{l{'r' * len(table.heads)}}}",
        "\\toprule",
        " & ".join(heads) + r" \\",
        "\\midrule",
    ]
    last: Any = ""
    for row in table.rows:
        if row.group != last:
            lines.append(f"\\multicolumn{{{len(heads)}}}{{l}}{{\\textit{{{_tex(row.group)}}}}} \\\\")
            last = row.group
        texts = [cell_texts(cell, metric) for cell, (_, metric) in zip(row.cells, table.heads, strict=True)]
        ours = [_emphasis(_tex(own), cell.rank) for (own, _), cell in zip(texts, row.cells, strict=True)]
        lines.append(" & ".join([_tex(row.label), *ours]) + r" \\")
        if any(theirs for _, theirs in texts):
            published = [metric.write(cell.published) if cell.published is not None else "" for cell, (_, metric) in
                         zip(row.cells, table.heads, strict=True)]  # fmt: skip
            lines.append(" & ".join([r"\quad published", *map(_tex, published)]) + r" \\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", "\\end{table}", ""])


def _emphasis(text: str, rank: int) -> str:
    return {BEST: f"\\textbf{{{text}}}", SECOND: f"\\underline{{{text}}}"}.get(rank, text)


def _tex(text: str) -> str:
    """Text in LaTeX, in one line; a bracket or a star behind a line's end would be an argument of it."""
    return "".join(_LATEX.get(character, character) for character in one_line(text))
