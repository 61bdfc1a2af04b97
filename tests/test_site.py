"""The documentation site: it builds without a warning, and says all that the code declares."""

import ast
import json
import logging
import re
from pathlib import Path

import pytest
import yaml
from recbole_video.dataset_tools.__main__ import COMMANDS
from recbole_video.dataset_tools.popularity_demo import GeneratingRule
from recbole_video.dataset_tools.popularity_demo import make as make_popularity_demo

import recbole_video
from recbole_video import errors
from recbole_video.listing import properties_files

pytest.importorskip("mkdocs")
from mkdocs.commands.build import build
from mkdocs.config import load_config

ROOT = Path(__file__).parent.parent
TASKS = sorted((ROOT / "docs" / "tasks").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))


class Heard(logging.Handler):
    """Keeps warnings."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(record.getMessage())


def test_site(tmp_path, monkeypatch):
    """Built as `make docs` builds it, where a warning is an error."""
    monkeypatch.setenv("NO_MKDOCS_2_WARNING", "1")
    heard = Heard()
    logging.getLogger("mkdocs").addHandler(heard)
    try:
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(tmp_path))
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
        config.plugins.on_shutdown()
    finally:
        logging.getLogger("mkdocs").removeHandler(heard)
    assert heard.messages == []

    def page(path):
        return (tmp_path / path).read_text(encoding="utf-8")

    start = page("index.html")
    for path in [*TASKS, *NOTEBOOKS]:
        assert f'href="{path.relative_to(ROOT / "docs").with_suffix(".html").as_posix()}"' in start, path
    options = set(re.findall(r"<dt><code[^>]*>--(\w+)=", page("reference/options.html")))
    assert {name for text in properties_files().values() for name in yaml.safe_load(text) or {}} <= options
    commands = page("reference/commands.html")
    assert all(f'<h2 id="{name}">' in commands for name in COMMANDS)
    python = page("reference/api.html")
    public = [f"recbole_video.{name}" for name in recbole_video.__all__ if not name.startswith(("register_", "__"))]
    own = [name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)]
    assert all(f'id="{name}"' in python for name in [*public, *(f"recbole_video.errors.{name}" for name in own)])
    assert not list(dead_links(tmp_path))
    # Nothing is loaded from elsewhere when a page is read.
    assert not re.search(r'<(?:script|img|link)\b[^>]*(?:src|href)="https?:', start + python)


def dead_links(site):
    """Links of a page's text, and its pictures, that lead to no file of the site, or to no heading of a page."""
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html") if path.name != "404.html"}
    headings = {path: set(re.findall(r'\bid="([^"]*)"', text)) for path, text in texts.items()}
    for path, text in texts.items():
        body = text.partition("<article")[2].partition("</article>")[0]
        for link in re.findall(r'(?:href|src)="(?!https?:|mailto:)([^"]*)"', body):
            file, _, heading = link.partition("#")
            target = (path.parent / file).resolve() if file else path
            if not target.is_file() or (heading and heading not in headings[target]):
                yield path.name, link


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path, in_tmp):
    """Its cells run in order, the popularity demo a tenth of its size; what is stored is shaped as their values."""
    make_popularity_demo(in_tmp / "dataset" / "popularity-demo", GeneratingRule(n_videos=600, n_authors=100))
    book = json.loads(path.read_text(encoding="utf-8"))
    names, n_tables = {}, 0
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = ast.parse("".join(cell["source"]))
        last = code.body.pop() if isinstance(code.body[-1], ast.Expr) else None
        exec(compile(code, f"{path.name}, {cell['id']}", "exec"), names)
        stored = [output["data"] for output in cell["outputs"] if output["output_type"] == "execute_result"]
        assert len(stored) == (last is not None)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), f"{path.name}, {cell['id']}", "eval"), names)
            text = "".join(stored[0]["text/plain"])
            n_tables += 1
            heads = next((list(getattr(value, name)) for name in ("columns", "index") if hasattr(value, name)), [])
            assert all(str(head) in text for head in heads), (cell["id"], heads)
    assert n_tables >= 3
    assert all(len(table) > 0 for table in names.values() if hasattr(table, "columns"))
    assert not re.search(r"/(?:home|root|tmp|work|Users)/", json.dumps(book))
