"""The Short-Video converter on a small file with every flaw of the real ones, worked by hand."""

import csv
import gc
import json
import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.exposure_filter import Filter, apply_filter
from recbole_video.dataset_tools.media.files import check_durations, read_id_map
from recbole_video.dataset_tools.media.shortvideo_media import read_categories
from recbole_video.dataset_tools.raw.text_spool import TextSpool
from recbole_video.dataset_tools.shortvideo import FILES, find_csv
from recbole_video.dataset_tools.video.probe import read_duration

from recbole_video import FrameStore
from recbole_video.errors import DataError

from .loading import our_sequences, recbole_dataset, recbole_sequences
from .recbole_features import features, tokens

pytest.importorskip("pyarrow", reason="needs the extra `data`")

HEADER = (
    "user_id,pid,author_id,category_id,category_level,parent_id,root_id,exposed_time,author_fans_count,watch_time,"
    "duration,cvm_like,click,comment,follow,collect,forward,hate,tag_name,title,p_hour,p_date,gender,age,mod_price,"
    "fre_city,fre_community_type,fre_city_level"
)
# The records, one text each. A record's flags: like, click, comment, follow, collect, forward, hate.
ROWS = (
    "7,12,501,3,1,3,3,1663300000,4000,46,91.9,False,True,False,False,True,False,False,做饭,简单标题,11,20220916,M,42,1899,上海,country,一线城市",
    "7,12,501,3,1,3,3,1663300000,4000,46,91.9,False,True,False,False,True,False,False,美食,简单标题,11,20220916,M,42,1899,上海,country,一线城市",
    "7,12,501,40,2,3,3,1663300000,4000,46,91.9,False,True,False,False,True,False,False,做饭,简单标题,11,20220916,M,42,1899,上海,country,一线城市",
    "7,12,501,40,2,3,3,1663300000,4000,46,91.9,False,True,False,False,True,False,False,做饭,简单标题,11,20220916,M,42,1899,上海,country,一线城市",
    '7,15,502,5,1,5,5,1663300000,90,2,15.0,False,True,False,False,False,False,False,猫,"第一行,有逗号\n第二行",12,20220916,M,42,1899,上海,country,一线城市',
    "7,12,501,3,1,3,3,1663386400,4100,120,91.9,True,True,False,False,False,False,False,做饭,简单标题,11,20220917,M,42,1899,上海,country,一线城市",
    "7,18,503,5,1,5,5,1663386500,0,0,8.2,False,False,False,False,False,False,True,狗,,11,20220917,M,42,1899,上海,country,一线城市",
    '9,15,502,5,1,5,5,1663390000,95,15,15.0,False,True,True,False,False,False,False,猫,"他说""好""",12,20220917,F,,unknown,unknown,unknown,unknown',
    "9,20,504,5,1,5,5,1663390060,7,4,30.5,False,True,False,False,False,False,False,猫,没有引号,但有逗号,12,20220917,F,,unknown,unknown,unknown,unknown",
    '9,21,504,5,1,5,5,1663390090,7,9,30.5,False,True,False,False,False,False,False,猫,"断开的引号,只有一个,12,20220917,F,,unknown,unknown,unknown,unknown',
    "9,12,501,3,1,3,3,1663390120,4200,5,91.9,False,True,False,False,False,False,False,做饭,简单标题,12,20220917,F,,unknown,unknown,unknown,unknown",
    "9,18,503,5,1,5,5,1663390120,0,6,8.2,False,True,False,False,False,False,False,狗,,12,20220917,F,,unknown,unknown,unknown,unknown",
    "10,12,501,3,1,3,3,1663400000,4200,1,91.9,False,True,False,False,False,False,False,做饭,简单标题,15,20220917,M,20,999,北京,unknown,unknown",
)  # fmt: skip
BARE_COMMA, BROKEN_QUOTE = 8, 9
FILTERED = "\n".join((HEADER, *ROWS)) + "\n"
SAMPLED = "\n".join((HEADER, *(row for i, row in enumerate(ROWS) if i not in (BARE_COMMA, BROKEN_QUOTE)))) + "\n"
FIRST = 1_663_300_000


def convert(folder, text, *options, file="interaction_filtered.csv", status=0):
    """Run the command on a file of ``text``; returns the folder of the data set."""
    raw = folder / "raw"
    raw.mkdir(exist_ok=True)
    (raw / file).write_text(text, encoding="utf-8", newline="")
    assert main(["shortvideo", str(raw), f"--out={folder}", "--name=sv", *map(str, options)]) == status
    return folder / "sv"


def card_of(dataset):
    return json.loads((dataset / "sv.card.json").read_text())


def texts_of(dataset):
    rows = [json.loads(line) for line in (dataset / "sv.text.jsonl").read_text().splitlines()]
    return {row.pop("item_id"): row for row in rows}


def inter(dataset):
    frame = pd.read_csv(dataset / "sv.inter", sep="\t", dtype=str, keep_default_na=False)
    return frame.rename(columns=lambda c: c.partition(":")[0])


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """The file with all records, nothing filtered."""
    return convert(tmp_path_factory.mktemp("sv"), FILTERED, "--preset=all")


class TestFixture:
    def test_is_what_a_csv_parser_stumbles_over(self):
        """8 good records, one of 29 fields, and one of 20 fields that has swallowed the rest."""
        widths = [len(row) for row in csv.reader(FILTERED.splitlines(keepends=True))][1:]
        assert widths == [28] * 8 + [29, 20]
        assert [len(row) for row in csv.reader(SAMPLED.splitlines(keepends=True))] == [28] * 12


class TestReading:
    def test_every_record_is_read(self, everything):
        reading = card_of(everything)["notes"]["reading"]
        assert reading["records"] == 13 and reading["unreadable"] == 0
        assert (reading["multi_line"], reading["bare_commas"], reading["broken_quotes"]) == (1, 1, 1)

    def test_sampled_flavour_is_sound(self, tmp_path):
        dataset = convert(tmp_path, SAMPLED, "--preset=all", file="interaction_sampled.csv")
        reading = card_of(dataset)["notes"]["reading"]
        assert (reading["records"], reading["multi_line"]) == (11, 1)
        assert not any(reading[k] for k in ("bare_commas", "broken_quotes", "bare_breaks", "unreadable"))

    def test_rows_become_exposures(self, everything):
        [step] = [step for step in card_of(everything)["steps"] if step["name"] == "rows to exposures"]
        assert (step["before"], step["after"]) == (13, 10)

    @pytest.mark.parametrize("order", ["reversed", "byte order mark and CRLF", "other spelling of flags", "all quoted"])
    def test_other_ways_to_write_it(self, tmp_path, everything, order):
        text = FILTERED
        rows = list(csv.reader([HEADER, *(r for i, r in enumerate(ROWS) if i not in (4, 8, 9))]))
        if order == "all quoted":
            lines = (",".join('"' + cell.replace('"', '""') + '"' for cell in row) + "\n" for row in rows)
            text = "".join([*lines, *(f"{ROWS[i]}\n" for i in (4, 8, 9))])
        elif order == "reversed":
            text = "\n".join(",".join(row[::-1]) for row in rows) + "\n"
        elif order == "byte order mark and CRLF":
            text = "\ufeff" + text.replace("\n", "\r\n")
        else:
            text = text.replace("True", "1").replace("False", "0")
        dataset = convert(tmp_path, text, "--preset=all")
        expected = inter(everything)
        if order == "reversed":
            expected = expected[~((expected["item_id"] == "15") & (expected["user_id"] == "7"))]
            expected = expected[~expected["item_id"].isin(["20", "21"])].reset_index(drop=True)
        pd.testing.assert_frame_equal(inter(dataset), expected)

    def test_rows_of_an_exposure_need_not_be_adjacent(self, tmp_path):
        """Flags are joined by OR, numbers come from the first row, wherever the rows are."""
        other = ROWS[0].replace(",46,91.9,False", ",99,91.9,True").replace("做饭", "面")
        text = "\n".join((HEADER, *ROWS, other)) + "\n"
        first = inter(convert(tmp_path, text, "--preset=all")).iloc[0]
        assert (first["item_id"], first["watch_time"], first["cvm_like"], first["collect"]) == ("12", "46", "1", "1")
        assert texts_of(tmp_path / "sv")["12"]["tags"] == ["做饭", "美食", "面"]

    def test_lines_that_cannot_be_read_are_counted_and_shown(self, tmp_path, capsys):
        lines = FILTERED.splitlines(keepends=True)
        text = "".join([*lines[:3], "7,12,half a line\n", *lines[3:]])
        dataset = convert(tmp_path, text, "--preset=all")
        assert card_of(dataset)["notes"]["reading"]["unreadable"] == 1 and len(inter(dataset)) == 10
        assert any(
            "1 lines that belong to no record, left out (first: line 4)" in w for w in card_of(dataset)["warnings"]
        )

    def test_small_blocks_give_the_same(self, tmp_path, everything, monkeypatch):
        from recbole_video.dataset_tools import shortvideo

        read = shortvideo.read_tables
        monkeypatch.setattr(shortvideo, "read_tables", lambda *given: read(*given, block_bytes=300))
        dataset = convert(tmp_path, FILTERED, "--preset=all")
        for suffix in ("inter", "item", "user", "counts", "text.jsonl", "times.npy"):
            assert (dataset / f"sv.{suffix}").read_bytes() == (everything / f"sv.{suffix}").read_bytes(), suffix


def test_what_is_held_does_not_grow_with_titles(tmp_path, monkeypatch):
    """3,000 videos with titles of 10, then 10,000 characters: of these 30 MB a tenth may be held, in 120 blocks."""
    from recbole_video.dataset_tools import shortvideo

    read = shortvideo.read_tables
    monkeypatch.setattr(shortvideo, "read_tables", lambda *given: read(*given, block_bytes=1 << 18))
    monkeypatch.setattr(Card, "add_input", lambda card, path: None)  # checksums are made of larger blocks
    held = []
    for length in (10, 10, 10_000):  # the first imports what is needed
        rows = (ROWS[0].replace("7,12,", f"7,{n},").replace("简单标题", f"{n:x<{length}}") for n in range(3000))
        path = tmp_path / f"{length}.csv"
        path.write_text("\n".join((HEADER, *rows)) + "\n", encoding="utf-8")
        with TextSpool() as spool:
            tracemalloc.start()
            fold = shortvideo.read_csv(path, spool, Card("x"))
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            tracemalloc.stop()
            assert fold.rows == len(spool) == 3000 and len(spool.get(2999)["title"]) == length
    assert held[2] - held[1] < 3_000_000


class TestWholeFilesThatAreWrong:
    def test_another_encoding(self, tmp_path, capsys):
        """A few wrong bytes are counted; where most records have some, the file is not in UTF-8."""
        raw = tmp_path / "raw"
        raw.mkdir()
        (raw / "interaction.csv").write_bytes(SAMPLED.encode("gbk"))
        assert main(["shortvideo", str(raw), f"--out={tmp_path}", "--name=sv"]) == 1
        assert "is not text in UTF-8: bytes of 12 lines do not fit (first: line 2)" in capsys.readouterr().err
        assert not (tmp_path / "sv").exists()

    @pytest.mark.parametrize(
        ("old", "new", "message"),
        [
            (",46,91.9,", ",1e999,91.9,", "line 2: the number in `watch_time` is beyond what a float holds"),
            (",1663400000,", f",{2**63 - 2},", "lies beyond the year 2200 in s"),
            (",1663400000,", f",{-(2**62)},", "lies before the year 1 in s"),
            (",1663400000,", f",{'9' * 5000},", "line 15: "),
        ],
    )
    def test_numbers(self, tmp_path, capsys, old, new, message):
        assert old in FILTERED
        convert(tmp_path, FILTERED.replace(old, new), "--preset=all", status=1)
        assert message in capsys.readouterr().err and not (tmp_path / "sv").exists()

    @pytest.mark.parametrize("seconds", ["nan", "1e999", "x"])
    def test_an_effective_view_of_no_length(self, tmp_path, seconds):
        with pytest.raises(SystemExit):
            convert(tmp_path, FILTERED, f"--effective_view={seconds}")


class TestOutput:
    def test_interactions(self, everything):
        table = inter(everything)
        assert table[["user_id", "item_id"]].agg("-".join, axis=1).tolist() == [
            "7-12", "7-15", "7-12", "7-18", "9-15", "9-20", "9-21", "9-12", "9-18", "10-12",
        ]  # fmt: skip
        assert table["timestamp"].astype(int).tolist() == [
            0, 0, 86_400, 86_500, 90_000, 90_060, 90_090, 90_120, 90_120, 100_000,
        ]  # fmt: skip
        assert np.load(everything / "sv.times.npy").tolist() == [FIRST + t for t in table["timestamp"].astype(int)]
        assert table["watch_time"].tolist() == ["46", "2", "120", "0", "15", "4", "9", "5", "6", "1"]
        assert table["duration"].astype(float).tolist()[:4] == [91.9, 15.0, 91.9, 8.2]
        assert table["effective_view"].tolist() == ["1", "0", "1", "0", "1", "1", "1", "1", "1", "0"]
        assert table["click"].tolist() == ["1", "1", "1", "0", "1", "1", "1", "1", "1", "1"]
        assert (
            table["collect"].tolist() == ["1"] + ["0"] * 9 and table["hate"].tolist() == ["0"] * 3 + ["1"] + ["0"] * 6
        )

    def test_effective_view_is_a_setting(self, tmp_path):
        at_least_4 = inter(
            convert(tmp_path, FILTERED, "--preset=all", "--effective_view=4", "--effective_view_at_least")
        )
        beyond_4 = inter(convert(tmp_path, FILTERED, "--preset=all", "--effective_view=4", "--overwrite"))
        watched_4 = at_least_4["watch_time"] == "4"
        assert at_least_4["effective_view"][watched_4].tolist() == ["1"]
        assert beyond_4["effective_view"][watched_4].tolist() == ["0"]

    def test_titles(self, everything):
        texts = texts_of(everything)
        assert texts["12"]["title"] == "简单标题" and "title" not in texts["18"]
        assert texts["15"]["title"] == "第一行,有逗号\n第二行"  # the first of two
        assert texts["20"]["title"] == "没有引号,但有逗号" and texts["21"]["title"] == '"断开的引号,只有一个'
        assert any("1 videos with several titles" in w for w in card_of(everything)["warnings"])

    def test_counts(self, everything):
        counts = pd.read_csv(everything / "sv.counts", sep="\t", index_col=0)
        assert counts["exposures:float"].to_dict() == {12: 4, 15: 2, 18: 2, 20: 1, 21: 1}
        assert counts["views:float"].to_dict() == {12: 3, 15: 1, 18: 1, 20: 1, 21: 1}
        assert counts["likes:float"].to_dict() == {12: 1, 15: 0, 18: 0, 20: 0, 21: 0}
        assert not (set(counts) & {c.partition("\t")[0] for c in (everything / "sv.item").open()})

    def test_recbole_loads_it(self, everything):
        data = recbole_dataset(everything.parent, "sv")
        table = inter(everything)
        assert tokens(data, "user_id") == table["user_id"].tolist()
        assert tokens(data, "item_id") == table["item_id"].tolist()
        assert data.inter_feat["timestamp"].tolist() == table["timestamp"].astype(float).tolist()
        assert features(data, "item", "author_id") == {
            "12": "501", "15": "502", "18": "503", "20": "504", "21": "504",
        }  # fmt: skip
        sequences = recbole_sequences(recbole_dataset(everything.parent, "sv"))
        assert sequences == {
            "7": ["12", "15", "12", "18"], "9": ["15", "20", "21", "12", "18"], "10": ["12"],
        } == our_sequences(everything.parent, "sv")  # fmt: skip
        names = {number: tag for number, tag in enumerate(["做饭", "美食", "猫", "狗"])}
        tags = features(data, "item", "tags")
        assert {item: [names[int(n)] for n in numbers] for item, numbers in tags.items()} == {
            "12": ["做饭", "美食"], "15": ["猫"], "18": ["狗"], "20": ["猫"], "21": ["猫"],
        }  # fmt: skip
        assert features(data, "item", "category_1")["12"] == ["3"]
        assert features(data, "item", "category_2") == {
            "12": ["40"], "15": [], "18": [], "20": [], "21": [],
        }  # fmt: skip
        assert features(data, "user", "fre_city") == {"7": "上海", "9": "unknown", "10": "北京"}
        assert features(data, "user", "gender") == {"7": "M", "9": "F", "10": "M"}

    def test_age_and_price_that_are_no_numbers_are_empty(self, everything):
        users = pd.read_csv(everything / "sv.user", sep="\t", index_col=0)
        assert users["age:float"].iloc[[0, 2]].tolist() == [42, 20] and math.isnan(users["age:float"].loc[9])
        assert users["mod_price:float"].loc[7] == 1899 and math.isnan(users["mod_price:float"].loc[9])

    def test_outputs_are_kept_unless_overwritten(self, tmp_path, capsys):
        dataset = convert(tmp_path, FILTERED, "--preset=all")
        before = (dataset / "sv.inter").stat().st_mtime_ns
        convert(tmp_path, FILTERED, "--preset=all", status=1)
        assert "--overwrite" in capsys.readouterr().err and (dataset / "sv.inter").stat().st_mtime_ns == before


def random_rows(rng, n):
    """Rows whose exposures come in any order, with flags that differ from row to row."""
    columns = HEADER.split(",")
    frame = pd.DataFrame({name: rng.integers(0, 9, n) for name in columns})
    frame["user_id"], frame["pid"] = rng.integers(1, 12, n), rng.integers(1, 30, n)
    frame["exposed_time"] = FIRST + rng.integers(0, 5, n)
    frame["category_level"], frame["duration"] = rng.integers(1, 4, n), 10 + frame["pid"] / 2
    frame["author_id"] = frame["pid"] % 7
    for name in ("cvm_like", "click", "comment", "follow", "collect", "forward", "hate"):
        frame[name] = rng.random(n) < 0.2
    frame["tag_name"] = [f"tag{i}" for i in rng.integers(0, 6, n)]
    frame["title"] = [f"title {pid}, of it" for pid in frame["pid"]]
    return frame


def test_random_rows_against_pandas(tmp_path):
    rows = random_rows(np.random.default_rng(1), 3000)
    dataset = convert(tmp_path, rows.to_csv(index=False), "--preset=all")
    flags = ["cvm_like", "click", "comment", "follow", "collect", "forward", "hate"]
    rules = {**dict.fromkeys(("watch_time", "duration"), "first"), **dict.fromkeys(flags, "any")}
    expected = rows.groupby(["user_id", "pid", "exposed_time"], sort=False).agg(rules).reset_index()
    assert 100 < len(expected) < 2500
    expected = expected.sort_values(["user_id", "exposed_time"], kind="stable", ignore_index=True).astype(float)
    found = inter(dataset).astype(float).rename(columns={"item_id": "pid", "timestamp": "exposed_time"})
    found["exposed_time"] += rows["exposed_time"].min()
    pd.testing.assert_frame_equal(found[list(expected)], expected)
    items = pd.read_csv(dataset / "sv.item", sep="\t", index_col=0, keep_default_na=False)
    texts = texts_of(dataset)
    for pid, of_item in rows.groupby("pid"):
        assert sorted(texts[str(pid)]["tags"]) == sorted(of_item["tag_name"].unique())
        for level in (1, 2, 3):
            categories = of_item.loc[of_item["category_level"] == level, "category_id"].unique()
            assert items.loc[pid, f"category_{level}:token_seq"] == " ".join(map(str, categories))


class TestFilter:
    """Exposures per video: 12 four, 15 and 18 two, 20 and 21 one; per user: 7 four, 9 five, 10 one."""

    @pytest.mark.parametrize(
        ("options", "users"),
        [
            (("--min_user=2",), {"7": 4, "9": 3}),
            (("--min_user=4",), {"7": 4}),
            (("--min_user=4", "--order=users_first"), {"7": 4, "9": 3}),
            (("--min_user=2", "--iterate"), {"7": 4, "9": 3}),
            (("--min_user=1", "--repeats=first"), {"7": 3, "9": 3, "10": 1}),
            (("--preset=all", "--positive=effective_view"), {"7": 2, "9": 5}),
            (("--preset=all", "--positive=cvm_like,comment"), {"7": 1, "9": 1}),
        ],
    )
    def test_by_hand(self, tmp_path, options, users):
        table = inter(convert(tmp_path, FILTERED, *options))
        assert table["user_id"].value_counts().to_dict() == users

    def test_default_is_the_papers(self, tmp_path, capsys):
        """At least 2 exposures per video, then 5 per user: nobody is left here, and the message says so."""
        convert(tmp_path, FILTERED, status=1)
        assert "No interaction of `sv` is left" in capsys.readouterr().err and not (tmp_path / "sv").exists()
        assert Filter() == Filter(
            positive=(), repeats="keep", min_item=2, min_user=5, order="items_first", iterate=False
        )

    @pytest.mark.parametrize(("repeats", "watched"), [("first", "46"), ("last", "120")])
    def test_repeats_are_kept_by_time(self, tmp_path, repeats, watched):
        rows = [ROWS[5], *ROWS[:5], *ROWS[6:]]  # the later exposure comes first in the file
        table = inter(convert(tmp_path, "\n".join([HEADER, *rows]) + "\n", "--preset=all", f"--repeats={repeats}"))
        kept = table[(table["user_id"] == "7") & (table["item_id"] == "12")]
        assert kept["watch_time"].tolist() == [watched]

    @pytest.mark.parametrize("order", ["items_first", "users_first"])
    @pytest.mark.parametrize("iterate", [False, True])
    def test_against_brute_force(self, order, iterate):
        rng = np.random.default_rng(5)
        frame = pd.DataFrame({"user_id": rng.zipf(1.5, 600) % 60, "item_id": rng.zipf(1.4, 600) % 90})
        settings = Filter(min_item=3, min_user=4, order=order, iterate=iterate)
        kept = apply_filter(frame, settings, Card("x"))
        rows = list(frame.itertuples(index=False, name=None))
        passes = [(1, 3), (0, 4)] if order == "items_first" else [(0, 4), (1, 3)]
        while True:
            before = len(rows)
            for column, least in passes:
                values = [row[column] for row in rows]
                rows = [row for row in rows if values.count(row[column]) >= least]
            if not iterate or len(rows) == before:
                break
        assert list(kept.itertuples(index=False, name=None)) == rows and 0 < len(rows) < 600

    def test_unknown_rule(self, tmp_path, capsys):
        with pytest.raises(SystemExit):
            main(["shortvideo", str(tmp_path), "--positive=like"])
        assert "no column `like` (did you mean `cvm_like`?)" in capsys.readouterr().err


class TestRawFile:
    def test_all_public_names(self, tmp_path):
        for name in FILES:
            (tmp_path / name).write_text("x")
            assert find_csv(tmp_path) == tmp_path / name == find_csv(tmp_path / name)
            (tmp_path / name).unlink()
        with pytest.raises(
            DataError, match=r"is no csv file and holds none of interaciton_filtered.csv, interaction_f"
        ):
            find_csv(tmp_path)

    def test_two_versions(self, tmp_path):
        for name in FILES[1:3]:
            (tmp_path / name).write_text("x")
        with pytest.raises(DataError, match=r"`interaction_filtered.csv` and `interaction.csv`.*give the file itself"):
            find_csv(tmp_path)

    def test_missing_column(self, tmp_path, capsys):
        convert(tmp_path, FILTERED.replace("exposed_time", "exposure_time"), status=1)
        assert "has no column `exposed_time` (did you mean `exposure_time`?)" in capsys.readouterr().err

    def test_nothing_to_read(self, tmp_path, capsys):
        convert(tmp_path, HEADER + "\nwords\n", status=1)
        assert "holds no record that can be read (1 line cannot)" in capsys.readouterr().err


def write_video(path, seconds):
    """A tiny mp4 of grey frames, ten per second."""
    av = pytest.importorskip("av", reason="needs the extra `video`")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 16
        frame = av.VideoFrame.from_ndarray(np.full((16, 16, 3), 128, np.uint8), format="rgb24")
        for position in range(round(10 * seconds)):
            frame.pts = position
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Videos of pids 12, 15 (shifted by one), 18 (shifted by one), one of nobody, and one without a byte."""
    folder = tmp_path_factory.mktemp("media")
    for name, seconds in (("12", 91.9), ("16", 15.0), ("18", 30.5), ("19", 8.2)):
        write_video(folder / f"{name}.mp4", seconds)
    (folder / "21.mp4").touch()
    (folder / "map.csv").write_text("pid,media_id\n12,12\n15,16\n18,19\n21,21\n")
    (folder / "16.txt").write_text(" hello \n")
    (folder / "19.txt").write_text("")
    for name in ("12", "16"):
        np.save(folder / f"{name}.npy", np.full((8, 256), float(name), np.float32))
    return folder


class TestMedia:
    def test_without_a_map_ids_are_taken_to_be_equal_and_durations_tell(self, tmp_path, media):
        dataset = convert(tmp_path, FILTERED, "--preset=all", f"--videos={media}")
        check = card_of(dataset)["notes"]["durations of csv and videos"]
        assert [check[k] for k in ("agree", "disagree", "missing", "unreadable")] == [1, 1, 2, 1]
        assert check["examples"] == [["18", 8.2, pytest.approx(30.5, abs=0.11)]]
        warnings = card_of(dataset)["warnings"]
        assert any("Without --id_map" in w for w in warnings) and any(
            "1 of 2 videos are over 0.5 s" in w for w in warnings
        )
        assert texts_of(dataset)["15"]["media"] == "15.mp4"

    def test_with_a_map(self, tmp_path, media):
        dataset = convert(
            tmp_path, FILTERED, "--preset=all", f"--videos={media}", f"--id_map={media / 'map.csv'}", f"--asr={media}"
        )
        check = card_of(dataset)["notes"]["durations of csv and videos"]
        assert [check[k] for k in ("agree", "disagree", "missing", "unreadable")] == [3, 0, 1, 1]
        assert any("1 of 5 videos are not in `map.csv`" in w for w in card_of(dataset)["warnings"])
        texts = texts_of(dataset)
        assert texts["15"]["media"] == "16.mp4" and texts["15"]["speech"] == "hello"
        assert "speech" not in texts["18"] and "media" not in texts["20"]
        assert card_of(dataset)["notes"]["videos without speech"] == 4

    def test_published_features_become_a_store(self, tmp_path, media):
        options = ("--preset=all", f"--features={media}", f"--id_map={media / 'map.csv'}")
        dataset = convert(tmp_path, FILTERED, *options)
        store = FrameStore(dataset / "sv.published.frames.npy")
        assert store.items == ["12", "15"] and store.frames.shape == (2, 8, 256)
        assert (store.frames[0] == 12).all() and (store.frames[1] == 16).all()
        assert any("2 of 4 videos have no features" in w for w in card_of(dataset)["warnings"])

    def test_features_of_another_form(self, tmp_path, media, capsys):
        np.save(tmp_path / "12.npy", np.zeros((4, 768)))
        convert(tmp_path, FILTERED, "--preset=all", f"--features={tmp_path}", status=1)
        assert "12.npy` holds float64 of shape (4, 768), not real numbers [8, 256]" in capsys.readouterr().err
        assert not (tmp_path / "sv").exists()

    def test_hashed_pids_have_no_media(self, tmp_path):
        dataset = convert(tmp_path, FILTERED.replace(",12,501", ",73000000012,501"), "--preset=all")
        assert any("hashes that lead to no media" in w for w in card_of(dataset)["warnings"])
        assert "media" not in texts_of(dataset)["73000000012"]

    def test_missing_folder_is_noticed_at_once(self, tmp_path, capsys):
        convert(tmp_path, FILTERED, "--videos=/nowhere", status=1)
        assert "There is no folder `/nowhere`; --videos takes one of <media id>.mp4" in capsys.readouterr().err

    def test_id_maps(self, tmp_path):
        path = tmp_path / "map.csv"
        path.write_text("\ufeff12,13\r\n14,a\r\n\r\n")
        assert read_id_map(path) == {"12": "13", "14": "a"}
        path.write_text("12,13\n12,14\n")
        with pytest.raises(DataError, match=r"map.csv`, line 2: item `12` has two media ids, 13 and 14"):
            read_id_map(path)
        path.write_text("12,13\n14\n")
        with pytest.raises(DataError, match=r"map.csv`, line 2: an id map has two columns"):
            read_id_map(path)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("12,猫狗\n".encode("gbk"), r"map.csv` is not text in UTF-8 \(byte 6 of line 1"),
            ("12,13\n14,é\n".encode("cp1252"), r"byte 4 of line 2"),
            ("12,13\n".encode("utf-16"), "it is UTF-16"),
            (b"12,13\n14,../15\n", r"line 2, column 2: `../15` cannot be the name of a media file"),
            (b"12,/etc/x\n", r"line 1, column 2: `/etc/x` cannot be"),
            (b"12,a\\b\n", r"line 1, column 2"),
            (b"12,13\n14,a\x1bb\n", r"line 2, column 2"),
            (b'12,13\n14,"open\n15,16\n', r"line 2: unexpected end of data"),
            (b"12," + b"x" * 200_000, r"line 1: field larger than field limit"),
        ],
    )
    def test_id_maps_that_are_refused(self, tmp_path, content, message):
        (tmp_path / "map.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_id_map(tmp_path / "map.csv")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"category_id,category_id,category_name_en\n3,4,x\n", "has the column `category_id` twice"),
            (b"category_id,name\n3,x\n", "line 2: needs a category_id and a category_name_en"),
            (b"category_id,category_name_en\n" + b"9" * 5000 + b",x\n", "line 2: needs a category_id"),
            ("category_id,category_name_en\n3,é\n".encode("cp1252"), "byte 3 of line 2"),
        ],
    )
    def test_categories_that_are_refused(self, tmp_path, content, message):
        (tmp_path / "c.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            read_categories(tmp_path / "c.csv", Card("x"))

    def test_speech_in_another_encoding(self, tmp_path, media, capsys):
        (media / "12.txt").write_bytes("说话".encode("gbk"))
        convert(tmp_path, FILTERED, "--preset=all", f"--asr={media}", status=1)
        assert "12.txt` is not text in UTF-8 (byte 3 of line 1" in capsys.readouterr().err

    @pytest.mark.parametrize("content", [b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'}", b"", b"\x93NUMPY"])
    def test_damaged_features(self, tmp_path, media, capsys, content):
        (media / "12.npy").write_bytes(content)
        convert(tmp_path, FILTERED, "--preset=all", f"--features={media}", status=1)
        assert "12.npy` cannot be read as an npy file" in capsys.readouterr().err and not (tmp_path / "sv").exists()

    def test_audit_proposes_a_map_that_the_converter_takes(self, tmp_path, capsys):
        """Twelve videos of different lengths, of which from the sixth on a file's number is one more."""
        videos = {pid: (3 + pid % 100, pid + (pid > 105)) for pid in range(101, 113)}
        rows = [ROWS[0].replace(",12,501", f",{pid},501").replace("91.9", f"{s}.0") for pid, (s, _) in videos.items()]
        for seconds, number in videos.values():
            write_video(tmp_path / f"{number}.mp4", seconds)
        (tmp_path / "cover.mp4").touch()
        text, options = "\n".join((HEADER, *rows)) + "\n", [f"--videos={tmp_path}", "--preset=all"]
        dataset = convert(tmp_path, text, f"--audit={tmp_path / 'map.csv'}", *options)
        assert not dataset.exists() and "in 2 runs explain 100.0% (+0 41.7%, +1 58.3%)" in capsys.readouterr().out
        assert read_id_map(tmp_path / "map.csv") == {str(pid): str(number) for pid, (_, number) in videos.items()}
        check = card_of(convert(tmp_path, text, f"--id_map={tmp_path / 'map.csv'}", *options))
        assert check["notes"]["durations of csv and videos"]["agree"] == 12

    def test_audits_that_are_refused(self, tmp_path, capsys):
        (tmp_path / "map.csv").write_text("")
        audit = f"--audit={tmp_path / 'map.csv'}"
        for options, message in (
            ([audit], "ConfigError: `--audit` needs --videos"),
            ([audit, f"--videos={tmp_path}", f"--id_map={tmp_path / 'map.csv'}"], "ConfigError: `--audit` needs"),
            ([audit, f"--videos={tmp_path}"], "map.csv` exists; give --overwrite"),
            ([audit, f"--videos={tmp_path}", "--overwrite"], "None of the videos of the table has a file"),
        ):
            convert(tmp_path, FILTERED, *options, status=1)
            assert message in capsys.readouterr().err
        hashed = FILTERED.replace(",12,501", ",73000000012,501")
        convert(tmp_path, hashed, audit, f"--videos={tmp_path}", "--overwrite", status=1)
        assert "are hashes that lead to no media file" in capsys.readouterr().err

    def test_durations_of_real_videos(self, real_data):
        """As ffprobe tells them."""
        folder = real_data / "microlens" / "videos"
        expected = {"1002": 16.4, "10034": 7.6, "10040": 28.7}
        for name, seconds in expected.items():
            assert read_duration(folder / f"{name}.mp4") == pytest.approx(seconds, abs=0.25)
        check = check_durations(expected, {name: folder / f"{name}.mp4" for name in expected})
        assert (check.agree, check.compared) == (3, 3)

    def test_category_names(self, tmp_path):
        path = tmp_path / "categories_cn_en.csv"
        path.write_text(
            "category_level,category_id,category_name_cn,parent_id,root_id,category_name_en\n"
            "1,3,美食,3,3, Food \n2,40,家常菜,3,3,Home cooking\n1,5,宠物,5,5,Pets\n3,5,宠物,5,5,Animals\n"
        )
        dataset = convert(tmp_path, FILTERED, "--preset=all", f"--categories={path}")
        texts = texts_of(dataset)
        assert texts["12"]["categories"] == ["Food", "Home cooking"] and texts["15"]["categories"] == ["Pets"]
        assert any(
            "1 category has several English names; the first is kept: [5]" in w for w in card_of(dataset)["warnings"]
        )
