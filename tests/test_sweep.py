"""Sweeps before they run: what is written down, the space, the plan, and what is refused."""

import json
import math
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from recbole_video.dataset_tools.popularity_demo import GeneratingRule
from recbole_video.dataset_tools.popularity_demo import make as make_popularity_demo

from recbole_video.cli import main
from recbole_video.commands import sweep as commands
from recbole_video.commands.sweep import sweep_command
from recbole_video.config import Config
from recbole_video.errors import (
    CheckpointError,
    ConfigError,
    DataError,
    MissingDependencyError,
    RunFolderError,
    SweepError,
)
from recbole_video.registries import ITEM_ENCODERS, POPULARITY_MODELS
from recbole_video.runtime import ray_session
from recbole_video.runtime.ray_session import import_ray
from recbole_video.sweep import progress as progress_module
from recbole_video.sweep.folder import (
    FAILED,
    UNFINISHED,
    SweepFolder,
    TrialState,
    read_trial,
    trial_state,
    write_failure,
)
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import make_plan, point_labels
from recbole_video.sweep.preparation import hours_text, refused_rows, require_data
from recbole_video.sweep.progress import SweepProgress
from recbole_video.sweep.runner import Resources, run_sweep
from recbole_video.sweep.shared_data import DataServer
from recbole_video.sweep.space import grid, read_hyper_file, read_space, sample
from recbole_video.sweep.spec import load_sweep, read_sweep, with_search
from recbole_video.training.run_folder import RunFolder

from .conftest import small_options, write_dataset


def sweep_of(text, **kwargs):
    return read_sweep(text, "mine", "mine.yaml", **kwargs)


BASE = "base: {model: SASRec, epochs: 1}\n"


class TestSpace:
    def test_grid_is_the_product(self):
        space = read_space({"a": [1, 2], "b": ["x", "y", "z"]})
        assert list(grid(space)) == [{"a": a, "b": b} for a in (1, 2) for b in "xyz"]

    def test_draws_follow_from_the_seed_and_stay_in_the_space(self):
        given = {
            "u": {"uniform": [2, 3]}, "l": {"loguniform": [1e-4, 1e-1]}, "i": {"randint": [3, 6]},
            "q": {"quniform": [0, 1, 0.25]}, "c": ["a", "b"],
        }  # fmt: skip
        points = list(sample(read_space(given), 400, 7))
        assert points == list(sample(read_space(given), 400, 7)) != list(sample(read_space(given), 400, 8))
        assert all(2 <= p["u"] <= 3 and 1e-4 <= p["l"] <= 1e-1 for p in points)
        assert {p["i"] for p in points} == {3, 4, 5} and {p["c"] for p in points} == {"a", "b"}
        assert {p["q"] for p in points} == {0, 0.25, 0.5, 0.75, 1}
        assert np.median([math.log10(p["l"]) for p in points]) == pytest.approx(-2.5, abs=0.25)  # even in the exponent

    def test_recboles_file_of_parameters(self, tmp_path):
        """Kinds and ranges as RecBole's run_hyper reads them; hyperopt's loguniform is in exponents of e."""
        path = tmp_path / "model.hyper"
        path.write_text(
            "learning_rate loguniform -8,0\n# a comment\ndropout choice [0.1,0.5]\nmlp choice ['[64]','[32]']\n"
        )
        space = read_hyper_file(path)
        assert space["learning_rate"][0] == "loguniform"
        assert space["learning_rate"][1] == pytest.approx([math.exp(-8), 1.0])
        assert space["dropout"] == ("choice", [0.1, 0.5]) and space["mlp"] == ("choice", ["[64]", "[32]"])
        assert load_sweep(str(path)).space == space

    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"a": {"gaussian": [0, 1]}}, "`gaussian` of `a` is no distribution"),
            ({"a": []}, "`a` has no values"),
            ({"a": 3}, "must be a list of values or one of"),
            ({"a": {"uniform": [3, 1]}}, "takes 2 numbers, the first below the second"),
            ({"a": {"loguniform": [0, 1]}}, "must begin above 0"),
        ],
    )
    def test_what_is_no_space(self, given, message):
        with pytest.raises(ConfigError, match=message):
            read_space(given)


class TestSpec:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a: [", "is not valid YAML at line"),
            ("- 1", "must hold `key: value` lines"),
            ("sedes: [1]", r"`sedes` is no key of the sweep `mine.yaml` \(did you mean `seeds`\?\)"),
            ("rows: []", "must list at least one row"),
            ("rows: [{label: a, published: [1]}]\nmetrics: [HR@10]", "has zero trials: no row has options"),
            ("rows: [{label: a, options: {}}, {label: a, options: {}}]", "two rows `a`"),
            (
                "rows: [{label: a, options: {}, published: [1, 2]}]\nmetrics: [HR@10]",
                "2 published numbers for 1 metrics",
            ),
            ("seeds: [a]", "must list whole numbers"),
            ("search: {kind: bayes}", "choose from grid, random, optuna"),
            ("search: {kind: random}", "has zero trials; set n_trials"),
            ("figure: {kind: pie, metric: HR@10}", "choose from bars, groups, lines"),
            ("figure: {kind: bars, metric: HR@10}\nmetrics: [HR@20]", "shows HR@10, which is not among its metrics"),
            (
                "figure: {kind: bars, metric: HR@10, line: x}\nmetrics: [HR@10]",
                "`figure` of `mine.yaml` names the row `x`",
            ),
            (
                "figure: {kind: groups, metric: HR@10, line: x}\nmetrics: [HR@10]",
                "draws columns as groups, which have no line of a row",
            ),
            ("compare: [{a: x, b: y}]", "`compare` of `mine.yaml` names the row `x`"),
            ("rank: best", "choose from group, table"),
            ("metrics: [[3]]", "is no metric"),
            ("metrics: HR@10", "`metrics` of `mine.yaml` must be a list"),
            ("base: SASRec", "`base` of `mine.yaml` must hold `option: value` lines"),
            ("base: {seed: 3}", "list the seeds under `seeds`"),
            ("rows: [{options: {}}]", "has no label"),
            ("rows: [{label: a, options: [1]}]", "`options` of row `a` of `mine.yaml` must hold"),
            ("rows: [{label: a, options: {}, published: [x]}]\nmetrics: [HR@10]", "must be numbers, or ~ for none"),
            ("columns: [{options: {}}]", "has no label"),
            ("columns: [{label: a}, {label: a}]", "two columns `a`"),
            ("columns: [{label: a, options: {x: 1}}]\nrows: [{label: b, options: {x: 2}}]", "set by rows and columns"),
            ("space: {x: [1]}\nrows: [{label: b, options: {x: 2}}]", "set by rows and the space"),
            ("seeds: [1, 1]", "each once"),
            ("asha: {grace_epochs: 0}", "must be a whole number of at least 1"),
            ("asha: {reduction_factor: 1}", "must be a number of at least 2"),
            ("asha: 3", "`asha` of `mine.yaml` must hold `key: value` lines"),
            ("resources: {cpus: many}", "must be a number of at least 0"),
            ("needs: [{dataset: x}]", "lacks `commands`"),
            ("search: {kind: random, n_trials: few}", "`n_trials` of `mine.yaml` is `few`; it must be a whole number"),
            (
                "search: {kind: random, n_trials: '5'}",
                "`n_trials` of `mine.yaml` is `5`, which is text; write it without",
            ),
            ("seeds: 3", r"`seeds` of `mine.yaml` is `3`; list the seeds, as in \[3\] or"),
            ("seeds: [4294967296]", "must list whole numbers from 0 to 4294967295"),
            ('title: "\\ud800"', "is not Unicode"),
            ("space: {x: {quniform: [0, 1, 0]}}", "has steps of 0"),
            ("space: {x: {randint: [0.5, 3]}}", "takes whole numbers"),
            ("base: {epochs: 0x" + "f" * 5000 + "}", "`base` has a whole number beyond 64 bits"),
            (
                "rows: [{group: x, label: a, options: {}}, {group: y, label: a, options: {}}]\n"
                "compare: {a: a, b: x / a}",
                "names `a`, which is x / a and y / a",
            ),
            ("search: {kind: random, n_trials: 2, seed: x}", "`seed` of `search` of `mine.yaml` is `x`"),
            ("asha: {grace_epochs: 1.5}", "must be a whole number"),
            ("space: {x: [1, 2, 1]}", "lists `1` twice"),
            (
                "rows: [{label: a, options: {}}, {label: b, options: {}}]\ncompare: [{a: a, b: b}]\nspace: {x: [1]}",
                "compares rows, and its space makes several of each",
            ),
            ("compare: [~]", "`compare` of `mine.yaml` lists `None`, which is no comparison; write {a: row, b: row}"),
            ("compare: [true]", "`compare` of `mine.yaml` must hold `key: value` lines"),
            ("compare: [{}]", "`compare` of `mine.yaml` is incomplete"),
            ("compare: [{a: [1], b: x}]", r"`a` of `compare` of `mine.yaml` is `\['1'\]`; it must be text"),
            (
                "rows: [{label: a, group: x, options: {}}]\ncompare: {a: a, b: x / a}",
                "compares the row `x / a` with itself; name two rows",
            ),
            ("figure: true", "`figure` of `mine.yaml` must hold `key: value` lines"),
            ("figure: {kind: bars, metric: HR@10, x_label: [a]}\nmetrics: [HR@10]", "`x_label` of `figure` of `mine"),
            ("search: {kind: [grid]}", "`kind` of `search` of `mine.yaml` is"),
            ("search: {kind: ''}", "choose from grid, random, optuna"),
            ("asha: {grace_epochs: ~}", "`grace_epochs` of `mine.yaml` is `None`"),
            ("needs: [~]", "`needs` of `mine.yaml` must hold `key: value` lines"),
            ("needs: {dataset: ~, download: a, commands: [b]}", "`dataset` of a need of `mine.yaml` is `None`"),
            ("needs: {dataset: d, download: a, commands: [~]}", r"`commands` of a need of `mine.yaml` is `\[None\]`"),
            ("needs: {dataset: d, download: a, commands: [b], stores: {x: ~}}", "`stores` of a need of `mine.yaml` is"),
            ("rows: [~]", "A row of `mine.yaml` must hold `key: value` lines"),
            (
                "rows: [{label: {a: 1}, options: {}}]",
                "`label` of a row of `mine.yaml` is `{'a': '1'}`; it must be text",
            ),
            ("rows: [{label: a, group: [b], options: {}}]", "`group` of row `a` of `mine.yaml` is"),
            ("columns: [~]", "A column of `mine.yaml` must hold `key: value` lines"),
            ("columns: false", "`columns` of `mine.yaml` must be a list"),
            ("controls: [~]", "A block of `controls` of `mine.yaml` must hold `key: value` lines"),
            ("controls: [{models: []}]", "`models` of `controls` of `mine.yaml` is empty"),
            ("metrics: [~]", "`None` is no metric"),
            ("metrics: [{name: ~, key: users}]", "is no metric; write a name"),
            ("title: [a]", "`title` of `mine.yaml` is"),
        ],
    )
    def test_errors(self, text, message):
        with pytest.raises(ConfigError, match=message):
            sweep_of(text)

    @pytest.mark.parametrize("name", ["../../../evil", "a/b", "a\\\\b", "..", ".hidden", "-x", "nul"])
    def test_a_name_that_leads_elsewhere(self, name):
        """A folder is made of it, and --resume looks for that below `sweeps/`."""
        with pytest.raises(ConfigError, match="cannot be the name of the sweep `mine.yaml`: it .*; give a plain name"):
            sweep_of(f'name: "{name}"\n{BASE}')

    @pytest.mark.parametrize("name", ["../evil", "-x"])
    def test_so_does_one_that_follows_from_the_file(self, name):
        with pytest.raises(ConfigError, match=f"`{name}` cannot be the name of the sweep `x.yaml`"):
            read_sweep(BASE, name, "x.yaml")

    def test_a_name_with_signs_of_a_pattern(self, in_tmp):
        """What ran before is found by the name as it is."""
        plan = make_plan(sweep_of(f"name: 'a[b]*'\n{BASE}"))
        for name, seconds in (("a[b]*-1", 60), ("ab-1", 6000)):
            folder = in_tmp / "sweeps" / name / "trials" / "any"
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps({"seconds": seconds}))
        assert hours_text(plan, in_tmp, 1).startswith("1 trial that ran here took 60 s")

    @pytest.mark.parametrize("demo", [False, True])
    @pytest.mark.parametrize(
        ("columns", "published", "message"),
        [
            (
                "[{label: Demo}]",
                "{Dmeo: [9.9]}",
                r"name the column `Dmeo` \(did you mean `Demo`\?\), which the sweep lacks",
            ),
            ("[{label: a, demo: skip}, {label: b}]", "{c: [9.9]}", "columns are a, b."),
            ("~", "{x: [9.9]}", r"name `x`, and there are no columns: write \[...\]"),
            ("[{label: a, demo: skip}, {label: b}]", "[9.9]", "must be given by column"),
        ],
    )
    def test_published_numbers_of_a_column_that_is_not_there(self, demo, columns, published, message):
        rows = f"columns: {columns}\nrows: [{{label: r, options: {{}}, published: {published}}}]\nmetrics: [HR@10]\n"
        with pytest.raises(ConfigError, match=message):
            sweep_of(f"{rows}demo: {{seeds: [1]}}", demo=demo)

    def test_published_numbers_of_a_column_that_a_demo_leaves_out(self):
        text = (
            "columns: [{label: a, demo: skip}, {label: b}]\ndemo: {seeds: [1]}\nmetrics: [HR@10]\n"
            "rows: [{label: r, options: {}, published: {a: [1.5], b: ~}}]\n"
        )
        assert sweep_of(text, demo=True).rows[0].published == {"a": {"HR@10": 1.5}, "b": {}}

    def test_small_numbers_are_numbers(self):
        assert sweep_of("base: {learning_rate: 1e-3}").base == {"learning_rate": 1e-3}

    def test_unknown_preset(self):
        with pytest.raises(ConfigError, match=r"no sweep `cva-tabel6` \(did you mean `cva-table6`\?\)"):
            load_sweep("cva-tabel6")
        with pytest.raises(ConfigError, match=r"There is no sweep file `mine.yaml`; presets are cva-fig4, cva-table12"):
            load_sweep("mine.yaml")

    def test_demo_changes_base_rows_and_columns(self):
        text = (
            "base: {model: SASRec, epochs: 30}\nseeds: [1, 2]\nmetrics: [HR@10]\n"
            "columns: [{label: x, options: {dataset: a}, demo: {dataset: b}}, {label: y, demo: skip}]\n"
            "rows: [{label: r, options: {n_layers: 9}, demo: {n_layers: 3}}, {label: s, options: {}, demo: skip}]\n"
            "demo: {base: {epochs: 1}, seeds: [5]}\n"
        )
        full, demo = sweep_of(text), sweep_of(text, demo=True)
        assert full.base["epochs"] == 30 and demo.base == {"model": "SASRec", "epochs": 1}
        assert [c.options for c in demo.columns] == [{"dataset": "b"}] and demo.seeds == (5,)
        assert [row.options for row in demo.rows] == [{"n_layers": 3}, None]
        with pytest.raises(ConfigError, match="has no demo size"):
            sweep_of("base: {}", demo=True)


class TestPlan:
    def test_trials(self):
        text = BASE + "space: {learning_rate: [0.1, 0.2]}\nseeds: [1, 2]\nrows: [{label: a, options: {epochs: 3}}]"
        plan = make_plan(sweep_of(text), {"hidden_size": 32})
        assert [(t.point["learning_rate"], t.seed) for t in plan.trials] == [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]
        expected = {"model": "SASRec", "epochs": 3, "hidden_size": 32, "learning_rate": 0.2, "seed": 2}
        assert plan.trials[-1].options == expected
        assert plan.valid_metric == "NDCG@10" and plan.bigger and plan.epochs == 3
        assert [m.name for m in plan.sweep.metrics] == ["HR@10", "NDCG@10", "HR@20", "NDCG@20", "seconds", "GB"]

    def test_a_point_is_drawn_once(self):
        text = BASE + "space: {n_layers: [1, 2], n_heads: {randint: [1, 3]}}\nsearch: {kind: random, n_trials: 9}"
        points = [tuple(trial.point.values()) for trial in make_plan(sweep_of(text)).trials]
        assert sorted(points) == [(1, 1), (1, 2), (2, 1), (2, 2)]
        assert make_plan(sweep_of(text.replace("random,", "optuna,"))).n_trials == 4

    def test_a_file_of_recbole_with_ranges_is_searched_at_random(self, tmp_path):
        (tmp_path / "a.hyper").write_text("learning_rate loguniform -8,-2\nn_layers choice [1,2]\n")
        sweep = load_sweep(str(tmp_path / "a.hyper"))
        rates = [trial.point["learning_rate"] for trial in make_plan(sweep, {"model": "SASRec"}).trials]
        assert len(set(rates)) == 10 and all(np.exp(-8) <= rate <= np.exp(-2) for rate in rates)
        assert make_plan(with_search(sweep, n_trials=3), {"model": "SASRec"}).n_trials == 3
        assert with_search(sweep, "optuna").search.kind == "optuna"

    def test_metrics_of_recbole_keep_their_direction(self):
        better = {
            name: Metric.of(name).bigger for name in ("HR@10", "GiniIndex@10", "AveragePopularity@5", "nMSE", "SRC")
        }
        smaller = {"GiniIndex@10", "AveragePopularity@5", "nMSE"}
        assert better == {name: name not in smaller for name in better}

    def test_data_that_is_missing_is_told_in_a_dry_run(self, in_tmp, capsys):
        assert main(["--sweep=cva-table4", "--dry_run"]) == 0
        shown = capsys.readouterr().out
        gone = "there is no dataset/shortvideo/shortvideo.dinov3-resample5.frames.npy"
        assert "Before it can run:\n  microlens-100k\n" in shown and "\n  shortvideo\n" in shown and gone in shown
        assert (
            "dinov3-mid5: 19,738 videos, at most 5 frames of 384 numbers: up to 0.076 GB\n" in shown
        )  # 19738 * 5 * 384 * 2
        assert (
            "dinov3-resample5: 19,738 videos, at most 5 frames of 384 numbers: up to 0.076 GB, about 22 hours\n"
            in shown
        )
        # 0.076 + 0.076 + 0.59 GB; 19738 and 153561 videos, a quarter of one a second
        assert "\n  all 3 frame stores: up to 0.74 GB, about 193 hours for 2 of them\n  hours are at 0.25 vid" in shown
        assert shown.count("facebook/dinov3-vits16-pretrain-lvd1689m, 0.1 GB: agree to the DINOv3 licence") == 1
        assert shown.count("timm/vit_base_patch32_clip_224.openai, 0.6 GB\n") == 1  # what scores the frames

    def test_what_many_stores_take_is_summed_in_a_dry_run(self, in_tmp, capsys):
        """19 stores of 2 to 20 frames: 209 * 19738 * 384 * 2 bytes, 19 * 19738 videos; their files are one line."""
        assert main(["--sweep=cva-table17", "--dry_run"]) == 0
        shown = capsys.readouterr().out
        assert shown.count("about 22 hours\n") == 19 and len(shown.splitlines()) < 60
        assert shown.count("  all 19 frame stores: up to 3.2 GB, about 417 hours\n") == 1
        assert shown.count("there is no dataset/") == 1
        assert "    there is no dataset/microlens-100k/microlens-100k.inter, nor 19 other files\n" in shown

    def test_one_store_has_no_sum(self, in_tmp, capsys):
        assert main(["--sweep=cva-table18", "--dry_run"]) == 0
        shown = capsys.readouterr().out
        assert "frame stores" not in shown and "  hours are at 0.25 videos a second, as measured on two" in shown

    @pytest.mark.parametrize("n_stores", [2, 3])
    def test_many_files_that_are_missing(self, in_tmp, capsys, n_stores):
        """Up to three on lines of their own; of more, names where no command has them."""
        columns = [{"label": f"s{i}", "options": {"frame_store": f"s{i}"}} for i in range(n_stores)]
        base = {"model": "SASRec", "dataset": "a"}
        Path("own.yaml").write_text(yaml.safe_dump({"base": base, "columns": columns}))
        assert main(["--sweep=own.yaml", "--dry_run"]) == 0
        lines = [line.strip() for line in capsys.readouterr().out.splitlines() if "there is no" in line]
        names = [f"a.s{i}.frames.npy" for i in range(n_stores)]
        each = [f"there is no dataset/a/{name}" for name in ["a.inter", *names]]
        assert lines == (each if n_stores == 2 else [f"{each[0]}, nor {', '.join(names)}"])

    def test_what_a_model_refuses_is_told_in_a_dry_run(self, in_tmp, capsys):
        """As the run would refuse it, by the widths of what is there; of data that are not there nothing is known."""
        rows = [
            {"label": "mean", "options": {"item_encoder": "Pooling"}},
            {"label": "narrow", "options": {"item_encoder": "Pooling", "hidden_size": 32}},
            {"label": "uneven", "options": {"item_encoder": "MLP", "hidden_size": 33}},
            {"label": "ids", "options": {"item_encoder": "ID", "hidden_size": 32}},
        ]
        base = {"model": "SASRec", "dataset": "tiny", "epochs": 1}
        Path("mine.yaml").write_text(yaml.safe_dump({"base": base, "rows": rows, "controls": True}))
        assert main(["--sweep=mine.yaml", "--dry_run"]) == 0  # there is no data set
        assert "Refused" not in capsys.readouterr().err
        write_dataset(in_tmp / "dataset", "tiny")
        assert main(["--sweep=mine.yaml", "--dry_run"]) == 1
        narrow, uneven = capsys.readouterr().err.splitlines()
        assert narrow.startswith("Refused: narrow: `hidden_size` is 32, but Pooling keeps the frames' width")
        assert uneven.startswith("Refused: uneven: SASRec cannot be built with these options")

    def test_models_of_popularity_are_tried_in_a_dry_run(self, in_tmp):
        """The demo's rows are all made, as its runs show; one whose heads do not share its width is not."""
        make_popularity_demo(in_tmp / "dataset" / "popularity-demo", GeneratingRule(n_videos=60, n_authors=10))
        assert refused_rows(make_plan(load_sweep("stap-table3", True))) == []
        rows = [{"label": name, "options": {"model": name}} for name in POPULARITY_MODELS]
        rows.append({"label": "uneven", "options": {"model": "ICPF", "encoder_heads": 7}})
        text = yaml.safe_dump({"base": {"dataset": "popularity-demo"}, "rows": rows})
        [refused] = refused_rows(make_plan(sweep_of(text)))
        assert refused.startswith("uneven: d, 64, must be a multiple of encoder_heads, 7")

    def test_all_missing_data_at_once(self, in_tmp):
        with pytest.raises(DataError) as caught:
            require_data(make_plan(load_sweep("cva-table4")))
        assert "reads `microlens-100k`" in str(caught.value) and "reads `shortvideo`" in str(caught.value)
        assert "microlens-100k.inter` (nor 2 other files)" in str(caught.value)

    def test_how_long_it_takes(self, in_tmp):
        plan = make_plan(load_sweep("cva-table6"))
        published = [row.published[""]["seconds"] for row in plan.sweep.rows if row.published]
        text = hours_text(plan, in_tmp, 2)
        assert text == f"published: 738 to 2,038 s a run, {sum(published) / 3600:.1f} h in all, on the paper's GPUs"
        for i, seconds in enumerate((100, 300)):
            folder = in_tmp / "sweeps" / f"cva-table6-{i}" / "trials" / "any"
            folder.mkdir(parents=True)
            (folder / "metrics.json").write_text(json.dumps({"seconds": seconds}))
        assert ": about 3 min for all, 20 at a time; " in hours_text(plan, in_tmp, 20)
        ran = "2 trials that ran here took 200 s on average: about 0.5 h for all, 2 at a time; published"
        assert hours_text(plan, in_tmp, 2).startswith(ran)  # 18 trials
        # A demo is no run of the paper's.
        assert hours_text(make_plan(load_sweep("cva-table6", True)), in_tmp / "elsewhere", 2) == ""

    def test_videos_of_a_need(self):
        need = "needs: [{dataset: a, download: b, commands: [c], videos: %s}]"
        assert sweep_of(BASE + need % 7).needs[0].videos == 7
        with pytest.raises(ConfigError, match="`videos` of a need of `mine.yaml` is `many`; it must be a whole number"):
            sweep_of(BASE + need % "many")

    def test_a_seed_of_ones_own(self):
        assert [t.seed for t in make_plan(sweep_of(BASE + "seeds: [1, 2]"), {"seed": 9}).trials] == [9]

    @pytest.mark.parametrize(
        ("text", "own", "message"),
        [
            ("space: {learning_rat: [1]}", {}, r"`learning_rat` is not an option \(did you mean `learning_rate`"),
            ("space: {lr: {uniform: [0, 1]}}", {}, "A grid needs values of `lr`"),
            ("metrics: [Recall@10]", {}, "The runs do not report `Recall@10`"),
            ("metrics: [HR]", {}, "The runs do not report `HR`; they report HR@10"),
            ("metrics: [HR@10, HR@10]", {}, "is listed twice under metrics"),
            (
                "metrics: [{name: x, key: groups/popularity/1/hit@10}]",
                {},
                "of the group `popularity`; add it to eval_groups",
            ),
            ("search: {kind: random, n_trials: 3}", {}, "searches nothing"),
            ("asha: true\nseeds: [1, 2]", {}, "would stop the worse seeds"),
            ("asha: true\ncolumns: [{label: a, options: {dataset: ml-100k}}, {label: b}]", {}, "differ in `dataset`"),
            ("metrics: [HR@50]", {}, "extend metrics or topk"),
            ("space: {learning_rate: [1]}", {"learning_rate": 3}, "`learning_rate` is what the sweep `mine` varies"),
            ("search: {kind: optuna, n_trials: 3}", {}, "its space is empty"),
            (
                "search: {kind: optuna, n_trials: 3}\nseeds: [1, 2]\nspace: {epochs: [1]}",
                {},
                "one row, one column and one",
            ),
        ],
    )
    def test_errors(self, text, own, message):
        with pytest.raises(ConfigError, match=message):
            make_plan(sweep_of(BASE + text), own)

    def test_missing_data_says_what_to_download_and_run(self, in_tmp):
        with pytest.raises(DataError, match="Download MicroLens-100K .* then run") as caught:
            require_data(make_plan(load_sweep("cva-table12")))
        assert "dataset_tools microlens RAW" in str(caught.value) and "or add --demo" in str(caught.value)
        assert "--frame_encoder=clip --store=clip-resample5" in str(caught.value)

    def test_a_command_to_type_has_names_in_quotes(self, in_tmp):
        need = "needs: {dataset: my set, download: it, commands: [make], stores: {a store: --n_frames=5}}\n"
        text = f"base: {{model: SASRec, dataset: my set, frame_store: a store}}\n{need}"
        with pytest.raises(DataError, match="--name='my set' --n_frames=5 --store='a store'"):
            require_data(make_plan(sweep_of(text)))

    def test_missing_data_of_ones_own_sweep(self, in_tmp, capsys):
        """It has no demo size to advise, and a name that is nearly right."""
        Path("dataset/vec").mkdir(parents=True)
        Path("dataset/vec/vec.inter").write_text("")
        text = "metrics: [HR@10]\nbase: {model: SASRec, dataset: vecs}\n"
        for more, has_demo in (("", False), ("demo: {base: {dataset: microvideo-demo}}\n", True)):
            Path("own.yaml").write_text(text + more)
            assert main(["--sweep=own.yaml", "--dry_run"]) == 0
            printed = capsys.readouterr().out
            with pytest.raises(DataError) as caught:
                require_data(make_plan(load_sweep("own.yaml")))
            for said in (printed, str(caught.value)):
                assert ("--demo" in said) == has_demo and "(did you mean `vec`?)" in said

    def test_missing_stores_alone(self, in_tmp):
        folder = in_tmp / "dataset" / "microlens-100k"
        folder.mkdir(parents=True)
        (folder / "microlens-100k.inter").write_text("user_id:token\titem_id:token\n")
        with pytest.raises(DataError) as caught:
            require_data(make_plan(load_sweep("cva-table18")))
        assert "dataset_tools microlens RAW" not in str(caught.value)
        assert "--frame_encoder=dinov3 --store=dinov3-resample5" in str(caught.value)


class TestNames:
    """Labels, groups, data sets and columns are text, whatever they look like."""

    @pytest.mark.parametrize("name", ["2024_01", "1e5", "007", "no", "1:30"])
    def test_of_rows_columns_and_options(self, name):
        sweep = sweep_of(
            f"name: {name}\ntitle: {name}\nbase: {{model: STAP, dataset: {name}, hidden_size: 8, memory: off}}\n"
            f"rows: [{{label: {name}, group: {name}, options: {{label: {name}x}}, published: {{{name}: [1, ~]}}}},\n"
            f"       {{label: b, options: {{label: '{name}'}}}}]\n"
            f"columns: [{{label: {name}, options: {{metadata_numeric: [{name}]}}}}]\nmetrics: [nMSE, MAE]\n"
            f"compare: {{a: {name}, b: b}}\n"
        )
        assert (sweep.name, sweep.title, sweep.rows[0].name) == (name, name, f"{name} / {name}")
        assert sweep.base == {"model": "STAP", "dataset": name, "hidden_size": 8, "memory": "off"}
        assert sweep.rows[0].published == {name: {"nMSE": 1.0}} and sweep.columns[0].label == name
        assert [trial.options["label"] for trial in make_plan(sweep).trials] == [f"{name}x", name]
        assert make_plan(sweep).trials[0].options["metadata_numeric"] == [name]
        assert (sweep.compare[0].a, sweep.compare[0].b, sweep.compare[0].over) == (f"{name} / {name}", "b", "seeds")

    def test_in_a_space_and_in_recboles_file(self, tmp_path):
        space = sweep_of("space: {label: [2024_01, 1e5], frame_store: {choice: [007, no]}, seed_: [1]}").space
        assert space["label"] == ("choice", ["2024_01", "1e5"]) and space["frame_store"] == ("choice", ["007", "no"])
        (tmp_path / "a.hyper").write_bytes(b"\xef\xbb\xbflabel choice [2024_01, 1e5]\r\nepochs choice [1,2]\r\n")
        space = load_sweep(str(tmp_path / "a.hyper")).space
        assert space == {"label": ("choice", ["2024_01", "1e5"]), "epochs": ("choice", [1, 2])}


class TestOptionsOfOnesOwnModel:
    """Text stays text in a sweep, whoever declares it, as soon as the class is trusted."""

    MODEL = """
from dataclasses import dataclass
from torch import nn
from recbole_video.options.option import option
from recbole_video.popularity.base import PopularityModel

class Mine(PopularityModel):
    @dataclass(frozen=True)
    class Options(PopularityModel.Options):
        my_name: str = option("a", "A name.")

class Encoder(nn.Module):
    def __init__(self, frame_dim, item_dim, *, mode: str = "a"):
        super().__init__()
"""
    VALUES = ["007", "2024_01", "no"]

    @pytest.fixture(autouse=True)
    def module(self, in_tmp, monkeypatch):
        monkeypatch.syspath_prepend(in_tmp)
        (in_tmp / "swept.py").write_text(self.MODEL)
        for registry in (ITEM_ENCODERS, POPULARITY_MODELS):
            monkeypatch.setattr(registry, "_admitted", dict(registry._admitted))
        yield
        sys.modules.pop("swept", None)

    def planned(self, text, *words, name="s.yaml"):
        """The trials that a sweep's command would run."""
        Path(name).write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            plans = []
            patch.setattr(commands, "make_plan", lambda *given: plans.append(given) or make_plan(*given))
            assert sweep_command([f"--sweep={name}", "--dry_run", *words]) == 0
        sweep, own, _ = plans[0]
        return [trial.options for trial in make_plan(sweep, own).trials]

    @pytest.mark.parametrize(
        ("chosen", "option"),
        [("model: swept:Mine, dataset: popularity-demo", "my_name"), ("item_encoder: swept:Encoder", "encoder_mode")],
    )
    def test_in_all_places(self, chosen, option):
        cls = chosen.partition(": ")[2].partition(",")[0]
        trusted = f"--trust={cls}"
        values = f"[{', '.join(self.VALUES)}]"
        found = self.planned(f"base: {{{chosen}}}\nspace: {{{option}: {values}}}", trusted)
        assert [trial[option] for trial in found] == self.VALUES
        rows = "".join(f"  - {{label: r{v}, options: {{{chosen}, {option}: {v}}}}}\n" for v in self.VALUES)
        assert [trial[option] for trial in self.planned(f"rows:\n{rows}", trusted)] == self.VALUES
        [trial] = self.planned(f"base: {{{chosen}, {option}: 007}}", trusted)
        assert trial[option] == "007"
        [trial] = self.planned(f"base: {{{chosen}}}", trusted, f"--{option}=007")
        assert trial[option] == "007"

    def test_named_by_the_command_line(self):
        words = ["--model=swept:Mine", "--dataset=popularity-demo"]
        assert [t["my_name"] for t in self.planned("space: {my_name: [007, no]}", *words)] == ["007", "no"]
        found = self.planned("my_name choice [007,no]", *words, name="s.hyper")
        assert [trial["my_name"] for trial in found] == ["007", "no"]

    def test_only_when_it_is_trusted(self):
        with pytest.raises(ConfigError, match="names the class `swept:Mine`, which is code to be run"):
            self.planned("base: {model: swept:Mine}\nspace: {my_name: [007]}")
        assert "swept" not in sys.modules


class TestHyperFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("a choice [1]\n".encode("utf-16"), "is UTF-16"),
            (b"a choice [1]\nb choice [\xff]\n", "byte 11 of line 2"),
            (b"a choice [1]\na choice [2]\n", "line 2: `a` is given a second time"),
            (b"a loguniform x,y\n", "line 1: `x,y` must be two exponents of e"),
            (b"a loguniform -8,9000\n", "line 1: `-8,9000` must be two exponents of e"),
        ],
    )
    def test_that_cannot_be_read(self, tmp_path, content, message):
        (tmp_path / "a.hyper").write_bytes(content)
        with pytest.raises(ConfigError, match=message):
            load_sweep(str(tmp_path / "a.hyper"))


class TestManyTrials:
    SPACE = "space: {learning_rate: {loguniform: [1e-4, 1e-1]}, n_layers: [1, 2]}\nseeds: [1, 2]\n"

    @pytest.fixture
    def configs(self, monkeypatch):
        made = []
        monkeypatch.setattr("recbole_video.sweep.plan.Config", lambda **given: made.append(Config(**given)) or made[-1])
        return made

    def test_a_dry_run_counts_them_and_shows_the_first(self, in_tmp, capsys, configs):
        text = BASE + self.SPACE + "search: {kind: random, n_trials: 50000}"
        (in_tmp / "mine.yaml").write_text(text.replace("SASRec", "SASRec, dataset: ml-100k"))
        assert main(["--sweep=mine.yaml", "--dry_run"]) == 0
        assert "learning_rate=" not in capsys.readouterr().out
        assert main(["--sweep=mine.yaml", "--dry_run", "--verbose"]) == 0
        shown = capsys.readouterr().out
        assert "Trials:     100,000 (50000 points × 2 seeds)" in shown and "… and 99,940 more" in shown
        assert shown.count("learning_rate=") == 60 and len(configs) < 200

    def test_a_grid_without_end(self, configs):
        numbers = list(range(1, 101))
        text = BASE + f"space: {{n_layers: {numbers}, encoder_depth: {numbers}, epochs: {numbers}}}"
        plan = make_plan(sweep_of(text.replace(", epochs: 1}", "}")), first=5)
        assert plan.n_trials == 10**6 and len(plan.trials) == 5 and len(configs) < 1000

    def test_each_value_is_checked(self, configs):
        text = BASE + "space: {n_layers: [1, 2, 0], learning_rate: {uniform: [0, 1]}}\n"
        text += "search: {kind: random, n_trials: 5000}"
        with pytest.raises(ConfigError, match="`n_layers` is `0`; it must be a whole number of at least 1"):
            make_plan(sweep_of(text))

    def test_draws_are_as_before_and_each_once(self):
        points = list(sample(read_space({"a": {"randint": [0, 300]}, "b": ["x", "y"]}), 600, 3))
        assert len({tuple(point.items()) for point in points}) == len(points) > 590


def test_labels_tell_points_apart():
    large, small = ({"learning_rate": 1e6}, {"learning_rate": 1e-6})
    plan = make_plan(sweep_of(BASE + "space: {learning_rate: [1e+06, 1e-06]}"))
    assert [trial.label for trial in plan.trials] == ["learning_rate=1e+06", "learning_rate=1e-06"]
    assert [trial.name.partition("-seed")[0] for trial in plan.trials] == ["learning-rate=1e06", "learning-rate=1e-06"]
    close = [{"learning_rate": 0.10001}, {"learning_rate": 0.10002}]
    assert list(point_labels([large, small, *close]).values()) == [
        "learning_rate=1e+06", "learning_rate=1e-06", "learning_rate=0.10001", "learning_rate=0.10002",
    ]  # fmt: skip


class TestFolder:
    def test_one_sweep_at_a_time(self, in_tmp):
        plan = make_plan(sweep_of(BASE))
        folder = SweepFolder.create(plan, in_tmp)
        with folder.locked(), pytest.raises(RunFolderError, match="is being written by another process"):
            run_sweep(plan, SweepFolder(folder.path), Resources())

    def test_one_that_is_still_starting_is_left_alone(self, in_tmp):
        """--resume finds its folder before the first trial has begun."""
        plan = make_plan(sweep_of(BASE))
        folder = SweepFolder.create(plan, in_tmp)
        before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
        with pytest.raises(RunFolderError, match="is being written by another process"):
            run_sweep(plan, SweepFolder.to_resume(plan, in_tmp, True), Resources())
        assert {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()} == before

    @pytest.mark.parametrize("others", [False, True])
    def test_one_that_could_not_begin_takes_its_own_files_away(self, in_tmp, others):
        plan = make_plan(sweep_of(BASE))
        folder = SweepFolder.create(plan, in_tmp)
        if others:
            (folder.path / "notes.txt").write_text("mine")
        with folder.locked():
            folder.discard_if_unused()
        assert folder.path.exists() == others
        if others:
            names = {"notes.txt", "sweep.json", "sweep.yaml", "trials"}
            assert {path.name for path in folder.path.iterdir()} == names
            SweepFolder(folder.path).discard_if_unused()  # not by one that did not make it
            assert folder.record.is_file()

    def test_what_a_killed_one_left_half_written_goes_when_it_goes_on(self, in_tmp):
        folder = SweepFolder.create(make_plan(sweep_of(BASE)), in_tmp)
        with folder.locked():
            pass
        left, other = folder.path / ".report.md.0.tmp", folder.path / ".notes.md.0.tmp"
        left.touch()
        other.touch()
        with folder.locked():
            assert not left.exists() and other.exists()

    def test_the_time_that_is_left_is_of_the_kinds_of_trials_that_are(self, in_tmp, capsys, monkeypatch):
        """A control that took a second says nothing of what is trained."""
        rows = "rows: [{label: a, options: {learning_rate: 0.1}}, {label: b, options: {learning_rate: 0.2}}]\n"
        plan = make_plan(sweep_of(f"{BASE}{rows}controls: [{{models: [MostPopular, Random]}}]\n"))
        folder = SweepFolder.create(plan, in_tmp)
        controls, trained = ([t for t in plan.trials if ("Controls" in t.row) == kind] for kind in (True, False))
        now = [0.0]
        monkeypatch.setattr(progress_module, "perf_counter", lambda: now[0])

        def told(trial, seconds):
            progress.started(trial)
            now[0] += seconds
            progress.ended(trial, "stopped")
            return capsys.readouterr().err.strip().partition(" · ")[2]

        with SweepProgress(plan, folder) as progress:
            assert told(controls[0], 1) == ""
            assert told(trained[0], 60) == "about 61 s left"  # one of each is left
            assert told(trained[1], 120) == "about 1 s left" and told(controls[1], 1) == ""

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not valid JSON"),
            ("[]", "is not of a trial"),
            ('{"row": "a"}', "is not of a trial"),
            ('{"row": "a", "column": "", "point": [], "seed": 1, "options": {}}', r"`point` is `\[\]`"),
        ],
    )
    def test_damaged_trial(self, tmp_path, content, message):
        (tmp_path / "trial.json").write_text(content)
        with pytest.raises(CheckpointError, match=message):
            read_trial(tmp_path)

    @pytest.mark.parametrize("content", ["", "[]", "{}", '{"kind": "finished"}', '{"kind": ["failed"]}'])
    def test_damaged_status_is_none(self, tmp_path, content):
        (tmp_path / "status.json").write_text(content)
        assert trial_state(tmp_path).kind == UNFINISHED
        (tmp_path / "status.json").write_text('{"kind": "stopped early", "score": "best", "detail": 3}')
        assert trial_state(tmp_path) == TrialState("stopped early", "3", None)

    def test_what_is_resumed(self, in_tmp):
        plan, other = make_plan(sweep_of(BASE)), make_plan(sweep_of(BASE), {"epochs": 2})
        with pytest.raises(CheckpointError, match="no sweep `mine` of these options"):
            SweepFolder.to_resume(plan, in_tmp, True)
        folder = SweepFolder.create(plan, in_tmp)
        assert SweepFolder.to_resume(plan, in_tmp, True).path == folder.path
        with pytest.raises(ConfigError, match=r"was planned otherwise; resume it with its own options\.$"):
            SweepFolder.to_resume(other, in_tmp, str(folder.path))
        named = SweepFolder.create(plan, in_tmp, "python run_recbole_video.py --sweep=mine.yaml")
        with pytest.raises(
            ConfigError, match=rf"options: python run_recbole_video.py --sweep=mine.yaml --resume={named.path}"
        ):
            SweepFolder.to_resume(other, in_tmp, str(named.path))
        with pytest.raises(
            CheckpointError, match="not the folder of a run, but of a sweep, which goes on by the command"
        ):
            RunFolder.to_resume(Config(config_dict={"resume": str(folder.path)}))
        with pytest.raises(CheckpointError, match="it is not the folder of a sweep"):
            SweepFolder.to_resume(plan, in_tmp, "elsewhere")

    def test_a_place_that_cannot_be_written(self, in_tmp):
        (in_tmp / "sweeps").write_text("a file")
        with pytest.raises(RunFolderError, match="cannot be made"):
            SweepFolder.create(make_plan(sweep_of(BASE)), in_tmp)


class TestDependencies:
    def test_ray_is_missing(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "ray", None)
        with pytest.raises(MissingDependencyError, match=r"Sweeps need Ray; uv pip install -e '.\[sweep\]'"):
            import_ray()

    def test_ray_that_does_not_start_in_time(self, monkeypatch):
        """As Ray says it: by a bare Exception; what each try has started is ended before the next."""
        started = []

        def start(*_, **__):
            started.append(subprocess.Popen(["sleep", "60"]))
            raise Exception("The current node timed out during startup. This could happen because ...\nmore")

        monkeypatch.setattr(ray_session, "_connect", start)
        with (
            pytest.raises(
                SweepError, match=r"has not started in time \(The current node .*type the same command again"
            ),
            ray_session.ray_session(None),
        ):
            raise AssertionError
        *ended, last = started
        assert len(ended) == 1 and all(one.poll() is not None for one in ended) and last.poll() is None
        last.kill()
        last.wait()

    def test_ray_is_patient_with_a_node_of_ours(self, monkeypatch):
        """Its 30 seconds are by the clock of one of its modules, which is put right afterwards."""
        ray = import_ray()
        node = import_module("ray._private.node")
        seen = []

        def init(**_):
            seen.append((node.time.monotonic() * 4, time.monotonic(), node.time.sleep is time.sleep))
            raise ValueError("no")

        monkeypatch.setattr(ray, "init", init)
        with (
            pytest.raises(ConfigError, match="Ray cannot be reached on this machine: no"),
            ray_session.ray_session(None),
        ):
            raise AssertionError
        [(slow, real, is_otherwise_the_same)] = seen
        assert slow == pytest.approx(real, abs=1) and is_otherwise_the_same and node.time is time

    def test_ray_that_starts_at_the_second_try(self, monkeypatch):
        tries = iter([Exception("The current node timed out during startup."), None])

        def start(*_, **__):
            if error := next(tries):
                raise error

        ray = import_ray()
        monkeypatch.setattr(ray_session, "_connect", start)
        with ray_session.ray_session(None) as session:
            assert session is ray

    def test_ray_is_too_old(self, monkeypatch):
        ray = import_ray()
        monkeypatch.setattr(ray, "__version__", "2.6.3")
        with pytest.raises(MissingDependencyError, match="Ray 2.54 or newer, and this is 2.6.3"):
            import_ray()

    def test_optuna_is_missing(self, monkeypatch, in_tmp):
        monkeypatch.setitem(sys.modules, "optuna", None)
        plan = make_plan(sweep_of(BASE + "search: {kind: optuna, n_trials: 2}\nspace: {epochs: [1, 2]}"))
        with pytest.raises(MissingDependencyError, match="A search by Optuna needs it"):
            run_sweep(plan, SweepFolder.create(plan, in_tmp), Resources())


class TestSharedData:
    def test_data_is_read_once_for_trials_that_agree_on_it(self, data_root):
        server = DataServer(lambda data: data)
        options = small_options(data_path=str(data_root), model="SASRec", dataset="tiny")
        [first] = server.get(options)
        [second] = server.get({**options, "learning_rate": 0.5, "seed": 7, "hidden_size": 8})
        assert second is first and server.n_loaded == 1
        [third] = server.get({**options, "MAX_ITEM_LIST_LENGTH": 4})
        assert third is not first and server.n_loaded == 2
        [ids] = server.get({**small_options(encoder="ID", data_path=str(data_root)), "dataset": "tiny"})
        assert ids.catalogue.content is None and server.n_loaded == 3


class TestCommandLine:
    def test_dry_run(self, in_tmp, capsys):
        assert main(["--sweep=stap-table3", "--demo", "--dry_run", "--verbose"]) == 0
        shown = capsys.readouterr().out
        assert "Trials:     33 (11 rows × 3 seeds)" in shown and "temporal / w/o SSM block · MicroLens, seed 2" in shown
        assert not (in_tmp / "saved").exists()

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--sweep=cva-table66"], "ConfigError: There is no sweep `cva-table66` (did you mean `cva-table6`?)"),
            (["--sweep=cva-table6"], "DataError: The sweep `cva-table6` reads `microlens-100k`"),
            (["--sweep=cva-table6", "--demo", "--cpus_per_trial=0"], "ConfigError: `cpus_per_trial` is 0"),
            (["--sweep=cva-table6", "--demo", "--epochz=3"], "`epochz` is not an option"),
            (["--sweep"], "ConfigError: --sweep needs a name or a file"),
            (["--sweep=cva-table6", "--demo", "--max_concurrent=1.5"], "must be a whole number"),
            (["--sweep=cva-table6", "--demo", "--max_concurrent=True"], "must be a whole number"),
            (
                ["--sweep=cva-table6", "--demo", "--gpus_per_trial=-1"],
                "`gpus_per_trial` is -1; it must not be negative",
            ),
            (
                ["--sweep=cva-table6", "--demo", "--cpus_per_trial=two"],
                "`cpus_per_trial` is `two`; it must be a number",
            ),
            (["--sweep=cva-table6", "--demo", "--cpus_per_trial=None"], "ConfigError: `cpus_per_trial` is `None`"),
            (["--sweep=cva-table6", "--demo", "--cpus_per_trial=4096"], "and this machine has"),
            (["--sweep=cva-table6", "--demo", "--n_trials=4"], "A grid has as many trials as points"),
            (["--sweep=cva-table6", "--demo", "--resume=nowhere", "--dry_run"], "is not the folder of a sweep"),
            (["--sweep=cva-table6", "--demo=no"], "`--demo` is `no`; write --demo, or leave it out"),
            (
                ["--sweep=cva-table13", "--demo", "--search=random", "--n_trials=0"],
                "`search` of `the command line` has zero trials",
            ),
            (["--sweep=cva-table6", "--demo", "--config_files='a"], "`config_files` is `'a`; close its quotes"),
            (["--report"], "ConfigError: --report needs the folder"),
            (["--report=nowhere"], "DataError: There is no folder `nowhere`"),
            (["--report=.", "--epochs=3"], "`--epochs` is no option of --report"),
        ],
    )
    def test_errors(self, in_tmp, capsys, words, message):
        assert main(words) == 1
        assert message in capsys.readouterr().err


class TestOptunaSearch:
    """The searcher alone, without Ray's processes."""

    def test_points_are_of_the_space_and_new(self):
        from recbole_video.sweep.optuna_search import DistinctOptunaSearch

        space = read_space({"rate": {"loguniform": [1e-4, 1e-1]}, "layers": [1, 2], "heads": {"randint": [1, 4]}})
        search = DistinctOptunaSearch(space, "max", 1, [({"rate": 0.01, "layers": 1, "heads": 2}, 0.5)])
        points = [search.suggest(str(i)) for i in range(20)]
        for i, _ in enumerate(points):
            search.on_trial_result(
                str(i), {"reason": "it failed"} if i % 3 == 0 else {"score": 0.1, "training_iteration": 1}
            )
            search.on_trial_complete(str(i), {"reason": "it failed"} if i % 3 == 0 else {"score": 0.1})
        assert len({tuple(point.values()) for point in points}) == 20
        assert all(1e-4 <= p["rate"] <= 1e-1 and p["layers"] in (1, 2) and p["heads"] in (1, 2, 3) for p in points)

    def test_a_small_space_ends(self):
        from ray.tune.search import Searcher

        from recbole_video.sweep.optuna_search import DistinctOptunaSearch

        tried = [({"layers": 2}, 0.3), ({"layers": 3}, None)]
        search = DistinctOptunaSearch(read_space({"layers": [1, 2, 3]}), "min", 1, tried)
        assert search.suggest("a") == {"layers": 1}
        assert search.suggest("b") == Searcher.FINISHED


def test_a_failure_that_cannot_be_written_down_leaves_the_trial_unfinished(tmp_path):
    """A full disk: nothing is raised in Ray's callbacks, and --resume takes the trial up."""
    (tmp_path / "file").write_text("")
    [trial] = make_plan(sweep_of(BASE)).trials
    write_failure(tmp_path / "file" / "trial", trial, "no space left")
    assert trial_state(tmp_path / "file" / "trial").kind == UNFINISHED
    write_failure(tmp_path / "trial", trial, "no space left", "Traceback")
    assert trial_state(tmp_path / "trial") == TrialState(FAILED, "no space left")
    assert (tmp_path / "trial" / "traceback.txt").read_text() == "Traceback"
