"""Text as a cell of a table that spreadsheets open."""

from __future__ import annotations

import re

# What a spreadsheet takes for the start of a formula, in the full-width forms too; white space before it is no guard.
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


def spreadsheet_safe(text: str) -> str:
    """``text`` as a cell of a csv or tsv file that a spreadsheet shows and does not run.

    What a spreadsheet would take for a formula (``=HYPERLINK(...)``, ``+x``, ``-x``, ``@x``, or a tab or line break
    before it) gets an apostrophe in front; numbers and all other text stay as they are. Quoting of separators is left
    to the writer of the file.
    """
    is_formula = _FORMULA.match(text) is not None and _NUMBER.fullmatch(text) is None
    return f"'{text}" if is_formula else text
