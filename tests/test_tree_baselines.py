"""SVR, HyFea, MFTM and MVP: against the libraries called directly, and rules that they can and cannot learn."""

import json
import pickle
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR as KernelSVR
from sklearn.svm import LinearSVR

from recbole_video import FrameStore, load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.data.author_history import AuthorHistory
from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader
from recbole_video.data.metadata import MetadataEncoder
from recbole_video.errors import CheckpointError, ConfigError, DataError, MissingDependencyError
from recbole_video.popularity import tabnet as tabnet_module
from recbole_video.popularity.__main__ import main as explain
from recbole_video.popularity.mvp import MVP
from recbole_video.popularity.tree_libraries import sealed
from recbole_video.serving.smp_submission import write_submission

from .test_popularity import METADATA, TEXT, D, N, config_of, fitted, inputs_of, write_popularity

catboost = pytest.importorskip("catboost", reason="the extra `trees` is not installed")
TabNetRegressor = pytest.importorskip("pytorch_tabnet.tab_model", reason="without `trees`").TabNetRegressor
lightgbm = pytest.importorskip("lightgbm", reason="the extra `trees` is not installed")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    write_popularity(root)
    return root


def features_of(dataset, codes=True):
    """Mean frame, mean text, numbers and codes or one column per category, by hand."""
    frames, mask = dataset.frames.gather(torch.arange(1, len(dataset) + 1))
    text, _ = dataset.text.gather(torch.arange(1, len(dataset) + 1))
    n = mask.sum(dim=1).numpy()
    mean = np.stack([frames[i, : n[i]].double().mean(dim=0).numpy() for i in range(len(n))])
    m = dataset.metadata
    one_hot = np.concatenate([m.codes[:, i, None] == np.arange(k) for i, k in enumerate(m.n_categories)], axis=1)
    return np.concatenate([mean, text[:, 0].double().numpy(), m.numeric, m.codes if codes else one_hot], axis=1)


def splits_of(dataset, x):
    return {name: (x[rows], dataset.labels[rows]) for name, rows in dataset.rows.items()}


def used_again(root, model, options, exact=True):
    """A run's checkpoint predicts what the run predicted, whatever the batches."""
    options = {"data_path": str(root), "figures": False, "eval_batch_size": 3, **METADATA, **options}
    folder = run_recbole_video(model, "pop", config_dict=options)["run_folder"]
    predictor = load_model(folder)
    written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t", float_precision="round_trip")
    found = predictor.predict(inputs_of(root, predictor, written["item_id"].tolist()))
    if exact:
        assert found.tolist() == written["prediction"].tolist()
    np.testing.assert_allclose(found, written["prediction"], rtol=1e-9)
    twin = pickle.loads(pickle.dumps(predictor))
    assert twin.predict(inputs_of(root, twin, written["item_id"].tolist())).tolist() == found.tolist()
    return folder


def tampered(folder, path, change):
    state = torch.load(f"{folder}/model.pth", weights_only=True)
    change(state["state_dict"])
    torch.save(state, path)
    return path


def write_rule(root, rule, n=300, name="rule", **changed):
    """Videos whose label is ``rule(seconds)``, of which the first in time are trained on; frames and text are noise."""
    rng = np.random.default_rng(3)
    seconds = rng.uniform(1, 100, n)
    write_popularity(root, name, n=n, seconds=seconds, labels=rule(np.log1p(seconds)), **changed)


def r_squared(root, model, **options):
    task, _ = fitted(root, model, name="rule", use_frames=False, use_text=False, **options)
    found, _ = task.evaluate("test")
    return 1 - np.mean((found.values - found.labels) ** 2) / found.labels.var()


class TestVariant:
    def test_one_of_a_literal_needs_no_file(self):
        assert Config("SVR")["kernel"] == "rbf"  # no variant at all
        with pytest.raises(ConfigError, match="There is no variant `offical` of STAP"):
            Config("STAP", config_dict={"variant": "offical"})


class TestFeatureRows:
    def test_frames_are_never_in_memory_at_once(self, root, monkeypatch):
        seen, batch = [], PopularityLoader.batch
        monkeypatch.setattr(PopularityLoader, "batch", lambda self, rows: seen.append(len(rows)) or batch(self, rows))
        fitted(root, "SVR", eval_batch_size=7, **METADATA)
        assert max(seen) == 7 and sum(seen) == N - 10 + 10

    def test_components_are_scikit_learns(self, root):
        task, _ = fitted(root, "SVR", frame_components=3, **METADATA)
        x = features_of(task.data)[:, :D].astype(np.float32).astype(float)
        train = task.data.rows["train"]
        pca = PCA(3, svd_solver="full").fit(x[train])
        batch = next(task._batches("test"))
        found = task.model.content_rows(task.model.condensed(batch))
        np.testing.assert_allclose(found[:, :3], pca.transform(x[batch["row"]]), rtol=1e-9, atol=1e-12)
        assert found.shape[1] == 3 + TEXT

    def test_more_components_than_videos(self, root):
        with pytest.raises(ConfigError, match="`frame_components` is 5, and there are 4 training videos; lower it"):
            fitted(root, "SVR", frame_components=5, train_share=0.1, **METADATA)

    def test_padding_changes_no_digit(self, root):
        task, _ = fitted(root, "SVR", **METADATA)
        batch = dict(next(task._batches("test")))
        garbage = torch.where(batch["frame_mask"][..., None], batch["frames"], 9.0)
        longer = {
            **batch,
            "frames": torch.cat([garbage, torch.ones(len(garbage), 30, D)], dim=1),
            "frame_mask": torch.cat([batch["frame_mask"], torch.zeros(len(garbage), 30, dtype=torch.bool)], dim=1),
        }
        assert task.model.predict(longer).tolist() == task.model.predict(batch).tolist()

    @pytest.mark.parametrize("model", ["SVR", "HyFea", "MFTM", "MVP"])
    def test_nothing_varies(self, tmp_path, model):
        write_popularity(tmp_path, seconds=1.0)
        options = {"use_frames": False, "use_text": False, "metadata_numeric": ["seconds"], "author_history": False}
        with pytest.raises(DataError, match=f"All 40 training videos have the same features: {model} has nothing to l"):
            fitted(tmp_path, model, **options)

    @pytest.mark.parametrize(
        ("model", "options"),
        [
            ("SVR", {}),
            ("HyFea", {"n_trees": 5, "patience": 5}),
            ("MFTM", {"tabnet_epochs": 1}),
            ("MVP", {"n_trees": 5}),
        ],
    )
    def test_a_category_of_one_class_and_a_constant(self, tmp_path, model, options):
        """Told, and learned nothing from."""
        write_popularity(tmp_path, kind="x", seconds=2.0)
        task, _ = fitted(tmp_path, model, **options, **METADATA)
        assert np.isfinite(task.evaluate("test")[0].values).all()


class TestSVR:
    @pytest.mark.parametrize("kernel", ["rbf", "linear"])
    def test_it_is_scikit_learns(self, root, kernel):
        task, outcome = fitted(root, "SVR", kernel=kernel, **METADATA)
        parts = splits_of(task.data, features_of(task.data, codes=False).astype(np.float32))
        (x, y), (x_valid, y_valid), (x_test, _) = (parts[name] for name in ("train", "valid", "test"))
        scaler, mean, sd = StandardScaler().fit(x.astype(float)), y.mean(), y.std()

        def fit(penalty):
            linear = LinearSVR(epsilon=0.1, C=penalty, random_state=42, max_iter=5000)
            model = KernelSVR(C=penalty) if kernel == "rbf" else linear
            return model.fit(scaler.transform(x), (y - mean) / sd)

        errors = {
            c: np.mean((fit(c).predict(scaler.transform(x_valid)) * sd + mean - y_valid) ** 2) for c in (0.1, 1, 10)
        }
        best = min(errors, key=errors.get)
        assert outcome.notes["C"] == best
        wanted = fit(best).predict(scaler.transform(x_test)) * sd + mean
        found = task.evaluate("test")[0].values
        np.testing.assert_allclose(found, wanted, rtol=1e-8 if kernel == "rbf" else 1e-6)  # liblinear stops early

    def test_used_again(self, root, in_tmp):
        folder = used_again(root, "SVR", {"frame_components": 2})

        def change(state):
            state["_extra_state"]["vectors"] = state["_extra_state"]["vectors"][:, 1:]

        with pytest.raises(CheckpointError, match="`vectors` in its `support vectors` is not of the shape"):
            load_model(tampered(folder, in_tmp / "model.pth", change))

    def test_many_videos_are_refused_with_the_way_out(self, root):
        with pytest.raises(ConfigError, match="there are 40, more than max_kernel_videos=39; set kernel=linear"):
            fitted(root, "SVR", max_kernel_videos=39, **METADATA)
        fitted(root, "SVR", kernel="linear", **METADATA)

    def test_a_rule_that_a_line_cannot_express(self, tmp_path):
        write_rule(tmp_path, lambda x: np.sin(3 * x))
        scores = {
            kernel: r_squared(tmp_path, "SVR", kernel=kernel, metadata_numeric=["seconds"])
            for kernel in ("rbf", "linear")
        }
        assert scores["rbf"] > 0.8 > 0.4 > scores["linear"]


SMALL = {"n_trees": 60, "patience": 20, "tree_depth": 3, "tree_learning_rate": 0.2}


class TestHyFea:
    @pytest.mark.parametrize("variant", ["hyfea", "hyfea_emb"])
    def test_it_is_catboosts(self, root, variant):
        task, outcome = fitted(root, "HyFea", variant=variant, use_metadata=True, **SMALL, **METADATA)
        parts = splits_of(task.data, features_of(task.data))

        def table(x):
            return pd.DataFrame(x.astype(np.float32)).astype({x.shape[1] - 1: int})

        own = {"eval_metric": "MAE", "max_ctr_complexity": 1, "leaf_estimation_method": "Gradient"}
        trees = catboost.CatBoostRegressor(
            iterations=60, early_stopping_rounds=20, depth=3, learning_rate=0.2, random_seed=42, thread_count=1,
            l2_leaf_reg=3, logging_level="Silent", allow_writing_files=False, **(own if variant == "hyfea" else {}),
        )  # fmt: skip
        (x, y), (x_valid, y_valid), (x_test, _) = (parts[name] for name in ("train", "valid", "test"))
        trees.fit(table(x), y, cat_features=[x.shape[1] - 1], eval_set=(table(x_valid), y_valid))
        assert outcome.notes["trees"] == trees.tree_count_ >= 1
        np.testing.assert_allclose(task.evaluate("test")[0].values, trees.predict(table(x_test)), rtol=1e-9)

    def test_embeddings_alone(self, root):
        config = Config("HyFea", config_dict={"variant": "hyfea_emb"})
        assert not config["use_metadata"] and (config["n_trees"], config["tree_depth"]) == (500, 10)
        whole = Config("HyFea")
        assert (whole["n_trees"], whole["patience"], whole["tree_depth"]) == (100_000, 5_000, 8)
        task, outcome = fitted(root, "HyFea", variant="hyfea_emb", **SMALL, **METADATA)
        assert task.data.metadata is None and outcome.notes["importance"]["metadata"] == 0

    def test_used_again(self, root, in_tmp):
        folder = used_again(root, "HyFea", SMALL)

        def change(state):
            state["_extra_state"]["model"][100] ^= 1

        with pytest.raises(CheckpointError, match="`model` in its `trees` is not what its `sha256` says"):
            load_model(tampered(folder, in_tmp / "model.pth", change))

        def seal(state):
            state["_extra_state"] = sealed(b"no trees")

        with pytest.raises(CheckpointError, match="holds no model that this version of CatBoost reads"):
            load_model(tampered(folder, in_tmp / "model.pth", seal))

    def test_logarithms(self, root, tmp_path):
        with pytest.raises(DataError, match="takes log.1 . label., and a label is -.*; set log_labels=False"):
            write_popularity(tmp_path, labels=np.arange(N) - 5.0)
            fitted(tmp_path, "HyFea", log_labels=True, **SMALL, **METADATA)
        assert np.isfinite(
            fitted(root, "HyFea", log_labels=True, **SMALL, **METADATA)[0].evaluate("test")[0].values
        ).all()

    def test_without_catboost(self, root, monkeypatch):
        monkeypatch.setitem(sys.modules, "catboost", None)
        with pytest.raises(
            MissingDependencyError, match="HyFea is fitted by CatBoost, which is not installed; uv pip .*trees"
        ):
            fitted(root, "HyFea", **METADATA)

    def test_a_rule_in_a_category(self, tmp_path):
        """Which it reads, and embeddings alone do not."""
        kind = np.array(["x", "y", "z"])[np.arange(300) % 3]
        write_rule(tmp_path, lambda x: np.where(kind == "y", 5.0, 1.0) + 0.1 * x, kind=kind)
        options = {**SMALL, "metadata_categorical": ["kind"]}
        assert r_squared(tmp_path, "HyFea", **options) > 0.9


class TestMFTM:
    def test_trees_are_lightgbms(self, root):
        task, outcome = fitted(root, "MFTM", use_tabnet=False, n_trees=9, **METADATA)
        parts = splits_of(task.data, features_of(task.data))
        (x, y), (x_test, _) = (parts[name] for name in ("train", "test"))
        x, x_test = (
            np.concatenate([part[:, : D + TEXT].astype(np.float32), part[:, D + TEXT :]], 1) for part in (x, x_test)
        )
        trees = lightgbm.LGBMRegressor(
            n_estimators=9, random_state=42, deterministic=True, force_row_wise=True, verbose=-1
        )
        trees.fit(x, y, categorical_feature=[x.shape[1] - 1])
        gains = trees.booster_.feature_importance("gain")
        share = [100 * part.sum() / gains.sum() for part in np.split(gains, [D, D + TEXT])]
        assert list(outcome.notes["importance"].values()) == pytest.approx(share, abs=0.01)
        assert outcome.notes["trees"] == 9 and np.ptp(trees.predict(x_test)) > 0
        np.testing.assert_allclose(task.evaluate("test")[0].values, trees.predict(x_test), rtol=1e-12)

    def test_the_blend(self, root):
        """TabNet is the package's own, and the share the one that validates best of 21."""
        options = {"tabnet_epochs": 3, "n_trees": 5, **METADATA}
        task, outcome = fitted(root, "MFTM", **options)
        model, parts = task.model, splits_of(task.data, features_of(task.data))
        (x, y), (x_valid, y_valid) = (parts[name] for name in ("train", "valid"))
        mean, sd = y.mean(), y.std()
        tabnet = TabNetRegressor(
            cat_idxs=[x.shape[1] - 1], cat_dims=[4], cat_emb_dim=1, seed=42, verbose=0, device_name="cpu"
        )
        single = [
            (a.astype(np.float32), ((b - mean) / sd).astype(np.float32)[:, None])
            for a, b in ((x, y), (x_valid, y_valid))
        ]
        tabnet.fit(
            *single[0], eval_set=[single[1]], eval_metric=["mse"], max_epochs=3, patience=20, batch_size=40,
            virtual_batch_size=40,
        )  # fmt: skip
        of_trees, of_tabnet = model._parts(x_valid)
        np.testing.assert_allclose(of_tabnet, tabnet.predict(single[1][0])[:, 0] * sd + mean, rtol=1e-4)
        errors = [
            np.mean(((1 - share) * of_trees + share * of_tabnet - y_valid) ** 2) for share in np.linspace(0, 1, 21)
        ]
        assert outcome.notes["tabnet share"] == round(float(np.argmin(errors)) / 20, 2)
        other, notes = fitted(root, "MFTM", tabnet_share=0.5, **options)
        assert notes.notes["tabnet share"] == 0.5 == float(other.model.tabnet_share)

    def test_used_again(self, root, in_tmp):
        folder = used_again(root, "MFTM", {"tabnet_epochs": 2, "tabnet_share": 0.5}, exact=False)

        for name, message in (
            ("tabnet.initial_bn.weight", "in its `tabnet` is not of the shape"),
            ("tabnet.final_mapping.weight", "TabNet is another than the one of its options: `tabnet.final_mapping"),
        ):

            def change(state, name=name):
                state["_extra_state"]["tabnet"][name] = state["_extra_state"]["tabnet"][name][1:]

            with pytest.raises(CheckpointError, match=message):
                load_model(tampered(folder, in_tmp / "model.pth", change))

        def seal(state):
            state["_extra_state"]["trees"] = sealed(b"no trees")

        with pytest.raises(CheckpointError, match="holds no model that this version of LightGBM reads"):
            load_model(tampered(folder, in_tmp / "model.pth", seal))

    def test_without_the_packages(self, root, in_tmp, monkeypatch, caplog):
        options = {"data_path": str(root), "figures": False, "n_trees": 2}
        with monkeypatch.context() as patch:
            patch.setattr(tabnet_module, "find_spec", lambda name: None)
            folder = run_recbole_video("MFTM", "pop", config_dict=options)["run_folder"]
        assert "without MFTM's metadata; LightGBM alone, without TabNet" in caplog.text
        assert load_model(folder).model._tabnet is None  # it was not there when the model was made
        for module, message in (("pytorch_tabnet.tab_model", "pytorch-tabnet"), ("lightgbm", "LightGBM")):
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, module, None)
                with pytest.raises(MissingDependencyError, match=f"is fitted by {message}, which is not installed"):
                    fitted(root, "MFTM", use_tabnet=True)

    def test_a_rule_in_a_category(self, tmp_path):
        kind = np.array(["x", "y", "z"])[np.arange(300) % 3]
        write_rule(tmp_path, lambda x: np.where(kind == "y", 5.0, 1.0) + 0.1 * x, kind=kind)
        assert r_squared(tmp_path, "MFTM", use_tabnet=False, metadata_categorical=["kind"]) > 0.9


def past_of(table, row):
    """Number and mean label of what the author had posted before among the training videos, in words of the table."""
    video = table.iloc[row]
    past = table[(table["split"] == "train") & (table["user_id"] == video["user_id"]) & (table["time"] < video["time"])]
    return len(past), past["label"].mean()


class TestAuthorHistory:
    @pytest.mark.parametrize("seed", range(3))
    def test_by_brute_force(self, tmp_path, seed):
        """In any order of the rows, with equal times, unknown times, and a split at random."""
        rng = np.random.default_rng(seed)
        split = rng.permutation(["train"] * 40 + ["valid"] * 10 + ["test"] * 10)
        users = [f"a{i}" for i in rng.integers(0, 6, N)]
        table = write_popularity(tmp_path, time=rng.integers(0, 15, N) * 3600.0, split=split, user_id=users)
        dataset = PopularityDataset(config_of(tmp_path, "MVP"))
        encoder, found = dataset.metadata_encoder, dataset.metadata.numeric
        pasts = np.array([past_of(table, row) for row in range(N)], dtype=float)
        raw = np.stack([np.log1p(pasts[:, 0]), pasts[:, 1]], axis=1)
        train = raw[dataset.rows["train"]]
        wanted = np.nan_to_num((raw - np.nanmean(train, axis=0)) / np.nanstd(train, axis=0))
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
        again = MetadataEncoder.from_state(encoder.state())
        columns = pd.DataFrame({"user_id": table["user_id"], "time": table["time"]})
        np.testing.assert_array_equal(again.transform(columns).numeric, found)

    def test_videos_without_a_time_or_an_author_have_no_past(self):
        history = AuthorHistory(
            np.array(["a", "a", ""], object), np.array([1.0, np.nan, 1.0]), np.array([3.0, 9.0, 9.0])
        )
        counts, means = history.before(np.array(["a", "a", "", "b"], object), np.array([2.0, np.nan, 2.0, 2.0]))
        np.testing.assert_array_equal(counts, [1, np.nan, 0, 0])
        np.testing.assert_array_equal(means, [3, np.nan, np.nan, np.nan])
        assert len(history) == 1

    @pytest.mark.parametrize(
        "change", [{"counts": [2]}, {"times": ["x"]}, {"labels": [float("nan")]}, {"authors": "a"}, {"authors": [1]}]
    )
    def test_a_damaged_state(self, change):
        state = AuthorHistory(np.array(["a"], object), np.array([1.0]), np.array([3.0])).state()
        assert AuthorHistory.from_state(state).state() == state
        with pytest.raises(CheckpointError, match="author history of the checkpoint"):
            AuthorHistory.from_state({**state, **change})

    def test_without_times_or_authors(self, tmp_path):
        table = write_popularity(tmp_path)
        (tmp_path / "pop" / "pop.times.npy").unlink()
        as_inter_has_them = PopularityDataset(config_of(tmp_path, "MVP"))
        assert np.ptp(as_inter_has_them.metadata.numeric[:, 1]) > 0
        path = tmp_path / "pop" / "pop.inter"
        table[["user_id", "item_id"]].to_csv(path, sep="\t", index=False, header=["user_id:token", "item_id:token"])
        with pytest.raises(ConfigError, match="Author history needs times, and there is neither `pop.times.npy` nor a"):
            PopularityDataset(config_of(tmp_path, "MVP"))
        twice = pd.concat([table, table])[["user_id", "item_id"]]
        twice.to_csv(path, sep="\t", index=False, header=["user_id:token", "item_id:token"])
        with pytest.raises(ConfigError, match="Author history needs the author of each video"):
            PopularityDataset(config_of(tmp_path, "MVP"))
        assert PopularityDataset(config_of(tmp_path, "MVP", author_history=False)).metadata is None

    def test_of_any_model(self, root):
        task, _ = fitted(root, "MetadataGBDT", author_history=True)
        assert task.data.metadata_encoder.numeric == ["author_past_videos", "author_past_label"]


class TestMVP:
    def test_it_is_scikit_learns(self, root):
        task, outcome = fitted(root, "MVP", frame_components=3, n_trees=20, leaves=4, **METADATA)
        x, train = features_of(task.data), task.data.rows["train"]
        frames = x[:, :D].astype(np.float32).astype(float)
        x = np.concatenate([PCA(3, svd_solver="full").fit(frames[train]).transform(frames), x[:, D:]], axis=1)
        parts = splits_of(task.data, x)
        trees = HistGradientBoostingRegressor(
            max_iter=outcome.notes["trees"], learning_rate=0.05, max_leaf_nodes=4, early_stopping=False,
            categorical_features=[False] * (x.shape[1] - 1) + [True], random_state=42,
        ).fit(*parts["train"])  # fmt: skip
        np.testing.assert_allclose(task.evaluate("test")[0].values, trees.predict(parts["test"][0]), rtol=1e-9)

    def test_used_again(self, root, in_tmp):
        """New videos are told their author's past by the checkpoint, from user_id and time."""
        options = {"data_path": str(root), "figures": False, "eval_batch_size": 3, "n_trees": 20}
        folder = run_recbole_video("MVP", "pop", config_dict={**options, **METADATA})["run_folder"]
        predictor = load_model(folder)
        written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t", float_precision="round_trip")
        videos = inputs_of(root, predictor, written["item_id"].tolist())
        with pytest.raises(DataError, match="The metadata lack `user_id` .the author, of which"):
            predictor.predict(videos)
        table = pd.read_csv(root / "pop" / "pop.inter", sep="\t").set_index("item_id:token")
        users = table.loc[written["item_id"], "user_id:token"].to_numpy()
        told = replace(videos, metadata=videos.metadata.assign(user_id=users))
        assert predictor.predict(told).tolist() == written["prediction"].tolist()
        predictor.save(in_tmp / "again.pth")
        assert load_model(in_tmp / "again.pth").predict(told).tolist() == written["prediction"].tolist()

    def test_a_rule_of_the_author(self, tmp_path):
        """Which the past tells, and nothing else does."""
        users = [f"a{i}" for i in np.random.default_rng(1).integers(0, 10, 300)]
        levels = dict(zip(sorted(set(users)), np.random.default_rng(2).normal(5, 3, 10), strict=True))
        write_rule(tmp_path, lambda x: np.array([levels[user] for user in users]), user_id=users)
        options = {"metadata_numeric": ["seconds"], "n_trees": 50}
        assert r_squared(tmp_path, "MVP", **options) > 0.8
        assert r_squared(tmp_path, "MVP", author_history=False, **options) < 0.3

    def test_the_title_says_what_is_missing(self, root):
        task, _ = fitted(root, "MVP", author_history=False, n_trees=2)
        assert MVP.remark({"data": task.data.summary()}) == "without author history"
        task, _ = fitted(root, "MVP", n_trees=2)
        assert MVP.remark({"data": task.data.summary()}) == ""


class TestSubmission:
    def test_of_a_run(self, root, in_tmp, capsys):
        options = {"data_path": str(root), "figures": False, "n_trees": 5}
        folder = run_recbole_video("MVP", "pop", config_dict=options)["run_folder"]
        assert explain([folder, "--smp_submission", "mine.json"]) == 0
        assert capsys.readouterr().out.endswith("mine.json: 10 posts\n")
        found = json.loads(Path("mine.json").read_text())
        written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t", float_precision="round_trip")
        scores = {row["post_id"]: row["popularity_score"] for row in found["result"]}
        assert scores == dict(zip(written["item_id"], written["prediction"], strict=True))
        assert found["external_data"] == {"used": "true", "details": "frames: random; text: random"}
        assert set(found) == {"version", "result", "external_data"}
        assert explain([folder, "--smp_submission", "none.json", "--details", ""]) == 0
        assert json.loads(Path("none.json").read_text())["external_data"]["used"] == "false"
        assert explain([str(in_tmp), "--smp_submission", "x.json"]) == 1 and not Path("x.json").exists()

    @pytest.mark.parametrize("name", ["predictions.tsv", "metrics.json", "model.pth", "notes.txt"])
    def test_no_other_file_is_replaced(self, root, in_tmp, capsys, name):
        """Neither what it reads nor anything that is no submission; a submission is."""
        options = {"data_path": str(root), "figures": False}
        folder = Path(run_recbole_video("MetadataRidge", "pop", config_dict={**options, **METADATA})["run_folder"])
        place = folder / name
        if name == "notes.txt":
            place.write_text('{"version": "mine"}')
        kept = place.read_bytes()
        assert explain([str(folder), "--smp_submission", str(place)]) == 1 and place.read_bytes() == kept
        assert f"{name}` is there and is no submission" in capsys.readouterr().err
        assert [explain([str(folder), "--smp_submission", "mine.json", "--details", word]) for word in "ab"] == [0, 0]
        assert json.loads(Path("mine.json").read_text())["external_data"]["details"] == "b"

    def test_damaged_predictions(self, in_tmp, capsys):
        Path("predictions.tsv").write_text("a\tb\n1\t2\n")
        Path("metrics.json").write_text("{}")
        assert explain([".", "--smp_submission", "mine.json"]) == 1
        assert "has no columns `item_id` and `prediction`" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("posts", "scores", "message"),
        [
            (["a"], [1.0, 2.0], "1 posts and 2 scores"),
            (["a", "b"], [1.0, np.nan], "post `b` is not finite"),
            (["a", "a"], [1.0, 2.0], "`a` is there twice"),
        ],
    )
    def test_what_is_refused(self, tmp_path, posts, scores, message):
        with pytest.raises(DataError, match=message):
            write_submission(tmp_path / "x.json", posts, scores)


def test_what_does_not_vary_is_told(tmp_path, caplog):
    write_popularity(tmp_path, kind="x", seconds=2.0)
    PopularityDataset(config_of(tmp_path, **METADATA))
    assert "The same in all training videos: `seconds`, `kind`; nothing can be learned from that" in caplog.text


def flat(state, name=""):
    """The tensors of a state_dict and of what lies in it, by their names."""
    if isinstance(state, torch.Tensor):
        return {name: state}
    return {key: value for inner in state for key, value in flat(state[inner], f"{name}.{inner}").items()}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        ("SVR", {"frame_components": 2}),
        ("HyFea", SMALL),
        ("MFTM", {"tabnet_epochs": 2}),
        ("MVP", {"n_trees": 10, "frame_components": 2}),
    ],
)
def test_nothing_of_the_test_moves_what_was_fitted(tmp_path, model, options):
    """Neither labels, authors, frames nor metadata of the test videos: all tensors and the metadata are the same."""
    rng = np.random.default_rng(5)
    table = write_popularity(tmp_path / "a")
    test = (table["split"] == "test").to_numpy()
    changed = {"label": rng.normal(50, 9, N), "seconds": rng.random(N)}
    changed["user_id"] = np.r_[table["user_id"][~test], table["user_id"][test][::-1]]  # the same users in another order
    write_popularity(tmp_path / "b", **{name: np.where(test, new, table[name]) for name, new in changed.items()})
    path = tmp_path / "b" / "pop" / "pop.frames.npy"
    frames = np.where(test[:, None, None], 7, FrameStore(path).read(np.arange(N)))
    counts = FrameStore(path).counts_of(np.arange(N))
    write_frame_store(path, table["item_id"], frames, counts, vfm="random", sampling="none")
    fits = [fitted(tmp_path / name, model, author_history=True, **options, **METADATA)[0] for name in ("a", "b")]
    one, other = (flat(fit.model.state_dict()) for fit in fits)
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert fits[0].data.metadata_encoder.state() == fits[1].data.metadata_encoder.state()
    features = [fit.model.rows_with_codes(fit.model.condensed(next(fit._batches("test")))) for fit in fits]
    assert (features[0] != features[1]).any(axis=0).sum() >= 4  # frames, seconds, and the author's past
