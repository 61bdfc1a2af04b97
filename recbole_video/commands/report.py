"""``--report`` on the command line: tables and figures of finished runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_video.commands import check_switches
from recbole_video.commands.options import ReportOptions
from recbole_video.errors import ConfigError
from recbole_video.files.names import expanded
from recbole_video.options.option import declared
from recbole_video.options.parse import expand_home, parse_command_line, split_paths
from recbole_video.reports.collect import matching_folders
from recbole_video.reports.console import console_table, note_lines
from recbole_video.reports.markdown import one_line
from recbole_video.reports.write import report_folder, write_report
from recbole_video.sweep.spec import CORRECTIONS


def report_command(words: Sequence[str]) -> int:
    """Write the report of finished runs anew: ``--report=FOLDER``, several separated by spaces.

    Raises:
        RecBoleVideoError: With one sentence about what to change.
    """
    options = declared(ReportOptions)
    given = parse_command_line(words, options)
    unknown = set(given) - set(options)
    if unknown:
        raise ConfigError(
            f"`--{min(unknown)}` is no option of --report; it has --out=FOLDER, --latex and --correction=holm or fdr."
        )
    correction = given.get("correction")
    if correction not in (None, *CORRECTIONS):
        raise ConfigError(f"`correction` is `{correction}`; it must be one of {', '.join(CORRECTIONS)}.")
    check_switches(given, options)
    named = [] if given["report"] is True else split_paths(given["report"], "report")
    if not named:
        raise ConfigError("--report needs the folder of a sweep or of runs: --report=FOLDER.")
    folders = matching_folders(map(expanded, named))
    out = Path(expand_home(given["out"])) if given.get("out") else report_folder(folders)
    content = write_report(folders, out, bool(given.get("latex")), correction)
    for section in content.sections:
        print("\n\n".join([one_line(section.title), console_table(section), *note_lines(section)]) + "\n")
    print(f"Report: {out / 'report.html'}")
    return 0
