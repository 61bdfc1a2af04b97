"""The layers of the package, the size of its functions, and what adding a thing touches, as docs/design.md says."""

import ast
import re
import shutil
import subprocess
import sys
import tokenize
import tomllib
from functools import cache
from pathlib import Path

import pytest

from recbole_video.options.option import declared
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.stap.model import STAP
from recbole_video.registries import CONTROLS, ITEM_ENCODERS, POPULARITY_MODELS, USER_ENCODERS

ROOT = Path(__file__).resolve().parents[1]
CODE = [*(ROOT / "recbole_video").rglob("*.py"), *(ROOT / "dataset_tools").rglob("*.py")]


def test_imports_go_one_way(tmp_path):
    """The contract of pyproject.toml, on the package as it is installed: with the two folders that lie beside it."""
    package = tmp_path / "recbole_video"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "recbole_video", package, ignore=ignored)
    for beside in ("dataset_tools", "properties"):
        shutil.copytree(ROOT / beside, package / beside, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    command = "import sys; sys.path.insert(0, '.'); from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run([sys.executable, "-c", command], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "Contracts: 1 kept, 0 broken." in done.stdout, done.stdout + done.stderr


def test_the_design_names_the_layers_of_the_contract():
    contract = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]["layers"]
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    [told] = re.findall(r"```\n(cli > .*?)```", page, re.DOTALL)
    assert [layer.strip() for layer in told.split(">")] == [layer.strip("()") for layer in contract]


def test_ruff_holds_the_complexity():
    """A function of a higher complexity than the tests of its length could tell."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert "C901" in lint["select"] and lint["mccabe"]["max-complexity"] == 10
    assert not any("C901" in codes for path, codes in lint["per-file-ignores"].items() if path != "benchmarks/*")


def functions():
    """Where each function is, and its lines without the docstring."""
    for path in CODE:
        for node in ast.walk(ast.parse(text_of(path))):
            if isinstance(node, ast.FunctionDef):
                first = node.body[0]
                is_text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
                n_text = first.end_lineno - first.lineno + 1 if is_text else 0
                yield f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1 - n_text


def test_functions_are_short():
    found = sorted(functions(), key=lambda one: one[1])
    lengths = [lines for _, lines in found]
    assert len(found) > 2000
    assert lengths[len(found) // 2] <= 8 and lengths[len(found) * 9 // 10] <= 20
    assert [one for one in found if one[1] > 40] == []


@cache
def text_of(path):
    return path.read_text(encoding="utf-8")


@cache
def words_of(path):
    """Its names and whole texts; comments and docstrings are not code."""
    with path.open("rb") as file:
        return {token.string.strip("\"'") for token in tokenize.tokenize(file.readline)}


def files_that_name(word):
    """Files of the package's code in which a word is a name or a whole text."""
    return {str(path.relative_to(ROOT)) for path in CODE if word in text_of(path) and word in words_of(path)}


def options_declared_in(source):
    """Names of the fields, of classes at any depth, whose value is ``option(...)`` or a form of it."""
    for node in ast.walk(ast.parse(source)):
        is_call = isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
        if is_call and re.fullmatch(r"(\w+_)?option", ast.unparse(node.value.func).rpartition(".")[2]):
            yield node.target.id


def test_declarations_are_found_at_any_depth():
    source = """
class Model:
    class Options:
        wide: int = size_option(3)
    def f(self):
        class Inner:
            deep: int = options.option(
                4)
        plain: int = 5
"""
    assert list(options_declared_in(source)) == ["wide", "deep"]


class TestWhatAddingTouches:
    """The table of docs/design.md: what is there already was added so."""

    # Where a name is a default, and what RecBole's own code reads of its models without saying so.
    ELSEWHERE = {
        "CVA": {"recommendation/options.py"},
        "SASRec": {"config/choice.py"},
        "BERT4Rec": {"runtime/recbole_options.py"},
    }

    @pytest.mark.parametrize("registry", [ITEM_ENCODERS, USER_ENCODERS, CONTROLS, POPULARITY_MODELS])
    def test_a_model_or_encoder_is_one_file_and_a_line(self, registry):
        for name in set(registry) - {"ID"}:  # what others are compared with is asked for by its name
            own = Path(*registry.get(name).__module__.split(".")).with_suffix(".py")
            elsewhere = {f"recbole_video/{path}" for path in self.ELSEWHERE.get(name, ())}
            found = files_that_name(name) - elsewhere - {"recbole_video/registries.py"}
            own_room = "recbole_video/popularity/stap" if name == "STAP" else str(own)
            assert found and all(path.startswith(own_room) for path in found), (name, found)

    def test_an_option_is_declared_once(self):
        """Of STAP, which has the most: the name is a name in its own files alone, but for words of other meanings."""
        own = set(declared(STAP.Options)) - set(declared(PopularityOptions)) - {"preset"}  # recommenders have some too
        assert len(own) > 40
        declared_in = {name: set() for name in own}
        for path in CODE:
            for name in set(options_declared_in(text_of(path))) & own:
                declared_in[name].add(path.relative_to(ROOT / "recbole_video").as_posix())
        # user encoders have a width and layers, too
        others = {"user_encoders/sasrec.py", "user_encoders/bert4rec.py", "user_encoders/gru4rec.py",
                  "user_encoders/fmlprec.py", "user_encoders/narm.py"}  # fmt: skip
        # and so do other popularity models, in files of their own
        classes = {
            cls for name in POPULARITY_MODELS if name != "STAP" for cls in POPULARITY_MODELS.get(name).Options.__mro__
        }
        others |= {f"{cls.__module__.removeprefix('recbole_video.').replace('.', '/')}.py" for cls in classes}
        for name, paths in declared_in.items():
            assert paths - others == {"popularity/stap/options.py"}, (name, paths)

    def test_no_code_asks_for_a_modality_by_name_but_where_names_have_roles(self):
        """Any name will do for an item encoder; for popularity models, ``frames`` and ``text`` are roles."""
        names = ("audio", "cover", "images", "speech", "music", "ocr", "captions", "thumbnail", "comments", "keyframes")
        for name in names:
            found = {path for path in files_that_name(name) if path.startswith("recbole_video/")}
            assert found == set(), name
