"""Popularity labels and splits, against scikit-learn, numbers worked by hand, and what must not leak."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.output.writer import DatasetWriter
from recbole_video.dataset_tools.popularity.labels import LabelSettings, make_labels
from recbole_video.dataset_tools.popularity.presets import PRESETS
from recbole_video.dataset_tools.popularity.splits import SplitSettings, split_items
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from recbole_video.errors import ConfigError, DataError


def parts(split, n, **more):
    return split_items(SplitSettings(**split), more.get("times", np.arange(n)), more.get("official"))


class TestSplits:
    @pytest.mark.parametrize("n", [10, 11, 97, 19_738])
    def test_mmra_draws_as_scikit_learn(self, n):
        """80/20 with seed 9; the 20 % halved with seed 18, the first half for test."""
        train, held = train_test_split(np.arange(n), test_size=0.2, random_state=9)
        test, valid = train_test_split(held, test_size=0.5, random_state=18)
        found = split_items(PRESETS["mmra"].settings.split, np.arange(n), None)
        for name, rows in (("train", train), ("valid", valid), ("test", test)):
            assert sorted(rows) == np.flatnonzero(found == name).tolist()

    @pytest.mark.parametrize("n", [10, 20, 97, 19_738])
    def test_stap_scripts_draw_as_scikit_learn(self, n):
        """70/30, then 1/3 for valid and 2/3 for test, seed 42; 0.1 + 0.2 is a little more than 0.3."""
        train, held = train_test_split(np.arange(n), test_size=0.3, random_state=42)
        valid, test = train_test_split(held, test_size=2 / 3, random_state=42)
        found = split_items(PRESETS["stap-microlens-scripts"].settings.split, np.arange(n), None)
        for name, rows in (("train", train), ("valid", valid), ("test", test)):
            assert sorted(rows) == np.flatnonzero(found == name).tolist()

    def test_random_split_has_its_shares_and_its_seed(self):
        found = parts({"shares": (0.7, 0.1, 0.2)}, 1000)
        assert {part: int((found == part).sum()) for part in set(found)} == {"train": 700, "valid": 100, "test": 200}
        assert (found == parts({"shares": (0.7, 0.1, 0.2)}, 1000)).all()
        assert (found != parts({"shares": (0.7, 0.1, 0.2), "seeds": (43,)}, 1000)).any()

    def test_temporal_split_of_smpd(self):
        """4,000 posts: 3,200, 400 and 400 by time; posts of one minute stay in order."""
        times = np.random.default_rng(0).integers(0, 3000, 4000)
        found = split_items(PRESETS["stap-smpd"].settings.split, times, None)
        order = sorted(range(4000), key=lambda row: (times[row], row))
        assert [found[row] for row in order] == ["train"] * 3200 + ["valid"] * 400 + ["test"] * 400

    def test_official_split(self):
        official = np.array(["test", "train", "train"], dtype=object)
        assert parts({"kind": "official"}, 3, official=official).tolist() == official.tolist()
        with pytest.raises(DataError, match="no official split"):
            parts({"kind": "official"}, 3)
        with pytest.raises(DataError, match="holds `dev`"):
            parts({"kind": "official"}, 1, official=np.array(["dev"]))

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"kind": "monthly"}, "must be one of random, two_stage"),
            ({"shares": (0.5, 0.1, 0.1)}, "must sum to 1"),
            ({"kind": "two_stage"}, "takes 2 seeds, not 1"),
        ],
    )
    def test_settings(self, settings, message):
        with pytest.raises(ConfigError, match=message):
            SplitSettings(**settings)

    def test_empty_part(self):
        with pytest.raises(DataError, match="valid part of 2 items is empty"):
            parts({"kind": "temporal"}, 2)


@pytest.fixture
def counts():
    rng = np.random.default_rng(1)
    return {"views": rng.integers(1, 10**6, 60).astype(float), "likes": rng.integers(0, 300, 60).astype(float)}


def label(counts, *sources, **settings):
    n = len(next(iter(counts.values())))
    split = SplitSettings(**settings.pop("split", {}))
    return make_labels(counts, np.arange(n, dtype=float), None, LabelSettings(sources, split=split, **settings))


class TestTransforms:
    @pytest.mark.parametrize(
        ("transform", "values", "expected"),
        [
            ("raw", [0, 3, 8], [0, 3, 8]),
            ("log2", [1, 4, 1024], [0, 2, 10]),
            ("log2_1p", [0, 3, 1023], [0, 2, 10]),
            ("log1p", [0, np.e - 1, np.e**2 - 1], [0, 1, 2]),
        ],
    )
    def test_by_hand(self, transform, values, expected):
        found = label({"views": np.array(values, float)}, "views", transform=transform, split={"shares": (1, 0, 0)})
        assert found.label == pytest.approx(expected) and found.raw == pytest.approx(values)

    def test_what_has_no_logarithm_has_no_label_and_no_part(self):
        found = label(
            {"comments": np.array([0, 2, np.nan, 8.0])}, "comments", transform="log2", split={"shares": (1, 0, 0)}
        )
        assert np.isnan(found.label).tolist() == [True, False, True, False]
        assert found.split.tolist() == ["", "train", "", "train"]
        assert found.unlabelled == {"no count": 1, "log2 is not defined for the count": 1}

    def test_item_without_a_time_is_left_out_of_a_temporal_split(self):
        settings = LabelSettings(("views",), split=SplitSettings("temporal", (0.5, 0.25, 0.25)))
        found = make_labels({"views": np.arange(1.0, 6)}, np.array([3, np.nan, 1, 2, 0]), None, settings)
        assert found.split.tolist() == ["test", "", "train", "valid", "train"] and found.unlabelled == {"no time": 1}


class TestScaling:
    @pytest.mark.parametrize(("scaling", "scaler"), [("minmax", MinMaxScaler()), ("standard", StandardScaler())])
    @pytest.mark.parametrize("fitted_on", ["train", "all"])
    def test_against_scikit_learn(self, counts, scaling, scaler, fitted_on):
        found = label(counts, "views", "likes", transform="log1p", scaling=scaling, fitted_on=fitted_on)
        both = np.log1p(np.stack([counts["views"], counts["likes"]], axis=1))
        train = found.split == "train"
        expected = scaler.fit(both[train] if fitted_on == "train" else both).transform(both).mean(axis=1)
        assert found.label == pytest.approx(expected)
        assert found.raw == pytest.approx((counts["views"] + counts["likes"]) / 2)

    def test_scaling_sees_nothing_of_valid_and_test(self, counts):
        before = label(counts, "views", scaling="minmax")
        train = before.split == "train"
        changed = {"views": np.where(train, counts["views"], counts["views"] * 1000 + 7)}
        after = label(changed, "views", scaling="minmax")
        assert (after.split == before.split).all() and after.fitted == before.fitted
        assert (after.label[train] == before.label[train]).all() and after.label.max() > 1

    def test_one_value_is_only_shifted(self):
        found = label({"shares": np.full(10, 3.0)}, "shares", scaling="minmax")
        assert (found.label == 0).all() and "one value of `shares`" in found.warnings[0]

    def test_garr_is_capped(self):
        interactions = 2.0 ** np.arange(0, 11)
        found = label(
            {"interactions": interactions}, "interactions", transform="log2", scaling="minmax", top=10.0, cap=9.99,
            split={"shares": (1, 0, 0)},
        )  # fmt: skip
        assert found.label == pytest.approx([*range(10), 9.99])

    def test_summary(self, counts):
        found = label(counts, "likes")
        series = pd.Series(found.label).groupby(found.split)
        for part, numbers in found.summary().items():
            values = series.get_group(part)
            assert numbers == {
                "items": len(values),
                "mean": pytest.approx(values.mean()),
                "sd": pytest.approx(values.std(ddof=0)),
                "min": values.min(),
                "max": values.max(),
            }

    def test_errors(self, counts):
        with pytest.raises(DataError, match=r"no count `veiws` \(did you mean `views`\?\); there are views, likes"):
            label(counts, "veiws")
        with pytest.raises(DataError, match="No item has a label"):
            label({"views": np.zeros(3)}, "views", transform="log2")
        with pytest.raises(ConfigError, match="`transform` must be one of raw, log2, log2_1p, log1p"):
            LabelSettings(("views",), "log10")


@pytest.fixture
def folder(tmp_path):
    """Six items; item f has no interaction. The first interaction of item b is its second row."""
    with DatasetWriter(tmp_path, "d") as out:
        table = {"user_id": ["u"] * 6, "item_id": ["a", "b", "c", "b", "d", "e"], "time": [100, 250, 70, 90, 80, 65]}
        out.write_interactions({**table, "time": np.array(table["time"])}, "s")
        items = {"item_id": list("abcde"), "split": ["train", "train", "valid", "test", "test"]}
        out.write_items(items, {"split": "token"})
        views = [1023, 0, 3, np.nan, 7, 15]
        table = {"item_id": list("abcdef"), "comments": [4, 2, 0, 8, 16, 1], "views": views}
        out.write_counts({**table, "shares": [1, 2, 3, 4, 5, 6], "likes": [1, 2, 3, 4, 5, 6], "score": [1.5] * 6})
    return tmp_path / "d"


def run(folder, *options, status=0):
    assert main(["label", "d", "--data_path", str(folder.parent), *options]) == status


class TestCommand:
    def test_table(self, folder):
        run(folder, "--source=views", "--transform=log2_1p", "--split=temporal", "--shares", "0.5", "0.25", "0.25")
        assert (folder / "d.views-log2_1p.popularity").read_text().splitlines() == [
            "item_id:token\tlabel:float\traw:float\ttime:float\tsplit:token",
            "a\t10\t1023\t35\ttest",
            "b\t0\t0\t25\tvalid",
            "c\t2\t3\t5\ttrain",
            "d\t\t\t15\t",
            "e\t3\t7\t0\ttrain",
            "f\t\t15\t\t",
        ]
        record = json.loads((folder / "d.views-log2_1p.popularity.json").read_text())
        assert record["settings"]["split"] == {
            "kind": "temporal", "shares": [0.5, 0.25, 0.25], "seeds": [42], "drawn_first": "valid"
        }  # fmt: skip
        assert record["unlabelled"] == {"no count": 1, "no time": 1}
        assert record["fitted"]["views"] == {"mean": 2.5, "sd": 0.5, "min": 2, "max": 3}

    def test_preset(self, folder):
        """log2 of comments; item c has none."""
        run(folder, "--preset=mmra", "--shares", "0.5", "0.25", "0.25")
        rows = [line.split("\t") for line in (folder / "d.mmra.popularity").read_text().splitlines()[1:]]
        assert [row[1] for row in rows] == ["2", "1", "", "3", "4", "0"]
        record = json.loads((folder / "d.mmra.popularity.json").read_text())
        assert record["preset"] == "mmra" and record["preset_changed"] is True and "MMRA" in record["source"]
        assert record["settings"]["split"]["seeds"] == [9, 18]
        assert sum(numbers["items"] for numbers in record["labels"].values()) == 5

    def test_informs_composite_by_hand(self, folder):
        """Four counts with equal log1p shapes: the least train item is 0; only `all` knows the largest of test."""
        (folder / "d.counts").write_text(
            "item_id:token\tcomments:float\tlikes:float\tviews:float\tshares:float\n"
            "a\t0\t0\t0\t0\nb\t3\t3\t3\t3\nc\t1\t1\t1\t1\nd\t15\t15\t15\t15\ne\t7\t7\t7\t3\n"
        )
        for name, expected in (
            ("informs", [0, 1, 0.5, 2, (1.5 * 3 + 1) / 4]),
            ("stap-informs", [0, 0.5, 0.25, 1, (0.75 * 3 + 0.5) / 4]),
        ):
            run(folder, f"--preset={name}")
            table = pd.read_csv(folder / f"d.{name}.popularity", sep="\t")
            assert table["label:float"].tolist() == pytest.approx(expected)
            assert table["split:token"].tolist() == ["train", "train", "valid", "test", "test"]

    def test_interactions_are_counted_where_nothing_else_is_known(self, folder):
        (folder / "d.counts").unlink()
        run(folder, "--source=interactions", "--shares", "1", "0", "0")
        table = pd.read_csv(folder / "d.interactions-raw.popularity", sep="\t")
        assert dict(zip(table["item_id:token"], table["label:float"], strict=True)) == {
            "a": 1,
            "b": 2,
            "c": 1,
            "d": 1,
            "e": 1,
        }
        run(folder, "--source=views", status=1)

    def test_the_advice_where_counts_are_a_column_of_the_items_works(self, folder, capsys):
        (folder / "d.counts").unlink()
        (folder / "d.item").write_text("item_id:token\tviews:float\na\t8\nb\t2\n")
        run(folder, "--source=views", "--shares", "1", "0", "0", status=1)
        told = capsys.readouterr().err
        assert "`views` is a column of" in told and "--source=interactions" not in told
        [header] = re.findall("header `([^`]*)`, tab, `([^`]*)`", told)
        (folder / "d.counts").write_text("\t".join(header) + "\na\t8\nb\t2\n")
        run(folder, "--source=views", "--shares", "1", "0", "0")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ([], "ConfigError: Give --source or --preset"),
            (["--preset=nmra"], "ConfigError: There is no preset `nmra` (did you mean `mmra`?)"),
            (["--source=plays"], "DataError: There is no count `plays`"),
            (["--source=views", "--label_name=a/b"], "ConfigError: `a/b` cannot be a label's name"),
            (["--source=views", "--split=official"], "DataError: `"),
            (["--source=views", "--label_name=.."], "ConfigError: `..` cannot be a label's name"),
            (["--source=views", "--shares", "nan", "0.5", "0.5"], "ConfigError: The shares of train, valid and test"),
            (["--source=views", "--seed=-1"], "ConfigError: A seed of the split is -1; it must be from 0"),
            (["--source=views", "--seed=4294967296"], "ConfigError: A seed of the split is 4294967296"),
            (
                ["--source=views", "--split=two_stage", "--seed", "1", "2", "--shares", "1", "0", "0"],
                "ConfigError: A two",
            ),
            (["--source=views", "--scaling=minmax", "--top=nan"], "ConfigError: `top` is nan"),
            (["--source=views", "--cap=inf"], "ConfigError: `cap` is inf"),
            (["--source", "views", "views"], "ConfigError: The sources are views, views; name each count once"),
        ],
    )
    def test_errors(self, folder, capsys, options, message):
        run(folder, *options, status=1)
        assert capsys.readouterr().err.startswith(message)
        assert not list(folder.glob("*.popularity*"))

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("counts", "item_id:token\tviews:float\na\t1\nb\t2\na\t3\n", "d.counts` has two rows of item `a`"),
            ("counts", "item_id:token\tviews:token\na\t1\nb\t2\n", "There is no count `views`"),
            ("counts", "item_id:token\tviews:float\na\t1e308\nb\t1.5e308\n", "The counts views are too large"),
            ("item", "item_id:token\tsplit:token\na\ttrain\na\ttest\n", "d.item` has two rows of item `a`"),
        ],
    )
    def test_tables_that_make_no_labels(self, folder, capsys, name, text, message):
        (folder / f"d.{name}").write_text(text)
        run(folder, "--source=views", "--split=official", status=1)
        assert message in capsys.readouterr().err and not list(folder.glob("*.popularity*"))

    def test_counts_that_are_a_column_of_the_items(self, folder, capsys):
        (folder / "d.counts").unlink()
        run(folder, "--source=views", status=1)
        assert "no `" in (error := capsys.readouterr().err) and error.endswith(
            "how often an item occurs: --source=interactions.\n"
        )
        (folder / "d.item").write_text("item_id:token\tviews:float\na\t1\n")
        run(folder, "--source=views", status=1)
        assert "`views` is a column of `d.item`" in (error := capsys.readouterr().err) and "interactions" not in error

    def test_a_preset_of_other_counts_than_the_items_have(self, folder, capsys):
        (folder / "d.counts").unlink()
        (folder / "d.item").write_text("item_id:token\tviews:float\na\t1\n")
        run(folder, "--preset=mmra", status=1)
        error = capsys.readouterr().err
        assert "would hold `comments`" in error and "in `d.item` (`views`)" in error and "--source=views" in error
        assert "interactions" not in error

    def test_existing_labels_are_kept(self, folder, capsys):
        named = ("--label_name=x", "--shares", "0.5", "0.25", "0.25")
        run(folder, "--source=comments", *named)
        before = (folder / "d.x.popularity").read_bytes()
        run(folder, "--source=likes", *named, status=1)
        assert "`d.x.popularity`; give --overwrite" in capsys.readouterr().err
        assert (folder / "d.x.popularity").read_bytes() == before
        run(folder, "--source=likes", *named, "--overwrite")
        assert json.loads((folder / "d.x.popularity.json").read_text())["settings"]["sources"] == ["likes"]

    def test_no_data_set(self, tmp_path, capsys):
        assert main(["label", "absent", "--data_path", str(tmp_path), "--source=views"]) == 1
        assert "There is no data set `absent`" in capsys.readouterr().err

    def test_presets_are_listed_with_their_sources(self, capsys):
        assert main(["label", "--list_presets"]) == 0
        printed = capsys.readouterr().out
        assert len(PRESETS) == 7
        for name, preset in PRESETS.items():
            assert f"{name} ({preset.data})" in printed and preset.source in printed
