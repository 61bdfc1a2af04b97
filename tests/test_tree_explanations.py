"""What each feature adds to a prediction of trees and of the ridge: against Shapley's own sum, and by hand."""

import json
import warnings
from dataclasses import replace
from itertools import combinations
from math import factorial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from sklearn.ensemble import HistGradientBoostingRegressor

from recbole_video import load_model, run_recbole_video
from recbole_video.data.metadata import Metadata, MetadataEncoder
from recbole_video.errors import CheckpointError, TrainingError
from recbole_video.popularity.__main__ import main as explain
from recbole_video.popularity.columns import contributions, one_hot, side_by_side
from recbole_video.popularity.counts import CountBehind
from recbole_video.popularity.explanation import Contribution, Explanation, WhatIf
from recbole_video.popularity.figures import draw_explanation
from recbole_video.popularity.retrieval import Neighbour
from recbole_video.popularity.tree_shap import shap_values
from recbole_video.popularity.trees import Trees, gains

from .test_popularity import METADATA, fitted, inputs_of, write_popularity

N = 180
FEW = {
    "HyFea": {"n_trees": 30, "patience": 20, "tree_depth": 3, "tree_learning_rate": 0.2},
    "MFTM": {"n_trees": 10, "use_tabnet": False},
    "MVP": {"n_trees": 10, "frame_components": 2},
}
NEEDS = {"HyFea": "catboost", "MFTM": "lightgbm"}


def grown(categorical, n=400, **settings):
    """Features with empty cells, and trees grown on them; categories are whole numbers up to five."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(n, len(categorical)))
    features[:, np.array(categorical)] = rng.integers(0, 6, (n, sum(categorical)))
    features[(rng.random(features.shape) < 0.1) & ~np.array(categorical)] = np.nan
    known = np.nan_to_num(features, nan=2.0)
    labels = np.sin(2 * known).sum(axis=1) + 3 * (known[:, -1] % 3) * known[:, 0] + rng.normal(size=n)
    settings = {"max_iter": 4, "max_leaf_nodes": 9, "learning_rate": 0.5, **settings}
    model = HistGradientBoostingRegressor(
        categorical_features=categorical, early_stopping=False, random_state=0, **settings
    )
    return features, model.fit(features, labels)


def expected(trees, row, known):
    """Mean prediction where only the columns ``known`` of a row are: Algorithm 1 of Lundberg et al."""
    chosen = trees.children_chosen(row)

    def below(node):
        if trees.column[node] < 0:
            return trees.value[node]
        if trees.column[node] in known:
            return below(chosen[node])
        sides = trees.left[node], trees.right[node]
        return sum(trees.count[side] * below(side) for side in sides) / trees.count[node]

    return float(trees.start) + sum(below(root) for root in trees.roots)


def by_brute_force(trees, row):
    """Shapley values by their definition, over all subsets of the columns."""
    d = len(row)
    found = np.zeros(d)
    for column in range(d):
        others = [other for other in range(d) if other != column]
        for size in range(d):
            weight = factorial(size) * factorial(d - 1 - size) / factorial(d)
            for known in map(set, combinations(others, size)):
                found[column] += weight * (expected(trees, row, known | {column}) - expected(trees, row, known))
    return found


class TestShapValues:
    @pytest.mark.parametrize(
        "categorical", [[False] * 4, [False, True, False, True], [True, False, False], [True, True], [False]], ids=str
    )
    def test_by_all_subsets(self, categorical):
        features, model = grown(categorical)
        trees = Trees.from_model(model)
        n_asked = max(np.bincount(trees.column[trees.column >= 0]))
        assert n_asked > len(trees.roots)  # a column more than once in a tree
        unknown = np.array([[99.5] * len(categorical), [np.nan] * len(categorical)])
        for row in np.concatenate([features[:4], features[np.isnan(features).any(axis=1)][:3], unknown]):
            base, added = shap_values(trees, row)
            np.testing.assert_allclose(added, by_brute_force(trees, row), rtol=1e-10, atol=1e-12)
            assert base == pytest.approx(expected(trees, row, set()), rel=1e-12)
            assert base + added.sum() == pytest.approx(trees.predict(row[None])[0], rel=1e-12)

    def test_the_base_is_the_mean_prediction(self):
        features, model = grown([False, True, False])
        trees = Trees.from_model(model)
        assert shap_values(trees, features[0])[0] == pytest.approx(trees.predict(features).mean(), rel=1e-12)

    def test_a_tree_of_one_leaf(self):
        nothing, whole = np.zeros(0, np.int64), np.zeros(1, np.int64)
        trees = Trees(
            np.array(1.0), whole, np.array([0.5]), whole - 1, np.zeros(1), whole, whole, whole > 0, whole - 1,
            np.zeros((0, 8), np.int64), nothing, nothing, np.array([9]),
        )  # fmt: skip
        assert shap_values(trees, np.zeros(2))[0] == 1.5 and not shap_values(trees, np.zeros(2))[1].any()

    def test_it_is_lightgbms(self):
        lightgbm = pytest.importorskip("lightgbm", reason="the extra `trees` is not installed")
        rng = np.random.default_rng(1)
        x = rng.normal(size=(300, 4))
        y = x[:, 0] * x[:, 1] + np.sin(3 * x[:, 2]) + 0.1 * x[:, 3]
        model = lightgbm.LGBMRegressor(n_estimators=8, num_leaves=9, verbose=-1, n_jobs=1).fit(x, y)
        nodes = model.booster_.trees_to_dataframe()
        place = {name: i for i, name in enumerate(nodes["node_index"])}
        is_leaf = nodes["left_child"].isna().to_numpy()
        column = nodes["split_feature"].map(lambda name: int(name.split("_")[1]), na_action="ignore")
        left, right = (nodes[side].map(place).fillna(0).to_numpy(np.int64) for side in ("left_child", "right_child"))
        nothing = np.zeros(0, np.int64)
        trees = Trees(
            start=np.array(0.0),
            roots=np.flatnonzero(nodes["node_depth"] == 1),
            value=np.where(is_leaf, nodes["value"], 0.0),
            column=column.fillna(-1).to_numpy(np.int64),
            threshold=nodes["threshold"].fillna(0).to_numpy(float),
            left=left,
            right=right,
            missing_left=np.zeros(len(nodes), bool),
            subset=np.full(len(nodes), -1),
            subsets=np.zeros((0, 8), np.int64),
            code_columns=nothing,
            codes=nothing,
            count=nodes["count"].to_numpy(np.int64),
        )
        np.testing.assert_allclose(trees.predict(x), model.predict(x), rtol=1e-12)
        wanted = model.predict(x[:20], pred_contrib=True)
        found = [shap_values(trees, row) for row in x[:20]]
        np.testing.assert_allclose([added for _, added in found], wanted[:, :-1], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose([base for base, _ in found], wanted[:, -1], rtol=1e-9)

    def test_a_long_chain(self):
        """As deep as trees of many leaves may get."""
        features, model = grown([False], n=3000, max_iter=2, max_leaf_nodes=150, min_samples_leaf=2)
        trees = Trees.from_model(model)
        base, added = shap_values(trees, features[0])
        assert base + added.sum() == pytest.approx(trees.predict(features[:1])[0], rel=1e-12)

    def test_without_counts(self):
        features, model = grown([False, True])
        trees = replace(Trees.from_model(model), count=None)
        assert "count" not in trees.state() and Trees.from_state(trees.state()).count is None
        with pytest.raises(ValueError, match="do not know how many training videos"):
            shap_values(trees, features[0])

    def test_gains_are_those_of_the_columns(self):
        """Wherever the categorical columns stand: scikit-learn moves them to the front."""
        _, model = grown([False, True, False, True])
        splits = np.concatenate([tree.nodes[tree.nodes["is_leaf"] == 0] for [tree] in model._predictors])
        own = [1, 3, 0, 2]
        wanted = [splits["gain"][splits["feature_idx"] == own.index(column)].sum() for column in range(4)]
        assert gains(model, 4).tolist() == pytest.approx(wanted) and min(wanted) > 0


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Videos of which the seconds decide the label, and little else."""
    root = tmp_path_factory.mktemp("explained")
    seconds = np.random.default_rng(0).gamma(2, 10, N)
    write_popularity(root, n=N, seconds=seconds, labels=5 + 3 * np.log1p(seconds))
    return root


@pytest.fixture(scope="module")
def folder_of(root):
    """The run folder of a model, which is fitted once."""
    folders = {}

    def find(model, **options):
        pytest.importorskip(NEEDS.get(model, "numpy"), reason="the extra `trees` is not installed")
        key = model, *options.items()
        if key not in folders:
            config = {"data_path": str(root), "figures": False, "checkpoint_dir": str(root / "saved"), **METADATA}
            config |= {"log_dir": str(root / "log"), "tensorboard_dir": str(root / "tensorboard")}
            result = run_recbole_video(model, "pop", config_dict={**config, **FEW.get(model, {}), **options})
            folders[key] = Path(result["run_folder"])
        return folders[key]

    return find


MODELS = ["MetadataRidge", "MetadataGBDT", "MVP", "HyFea", "MFTM"]


class TestModels:
    @pytest.mark.parametrize("model", MODELS)
    def test_from_the_command_line(self, folder_of, model, pictures, capsys):
        folder = folder_of(model)
        assert explain([str(folder), "v3", "v55"]) == 0
        told = capsys.readouterr().out
        *lines, known, drawn = told[told.index("v55: predicted") :].splitlines()
        assert "it is a training video" in known and "explain-v55.png" in drawn
        assert lines[1].startswith("  the mean prediction in training is ") and "to which features add" in lines[1]
        assert lines[2].split(" ", 3)[3].startswith("seconds: ")  # the planted one comes first
        names = {line.split(" ", 3)[3].partition(":")[0] for line in lines[2:]}
        past = {"number of the author's earlier videos", "mean of the author's earlier videos"}
        own = {"MetadataRidge": set(), "MetadataGBDT": set(), "MVP": {"frames", "text", *past}}
        assert names == {"seconds", "fans", "hour (UTC)", "kind", *own.get(model, {"frames", "text"})}
        amounts = [float(line.split()[0]) for line in lines[2:]]
        assert [abs(a) for a in amounts] == sorted((abs(a) for a in amounts), reverse=True)
        assert float(lines[1].split(" is ")[1].split(",")[0]) + sum(amounts) == pytest.approx(
            float(lines[0].split()[2].strip(",")), abs=1e-3
        )
        assert (folder / "explain-v55.png").stat().st_size > 1000

    @pytest.mark.parametrize("model", MODELS)
    def test_it_adds_up_to_the_prediction(self, root, folder_of, model):
        predictor = load_model(folder_of(model))
        items = ["v3", "v41", "v58"]
        videos = inputs_of(root, predictor, items)
        if model == "MVP":
            users = pd.read_csv(root / "pop" / "pop.inter", sep="\t").set_index("item_id:token")["user_id:token"]
            videos = replace(videos, metadata=videos.metadata.assign(user_id=users.loc[items].to_numpy()))
        found = [predictor.explain(videos, row) for row in range(3)]
        for explanation, wanted in zip(found, predictor.predict(videos), strict=True):
            total = explanation.base + sum(one.amount for one in explanation.contributions)
            assert total == pytest.approx(wanted, abs=1e-9) and explanation.popularity == pytest.approx(wanted)
            values = {one.feature: one.value for one in explanation.contributions}
            assert values["kind"] in ("x", "y", "z") and values["hour (UTC)"].isdigit()
            assert "frames" not in values or values["frames"] == values["text"] == ""
        seconds = next(one.value for one in found[0].contributions if one.feature == "seconds")
        assert float(seconds) == pytest.approx(videos.metadata["seconds"].iloc[0], rel=1e-3)

    def test_the_share_of_tabnet(self, root, folder_of):
        """It is one contribution, as a whole."""
        pytest.importorskip("pytorch_tabnet", reason="the extra `trees` is not installed")
        folder = folder_of("MFTM", use_tabnet=True, tabnet_epochs=2, tabnet_share=0.25)
        predictor = load_model(folder)
        videos = inputs_of(root, predictor, ["v3"])
        found = predictor.explain(videos)
        total = found.base + sum(one.amount for one in found.contributions)
        assert total == pytest.approx(predictor.predict(videos)[0], abs=1e-9)
        assert found.contributions[-1].feature == "TabNet" and found.contributions[-1].column is None
        told = found.as_text("v3", 5.0)
        assert told.endswith("The trees make up 75% of the prediction; the other 25% are TabNet's, which are not taken "
                             "apart: they are told against the mean training label.")  # fmt: skip
        alone = load_model(folder_of("MFTM")).explain(videos)
        named = {one.feature: one.amount for one in found.contributions}
        for one in alone.contributions:  # the same trees
            assert named[one.feature] == pytest.approx(0.75 * one.amount, abs=1e-12)

    def test_logarithms_of_labels_add_up_as_such(self, root):
        pytest.importorskip("catboost", reason="the extra `trees` is not installed")
        task, _ = fitted(root, "HyFea", log_labels=True, **FEW["HyFea"], **METADATA)
        batch = {name: value[:1] for name, value in next(task._batches("test")).items()}
        found = task.model.explain(batch)
        total = found.base + sum(one.amount for one in found.contributions)
        assert total == pytest.approx(np.log1p(found.popularity), abs=1e-9)
        told = replace(found, count=CountBehind("views", "log2_1p")).as_text("v", 5.0)
        assert "the mean of log(1 + prediction) in training is " in told and "(x " not in told and "(31 views)" in told

    def test_the_ridge_by_hand(self, root):
        task, outcome = fitted(root, "MetadataRidge", **METADATA)
        train, test = (next(iter(task._batches(split))) for split in ("train", "test"))
        weights = np.array(outcome.notes["weights"])
        added = weights * (one_hot(test, task.model.inputs)[2] - one_hot(train, task.model.inputs).mean(axis=0))
        found = task.model.explain({name: value[2:3] for name, value in test.items()})
        wanted = [*added[:3], added[3:].sum()]
        assert [one.amount for one in found.contributions] == pytest.approx(wanted, abs=1e-12)
        assert found.base == pytest.approx(task.data.labels[task.data.rows["train"]].mean())

    def test_content_is_a_line_each(self, root):
        task, _ = fitted(root, "MVP", **FEW["MVP"], **METADATA)
        batch = {name: value[:1] for name, value in next(task._batches("test")).items()}
        rows = task.model.rows_with_codes(task.model.condensed(batch))
        _, added = shap_values(task.model._trees, rows[0])
        found = {one.feature: one.amount for one in task.model.explain(batch).contributions}
        assert found["frames"] == pytest.approx(added[:2].sum()) and found["text"] == pytest.approx(added[2:7].sum())
        assert list(found.values())[2:] == pytest.approx(added[7:].tolist())

    @pytest.mark.parametrize("model", ["MetadataGBDT", "MetadataRidge", "MVP"])
    def test_before_the_fit(self, root, model):
        task, _ = fitted(root, model, **FEW.get(model, {}), **METADATA)
        batch = {name: value[:1] for name, value in next(task._batches("test")).items()}
        fresh = type(task.model)(task.config, task.model.inputs)
        with pytest.raises((TrainingError, CheckpointError)):
            fresh.explain(batch)


class TestNotes:
    @pytest.mark.parametrize("model", MODELS[1:])
    def test_shares(self, folder_of, model):
        result = json.loads((folder_of(model) / "metrics.json").read_text())
        notes = result["control" if model == "MetadataGBDT" else "fit"]
        features = notes["features"]
        assert next(iter(features)) == "seconds" and list(features.values()) == sorted(features.values(), reverse=True)
        assert features["seconds"] > 30 and set(features) <= {
            "seconds", "fans", "hour", "kind", "author_past_label", "author_past_videos"
        }  # fmt: skip
        if model == "MetadataGBDT":
            assert "importance" not in notes and sum(features.values()) == pytest.approx(100, abs=0.05)
        else:
            assert sum(notes["importance"].values()) == pytest.approx(100, abs=0.05)
            assert sum(features.values()) == pytest.approx(notes["importance"]["metadata"], abs=0.05)

    @pytest.mark.parametrize("model", MODELS[2:])
    def test_all_of_the_metadata_is_no_news(self, root, model):
        pytest.importorskip(NEEDS.get(model, "numpy"), reason="the extra `trees` is not installed")
        few = {name: value for name, value in FEW[model].items() if name != "frame_components"}
        _, outcome = fitted(root, model, use_frames=False, use_text=False, **few, **METADATA)
        assert "importance" not in outcome.notes and "seconds" in outcome.notes["features"]
        _, outcome = fitted(root, model, use_metadata=False, **({"author_history": False} if model == "MVP" else {}),
                            **FEW[model])  # fmt: skip
        assert outcome.notes["importance"]["metadata"] == 0 and "features" not in outcome.notes


def changed(folder, path, change):
    state = torch.load(folder / "model.pth", weights_only=True)
    change(state["state_dict"])
    torch.save(state, path)
    return path


def put(values, place, value):
    values[place] = value
    return values


class TestCheckpoints:
    @pytest.mark.parametrize("model", ["MetadataGBDT", "MVP", "MetadataRidge"])
    def test_of_an_earlier_version(self, root, folder_of, in_tmp, model):
        """It predicts the same, and says why it explains nothing."""
        folder = folder_of(model, author_history=False) if model == "MVP" else folder_of(model)

        def change(state):
            if model == "MetadataRidge":
                del state["feature_mean"]
            else:
                del state["_extra_state"]["count"]

        old, new = load_model(changed(folder, in_tmp / "model.pth", change)), load_model(folder)
        videos = inputs_of(root, new, ["v3", "v55"])
        assert old.predict(videos).tolist() == new.predict(videos).tolist()
        with pytest.raises(
            CheckpointError, match=f"This {model} was trained by an earlier version, .*; train it again"
        ):
            old.explain(videos)
        old.save(in_tmp / "again.pth")
        assert load_model(in_tmp / "again.pth").predict(videos).tolist() == new.predict(videos).tolist()
        new.save(in_tmp / "new.pth")
        assert load_model(in_tmp / "new.pth").explain(videos) == new.explain(videos)

    @pytest.mark.parametrize(
        "change",
        [
            lambda count: put(count, 0, -1),
            lambda count: put(count, 1, 0),
            lambda count: count[:-1],
            lambda count: count[None],
            lambda count: count.double(),
            lambda count: put(count, 0, int(count[0]) + 1),
            lambda count: put(count, 0, 1 << 40),
            lambda count: count.numpy().tolist(),
        ],
    )
    def test_bad_counts(self, folder_of, tmp_path, change):
        def apply(state):
            state["_extra_state"]["count"] = change(state["_extra_state"]["count"].clone())

        path = changed(folder_of("MetadataGBDT"), tmp_path / "model.pth", apply)
        with pytest.raises(CheckpointError, match="`count` in its `trees` is not an array|`trees.count` is no plain"):
            load_model(path)

    def test_a_node_of_two_parents(self, folder_of, tmp_path):
        """Ways through such nodes can be more than there is time for."""

        def apply(state):
            trees = state["_extra_state"]
            root = int(trees["roots"][0])
            trees["left"][root] = trees["right"][root]
            trees["count"][root] = 2 * trees["count"][trees["right"][root]]

        path = changed(folder_of("MetadataGBDT"), tmp_path / "model.pth", apply)
        with pytest.raises(CheckpointError, match="`roots` in its `trees` is not an array that fits the others"):
            load_model(path)

    def test_bad_means(self, folder_of, tmp_path):
        for value in (torch.zeros(2, dtype=torch.float64), torch.full((7,), float("nan"), dtype=torch.float64), 3):
            path = changed(
                folder_of("MetadataRidge"), tmp_path / "model.pth", lambda state, v=value: state.update(feature_mean=v)
            )
            with pytest.raises(CheckpointError, match="`feature_mean`"):
                load_model(path)


class TestInWords:
    def test_the_largest_ten_and_the_others(self):
        amounts = [(-1) ** i * (1 + i) for i in range(14)]
        found = Explanation(
            1.0, base=0.5, contributions=[Contribution(f"f{i}", amount) for i, amount in enumerate(amounts)]
        )
        listed = found.listed()
        assert [one.feature for one in listed] == [*(f"f{i}" for i in range(13, 3, -1)), "the other 4 together"]
        assert sum(one.amount for one in listed) == pytest.approx(sum(amounts))
        eleven = replace(found, contributions=found.contributions[:11])
        assert len(eleven.listed()) == 11 and eleven.listed()[-1].feature == "f0"  # no "the other 1"

    def test_columns_of_a_feature_are_summed(self):
        found = contributions(np.arange(7.0), ["a", "kind"], [1, 3], {"frames": 3, "text": 0})
        assert found == [Contribution("frames", 3.0), Contribution("a", 3.0, column=0),
                         Contribution("kind", 15.0, column=1)]  # fmt: skip

    def test_a_logarithm_of_a_count_is_multiplied(self):
        found = Explanation(5.0, count=CountBehind("views", "log2_1p"))
        assert [found.added_in_words(amount) for amount in (0.5, -1)] == ["+0.5000 (x 1.41)", "-1.0000 (x 0.50)"]
        assert Explanation(5.0).added_in_words(3) == "+3.0000"

    def test_values_of_the_metadata(self):
        rng = np.random.default_rng(0)
        table = pd.DataFrame(
            {
                "fans": rng.integers(0, 10**6, 30).astype(float),
                "time": 1.7e9 + 3600.0 * np.arange(30),
                "user_id": ["ann", "bob", "eve"] * 10,
                "kind": ["x", "y"] * 15,
            }
        )
        columns = ["fans", "time", "weekday", "author_past_videos", "author_past_label"]
        encoder = MetadataEncoder(columns, ["kind"]).fit(table, np.arange(30.0))
        new = pd.DataFrame(
            {"fans": [1234567, np.nan, 0.0], "time": [1.7e9 + 3600 * 6] * 3, "user_id": ["ann", "new", "eve"],
             "kind": ["y", "z", ""]}
        )  # fmt: skip
        found = encoder.transform(new)
        first, second, third = (dict(encoder.in_words(found, i)) for i in range(3))
        assert first == {
            "fans": "1,234,600", "time": first["time"], "weekday": "Wednesday",
            "number of the author's earlier videos": "2", "mean of the author's earlier videos": "1.5",
            "kind": "y",
        }  # fmt: skip
        wanted = np.datetime64("2023-11-15T04:13:20")
        assert abs(np.datetime64(first["time"].replace(" ", "T")) - wanted) < np.timedelta64(60, "s")
        assert second["fans"].startswith("not known, read as the mean (") and third["fans"] == "0"
        assert (second["kind"], third["kind"]) == ("in no training video", "empty")
        assert second["mean of the author's earlier videos"] == "none"

    def test_a_column_that_is_the_same_in_all_training_videos(self):
        """Its standardised value is 0 in each, as that of the mean; a column with an empty cell has no one value."""
        table = pd.DataFrame(
            {"a": [5.0] * 4, "b": [0.1, np.nan, 0.1, 0.1], "kind": ["x"] * 4, "tag": ["x", "", "x", "x"]}
        )
        fitted = MetadataEncoder(["a", "b"], ["kind", "tag"], log1p=False).fit(table)
        new = pd.DataFrame({"a": [5.0, np.nan, 7.0], "b": [0.1] * 3, "kind": ["x", "", "y"], "tag": ["x"] * 3})
        for encoder in (fitted, MetadataEncoder.from_state(json.loads(json.dumps(fitted.state())))):
            found = encoder.transform(new)
            told = [dict(encoder.in_words(found, row)) for row in range(3)]
            assert [one["a"] for one in told] == [
                "5, as in all training videos",
                "not known, read as the mean (5)",
                "7",
            ]
            assert [one["kind"] for one in told] == ["x, as in all training videos", "empty", "in no training video"]
            assert {(one["b"], one["tag"]) for one in told} == {("0.1", "x")}

    @pytest.mark.parametrize("constant", [[True], [True, 1], "yes", [True, True, True]], ids=str)
    def test_constants_of_a_damaged_checkpoint(self, constant):
        state = MetadataEncoder(["a"], ["kind"]).state()
        with pytest.raises(CheckpointError, match="do not agree with each other"):
            MetadataEncoder.from_state({**state, "constant": constant})

    def test_the_mean_itself_is_known(self):
        encoder = MetadataEncoder(["a"], [], log1p=False).fit(pd.DataFrame({"a": [1.0, 2.0, 3.0]}))
        assert encoder.in_words(encoder.transform(pd.DataFrame({"a": [2.0]})), 0) == [("a", "2")]

    def test_zero_is_told_as_zero(self):
        """What single precision makes of it is no number; a small one that it can tell from zero is."""
        table = pd.DataFrame({"a": [0.0, 3.1, 7.7, 0.25], "b": [0.0, 13.0, 22.0, 5.0]})
        encoder = MetadataEncoder(["a", "b"], [], log1p=False).fit(table)
        told = [dict(encoder.in_words(encoder.transform(table), row)) for row in (0, 3)]
        assert told == [{"a": "0", "b": "0"}, {"a": "0.25", "b": "5"}]

    def test_numbers_that_no_date_or_logarithm_has(self):
        state = MetadataEncoder(["fans", "time", "weekday"], []).state()
        encoder = MetadataEncoder.from_state({**state, "sd": [1e38, 1e38, 1e38]})
        for sign in (-1, 1):
            numbers, codes, known = np.full((1, 3), sign, np.float32), np.zeros((1, 0), np.int64), np.ones((1, 3), bool)
            found = encoder.in_words(Metadata(numbers, codes, (), known), 0)
            assert [name for name, _ in found] == ["fans", "time", "weekday"] and all(value for _, value in found)

    def test_the_picture(self, tmp_path, pictures, monkeypatch):
        """Raising and lowering features have colours of their own; a category is no formula, however it is spelt."""
        drawn, save = [], Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k)))
        found = Explanation(
            5.0, base=4.0, contributions=[Contribution("kind", 2.0, "$\\frac$" + 99 * "y"), Contribution("text", -1.0)]
        )
        draw_explanation("v: $", found, tmp_path / "x.png")
        axis = drawn[0].axes[0]
        raising, lowering = (bar.get_facecolor() for bar in axis.patches)
        assert raising != lowering and axis.get_xlabel().endswith("in training, 4.000")
        labels = [label.get_text() for label in axis.get_yticklabels()]
        assert labels[1] == "text" and labels[0].startswith("kind: $\\frac$yy") and labels[0].endswith("y…")

    def test_long_and_foreign_names_stay_in_the_picture(self, tmp_path, pictures, monkeypatch):
        """Nothing is drawn over a panel or beyond the edge, and a letter that no font has brings no warning."""
        drawn, save = [], Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k)))
        words = "视频标题 भारत 🎉 العربية $\\frac " * 20
        features = [Contribution(f"{'long_name_' * 9}{i}", 9000.0 - i, words) for i in range(12)]
        slots = [Neighbour(f"https://example.org/{'x' * 90}/{i}", 1234567.0, "") for i in range(12)]
        found = Explanation(5.0, np.ones(9), slots, [0.1] * 12, "neighbour", without=[WhatIf(words, 4.0)])
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            draw_explanation(f"{words}: predicted 5.000, true 4.000", found, tmp_path / "x.png")
            draw_explanation(words, Explanation(5.0, base=4.0, contributions=features), tmp_path / "y.png")
        for figure in drawn:
            figure.canvas.draw()
            room = figure.bbox.padded(1)
            texts = [figure._suptitle, *(label for axis in figure.axes for label in axis.get_yticklabels())]
            boxes = [text.get_window_extent() for text in texts]
            assert all(room.x0 <= box.x0 and box.x1 <= room.x1 for box in boxes)
            assert all(axis.bbox.width > 0.2 * figure.bbox.width for axis in figure.axes)
        assert drawn[0]._suptitle.get_text().endswith("predicted 5.000, true 4.000")
        labels = [label.get_text() for label in drawn[1].axes[0].get_yticklabels()]
        assert labels[0].startswith("long_name_long") and "_0: 视频" in labels[0]


class TestExplanation:
    def test_it_is_short_where_it_is_shown_and_told_where_it_is_printed(self):
        found = Explanation(5.0, np.ones(30), [Neighbour("v1", 4.0, "near")], [1.0], "neighbour")
        assert repr(found) == "<Explanation: predicted 5.0000; 30 frame scores, 1 neighbour; see .as_text()>"
        assert str(found).startswith("the video: predicted 5.0000\n  frame scores: 1.00 1.00")
        assert repr(Explanation(5.0)) == "<Explanation: predicted 5.0000; no more; see .as_text()>"
        assert Explanation(5.0) == Explanation(5.0) and replace(found, kind="slot").kind == "slot"

    def test_what_if_it_lacked_an_input(self):
        found = Explanation(
            5.0, without=[WhatIf("text", 4.5), WhatIf("metadata", 5.25, "numbers at the training mean")]
        )
        assert found.as_text("v").splitlines()[2:] == [
            "  without its text: 4.5000, that is -0.5000",
            "  without its metadata, numbers at the training mean: 5.2500, that is +0.2500",
        ]
        assert repr(found).endswith("2 what-ifs; see .as_text()>")


def test_trees_are_asked_with_the_values_that_they_predict_by(root):
    task, _ = fitted(root, "MetadataGBDT", **METADATA)
    batch = {name: value[:1] for name, value in next(task._batches("test")).items()}
    base, added = shap_values(task.model._trees, side_by_side(batch)[0])
    found = task.model.explain(batch)
    assert found.base == base and [one.amount for one in found.contributions] == added.tolist()


def test_a_model_that_tells_of_what_ifs_alone_has_them_drawn(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr("recbole_video.popularity.figures.save_figure", lambda figure, path: drawn.append(figure))
    found = Explanation(3.5, without=(WhatIf("text", 2.5), WhatIf("metadata", 4.0)))
    draw_explanation("v1", found, tmp_path / "explain.png")
    [axis] = drawn[0].axes
    assert [bar.get_width() for bar in axis.patches] == [3.5, 2.5, 4.0]
    assert [label.get_text() for label in axis.get_yticklabels()] == [
        "with all",
        "without its text",
        "without its metadata",
    ]
