"""The report as one self-contained page: nothing is fetched, and it can be read on a phone."""

from __future__ import annotations

import base64
from importlib.resources import files
from itertools import groupby
from typing import TYPE_CHECKING

from recbole_video.reports.content import INTERVALS_NOTE, SIGNIFICANCE_NOTE, Content
from recbole_video.reports.markdown import cell_texts
from recbole_video.reports.table import Table

if TYPE_CHECKING:  # imported when a page is written
    from markupsafe import Markup

HTML_HEAD = "<h2>How this was made</h2>"  # of the last part


def to_html(content: Content) -> str:
    """A report as the text of one page, with its style and its figures in it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(
        files("recbole_video.reports").joinpath("page.html.j2").read_text(encoding="utf-8")
    )
    return template.render(
        content=content,
        cell_texts=cell_texts,
        blocks=_blocks,
        base64=_base64,
        zip=zip,
        last_head=HTML_HEAD,
        intervals_note=INTERVALS_NOTE,
        significance_note=SIGNIFICANCE_NOTE,
        with_code=_with_code,
    )


def _with_code(text: str) -> Markup:
    """Text in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    parts = text.split("`")
    if len(parts) % 2 == 0:  # one that has no partner
        return escape(text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _blocks(table: Table) -> list[tuple[str, int]]:
    """Label of each block of columns, and how many columns it has."""
    return [(label, len(list(own))) for label, own in groupby(table.heads, key=lambda head: head[0].title)]


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
