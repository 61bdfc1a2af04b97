"""What converters share: files that appear together, tokens that come back, filters, cards."""

import errno
import json
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.interactions import (
    codes_of,
    drop_duplicates,
    keep_core,
    positions,
    sort_order,
)
from recbole_video.dataset_tools.output.atomic import write_atomic_file
from recbole_video.dataset_tools.output.tokens import MISSING_WORDS
from recbole_video.dataset_tools.output.writer import DatasetWriter
from recbole_video.dataset_tools.raw.text_spool import TextSpool

from recbole_video.errors import DataError, RunFolderError
from recbole_video.files import raw as raw_files
from recbole_video.files.raw import find_file, numbered_lines, open_text, read_integers
from recbole_video.files.values import file_digest

from .loading import recbole_dataset, recbole_sequences

FEW = {"user_id": ["u", "u", "v"], "item_id": ["a", "b", "a"], "time": np.array([5, 3, 4])}


def test_two_conversions_into_one_new_name(tmp_path):
    """Both may begin; the one that ends last does not replace the other's files."""
    first, second = (DatasetWriter(tmp_path, "mine") for _ in range(2))
    with pytest.raises(DataError, match="already holds `mine.inter`.*give --overwrite"), second:
        second.write_interactions({**FEW, "time": FEW["time"] + 100}, "s")
        with first:
            first.write_interactions(FEW, "s")
        before = {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir() if path.is_file()}
    assert {path.name: path.read_bytes() for path in (tmp_path / "mine").iterdir()} == before


class TestAtomicFile:
    def test_numbers_and_text_against_pandas(self, tmp_path):
        """Over more than one block of rows."""
        rng = np.random.default_rng(0)
        n = 70_000
        columns = {
            "small:token": rng.integers(0, 12, n),
            "large:token": rng.integers(0, 2**63 - 1, n),
            "below:float": rng.integers(-5, 5, n),
            "flag:float": rng.random(n) < 0.5,
            "real:float": np.where(rng.random(n) < 0.1, np.nan, rng.normal(size=n)),
            "text:token": np.array(["", "é", "日本語", "NA", "x y"], dtype=object)[rng.integers(0, 5, n)],
        }
        write_atomic_file(tmp_path / "a.inter", columns)
        expected = pd.DataFrame(columns).astype({"flag:float": int})
        expected.to_csv(tmp_path / "b.inter", sep="\t", index=False, quoting=3, lineterminator="\n")
        assert (tmp_path / "a.inter").read_text() == (tmp_path / "b.inter").read_text()

    def test_whole_floats_have_no_point(self, tmp_path):
        write_atomic_file(tmp_path / "a.item", {"x:float": [1.0, 0.1, 1e20, None]})
        assert (tmp_path / "a.item").read_text() == "x:float\n1\n0.1\n1e+20\n\n"

    def test_no_rows(self, tmp_path):
        write_atomic_file(tmp_path / "a.item", {"x:float": [], "y:token": []})
        assert (tmp_path / "a.item").read_text() == "x:float\ty:token\n"

    @pytest.mark.parametrize("character", ["\t", "\n", "\r", "\0"])
    def test_what_a_cell_cannot_hold(self, tmp_path, character):
        with pytest.raises(DataError, match="Row 2 of column `t:token` holds a tab"):
            write_atomic_file(tmp_path / "a.item", {"t:token": ["a", f"b{character}c"]})
        with pytest.raises(DataError, match="must have one length"):
            write_atomic_file(tmp_path / "a.item", {"t:token": ["a"], "u:token": []})
        assert list(tmp_path.iterdir()) == []


class TestTokens:
    def test_missing_words_are_those_of_pandas(self):
        from pandas._libs.parsers import STR_NA_VALUES

        assert STR_NA_VALUES == MISSING_WORDS

    def test_features_come_back_from_recbole(self, tmp_path):
        """A country NA, a quote that never closes, a tag with a space, a line break, a missing value."""
        with DatasetWriter(tmp_path, "d") as out:
            out.write_interactions(FEW, "s")
            items = {"item_id": ["a", "b"], "place": ["NA", 'say "hi'], "tags": [["home food", "x"], []]}
            out.write_items(items, {"place": "token", "tags": "token_seq"})
            users = pd.DataFrame({"user_id": ["u", "v"], "age": [None, 7.5], "note": [None, "two\nlines"]})
            out.write_users(users, {"age": "float", "note": "token"})
        dataset = recbole_dataset(tmp_path, "d")
        features = dataset.item_feat.set_index("item_id")
        of = {str(token): row for token, row in dataset.field2token_id["item_id"].items()}
        assert dataset.id2token("place", int(features.loc[of["a"], "place"])) == "NA_"
        assert dataset.id2token("place", int(features.loc[of["b"], "place"])) == "say hi"
        assert list(dataset.id2token("tags", features.loc[of["a"], "tags"])) == ["home_food", "x"]
        assert len(features.loc[of["b"], "tags"]) == 0
        assert "two lines" in dataset.field2token_id["note"]
        card = json.loads((tmp_path / "d" / "d.card.json").read_text())
        assert [text[:23] for text in card["warnings"]] == [
            "In `place`, 2 cells wer",
            "In `tags`, 1 cell was c",
            "In `note`, 1 cell was c",
        ]
        assert card["notes"]["empty cells of age"] == 1

    @pytest.mark.parametrize(
        "token", ["", " ", "NA", "null", 'a"b', "a\tb", "a\x1bb", "a\u2028", "[PAD]", None, np.nan]
    )
    def test_ids_are_never_changed(self, tmp_path, token):
        with (
            pytest.raises(DataError, match=r"The id .* in column `item_id` cannot be a token"),
            DatasetWriter(tmp_path, "d") as out,
        ):
            out.write_interactions({**FEW, "item_id": np.array(["a", token, "b"], dtype=object)}, "s")
        assert list(tmp_path.iterdir()) == []


class TestInteractions:
    @pytest.fixture
    def table(self):
        rng = np.random.default_rng(3)
        n = 500
        return pd.DataFrame(
            {
                "user_id": rng.integers(0, 30, n) * 10**12,
                "item_id": np.array([f"i{i}" for i in rng.integers(0, 25, n)]),
                "time": rng.integers(0, 6, n) - 3,
            }
        )

    @pytest.mark.parametrize("keys", [["user_id", "item_id"], ["user_id", "item_id", "time"]])
    @pytest.mark.parametrize("keep", ["first", "last"])
    def test_duplicates_against_pandas(self, table, keys, keep):
        expected = table.drop_duplicates(keys, keep=keep)
        kept, dropped = drop_duplicates(table, keys, keep)
        pd.testing.assert_frame_equal(kept, expected.reset_index(drop=True))
        assert dropped == len(table) - len(expected) > 0
        as_arrays, _ = drop_duplicates({name: table[name].to_numpy() for name in table}, keys, keep)
        assert all((as_arrays[name] == expected[name].to_numpy()).all() for name in table)

    def test_nothing_to_drop(self, table):
        unique = table.drop_duplicates()
        assert drop_duplicates(unique, ["user_id", "item_id", "time"]) == (unique, 0)
        assert drop_duplicates(table[:0], ["user_id"])[1] == 0 and keep_core(table[:0], 5, 5)[1] == 0

    @pytest.mark.parametrize("iterate", [True, False])
    def test_core_against_a_plain_loop(self, table, iterate):
        small = table[:350]
        rows = small.to_dict("records")
        while True:
            before = len(rows)
            for key, least in (("item_id", 13), ("user_id", 5)):
                counts = Counter(row[key] for row in rows)
                rows = [row for row in rows if counts[row[key]] >= least]
            if not iterate or len(rows) == before:
                break
        kept, dropped = keep_core(small, min_user=5, min_item=13, iterate=iterate)
        assert kept.to_dict("records") == rows and dropped == 350 - len(rows)
        assert 0 < len(rows) < 350
        if iterate:  # one pass is not enough here
            assert len(keep_core(small, 5, 13, iterate=False)[0]) > len(rows)

    def test_order_against_sorted(self, table):
        users, distinct = codes_of(table["user_id"])
        assert (distinct[users] == table["user_id"]).all() and (np.diff(distinct) > 0).all()
        times = table["time"].to_numpy()
        expected = sorted(range(len(times)), key=lambda row: (table["user_id"][row], times[row], row))
        assert sort_order(users, times).tolist() == expected
        huge = times * 2**55  # user and time no longer fit into one number
        assert sort_order(users, huge).tolist() == expected
        assert positions(users[expected])[:3].tolist() == [0, 1, 2]

    def test_text_is_numbered_in_order(self):
        codes, distinct = codes_of(np.array(["b", "a", "b", "é"], dtype=object))
        assert codes.tolist() == [1, 0, 1, 2] and distinct.tolist() == ["a", "b", "é"]


class TestRawFiles:
    def test_integers_in_many_blocks(self, tmp_path, monkeypatch):
        rows = np.random.default_rng(0).integers(0, 10**13, (1000, 3))
        path = tmp_path / "x.csv"
        path.write_text("a,b,c\n" + "\n".join(",".join(map(str, row)) for row in rows))  # no line end at the end
        for size in (64, 1 << 18):
            monkeypatch.setattr(raw_files, "_BLOCK_BYTES", size)
            table = read_integers(path, ("c", "a"))
            assert (table["c"] == rows[:, 2]).all() and (table["a"] == rows[:, 0]).all()

    @pytest.mark.parametrize(
        "text", ["1,2\r\n3,4\r\n", '"1","2"\n3,4\n', "1,2\n\n3,4.0\n", " 1,2\n3, 4\n", "1.0,2\n3e0,4\n"]
    )
    def test_other_ways_to_write_integers(self, tmp_path, text):
        (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbfa,b\n" + text.encode())
        table = read_integers(tmp_path / "x.csv", ("a", "b"))
        assert (table["a"].tolist(), table["b"].tolist()) == ([1, 3], [2, 4])

    def test_negative_numbers(self, tmp_path):
        (tmp_path / "x.csv").write_text("a\n-5\n7\n")
        assert read_integers(tmp_path / "x.csv", ("a",))["a"].tolist() == [-5, 7]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("1,2\n3\n", "line 3: 1 columns where the header has 2"),
            ("1\n2,3,4\n", "line 2: 1 columns"),  # as many cells in all as two good lines
            ("1,2\n3,4.5\n", "line 3, column `b`: `4.5` is not a whole number"),
            ("1,2\n3,\n", "line 3, column `b`: `` is not"),
            ("1,2\n3,1e999\n", "line 3, column `b`: `1e999` is not a whole number"),
            ("1,2\n3," + "9" * 5000 + "\n", "line 3, column `b`: .* is too large for a 64-bit number"),
        ],
    )
    def test_faults_are_named(self, tmp_path, text, message):
        (tmp_path / "x.csv").write_text("a,b\n" + text)
        with pytest.raises(DataError, match=message):
            read_integers(tmp_path / "x.csv", ("a", "b"))

    def test_finding(self, tmp_path):
        (tmp_path / "two").write_text("")
        assert find_file(tmp_path, ["one", "two"]).name == "two"
        with pytest.raises(DataError, match="holds none of `one`, `three`"):
            find_file(tmp_path, ["one", "three"])
        with pytest.raises(DataError, match="There is no folder"):
            find_file(tmp_path / "absent", ["one"])

    def test_text(self, tmp_path):
        path = tmp_path / "x"
        path.write_bytes(b"\xef\xbb\xbfone\r\ntwo\rhalf\nthree")
        with open_text(path) as file:
            assert [line.rstrip("\r\n") for line in file] == ["one", "two\rhalf", "three"]
        assert list(numbered_lines(path)) == [(1, "one"), (2, "two\rhalf"), (3, "three")]
        with pytest.raises(DataError, match="cannot be read"):
            open_text(tmp_path / "absent")

    def test_lines_of_a_large_file(self, tmp_path, monkeypatch):
        (tmp_path / "x").write_text("line\n" * 50_000)
        monkeypatch.setattr(raw_files, "_LARGE_BYTES", 1)
        assert sum(text == "line" for _, text in numbered_lines(tmp_path / "x")) == 50_000

    def test_checksum(self, tmp_path):
        (tmp_path / "x").write_bytes(b"abc")  # the test vector of FIPS 180-2
        assert file_digest(tmp_path / "x") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


class TestWriter:
    def test_order_survives_float32(self, tmp_path):
        """Beyond 194 days RecBole's times are rounded, and every user has events that become ties."""
        rng = np.random.default_rng(0)
        n, start = 4000, 1_600_000_000
        times = start + rng.integers(0, 900 * 86_400, n)
        times[::2] = times[1::2] + 1
        users, items = np.repeat(np.arange(n // 8), 8), rng.permutation(n)
        with DatasetWriter(tmp_path, "d") as out:
            out.write_interactions({"user_id": users, "item_id": items, "time": times}, "s")
        expected = {}
        for row in np.lexsort((np.arange(n), times, users)):
            expected.setdefault(str(users[row]), []).append(str(items[row]))
        assert recbole_sequences(recbole_dataset(tmp_path, "d")) == expected
        card = json.loads((tmp_path / "d" / "d.card.json").read_text())
        assert card["interactions"]["exact_in_float32"] is False and "float32" in card["warnings"][0]

    @pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("us", 1_000_000)])
    def test_units(self, tmp_path, unit, factor):
        times = np.array([10, 4, 7]) * factor + factor // 2
        with DatasetWriter(tmp_path, "d") as out:
            out.write_interactions({"user_id": [1, 1, 1], "item_id": [1, 2, 3], "time": times}, unit)
        assert (tmp_path / "d" / "d.inter").read_text().split()[3:] == ["1", "2", "0", "1", "3", "3", "1", "1", "6"]
        assert np.load(tmp_path / "d" / "d.times.npy").tolist() == sorted(times.tolist())

    def test_further_columns_follow_the_order(self, tmp_path):
        with DatasetWriter(tmp_path, "d") as out:
            table = {**FEW, "seen": [1.5, np.nan, 2], "kind": ["x", "y", "z"], "all": [[1, 2.5], [], [3]]}
            out.write_interactions(table, "s", {"seen": "float", "kind": "token", "all": "float_seq"})
        assert (tmp_path / "d" / "d.inter").read_text().splitlines() == [
            "user_id:token\titem_id:token\ttimestamp:float\tseen:float\tkind:token\tall:float_seq",
            "u\tb\t0\t\ty\t",
            "u\ta\t2\t1.5\tx\t1.0 2.5",
            "v\ta\t1\t2\tz\t3.0",
        ]

    def test_error_leaves_what_was_there(self, tmp_path):
        with DatasetWriter(tmp_path, "d") as out:
            out.write_interactions(FEW, "s")
        (tmp_path / "d" / "d.frames.npy").write_bytes(b"of another step")
        before = {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()}
        with pytest.raises(ZeroDivisionError), DatasetWriter(tmp_path, "d", overwrite=True) as out:
            out.write_interactions({**FEW, "time": np.array([1, 2, 3])}, "s")
            raise ZeroDivisionError
        assert {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()} == before
        with DatasetWriter(tmp_path, "d", overwrite=True) as out:
            out.write_interactions({**FEW, "time": np.array([1, 2, 3])}, "s")
        after = {path.name: path.read_bytes() for path in (tmp_path / "d").iterdir()}
        assert after.keys() == before.keys() and after["d.inter"] != before["d.inter"]
        assert after["d.frames.npy"] == before["d.frames.npy"]

    @pytest.mark.parametrize(
        ("write", "message"),
        [
            (
                lambda out: out.write_interactions({"user_id": [], "item_id": [], "time": []}, "s"),
                "No interaction of `d`",
            ),
            (lambda out: out.write_interactions(FEW, "h"), "time unit must be one of s, ms, us"),
            (lambda out: out.write_interactions({**FEW, "time": [1, 2.5, 3]}, "s"), "must hold whole numbers"),
            (lambda out: out.write_items({"item_id": [1, 2, 1], "x": [1, 2, 3]}, {"x": "float"}), "item_id `1` twice"),
            (lambda out: out.write_items({"item_id": [1], "x": [1]}, {"x": "number"}), "type of column `x`"),
            (lambda out: out.write_counts({"item_id": ["a"], "likes": ["many"]}), "`likes` must hold numbers"),
            (lambda out: out.write_text([{"item_id": 1}, {"item_id": "1"}]), "Row 2 of the text has `1` a second time"),
            (lambda out: out.write_text([{"title": "x"}]), "Row 1 of the text has no item_id"),
            (
                lambda out: out.write_text([{"item_id": 1, "title": "\ud83d"}]),
                "text of item `1` holds half of a surrogate",
            ),
            (lambda out: out.write_counts({"item_id": ["a"], "likes": [np.inf]}), "`likes` holds an infinite number"),
            (
                lambda out: out.write_items({"item_id": [1], "a\tb": [1]}, {"a\tb": "float"}),
                "cannot be the name of a col",
            ),
            (lambda out: out.write_interactions({**FEW, "time": np.array([1, 2, 2**62])}, "s"), "beyond the year 2200"),
            (
                lambda out: out.write_interactions({**FEW, "time": np.array([1, 2, -(2**62)])}, "ms"),
                "before the year 1",
            ),
        ],
    )
    def test_errors(self, tmp_path, write, message):
        with pytest.raises(DataError, match=message), DatasetWriter(tmp_path, "d") as out:
            write(out)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        "name",
        ["", ".", "..", "../x", "a/b", "/x", "a\\b", ".x", "a\tb", "a\nb", "a\0", "\x1b[m", " x", "n" * 200, "\udcff"],
    )
    def test_names_that_would_be_written_elsewhere(self, tmp_path, name):
        with pytest.raises(DataError, match="cannot be the name of a data set"):
            DatasetWriter(tmp_path, name)
        assert list(tmp_path.iterdir()) == []

    def test_names_of_outputs_are_given_once(self, tmp_path):
        with (
            pytest.raises(DataError, match=r"`d.x.frames.npy` would be made twice"),
            DatasetWriter(tmp_path, "d") as out,
        ):
            out.file(".x.frames.npy").touch()
            out.file(".x.frames.npy")

    def test_a_folder_of_the_user_s_stays(self, tmp_path):
        (tmp_path / "d").mkdir()
        with pytest.raises(DataError), DatasetWriter(tmp_path, "d") as out:
            out.write_items({"item_id": [1], "x": [1]}, {"x": "number"})
        assert list(tmp_path.iterdir()) == [tmp_path / "d"]

    def test_unwritable_folder(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(RunFolderError, match="give another --out"), DatasetWriter(tmp_path / "file", "d"):
            pass

    def test_text_is_as_it_was(self, tmp_path):
        titles = ['tab\t, quote " and\nline', "\ufffd", "👩‍⚕️\u2028"]
        with DatasetWriter(tmp_path, "d") as out:
            out.write_text({"item_id": number, "title": title} for number, title in enumerate(titles))
        with (tmp_path / "d" / "d.text.jsonl").open(encoding="utf-8", newline="\n") as file:
            rows = [json.loads(line) for line in file]
        assert rows == [{"item_id": str(number), "title": title} for number, title in enumerate(titles)]


class TestReplacement:
    """What an earlier conversion left is there, byte for byte, whatever fails; kills are in test_replacement.py."""

    @pytest.fixture
    def folder(self, tmp_path):
        with DatasetWriter(tmp_path, "d") as out:
            out.write_interactions(FEW, "s")
            out.write_counts({"item_id": ["a"], "likes": [1]})
        (tmp_path / "d" / "notes.txt").write_text("of the user")
        return tmp_path / "d"

    def convert(self, folder):
        with DatasetWriter(folder.parent, "d", overwrite=True) as out:
            out.write_interactions({**FEW, "time": np.array([1, 2, 3])}, "s")
            out.write_items({"item_id": ["a", "b"], "x": [1, 2]}, {"x": "float"})

    def files(self, folder):
        return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}

    @pytest.mark.parametrize("what", ["fsync", "write"])
    def test_a_disk_that_fills_up_while_files_are_made(self, folder, monkeypatch, what):
        before = self.files(folder)

        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        if what == "fsync":
            monkeypatch.setattr("recbole_video.files.atomic.os.fsync", fail)
        else:
            monkeypatch.setattr("recbole_video.dataset_tools.output.writer.np.save", fail)
        with pytest.raises(RunFolderError, match="No space left on device"):
            self.convert(folder)
        assert self.files(folder) == before and len(list(folder.iterdir())) == len(before)

    def test_a_full_disk_under_the_temporary_folder(self, monkeypatch):
        with TextSpool() as spool:
            monkeypatch.setattr(spool, "_file", FullDisk(spool._file))
            with pytest.raises(RunFolderError, match=r"No space left.*set TMPDIR"):
                spool.put("a", {"title": "x"})


class FullDisk:
    def __init__(self, file):
        self.file = file

    def seek(self, position):
        return self.file.seek(position)

    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")

    def close(self):
        self.file.close()


class Page(HTMLParser):
    """Tags that are open, and those that were met."""

    def __init__(self, text):
        super().__init__()
        self.open, self.met, self.attributes = [], Counter(), []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.met[tag] += 1
        self.attributes += [name for name, _ in attributes]
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


class TestCard:
    @pytest.fixture
    def folder(self, tmp_path):
        rng = np.random.default_rng(0)
        users = np.repeat(np.arange(50), rng.integers(1, 60, 50))
        table = {
            "user_id": users,
            "item_id": rng.integers(0, 40, len(users)),
            "time": rng.integers(0, 10**7, len(users)),
        }
        (tmp_path / "raw.csv").write_text("x")
        with DatasetWriter(tmp_path, "d") as out:
            out.card.add_input(tmp_path / "raw.csv")
            out.card.step("rule", 10, 7, "three <b>bad</b> rows")
            out.card.warn("look at <this>")
            out.write_interactions(table, "s")
        self.table = pd.DataFrame(table)
        return tmp_path / "d"

    def test_numbers(self, folder):
        card = json.loads((folder / "d.card.json").read_text())
        for key, column in (("per_user", "user_id"), ("per_item", "item_id")):
            expected = self.table[column].value_counts().describe()
            of = {"min": "min", "q1": "25%", "median": "50%", "q3": "75%", "max": "max", "mean": "mean"}
            assert card["interactions"][key] == {name: pytest.approx(expected[row]) for name, row in of.items()}
        repeats = self.table.duplicated(["user_id", "item_id"]).sum()
        ties = self.table.groupby("user_id")["time"].agg(lambda times: len(times) - times.nunique()).sum()
        assert (card["interactions"]["repeats_of_a_pair"], card["interactions"]["ties_within_a_user"]) == (
            repeats,
            ties,
        )
        assert card["steps"] == [
            {"name": "rule", "before": 10, "after": 7, "dropped": 3, "reason": "three <b>bad</b> rows"}
        ]
        assert {entry["name"] for entry in card["outputs"]} == {"d.inter", "d.times.npy"}
        assert all(entry["sha256"] == file_digest(folder / entry["name"]) for entry in card["outputs"])

    def test_plots_count_everything(self, folder):
        plots = json.loads((folder / "d.card.json").read_text())["plots"]
        lengths = self.table["user_id"].value_counts()
        assert sum(plots["length"]["counts"]) == 50 and sum(plots["time"]["counts"]) == len(self.table)
        for label, count in zip(plots["length"]["labels"], plots["length"]["counts"], strict=True):
            low, _, high = label.partition("-")
            assert lengths.between(int(low), int(high or low)).sum() == count
        assert len(plots["time"]["counts"]) <= 60

    def test_page_is_whole_and_needs_nothing_else(self, folder):
        text = (folder / "d.card.html").read_text(encoding="utf-8")
        page = Page(text)
        assert page.open == [] and page.met["svg"] == 3 and not {"src", "href"} & set(page.attributes)
        assert "look at &lt;this&gt;" in text and "&lt;b&gt;bad" in text and "http" not in text
        plots = json.loads((folder / "d.card.json").read_text())["plots"]
        assert page.met["rect"] == sum(len(plot["counts"]) for plot in plots.values())

    def test_warnings_can_be_read_on_a_terminal(self, caplog):
        card = Card("d")
        card.warn("`\x1b[2J" + "x" * 10**6 + "` is odd.")
        assert card.warnings == [caplog.messages[0].removeprefix("Warning: ")]
        assert "\\x1b[2J" in card.warnings[0] and len(card.warnings[0]) < 300

    def test_card_without_interactions(self):
        assert Card("d").content()["plots"] == {}
