"""``vk-lsvd``: weeks of exposures as parquet, their order in time, the split of the data, and content vectors."""

import json
import shlex

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.raw.vk_lsvd_files import COLUMNS, CONTEXT, FLAGS

from recbole_video.config import Config
from recbole_video.content.store import FrameStore
from recbole_video.recommendation.data import load_data

from .conftest import small_options
from .loading import our_sequences, recbole_dataset, recbole_sequences

PARTS = {23: "train", 24: "train", 25: "validation", 26: "test"}
RAW = ("subsamples", "ur0.01_ir0.01")


def write_download(root, weeks=PARTS, seed=0):
    """What the hub has, made small: returns all exposures in the order of time, with `week`."""
    rng = np.random.default_rng(seed)
    users, items = rng.choice(2**32, 12, replace=False), rng.choice(2**32, 40, replace=False)
    pairs = rng.permutation([(user, item) for user in users for item in items])[:320]  # each at most once
    tables = []
    for week, rows in zip(weeks, np.array_split(pairs, len(weeks)), strict=True):
        table = pd.DataFrame(rows.astype(np.uint32), columns=["user_id", "item_id"])
        for name in (*CONTEXT, "timespent"):
            table[name] = rng.integers(0, 60, len(table)).astype(np.uint8)
        for name in FLAGS:
            table[name] = rng.random(len(table)) < 0.3
        folder = root.joinpath(*RAW, weeks[week])
        folder.mkdir(parents=True, exist_ok=True)
        table.to_parquet(folder / f"week_{week:02}.parquet", index=False)
        tables.append(table.assign(week=week))
    write_metadata(root / "metadata", users, items, rng)
    return pd.concat(tables, ignore_index=True)


def write_metadata(folder, users, items, rng):
    folder.mkdir(parents=True)
    ranks = {"train_interactions_rank": np.arange(len(users), dtype=np.uint32)}
    table = {"user_id": users.astype(np.uint32), "age": 20 + np.arange(12, dtype=np.uint8), "gender": users % 2}
    pd.DataFrame({**table, "geo": users % 80, **ranks}).to_parquet(folder / "users_metadata.parquet")
    table = {"item_id": items.astype(np.uint32), "author_id": items // 2, "duration": np.arange(40, dtype=np.uint8)}
    pd.DataFrame(table).to_parquet(folder / "items_metadata.parquet")
    vectors = rng.normal(size=(40, 64)).astype(np.float16)
    np.savez(folder / "item_embeddings.npz", item_id=items.astype(np.uint32), embedding=vectors)


@pytest.fixture
def convert(tmp_path):
    """folder = convert("--option=value"), of the download in tmp_path"""

    def run(*options, status=0):
        words = ["vk-lsvd", str(tmp_path.joinpath(*RAW)), f"--out={tmp_path / 'dataset'}", *map(str, options)]
        assert main(words) == status
        return tmp_path / "dataset" / "vk-lsvd"

    return run


def sequences_of(exposures):
    return {str(user): list(map(str, rows["item_id"])) for user, rows in exposures.groupby("user_id", sort=False)}


class TestExposures:
    def test_order_is_that_of_weeks_and_rows(self, tmp_path, convert):
        exposures = write_download(tmp_path)
        folder = convert()
        assert our_sequences(folder.parent, "vk-lsvd") == sequences_of(exposures)
        assert recbole_sequences(recbole_dataset(folder.parent, "vk-lsvd")) == sequences_of(exposures)

    def test_seconds_are_spread_over_the_week_and_fit_float32(self, tmp_path, convert):
        exposures = write_download(tmp_path, {0: "train", 26: "test"})
        table = pd.read_csv(convert() / "vk-lsvd.inter", sep="\t")
        for week, rows in exposures.groupby("week"):
            expected = week * 604_800 + np.arange(len(rows)) * 604_800 // len(rows)
            found = table.merge(rows, left_on=["user_id:token", "item_id:token"], right_on=["user_id", "item_id"])
            assert sorted(found["timestamp:float"]) == expected.tolist()
        assert table["timestamp:float"].max() < 2**24

    @pytest.mark.parametrize("target", ["last", "all"])
    def test_split_is_that_of_the_data(self, tmp_path, convert, capsys, target):
        """With the options that are printed, a run trains on train and its targets are those of the other parts."""
        exposures = write_download(tmp_path)
        folder = convert()
        options = dict(
            word.removeprefix("--").split("=")
            for word in shlex.split(capsys.readouterr().out.rpartition("Its own split: ")[2].splitlines()[0])
        )
        cuts = json.loads(options.pop("temporal_cut"))
        chosen = {**options, "temporal_cut": cuts, "temporal_target": target, "data_path": str(folder.parent)}
        split = load_data(Config("SASRec", "vk-lsvd", config_dict=small_options("SASRec", "ID", **chosen))).actions
        for part, rows in (("validation", split.split.valid), ("test", split.split.test)):
            own = exposures[[PARTS[week] == part for week in exposures["week"]]]
            wanted = own if target == "all" else own.groupby("user_id").tail(1)
            assert sorted(split.items[rows.end].tolist()) == sorted(self.numbers(folder, wanted))
        last_trained = split.split.train.end.max() - 1
        assert split.times[last_trained] < cuts[0]

    @staticmethod
    def numbers(folder, rows):
        data = recbole_dataset(folder.parent, "vk-lsvd")
        return [int(data.token2id("item_id", str(item))) for item in rows["item_id"]]

    def test_download_without_a_test_part(self, tmp_path, convert, capsys):
        write_download(tmp_path, {week: part for week, part in PARTS.items() if part != "test"})
        convert()
        told = capsys.readouterr().out
        assert "--protocol=temporal --temporal_cut=1209600 --temporal_valid=last_training" in told

    def test_positive_rule_and_counts(self, tmp_path, convert):
        exposures = write_download(tmp_path)
        folder = convert("--positive", "like", "share", "--watched=50")
        kept = exposures[exposures["like"] | exposures["share"] | (exposures["timespent"] >= 50)]
        assert recbole_sequences(recbole_dataset(folder.parent, "vk-lsvd")) == sequences_of(kept)
        [step] = json.loads((folder / "vk-lsvd.card.json").read_text())["steps"]
        assert (step["before"], step["after"]) == (len(exposures), len(kept))
        counts = pd.read_csv(folder / "vk-lsvd.counts", sep="\t").set_index("item_id:token")
        of_all = exposures.groupby("item_id").agg(n=("like", "size"), likes=("like", "sum"))
        expected = of_all.loc[counts.index]
        assert counts["exposures:float"].tolist() == expected["n"].tolist()
        assert counts["likes:float"].tolist() == expected["likes"].tolist()

    def test_columns(self, tmp_path, convert):
        exposures = write_download(tmp_path).set_index(["user_id", "item_id"])
        table = pd.read_csv(convert() / "vk-lsvd.inter", sep="\t")
        rows = exposures.loc[list(zip(table["user_id:token"], table["item_id:token"], strict=True))]
        for name in COLUMNS[2:]:
            kind = "token" if name in CONTEXT else "float"
            assert table[f"{name}:{kind}"].tolist() == rows[name].astype(int).tolist()


class TestMetadata:
    def test_features_and_vectors(self, tmp_path, convert):
        exposures = write_download(tmp_path)
        folder = convert()
        store = FrameStore(folder / "vk-lsvd.content.frames.npy")
        raw = np.load(tmp_path / "metadata" / "item_embeddings.npz")
        items = sorted(exposures["item_id"].unique())
        assert list(store.items) == list(map(str, items))
        positions = {item: row for row, item in enumerate(raw["item_id"])}
        read = store.read(np.arange(len(items)))
        assert np.array_equal(read[:, 0], raw["embedding"][[positions[item] for item in items]])
        users = pd.read_csv(folder / "vk-lsvd.user", sep="\t")
        source = pd.read_parquet(tmp_path / "metadata" / "users_metadata.parquet").set_index("user_id")
        for name, kind in (("age", "float"), ("gender", "token"), ("geo", "token")):
            assert users[f"{name}:{kind}"].tolist() == source.loc[users["user_id:token"]][name].tolist()
        assert "rank" not in (folder / "vk-lsvd.user").read_text()

    def test_videos_without_a_vector_are_counted(self, tmp_path, convert):
        write_download(tmp_path)
        path = tmp_path / "metadata" / "item_embeddings.npz"
        raw = np.load(path)
        np.savez(path, item_id=raw["item_id"][:30], embedding=raw["embedding"][:30])
        folder = convert()
        warnings = json.loads((folder / "vk-lsvd.card.json").read_text())["warnings"]
        assert any("10 of 40 videos have no content vector" in warning for warning in warnings)

    def test_without_metadata(self, tmp_path, convert):
        write_download(tmp_path)
        (tmp_path / "metadata").rename(tmp_path / "elsewhere")
        assert not (convert() / "vk-lsvd.item").exists()
        assert (convert("--overwrite", f"--metadata={tmp_path / 'elsewhere'}") / "vk-lsvd.item").is_file()


def make_gap(root):
    path = root.joinpath(*RAW, "train", "week_24.parquet")
    table = pd.read_parquet(path)
    table["timespent"] = table["timespent"].astype("UInt8")
    table.loc[3, "timespent"] = None
    table.to_parquet(path)


FAULTS = {
    "no train": (lambda root: root.joinpath(*RAW, "train").rename(root / "train"), "holds no `train/week_NN.parquet`"),
    "order": (
        lambda root: root.joinpath(*RAW, "test", "week_26.parquet").rename(
            root.joinpath(*RAW, "test", "week_24.parquet")
        ),
        "test/week_24.parquet` does not lie after",
    ),
    "gap": (make_gap, "week_24.parquet`, row 4, column `timespent`: an empty cell where a whole number"),
    "column": (
        lambda root: pd.DataFrame({"user_id": [1]}).to_parquet(root.joinpath(*RAW, "test", "week_26.parquet")),
        "has no column `item_id`",
    ),
    "vectors": (
        lambda root: np.savez(root / "metadata" / "item_embeddings.npz", item_id=[1], embedding=[1.0]),
        "holds item_id [1] and embedding [1], which must be",
    ),
    "archive": (
        lambda root: (root / "metadata" / "item_embeddings.npz").write_bytes(b"x"),
        "cannot be read as an archive of the arrays item_id and embedding",
    ),
    "others' vectors": (
        lambda root: np.savez(root / "metadata" / "item_embeddings.npz", item_id=[1], embedding=[[1.0]]),
        "holds none of the videos that have interactions",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults(tmp_path, convert, capsys, fault):
    write_download(tmp_path)
    spoil, message = FAULTS[fault]
    spoil(tmp_path)
    folder = convert(status=1)
    error = capsys.readouterr().err
    assert error.startswith("DataError: ") and message in error and not folder.exists()
