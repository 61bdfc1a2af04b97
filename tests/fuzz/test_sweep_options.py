"""Sweeps: any file and any options end in a plan or in one sentence, before Ray starts or a folder is made."""

import os
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_video.commands.sweep import plan_text, sweep_command
from recbole_video.errors import RecBoleVideoError
from recbole_video.sweep.folder import plan_fingerprint
from recbole_video.sweep.plan import Plan, make_plan
from recbole_video.sweep.runner import Resources
from recbole_video.sweep.spec import read_sweep

from .promises import cases, outcome, unchanged
from .values import ODD_WORDS, as_yaml, changed, near, values

FEW = [-1, 0, 1, 2, 3, 0.5, -0.0, 1e-9, 1e308, 2**32, 2**63, float("nan"), float("inf")]  # a million trials take long
BASE = {"model": "SASRec", "dataset": "tiny", "epochs": 2, "hidden_size": 16, "inner_size": 16}
GRID = {
    "name": "mine", "title": "Mine", "note": "a note", "base": BASE, "seeds": [1, 2],
    "space": {"learning_rate": [0.001, 0.01]}, "metrics": ["HR@10", "seconds"], "resources": {"cpus": 1},
}  # fmt: skip
TABLE = {
    "base": BASE, "seeds": [1, 2], "metrics": ["HR@10", {"name": "cold", "key": "groups/cold/cold/hit@10"}],
    "rows": [
        {"label": "a", "group": "g", "options": {"n_layers": 1, "eval_groups": ["cold"]}, "published": {"x": [1.5]}},
        {"label": "b", "options": {"n_layers": 2, "eval_groups": ["cold"]}, "demo": "skip"},
    ],
    "columns": [{"label": "x", "options": {"id_fusion": "sum"}}, {"label": "y", "options": {"id_fusion": "none"}}],
    "compare": [{"a": "g / a", "b": "b", "over": "seeds"}],
    "figure": {"kind": "bars", "metric": "HR@10", "x_label": "n"},
    "needs": [{"dataset": "tiny", "download": "it", "commands": ["c"], "stores": {"clip": "--x"}}],
    "rank": "table", "demo": {"seeds": [1], "base": {"epochs": 1}},
}  # fmt: skip
SEARCH = {
    "base": BASE, "seeds": [3], "asha": {"grace_epochs": 1, "reduction_factor": 2},
    "search": {"kind": "optuna", "n_trials": 4, "seed": 1},
    "space": {"learning_rate": {"loguniform": [1e-4, 1e-2]}, "n_layers": {"randint": [1, 4]},
              "weight_decay": {"quniform": [0.0, 0.2, 0.1]}},
}  # fmt: skip
SWEEPS = [GRID, TABLE, SEARCH, {**SEARCH, "search": {"kind": "random", "n_trials": 3}}]
OWN = {
    "demo": True, "dry_run": True, "resume": True, "cpus_per_trial": 1, "gpus_per_trial": 0.5, "max_concurrent": 2,
    "latex": True, "search": "random", "n_trials": 2, "learning_rate": 0.1, "seed": 3, "epochs": 1, "topk": [1],
}  # fmt: skip


@st.composite
def sweeps(draw):
    """A good sweep with one or two places that are otherwise."""
    sweep = draw(st.sampled_from(SWEEPS))
    for _ in range(draw(st.integers(0, 2))):
        if isinstance(sweep, (dict, list)) and sweep:
            sweep = draw(changed(sweep, tuple(FEW)))
    return sweep


def plan(text, demo, own):
    """What the command does before Ray starts."""
    made = make_plan(read_sweep(text, "odd", "odd.yaml", demo), own)
    assert plan_text(made, Resources()).strip() and plan_fingerprint(made)
    return made


class TestSweepFiles:
    @cases(15)
    @given(sweep=sweeps(), demo=st.booleans())
    def test_a_sweep_with_odd_places(self, sweep, demo):
        made = outcome(plan, as_yaml(sweep), demo, {})
        if isinstance(made, Plan):
            names = [trial.name for trial in made.trials]
            assert len(set(names)) == len(names) and not any("/" in name or name in (".", "..") for name in names)
            assert made.n_trials >= 1

    @cases(10)
    @given(text=st.one_of(st.text(max_size=60), st.sampled_from(ODD_WORDS), values(tuple(FEW)).map(as_yaml)))
    def test_any_text(self, text):
        assert isinstance(outcome(plan, text, False, {}), (Plan, RecBoleVideoError))

    @pytest.mark.parametrize("sweep", SWEEPS)
    def test_what_is_changed_works_as_it_is(self, sweep):
        assert isinstance(plan(yaml.safe_dump(sweep), False, {}), Plan)


class TestSweepCommand:
    @cases(8)
    @given(data=st.data())
    def test_a_dry_run_with_odd_words_leaves_nothing(self, tmp_path, data):
        names = data.draw(st.lists(st.sampled_from(sorted(OWN)), max_size=3, unique=True), "options")
        given_words = {name: data.draw(near(OWN[name], tuple(FEW)), name) for name in names}
        content = data.draw(st.one_of(sweeps().map(as_yaml), st.binary(max_size=20)), "file")
        suffix = data.draw(st.sampled_from([".yaml", ".yaml", ".yml", ".hyper", ".txt", ""]), "suffix")
        path = tmp_path / f"odd{suffix}"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        before = Path.cwd()
        os.chdir(tmp_path)
        try:
            with unchanged(tmp_path), redirect_stdout(StringIO()):
                words = [f"--{name}={value}" for name, value in given_words.items() if name != "dry_run"]
                outcome(sweep_command, [f"--sweep={path.name}", "--dry_run", *words])
        finally:
            os.chdir(before)
            path.unlink()
