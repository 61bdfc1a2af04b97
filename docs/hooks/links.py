"""Links of the site: what leads out of docs/ is shown as the path that it is in the repository.

On GitHub a page may link to any file. The site holds the pages alone, so a link to a page that is made at build time
leads there (README.md, properties/, a notebook), and any other becomes its text with the path behind it.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^(```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:|#)([^)\s#]*)(#[^)\s]*)?\)|(!\[[^\]]*\])\((?!https?:)([^)\s]+)\)")
ROLE = re.compile(r":(?:class|func|meth|attr|mod|exc):<code>~?([^<]*)</code>")
# Where the files that a page stands for are in the repository; a page of docs/ is its own.
MADE_OF = {"index.md": "README.md", "zh.md": "README.zh.md"}
WORD = re.compile(r"<code>([^<\s]{1,32})</code>")
OPTION = re.compile(r"(?<=[\s>])(?<!<code>)(--[A-Za-z_]+)")
SIGN = re.compile(r"(?<=\d) (?=[±†‡])|(?<=±) (?=\d)")
log = logging.getLogger("mkdocs.hooks.links")


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page, code blocks left out."""
    own = page.file.src_uri

    def link(found: re.Match[str]) -> str:
        text, target, anchor, image, source = found.groups()
        if image:
            return f"{image}({site_link(source, own, files) or source})"
        there = site_link(target, own, files)
        return f"[{text}]({there}{anchor or anchor_of(target, own)})" if there else as_text(text, target, own)

    return outside_of_code(markdown, lambda part: LINK.sub(link, part))


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show what docstrings call by a role (``:func:``) as code.

    Words of code, names of options in commands, and ``1 ± 2`` are kept in one piece.
    """
    as_code = ROLE.sub(r"<code>\1</code>", html)
    in_one = WORD.sub(r'<code class="word">\1</code>', OPTION.sub(r'<span class="word">\1</span>', as_code))
    return SIGN.sub("&nbsp;", in_one)


def outside_of_code(markdown: str, change: Callable[[str], str]) -> str:
    """Markdown of which all but the fenced blocks is changed."""
    return "".join(part if part.startswith("```") else change(part) for part in FENCE.split(markdown))


def in_repository(target: str, own: str) -> str:
    """The path in the repository that a link of the page ``own`` leads to."""
    folder = posixpath.dirname(MADE_OF.get(own, f"docs/{own}"))
    return posixpath.normpath(posixpath.join(folder, target.replace("\\", "")))


def site_link(target: str, own: str, files: Files) -> str | None:
    """The link to the page or file of the site that stands for what is linked; None where there is none."""
    path = in_repository(target, own)
    page = page_for(path, own)
    file = files.get_file_from_path(page)
    if file is None or file.inclusion.is_excluded():
        return None
    return posixpath.relpath(page, posixpath.dirname(own) or ".")


def page_for(path: str, own: str) -> str:
    """The path within the site of a file of the repository, whether or not the site has it."""
    for page, source in MADE_OF.items():
        if path == source:
            return page
    if path.startswith("properties"):
        return "reference/presets.md" if is_preset(path) else "reference/options.md"
    inside = posixpath.relpath(path, "docs")
    as_page = inside.removesuffix(".ipynb") + ".md"
    return as_page if inside.endswith(".ipynb") and as_page != own else inside


def is_preset(path: str) -> bool:
    """Whether a file of properties/ sets values, rather than lists what is declared."""
    return path.startswith(("properties/dataset", "properties/preset", "properties/sweep", "properties/variant"))


def anchor_of(target: str, own: str) -> str:
    """The heading under which a file of properties/ stands on its page."""
    path = in_repository(target, own)
    return f"#{heading_id(path)}" if path.startswith("properties/") and path != "properties" else ""


def heading_id(path: str) -> str:
    """The id of the heading of a file or folder of properties/: ``model/STAP.yaml`` is ``model-stap``."""
    return re.sub(r"\W", "-", path.removeprefix("properties/").removesuffix(".yaml")).lower()


def as_text(text: str, target: str, own: str) -> str:
    """A link to what the site does not hold: its text, and the path in the repository."""
    path = in_repository(target, own)
    if not (ROOT / path).exists():
        log.warning(f"{own} links to {target}, which is not there.")
    plain = text.strip("`").replace("\\", "")
    return f"`{path}`" if path.endswith(plain.strip("/")) or plain.strip("/") == path else f"{text} (`{path}`)"
