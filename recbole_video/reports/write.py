"""Writes a report beside the runs it is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from recbole.utils import get_local_time

from recbole_video.errors import RunFolderError
from recbole_video.files.atomic import write_text
from recbole_video.files.names import expanded
from recbole_video.reports.collect import collect, matching_folders
from recbole_video.reports.content import Content, make_content
from recbole_video.reports.figures import MADE_BY
from recbole_video.reports.html import HTML_HEAD, to_html
from recbole_video.reports.markdown import CSV_HEAD, LAST_HEAD, LATEX_HEAD, TRIALS_HEAD, to_csv, to_latex, to_markdown

# What every report has had in these files, by which an earlier one is told from a file of the user's.
_SIGNS = {
    "results.csv": (",".join(CSV_HEAD),),
    "results.tex": (LATEX_HEAD,),
    "report.md": (f"\n{TRIALS_HEAD}\n", f"\n{LAST_HEAD}\n"),
    "report.html": (HTML_HEAD,),
}


def write_report(
    folders: Iterable[str | Path], out: str | Path | None = None, latex: bool = False, correction: str | None = None
) -> Content:
    """Write ``report.md``, ``report.html``, ``results.csv`` and the figures of finished runs.

    The files of an earlier report are replaced; any other file of one of these names is left alone, and nothing is
    written then.

    Args:
        folders: Folders of sweeps, or of hand-made runs; sweeps of one name become one table.
        out: Where to write; by default :func:`report_folder`.
        latex: Write ``results.tex`` too; that of an earlier report is replaced in any case.
        correction: How p-values are corrected for several tests, ``holm`` or ``fdr``; by default as each sweep says.

    Returns:
        What the report says.

    Raises:
        DataError: If a folder holds no run.
        RunFolderError: If it cannot be written, or a file of one of its names is not of a report.
    """
    folders = [expanded(folder) for folder in folders]
    content = make_content(collect(folders), correction)
    target = expanded(out) if out else report_folder(folders)
    if target.exists() and not target.is_dir():
        raise RunFolderError(f"`{target}` is a file, and a report is a folder; name another by --out.")
    _check_replaceable(target, content, latex)
    # All is made before anything is written, so that a fault leaves no half of a report beside half of an earlier one.
    texts = {"results.csv": to_csv(content), "report.md": to_markdown(content), "report.html": to_html(content)}
    if latex or _has_signs(target / "results.tex"):  # an earlier report's would stand beside other numbers
        texts["results.tex"] = to_latex(content)
    for section in content.sections:
        for picture in section.pictures:
            picture.write(target, section.prefix)
    for name, text in texts.items():
        write_text(target / name, text)
    return content


def report_folder(folders: Sequence[str | Path]) -> Path:
    """Where a report goes that is given no place.

    Into the folder that is reported on, be it of a sweep or one that holds runs. A run's own folder holds what that run
    wrote, and a sweep's its own report: what is about several goes into ``reports/<time>`` beside the first.
    """
    first = matching_folders(folders)[0]
    is_run = (first / "metrics.json").is_file()
    if not is_run and len(matching_folders(folders)) == 1:
        return first
    return first.resolve().parent / "reports" / get_local_time()


def _check_replaceable(target: Path, content: Content, latex: bool) -> None:
    """Refuse to replace a file that no report has written."""
    texts = [target / name for name in _SIGNS if latex or name != "results.tex"]
    others = [path for path in texts if path.exists() and not _has_signs(path)]
    names = [f"{section.prefix}{picture.name}" for section in content.sections for picture in section.pictures]
    pictures = [path for name in names for ending in (".png", ".svg") if (path := target / f"{name}{ending}").exists()]
    others += [path for path in pictures if not _is_our_picture(path)]
    if others:
        raise RunFolderError(
            f"`{others[0]}` is there and is not of a report, which would replace it; move it away, or give another "
            "folder by --out."
        )


def _has_signs(path: Path) -> bool:
    content = _content(path)
    return all(sign.encode() in content for sign in _SIGNS[path.name])


def _is_our_picture(path: Path) -> bool:
    """By what the file says of itself; earlier versions' figures did not, but their report shows them."""
    if MADE_BY.encode() in _content(path):
        return True
    report = path.with_name("report.md")
    return report.is_file() and _has_signs(report) and f"]({path.stem}.png)".encode() in _content(report)


def _content(path: Path) -> bytes:
    """What a file holds; nothing if it is none that can be read, so that it is not ours."""
    try:
        return path.read_bytes()
    except OSError:
        return b""
