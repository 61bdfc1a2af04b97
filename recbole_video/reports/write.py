"""Writes a report beside the runs it is about."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole_video.data.files import write_text
from recbole_video.reports.collect import collect
from recbole_video.reports.content import Content, make_content
from recbole_video.reports.html import to_html
from recbole_video.reports.markdown import to_csv, to_latex, to_markdown


def write_report(folders: Iterable[str | Path], out: str | Path | None = None, latex: bool = False) -> Content:
    """Write ``report.md``, ``report.html``, ``results.csv`` and the figures of finished runs.

    Args:
        folders: Folders of sweeps, or of hand-made runs; sweeps of one name become one table.
        out: Where to write; by default the first of the folders.
        latex: Write ``results.tex`` too.

    Returns:
        What the report says.

    Raises:
        DataError: If a folder holds no run.
        RunFolderError: If it cannot be written.
    """
    folders = list(folders)
    content = make_content(collect(folders))
    target = Path(out or folders[0])
    for section in content.sections:
        for picture in section.pictures:
            picture.write(target, section.prefix)
    write_text(target / "results.csv", to_csv(content))
    if latex:
        write_text(target / "results.tex", to_latex(content))
    write_text(target / "report.md", to_markdown(content))
    write_text(target / "report.html", to_html(content))
    return content
