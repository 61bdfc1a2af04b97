"""``generic``: csv, tsv, JSON lines and parquet of one's own, and its errors."""

import gzip
import json
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.raw import tables

from .loading import our_sequences, recbole_dataset, recbole_sequences

# Ids with leading zeros, a comma, another script; two rows at one time; an exact copy.
ROWS = [
    ("007", "v,1", "2024-01-05T10:00:00Z", 1.5, "new a"),
    ("007", "猫", "2024-01-04T23:59:59Z", 2.0, ""),
    ("b", "v,1", "2024-01-05T10:00:00Z", None, "new"),
    ("b", "w", "2024-01-05T10:00:00Z", 0.25, "a"),
    ("b", "w", "2024-01-05T10:00:00Z", 0.25, "a"),
    ("b", "猫", "2024-01-05T10:00:02Z", 7.0, "a"),
    ("b", "v,1", "2024-01-05T10:00:01Z", 7.0, "a"),
]
SEQUENCES = {"007": ["猫", "v,1"], "b": ["v,1", "w", "v,1", "猫"]}
NAMES = ["who", "what", "when", "seconds", "words"]
COLUMNS = ["--user=who", "--item=what", "--time=when", "--columns", "watch:float=seconds", "tags:token_seq=words"]


def frame(unit="iso"):
    table = pd.DataFrame(ROWS, columns=NAMES)
    if unit != "iso":
        seconds = pd.to_datetime(table["when"]).map(lambda date: int(date.timestamp()))
        table["when"] = seconds * {"s": 1, "ms": 1000, "us": 1_000_000}[unit]
    return table


def write(folder, table, suffix):
    path = folder / f"mine{suffix}"
    if suffix in (".csv", ".csv.gz"):
        table.to_csv(path, index=False)
    elif suffix in (".tsv", ".txt"):
        table.to_csv(path, index=False, sep="\t", encoding="utf-8-sig", lineterminator="\r\n")
    elif suffix == ".parquet":
        table.to_parquet(path)
    else:
        path.write_text(
            "".join(json.dumps({k: v for k, v in row.items() if v == v}) + "\n" for row in table.to_dict("records"))
        )
    return path


@pytest.fixture
def convert(tmp_path):
    """folder = convert(file, "--option=value")"""

    def run(path, *options, status=0):
        assert main(["generic", str(path), "--out", str(tmp_path / "dataset"), *map(str, options)]) == status
        return tmp_path / "dataset" / "mine"

    return run


def lines(folder, suffix):
    return (folder / f"mine{suffix}").read_text(encoding="utf-8").splitlines()


class TestFormats:
    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet"])
    @pytest.mark.parametrize("unit", ["iso", "s", "ms", "us"])
    def test_every_format_and_unit_gives_one_result(self, convert, tmp_path, suffix, unit):
        path = write(tmp_path, frame(unit), suffix)
        folder = convert(path, *COLUMNS, f"--time_unit={unit}")
        assert lines(folder, ".inter") == [
            "user_id:token\titem_id:token\ttimestamp:float\twatch:float\ttags:token_seq",
            "007\t猫\t0\t2\t",
            "007\tv,1\t36001\t1.5\tnew a",
            "b\tv,1\t36001\t\tnew",
            "b\tw\t36001\t0.25\ta",
            "b\tv,1\t36002\t7\ta",
            "b\t猫\t36003\t7\ta",
        ]
        factor = {"iso": 1_000_000, "s": 1, "ms": 1000, "us": 1_000_000}[unit]
        times = np.load(folder / "mine.times.npy")
        assert times.tolist() == [
            1_704_412_799 * factor,
            *[(1_704_448_800 + more) * factor for more in (0, 0, 0, 1, 2)],
        ]
        assert recbole_sequences(recbole_dataset(tmp_path / "dataset", "mine")) == SEQUENCES
        assert our_sequences(tmp_path / "dataset", "mine") == SEQUENCES

    def test_many_parts_are_one_table(self, convert, tmp_path, monkeypatch):
        rng = np.random.default_rng(0)
        table = pd.DataFrame({"user_id": rng.integers(0, 40, 999), "item_id": rng.integers(0, 50, 999)})
        table["timestamp"] = rng.integers(0, 10**6, 999)
        expected = table.drop_duplicates().sort_values("timestamp", kind="stable")
        expected = expected.groupby(expected["user_id"].astype(str))["item_id"].agg(
            lambda items: [str(i) for i in items]
        )
        monkeypatch.setattr(tables, "_PART_ROWS", 100)
        for suffix in (".csv", ".jsonl", ".parquet"):
            convert(write(tmp_path, table, suffix), "--overwrite")
            assert recbole_sequences(recbole_dataset(tmp_path / "dataset", "mine")) == expected.to_dict()

    @pytest.mark.parametrize(("unit", "is_doubted"), [("s", False), ("ms", True)])
    def test_seconds_taken_for_milliseconds_are_doubted(self, convert, tmp_path, unit, is_doubted):
        folder = convert(write(tmp_path, frame("s"), ".csv"), *COLUMNS, f"--time_unit={unit}")
        content = json.loads((folder / "mine.card.json").read_text())
        assert is_doubted == any("1970-01-20" in text and "--time_unit" in text for text in content["warnings"])

    def test_no_header_and_no_times(self, convert, tmp_path):
        (tmp_path / "mine.txt").write_text("a|x\nb|x\na|y\n")
        folder = convert(tmp_path / "mine.txt", "--separator=|", "--no_header", "--no_time", "--user=1", "--item=2")
        assert lines(folder, ".inter")[1:] == ["a\tx\t0", "a\ty\t1", "b\tx\t0"]
        assert not (folder / "mine.times.npy").exists()

    def test_quotes_can_be_characters(self, convert, tmp_path):
        (tmp_path / "mine.csv").write_text('user_id,item_id,timestamp,note\na,x,1,he said "wow\na,y,2,"\n')
        folder = convert(tmp_path / "mine.csv", "--no_quotes", "--columns", "note:token")
        assert lines(folder, ".inter")[1:] == ["a\tx\t0\the said wow", "a\ty\t1\t"]

    def test_fractions_of_seconds_are_kept(self, convert, tmp_path):
        (tmp_path / "mine.csv").write_text(
            "user_id,item_id,timestamp\na,x,1700000000.75\na,y,1700000000.5\na,z,1700000002\n"
        )
        folder = convert(tmp_path / "mine.csv")
        assert lines(folder, ".inter")[1:] == ["a\ty\t0", "a\tx\t0", "a\tz\t1"]
        assert np.load(folder / "mine.times.npy").tolist() == [
            1_700_000_000_500_000,
            1_700_000_000_750_000,
            1_700_000_002_000_000,
        ]

    def test_dates_with_and_without_zones(self, convert, tmp_path):
        (tmp_path / "mine.csv").write_text(
            "user_id,item_id,timestamp\na,x,2024-03-01\na,y,2024-03-01T09:00:00+08:00\na,z,2024-02-29 23:00:00.5\n"
        )
        folder = convert(tmp_path / "mine.csv", "--time_unit=iso")
        assert lines(folder, ".inter")[1:] == ["a\tz\t0", "a\tx\t3599", "a\ty\t7199"]

    def test_dates_against_the_standard_library(self, convert, tmp_path):
        rng = np.random.default_rng(0)
        dates = [datetime(2020, 1, 1) + timedelta(microseconds=int(n)) for n in rng.integers(0, 10**14, 300)]
        zones = [None, UTC, timezone(timedelta(hours=8)), timezone(timedelta(hours=-9, minutes=-30))]
        dates = [date.replace(tzinfo=zones[row % 4]) for row, date in enumerate(dates)]
        rows = [f"u,i{row},{date.isoformat('T '[row % 2])}" for row, date in enumerate(dates)]
        (tmp_path / "mine.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
        folder = convert(tmp_path / "mine.csv", "--time_unit=iso")
        aware = [date.replace(tzinfo=date.tzinfo or UTC) for date in dates]
        start = datetime(1970, 1, 1, tzinfo=UTC)
        expected = sorted((date - start) // timedelta(microseconds=1) for date in aware)
        assert np.load(folder / "mine.times.npy").tolist() == expected


class TestFeatures:
    ITEMS = (
        'vid,kind,length,name\nw,NA,1.5,"a ""b"", c"\n猫,x y,,\n"v,1",x y,3,"two\nlines"\nunseen,z,9,never watched\n'
    )

    def test_items_users_and_text(self, convert, tmp_path):
        path = write(tmp_path, frame("s"), ".csv")
        (tmp_path / "videos.csv").write_text(self.ITEMS)
        (tmp_path / "people.jsonl").write_text('{"id": "007", "age": 40}\n{"id": "z", "age": 1}\n')
        folder = convert(
            path,
            *COLUMNS,
            *("--items", tmp_path / "videos.csv", "--item_id=vid"),
            *("--item_columns", "kind:token", "length:float", "title:text=name"),
            *("--users", tmp_path / "people.jsonl", "--user_id=id", "--user_columns", "age:float"),
        )
        assert lines(folder, ".item") == [
            "item_id:token\tkind:token\tlength:float",
            "w\tNA_\t1.5",
            "猫\tx y\t",
            "v,1\tx y\t3",
        ]
        assert [json.loads(line) for line in lines(folder, ".text.jsonl")] == [
            {"item_id": "w", "title": 'a "b", c'},
            {"item_id": "v,1", "title": "two\nlines"},
        ]
        assert lines(folder, ".user") == ["user_id:token\tage:float", "007\t40", "b\t"]
        content = json.loads((folder / "mine.card.json").read_text())
        assert content["notes"]["items of videos.csv without interactions"] == 1
        assert any(
            text.startswith("1 of 2 users with interactions have no features (first: b)")
            for text in content["warnings"]
        )
        dataset = recbole_dataset(tmp_path / "dataset", "mine")
        assert len(dataset.item_feat) == 4 and recbole_sequences(dataset) == SEQUENCES  # and the padding

    def test_ids_of_another_type_are_the_same_tokens(self, convert, tmp_path):
        pd.DataFrame({"user_id": [1], "item_id": [5], "timestamp": [0]}).to_parquet(tmp_path / "mine.parquet")
        (tmp_path / "items.csv").write_text("item_id,kind\n5,x\n")
        folder = convert(tmp_path / "mine.parquet", "--items", tmp_path / "items.csv", "--item_columns", "kind:token")
        assert lines(folder, ".item")[1:] == ["5\tx"]


class TestErrors:
    @pytest.mark.parametrize(
        ("rows", "options", "message"),
        [
            ("a,x,1\n,y,2\n", [], "row 2: no `user_id`; mend the row, or give --drop_incomplete"),
            ("a,x,1\na,y,soon\n", [], "row 2, column `timestamp`: `soon` is no number"),
            ("a,x,1\n", ["--time_unit=iso"], "row 1, column `timestamp`: `1` is no ISO date"),
            ("a,x,1661000000123\n", [], "The latest time, 1661000000123, lies beyond the year 2200 in s"),
            ("a,x,1\n", ["--time=timestam"], "has no column `timestam` (did you mean `timestamp`?)"),
            ("a,x,1\n", ["--columns", "n:float=item_id"], "row 1, column `item_id`: `x` is not a number"),
            ("a,x,1\na,y\n", [], "line 3: 2 columns where the first line has 3"),
            ("a,x,1\na,y,2,3\n", [], "line 3: 4 columns where the first line has 3"),
            ('a,"x,1\na,y,2\n', [], "or give --no_quotes"),
            ("a,NA,1\n", [], "The id 'NA' in column `item_id` cannot be a token"),
        ],
    )
    def test_faulty_rows(self, convert, tmp_path, capsys, rows, options, message):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\n" + rows)
        folder = convert(tmp_path / "mine.csv", *options, status=1)
        error = capsys.readouterr().err
        assert error.startswith("DataError: ") and message in error and not folder.exists()

    def test_incomplete_rows_are_counted(self, convert, tmp_path):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,x,1\n,y,2\na,,3\na,z,\na,w,5\n")
        folder = convert(tmp_path / "mine.csv", "--drop_incomplete")
        assert lines(folder, ".inter")[1:] == ["a\tx\t0", "a\tw\t4"]
        [first, _] = json.loads((folder / "mine.card.json").read_text())["steps"]
        assert (first["before"], first["after"]) == (5, 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--columns", "x"], "`x` is not NAME:TYPE=RAW"),
            (["--columns", "x:number"], "`x:number` is not NAME:TYPE=RAW"),
            (["--columns", "timestamp:float"], "cannot name a column `timestamp`"),
            (["--columns", "x:text"], "cannot hold text"),
            (["--columns", "x:float", "x:token=y"], "that name is taken"),
            (["--items", "items.csv"], "`--items` and `--item_columns` belong together"),
            (["--user_columns", "x:float"], "`--users` and `--user_columns` belong together"),
        ],
    )
    def test_options(self, convert, tmp_path, capsys, options, message):
        convert(tmp_path / "mine.csv", *options, status=1)
        error = capsys.readouterr().err
        assert error.startswith("ConfigError: ") and message in error

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("mine.jsonl", b'{"user_id": 1,\n', "line 1: not JSON"),
            ("mine.jsonl", b"[1]\n", "line 1: `[1]` is no JSON object"),
            ("mine.parquet", b"PAR0", "cannot be read as parquet"),
            ("mine.csv", b"", "is empty"),
            ("mine.csv", b"user_id,item_id,timestamp\n\xff,x,1\n", "can't decode byte"),
            ("mine.xml", b"", "ends in none of .csv"),
        ],
    )
    def test_files(self, convert, tmp_path, capsys, name, content, message):
        (tmp_path / name).write_bytes(content)
        convert(tmp_path / name, status=1)
        assert message in capsys.readouterr().err

    def test_missing_file_and_missing_library(self, convert, tmp_path, capsys, monkeypatch):
        convert(tmp_path / "mine.csv", status=1)
        assert "There is no file" in capsys.readouterr().err
        (tmp_path / "mine.parquet").write_bytes(b"")
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        convert(tmp_path / "mine.parquet", status=1)
        assert "uv pip install -e '.[data]'" in capsys.readouterr().err

    def test_compressed_text_is_read_as_it_is(self, convert, tmp_path):
        with gzip.open(tmp_path / "mine.csv.gz", "wt") as file:
            file.write("user_id,item_id,timestamp\na,x,1\n")
        assert lines(convert(tmp_path / "mine.csv.gz"), ".inter")[1:] == ["a\tx\t0"]
