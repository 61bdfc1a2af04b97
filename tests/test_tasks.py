"""One story for every kind of model: what a run writes, in which order it happens, and that nobody else asks."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import spearmanr

import recbole_video.quick_start
from recbole_video import load_model, run_recbole_video
from recbole_video.config import Config, kinds
from recbole_video.errors import CheckpointError
from recbole_video.evaluation.ranking import Ranking, hits_by_chance
from recbole_video.evaluation.regression import Predictions, standard_error_of_mae
from recbole_video.evaluation.regression_metrics import interval_of_src
from recbole_video.registries import POPULARITY_MODELS
from recbole_video.registry import class_path
from recbole_video.results.beside import Beside, first_alike, runs_beside
from recbole_video.results.console_table import result_table
from recbole_video.results.targets import cases_of, was_best_last
from recbole_video.tasks import TASKS, task_of
from recbole_video.tasks.popularity import scale_of_videos
from recbole_video.tasks.recommendation import scale_of_test, shown_protocol
from recbole_video.tasks.size import smaller_sizes
from recbole_video.tasks.task import Hooks

from .conftest import small_options
from .test_popularity import METADATA, SMALL, write_popularity
from .test_recbole_compat import STOCK

EVERY = {
    "best_valid_score", "valid_score_bigger", "best_valid_result", "test_result", "seconds", "peak_memory_mb",
    "parameters", "data", "run_folder", "config", "made_by", "precision",
}  # fmt: skip
NAMES_A_CONTROL = "beside it|Best control here"
OURS = EVERY | {"best_epoch", "history", "groups"}
KEYS = {
    "SASRec": OURS | {"ties", "chance"},
    "STAP": OURS | {"standard_errors", "retrieved_popularity_correlation", "memory_bank"},
    "MetadataRidge": OURS | {"control", "standard_errors"},
    "Constant": OURS | {"control", "standard_errors"},
    "SVR": OURS | {"fit", "standard_errors"},
    "Pop": EVERY | {"protocol"},
}


@pytest.fixture(scope="module")
def popularity_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("popularity")
    write_popularity(root)
    return root


@pytest.fixture
def run(data_root, popularity_root, in_tmp):
    """result = run(model, hooks)"""

    def make(model, hooks=None):
        if model in ("SASRec", "Pop"):
            options = small_options(data_path=str(data_root)) if model == "SASRec" else STOCK
            return run_recbole_video(model, "tiny", config_dict={**options, "data_path": str(data_root)}, hooks=hooks)
        options = {**SMALL, **METADATA, "epochs": 1} if model == "STAP" else {"figures": False, **METADATA}
        return run_recbole_video(model, "pop", config_dict={"data_path": str(popularity_root), **options}, hooks=hooks)

    return make


def test_every_key_of_a_result_is_documented():
    page = (Path(__file__).parents[1] / "docs" / "running.md").read_text("utf-8")
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = set(re.findall(r"`(\w+)`", " ".join(rows)))
    assert set().union(*KEYS.values()) | {"lists", "memory", "predictions_out_of_range"} <= documented


def test_controls_of_popularity_are_what_the_field_calls_so():
    """SVR, HyFea and what else is fitted in one go are systems that a report tests against them."""
    controls = {name for name in POPULARITY_MODELS if POPULARITY_MODELS.get(name).serves_as_control}
    assert controls == {"Constant", "MetadataRidge", "MetadataGBDT"}


def test_a_finished_baseline_of_an_earlier_version_shows_its_result(popularity_root, in_tmp, capsys):
    """What it said of its fit stood under ``control``."""
    options = {"data_path": str(popularity_root), "figures": False, "use_tabnet": False, **METADATA}
    result = run_recbole_video("MFTM", "pop", config_dict=options)
    file = Path(result["run_folder"]) / "metrics.json"
    stored = json.loads(file.read_text())
    file.write_text(json.dumps({**{k: v for k, v in stored.items() if k != "fit"}, "control": stored["fit"]}))
    capsys.readouterr()
    again = run_recbole_video("MFTM", "pop", config_dict={**options, "resume": True})
    assert again["control"] == result["fit"] and again["test_result"] == result["test_result"]
    assert "LightGBM alone, without TabNet" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("cuts", "shown"),
    [
        ([3.5], "cut at 3.5; "),
        (
            [884471835.0, 886000000],
            "cut at 1998-01-10 22:37:15 UTC (884471835) and 1998-01-28 15:06:40 UTC (886000000); ",
        ),
        ([1600000000000.0], "cut at 2020-09-13 12:26:40 UTC (1600000000000); "),
        ([86400 * 365.0], "cut at 31536000; "),  # a year after the first action
    ],
)
def test_a_cut_in_unix_time_has_its_date(cuts, shown):
    data = {"protocol": "temporal", "temporal": {"cuts": cuts, "test_targets": 1000, "target": "last"}}
    assert shown_protocol(data) == f"temporal ({shown}1,000 targets: the last action of each user)"


class TestScale:
    """What one hit, chance and the sample make of a hit rate."""

    def lines(self, test, n_users=400, n_items=200, **data):
        return scale_of_test({"test_result": test, "data": {"test_users": n_users, "items": n_items, **data}})

    def test_users_with_several_targets(self):
        """Each target weighs alike, and no share of independent users has a standard error."""
        [line] = self.lines({"hit@10": 0.2}, temporal={"test_targets": 1000})
        assert line == "HR@10: one hit is 0.1 points; by chance 5.00"

    def test_by_hand(self):
        [line] = self.lines({"hit@20": 0.3, "ndcg@10": 0.1, "hit@10": 0.2})
        assert line == "HR@10: one hit is 0.25 points, the standard error 2.00; by chance 5.00"  # sqrt(.2 * .8 / 400)

    def test_more_parameters_than_actions_can_tell(self):
        data = {"test_users": 400, "items": 200, "interactions": 2000}
        of = [
            scale_of_test({"test_result": {"hit@10": 0.2}, "data": data, "parameters": {"model": n}})[1:]
            for n in (200_000, 500_000)
        ]
        told = "500,000 parameters are 250 to each of 2,000 actions"
        assert of == [[], [f"{told}; a smaller model may learn more from them."]]
        result = {"test_result": {"hit@10": 0.2}, "data": data, "parameters": {"model": 500_000}}
        [_, line] = scale_of_test(result, "--hidden_size=64")
        assert line == f"{told}; a smaller model may learn more from them: --hidden_size=64"

    @pytest.mark.parametrize(("n", "is_told"), [(0, True), (1, False)])
    def test_that_no_target_is_cold(self, n, is_told):
        result = {"test_result": {}, "data": {"test_users": 4, "items": 20}, "groups": {"cold": {"cold": {"users": n}}}}
        assert any("No target is cold" in line for line in scale_of_test(result)) == is_told

    def test_what_the_split_lets_training_know(self):
        def told(**data):
            return self.lines({"hit@10": 0.2}, **data)[1:]

        clean = {"repeats": 0.0, "item_trained_later": 0.0, "trained_later": 0.5}
        assert told(leaks=clean) == told(leaks={"repeats": 0.0, "item_trained_later": None}) == told() == []
        [line] = told(leaks={**clean, "repeats": 0.0325, "item_trained_later": 0.9996})
        assert line == (
            "Of the test targets 3.2 % repeat what their user had acted on before, and 99.9 % are of items with later "
            "training actions: docs/tasks/what-may-leak.md."
        )
        [line] = told(leaks={**clean, "item_trained_later": 1.0})
        assert line.startswith("Of the test targets 100 % are of items")
        temporal = {"temporal": {"test_targets": 400}}
        assert told(leaks={**clean, "item_trained_later": 0.2}, **temporal) == []  # actions at the cut, if any
        [line] = told(leaks={**clean, "repeats": 0.0002}, **temporal)
        assert line.startswith("Of the test targets less than 0.1 % repeat")

    def test_actions_that_were_left_out_for_lack_of_content(self):
        """From a tenth of all on, those that were left out behind them included."""
        lacking = [
            self.lines(
                {"hit@10": 0.2}, interactions=891, dropped_interactions={"missing items": n, "filter options": 9}
            )
            for n in (99, 100, 8100)
        ]
        assert [len(lines) for lines in lacking] == [1, 2, 2]
        assert lacking[1][1].startswith("100 of 1,000 actions (10.0 %) were left out by missing_items=drop, as actions")
        assert "8,100 of 9,000 actions (90.0 %)" in lacking[2][1] and "id_fusion=sum" in lacking[2][1]

    def test_a_cut_off_that_says_little(self):
        first, second = self.lines({"hit@5": 0.1, "hit@20": 0.2, "hit@50": 0.5})
        assert first.startswith("HR@5:") and second.startswith("HR@50 ranks more than a tenth of the catalogue")

    def test_none_without_hit_rates(self):
        assert self.lines({"ndcg@10": 0.1}) == []


@pytest.mark.parametrize(
    ("n", "epochs", "best", "is_told"),
    [(3, 3, 3, True), (3, 3, 2, False), (3, 9, 3, False), (1, 1, 1, False), (0, 3, None, False), (0, 3, 0, False)],
)
def test_whether_the_last_epoch_was_the_best(n, epochs, best, is_told):
    """Of all that the options allow: not of those that patience left."""
    result = {"history": [{}] * n, "config": {"epochs": epochs}, "best_epoch": best}
    assert was_best_last(result) == is_told


class TestScaleOfVideos:
    """What a popularity result says of itself, against a bootstrap."""

    def result(self, n=8, parameters=0, **more):
        data = {"rows": {"train": 64, "valid": 8, "test": n}}
        test = {"mae": 0.5, "src": 0.8}
        return {"data": data, "test_result": test, "parameters": {"model": parameters}, **more}

    def test_errors_are_those_of_a_bootstrap(self):
        rng = np.random.default_rng(0)
        labels = rng.normal(size=200)
        found = Predictions(np.arange(200), labels, labels + rng.normal(size=200))
        drawn = rng.integers(0, 200, (500, 200))
        mae = [found.take(chosen) for chosen in drawn]
        spread = np.std([np.abs(one.values - one.labels).mean() for one in mae])
        assert standard_error_of_mae(found) == pytest.approx(spread, rel=0.15)
        src = [spearmanr(one.values, one.labels).statistic for one in mae]
        ends = interval_of_src(float(spearmanr(found.values, labels).statistic), 200)
        assert ends == pytest.approx(np.percentile(src, [2.5, 97.5]), abs=0.04)

    def test_few_test_videos(self):
        groups = {"cold_start": {"videos": 4}, "popularity": {"group 1": {"videos": 20}}}
        first, second = scale_of_videos(self.result(groups=groups, standard_errors={"mae": 0.1}))
        assert first == "8 test videos: standard error of MAE 0.1000, SRC 95 % about 0.09 to 0.97"
        assert second.startswith("Fewer than 20 videos: the test has 8, authors with few videos has 4. ")

    def test_videos_that_were_left_out_for_lack_of_content(self):
        def told(**dropped):
            result = self.result(n=20)
            return scale_of_videos({**result, "data": {**result["data"], "dropped": dropped}})[1:]

        assert told() == told(**{"without text": 10, "without a label": 900}) == []
        [line] = told(**{"without text": 60, "without frames": 48, "without a label": 900})
        assert line == (
            "108 of 200 labelled videos (54.0 %) were left out by missing_items and missing_text=drop (without text, "
            "without frames): the test is of what remains. With missing_items and missing_text=zero they are kept."
        )

    def test_many_parameters(self):
        lines = [
            scale_of_videos(self.result(n=20, parameters=n), smaller="--hidden_size=64")[1:] for n in (6_400, 895_930)
        ]
        told = "895,930 parameters are 13,999 to each of 64 training videos; a smaller model may learn more from them"
        assert lines == [[], [f"{told}: --hidden_size=64"]]

    def test_only_options_that_the_model_has_make_it_smaller(self):
        """One that is left empty follows something, and is told where that is larger."""
        assert smaller_sizes({"hidden_size": 128, "inner_size": 256, "n_layers": 9}) == "--hidden_size=64"
        assert smaller_sizes({"hidden_size": None, "inner_size": 512}) == "--inner_size=256"
        assert smaller_sizes({"hidden_size": None}, {"hidden_size": 768}) == "--hidden_size=64"
        assert smaller_sizes({}, {"hidden_size": 768}) == smaller_sizes({"hidden_size": 64}) == ""

    @pytest.mark.parametrize("model", ["SASRec", "STAP"])
    def test_too_large_a_model_is_told_before_its_first_epoch(self, model, popularity_root, data_root, in_tmp, caplog):
        ours = {"data_path": str(popularity_root), **SMALL, **METADATA}
        of_model = {
            "SASRec": ("tiny", small_options(data_path=str(data_root), inner_size=64), "action"),
            "STAP": ("pop", ours, "training video"),
        }
        dataset, options, cases = of_model[model]
        with caplog.at_level("INFO"):
            run_recbole_video(model, dataset, config_dict={**options, "hidden_size": 128, "epochs": 1})
        told = [i for i, text in enumerate(caplog.messages) if f" {cases}s; a smaller model may" in text]
        [trained] = [i for i, text in enumerate(caplog.messages) if "epoch 1 training" in text]
        assert len(told) == 2 and told[0] < trained < told[1]
        assert caplog.records[told[0]].levelname == "WARNING" and caplog.messages[told[0]].endswith("--hidden_size=64")


class TestBeside:
    """Finished runs of controls in the folder of a run, for the line below its results."""

    DATA = {"dataset": "d", "label": {"sha256": "x"}, "rows": {"train": 3, "valid": 1, "test": 1}}

    def write(self, folder, name, valid, test, **data):
        path = folder / name / "metrics.json"
        path.parent.mkdir()
        result = {"best_valid_result": {"nmse": valid}, "test_result": {"nmse": test}, "data": {**self.DATA, **data}}
        path.write_text(json.dumps(result))
        return path

    def best(self, folder, bigger=False):
        return next(iter(runs_beside(folder / "own", ["A", "B"], self.DATA, "nmse", bigger)), None)

    def test_the_one_that_validates_best(self, tmp_path):
        assert self.best(tmp_path) is None
        self.write(tmp_path, "A-d-Nov-1", 0.5, 0.7)
        self.write(tmp_path, "B-d-Nov-1", 0.4, 0.8)
        self.write(tmp_path, "C-d-Nov-1", 0.1, 0.1)
        assert self.best(tmp_path) == Beside("B", 0.4, 0.8, tmp_path / "B-d-Nov-1")
        assert self.best(tmp_path, bigger=True).model == "A"

    def test_what_differs_and_the_first_that_does_not(self, tmp_path):
        """Whatever reads no metadata has the same inputs however they are chosen; of others it is told what differs."""

        def write(name, valid, **config):
            path = self.write(tmp_path, name, valid, valid, inputs={"metadata": {}} if config else {})
            path.write_text(json.dumps({**json.loads(path.read_text()), "config": config}))

        def found():
            options = {"author_history": False, "metadata_numeric": ["a"]}
            return runs_beside(tmp_path / "own", ["A", "B"], self.DATA, "nmse", False, options)

        write("A-d-1", 0.1, author_history=True, metadata_numeric=["a"])
        [other] = found()
        assert other.differing == ("author_history",) and first_alike(found()) is None
        assert other.told("nMSE", "0.1").endswith("A-d-1), whose author_history is not this run's")
        write("A-d-2", 0.4, author_history=False, metadata_numeric=["a"])
        assert found()[0] == other and first_alike(found()) == Beside("A", 0.4, 0.4, tmp_path / "A-d-2")
        write("B-d-1", 0.3)
        assert found()[0] == other and first_alike(found()) == Beside("B", 0.3, 0.3, tmp_path / "B-d-1")

    def test_of_a_recommender(self, data_root, in_tmp, capsys):
        """The control of the same protocol, below a model's result and not below a control's."""
        shared = {"data_path": str(data_root), "dataset": "tiny"}

        def told_by(model, **options):
            run_recbole_video(model, config_dict={**shared, **options})
            return capsys.readouterr().out

        model = small_options(data_path=str(data_root))
        alone = told_by("MostPopular") + told_by("MostPopular", protocol="recbole") + told_by("Random")
        assert not re.search(NAMES_A_CONTROL, alone)
        value = run_recbole_video("MostPopular", config_dict=shared)["test_result"]["ndcg@10"]
        capsys.readouterr()
        assert f"\nBest control here: MostPopular, NDCG@10 {100 * value:.2f} (saved/" in told_by("SASRec", **model)

    def test_others_and_damaged_ones_are_passed_over(self, tmp_path):
        self.write(tmp_path, "A-d-1", 0.1, 0.1, label={"sha256": "y"})
        self.write(tmp_path, "A-d-2", 0.1, 0.1, dataset="e")
        self.write(tmp_path, "A-d-3", 0.1, 0.1, rows={"train": 2, "valid": 1, "test": 1})
        self.write(tmp_path, "A-d-4", float("nan"), 0.1)
        self.write(tmp_path, "A-d-5", "high", 0.1)
        for name, text in (("6", "{"), ("7", "[]"), ("8", '{"data": null}'), ("9", '"\xff"'), ("10", "[" * 5000)):
            self.write(tmp_path, f"A-d-{name}", 0.1, 0.1).write_text(text, encoding="latin-1")
        (tmp_path / "A-d-11" / "metrics.json").mkdir(parents=True)
        assert self.best(tmp_path) is None

    def test_a_run_names_it_or_what_to_run(self, popularity_root, in_tmp, capsys):
        ours = {"data_path": str(popularity_root), **SMALL, **METADATA, "epochs": 1}
        shared = {"data_path": str(popularity_root), "figures": False, **METADATA}

        def told_by(model, options, **more):
            run_recbole_video(model, "pop", config_dict=options, **more)
            return capsys.readouterr().out

        assert "No control was run on these data beside it (--model=Constant" in told_by("STAP", ours)
        assert not re.search(NAMES_A_CONTROL, told_by("MetadataRidge", shared) + told_by("Constant", shared))
        assert re.search(
            r"; seed 42; \d+ trees?, as many as 10 validation videos chose\n", told_by("MetadataGBDT", shared)
        )
        out = told_by("STAP", ours)
        assert re.search(r"\nBest control here: (MetadataRidge|MetadataGBDT|Constant), nMSE \d+\.\d{4} \(saved/", out)
        assert not re.search(NAMES_A_CONTROL, told_by("STAP", ours, saved=False))

    def test_no_interval_where_there_is_none(self):
        assert interval_of_src(0.5, 4) is interval_of_src(1.0, 50) is interval_of_src(float("nan"), 50) is None
        assert standard_error_of_mae(Predictions(*np.zeros((3, 1)))) is None


@pytest.mark.parametrize("model", KEYS)
def test_keys_of_the_results(run, model):
    result = run(model)
    written = json.loads(Path(result["run_folder"], "metrics.json").read_text())
    assert set(written) == KEYS[model] and set(result) == KEYS[model] - {"config", "made_by"}
    assert Path(result["run_folder"], "model.pth").is_file() == (model != "Pop")
    if model == "Pop":
        with pytest.raises(CheckpointError, match="keeps no checkpoint|RecBole has to load"):
            load_model(result["run_folder"])


@pytest.mark.parametrize("model", KEYS)
def test_order_of_events(run, model, monkeypatch):
    """Weights depend on the seed alone, not on how the data were read: figures of a seed hang on this order."""
    events = []

    def note(owner, name, event):
        original = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *a, **k: (events.append(event), original(*a, **k))[1])

    note(recbole_video.tasks.task, "init_seed", "seed")
    note(recbole_video.quick_start, "prepare_bundled", "prepare")
    of = {"SASRec": "recommendation", "Pop": "stock"}.get(model, "popularity")
    for name in ("build", "fit", "evaluate", "describe", "write"):
        note(TASKS[of], name, name)
    load = TASKS[of].load
    monkeypatch.setattr(TASKS[of], "load", classmethod(lambda cls, config: (events.append("load"), load(config))[1]))
    run(model)
    without_validation = [event for i, event in enumerate(events) if event != "evaluate" or events[i + 1] == "describe"]
    assert without_validation == [
        "prepare", "seed", "load", "seed", "build", "fit", "evaluate", "describe", "write"
    ]  # fmt: skip


@pytest.mark.parametrize(("model", "is_asked"), [("SASRec", True), ("MetadataRidge", True), ("Pop", False)])
def test_data_of_the_caller(run, model, is_asked):
    """As a sweep hands them over; RecBole's own data sets cannot be shared."""
    asked = []

    def load(config):
        asked.append(config["dataset"])
        return task_of(config).load(config).shareable().on(config)

    assert run(model, Hooks(load=load))["test_result"] == run(model)["test_result"]
    assert bool(asked) == is_asked


def test_nobody_else_asks_what_the_task_is():
    """`kind_of` finds it out for the configuration, and the table of tasks knows what it means."""
    root = Path(recbole_video.__file__).parent
    asking = re.compile(
        r"(config|_kind)\.task\b(?!\.)|[.\"']is_(video_model|popularity_model|ranked_lists)\b|\bis_control\b"
    )
    found = {path for path in root.rglob("*.py") if asking.search(path.read_text(encoding="utf-8"))}
    asks, hand_on = {"config/kinds.py", "tasks/__init__.py"}, {"config/config.py", "sweep/shared_data.py"}
    assert {path.relative_to(root).as_posix() for path in found} == asks | hand_on


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("SASRec", kinds.Recommenders), ("Random", kinds.Controls), ("Lists", kinds.RankedLists),
        ("STAP", kinds.PopularityModels), ("MetadataRidge", kinds.PopularityModels), ("Pop", kinds.RecBolesOwn),
        ("recbole:Random", kinds.RecBolesOwn),
    ],
)  # fmt: skip
def test_every_kind_of_model_has_its_side_of_configuration_and_run(model, kind):
    """What `kind_of` gives is what the registry knows, and has a task."""
    cls = Config(model).model_class
    assert kinds.kind_of(cls) is kind and kind.registry.admit(cls, class_path(cls)) is cls
    assert task_of(Config(model)) is TASKS[kind.task]


def test_a_likeness_of_a_model_has_a_kind():
    """So that its registry can refuse it in words."""
    assert kinds.kind_of(dict) is kinds.RecBolesOwn
    assert kinds.kind_of(type("Likeness", (), {"is_video_model": True})) is kinds.Recommenders


def test_stap_is_named_by_the_registry_alone():
    """The general code of popularity prediction knows no model: what one has of its own it says by hooks."""
    root = Path(recbole_video.__file__).parent
    for folder in ("tasks", "serving", "training", "evaluation", "data"):
        for path in (root / folder).glob("*.py"):
            assert not re.search(r"popularity\.stap|memory_bank\b|\bslots\.", path.read_text(encoding="utf-8")), path


def test_the_column_of_cases_says_what_it_counts():
    several = {"test_users": 3, "temporal": {"test_targets": 7}}
    assert [cases_of(data) for data in ({"test_users": 3}, several, {})] == ["users", "targets", "users"]
    assert result_table([("test", {"hit@10": 0.5, "users": 7})], "targets").split()[0] == "targets"


def test_chance_is_of_the_items_that_are_ranked_for_a_user(run):
    """By hand; and in a run, whose users are not shown what their histories hold, it is no less than k of all items."""
    numbers = np.arange(3)
    ranking = Ranking(numbers, numbers, numbers + 1, numbers, numbers, np.array([20, 8, 3]), None)
    assert hits_by_chance(ranking, [5, 2]) == {"hit@5": (5 / 20 + 5 / 8 + 1) / 3, "hit@2": (2 / 20 + 2 / 8 + 2 / 3) / 3}
    result = run("SASRec")
    chance, n_items = result["chance"], result["data"]["items"]
    assert set(chance) == {key for key in result["test_result"] if key.startswith("hit@")}
    assert all(value >= int(key.removeprefix("hit@")) / n_items for key, value in chance.items())
    [line] = [line for line in scale_of_test(result) if "by chance" in line]
    k = line.partition(":")[0].removeprefix("HR@")
    assert line.endswith(f"by chance {100 * chance[f'hit@{k}']:.2f}")
