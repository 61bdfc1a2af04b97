"""Pages of the site that are made when it is built: README.md, and what the code says of options and commands."""

from __future__ import annotations

import argparse
import html
import json
import re
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from links import MADE_OF, ROOT, heading_id
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

    from recbole_video.options.option import Option

TITLES = {
    "overall": "Every run",
    "recommendation": "Recommendation",
    "controls": "Controls",
    "popularity": "Popularity",
}
PRESETS = {
    "dataset": "Defaults of data sets",
    "preset": "Presets: --preset=NAME",
    "variant": "Variants: --variant=NAME",
    "preset_of_variant": "Presets of a variant",
    "sweep": "Sweeps: --sweep=NAME",
}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made."""
    for uri, source in MADE_OF.items():
        files.append(File.generated(config, uri, abs_src_path=str(ROOT / source)))
    made = {
        "reference/options.md": options_page(),
        "reference/presets.md": presets_page(),
        "reference/commands.md": commands_page(),
    }
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            made[f"{file.src_uri.removesuffix('.ipynb')}.md"] = notebook_page(Path(file.abs_src_path or ""))
    for uri, text in made.items():
        files.append(File.generated(config, uri, content=text))
    return files


def options_page() -> str:
    """All declared options: a heading for each class that declares some, a list for each of its sections."""
    from recbole_video.listing import declaring_classes
    from recbole_video.options.show import by_section, heading

    lines = [
        "# Options",
        "",
        "Each is given as `--name=value`, in a YAML file, or from Python in `config_dict`: [Running](../running.md). "
        "What is declared beside the code is listed here as it is; `--help_options NAME` prints the part of a model or "
        "item encoder.",
    ]
    for path, (owner, above) in declaring_classes().items():
        lines += ["", f"## {title_of(path)} {{#{heading_id(path)}}}", "", as_text(heading(owner))]
        for section, options in groupby(by_section(owner, above), key=lambda pair: pair[1]):
            lines += ["", *([f"**{section}**", ""] if section else []), *definitions(option for option, _ in options)]
    return "\n".join(lines) + "\n"


def title_of(path: str) -> str:
    """The heading of a file of properties/."""
    kind, _, name = path.removesuffix(".yaml").rpartition("/")
    return TITLES.get(name) or (f"Item encoder {name}" if kind == "item_encoder" else name)


def definitions(options: Iterable[Option]) -> list[str]:
    """Options as a list of definitions, which a phone shows as well as a wide screen."""
    from recbole_video.options.show import as_yaml_value, explanation

    shown = (
        [
            "",
            f"`--{one.name}={as_yaml_value(one.default)}` {as_text(one.kind)}",
            f":   {as_text(explanation(one)) or '&nbsp;'}",
        ]
        for one in options
    )
    return [line for lines in shown for line in lines]


def as_text(text: str) -> str:
    """Plain text for Markdown: nothing in it is a mark but code."""
    plain = re.sub(r":\w+:(`+)~?", r"\1", text)
    parts = re.split(r"(`+[^`]+`+)", plain)
    shown = (part if part.startswith("`") else re.sub(r"([*\[\]])", r"\\\1", html.escape(part)) for part in parts)
    return "".join(shown)


def presets_page() -> str:
    """The files of properties/ that set values, as they are."""
    lines = ["# Presets", "", "Layers of options that a word chooses, and the sweeps that come along, as their files."]
    for folder, title in PRESETS.items():
        lines += ["", f"## {title} {{#{folder}}}"]
        for path in sorted((ROOT / "properties" / folder).glob("*.yaml")):
            name = path.relative_to(ROOT / "properties").as_posix()
            lines += [
                "",
                f"### {path.stem} {{#{heading_id(name)}}}",
                "",
                "```yaml",
                path.read_text("utf-8").rstrip(),
                "```",
            ]
    return "\n".join(lines) + "\n"


def commands_page() -> str:
    """The help of the command line, and of each command of the dataset tools."""
    from recbole_video.dataset_tools.__main__ import COMMANDS, _parser

    from recbole_video.cli import USAGE
    from recbole_video.commands.explain import explain_parser
    from recbole_video.commands.help import HELP
    from recbole_video.commands.predict import predict_parser
    from recbole_video.commands.recommend import recommend_parser

    lines = ["# Commands", "", "``` { .text .help }", USAGE.rstrip(), "```"]
    for name, text in HELP.items():
        lines += ["", f"## {name}", "", "``` { .text .help }", text.rstrip(), "```"]
    for name, parser in {"recommend": recommend_parser, "predict": predict_parser, "explain": explain_parser}.items():
        lines += ["", f"## {name}", "", "``` { .text .help }", help_of(parser()), "```"]
    lines += [
        "",
        "`recbole-video data COMMAND` is `python -m recbole_video.dataset_tools COMMAND` "
        "([Data sets](../datasets.md)); `--help` prints this.",
    ]
    for name, place in COMMANDS.items():
        lines += ["", f"## {name}", "", "``` { .text .help }", help_of(_parser(name, resolve_name(place))), "```"]
    return "\n".join(lines) + "\n"


def help_of(parser: argparse.ArgumentParser) -> str:
    """What a parser says of its arguments, as wide whatever the terminal is."""
    make = parser.formatter_class
    parser.formatter_class = lambda prog: make(prog, width=88)
    parser.usage = argparse.SUPPRESS
    paragraphs = (parser.description or "").split("\n\n")
    parser.description = "\n\n".join(one if one.startswith(" ") else " ".join(one.split()) for one in paragraphs)
    return parser.format_help().rstrip()


def notebook_page(path: Path) -> str:
    """A notebook as a page, with the outputs that it is stored with and a link to itself."""
    shown = []
    for cell in json.loads(path.read_text("utf-8"))["cells"]:
        text = "".join(cell["source"])
        shown.append(f"```python\n{text}\n```" if cell["cell_type"] == "code" else text)
        shown.extend(map(_output, cell.get("outputs", [])))
    shown.insert(
        1,
        f"This page is a notebook: [{path.name}]({path.name}), to be opened in Jupyter (`uv pip install jupyterlab` in "
        "the environment, then `jupyter lab`).",
    )
    return "\n\n".join(shown) + "\n"


def _output(output: dict[str, Any]) -> str:
    """What a cell printed, or its value: a table as HTML, anything else as text."""
    data = output.get("data", {})
    if "text/html" in data:  # a table of pandas, whose style is left to the site
        plain = re.sub(r"<style.*?</style>\s*", "", "".join(data["text/html"]), flags=re.DOTALL)
        return re.sub(r"<table [^>]*>", "<table>", plain)
    return f"``` {{ .text .output }}\n{''.join(output.get('text', data.get('text/plain', '')))}\n```"
