"""MicroLens: its raw formats with their real flaws, against results worked out by hand."""

import csv
import json
import subprocess
import sys
import tracemalloc
from collections import Counter

import numpy as np
import pytest
import torch
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.raw.microlens_files import numbered_texts, read_sequences

from recbole_video import FrameStore, run_recbole_video
from recbole_video.config import Config
from recbole_video.errors import DataError
from recbole_video.recommendation.data import load_data

from .conftest import small_options
from .loading import our_sequences, recbole_dataset, recbole_sequences

# User 1: two items at one time. User 2: meets item 1 twice. User 3: too short for most protocols.
PAIRS = """\
user,item,timestamp
1,3,1661000000123
1,1,1661000005123
1,2,1661000009999
1,5,1661000009999
1,7,1661735593066
2,1,1661100000001
2,8,1661100003000
2,1,1661100007000
2,5,1661100007500
2,2,1661100090000
3,9,1661200000000
"""
SEQUENCES = {"1": ["3", "1", "2", "5", "7"], "2": ["1", "8", "1", "5", "2"], "3": ["9"]}
TSV = "".join(f"{user}\t{' '.join(items)}\n" for user, items in SEQUENCES.items())
TITLES_50K = """\
item,title
1,plain words only
2,"one, two, three # home food # summer attack"
3,# game creator # strongest team
5,西施：分手吧！
7,"nurse helps, 👩‍⚕️ haha 🤣"
8,plain words only
"""
TITLES_100K = """\
2,"one, two, three # home food"
4,one, two and no quotes
6,
9,he said "wow, and left
"""
LIKES_AND_VIEWS = "1\t10000\t364000\n3\t90000\t48000\n7\t100000000\t49900000000\n"
COMMENTS = "1\t3\tso funny\n1\t1\t\n2\t8\tcan't \"stop\tlaughing\n2\t5\n"
ALL_FILES = {
    "MicroLens-50k_pairs.csv": PAIRS,
    "MicroLens-50k_pairs.tsv": TSV,
    "MicroLens-50k_titles.csv": TITLES_50K,
    "MicroLens-50k_likes_and_views.txt": LIKES_AND_VIEWS,
    "MicroLens-50k_comments_en.txt": COMMENTS,
    "tags_to_summary.csv": "1,Food\n",
}


@pytest.fixture
def raw(tmp_path):
    folder = tmp_path / "raw"
    folder.mkdir()
    for name, text in ALL_FILES.items():
        (folder / name).write_text(text, encoding="utf-8", newline="")
    return folder


@pytest.fixture
def convert(raw, tmp_path):
    """folder = convert("--option=value"): of the data set that the command writes."""

    def run(*options, name="microlens-50k", status=0):
        words = ["microlens", str(raw), "--out", str(tmp_path / "dataset"), *map(str, options)]
        assert main(words) == status
        return tmp_path / "dataset" / name

    return run


def lines(folder, suffix):
    return (folder / f"{folder.name}{suffix}").read_text(encoding="utf-8").splitlines()


def card(folder):
    return json.loads((folder / f"{folder.name}.card.json").read_text())


def titles(folder):
    return {row["item_id"]: row["title"] for row in map(json.loads, lines(folder, ".text.jsonl"))}


class TestRecipe:
    def test_interactions(self, convert):
        folder = convert()
        offsets = [0, 5, 9, 9, 735_592, 99_999, 100_002, 100_006, 100_007, 100_089, 199_999]
        rows = [(user, item) for user, items in SEQUENCES.items() for item in items]
        expected = [f"{user}\t{item}\t{offset}" for (user, item), offset in zip(rows, offsets, strict=True)]
        assert lines(folder, ".inter") == ["user_id:token\titem_id:token\ttimestamp:float", *expected]
        raw_times = [int(line.split(",")[2]) for line in PAIRS.splitlines()[1:]]
        assert np.load(folder / "microlens-50k.times.npy").tolist() == raw_times

    def test_recbole_sees_the_sequences_of_the_tsv(self, convert, tmp_path):
        convert()
        dataset = recbole_dataset(tmp_path / "dataset", "microlens-50k")
        assert recbole_sequences(dataset) == SEQUENCES
        assert dataset.item_feat is not None and "Food" in dataset.field2token_id["category"]
        assert our_sequences(tmp_path / "dataset", "microlens-50k") == SEQUENCES

    def test_titles(self, convert, raw):
        with (raw / "MicroLens-50k_titles.csv").open(encoding="utf-8", newline="") as file:
            expected = {row["item"]: row["title"] for row in csv.DictReader(file)}
        folder = convert()
        assert titles(folder) == expected and len(expected) == 6
        assert "1 of 7 items have no title (first: 9)." in card(folder)["warnings"]

    def test_counts_are_kept_as_they_are_and_reported(self, convert):
        folder = convert()
        assert lines(folder, ".counts") == [
            "item_id:token\tlikes:float\tviews:float\tcomments:float\tinteractions:float",
            "1\t10000\t364000\t1\t3",
            "2\t\t\t0\t2",
            "3\t90000\t48000\t1\t1",
            "5\t\t\t0\t2",
            "7\t100000000\t49900000000\t0\t1",
            "8\t\t\t1\t1",
            "9\t\t\t0\t1",
        ]
        stale, odd = [text for text in card(folder)["warnings"] if "likes_and_views" in text]
        assert "1 of 3 items (first: 7)" in stale and "2025-01-26" in stale
        assert "1 of 3 items (first: 3)" in odd and "more likes than views" in odd
        assert (
            card(folder)["notes"][
                "MicroLens-50k_comments_en.txt: comment lines with fewer than three fields (left out)"
            ]
            == 1
        )

    def test_implausible_counts_can_be_left_empty(self, convert):
        rows = dict(line.split("\t", 1) for line in lines(convert("--implausible_counts=drop"), ".counts"))
        assert rows["3"].startswith("\t\t") and rows["7"].startswith("\t\t") and rows["1"].startswith("10000\t364000")

    def test_no_count_is_a_model_input_unless_asked_for(self, convert):
        assert lines(convert(), ".item")[:2] == ["item_id:token\tcategory:token", "1\tFood"]
        folder = convert("--with_counts", "--overwrite")
        names = [cell.partition(":")[0] for cell in lines(folder, ".item")[0].split("\t")]
        assert names == ["item_id", "category", "likes", "views", "comments", "interactions"]
        assert any("sees the future" in text for text in card(folder)["warnings"])

    def test_card(self, convert, raw):
        content = card(convert())
        facts = content["interactions"]
        assert (facts["interactions"], facts["users"], facts["items"]) == (11, 3, 7)
        assert facts["per_user"] == {"min": 1, "q1": 3, "median": 5, "q3": 5, "max": 5, "mean": pytest.approx(11 / 3)}
        assert (facts["repeats_of_a_pair"], facts["ties_within_a_user"]) == (1, 1)
        assert (facts["first"], facts["last"]) == ("2022-08-20 12:53:20", "2022-08-29 01:13:13")
        assert content["notes"]["csv and tsv of pairs agree"] is True
        assert {entry["name"] for entry in content["inputs"]} == set(ALL_FILES)


class TestPairs:
    def test_order_and_copies_of_the_rows_do_not_matter(self, convert, raw):
        header, *rows = PAIRS.splitlines()
        as_converted = convert()
        wanted = {suffix: lines(as_converted, suffix) for suffix in (".inter", ".counts")}
        shuffled = [*rows[5:], rows[6], rows[0], *rows[:5]]
        (raw / "MicroLens-50k_pairs.csv").write_text("\r\n".join([header, *shuffled]) + "\r\n", newline="")
        folder = convert("--overwrite")
        assert {suffix: lines(folder, suffix) for suffix in wanted} == wanted
        [step] = card(folder)["steps"]
        assert (step["before"], step["after"]) == (13, 11)

    def test_tsv_alone_gives_positions_for_times(self, convert, raw, tmp_path):
        (raw / "MicroLens-50k_pairs.csv").unlink()
        folder = convert()
        assert [line.rpartition("\t")[2] for line in lines(folder, ".inter")[1:]] == list("01234012340")
        assert not (folder / "microlens-50k.times.npy").exists() and "time" not in card(folder)["plots"]
        assert recbole_sequences(recbole_dataset(tmp_path / "dataset", "microlens-50k")) == SEQUENCES

    def test_disagreements_of_csv_and_tsv_are_told(self, convert, raw):
        changed = TSV.replace("2 5 7", "5 2 7").replace("1 8 1 5 2", "1 8 1 5 3") + "4\t1 2\n"
        (raw / "MicroLens-50k_pairs.tsv").write_text(changed)
        content = card(convert())
        told = [text for text in content["warnings"] if "disagree" in text]
        assert [text.partition(" for ")[2] for text in told] == [
            "1 user with the same items in another order (first: 1).",
            "1 user with other items (first: 2).",
            "1 user in one file only (first: 4).",
        ]
        assert content["notes"]["csv and tsv of pairs agree"] is False

    @pytest.mark.parametrize(
        ("options", "sequences"),
        [
            (["--repeats=first"], {**SEQUENCES, "2": ["1", "8", "5", "2"]}),
            (["--repeats=last"], {**SEQUENCES, "2": ["8", "1", "5", "2"]}),
            (["--min_user=2"], {"1": SEQUENCES["1"], "2": SEQUENCES["2"]}),
            # Items 1, 2 and 5 have two or more; then every user with two.
            (["--min_item=2", "--min_user=2"], {"1": ["1", "2", "5"], "2": ["1", "1", "5", "2"]}),
        ],
    )
    def test_filters(self, convert, tmp_path, options, sequences):
        folder = convert(*options)
        assert recbole_sequences(recbole_dataset(tmp_path / "dataset", "microlens-50k")) == sequences
        kept = sum(map(len, sequences.values()))
        assert card(folder)["steps"][-1]["after"] == kept and card(folder)["interactions"]["interactions"] == kept

    def test_malformed_pairs(self, convert, raw, capsys):
        (raw / "MicroLens-50k_pairs.csv").write_text(PAIRS.replace("2,8,", "2,x,"))
        convert(status=1)
        assert "line 8, column `item`: `x` is not a whole number" in capsys.readouterr().err
        for replaced, message in (
            ("1661000000123", "9" * 5000),
            ("1661000000123", "1e999"),
            ("1661000000123", "[1]"),
        ):
            (raw / "MicroLens-50k_pairs.csv").write_text(PAIRS.replace(replaced, message))
            convert(status=1)
            assert "line 2, column `timestamp`: `" in capsys.readouterr().err
        (raw / "MicroLens-50k_pairs.csv").write_text(PAIRS.replace("item,", "item,item,"))
        convert(status=1)
        assert "has the column `item` twice, columns 2 and 3" in capsys.readouterr().err
        (raw / "MicroLens-50k_pairs.csv").write_text(PAIRS.replace("1661735593066", "7258118400001"))
        convert(status=1)
        assert "The time 7258118400001 lies beyond the year 2200 in ms" in capsys.readouterr().err
        (raw / "MicroLens-50k_pairs.csv").write_text(PAIRS.replace("item", "video"))
        convert(status=1)
        assert "has no column `item`" in capsys.readouterr().err

    @pytest.mark.parametrize("line", ["2 4 5", "2\t4 x", "9" * 30 + "\t4", "2\t" + "9" * 30, "2\t" + "9" * 5000])
    def test_malformed_tsv(self, tmp_path, line):
        (tmp_path / "pairs.tsv").write_text(f"1\t2 3\n{line}\n")
        with pytest.raises(DataError, match=r"line 2: `.* is not a user id"):
            read_sequences(tmp_path / "pairs.tsv")

    def test_empty_tsv(self, convert, raw):
        (raw / "MicroLens-50k_pairs.tsv").write_text("")
        assert any("3 users in one file only" in text for text in card(convert())["warnings"])

    def test_malformed_counts(self, convert, raw, capsys):
        for line in ("1\t2", "1\t2\tx", f"1\t2\t{'9' * 20}", f"1\t{'9' * 5000}\t3"):
            (raw / "MicroLens-50k_likes_and_views.txt").write_text(f"3\t4\t5\n{line}\n")
            convert(status=1)
            assert "likes_and_views.txt`, line 2: `1" in capsys.readouterr().err


class TestSizes:
    def test_size_is_told_by_the_pairs(self, convert, raw, capsys):
        for name in ("pairs.csv", "pairs.tsv"):
            (raw / f"MicroLens-50k_{name}").rename(raw / f"MicroLens-1M_{name}")
        assert convert(name="microlens-1m").is_dir()
        (raw / "MicroLens-100k_pairs.tsv").write_text(TSV)
        convert(status=1)
        assert "100k and 1M; choose one by --size" in capsys.readouterr().err
        assert convert("--size=100k", name="microlens-100k").is_dir()

    def test_no_pairs(self, tmp_path, capsys):
        assert main(["microlens", str(tmp_path)]) == 1
        assert "`MicroLens-50k_pairs.csv`" in capsys.readouterr().err
        assert main(["microlens", str(tmp_path), "--size=1M"]) == 1
        assert "holds none of `MicroLens-1M_pairs.csv`, `MicroLens-1M_pairs.tsv`" in capsys.readouterr().err


class TestTitles:
    def read(self, tmp_path, text):
        path = tmp_path / "titles.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        faults = Counter()
        return dict(numbered_texts(path, faults)), dict(faults)

    def test_recipe_of_100k(self, tmp_path):
        found, faults = self.read(tmp_path, TITLES_100K)
        assert found == {
            2: "one, two, three # home food",
            4: "one, two and no quotes",
            6: "",
            9: 'he said "wow, and left',
        }
        assert sorted(faults.values()) == [1, 1]  # a bare comma, a lone quote

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    @pytest.mark.parametrize("header", [b"", b"item,title\n"])
    def test_marks_ends_and_headers(self, tmp_path, mark, end, header):
        rows = (header + TITLES_100K.encode()).replace(b"\n", end)
        assert self.read(tmp_path, mark + rows) == self.read(tmp_path, TITLES_100K)

    def test_unbalanced_quote_swallows_nothing(self, tmp_path):
        found, _ = self.read(tmp_path, '1,"never closed\n2,next\n3,"a ""b"" c"\n4,"two\nlines"\n5,\n')
        assert found == {1: '"never closed', 2: "next", 3: 'a "b" c', 4: "two\nlines", 5: ""}

    def test_repeated_and_strange_lines_are_counted(self, tmp_path):
        found, faults = self.read(tmp_path, "1,first\n1,second\nno id here\n\n2,x\n")
        assert found == {1: "first", 2: "x"} and sum(faults.values()) == 2

    def test_bytes_that_are_no_text(self, tmp_path):
        with pytest.raises(DataError, match="byte 3 of line 2 does not fit"):
            self.read(tmp_path, b"1,a\n2,\xff\n")

    def test_blanks_are_no_title_and_no_part_of_one(self, tmp_path):
        found, _ = self.read(tmp_path, '1, \n2,"  "\n3, a b \n4," c "\n5, "d, e"\n6,\u3000\n')
        assert found == {1: "", 2: "", 3: "a b", 4: "c", 5: "d, e", 6: ""}

    def test_blank_titles_are_filled(self, convert, raw):
        (raw / "MicroLens-50k_titles.csv").write_text(
            "item,title\n" + "".join(f"{item}, \n" for item in (1, 2, 3, 5, 7))
        )
        (raw / "other.csv").write_text("".join(f"{item},from elsewhere\n" for item in (1, 2, 3)))
        folder = convert("--fill_titles", raw / "other.csv")
        assert titles(folder) == dict.fromkeys("123", "from elsewhere")
        assert card(folder)["notes"]["other.csv: titles used"] == 3

    @pytest.mark.parametrize("digits", ["9" * 19, "9" * 5000])
    def test_ids_beyond_64_bits_are_none(self, tmp_path, digits):
        found, faults = self.read(tmp_path, f"1,a\n{digits},b\n")
        assert found == {1: "a"} and faults == {"lines without an id (left out)": 1}

    def test_titles_of_50k_fill_in_for_100k(self, convert, raw, tmp_path):
        (raw / "other.csv").write_text(TITLES_100K, encoding="utf-8")
        own = titles(convert("--titles", raw / "other.csv"))
        assert set(own) == {"2", "4", "9"}
        filled = convert(
            "--titles", raw / "other.csv", "--fill_titles", raw / "MicroLens-50k_titles.csv", "--overwrite"
        )
        assert titles(filled)["2"] == "one, two, three # home food"
        assert set(titles(filled)) == {"1", "2", "3", "4", "5", "7", "8", "9"}
        assert card(filled)["notes"]["MicroLens-50k_titles.csv: titles used"] == 5

    def test_missing_file(self, convert, raw, capsys):
        convert("--titles", raw / "absent.csv", status=1)
        assert "There is no file" in capsys.readouterr().err

    def test_memory_does_not_grow_with_the_text(self, raw, convert):
        text = "".join(f'{item},"{"long, title " * 10_000}"\n' for item in range(1, 301))  # 36 MB
        (raw / "MicroLens-50k_titles.csv").write_text(text)
        tracemalloc.start()
        convert()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < len(text) / 3

    def test_real_titles(self, raw, convert, real_data):
        path = real_data / "microlens" / "MicroLens-50k_titles.csv"
        folder = convert("--titles", path)
        with path.open(encoding="utf-8", newline="") as file:
            expected = {row["item"]: row["title"] for row in csv.DictReader(file)}
        assert titles(folder) == expected and len(expected) == 19_220
        assert set(card(folder)["notes"]) & {"MicroLens-50k_titles.csv: lines without an id (left out)"} == set()


class TestFeatures:
    @pytest.fixture
    def files(self, raw):
        """An array of 9 rows, the fourth zero, and its JSON twin."""
        features = np.random.default_rng(0).normal(size=(9, 6)).astype(np.float32)
        features[3] = 0
        array = raw / "MicroLens-50k_video_features_VideoMAE.npy"
        np.save(array, features)
        twin = array.with_suffix(".json")
        twin.write_text(json.dumps({str(row + 1): values.tolist() for row, values in enumerate(features)}))
        return array, twin, features

    def test_array_and_twin_give_one_store(self, convert, files):
        array, twin, features = files
        folder = convert("--features", array, f"twin={twin}")
        stores = [FrameStore(folder / f"microlens-50k.{name}.frames.npy") for name in ("VideoMAE", "twin")]
        for store in stores:
            assert store.items == [str(item) for item in range(1, 10)]
            assert np.array_equal(store.frames[:, 0], features.astype(np.float16))
            assert store.frame_counts.tolist() == [1, 1, 1, 0, 1, 1, 1, 1, 1]
            store.verify()
        assert any("1 row is all zero" in text and "(first: item 4)" in text for text in card(folder)["warnings"])

    def test_a_run_reads_the_store(self, convert, files, tmp_path):
        convert("--features", files[0])
        options = small_options("SASRec", "CVA", data_path=str(tmp_path / "dataset"), protocol="recbole")
        data = load_data(Config("SASRec", "microlens-50k", config_dict={**options, "frame_store": "VideoMAE"}))
        [seven] = np.flatnonzero(data.dataset.item_tokens == "7")
        frames, mask = data.catalogue.content.gather(torch.tensor([seven]))["frames"]
        assert np.allclose(frames[0, 0], files[2][6], atol=1e-2) and mask.tolist() == [[True]]

    def test_wrong_files(self, convert, files, raw, capsys):
        np.save(raw / "short.npy", files[2][:8])
        np.save(raw / "deep.npy", files[2][:, None])
        (raw / "torn.json").write_text('{"1": [1.0, 2.0], "2": [3.0')
        for file, message in (
            ("short.npy", "has 8 rows, but the data set has item 9"),
            ("deep.npy", "must be real numbers [items, width]"),
            ("torn.json", "is left over"),
            ("absent.npy", "cannot be read as an npy file"),
        ):
            folder = convert("--features", raw / file, status=1)
            assert message in capsys.readouterr().err and not folder.exists()


def test_from_a_download_to_a_trained_epoch(raw, convert, tmp_path, in_tmp):
    """More users than the recipe has, so that each part of the split has some."""
    rng = np.random.default_rng(0)
    rows = [
        f"{user},{item},{1_661_000_000_000 + int(time)}"
        for user in range(30)
        for item, time in enumerate(rng.integers(0, 10**9, 8), start=1)
    ]
    (raw / "MicroLens-50k_pairs.csv").write_text("\n".join(["user,item,timestamp", *rows]))
    (raw / "MicroLens-50k_pairs.tsv").unlink()
    np.save(raw / "video_features_VideoMAE.npy", rng.normal(size=(9, 6)))
    convert("--features", raw / "video_features_VideoMAE.npy")
    options = small_options("SASRec", "MLP", data_path=str(tmp_path / "dataset"), frame_store="VideoMAE")
    result = run_recbole_video("SASRec", "microlens-50k", config_dict=options, saved=False)
    assert result["data"]["interactions"] == 240 and result["data"]["test_users"] == 30
    assert result["data"]["frames"]["vfm"] == "VideoMAE" and result["test_result"]["hit@10"] == 1  # there are 8 items


class TestOutputs:
    def test_existing_outputs_are_kept(self, convert, capsys):
        folder = convert()
        before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
        convert(status=1)
        assert "already holds `microlens-50k.inter`" in capsys.readouterr().err
        assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before

    def test_overwriting_leaves_nothing_of_the_earlier_conversion(self, convert, raw):
        convert()
        (raw / "tags_to_summary.csv").unlink()
        folder = convert("--overwrite")
        assert not (folder / "microlens-50k.item").exists()

    def test_converting_twice_gives_the_same_bytes(self, convert):
        first = {path.name: path.read_bytes() for path in convert().iterdir()}
        assert first == {path.name: path.read_bytes() for path in convert("--overwrite").iterdir()}

    def test_interruption_leaves_nothing(self, convert, monkeypatch, tmp_path):
        def stop(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("recbole_video.dataset_tools.microlens.numbered_texts", stop)
        convert(status=130)
        assert list((tmp_path / "dataset").iterdir()) == []

    def test_process_imports_neither_torch_nor_recbole_nor_pandas(self, raw, tmp_path):
        code = (
            "import sys; from recbole_video.dataset_tools.__main__ import main\n"
            f"main(['microlens', {str(raw)!r}, '--out', {str(tmp_path / 'dataset')!r}])\n"
            "print([m for m in ('torch', 'recbole', 'pandas', 'pyarrow', 'matplotlib') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == "[]"
