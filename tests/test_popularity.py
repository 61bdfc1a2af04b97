"""Popularity data, metrics, controls and whole runs, against SciPy, scikit-learn, and formulas by hand."""

import copy
import importlib
import json
import pickle
import re
import signal
import sys
import time
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from recbole_video.dataset_tools.__main__ import main as dataset_tools
from recbole_video.dataset_tools.popularity.labels import TRANSFORMS
from recbole_video.dataset_tools.popularity_demo import GeneratingRule, generate
from recbole_video.dataset_tools.trends_demo import RULE as RULE_OF_TRENDS
from recbole_video.dataset_tools.video.samplers import Sampling
from recbole_video.dataset_tools.video.samples import Sample
from scipy.stats import spearmanr
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, mean_squared_error
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from recbole_video import FrameStore, load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader, evenly_chosen, sample_rows
from recbole_video.data.metadata import DERIVED, METADATA_PRESETS, MetadataEncoder
from recbole_video.errors import CheckpointError, ConfigError, DataError, MemoryFrozenError, TrainingError
from recbole_video.evaluation.regression import PopularityMetrics, Predictions, regression_results_by_group
from recbole_video.evaluation.regression_metrics import register
from recbole_video.options.option import declared
from recbole_video.options.show import by_section
from recbole_video.popularity import POPULARITY_MODELS, register_popularity_model
from recbole_video.popularity.__main__ import main as explain
from recbole_video.popularity.base import InputShape, PopularityModel
from recbole_video.popularity.counts import CountBehind, count_behind, counts_of
from recbole_video.popularity.explanation import Explanation, WhatIf
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.stap.model import STAP
from recbole_video.popularity.stap.slots import Slot
from recbole_video.popularity.what_if import without_each
from recbole_video.serving.explain import cold_start_cases
from recbole_video.serving.predictor import Inputs
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.shared_data import DataServer
from recbole_video.sweep.spec import read_sweep
from recbole_video.tasks.popularity import PopularityTask

from .test_smpd import post, user, write_jsonl
from .videos import write_video

N, T, D, TEXT = 60, 4, 6, 5
SMALL = {
    "hidden_size": 16, "state_size": 16, "n_partitions": 2, "n_clusters": 3, "memory_top_k": 2, "epochs": 3,
    "train_batch_size": 16, "memory_warmup_epochs": 0, "base_window": 1, "show_progress": False, "figures": False,
}  # fmt: skip

STAP_MEMORY = {"n_partitions", "n_clusters", "memory_top_k", "memory_warmup_epochs"}


def write_popularity(root, name="pop", n=N, labels=None, **changed):
    """A data set of labelled videos; returns its table."""
    rng = np.random.default_rng(0)
    folder = root / name
    folder.mkdir(parents=True)
    table = pd.DataFrame(
        {
            "item_id": [f"v{i}" for i in range(n)],
            "user_id": [f"a{i % 7 if i % 5 else i}" for i in range(n)],
            "label": rng.normal(5, 2, n) if labels is None else labels,
            "split": ["train"] * (n - 20) + ["valid"] * 10 + ["test"] * 10,
            "time": np.arange(n) * 3600.0,
            "seconds": rng.gamma(2, 10, n),
            "kind": [("x", "y", "z")[i % 3] for i in range(n)],
        }
    ).assign(**changed)
    users = table["user_id"].drop_duplicates()

    def write(suffix, columns, frame):
        rows = frame.astype(object).where(frame.notna(), "")
        lines = ["\t".join(columns), *("\t".join(map(str, row)) for row in rows.to_numpy())]
        (folder / f"{name}{suffix}").write_text("\n".join(lines) + "\n")

    write(".inter", ["user_id:token", "item_id:token", "timestamp:float"], table[["user_id", "item_id", "time"]])
    write(".item", ["item_id:token", "seconds:float", "kind:token"], table[["item_id", "seconds", "kind"]])
    write(".user", ["user_id:token", "fans:float"], pd.DataFrame({"u": users, "f": rng.integers(0, 999, len(users))}))
    columns = ["item_id:token", "label:float", "time:float", "split:token"]
    write(".mine.popularity", columns, table[["item_id", "label", "time", "split"]])
    np.save(folder / f"{name}.times.npy", table["time"].to_numpy(dtype=np.int64))
    (folder / f"{name}.card.json").write_text(json.dumps({"interactions": {"time_unit": "s"}}))
    frames = rng.normal(size=(n, T, D))
    counts = rng.integers(1, T + 1, n)
    write_frame_store(folder / f"{name}.frames.npy", table["item_id"], frames, counts, vfm="random", sampling="none")
    text = rng.normal(size=(n, 1, TEXT))
    write_frame_store(folder / f"{name}.text.frames.npy", table["item_id"], text, vfm="random", sampling="none")
    return table


def with_other_test_videos(root, folder, only_labels=False):
    """The data set with other labels, and but for ``only_labels`` frames, authors and metadata, of the test videos."""
    table = write_popularity(folder / "same")
    is_test = (table["split"] == "test").to_numpy()
    rng = np.random.default_rng(7)
    changes = {"label": rng.normal(50, 9, N), "user_id": np.full(N, "a0"), "seconds": rng.normal(900, 9, N)}
    changes = {"label": changes["label"]} if only_labels else changes
    write_popularity(folder, **{name: np.where(is_test, new, table[name]) for name, new in changes.items()})
    if only_labels:
        return folder
    for suffix in (".frames", ".text.frames"):
        store = FrameStore(root / "pop" / f"pop{suffix}.npy")
        rows = store.rows_of(table["item_id"].tolist())
        values, counts = store.read(rows).astype(np.float32), store.counts_of(rows)
        values[is_test] = rng.normal(size=values[is_test].shape)
        for end in ("npy", "json"):
            (folder / "pop" / f"pop{suffix}.{end}").unlink()
        path = folder / "pop" / f"pop{suffix}.npy"
        write_frame_store(path, table["item_id"], values, counts, vfm="random", sampling="none")
    return folder


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("popularity")
    write_popularity(root)
    return root


def config_of(root, model="STAP", name="pop", **options):
    return Config(model, name, config_dict={"data_path": str(root), **(SMALL if model == "STAP" else {}), **options})


METADATA = {"metadata_numeric": ["seconds", "fans", "hour"], "metadata_categorical": ["kind"]}


class TestMetrics:
    def metrics(self, labels, values, **options):
        names = {"metrics": ["nMSE", "MAE", "SRC", "MAPE"], "metric_decimal_place": 9}
        register()
        found = PopularityMetrics({**names, "metric_batching": "global", "metric_batch_size": 3, **options})
        return found.compute(Predictions(np.arange(len(labels)), np.asarray(labels, float), np.asarray(values, float)))

    def test_against_scipy_and_scikit_learn(self):
        rng = np.random.default_rng(0)
        labels, values = rng.integers(1, 9, 50) * 1.0, np.round(rng.normal(4, 2, 50))  # with many ties
        assert self.metrics(labels, values) == pytest.approx(
            {
                "nmse": mean_squared_error(labels, values) / np.var(labels),
                "mae": mean_absolute_error(labels, values),
                "src": spearmanr(labels, values).statistic,
                "mape": mean_absolute_percentage_error(labels, values),
            }
        )

    def test_by_hand(self):
        found = self.metrics([1, 2, 3, 4], [1, 2, 3, 8])
        assert found == pytest.approx({"nmse": 4 / 1.25, "mae": 1, "src": 1, "mape": 0.25})

    def test_batch_means_are_another_number(self):
        rng = np.random.default_rng(0)
        labels, values = rng.normal(size=7), rng.normal(size=7)
        parts = [slice(0, 3), slice(3, 6), slice(6, 7)]
        batched = self.metrics(labels[:6], values[:6], metric_batching="batch_mean")
        expected = [mean_squared_error(labels[p], values[p]) / np.var(labels[p]) for p in parts[:2]]
        assert batched["nmse"] == pytest.approx(np.mean(expected)) != self.metrics(labels[:6], values[:6])["nmse"]

    def test_what_is_undefined(self, caplog):
        found = self.metrics([2, 2, 2], [1, 2, 3])
        assert np.isnan(found["nmse"]) and np.isnan(found["src"]) and "All labels are the same" in caplog.text
        assert self.metrics([1, 2, 3], [5, 5, 5])["src"] == 0 and "reported as 0" in caplog.text
        assert np.isnan(self.metrics([1], [1])["src"])
        assert self.metrics([0, 2], [1, 1])["mape"] == 0.5

    def test_smaller_is_better_except_for_correlation(self, root):
        bigger = {m: config_of(root, valid_metric=m)["valid_metric_bigger"] for m in ("nMSE", "MAE", "MAPE", "SRC")}
        assert bigger == {"nMSE": False, "MAE": False, "MAPE": False, "SRC": True}


class TestMetadata:
    def table(self, n=8):
        rng = np.random.default_rng(1)
        return pd.DataFrame({"a": rng.gamma(1, 100, n), "b": rng.normal(size=n), "c": list("xyxyxyzz")[:n]})

    def test_formula(self):
        table = self.table()
        encoder = MetadataEncoder(["a", "b"], ["c"]).fit(table[:6])
        found = encoder.transform(table)
        logs = np.log1p(np.maximum(table[["a", "b"]].to_numpy(), 0))
        expected = (logs - logs[:6].mean(0)) / logs[:6].std(0)
        np.testing.assert_allclose(found.numeric, expected, rtol=1e-5)
        assert found.codes[:, 0].tolist() == [1, 2, 1, 2, 1, 2, 0, 0] and found.n_categories == (3,)

    def test_empty_cells_are_the_mean_and_constants_are_zero(self):
        table = self.table().assign(a=[1.0, np.nan, 3, 1, 3, np.nan, 1, 3], b=7.0)
        found = MetadataEncoder(["a", "b"], [], log1p=False).fit(table).transform(table).numeric
        assert found[:, 0].tolist() == [-1, 0, 1, -1, 1, 0, -1, 1] and not found[:, 1].any()

    def test_state_is_the_encoder(self):
        table = self.table()
        encoder = MetadataEncoder(["a"], ["c"]).fit(table)
        again = MetadataEncoder.from_state(json.loads(json.dumps(encoder.state())))
        for name in ("numeric", "codes", "n_categories"):
            np.testing.assert_array_equal(
                getattr(again.transform(table), name), getattr(encoder.transform(table), name)
            )

    def test_what_cannot_be_read(self):
        table = self.table()
        encoder = MetadataEncoder(["a"], ["c"]).fit(table)
        with pytest.raises(DataError, match="The metadata lack `c`"):
            encoder.transform(table[["a"]])
        with pytest.raises(DataError, match="`a` holds an infinite number in row 2"):
            encoder.transform(table.assign(a=[1, 2, np.inf, 4, 5, 6, 7, 8]))

    def test_points_in_time_are_unix_seconds(self):
        """Whatever their unit and time zone: the features are those of the seconds since 1970, which pandas counts."""
        seconds = np.array([1357041600.0, 1357129999.5, np.nan, 1388000000.0])
        encoder = MetadataEncoder(["hour", "weekday"], []).fit(pd.DataFrame({"time": seconds}))
        expected = encoder.transform(pd.DataFrame({"time": seconds})).numeric
        stamps = pd.Series(pd.to_datetime(seconds, unit="s"))
        zone = stamps.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo")
        for times in (stamps, zone, stamps.astype("datetime64[s]"), stamps.astype("datetime64[ms]"), stamps.tolist()):
            table = pd.DataFrame({"time": times})
            np.testing.assert_array_equal(encoder.transform(table).numeric, expected)
            encoder.check_times(table)

    @pytest.mark.parametrize(
        ("values", "what"),
        [
            (pd.to_datetime(["2013-01-01", "2014-01-01"]), "points in time"),
            (pd.to_timedelta([1, 2], unit="s"), "spans of time"),
            ([1 + 2j, 3j], "complex numbers"),
            (["2013-01-01", "2014-01-01"], "something other than numbers"),
        ],
    )
    def test_what_has_no_unit_is_no_number(self, values, what):
        encoder = MetadataEncoder(["a"], []).fit(pd.DataFrame({"a": [1.0, 2.0]}))
        with pytest.raises(DataError, match=f"`a` holds {what}"):
            encoder.transform(pd.DataFrame({"a": values}))

    @pytest.mark.parametrize(
        ("change", "shown"),
        [(lambda t: t - t.min(), "0"), (lambda t: t * 1000, "1390000000000,"), (lambda t: t / 86400, "157")],
        ids=["since the first", "milliseconds", "days"],
    )
    def test_times_from_elsewhere_or_in_another_unit_are_refused(self, change, shown):
        times = np.linspace(1.36e9, 1.39e9, 9)
        encoder = MetadataEncoder(["hour"], []).fit(pd.DataFrame({"time": times}))
        encoder = MetadataEncoder.from_state(json.loads(json.dumps(encoder.state())))
        for good in (times, times + 3e8, [np.nan], []):
            encoder.check_times(pd.DataFrame({"time": good}))
        with pytest.raises(DataError, match=f"`time` holds {shown}.*seconds since 1970-01-01 UTC"):
            encoder.check_times(pd.DataFrame({"time": change(times)}))
        older = {name: value for name, value in encoder.state().items() if name != "times"}  # of an earlier version
        MetadataEncoder.from_state(older).check_times(pd.DataFrame({"time": change(times)}))

    def test_what_lacks_is_told_with_what_is_made_of_it(self):
        table = self.table().assign(time=1e9, title="a b")
        encoder = MetadataEncoder(["a", "hour", "weekday", "title_words"], ["c"]).fit(table)
        with pytest.raises(DataError) as error:
            encoder.transform(table[["b"]])
        assert str(error.value) == (
            "The metadata lack `a`, `c`, `time` (Unix time in seconds, of which `hour` and `weekday` are made), "
            "`title` (text, of which `title_words` is made); the model was trained on it."
        )

    def test_formulas_of_the_released_code(self):
        one = {k: np.array([v], float) for k, v in dict(f=100, l=50, v=10, h=20, g=4, d=3).items()}
        make = {name: DERIVED[name].make for name in DERIVED}
        engagement = np.log1p(100) + 0.5 * np.log1p(50 / 10) + 0.3 * np.log1p(20 / 10)
        assert make["engagement_smpd"](one["f"], one["l"], one["v"], one["h"]) == pytest.approx(engagement)
        influence = np.log1p(100 / 4) + 0.3 * np.log1p(50 + 20 + 3)
        assert make["influence_smpd"](one["f"], one["g"], one["l"], one["h"], one["d"]) == pytest.approx(influence)
        assert make["engagement_informs"](one["f"], one["h"], one["v"] * 0) == pytest.approx(np.log1p(100))
        titles = np.array(["Two words 2!", ""], dtype=object)
        assert make["title_mean_word_length"](titles).tolist() == pytest.approx([10 / 3, 0])
        assert [make[f"title_{k}"](titles).tolist() for k in ("has_special", "has_digit", "words")] == [
            [1, 0],
            [1, 0],
            [3, 0],
        ]
        monday = np.array([pd.Timestamp("2024-01-01 13:30").timestamp()])
        assert make["weekday"](monday) == 0 and make["hour"](monday) == 13


class TestDataset:
    def test_rows_authors_and_features(self, root):
        table = pd.DataFrame(write_popularity(root, "again"))
        dataset = PopularityDataset(config_of(root, name="again", **METADATA))
        assert dataset.items.tolist() == table["item_id"].tolist()
        assert dataset.authors.tolist() == table["user_id"].tolist()
        np.testing.assert_allclose(dataset.labels, table["label"])
        assert {k: len(v) for k, v in dataset.rows.items()} == {"train": 40, "valid": 10, "test": 10}
        hours = (table["time"] // 3600 % 24).to_numpy()
        train = hours[:40]
        np.testing.assert_allclose(dataset.metadata.numeric[:, 2], (hours - train.mean()) / train.std(), rtol=1e-5)
        assert dataset.column("seconds") == pytest.approx(table["seconds"])

    def test_nothing_is_fitted_on_valid_or_test(self, root):
        before = PopularityDataset(config_of(root, **METADATA)).metadata_encoder.state()
        table = write_popularity(root, "shifted")
        path = root / "shifted" / "shifted.item"
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:41], *(f"{line.split(chr(9))[0]}\t1e9\tnew" for line in lines[41:])]) + "\n")
        after = PopularityDataset(config_of(root, name="shifted", **METADATA)).metadata_encoder.state()
        assert before == after and len(table) == N

    def test_share_of_train(self, root):
        whole = PopularityDataset(config_of(root)).rows
        part, again, other = (
            PopularityDataset(config_of(root, train_share=0.25, seed=seed)).rows for seed in (1, 1, 2)
        )
        assert len(part["train"]) == 10 and set(part["train"]) < set(whole["train"])
        assert part["train"].tolist() == again["train"].tolist() != other["train"].tolist()
        assert part["test"].tolist() == whole["test"].tolist()

    def test_a_share_that_leaves_one_video(self, root):
        with pytest.raises(DataError, match="`train_share` is 0.001, which leaves 1 of 40 training videos"):
            PopularityDataset(config_of(root, train_share=0.001))

    def test_rows_without_label_or_split_are_left_out(self, tmp_path):
        labels = np.arange(N, dtype=float)
        labels[[3, 50]] = np.nan
        split = ["train"] * 39 + [""] + ["valid"] * 10 + ["test"] * 10
        write_popularity(tmp_path, labels=labels, split=split)
        dataset = PopularityDataset(config_of(tmp_path))
        assert len(dataset) == N - 3 and dataset.dropped["without a label"] == 2
        assert dataset.dropped["without a split"] == 1 and "v3" not in dataset.items

    @pytest.mark.parametrize(
        ("changed", "options", "message"),
        [
            ({"label": 3.0}, {}, "All training labels of .* are the same"),
            ({"label": [np.inf] + [1.0] * (N - 1)}, {}, "line 2, column `label`: `inf` is not a finite number"),
            ({"split": "train"}, {}, "no video with a label in the split `valid`"),
            ({"split": ["holdout"] * 2 + ["train"] * (N - 22) + ["valid"] * 10 + ["test"] * 10}, {},
             "line 2, column `split`: `holdout` of item `v0` is none of train, valid, test; rename it, or empty the"),
            ({"split": ["train"] * (N - 20) + ["vaild"] * 10 + ["test"] * 10}, {}, "`vaild` .* .did you mean `valid`."),
            ({"item_id": ["v1", *(f"v{i}" for i in range(1, N))]}, {}, "lists item `v1` twice"),
            ({}, {"metadata_numeric": ["secnds"]}, r"`secnds` .did you mean `seconds`.. is neither in `pop.item`"),
            ({}, {"metadata_numeric": ["kind"]}, "`kind` of .* is not a number; name it in metadata_categorical"),
            ({}, {"metadata": "stap_smpd"}, "did you mean `stap-smpd`"),
            ({}, {"text_store": "absent"}, "There is no `.*pop.absent.frames.npy`; make it by .*embed-text`"),
            ({}, {"label": "other"}, "holds no label `other`; it holds mine"),
            ({}, {"use_frames": False, "use_text": False}, "No input is left"),
        ],
    )  # fmt: skip
    def test_what_cannot_be_used(self, tmp_path, changed, options, message):
        changed = dict(changed)
        if "item_id" in changed:
            write_popularity(tmp_path)
            path = tmp_path / "pop" / "pop.mine.popularity"
            path.write_text(path.read_text().replace("v0\t", "v1\t"))
        else:
            write_popularity(tmp_path, **changed)
        with pytest.raises((DataError, ConfigError), match=message):
            PopularityDataset(config_of(tmp_path, **options))

    @pytest.mark.parametrize("suffix", [".item", ".user"])
    @pytest.mark.parametrize("name", ["hour", "title_words", "time"])
    def test_a_column_of_the_name_of_a_derived_feature_is_no_such_feature(self, tmp_path, name, suffix):
        write_popularity(tmp_path)
        path = tmp_path / "pop" / f"pop{suffix}"
        old = {".item": "seconds", ".user": "fans"}[suffix]
        path.write_text(path.read_text().replace(f"{old}:float", f"{name}:float"))
        with pytest.raises(ConfigError, match=f"`{name}` is a column of .*pop{suffix}`, and .*another name"):
            PopularityDataset(config_of(tmp_path, metadata_numeric=[name]))
        PopularityDataset(config_of(tmp_path, metadata_numeric=["weekday"]))  # one that is not asked for may be there

    def test_titles_of_the_item_file(self, tmp_path):
        write_popularity(tmp_path, kind=[("x", "y y", "z z z")[i % 3] for i in range(N)])
        path = tmp_path / "pop" / "pop.item"
        path.write_text(path.read_text().replace("kind:token", "title:token_seq"))
        found = PopularityDataset(config_of(tmp_path, metadata_numeric=["title_words"])).metadata.numeric[:, 0]
        assert len(set(found[:3])) == 3 and found[:3].tolist() == found[3:6].tolist() and found[0] < found[1] < found[2]

    def test_stores_that_lack_videos(self, tmp_path):
        write_popularity(tmp_path)
        folder = tmp_path / "pop"
        for suffix in (".frames.npy", ".text.frames.npy"):
            items = [f"v{i}" for i in range(2, N)]
            write_frame_store(folder / f"pop{suffix}", items, np.ones((N - 2, 2, 3)), vfm="random", sampling="x")
        with pytest.raises(DataError, match="2 items have no frames in .*first: `v0`, `v1`"):
            PopularityDataset(config_of(tmp_path))
        dropped = PopularityDataset(config_of(tmp_path, missing_items="drop"))
        assert len(dropped) == N - 2 and dropped.dropped["without frames"] == 2
        zero = config_of(tmp_path, missing_items="zero")
        batch = PopularityLoader(zero, PopularityDataset(zero), np.array([0, 5]), shuffle=False).batch(np.array([0, 5]))
        for name in ("frame_mask", "text_mask"):
            assert batch[name].tolist() == [[False, False], [True, True]]
        with pytest.raises(DataError, match="2 videos have no text in .*first: `v0`"):
            PopularityDataset(config_of(tmp_path, missing_items="zero", missing_text="error"))

    def write_text_of(self, root, items):
        write_popularity(root)
        path = root / "pop" / "pop.text.frames.npy"
        write_frame_store(path, items, np.ones((len(items), 1, TEXT)), vfm="random", sampling="x")

    def test_its_lines_in_the_log(self, tmp_path):
        """What results keep of it in full: rows, inputs and their widths, and what was left out."""
        self.write_text_of(tmp_path, [f"v{i}" for i in range(N) if i != 3])
        config = config_of(tmp_path, missing_text="drop", **METADATA)
        told = re.sub(r"\x1b\[[0-9;]*m", "", str(PopularityDataset(config))).splitlines()
        assert told[:2] == ["pop", "Label: mine"]
        assert re.fullmatch(r"Videos: 39 to train, 10 to validate, 10 to test, by \d+ authors", told[2])
        read = f"frames (at most {T} of width {D}), text (width {TEXT}), metadata (3 numbers, 1 category)"
        assert told[3:] == [f"Inputs: {read}", "Left out: 1 without text"]

    def test_videos_read_as_zeros_are_counted(self, tmp_path, in_tmp, caplog):
        self.write_text_of(tmp_path / "data", [f"v{i}" for i in range(N) if i not in (0, 1, 45)])
        options = {**SMALL, "data_path": str(tmp_path / "data"), "epochs": 1}
        counts = run_recbole_video("STAP", "pop", config_dict=options)["data"]["read_as_zeros"]
        assert counts["text"] == {"train": 2, "valid": 1, "test": 0} and not any(counts["frames"].values())
        assert "without text, read as zeros: 2 of 40 in train, 1 of 10 in valid, 0 of 10 in test" in caplog.text
        assert "Videos without frames" not in caplog.text

    def test_a_split_without_text_is_refused(self, tmp_path):
        self.write_text_of(tmp_path, [f"v{i}" for i in range(N - 10)])
        with pytest.raises(DataError, match="No video of the split `test` has text .* or set use_text=False"):
            PopularityDataset(config_of(tmp_path))
        assert PopularityDataset(config_of(tmp_path, use_text=False)).read_as_zeros.keys() == {"frames"}

    def test_labels_of_earlier_files_are_refused(self, tmp_path):
        write_popularity(tmp_path)
        record = tmp_path / "pop" / "pop.mine.popularity.json"
        record.write_text(json.dumps({"inter_sha256": "of another file"}))
        with pytest.raises(DataError, match="was made of another `pop.inter`"):
            PopularityDataset(config_of(tmp_path))

    def test_several_labels_and_none(self, tmp_path):
        write_popularity(tmp_path)
        path = tmp_path / "pop" / "pop.mine.popularity"
        path.with_name("pop.yours.popularity").write_bytes(path.read_bytes())
        with pytest.raises(ConfigError, match="several labels; choose one by --label: mine, yours"):
            PopularityDataset(config_of(tmp_path))
        for file in path.parent.glob("*.popularity"):
            file.unlink()
        with pytest.raises(DataError, match="dataset_tools label pop --preset"):
            PopularityDataset(config_of(tmp_path))

    def test_batches(self, root):
        config = config_of(root, frames_on_device=False, **METADATA)
        dataset = PopularityDataset(config)
        loader = PopularityLoader(config, dataset, dataset.rows["train"], shuffle=True)
        loader.set_epoch(3)
        batches, again = list(loader), list(loader)
        assert len(batches) == len(loader) == 3
        rows = torch.cat([batch["row"] for batch in batches])
        assert sorted(rows.tolist()) == dataset.rows["train"].tolist() != rows.tolist()
        assert torch.equal(rows, torch.cat([batch["row"] for batch in again]))
        store = dataset.frames.store
        for batch in batches:
            for i, row in enumerate(batch["row"].tolist()):
                count = int(store.frame_counts[row])
                found = batch["frames"][i][batch["frame_mask"][i]]
                np.testing.assert_array_equal(found.numpy(), store.frames[row, :count].astype(np.float32))
                assert batch["label"][i] == pytest.approx(dataset.labels[row])
        loader.set_epoch(4)
        assert not torch.equal(rows, torch.cat([batch["row"] for batch in loader]))

    def test_evenly_chosen_frames(self):
        frames = torch.arange(12.0).expand(3, 12)[..., None]
        mask = torch.arange(12) < torch.tensor([[12], [5], [2]])
        found, kept = evenly_chosen(frames, mask, 4)
        assert found[0, :, 0].tolist() == [0, 4, 7, 11] and found[1, :, 0].tolist() == [0, 1, 3, 4]
        assert found[2, :, 0].tolist() == [0, 1, 0, 0] and kept[2].tolist() == [True, True, False, False]


def inputs_of(root, predictor, items):
    """The videos of these items as a predictor reads them, from the files of the data set."""
    table = write_popularity(root / str(time.time_ns()))
    rows = table.set_index("item_id").loc[items]
    fans = pd.read_csv(root / "pop" / "pop.user", sep="\t").set_index("user_id:token")["fans:float"]
    metadata = rows[["seconds", "kind", "time"]].assign(fans=fans.loc[rows["user_id"]].to_numpy())
    stores = {"frames": root / "pop" / "pop.frames.npy", "text": root / "pop" / "pop.text.frames.npy"}
    read = {name: path for name, path in stores.items() if name in predictor.content}
    reads_metadata = predictor.inputs.n_numeric or predictor.inputs.n_categories or not predictor.content
    return predictor.from_stores(items, metadata=metadata if reads_metadata else None, **read)


def fitted(root, model, **options):
    """The task of a model that is fitted once, without a run folder, and what came of the fit."""
    task = PopularityTask(config_of(root, model, **options))
    task.read_data()
    task.make_model()
    return task, task.fit()


class TestControls:
    def test_ridge_is_scikit_learns(self, root):
        task, _ = fitted(root, "MetadataRidge", **METADATA)
        dataset = task.data
        m, rows, y = dataset.metadata, dataset.rows, dataset.labels
        x = np.concatenate([m.numeric, pd.get_dummies(pd.Categorical(m.codes[:, 0], categories=range(4)))], axis=1)
        errors = {}
        for alpha in 10.0 ** np.arange(-3, 5):
            model = Ridge(alpha=alpha).fit(x[rows["train"]], y[rows["train"]])
            errors[alpha] = mean_squared_error(y[rows["valid"]], model.predict(x[rows["valid"]]))
        best = Ridge(alpha=min(errors, key=errors.get)).fit(x[rows["train"]], y[rows["train"]])
        np.testing.assert_allclose(task.evaluate("test")[0].values, best.predict(x[rows["test"]]), rtol=1e-6)

    def test_trees_stop_where_validation_is_best(self, root):
        task, outcome = fitted(root, "MetadataGBDT", **METADATA)
        dataset, n_trees = task.data, outcome.notes["trees"]
        m, rows, y = dataset.metadata, dataset.rows, dataset.labels
        x = np.concatenate([m.numeric, m.codes], axis=1)

        def error(n):
            model = HistGradientBoostingRegressor(
                max_iter=n, learning_rate=0.05, max_leaf_nodes=15, early_stopping=False, random_state=42,
                categorical_features=[False] * 3 + [True],
            ).fit(x[rows["train"]], y[rows["train"]])  # fmt: skip
            return mean_squared_error(y[rows["valid"]], model.predict(x[rows["valid"]]))

        best = error(n_trees)
        assert all(best <= error(n) + 1e-12 for n in (1, 2, 5, 10, 50, n_trees + 1))

    def test_constant_run(self, root, in_tmp):
        result = run_recbole_video("Constant", "pop", config_dict={"data_path": str(root), "figures": False})
        dataset = PopularityDataset(config_of(root))
        test, mean = dataset.labels[dataset.rows["test"]], dataset.labels[dataset.rows["train"]].mean()
        assert result["test_result"]["nmse"] == pytest.approx(((test - mean) ** 2).mean() / test.var(), abs=1e-5)
        assert result["control"]["value"] == pytest.approx(mean)

    def test_what_is_read_is_what_is_reported(self, root, in_tmp, caplog):
        for model, inputs in (("Constant", []), ("MetadataRidge", ["metadata"]), ("MetadataGBDT", ["metadata"])):
            result = run_recbole_video(model, "pop", config_dict={"data_path": str(root), "figures": False, **METADATA})
            assert list(result["data"]["inputs"]) == inputs and not result["data"]["read_as_zeros"]
            assert f"10 to test; inputs: {inputs[0] if inputs else 'none'}; seed 42" in caplog.text
            assert "There is no" not in caplog.text

    def test_the_rows_are_those_of_the_models(self, tmp_path):
        write_popularity(tmp_path)
        path = tmp_path / "pop" / "pop.frames.npy"
        write_frame_store(path, [f"v{i}" for i in range(2, N)], np.ones((N - 2, 2, 3)), vfm="random", sampling="x")
        options = {"missing_items": "drop", **METADATA}
        model, control = (PopularityDataset(config_of(tmp_path, name, **options)) for name in ("STAP", "Constant"))
        assert control.items.tolist() == model.items.tolist() and len(control) == N - 2 and control.frames is None

    def test_stores_that_are_not_there_are_not_wanted(self, tmp_path, in_tmp, caplog):
        write_popularity(tmp_path / "data")
        for file in (tmp_path / "data" / "pop").glob("*.frames.*"):
            file.unlink()
        options = {"data_path": str(tmp_path / "data"), "figures": False, "missing_text": "drop", **METADATA}
        result = run_recbole_video("MetadataRidge", "pop", config_dict=options)
        assert sum(result["data"]["rows"].values()) == N
        for name in ("pop.frames.npy", "pop.text.frames.npy"):
            assert f"{name}`. MetadataRidge does not read it and runs on all labelled videos" in caplog.text

    def test_trials_of_a_sweep_share_what_they_read_alike(self, root):
        server = DataServer(lambda data: data)
        options = {"dataset": "pop", "data_path": str(root), **METADATA}
        ridge, trees, stap = (
            server.get({"model": model, **options})[0] for model in ("MetadataRidge", "MetadataGBDT", "STAP")
        )
        assert trees is ridge is not stap and ridge.frames is None and stap.frames is not None

    @pytest.mark.parametrize("model", ["Constant", "MetadataRidge", "MetadataGBDT"])
    def test_used_like_any_other_model(self, root, in_tmp, model):
        """The checkpoint of a run predicts what the run predicted, to the last digit, and says what it rests on."""
        options = {"data_path": str(root), "figures": False, **METADATA}
        folder = run_recbole_video(model, "pop", config_dict=options)["run_folder"]
        predictor = load_model(folder)
        written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t", float_precision="round_trip")
        videos = inputs_of(root, predictor, written["item_id"].tolist())
        assert predictor.predict(videos).tolist() == written["prediction"].tolist()
        groups = json.loads(Path(folder, "metrics.json").read_text())["groups"]
        errors = (written["prediction"] - written["label"]).abs()
        cold = errors[written["cold_author"] == 1]
        assert len(cold) == groups["cold_start"]["videos"]
        assert not len(cold) or cold.mean() == pytest.approx(groups["cold_start"]["mae"], abs=1e-4)
        predictor.save(in_tmp / "again.pth")
        for twin in (load_model(in_tmp / "again.pth"), pickle.loads(pickle.dumps(predictor))):
            assert twin.predict(videos).tolist() == written["prediction"].tolist()
        if model == "Constant":
            with pytest.raises(ConfigError, match="Constant offers no explanation .*; .*STAP.*MMRA.* do"):
                predictor.explain(videos)
        for update in (lambda: predictor.update_memory(videos.metadata.index, videos), predictor.freeze_memory):
            with pytest.raises(ConfigError, match=f"{model} has no memory bank to"):
                update()

    def test_a_model_that_reads_nothing_counts_the_videos(self, root, in_tmp):
        folder = run_recbole_video("Constant", "pop", config_dict={"data_path": str(root), "figures": False})
        predictor = load_model(folder["run_folder"])
        for given in ({"frames": np.zeros((3, 2, D))}, {"text": [[0.0]] * 3}, {"metadata": {"seconds": [1, 2, 3]}}):
            assert predictor.predict(Inputs(**given)).tolist() == [folder["control"]["value"]] * 3
        with pytest.raises(DataError, match="The model reads no input; give any of the videos"):
            predictor.predict(Inputs())
        with pytest.raises(ConfigError, match=r"`videos` is DataFrame; give Inputs\(metadata=...\)"):
            predictor.predict(pd.DataFrame({"seconds": [1, 2, 3]}))

    def test_without_metadata(self, root, in_tmp):
        with pytest.raises(ConfigError, match="MetadataGBDT reads the metadata alone, and there is none"):
            run_recbole_video("MetadataGBDT", "pop", config_dict={"data_path": str(root)})


class TestGroups:
    def test_cold_start_and_popularity(self, root):
        config = config_of(root, n_popularity_groups=2, cold_author_threshold=5)
        dataset = PopularityDataset(config)
        rows = dataset.rows["test"]
        predictions = Predictions(rows, dataset.labels[rows], dataset.labels[rows] + 1)
        found = regression_results_by_group(predictions, dataset, config)
        authors = pd.Series(dataset.authors)
        cold = (authors.map(authors.value_counts())[rows] <= 5).sum()
        assert found["cold_start"]["videos"] == cold > 0 and found["cold_start"]["mae"] == pytest.approx(1)
        groups = found["popularity"]
        assert [g["videos"] for g in groups.values()] == [5, 5] and groups["group 1"]["mean_error"] == pytest.approx(1)

    def test_videos_without_a_label_count_as_their_authors(self, tmp_path):
        labels = np.random.default_rng(0).normal(size=N)
        labels[:30] = np.nan
        write_popularity(tmp_path, labels=labels, user_id=[f"a{i % 30}" for i in range(N)])
        config = config_of(tmp_path, cold_author_threshold=1)
        dataset = PopularityDataset(config)
        rows = dataset.rows["test"]
        found = regression_results_by_group(
            Predictions(rows, dataset.labels[rows], dataset.labels[rows]), dataset, config
        )
        assert found["cold_start"] == {"videos": 0}

    def test_profiles_and_empty_subsets(self, root, caplog):
        """The profile's count decides; where it leaves no video, the log says so."""
        caplog.set_level("INFO")
        fans = pd.read_csv(root / "pop" / "pop.user", sep="\t").set_index("user_id:token")["fans:float"]
        whole = PopularityDataset(config_of(root))
        of_test = fans[whole.authors[whole.rows["test"]]].to_numpy()
        assert of_test.min() >= 1
        for threshold in (int(of_test.min()), int(of_test.min()) - 1):
            count = {"cold_author_count": "profile", "cold_author_column": "fans", "cold_author_threshold": threshold}
            config = config_of(root, **count)
            dataset = PopularityDataset(config)
            rows = dataset.rows["test"]
            found = regression_results_by_group(
                Predictions(rows, dataset.labels[rows], dataset.labels[rows]), dataset, config
            )
            n_cold = int((of_test <= threshold).sum())
            assert found["cold_start"]["videos"] == n_cold and ("mae" in found["cold_start"]) == (n_cold > 0)
            assert ("no cold-start result" in caplog.text) == (n_cold == 0)
        assert n_cold == 0


class TestRuns:
    def run(self, root, **options):
        return run_recbole_video("STAP", "pop", config_dict={"data_path": str(root), **SMALL, **METADATA, **options})

    def test_results_and_files(self, root, in_tmp, pictures):
        result = self.run(root, figures=True)
        folder = in_tmp / result["run_folder"]
        made = {path.name for path in folder.iterdir()}
        assert made >= {
            "model.pth",
            "metrics.json",
            "predictions.tsv",
            "predictions.png",
            "slot_usage.png",
            "curve.png",
            "slots.tsv",
        }
        predictions = pd.read_csv(folder / "predictions.tsv", sep="\t")
        error = predictions["prediction"] - predictions["label"]
        assert result["test_result"]["mae"] == pytest.approx(error.abs().mean(), abs=1e-4)
        stored = json.loads((folder / "metrics.json").read_text())
        assert set(stored["retrieved_popularity_correlation"]) == {"train", "valid"}
        assert stored["made_by"]["libraries"].startswith(f"torch {torch.__version__}") and len(stored["history"]) == 3
        assert {"slot_entropy", "slot_gini", "tau"} <= set(stored["history"][2]) and stored["data"]["rows"][
            "test"
        ] == 10
        assert result["parameters"]["model"] == sum(
            p.numel() for p in load_model(folder).model.parameters() if p.requires_grad
        )

    def test_slots_are_counted_as_they_are_told(self, root, in_tmp):
        """In the file as on the screen, from 1; a file of an earlier version, from 0, is read as it was meant."""
        folder = in_tmp / self.run(root, epochs=3)["run_folder"]
        path = folder / "slots.tsv"
        table = pd.read_csv(path, sep="\t", dtype=str)
        assert table["partition"].astype(int).min() == table["topic"].astype(int).min() == 1
        told = load_model(folder).explain_row(PopularityDataset(load_model(folder).config), 3).as_text()
        first = table.assign(place="partition " + table["partition"] + ", topic " + table["topic"]).set_index("place")
        shown = re.findall(r"slot: (partition \d+, topic \d+), .* nearest in direction: (.*)", told)
        assert shown and all(first.loc[place, "nearest_videos"] == near.replace(", ", " ") for place, near in shown)
        earlier = table.rename(columns={"topic": "cluster"})
        earlier[["partition", "cluster"]] = earlier[["partition", "cluster"]].astype(int) - 1
        earlier.to_csv(path, sep="\t", index=False)
        assert load_model(folder).explain_row(PopularityDataset(load_model(folder).config), 3).as_text() == told

    @pytest.mark.parametrize(
        ("options", "loss"), [({}, "Huber + routing"), ({"memory": "off", "regression_loss": "mse"}, "squared error")]
    )
    def test_axes_of_short_runs(self, root, in_tmp, pictures, monkeypatch, options, loss):
        """The loss and the epoch of the bank are named; epochs are whole numbers, though only one has a bank."""
        drawn, save = [], Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (drawn.append(figure), save(figure, *a, **k)))
        grid = {"memory_warmup_epochs": 1} if not options else {}
        kept = {k: v for k, v in SMALL.items() if k not in STAP_MEMORY} if options else SMALL
        config = {"data_path": str(root), **kept, **grid, "epochs": 2, "figures": True, **options}
        run_recbole_video("STAP", "pop", config_dict=config)
        axes = [figure.axes[0] for figure in drawn if figure.axes[0].get_xlabel() == "epoch"]
        assert f"training loss ({loss})" in [axis.get_ylabel() for axis in axes]
        legends = [text.get_text() for figure in drawn for legend in figure.legends for text in legend.get_texts()]
        assert ("memory bank laid out" in legends) == (not options)
        assert len(axes) == 1 + (not options)
        assert all(float(tick).is_integer() for axis in axes for tick in axis.get_xticks())

    def test_a_validation_metric_that_is_undefined(self, tmp_path, in_tmp):
        labels = np.random.default_rng(0).normal(size=N)
        labels[40:50] = 3.0
        write_popularity(tmp_path / "data", labels=labels)
        with pytest.raises(TrainingError, match="nMSE is undefined .a constant or single label.; choose another"):
            self.run(tmp_path / "data")
        assert np.isfinite(self.run(tmp_path / "data", valid_metric="MAE")["test_result"]["mae"])

    def test_predictions_do_not_depend_on_the_batch(self, root, in_tmp):
        """Not even where missing frames are read as black ones."""
        options = {"mask_padding": False, "epochs": 1, "frames_on_device": False}
        one, ten = (self.run(root, **options, eval_batch_size=size) for size in (1, 10))
        first, second = (pd.read_csv(in_tmp / r["run_folder"] / "predictions.tsv", sep="\t") for r in (one, ten))
        np.testing.assert_allclose(first["prediction"], second["prediction"], rtol=1e-4)

    def test_the_same_seed_gives_the_same_numbers(self, root, in_tmp):
        one, two, other = (self.run(root, seed=seed)["test_result"] for seed in (1, 1, 2))
        assert one == two != other

    @pytest.mark.parametrize(("n_videos", "n_expected"), [(12, 12), (40, 40), (41, 40)])
    def test_the_bank_is_laid_out_from_a_sample(self, root, in_tmp, monkeypatch, n_videos, n_expected):
        """No features beyond those of so many videos are asked for; all of them, in order, if there are fewer."""
        asked = []
        topic = STAP._topic
        monkeypatch.setattr(
            STAP, "_topic", lambda model, batch, *read: asked.extend(batch["row"]) or topic(model, batch, *read)
        )
        result = self.run(root, epochs=1, memory_init_videos=n_videos, eval_batch_size=8)
        rows = [int(row) for row in asked]
        assert len(set(rows)) == len(rows) == n_expected and rows == sorted(rows) and max(rows) < 40
        bank = load_model(in_tmp / result["run_folder"]).model.bank
        assert bank.counts.sum() == n_expected

    @pytest.mark.parametrize(("warm_up", "state"), [(0, "laid out"), (1, "not laid out")])
    def test_a_run_says_that_it_had_no_memory(self, root, in_tmp, caplog, warm_up, state):
        result = self.run(root, epochs=1, memory_warmup_epochs=warm_up)
        stored = json.loads((in_tmp / result["run_folder"] / "metrics.json").read_text())
        assert result["memory_bank"] == stored["memory_bank"] == state
        for text in ("The best epoch, 1, is of the warm-up", "seed 42; memory bank: not laid out"):
            assert (text in caplog.text) == (state == "not laid out")

    def test_a_warm_up_as_long_as_training(self, root):
        with pytest.raises(ConfigError, match="`memory_warmup_epochs` is 3 of 3 epochs, .* or set memory=off"):
            config_of(root, epochs=3, memory_warmup_epochs=3)
        for options in ({"epochs": 3, "memory": "off"}, {"epochs": 1}, {"epochs": 4}):
            config_of(root, **{**options, "memory_warmup_epochs": 3})

    @pytest.mark.parametrize("model", ["STAP", "Constant"])
    def test_labels_are_judged_in_full(self, tmp_path, in_tmp, monkeypatch, model):
        """Counts that single precision takes for ties are none, neither to the metrics nor in the file."""
        labels = 123456780.0 + np.arange(N)
        assert len(set(labels[-10:].astype(np.float32))) < 10
        write_popularity(tmp_path / "data", labels=labels)
        judged = []
        compute = PopularityMetrics.compute
        monkeypatch.setattr(PopularityMetrics, "compute", lambda self, p: judged.append(p) or compute(self, p))
        options = {"data_path": str(tmp_path / "data"), "figures": False, **(SMALL if model == "STAP" else {})}
        result = run_recbole_video(model, "pop", config_dict=options)
        assert all(np.array_equal(p.labels, labels[p.rows]) for p in judged) and len(judged) >= 2
        written = pd.read_csv(in_tmp / result["run_folder"] / "predictions.tsv", sep="\t", float_precision="round_trip")
        of_test = [p for p in judged if len(p) == 10][-1]
        assert written["label"].tolist() == of_test.labels.tolist() == labels[-10:].tolist()
        assert written["prediction"].tolist() == of_test.values.tolist()

    def test_samples_follow_from_the_seed(self):
        rows = np.arange(100, 200)
        one, again, other = (sample_rows(rows, 10, seed) for seed in (1, 1, 2))
        assert one.tolist() == again.tolist() != other.tolist() and len(set(one)) == 10 and set(one) < set(rows)
        assert sample_rows(rows, 100, 1).tolist() == sample_rows(rows, None, 1).tolist() == rows.tolist()

    def test_official_and_presets(self, root, in_tmp):
        small = {name: value for name, value in SMALL.items() if name != "state_size"}
        small |= {"attn_heads": 2, "n_blocks": 1, "epochs": 1, "data_path": str(root), **METADATA}
        result = run_recbole_video("STAP", "pop", config_dict={"variant": "official", "preset": "informs", **small})
        config = json.loads((in_tmp / result["run_folder"] / "metrics.json").read_text())["config"]
        assert (config["temporal_blocks"], config["dppo_support"], config["learning_rate"]) == (
            "official",
            "full",
            1e-5,
        )
        with pytest.raises(ConfigError, match="no preset `informz` of STAP .did you mean `informs`"):
            self.run(root, preset="informz")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"memory_init_videos": 0}, "`memory_init_videos` is `0`"),
            ({"memory_top_k": 7}, "`memory_top_k` is 7, but there are 2 x 3 slots"),
            ({"delta_min": 2.0}, "`delta_min` is 2.0"),
            ({"ssm_step_mode": "forward"}, "must be one of equation, prose, prose_euler, algorithm_s1"),
            ({"attn_heads": 3}, "must be a multiple of attn_heads"),
            ({"base_window": "all"}, "`base_window` is `all`"),
            ({"base_window": 0}, "`base_window` is `0`; it is a whole number of frames"),
            ({"base_window": 1.5}, "`base_window` is `1.5`; it is a whole number of frames, at least 1, or a share"),
            ({"window_edge": 0.0}, "`window_edge` is 0.0; it is a number of frames above 0"),
            ({"memory_eta": 0.0}, "`memory_eta` is 0.0; it is a rate, above 0 and at most 1"),
            ({"memory_eta": 1.5}, "`memory_eta` is 1.5"),
            ({"dppo_gamma": -0.5}, "`dppo_gamma` is -0.5; it must not be negative"),
            ({"centroid_shrinkage": -1.0}, "`centroid_shrinkage` is -1.0"),
            ({"prior_exponent": -1.5}, "`prior_exponent` is -1.5"),
            ({"item_encoder": "CVA"}, "`item_encoder` is not an option"),
            ({"topk": [5]}, "`topk` has no effect on popularity models"),
            ({"train_share": 0.0}, "`train_share` is 0.0"),
            ({"metrics": ["nMSE", "Hit"]}, "can not be used at the same time"),
        ],
    )
    def test_options_that_cannot_be(self, root, in_tmp, options, message):
        with pytest.raises(ConfigError, match=message):
            self.run(root, **options)

    @pytest.mark.parametrize(
        ("cause", "void"),
        [
            ({"variant": "official"}, {"ssm_step_mode": "prose"}),
            ({"variant": "official"}, {"delta_bound": "clamp"}),
            ({"variant": "official"}, {"state_size": 16}),
            ({"variant": "official"}, {"delta_min": 0.05}),
            ({"variant": "official"}, {"n_cross_layers": 1}),
            ({"variant": "official"}, {"dppo_margin": 0.5}),
            ({"variant": "official"}, {"window_edge": 2.0}),
            ({"ssm_step_mode": "algorithm_s1"}, {"delta_bound": "clamp"}),
            ({"regression_loss": "mse"}, {"huber_delta": 2.0}),
        ],
        ids=str,
    )
    def test_options_that_another_one_makes_void(self, cause, void):
        """Each is taken alone, and refused where nothing reads it."""
        [name] = void
        Config("STAP", config_dict=cause)
        with pytest.raises(ConfigError, match=f"`{name}` has no effect on runs with "):
            Config("STAP", config_dict={**cause, **void})
        Config("STAP", config_dict=void)

    def test_an_ablation_keeps_the_options_of_what_it_lacks(self):
        for options in ({"memory": "off", "n_partitions": 3}, {"use_ssm": False, "state_size": 16}):
            Config("STAP", config_dict=options)

    def test_options_that_a_default_makes_void(self):
        with pytest.raises(ConfigError, match="`metric_batch_size` has no effect on runs with metric_batching=global"):
            Config("Constant", config_dict={"metric_batch_size": 16})
        Config("Constant", config_dict={"metric_batch_size": 16, "metric_batching": "batch_mean"})

    @pytest.mark.parametrize(
        ("options", "metric"),
        [
            ({}, "nMSE"),
            ({"preset": "microlens"}, "nMSE"),
            ({"variant": "official"}, "MAPE"),
            ({"variant": "official", "preset": "smpd"}, "MAPE"),
            ({"variant": "official", "preset": "informs"}, "MAPE"),
            ({"variant": "official", "preset": "microlens"}, "MAE"),
            ({"variant": "official", "preset": "microlens", "valid_metric": "SRC"}, "SRC"),
        ],
        ids=str,
    )
    def test_metric_that_selects(self, options, metric):
        """The released code selects by MAE on MicroLens, by MAPE on the two others."""
        assert Config("STAP", config_dict=options)["valid_metric"] == metric

    def test_choices_are_those_that_the_properties_explain(self):
        """Each word is in its option's comment, the default first."""
        text = files("recbole_video.properties").joinpath("model/STAP.yaml").read_text("utf-8")
        comments = {line.partition(":")[0]: line.partition("# (str)")[2] for line in text.splitlines()}
        choices = {
            name: one.choices for name, one in declared(STAP.Options).items() if name in comments and one.choices
        }
        assert len(choices) >= 18
        for name, values in choices.items():
            assert Config("STAP").defaults[name] == values[0]
            assert all(re.search(rf"\b{value}\b", comments[name]) for value in values), name

    def test_options_of_a_run_are_read_again(self):
        """What a layer sets and another option makes void is in a run's record too."""
        for options in ({"variant": "official", "preset": "microlens"}, {"memory": "off"}, {"temporal": "none"}):
            stored = Config("STAP", config_dict=options).to_options()
            assert Config(config_dict=stored).to_options() == stored

    @pytest.mark.parametrize(
        ("options", "where"),
        [
            ({"memory_update": "gradient"}, "after last.pth"),
            ({"memory_update": "both"}, "inside an epoch"),
            ({"dppo_pairs": "pool", "dppo_weight": 0.5}, "between model.pth and last.pth"),
        ],
        ids=["after last.pth", "inside an epoch", "between model.pth and last.pth"],
    )
    def test_killed_and_resumed(self, root, in_tmp, forks, options, where):
        """A run that is killed at any of these moments in its third epoch ends with the numbers of an unbroken one."""
        options = {**SMALL, **METADATA, "data_path": str(root), "epochs": 6, "learning_rate": 0.003, **options}
        whole = run_recbole_video("STAP", "pop", config_dict={**options, "checkpoint_dir": "whole"})
        method, is_before = {
            "after last.pth": ("_save_last", False),
            "inside an epoch": ("_train_step", False),
            "between model.pth and last.pth": ("_save_last", True),
        }[where]
        Path("killed.py").write_text(
            "import json, os, signal, sys\nfrom recbole_video import run_recbole_video\n"
            "from recbole_video.training.trainer import Trainer\n"
            f"method = Trainer.{method}\ndef kill(self, *given):\n"
            f"    if {is_before}: end(self)\n    made = method(self, *given)\n    end(self)\n    return made\n"
            f"def end(self):\n    if self.progress.next_epoch == {2 if where == 'inside an epoch' else 3}:\n"
            f"        os.kill(os.getpid(), signal.SIGKILL)\nTrainer.{method} = kill\n"
            "import torch\ntorch.set_num_threads(1)\n"
            "run_recbole_video('STAP', 'pop', config_dict=json.loads(sys.argv[1]))\n"
        )
        killed = {**options, "checkpoint_dir": "parts"}
        status, output = forks.run_file("killed.py", json.dumps(killed))
        assert status == -signal.SIGKILL, output[-2000:]
        [last] = Path("parts").glob("*/last.pth")
        assert torch.load(last)["progress"]["next_epoch"] == (3 if where == "after last.pth" else 2)
        resumed = run_recbole_video("STAP", "pop", config_dict={**killed, "resume": True})
        assert resumed["test_result"] == whole["test_result"]
        assert resumed["best_valid_result"] == whole["best_valid_result"]

    def test_demo_is_deterministic(self):
        rule = GeneratingRule(n_videos=50, n_authors=9)
        one, two = generate(rule), generate(rule)
        for name in ("frames", "text", "times"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
        assert one.terms.total() == pytest.approx(two.terms.total()) and len(one.frames) == 50

    def test_trends_are_near_videos_of_a_popularity_that_no_line_tells(self):
        rule = replace(RULE_OF_TRENDS, n_videos=1500)
        platform = generate(rule)
        variances = {name: np.var(term) for name, term in vars(platform.terms).items()}
        assert variances["trend"] / sum(variances.values()) > 0.9
        trend = np.unique(platform.terms.trend, return_inverse=True)[1]
        fit, rest = slice(0, 1000), slice(1000, 1500)
        nearest = KNeighborsClassifier(5).fit(platform.text[fit], trend[fit])
        assert nearest.score(platform.text[rest], trend[rest]) > 0.75
        line = LinearRegression().fit(platform.text[fit], platform.terms.trend[fit])
        assert line.score(platform.text[rest], platform.terms.trend[rest]) < 0.2

    def test_smpd_from_raw_files_to_a_report(self, in_tmp):
        """JSON lines of the challenge -> data set -> label -> model and control, metadata of the released code."""
        rng = np.random.default_rng(0)
        start = pd.Timestamp("2023-01-01")
        counts = {author: [int(n) for n in rng.gamma(1, 300, 7)] for author in range(20)}
        posts = [
            post(i, i % 20, f"word,{i}", "US", ["fyp"], "en", "train", i,
                 (start + pd.Timedelta(hours=i)).strftime("%Y-%m-%d %H:%M"))
            for i in range(60)
        ]  # fmt: skip
        likes = [counts[i % 20][2] for i in range(60)]  # of the author: what the score follows here
        scores = [
            {"pid": p["pid"], "uid": "", "popularity": float(np.log1p(n))} for p, n in zip(posts, likes, strict=True)
        ]
        users = [user(author, *numbers) for author, numbers in counts.items()]
        nobody = dict.fromkeys(("posts_test", "users_test", "videos_train"), ())
        write_jsonl(in_tmp / "raw", posts_train=posts, users_train=users, popularity_train=scores, **nobody)
        assert dataset_tools(["smpd", "raw"]) == 0
        assert dataset_tools(["label", "smpd-video", "--preset=stap-smpd"]) == 0
        items = [p["pid"] for p in posts]
        folder = in_tmp / "dataset" / "smpd-video"
        write_frame_store(
            folder / "smpd-video.frames.npy", items, rng.normal(size=(60, 4, 6)), vfm="random", sampling="x"
        )
        write_frame_store(
            folder / "smpd-video.text.frames.npy", items, rng.normal(size=(60, 1, 5)), vfm="random", sampling="x"
        )
        results = {}
        for model in ("STAP", "MetadataRidge"):
            small = {**SMALL, "preset": "smpd"} if model == "STAP" else {"figures": False}
            results[model] = run_recbole_video(model, "smpd-video", config_dict=small)
            assert results[model]["data"]["rows"] == {"train": 48, "valid": 6, "test": 6}
            numeric = results[model]["data"]["inputs"]["metadata"]["numeric"]
            assert len(numeric) == 9 and "user_likes_count" in numeric
        dataset = PopularityDataset(Config("STAP", "smpd-video", config_dict={"data_path": "dataset"}))
        spread = dataset.metadata.numeric[dataset.rows["train"]].std(axis=0)
        np.testing.assert_allclose(spread, 1, rtol=1e-4)
        np.testing.assert_allclose(dataset.column("user_likes_count"), likes)
        np.testing.assert_allclose(dataset.labels, np.log1p(likes), rtol=1e-5)
        # The score is linear in one of the nine: the control finds it, and its report says so.
        assert results["MetadataRidge"]["test_result"]["nmse"] < 0.01
        weights = results["MetadataRidge"]["control"]["weights"]
        assert numeric[int(np.argmax(np.abs(weights)))] == "user_likes_count"
        for model, result in results.items():
            written = pd.read_csv(Path(result["run_folder"]) / "predictions.tsv", sep="\t")
            assert written["item_id"].tolist() == items[54:] and written["prediction"].nunique() == 6
            np.testing.assert_allclose(written["label"], np.log1p(likes[54:]), rtol=1e-4)
            stored = json.loads((Path(result["run_folder"]) / "metrics.json").read_text())
            assert stored["test_result"] == result["test_result"] and stored["config"]["model"] == model


class TestPredictor:
    @pytest.fixture(scope="class")
    def trained(self, root, tmp_path_factory):
        folder = tmp_path_factory.mktemp("run")
        options = {"data_path": str(root), "checkpoint_dir": str(folder), "log_dir": str(folder / "log")}
        options["tensorboard_dir"] = str(folder / "tensorboard")
        result = run_recbole_video("STAP", "pop", config_dict={**SMALL, **METADATA, **options})
        return folder / result["run_folder"] if not result["run_folder"].startswith("/") else result["run_folder"]

    def inputs(self, root, predictor, items):
        return inputs_of(root, predictor, items)

    def test_a_run_without_a_checkpoint(self, root, in_tmp):
        """Controls once kept none."""
        options = {"data_path": str(root), "figures": False, **METADATA}
        folder = run_recbole_video("MetadataRidge", "pop", config_dict=options)["run_folder"]
        Path(folder, "model.pth").unlink()
        with pytest.raises(CheckpointError, match="keeps no checkpoint, only results"):
            load_model(folder)

    def test_videos_without_text_or_frames_are_told(self, root, trained, caplog):
        predictor = load_model(trained)
        videos = self.inputs(root, predictor, ["v0", "v1", "v2"])
        predictor.predict(videos)
        assert "without text" not in caplog.text
        videos.text[1] = 0
        predictor.predict(videos)
        predictor.predict(videos)
        assert caplog.messages.count("Videos without text, read as zeros: 1 of 3.") == 1
        assert "without frames" not in caplog.text
        videos.frames[:2] = 0
        predictor.predict(videos)
        assert caplog.messages.count("Videos without frames, read as zeros: 2 of 3.") == 1

    @pytest.mark.parametrize("options", [{}, {"n_frames": 2}, {"mask_padding": False}], ids=str)
    def test_predictions_are_those_of_the_run(self, root, trained, in_tmp, options):
        if options:
            trained = run_recbole_video(
                "STAP", "pop", config_dict={"data_path": str(root), **SMALL, **METADATA, "epochs": 1, **options}
            )["run_folder"]
        predictor = load_model(trained)
        written = pd.read_csv(f"{trained}/predictions.tsv", sep="\t")
        found = predictor.predict(self.inputs(root, predictor, written["item_id"].tolist()))
        np.testing.assert_allclose(found, written["prediction"], rtol=1e-4)

    def test_explanation(self, root, trained):
        predictor = load_model(trained)
        found = predictor.explain(self.inputs(root, predictor, ["v3", "v4"]), row=1)
        assert len(found.slots) == len(found.weights) == 2 and sum(found.weights) <= 1 + 1e-6
        assert found.weights == sorted(found.weights, reverse=True) and 1 <= len(found.frame_weights) <= T
        assert all(len(slot.nearest) == 5 and slot.nearest[0].startswith("v") for slot in found.slots)
        assert found.popularity == pytest.approx(predictor.predict(self.inputs(root, predictor, ["v4"]))[0], rel=1e-5)

    def test_what_if_the_video_lacked_an_input(self, root, trained):
        """The model predicts of the video without it; what training had of all videos is told to be so."""
        predictor = load_model(trained)
        videos = self.inputs(root, predictor, ["v3", "v4"])
        found = {one.lacking: one for one in predictor.explain(videos, row=1).without}
        assert list(found) == ["frames", "text", "metadata"]
        none = {"frames": replace(videos, frame_counts=[1, 0]), "text": replace(videos, text=0 * videos.text)}
        for name, lacking in none.items():
            assert found[name].popularity == pytest.approx(predictor.predict(lacking)[1], rel=1e-5)
            assert [one.lacking for one in predictor.explain(lacking, row=1).without] == [
                *({*none} - {name}),
                "metadata",
            ]
        empty = {name: [np.nan] * 2 for name in ("seconds", "fans", "time")} | {"kind": [""] * 2}
        emptied = predictor.predict(replace(videos, metadata=empty))
        assert found["metadata"].popularity == pytest.approx(emptied[1], rel=1e-5)
        assert found["metadata"].remark == "numbers at the training mean and categories not known"
        assert found["frames"].remark == "which every training video had"

    def test_an_input_without_which_nothing_is_predicted_is_passed_over(self):
        model = SimpleNamespace(
            inputs=InputShape(frame_dim=2, n_numeric=1, other_dims={"audio": 2}),
            predict=lambda batch: batch["numeric"][:, 0] / batch["frame_mask"].sum() + batch["audio"].sum(),
        )
        batch = {"numeric": torch.ones(1, 1), "frames": torch.ones(1, 3, 2), "frame_mask": torch.ones(1, 3).bool(),
                 "audio": torch.ones(1, 1, 2), "audio_mask": torch.ones(1, 1).bool()}  # fmt: skip
        assert without_each(model, batch) == [
            WhatIf("audio", pytest.approx(1 / 3)), WhatIf("metadata", 2.0, "numbers at the training mean")
        ]  # fmt: skip

    def test_explaining_from_the_command_line(self, root, trained, pictures, capsys):
        assert explain([str(trained), "v3", "v55"]) == 0
        out = capsys.readouterr().out
        dataset = PopularityDataset(config_of(root))
        in_training = set(dataset.items[dataset.rows["train"]]) & {"v3", "v55"}
        assert out.count("it is a training video") == len(in_training) > 0
        assert "v3: predicted " in out and out.count("  slot: partition ") == 4 and "nearest in direction: v" in out
        assert out.count("whether it was made of them or not") == out.count("what if it lacked an input?") == 2
        assert out.count("  without its text, which every training video had: ") == 2
        assert (Path(trained) / "explain-v55.png").stat().st_size > 1000
        assert f"drawn in {Path(trained) / 'explain-v55.png'}\n" in out and "partitions go from 1, the least pop" in out
        assert "title" not in out  # there are none
        assert explain([str(trained), "v300"]) == 1
        assert "has no labelled video `v300` (did you mean `v30`?)" in capsys.readouterr().err

    def test_titles_of_the_videos_that_were_found_near(self, root, trained, pictures, capsys):
        """The nearest of each slot first, without repeats, ten at most; the video's own above."""
        sidecar = root / "pop" / "pop.text.jsonl"
        titles = {f"v{i}": f"about\n {i} {'and more ' * 12}" for i in range(0, N, 2)}
        rows = [{"item_id": item, "title": title} for item, title in titles.items()]
        sidecar.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        try:
            assert explain([str(trained), "v4"]) == 0
        finally:
            sidecar.unlink()
        told = capsys.readouterr().out
        assert told.splitlines()[1].startswith("  its title: about 4 and more") and told.splitlines()[1].endswith(" …")
        predictor = load_model(trained)
        slots = [slot.nearest for slot in predictor.explain_row(PopularityDataset(predictor.config), 4).slots]
        expected = list(dict.fromkeys(item for rank in zip(*slots, strict=True) for item in rank if item in titles))
        listed = re.findall(r"^    (v\d+): about (\d+) ", told, re.MULTILINE)
        assert [item for item, _ in listed] == expected[:10] and all(item == f"v{i}" for item, i in listed)
        assert (f"    … and {len(expected) - 10} more\n" in told) == (len(expected) > 10)

    def test_a_label_beside_the_count_that_it_is_the_logarithm_of(self):
        settings = {"sources": ["views"], "transform": "log2_1p", "scaling": "none", "cap": None}
        found = Explanation(5.0, count=count_behind(settings))
        assert [found.in_words(np.log2(1 + n)) for n in (0, 1234)] == ["0.0000 (0 views)", "10.2703 (1,234 views)"]
        others = [None, {**settings, "scaling": "minmax"}, {**settings, "transform": "?"}, {**settings, "cap": 9.0}]
        assert {count_behind(other) for other in others} == {None} and Explanation(5.0).in_words(3) == "3.0000"
        natural, raw = (Explanation(5.0, count=CountBehind("likes", name)) for name in ("log1p", "raw"))
        assert natural.in_words(np.log(11)) == "2.3979 (10 likes)" and natural.added_in_words(1) == "+1.0000 (x 2.72)"
        assert raw.in_words(7) == "7.0000 (7 likes)" and raw.added_in_words(1) == "+1.0000"
        assert Slot(0, 1, 2.0, 1, 0.5, ("v1",)).details == "made of 1 video; nearest in direction: v1"

    def test_cases_of_the_cold_start(self, root, trained, pictures, capsys):
        """The least and the most popular test video of an author with at most nine, and one between."""
        config = config_of(root, cold_author_threshold=9)
        dataset = PopularityDataset(config)
        n_videos = pd.Series(dataset.authors).value_counts()
        cold = [row for row in dataset.rows["test"] if n_videos[dataset.authors[row]] <= 9]
        by_label = [f"v{row}" for row in sorted(cold, key=lambda row: dataset.labels[row])]
        assert len(by_label) > 3
        found = cold_start_cases(dataset, config, 3)
        assert (found[0], found[-1]) == (by_label[0], by_label[-1]) and found[1] in by_label[1:-1]
        assert cold_start_cases(dataset, config, 99) == by_label
        with pytest.raises(DataError, match="no test video of an author with at most 0 videos"):
            cold_start_cases(dataset, config_of(root, cold_author_threshold=0), 3)
        with pytest.raises(SystemExit):
            explain([str(trained)])
        assert "items, or --cold_start of at least 1" in capsys.readouterr().err

    def test_frames_with_their_scores(self, root, trained, pictures, tmp_path, capsys):
        """The contact sheet shows the frames that the store holds, as `frames` noted them."""
        folder = root / "pop"
        count = int(FrameStore(folder / "pop.frames.npy").frame_counts[3])
        sample = Sample("v3", "uniform", list(range(count)), [0.1 * i for i in range(count)], None)
        (folder / "pop.samples.jsonl").write_text(json.dumps(vars(sample)) + "\n")
        (folder / "pop.samples.json").write_text(json.dumps({**vars(Sampling("uniform", T)), "short_side": 48}))
        (tmp_path / "videos").mkdir()
        write_video(tmp_path / "videos" / "v3.mp4", 6)
        assert explain([str(trained), "v3", f"--videos={tmp_path / 'videos'}"]) == 0
        with Image.open(Path(trained) / "explain-v3.frames.png") as sheet:
            assert sheet.width > count * 150
        assert explain([str(trained), "v4", f"--videos={tmp_path / 'videos'}"]) == 1
        assert "There is no video of `v4`" in capsys.readouterr().err
        for path in folder.glob("pop.samples.*"):
            path.unlink()

    def test_memory_takes_new_videos_in(self, root, trained, tmp_path):
        predictor = load_model(trained)
        new = self.inputs(root, predictor, ["v3", "v4"])
        before = predictor.model.bank.slots.detach().clone()
        predictor.update_memory(["new1", "new2"], new, [3.0, np.nan])
        assert (predictor.model.bank.slots != before).any() and predictor.model.bank.slots.shape == before.shape
        with pytest.raises(DataError, match="There are 0 tokens, 2 queries and 2 labels; give one each"):
            predictor.update_memory([], new)
        with pytest.raises(DataError, match="A label is infinite"):
            predictor.update_memory(["new3", "new4"], new, [np.inf, 1])
        with pytest.raises(DataError, match="There is no row 2: 2 videos"):
            predictor.explain(new, row=2)
        with pytest.raises(DataError, match="of the split under evaluation .first: `v55`"):
            predictor.update_memory(["new3", "v55"], new)
        predictor.freeze_memory()
        with pytest.raises(MemoryFrozenError):
            predictor.update_memory(["new3", "new4"], new)
        predictor.save(tmp_path / "model.pth")
        np.testing.assert_allclose(load_model(tmp_path / "model.pth").predict(new), predictor.predict(new))

    def test_times_as_points_in_time(self, root, trained):
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v50"])
        stamps = good.metadata.assign(time=pd.to_datetime(good.metadata["time"], unit="s"))
        np.testing.assert_array_equal(predictor.predict(replace(good, metadata=stamps)), predictor.predict(good))
        texts = good.metadata.assign(time=stamps["time"].dt.strftime("%Y-%m-%dT%H:%M:%SZ"))
        np.testing.assert_array_equal(predictor.predict(replace(good, metadata=texts)), predictor.predict(good))
        with pytest.raises(DataError, match="`time` holds something that is no time .*such as 2024-01-31T10:00:00Z"):
            predictor.predict(replace(good, metadata=texts.assign(time="soon")))
        with pytest.raises(DataError, match="`time` holds .*more than 20 years away"):
            predictor.predict(replace(good, metadata=good.metadata.assign(time=1.4e9)))

    def test_inputs_that_do_not_fit(self, root, trained):
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v4"])
        with pytest.raises(DataError, match="reads frames; give `frames`"):
            predictor.predict(Inputs(text=good.text, metadata=good.metadata))
        with pytest.raises(DataError, match=r"must be \[N, n, 6\], not \[2, 4, 5\]"):
            predictor.predict(Inputs(good.frames[..., :5], good.frame_counts, good.text, good.metadata))
        with pytest.raises(DataError, match="text of video 1 .* holds NaN"):
            bad = np.array(good.text)
            bad[1, 0, 0] = np.nan
            predictor.predict(Inputs(good.frames, good.frame_counts, bad, good.metadata))
        with pytest.raises(DataError, match="The metadata lack `fans`"):
            predictor.predict(Inputs(good.frames, good.frame_counts, good.text, good.metadata.drop(columns="fans")))
        with pytest.raises(DataError, match="different numbers of videos"):
            predictor.predict(Inputs(good.frames, good.frame_counts, good.text, good.metadata[:1]))

    def test_what_the_model_does_not_read(self, root, trained, in_tmp, caplog):
        """A column or content that does nothing may be a slip; of a table, as of a file, other columns are no slip."""
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v4"])
        columns = good.metadata.to_dict("list")
        with pytest.raises(ConfigError, match=r"column `secnds` of `metadata` .did you mean `seconds`.*it reads fans"):
            predictor.predict(replace(good, metadata={**columns, "secnds": [1, 2]}))
        expected = predictor.predict(good)
        assert predictor.predict(replace(good, metadata=good.metadata.assign(note="x"))).tolist() == expected.tolist()
        assert "No training video has" not in caplog.text
        for _ in range(2):
            predictor.predict(replace(good, metadata=good.metadata.assign(kind=["x", "new"])))
        assert caplog.text.count("No training video has `new` as its `kind`") == 1
        options = {"data_path": str(root), "figures": False, **METADATA}
        ridge = load_model(run_recbole_video("MetadataRidge", "pop", config_dict=options)["run_folder"])
        with pytest.raises(ConfigError, match="does not read `frames`; it was trained on metadata: leave it out"):
            ridge.predict(replace(good, text=None))

    @pytest.mark.parametrize("transform", ["raw", "log2", "log2_1p", "log1p"])
    def test_counts(self, transform):
        """Back by the inverse of what `label` does."""
        counts = np.array([1.0, 7, 1000])
        settings = {"sources": ["views"], "transform": transform, "scaling": "none", "cap": None}
        np.testing.assert_allclose(counts_of(TRANSFORMS[transform](counts), settings), counts)
        assert counts_of(np.array([-3.0]), settings) >= 0

    @pytest.mark.parametrize(
        ("change", "why"),
        [
            ({"sources": ["views", "likes"]}, "the label is a mean of several counts"),
            ({"scaling": "minmax"}, "the label was scaled .minmax."),
            ({"cap": 9.0}, "the label was capped"),
            ({"transform": "cube"}, "`cube` is no transform"),
            (None, "the run does not know how its labels were made"),
        ],
    )
    def test_labels_that_are_no_counts(self, root, trained, change, why):
        predictor = load_model(trained)
        settings = {"sources": ["views"], "transform": "log2_1p", "scaling": "none", "cap": None}
        predictor._state["label"] = {"settings": None if change is None else {**settings, **change}}
        videos = self.inputs(root, predictor, ["v3"])
        with pytest.raises(ConfigError, match=f"cannot be told in counts: {why}"):
            predictor.predict(videos, in_counts=True)
        predictor._state["label"] = {"settings": settings}
        assert predictor.predict(videos, in_counts=True) == pytest.approx(2 ** predictor.predict(videos) - 1)

    def test_lists_in_place_of_arrays(self, root, trained):
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v4"])
        expected = predictor.predict(good)
        frames, text, counts = np.asarray(good.frames).tolist(), np.asarray(good.text), list(good.frame_counts)
        for words in (text.tolist(), text[:, 0].tolist(), list(text[:, 0]), torch.tensor(text)):
            np.testing.assert_array_equal(predictor.predict(Inputs(frames, counts, words, good.metadata)), expected)
        columns = good.metadata.to_dict("list")
        np.testing.assert_array_equal(predictor.predict(Inputs(frames, counts, text, columns)), expected)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"text": [[0.0] * TEXT, [0.0]]}, "`text` is no array of numbers: give the same number of them for each"),
            ({"frames": [[[0.0] * D], [[0.0] * D] * 2]}, "`frames` is no array of numbers"),
            ({"text": "words"}, "`text` is no array of numbers"),
            ({"frame_counts": [[1], 2]}, "`frame_counts` is no array of numbers"),
            (
                {"metadata": {"seconds": [1.0, 2.0], "kind": ["x"]}},
                "with a value per video, but `seconds` has 2, `kind` h",
            ),
            ({"metadata": {"seconds": 1.0}}, "a value per video, but `seconds` is no list"),
            ({"metadata": {"seconds": [1.0, 2.0], "kind": "x"}}, "`kind` is no list"),
            ({"metadata": 3}, "`metadata` must be a table, or columns by name"),
        ],
        ids=str,
    )
    def test_lists_that_are_no_arrays(self, root, trained, changed, message):
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v4"])
        with pytest.raises(DataError, match=message):
            predictor.predict(replace(good, **changed))

    def test_a_model_sees_the_shapes_that_it_was_trained_on(self, root, in_tmp, monkeypatch):
        """Whether missing frames are read is declared by the class, and means the same in training and out of it."""
        monkeypatch.setattr(POPULARITY_MODELS, "_entries", dict(POPULARITY_MODELS._entries))
        monkeypatch.setattr(POPULARITY_MODELS, "_admitted", {})
        shapes = []

        class Mean(PopularityModel):
            """Takes the mean over all places, there or not: another number for another length."""

            def __init__(self, config, inputs):
                super().__init__(config, inputs)
                self.out = torch.nn.Linear(inputs.frame_dim, 1)

            def forward(self, batch):
                shapes.append(batch["frames"].shape[1])
                return self.out(batch["frames"].mean(dim=1)).squeeze(-1)

        class Padded(Mean):
            @classmethod
            def reads_missing_frames(cls, config):
                return True

        register_popularity_model()(Mean)
        register_popularity_model()(Padded)
        counts = FrameStore(root / "pop" / "pop.frames.npy").frame_counts
        own = {"use_text": False, "figures": False, "show_progress": False, "epochs": 1, "train_batch_size": 16}
        for model in ("Mean", "Padded"):
            folder = run_recbole_video(model, "pop", config_dict={"data_path": str(root), **own})["run_folder"]
            written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t")
            short = [item for item in written["item_id"] if counts[int(item[1:])] < T][:2]
            predictor = load_model(folder)
            frames = self.inputs(root, predictor, short).frames
            of_run = written.set_index("item_id")["prediction"][short]
            batch = PopularityLoader(
                predictor.config,
                PopularityDataset(predictor.config),
                np.array([int(item[1:]) for item in short]),
                False,
            )
            for one in batch:
                shapes.clear()
                want = predictor.model.predict(one).tolist()
                trained_on = shapes.pop()
            longest = int(max(counts[int(item[1:])] for item in short))
            assert trained_on == (T if model == "Padded" else longest) and longest < T
            for given in (frames, frames[:, :longest], np.pad(frames, ((0, 0), (0, 5), (0, 0)))):
                found = predictor.predict(Inputs(given, [counts[int(item[1:])] for item in short]))
                assert shapes.pop() == trained_on
                np.testing.assert_allclose(found, want, rtol=1e-6)
            if model == "Padded":
                np.testing.assert_allclose(found, of_run, rtol=1e-5)

    def test_its_documented_name(self):
        from recbole_video.popularity import predictor

        assert predictor.Inputs is Inputs

    def test_pickled_and_copied(self, root, trained):
        predictor = load_model(trained)
        inputs = self.inputs(root, predictor, ["v3", "v4"])
        want = predictor.predict(inputs)
        for twin in (pickle.loads(pickle.dumps(predictor)), copy.deepcopy(predictor)):
            np.testing.assert_array_equal(twin.predict(inputs), want)
            twin.update_memory(["new1", "new2"], inputs, torch.tensor([3.0, np.nan], dtype=torch.bfloat16))
            np.testing.assert_array_equal(predictor.predict(inputs), want)

    def test_tensors_of_any_type_and_values_that_no_store_holds(self, root, trained):
        predictor = load_model(trained)
        good = self.inputs(root, predictor, ["v3", "v4"])
        half = torch.tensor(np.asarray(good.frames)).bfloat16()
        want = predictor.predict(replace(good, frames=half.float()))
        for frames in (half, list(half)):
            np.testing.assert_array_equal(predictor.predict(replace(good, frames=frames)), want)
        text = np.array(good.text)
        text[1, 0, 0] = 1e30
        with pytest.raises(DataError, match=r"text of video 1 \(counted from 0\) holds values beyond 65,504"):
            predictor.predict(replace(good, text=text))
        huge = text.astype(np.float64)
        huge[1, 0, 0] = -1e300  # no float32, and no infinity either
        with pytest.raises(DataError, match="holds values beyond 65,504"):
            predictor.predict(replace(good, text=huge))
        huge[1, 0, 0] = -np.inf
        with pytest.raises(DataError, match="holds NaN or infinity"):
            predictor.predict(replace(good, text=huge))
        with pytest.raises(DataError, match="`frame_counts` must be 2 numbers between 0 and 4"):
            predictor.predict(replace(good, frame_counts=[1.5, 2]))

    @pytest.mark.parametrize(
        ("keys", "value", "message"),
        [
            (("inputs",), [1], "its `data.inputs` is not a dictionary"),
            (("inputs", "frame_dim"), "6", "`frame_dim` in its `data.inputs` is not a whole number"),
            (("inputs", "n_frames"), 10**9, "`n_frames` in its `data.inputs` is not a whole number from 0 to 65536"),
            (("inputs", "label_mean"), float("nan"), "`label_mean` in its `data.inputs` is not a finite number"),
            (("inputs", "label_std"), 0.0, "`label_std` in its `data.inputs` is not a finite number above 0"),
            (("inputs", "n_categories"), 3, "`metadata` in its `data` is not of the sizes|`n_categories`"),
            (("inputs", "n_categories"), [10**6], "is not of the sizes that its `inputs` give"),
            (("inputs", "colour"), 1, "`colour` in its `data.inputs` is not an input of this version"),
            (("evaluated",), [3], "`evaluated` in its `data` is not a list of texts"),
            (("metadata",), None, "`metadata` in its `data` is not there"),
            (("metadata", "numeric"), "fans", "`numeric` in its `data.metadata` is not a list of different texts"),
            (("metadata", "mean"), [0.0], r"`mean` in its `data.metadata` is not a list of \d finite numbers"),
            (("metadata", "sd"), [0.0] * 3, "`sd` in its `data.metadata` is not a list of . finite numbers above 0"),
            (("metadata", "log1p"), "yes", "`log1p` in its `data.metadata` is not True or False"),
            (("metadata", "values"), [], "`values` in its `data.metadata` is not a list for each of"),
            (("metadata", "values"), [[1, 2]], "`0` in its `data.metadata.values` is not a list of different texts"),
        ],
        ids=str,
    )
    def test_values_of_a_checkpoint(self, trained, tmp_path, keys, value, message):
        state = torch.load(f"{trained}/model.pth", weights_only=True)
        inner = state["data"]
        for key in keys[:-1]:
            inner = inner[key]
        inner[keys[-1]] = value
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match=message):
            load_model(tmp_path / "model.pth")

    def test_another_grid(self, trained, tmp_path):
        state = torch.load(f"{trained}/model.pth", weights_only=True)
        state["config"]["n_clusters"] = 4
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(
            CheckpointError, match="memory bank of 2 x 3 slots, not of 2 x 4; set n_partitions and n_clus"
        ):
            load_model(tmp_path / "model.pth")


class TestModelOfAThirdParty:
    """The one in docs/popularity.md, in a module of its own: one class, with an option of its own."""

    @pytest.fixture(autouse=True)
    def module(self, in_tmp, monkeypatch):
        page = (Path(__file__).parent.parent / "docs" / "popularity.md").read_text(encoding="utf-8")
        [code] = re.findall(r"<!-- example: model -->\n```python\n(.*?)```", page, re.DOTALL)
        (in_tmp / "my_popularity.py").write_text(code)
        monkeypatch.syspath_prepend(in_tmp)
        monkeypatch.setattr(POPULARITY_MODELS, "_entries", dict(POPULARITY_MODELS._entries))
        monkeypatch.setattr(POPULARITY_MODELS, "_admitted", {})
        yield importlib.import_module("my_popularity")
        sys.modules.pop("my_popularity")  # and not by `monkeypatch`, which would put it back

    def options(self, root, **more):
        return {"data_path": str(root), "figures": False, "show_progress": False, "epochs": 1, **more}

    def test_it_is_run_and_loaded(self, root):
        result = run_recbole_video("MeanFrame", "pop", config_dict=self.options(root, width=3))
        assert result["parameters"] == {"model": 3 * D + 3 + 3 + 1} and list(result["data"]["inputs"]) == ["frames"]
        predictor = load_model(result["run_folder"])
        written = pd.read_csv(f"{result['run_folder']}/predictions.tsv", sep="\t")
        found = predictor.predict(inputs_of(root, predictor, written["item_id"].tolist()))
        np.testing.assert_allclose(found, written["prediction"], rtol=1e-5)
        again = run_recbole_video(config_file_list=[f"{result['run_folder']}/config.yaml"])
        assert again["test_result"] == result["test_result"] and again["parameters"] == result["parameters"]

    def test_its_option_is_checked(self, root):
        assert config_of(root, "MeanFrame")["width"] == 32
        words = ["--model=my_popularity:MeanFrame", "--dataset=pop", f"--data_path={root}", "--width=5"]
        assert Config(command_line=words)["width"] == 5
        with pytest.raises(ConfigError, match="`widht` is not an option .did you mean `width`.. for model MeanFrame"):
            config_of(root, "MeanFrame", widht=3)
        with pytest.raises(ConfigError, match="`width` is `wide`; it must be a whole number"):
            config_of(root, "MeanFrame", width="wide")
        with pytest.raises(ConfigError, match="`width` is not an option"):
            config_of(root, "Constant", width=3)

    def test_it_shares_data_in_a_sweep(self, root):
        server = DataServer(lambda data: data)
        wide, narrow = (
            server.get({"model": "MeanFrame", "dataset": "pop", "data_path": str(root), "width": width})[0]
            for width in (3, 4)
        )
        assert wide is narrow and server.n_loaded == 1


class TestOptionsOfModelsFittedOnce:
    @pytest.mark.parametrize("model", ["Constant", "MetadataRidge", "MetadataGBDT"])
    @pytest.mark.parametrize(
        "option",
        [{"epochs": 3}, {"learning_rate": 0.1}, {"train_batch_size": 8}, {"huber_delta": 2.0}, {"label_norm": "none"},
         {"regression_loss": "mse"}, {"compile": True}, {"eval_step": 2}],
        ids=str,
    )  # fmt: skip
    def test_what_only_a_training_reads(self, root, model, option):
        [name] = option
        with pytest.raises(ConfigError, match=f"`{name}` has no effect on {model}, which is fitted in one go; remove"):
            config_of(root, model, **METADATA, **option)
        config_of(root, model, **METADATA, **{name: config_of(root, model, **METADATA)[name]})  # the default is no news
        given = {"model": model, "dataset": "pop", "data_path": str(root), **METADATA, **option}
        for lenient in ("is_shared", "is_stored"):  # a sweep's base for all its rows; a run of before
            assert Config(config_dict=given, **{lenient: True})[name] == option[name]

    def test_nothing_trains_what_is_refused(self, root):
        """All that a gradient is followed with; what decides the videos and judges predictions is not among it."""
        of_training = POPULARITY_MODELS.get("Constant").Options.of_training
        trained = {one.name for one, section in by_section(PopularityOptions) if section in ("Loss", "Training")}
        assert len(trained) > 10 and trained <= of_training
        read = {"label", "missing_items", "missing_text", "train_share", "metrics", "metric_batching", "seed"}
        assert not of_training & read

    def test_a_sweep_may_set_them_for_all_its_rows(self, root):
        rows = "rows: [{label: a, options: {model: STAP}}, {label: b, options: {model: Constant}}]"
        base = f"base: {{dataset: pop, data_path: {root}, epochs: 2}}"
        assert len(make_plan(read_sweep(f"{base}\n{rows}", "s", "s.yaml")).trials) == 2

    @pytest.mark.parametrize("model", ["MetadataRidge", "MetadataGBDT"])
    @pytest.mark.parametrize("options", [{}, {**METADATA, "use_metadata": False}], ids=str)
    def test_no_metadata_is_refused_before_any_data_are_read(self, root, model, options):
        with pytest.raises(ConfigError, match=f"{model} reads the metadata alone, and there is none; set metadata"):
            config_of(root, model, **options)

    def test_a_preset_that_there_is_not_is_refused_as_soon(self, root):
        with pytest.raises(ConfigError, match="`metadata` is `stap_smpd` .did you mean `stap-smpd`"):
            config_of(root, metadata="stap_smpd")
        assert set(declared(PopularityOptions)["metadata"].choices) == set(METADATA_PRESETS)


class Weightless(PopularityModel):
    """There is nothing to train."""

    inputs_read = frozenset(["frames"])

    def forward(self, batch):
        return batch["frames"].mean(dim=(1, 2))


class Unused(Weightless):
    """There is, and the prediction has nothing to do with it."""

    def __init__(self, config, inputs):
        super().__init__(config, inputs)
        self.out = nn.Linear(inputs.frame_dim, 1)


class LossPerVideo(Unused):
    def calculate_loss(self, interaction):
        return self.out(interaction["frames"].mean(dim=1)).squeeze(-1)


@pytest.mark.parametrize(
    ("cls", "message"),
    [
        (Weightless, "depends on no weight that is trained"),
        (Unused, "depends on no weight that is trained"),
        (LossPerVideo, "is a tensor of shape .32.; let `calculate_loss` return a single number"),
    ],
)
def test_a_loss_that_nothing_can_be_learned_from(root, in_tmp, cls, message):
    options = {"data_path": str(root), "figures": False, "show_progress": False, "epochs": 1}
    with pytest.raises(ConfigError, match=f"The loss of `{cls.__name__}` {message}"):
        run_recbole_video(cls, "pop", config_dict=options)


class Shaped(PopularityModel):
    """A linear model of the mean frame, whose values come in a shape that may be wrong."""

    inputs_read = frozenset(["frames"])

    def __init__(self, config, inputs):
        super().__init__(config, inputs)
        self.out = nn.Linear(inputs.frame_dim, 1)

    def forward(self, batch):
        return self.shaped(self.out(batch["frames"].mean(dim=1)).squeeze(-1))

    def shaped(self, values):
        return values


class InRows(Shaped):
    def shaped(self, values):
        return values[:, None]


class AsMean(Shaped):
    def shaped(self, values):
        return values.mean()


class OneShort(Shaped):
    def shaped(self, values):
        return values[:-1]


class FittedInRows(PopularityModel):
    """Fitted in one go, and its predictions come as a column."""

    inputs_read = frozenset()

    def fit_once(self, train, valid):
        return {}

    def predict(self, interaction):
        return torch.zeros(len(interaction["row"]), 1)


class PredictsNoTensor(FittedInRows):
    def predict(self, interaction):
        return [0.0] * len(interaction["row"])


class TestShapeOfPredictions:
    """PyTorch spreads [B, 1] over [B]: a model that gives it would be trained, and judged, on nonsense."""

    @pytest.mark.parametrize("cls", [InRows, AsMean, OneShort, FittedInRows, PredictsNoTensor])
    def test_one_number_per_video_and_no_other_shape(self, root, in_tmp, cls):
        options = {"data_path": str(root), "figures": False, "show_progress": False}
        with pytest.raises(ConfigError, match=f"`{cls.__name__}` gives .* for .* one number for each"):
            run_recbole_video(cls, "pop", config_dict=options)

    def test_in_use(self, root, in_tmp, monkeypatch):
        options = {"data_path": str(root), "figures": False, "show_progress": False, "epochs": 1}
        predictor = load_model(run_recbole_video(Shaped, "pop", config_dict=options)["run_folder"])
        videos = Inputs(frames=np.ones((3, T, D)))
        assert predictor.predict(videos).shape == (3,)
        monkeypatch.setattr(Shaped, "shaped", InRows.shaped)
        with pytest.raises(ConfigError, match="`Shaped` gives .3, 1. for 3 videos"):
            predictor.predict(videos)
