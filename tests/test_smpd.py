"""The SMPD-Video converter on a few posts with every flaw of the real ones, worked by hand."""

import json
import math
from datetime import UTC, datetime

import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.raw.smpd_files import assemble_text, find_split_files, parse_time

from recbole_video.errors import DataError

from .loading import recbole_dataset, recbole_sequences
from .recbole_features import features, tokens

COUNTS = ("following", "follower", "likes", "video", "digg", "heart", "friend")


def post(number, author, content, location, words, language, split, video, time):
    uid = f"USER{author:08d}"
    return {
        "pid": f"POST{number:08d}",
        "uid": uid,
        "post_content": content,
        "post_location": location,
        "post_suggested_words": words,
        "post_text_language": language,
        "video_path": f"{split}/{uid}/VIDEO{video:08d}.mp4",
        "post_time": time,
    }


def user(author, *counts):
    return {"uid": f"USER{author:08d}", **{f"user_{n}_count": c for n, c in zip(COUNTS, counts, strict=True)}}


POST = '{"pid": "P", "uid": "U", "post_time": "2023-01-05", "post_content": "a", "video_path": "v.mp4"}'
POSTS_TRAIN = (
    post(1, 7, "Easy,dinner,idea,fyp", "US", ["easy dinner", "fyp"], "en", "train", 21, "2023-01-05 10:30"),
    post(4, 7, "", "NA", [], "un", "train", 25, "2023-01-05 10:30"),
    post(2, 9, "wait,for,it", "us", [], "zh-Hant", "train", 22, "2022-03-01 23:59"),
)
POSTS_TEST = (post(3, 9, "part,two", "GB", ['a "b" c'], "en", "test", 23, "2023-09-02 00:00"),)
NINE = user(9, 0, 81_200_000, -1_794_967_296, 640, 0, -1_794_967_296, 0)  # 2.5e9, wrapped
SEVEN = user(7, 10_000, 0, 905_032_704, 1, 15_900, 905_032_704, 0)  # 5.2e9, wrapped
VIDEO = {
    "vid": "VIDEO00000022",
    "pid": "POST00000002",
    "uid": "USER00000009",
    "video_height": 1024,
    "video_width": 576,
    "video_duration": 2,
    "video_ratio": "540p",
    "video_format": "mp4",
    "music_title": '"la la" remix',
    "music_duration": 851,
}
SCORES = tuple(
    {"pid": f"POST{number:08d}", "uid": "", "popularity": score} for number, score in ((2, 1.22), (4, 13.35), (1, 8.73))
)
FILES = {
    "posts_train": POSTS_TRAIN,
    "posts_test": POSTS_TEST,
    "users_train": (NINE, SEVEN),
    "users_test": (NINE, NINE),
    "videos_train": (VIDEO,),
    "popularity_train": SCORES,
}


def write_jsonl(folder, files=FILES, **changed):
    folder.mkdir(exist_ok=True)
    for name, rows in {**files, **changed}.items():
        text = "".join(json.dumps(row, ensure_ascii="train" in name) + "\n" for row in rows)
        (folder / f"SMP-Video_anonymized_{name}.jsonl").write_text(text, encoding="utf-8", newline="")


def convert(root, *options, status=0, raw="raw"):
    assert main(["smpd", str(root / raw), f"--out={root}", "--name=smpd", *map(str, options)]) == status
    return root / "smpd"


def card_of(dataset):
    return json.loads((dataset / "smpd.card.json").read_text())


def texts_of(dataset):
    rows = [json.loads(line) for line in (dataset / "smpd.text.jsonl").read_text().splitlines()]
    return {int(row.pop("item_id")[4:]): row for row in rows}


def table(dataset, suffix):
    frame = pd.read_csv(dataset / f"smpd.{suffix}", sep="\t", index_col=0, keep_default_na=False, na_values=[""])
    return frame.rename(columns=lambda c: c.partition(":")[0])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("smpd")
    write_jsonl(root / "raw")
    return convert(root)


def test_interactions(dataset):
    """By user and time; the tie within a minute keeps the order of the file."""
    data = recbole_dataset(dataset.parent, "smpd")
    assert tokens(data, "user_id") == [f"USER{n:08d}" for n in (7, 7, 9, 9)]
    assert tokens(data, "item_id") == [f"POST{n:08d}" for n in (1, 4, 2, 3)]
    first = datetime(2022, 3, 1, 23, 59, tzinfo=UTC)
    expected = [(datetime(*date, tzinfo=UTC) - first).total_seconds() for date in ((2023, 1, 5, 10, 30),) * 2]
    assert data.inter_feat["timestamp"].tolist()[:3] == [*expected, 0]
    sequences = recbole_sequences(recbole_dataset(dataset.parent, "smpd"))
    assert sequences["USER00000009"] == ["POST00000002", "POST00000003"]


def test_the_split_is_kept_and_test_posts_stay_without_a_score(dataset):
    data = recbole_dataset(dataset.parent, "smpd")
    split = features(data, "item", "split")
    assert {int(item[4:]): part for item, part in split.items()} == {1: "train", 2: "train", 3: "test", 4: "train"}
    score = table(dataset, "counts")["score"]
    assert {int(k[4:]): v for k, v in score.dropna().items()} == {1: 8.73, 2: 1.22, 4: 13.35}
    assert math.isnan(score["POST00000003"])
    assert card_of(dataset)["notes"]["splits"] == {
        "test": {"posts": 1, "scores": 0},
        "train": {"posts": 3, "scores": 3},
    }


def test_labels_by_time_leave_test_posts_out(tmp_path):
    """The oldest post is 2, then 1, then 4, which has the same minute and comes later in the file."""
    write_jsonl(tmp_path / "raw")
    dataset = convert(tmp_path)
    options = ["--source", "score", "--split", "temporal", "--shares", "0.34", "0.33", "0.33", "--label_name=x"]
    assert main(["label", "smpd", f"--data_path={tmp_path}", *options]) == 0
    labels = pd.read_csv(dataset / "smpd.x.popularity", sep="\t", index_col=0, keep_default_na=False)
    assert {int(k[4:]): tuple(v) for k, v in labels[["label:float", "split:token"]].T.items()} == {
        1: ("8.73", "valid"), 2: ("1.22", "train"), 3: ("", ""), 4: ("13.35", "test"),
    }  # fmt: skip


def test_wrapped_counts_are_repaired_and_listed(dataset):
    users = table(dataset, "user")
    assert users.loc["USER00000009", "user_likes_count"] == 2.5e9 == users.loc["USER00000009", "user_heart_count"]
    assert users.loc["USER00000007", "user_likes_count"] == 5.2e9
    assert users.loc["USER00000007", ["user_following_count", "user_digg_count"]].tolist() == [10_000, 15_900]
    assert users.loc["USER00000009", "user_follower_count"] == 81_200_000
    repaired = card_of(dataset)["notes"]["repaired counts"]
    assert sorted((r["user_id"][-1], r["column"], r["found"], r["repaired"]) for r in repaired) == [
        ("7", "user_heart_count", 905_032_704, 5.2e9),
        ("7", "user_likes_count", 905_032_704, 5.2e9),
        ("9", "user_heart_count", -1_794_967_296, 2.5e9),
        ("9", "user_likes_count", -1_794_967_296, 2.5e9),
    ]


def test_counts_without_a_single_repair_are_left_empty_and_reported(tmp_path):
    write_jsonl(tmp_path / "raw", users_train=(NINE, user(7, -5, 0, 100, 1, 15_950, 200, 0)))
    dataset = convert(tmp_path)
    users = table(dataset, "user").loc["USER00000007"]
    assert users[["user_following_count", "user_digg_count"]].isna().all() and users["user_likes_count"] == 100
    warnings = card_of(dataset)["warnings"]
    assert any("2 counts of users are no displayed count" in w and "-5 of USER00000007" in w for w in warnings)
    assert any("1 user has a likes count other than the heart count" in w for w in warnings)


def test_duplicated_users(dataset, tmp_path):
    """The line that is there twice, and in both splits, counts once; one that differs is reported."""
    assert card_of(dataset)["notes"]["exact copies left out"] == {"users": 2}
    assert table(dataset, "user").index.tolist() == ["USER00000007", "USER00000009"]
    other = {**NINE, "user_video_count": 641}
    write_jsonl(tmp_path / "raw", users_test=(NINE, other))
    changed = convert(tmp_path)
    assert table(changed, "user").loc["USER00000009", "user_video_count"] == 640
    assert any("In users, 1 record contradicts an earlier one" in w for w in card_of(changed)["warnings"])


def test_features_of_videos_and_places(dataset):
    items = table(dataset, "item")
    assert items.loc["POST00000002", ["video_height", "video_duration", "music_duration"]].tolist() == [1024, 2, 851]
    assert items.loc["POST00000001", ["video_height", "video_ratio"]].isna().all()
    location = features(recbole_dataset(dataset.parent, "smpd"), "item", "location")
    assert location == {"POST00000001": "US", "POST00000004": "NA_", "POST00000002": "us", "POST00000003": "GB"}
    assert any("3 of 4 posts have no row in videos" in w for w in card_of(dataset)["warnings"])


def test_text(dataset, tmp_path):
    texts = texts_of(dataset)
    assert texts[1]["title"] == "Easy dinner idea fyp #easy dinner #fyp"
    assert texts[3] == {"title": 'part two #a "b" c', "media": "test/USER00000009/VIDEO00000023.mp4"}
    assert texts[2]["music"] == '"la la" remix' and "title" not in texts[4]
    write_jsonl(tmp_path / "raw")
    assert texts_of(convert(tmp_path, "--empty_text=video content"))[4]["title"] == "video content"


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"post_content": ["wait", "for"], "post_suggested_words": "it"}, "wait for #it"),
        ({"post_content": "a,,b, c", "post_suggested_words": None}, "a b c"),
        ({"post_content": None, "post_suggested_words": ["", "x y"]}, "#x y"),
        ({}, "nothing"),
    ],
)
def test_shapes_of_text(record, text):
    assert assemble_text(record, "nothing") == text


@pytest.mark.parametrize(
    "value",
    [
        "2023-01-05 10:30",
        "2023-01-05 10:30:00",
        "2023-01-05T10:30:00Z",
        "2023-01-05T12:30:00+02:00",
        datetime(2023, 1, 5, 10, 30),
        datetime(2023, 1, 5, 10, 30, tzinfo=UTC),
    ],
)
def test_shapes_of_time(value):
    assert parse_time(value, "here") == 1_672_914_600  # date -u -d '2023-01-05 10:30' +%s


class TestParquet:
    pa = pytest.importorskip("pyarrow", reason="needs the extra `data`")

    def write(self, path, rows):
        from pyarrow import parquet

        path.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(self.pa.Table.from_pylist(list(rows)), path)

    def same(self, one, other):
        for suffix in ("inter", "item", "user", "counts"):
            assert (one / f"smpd.{suffix}").read_bytes() == (other / f"smpd.{suffix}").read_bytes(), suffix
        assert texts_of(one) == texts_of(other)

    def test_export_of_the_hub(self, dataset, tmp_path):
        """One folder per config, timestamps in place of text, `labels` in place of `popularity`."""
        for name, rows in FILES.items():
            config, split = name.split("_")
            if config == "posts":
                rows = [{**row, "post_time": datetime.fromisoformat(row["post_time"])} for row in rows]
            config = config.replace("popularity", "labels")
            self.write(tmp_path / "raw" / config / f"{split}-00000-of-00001.parquet", rows)
        self.same(convert(tmp_path), dataset)

    def test_tables_stacked_into_one(self, dataset, tmp_path):
        """Nulls wherever a record is of another table."""
        columns = {key for rows in FILES.values() for row in rows for key in row}
        for split in ("train", "test"):
            rows = [row for name, rows in FILES.items() if name.endswith(split) for row in rows]
            self.write(tmp_path / "raw" / f"{split}.parquet", [dict.fromkeys(columns) | row for row in rows])
        self.same(convert(tmp_path), dataset)


class TestFlaws:
    def test_users_without_posts_and_the_reverse(self, tmp_path):
        write_jsonl(tmp_path / "raw", users_train=(SEVEN, user(8, 1, 1, 1, 1, 1, 1, 0)), users_test=())
        dataset = convert(tmp_path)
        users = table(dataset, "user")
        assert users["user_video_count"]["USER00000007"] == 1 and users.loc["USER00000009"].isna().all()
        assert "USER00000008" not in users.index
        card = card_of(dataset)
        assert card["notes"]["users without a post"] == 1
        assert any("1 of 2 users with interactions have no features" in w for w in card["warnings"])
        assert len(recbole_dataset(tmp_path, "smpd").inter_feat) == 4

    def test_null_keys(self, tmp_path):
        nobody = {**POSTS_TRAIN[0], "pid": "POST00000009", "uid": None}
        write_jsonl(
            tmp_path / "raw",
            posts_train=(*POSTS_TRAIN, nobody),
            popularity_train=(*SCORES, {"pid": None, "uid": None, "popularity": 3.0}),
        )
        card = card_of(convert(tmp_path))
        assert any("Left out: 1 record of scores without pid." in w for w in card["warnings"])
        [step] = [step for step in card["steps"] if step["name"] == "posts without an author"]
        assert (step["before"], step["after"]) == (5, 4)

    def test_a_train_post_without_a_score(self, tmp_path):
        write_jsonl(tmp_path / "raw", popularity_train=(SCORES[0], {**SCORES[1], "popularity": None}))
        dataset = convert(tmp_path)
        assert table(dataset, "counts")["score"].notna().sum() == 1
        assert any(
            "2 posts of the train split have no score (first: POST00000001)" in w for w in card_of(dataset)["warnings"]
        )

    def test_posts_without_authors(self, tmp_path, capsys):
        """A key that is not there is as good as null; where no post has an author there is nothing to convert."""
        nobody = {key: value for key, value in POSTS_TRAIN[0].items() if key != "uid"}
        write_jsonl(tmp_path / "raw", posts_train=(nobody, *POSTS_TRAIN[1:]))
        assert len(recbole_dataset(convert(tmp_path).parent, "smpd").inter_feat) == 3
        write_jsonl(tmp_path / "raw", posts_train=(nobody,), posts_test=())
        convert(tmp_path, "--overwrite", status=1)
        assert "None of the 1 posts has a uid" in capsys.readouterr().err

    def test_ids_that_are_numbers(self, tmp_path):
        write_jsonl(
            tmp_path / "raw",
            posts_train=({**POSTS_TRAIN[0], "pid": 5},),
            popularity_train=({"pid": 5, "popularity": 2},),
        )
        assert table(convert(tmp_path), "counts")["score"].dropna().to_dict() == {"5": 2.0}

    def test_missing_videos_are_counted(self, tmp_path):
        write_jsonl(tmp_path / "raw")
        video = tmp_path / "videos" / POSTS_TRAIN[0]["video_path"]
        video.parent.mkdir(parents=True)
        video.touch()
        card = card_of(convert(tmp_path, f"--videos={tmp_path / 'videos'}"))
        assert card["notes"]["posts without a video file"] == 3
        convert(tmp_path, "--videos=/nowhere", "--overwrite", status=1)

    def test_errors_name_the_place(self, tmp_path, capsys):
        raw = tmp_path / "raw"
        write_jsonl(raw)
        posts = raw / "SMP-Video_anonymized_posts_test.jsonl"
        for text, message in (
            ('{"pid": \n', "posts_test.jsonl`, line 1 is not valid JSON"),
            ("[1]\n", "posts_test.jsonl`, line 1: this is no JSON object."),
            ('\n{"pid": "P", "post_time": "soon"}\n', "line 2: the post_time 'soon' is not of the form"),
            ('{"pid": "P", "popularity": "high"}\n', "line 1, `popularity`: 'high' is no number"),
            ('{"pid": "P", "popularity": 1e999}\n', "line 1 holds a number that cannot be used (1e999 is beyond"),
            ('{"pid": "P", "popularity": "1e999"}\n', "line 1, `popularity`: `1e999` is beyond what a float holds"),
            ('{"pid": ["P"], "popularity": 1}\n', "line 1, `pid`: `['P']` is no id"),
            ('{"pid": "P\\u001b", "popularity": 1}\n', "line 1: the id `P\\x1b` in column `pid` cannot be a token"),
            ('{"pid": "P", "popularity": {"a": 1}}\n', "`popularity`: {'a': 1} is no number"),
            ('{"uid": "U", "user_follower_count": 1.5}\n', "`user_follower_count`: `1.5` is no count"),
            ('{"uid": "U", "user_follower_count": 1e30}\n', "`user_follower_count`: `1e+30` is no count"),
            ('{"pid": "P", "video_height": 1, "video_ratio": []}\n', "`video_ratio`: `[]` is no text"),
            (POST.replace('"a"', "5"), "line 1, `post_content`: `5` is neither text nor a list of words"),
            (POST.replace('"a"', '[["b"]]'), "line 1, `post_content`: `[['b']]` is neither"),
            (POST.replace("v.mp4", "../v.mp4"), "line 1, `video_path`: `../v.mp4` is no path inside the archive"),
            (POST.replace('"U"', "[1]"), "line 1, `uid`: `[1]` is no id"),
            ("[" * 100_000, "line 1 is nested too deeply"),
            ('{"pid": ' + "9" * 5000, "line 1 holds a number that cannot be used"),
            (b'{"pid": "\xff"}', "is not text in UTF-8 (byte 10 of line 1 does not fit)"),
        ):
            posts.write_bytes(text if isinstance(text, bytes) else text.encode())
            convert(tmp_path, status=1)
            assert message in capsys.readouterr().err
        assert not (tmp_path / "smpd").exists()

    def test_files(self, tmp_path):
        with pytest.raises(DataError, match=r"holds no .jsonl and no .parquet file"):
            find_split_files(tmp_path)
        (tmp_path / "posts.jsonl").touch()
        with pytest.raises(DataError, match=r"posts.jsonl` is unknown: its path must hold the word `train` or `test`"):
            find_split_files(tmp_path)
        (tmp_path / "posts.jsonl").rename(tmp_path / "posts_test.jsonl")
        with pytest.raises(DataError, match="hold no post: no record has a `post_time`"):
            raise_on_convert(tmp_path)


def raise_on_convert(folder):
    from recbole_video.dataset_tools.card.card import Card
    from recbole_video.dataset_tools.raw.smpd_files import read_download
    from recbole_video.dataset_tools.raw.text_spool import TextSpool

    with TextSpool() as spool:
        read_download(folder, spool, "", Card("x"))
