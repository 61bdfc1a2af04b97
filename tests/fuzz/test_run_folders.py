"""Run folders that somebody has touched: loading, resuming and reporting end in a result or in one sentence."""

import json
import math
import os
import shutil
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_video import load_model, run_recbole_video
from recbole_video.commands.report import report_command
from recbole_video.errors import RecBoleVideoError

from ..conftest import small_options, write_dataset
from ..test_popularity import METADATA, SMALL, write_popularity
from .promises import cases, contents, outcome, unchanged
from .values import SMALL_NUMBERS, changed

TEXTS = ("config.yaml", "run.json", "metrics.json")
STEPS = {"training": ["model.pth", "last.pth", *TEXTS], "popularity": ["model.pth", "last.pth", *TEXTS]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with a run of each task."""
    root = tmp_path_factory.mktemp("runs")
    write_dataset(root / "data", "tiny", n_users=12, n_items=10)
    write_popularity(root / "data", "pop", n=40)
    kept = {"keep_last_checkpoint": True}
    shared = {"data_path": str(root / "data"), "use_gpu": False, "show_progress": False, **kept}
    video = {
        **small_options(data_path=str(root / "data")),
        **kept,
        "topk": [1, 3],
        "valid_metric": "NDCG@3",
        "epochs": 2,
    }
    before = Path.cwd()
    os.chdir(root)
    try:
        run_recbole_video("SASRec", "tiny", config_dict=video, run_folder="training")
        run_recbole_video(
            "STAP", "pop", config_dict={**SMALL, **METADATA, **shared, "epochs": 2}, run_folder="popularity"
        )
    finally:
        os.chdir(before)
    return root


@st.composite
def tampered(draw, content, name):
    """The bytes of a file of a run after somebody has had it in an editor, or a disk has failed."""
    how = draw(st.sampled_from(["value", "value", "cut", "byte", "empty", "other"]), "change")
    if how == "value" and name in TEXTS:
        tree = yaml.safe_load(content) if name.endswith(".yaml") else json.loads(content)
        tree = draw(changed(tree, tuple(SMALL_NUMBERS)), "content")
        written = yaml.safe_dump(tree) if name.endswith(".yaml") else json.dumps(tree, default=str)
        return written.encode("utf-8", "replace")
    if how == "cut":
        return content[: draw(st.integers(0, len(content) - 1))]
    if how == "byte":
        at = draw(st.integers(0, len(content) - 1))
        return content[:at] + bytes([draw(st.integers(0, 255))]) + content[at + 1 :]
    return b"" if how == "empty" else draw(st.binary(max_size=40))


@pytest.fixture
def touched(runs, tmp_path):
    """touched(data) gives a copy of a run with one file changed, gone, or a folder in its place."""

    def make(data, files=None, how_odd=9):
        task = data.draw(st.sampled_from(sorted(STEPS)), "task")
        name = data.draw(st.sampled_from(files or STEPS[task]), "file")
        folder = tmp_path / "work" / "run"
        shutil.rmtree(folder.parent, ignore_errors=True)
        shutil.copytree(runs / task, folder)
        how = data.draw(st.integers(9 - how_odd, 9))
        content = (folder / name).read_bytes()
        (folder / name).unlink()
        if how == 0:
            (folder / name).mkdir()
        elif how > 1:
            (folder / name).write_bytes(data.draw(tampered(content, name), "bytes"))
        return folder

    return make


class TestLoading:
    @cases(10)
    @given(data=st.data())
    def test_load_model(self, touched, data):
        folder = touched(data)
        with unchanged(folder.parent):
            outcome(load_model, folder)


class TestReporting:
    @cases(10)
    @given(data=st.data())
    def test_report(self, touched, data):
        folder = touched(data, ["metrics.json", "metrics.json", "config.yaml", "run.json"])
        out = folder.parent.parent / "report"
        with unchanged(folder.parent), redirect_stdout(StringIO()):
            outcome(report_command, [f"--report={folder}", f"--out={out}"])


class TestResuming:
    @cases(3, share=0.3)
    @given(data=st.data())
    def test_resume(self, touched, data):
        """What fails changes nothing but logs; what goes on ends in numbers."""
        folder = touched(data, ["last.pth", "config.yaml", "run.json"], how_odd=8)
        if data.draw(st.integers(0, 3), "is finished") and (folder / "metrics.json").is_file():
            (folder / "metrics.json").unlink()
        before = {**contents(folder), "run.log": ""}
        place = Path.cwd()
        os.chdir(folder.parent)
        try:
            with redirect_stderr(StringIO()):
                result = outcome(run_recbole_video, config_dict={"resume": "run"})
        finally:
            os.chdir(place)
        if isinstance(result, RecBoleVideoError):
            assert {**contents(folder), "run.log": ""} == before, result
        else:
            assert isinstance(result, dict)
            assert all(isinstance(v, (int, float)) and not math.isnan(v) for v in result["test_result"].values())
