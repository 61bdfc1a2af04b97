"""``generic``: csv, tsv, JSON lines and parquet of one's own, and its errors."""

import gzip
import json
import shlex
import sys
from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.raw import tables

from recbole_video import write_frame_store

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
        table["when"] = seconds * {"s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
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


class TestLastWords:
    """Where the data set is, what was left out, and a command that can be typed."""

    def test_without_content(self, convert, tmp_path, capsys):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,x,1\na,x,1\na,y,2\nb,x,1\n")
        folder = convert(tmp_path / "mine.csv")
        where, left_out, following = capsys.readouterr().out.splitlines()
        assert where == f"mine is in {folder}: 3 interactions of 2 users on 2 items."
        assert left_out.startswith("Left out: 1 of 4 by ") and left_out.endswith(f"Card: {folder / 'mine.card.html'}")
        command = following.partition("#")[0].removeprefix("Next: ")
        options = ["--dataset=mine", f"--data_path={tmp_path / 'dataset'}", "--item_encoder=ID"]
        assert shlex.split(command) == ["python", "run_recbole_video.py", *options]

    @pytest.mark.parametrize(("store", "word"), [("", []), ("clip", ["--frame_store=clip"])])
    def test_with_content(self, convert, tmp_path, capsys, store, word):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,x,1\n")
        folder = convert(tmp_path / "mine.csv")
        name = ".".join(filter(None, ["mine", store, "frames.npy"]))
        write_frame_store(folder / name, ["x"], np.zeros((1, 1, 2)) + 1, vfm="v", sampling="s")
        capsys.readouterr()
        convert(tmp_path / "mine.csv", "--overwrite")
        _, left_out, following = capsys.readouterr().out.splitlines()
        assert left_out.startswith("Nothing was left out.")
        assert shlex.split(following)[5:] == word and "ID" not in following


class TestFormats:
    @pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".txt", ".jsonl", ".ndjson", ".parquet"])
    @pytest.mark.parametrize("unit", ["iso", "s", "ms", "us", "ns"])
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
        factor = {"iso": 1_000_000, "s": 1, "ms": 1000, "us": 1_000_000, "ns": 1_000_000_000}[unit]
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
        monkeypatch.setattr(tables, "_CHUNK_ROWS", 100)
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

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
    def test_nanoseconds_are_told_apart(self, convert, tmp_path, suffix):
        """Two of them are one float64: their order in the file is not their order in time."""
        late = 1_700_000_000_000_000_001
        table = pd.DataFrame(
            {"user_id": ["a"] * 3, "item_id": ["z", "y", "x"], "timestamp": [late, late - 1, late - 2]}
        )
        folder = convert(write(tmp_path, table, suffix), "--time_unit=ns")
        assert [line.split("\t")[1] for line in lines(folder, ".inter")[1:]] == ["x", "y", "z"]
        assert np.load(folder / "mine.times.npy").tolist() == [late - 2, late - 1, late]

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
            ("a,x,1\n,y,2\n", [], "mine.csv`, line 3: no `user_id`; mend the row, or give --drop_incomplete"),
            ("a,x,1\na,y,soon\n", [], "mine.csv`, line 3, column `timestamp`: `soon` is no number"),
            ("a,x,1\n", ["--time_unit=iso"], "mine.csv`, line 2, column `timestamp`: `1` is no ISO date"),
            (
                "a,x,1661000000123\n",
                [],
                "`1661000000123` lies beyond the year 2200 in s (in ms it is 2022-08-20 12:53:20); give another --",
            ),
            ("a,x,1\n", ["--time=timestam"], "has no column `timestam` (did you mean `timestamp`?)"),
            (
                "a,x,1\n",
                ["--user=u"],
                "has no column `u`; it has `user_id`, `item_id`, `timestamp`; name the right one by --user",
            ),
            (
                "a,x,1\n",
                ["--separator=;"],
                "mine.csv` has a single column, `user_id,item_id,timestamp`, as it is read; its cells seem to be "
                "separated by `,`: give --separator=','",
            ),
            (
                'a,x,"16,8"\n',
                ["--no_time", "--columns", "n:float=timestamp"],
                "`16,8` is not a number (numbers are wri",
            ),
            ("a,x,1\n", ["--item=i"], "name the right one by --item=COLUMN."),
            (
                "a,x,1\na,y,2020-01-02T03:04:05Z\n",
                [],
                "`2020-01-02T03:04:05Z` is no number; mend it, or give --time_unit=iso.",
            ),
            ("a,x,1\na,y,2 Jan\n", [], "`2 Jan` is no number; mend it, or give another --time_unit."),
            ("a,x,1\n", ["--columns", "n:float=item_id"], "line 2, column `item_id`: `x` is not a number"),
            ("a,x,1\na,y\n", [], "line 3: 2 columns where the first line has 3"),
            ("a,x,1\na,y,2,3\n", [], "line 3: 4 columns where the first line has 3"),
            ('a,"x,1\na,y,2\n', [], "or give --no_quotes"),
            ("a,NA,1\n", [], "line 2: the id `NA` in column `item_id` cannot be a token"),
            ("a,x,1\na\x1b,y,2\n", [], "line 3: the id `a\\x1b` in column `user_id` cannot be a token"),
            ("a,[PAD],1\n", [], "the id `[PAD]` in column `item_id` cannot be a token: RecBole pads with this word"),
            ("a,x,1e999\n", [], "line 2, column `timestamp`: `1e999` is no number"),
            ('a,x,1\n"a\nb",y,2\na,z,soon\n', [], "line 3: the id"),  # the row that begins there
            ('a,x,1\n\n"a",y,soon\n', [], "line 4, column `timestamp`"),
            ("a,x,1\na,y," + "9" * 5000 + "\n", [], "line 3, column `timestamp`"),
            ("a,x,1\n", ['--separator="'], "cannot separate cells"),
            ("a,x,1\n", ["--encoding=klingon"], "`--encoding` is `klingon`, which is no encoding"),
        ],
    )
    def test_faulty_rows(self, convert, tmp_path, capsys, rows, options, message):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\n" + rows)
        folder = convert(tmp_path / "mine.csv", *options, status=1)
        error = capsys.readouterr().err
        assert error.startswith(("DataError: ", "ConfigError: ")) and message in error and not folder.exists()

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
            (["--counts", "views"], "`--counts` are columns of the table of items"),
            (["--items=i.csv", "--counts", "views", "views=x"], "`--counts` cannot name a column `views`"),
            (["--items=i.csv", "--counts", "a:b=x"], "`a:b` cannot be the name of a column"),
            (["--sequences", "--columns", "x:float"], "`--sequences` have no --columns"),
            (["--items", "items.csv"], "`--items` and `--item_columns` belong together"),
            (["--user_columns", "x:float"], "`--users` and `--user_columns` belong together"),
            (["--columns", "a\tb:float=x"], "`a\\tb` cannot be the name of a column"),
            (["--columns", "a\nb:token=x"], "`a\\nb` cannot be the name of a column"),
            (["--columns", "a:b:token=x"], "`a:b` cannot be the name of a column"),
            (["--item_columns", 'a"b:token=x'], "cannot be the name of a column"),
        ],
    )
    def test_options(self, convert, tmp_path, capsys, options, message):
        convert(tmp_path / "mine.csv", *options, status=1)
        error = capsys.readouterr().err
        assert error.startswith("ConfigError: ") and message in error

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("mine.jsonl", b'{"user_id": 1,\n', "line 1 is not valid JSON"),
            ("mine.jsonl", b"[1]\n", "line 1: `[1]` is no JSON object"),
            ("mine.parquet", b"PAR0", "cannot be read as parquet"),
            ("mine.csv", b"", "is empty"),
            ("mine.jsonl", b"", "mine.jsonl` is empty."),
            ("mine.jsonl", b"\n \n", "mine.jsonl` is empty."),
            (
                "mine.jsonl",
                b'{"user_id": 1, "item_id": "a", "timestamp": 1}\n{"user_id": true, "item_id": "a", "timestamp": 1}',
                "line 2, column `user_id`: true is a truth value and no id",
            ),
            (
                "mine.csv",
                b"user_id,item_id,timestamp\n\xff,x,1\n",
                "byte 1 of line 2 does not fit); save it as UTF-8, or",
            ),
            ("mine.csv", "user_id,item_id,timestamp\na,日本,1\n".encode("gbk"), "byte 3 of line 2 does not fit"),
            ("mine.csv", "user_id,item_id,timestamp\na,x,1\n".encode("utf-16"), "it is UTF-16"),
            ("mine.jsonl", b'{"user_id": "\xe9"}\n', "byte 14 of line 1 does not fit"),
            ("mine.csv", b"user_id,item_id,item_id,timestamp\na,x,y,1\n", "column `item_id` twice, columns 2 and 3"),
            ("mine.csv.gz", b"\x1f\x8bxx", "is damaged and cannot be decompressed"),
            ("mine.jsonl", b"[" * 100_000, "line 1 is nested too deeply"),
            ("mine.jsonl", b'{"user_id": ' + b"9" * 5000 + b"}", "line 1 holds a number that cannot be used"),
            ("mine.jsonl", b'{"user_id": "\\ud800"}', "half of a surrogate pair"),
            ("mine.jsonl", b'{"user_id": 1, "user_id": 2}', "gives `user_id` twice"),
            (
                "mine.jsonl",
                b'{"user_id": ["x"], "item_id": 1, "timestamp": 1}',
                "line 1, column `user_id`: `['x']` is a list",
            ),
            (
                "mine.jsonl",
                b'{"user_id": "x", "item_id": {"a": 1}, "timestamp": 1}',
                "column `item_id`: `{'a': 1}` is an object",
            ),
            ("mine.jsonl", b'{"user_id": 1, "item_id": 1, "timestamp": 1e999}', "1e999 is beyond what a float holds"),
            ("mine.jsonl", b'{"user_id": 1, "item_id": 1, "timestamp": true}', "`True` is no number"),
            (
                "mine.jsonl",
                b'{"user_id": 1, "item_id": 1, "timestamp": 17}\n{"user_id": 1, "item_id": 2, "timestamp": "x"}',
                "line 2, column `timestamp`: `x` is no number",
            ),
            ("mine.xml", b"", "ends in none of .csv"),
        ],
    )
    def test_files(self, convert, tmp_path, capsys, name, content, message):
        (tmp_path / name).write_bytes(content)
        convert(tmp_path / name, status=1)
        assert message in capsys.readouterr().err

    @pytest.mark.parametrize("option", ["--min_user=-3", "--min_item=-1", "--min_item=x"])
    def test_least_numbers(self, tmp_path, capsys, option):
        with pytest.raises(SystemExit):
            main(["generic", str(tmp_path / "mine.csv"), option])
        assert "is not a whole number of at least 0" in capsys.readouterr().err

    @pytest.mark.parametrize("name", ["con", "Lpt1.x", "-x", "~", "~me"])
    def test_names_that_systems_take_for_something_else(self, tmp_path, capsys, name):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,b,1\n")
        assert main(["generic", str(tmp_path / "mine.csv"), f"--name={name}", f"--out={tmp_path}"]) == 1
        assert f"`{name}` cannot be the name of a data set" in capsys.readouterr().err

    def test_folders(self, tmp_path, capsys, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert main(["generic", "."]) == 1
        assert "`.` is a folder; give a file." in capsys.readouterr().err
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\na,b,1\n")
        assert main(["generic", "mine.csv", "--out=mine.csv"]) == 1
        assert "`mine.csv/mine` cannot be written: " in capsys.readouterr().err

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

    def test_one_damaged_byte_of_a_compressed_table(self, convert, tmp_path, capsys):
        """Anywhere behind the header of gzip: what can be decompressed nevertheless has another checksum."""
        rows = "".join(f"{user},{item},{user + item}\n" for user in range(30) for item in range(30))
        content = gzip.compress(f"user_id,item_id,timestamp\n{rows}".encode(), mtime=0)
        for position in (60, len(content) // 2, len(content) - 9, len(content) - 6, len(content) - 1):
            damaged = bytearray(content)
            damaged[position] ^= 0x10
            (tmp_path / "mine.csv.gz").write_bytes(damaged)
            folder = convert(tmp_path / "mine.csv.gz", status=1)
            assert "mine.csv.gz`" in capsys.readouterr().err and not folder.exists()
        (tmp_path / "mine.csv.gz").write_bytes(content[: len(content) // 2])
        convert(tmp_path / "mine.csv.gz", status=1)
        assert "is damaged and cannot be decompressed" in capsys.readouterr().err

    def test_rows_that_contradict_each_other_are_named(self, convert, tmp_path, capsys):
        write(tmp_path, frame("s"), ".csv")
        (tmp_path / "videos.csv").write_text("item_id,kind,name\nw,a,one\nw,a,one\nw,b,one\n")
        convert(
            tmp_path / "mine.csv",
            *COLUMNS,
            "--items",
            tmp_path / "videos.csv",
            "--item_columns",
            "kind:token",
            status=1,
        )
        assert "videos.csv`, line 4: `w` is there a second time, with other values" in capsys.readouterr().err
        (tmp_path / "videos.csv").write_text("item_id,kind,name\nw,a,one\nw,a,two\n")
        options = ("--items", tmp_path / "videos.csv", "--item_columns", "title:text=name")
        convert(tmp_path / "mine.csv", *COLUMNS, *options, status=1)
        assert "videos.csv`, line 3: `w` is there a second time, with another text" in capsys.readouterr().err


class TestOrdinaryTables:
    """What users bring, and what was refused or misread."""

    def test_movielens_1m(self, convert, tmp_path):
        """Its separator has two characters, its suffix is .dat, its films are in Latin-1 and their genres have bars."""
        (tmp_path / "mine.dat").write_text("1::1193::5::978300760\n1::661::3::978302109\n2::661::4::978298413\n")
        (tmp_path / "movies.dat").write_bytes(
            "1193::Élisa (1995)::Drama\n661::J & G::Animation|Children's\n".encode("latin-1")
        )
        folder = convert(
            tmp_path / "mine.dat", "--separator=::", "--no_header", "--encoding=latin-1", "--user=1", "--item=2",
            "--time=4", "--columns", "rating:float=3", "--items", tmp_path / "movies.dat", "--item_id=1",
            "--item_columns", "genre:token_seq=3", "title:text=2",
        )  # fmt: skip
        assert lines(folder, ".inter")[1:] == ["1\t1193\t2347\t5", "1\t661\t3696\t3", "2\t661\t0\t4"]
        assert lines(folder, ".item")[1:] == ["1193\tDrama", "661\tAnimation Children's"]
        assert json.loads(lines(folder, ".text.jsonl")[0])["title"] == "Élisa (1995)"

    def test_first_row_lacks_an_optional_key(self, convert, tmp_path, capsys):
        rows = [
            '{"user_id": 1, "item_id": 2, "timestamp": 3}',
            '{"user_id": 1, "item_id": 3, "timestamp": 4, "n": 0.5}',
        ]
        (tmp_path / "mine.jsonl").write_text("\n".join(rows))
        assert lines(convert(tmp_path / "mine.jsonl", "--columns", "n:float"), ".inter")[1:] == [
            "1\t2\t0\t",
            "1\t3\t1\t0.5",
        ]
        convert(tmp_path / "mine.jsonl", "--columns", "m:float", "--overwrite", status=1)
        assert "has no column `m`" in capsys.readouterr().err

    def test_missing_numbers_as_python_writes_them(self, convert, tmp_path):
        (tmp_path / "mine.jsonl").write_text('{"user_id": 1, "item_id": 2, "timestamp": 3, "n": NaN}\n')
        assert lines(convert(tmp_path / "mine.jsonl", "--columns", "n:token"), ".inter")[1:] == ["1\t2\t0\t"]

    @pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
    def test_numbers_and_lists_as_sequences_of_numbers(self, convert, tmp_path, suffix):
        table = pd.DataFrame({"user_id": [1, 1], "item_id": [2, 3], "timestamp": [4, 5], "s": [0.5, 2.0]})
        table["l"] = [[1.5, 2.5], []]
        path = tmp_path / f"mine{suffix}"
        table.to_parquet(path) if suffix == ".parquet" else table.to_json(path, orient="records", lines=True)
        folder = convert(path, "--columns", "s:float_seq", "l:float_seq", "t:token_seq=l")
        assert [line.split("\t")[3:] for line in lines(folder, ".inter")[1:]] == [
            ["0.5", "1.5 2.5", "1.5 2.5"],
            ["2.0", "", ""],
        ]

    @pytest.mark.parametrize("encoding", ["gbk", "utf-16", "utf-8", "UTF-8"])
    def test_other_encodings(self, convert, tmp_path, encoding):
        (tmp_path / "mine.csv").write_bytes("user_id,item_id,timestamp\na,猫,1\n".encode(encoding))
        assert lines(convert(tmp_path / "mine.csv", f"--encoding={encoding}"), ".inter")[1:] == ["a\t猫\t0"]


class TestLists:
    """Text that is a list: read where it can be read in one way, else refused."""

    @pytest.mark.parametrize(
        ("cells", "expected"),
        [
            (["20,43", "7"], ["20 43", "7"]),
            (["20, 43", "7 , 8"], ["20 43", "7 8"]),
            (["[27, 9]", "[]"], ["27 9", ""]),
            (["[27,9]", "['a', 'b c']"], ["27 9", "a b_c"]),
            (['["a", "b c"]', "[d]"], ["a b_c", "d"]),
            (["[27  9]", "['a' 'b']"], ["27 9", "a b"]),
            (["[007, 1]", "[a, b c]"], ["007 1", "a b_c"]),
            (["a|b", "c"], ["a b", "c"]),
            (["a b", "c"], ["a b", "c"]),
            (["a;b", ""], ["a b", ""]),
            (["{1, 2}", "(1, 2)"], ["1 2", "1 2"]),
            (["('a', 'b c')", "{'d, e', f}"], ["a b_c", "d,_e f"]),
            (["(1,)", "()"], ["1", ""]),
            (["{1}", "[2]"], ["1", "2"]),
            (["(a), (b)", "(live)"], ["(a) (b)", "(live)"]),
            (["('a)', '(b')", ""], ["a) (b", ""]),
        ],
    )
    def test_ways_of_writing(self, convert, tmp_path, cells, expected):
        assert self.read(convert, tmp_path, cells) == expected

    @pytest.mark.parametrize(
        ("cells", "message"),
        [
            (["a b,c", "x"], "line 2, column `l`: `a b,c` may be a list with commas or with blanks"),
            (["a b", "a,b"], "line 3, column `l`: `a,b` is a list with commas, but `a b` one with blanks"),
            (["a|b", "[a]"], "`[a]` is a list with brackets, but `a|b` one with bars"),
            (["[a]", "b"], "line 3, column `l`: `b` is not in brackets, as `[a]` is"),
            (["[1, 2", "3"], "may be a list with"),
            (["[[1], 2]", ""], "line 2, column `l`: `[1]` is a list or an object within a list"),
            (["[1,,2]", ""], "`[1,,2]` is an object, or no list that can be read"),
            (["[home food]", ""], "`[home food]` is an object, or no list that can be read"),
            (["{'a': 1}", ""], "`{'a': 1}` is an object, or no list"),
            (['{"a": 1, "b": 2}', ""], "is an object, or no list"),
            (["{a:1}", ""], "is an object, or no list"),
            (["((1, 2), (3, 4))", ""], "is an object, or no list"),
            (["[(1, 2), 3]", ""], "is an object, or no list"),
            (["({1}, {2})", ""], "is an object, or no list"),
            (["array([1, 2])", ""], "is an object, or no list"),
            (["frozenset({1, 2})", "set()"], "is an object, or no list"),
            (["x,(y,z)", ""], "`x,(y,z)` may be a list with commas or with brackets"),
            (["(1, 2)", "3"], "line 3, column `l`: `3` is not in brackets, as `(1, 2)` is"),
            (["(" * 5000 + ",)", ""], "no list that can be read"),
            (["[" * 5000 + "]", ""], "no list that can be read"),
            (["[" + "a ," * 5000 + "[]", ""], "no list that can be read"),
        ],
    )
    def test_never_silently_wrong(self, convert, tmp_path, capsys, cells, message):
        self.read(convert, tmp_path, cells, status=1)
        error = capsys.readouterr().err
        assert message in error and "--list_separator" in error

    @pytest.mark.parametrize(
        ("separator", "expected"), [(" ", ["a,b c", "[d]"]), (",", ["a b_c", "[d]"]), ("::", ["a,b_c", "[d]"])]
    )
    def test_the_user_decides(self, convert, tmp_path, separator, expected):
        assert self.read(convert, tmp_path, ["a,b c", "[d]"], f"--list_separator={separator}") == expected

    @pytest.mark.parametrize("cell", ["1,x", "1e999", "nan", "[null]", "9" * 5000])
    def test_sequences_of_numbers(self, convert, tmp_path, capsys, cell):
        assert self.read(convert, tmp_path, ["1.5,2", "3"], kind="float_seq") == ["1.5 2.0", "3.0"]
        self.read(
            convert, tmp_path, ["1,2" if cell[0] != "[" else "[1]", cell], "--overwrite", kind="float_seq", status=1
        )
        assert "line 3, column `l`" in capsys.readouterr().err

    def read(self, convert, tmp_path, cells, *options, kind="token_seq", status=0):
        table = pd.DataFrame(
            {"user_id": "a", "item_id": [f"i{n}" for n in range(len(cells))], "timestamp": range(len(cells))}
        )
        table.assign(l=cells).to_csv(tmp_path / "mine.csv", index=False)
        folder = convert(tmp_path / "mine.csv", "--columns", f"l:{kind}", *options, status=status)
        return None if status else [line.split("\t")[3] for line in lines(folder, ".inter")[1:]]


class TestSequences:
    """A row is a user and all that the user met."""

    SEQUENCES = {"007": ["v1", "猫", "v1"], "b": ["w"], "10": ["v1", "w", "猫", "v1"]}

    @pytest.mark.parametrize(
        ("name", "join", "options"),
        [
            ("mine_pairs.tsv", "{}\t{}".format, []),
            ("mine.tsv", "{}\t{}".format, ["--sequences", "--no_header", "--user=1", "--item=2"]),
            ("mine.csv", "{},{}".format, ["--sequences", "--no_header", "--user=1", "--item=2"]),
            ("mine.dat", "{}::{}".format, ["--sequences", "--no_header", "--user=1", "--item=2", "--separator=::"]),
        ],
    )
    def test_text(self, convert, tmp_path, name, join, options):
        rows = [join(user, " ".join(items)) for user, items in self.SEQUENCES.items()]
        (tmp_path / name).write_text("\n".join(rows) + "\n", encoding="utf-8")
        folder = convert(tmp_path / name, "--name=mine", *options)
        assert recbole_sequences(recbole_dataset(folder.parent, "mine")) == self.SEQUENCES
        assert our_sequences(folder.parent, "mine") == self.SEQUENCES
        assert not (folder / "mine.times.npy").exists()

    @pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
    def test_lists_of_columns_with_names(self, convert, tmp_path, suffix):
        table = pd.DataFrame({"who": list(self.SEQUENCES), "history": list(self.SEQUENCES.values())})
        if suffix == ".csv":
            table["history"] = table["history"].map(str)  # ['v1', '猫', 'v1']
        convert(write(tmp_path, table, suffix), "--sequences", "--user=who", "--item=history")
        assert our_sequences(tmp_path / "dataset", "mine") == self.SEQUENCES

    def test_a_table_of_that_name_with_a_header_is_a_table(self, convert, tmp_path):
        (tmp_path / "mine_pairs.tsv").write_text("user_id\titem_id\na\tx\na\ty\n")
        convert(tmp_path / "mine_pairs.tsv", "--name=mine", "--no_time")
        assert recbole_sequences(recbole_dataset(tmp_path / "dataset", "mine")) == {"a": ["x", "y"]}

    def test_microlens_reads_the_same(self, convert, tmp_path):
        rng = np.random.default_rng(0)
        text = "".join(f"{user}\t{' '.join(map(str, rng.integers(1, 30, 6)))}\n" for user in rng.permutation(40))
        (tmp_path / "MicroLens-50k_pairs.tsv").write_text(text)
        (tmp_path / "other_pairs.tsv").write_text(text)
        convert(tmp_path / "other_pairs.tsv", "--name=mine")
        assert main(["microlens", str(tmp_path), "--out", str(tmp_path / "dataset")]) == 0
        assert our_sequences(tmp_path / "dataset", "mine") == our_sequences(tmp_path / "dataset", "microlens-50k")

    def test_incomplete_rows_and_filters(self, convert, tmp_path):
        (tmp_path / "mine_pairs.tsv").write_text("a\tx y x\nb\t\n\tz\nc\tx\n")
        folder = convert(tmp_path / "mine_pairs.tsv", "--name=mine", "--drop_incomplete", "--repeats=first")
        assert recbole_sequences(recbole_dataset(folder.parent, "mine")) == {"a": ["x", "y"], "c": ["x"]}
        [incomplete, repeats] = json.loads((folder / "mine.card.json").read_text())["steps"]
        assert (incomplete["before"], incomplete["after"], repeats["after"]) == (4, 2, 3)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("a\tx y\nb\tx\na\tz\n", "line 3: user `a` has a sequence already, `"),
            ("a\tx y\nb\tx NA\n", "line 2: the id `NA` in column `2` cannot be a token"),
            ("a\tx y\nb\tx,y\n", "line 2, column `2`: `x,y` is a list with commas, but `x y` one with blanks"),
            ("a\tx y\nb\n", "line 2: 1 columns where the first line has 2"),
            ("a\tx y\nb\t\n", "line 2: no `2`; mend the row"),
        ],
    )
    def test_faults(self, convert, tmp_path, capsys, text, message):
        (tmp_path / "mine_pairs.tsv").write_text(text)
        convert(tmp_path / "mine_pairs.tsv", "--name=mine", status=1)
        told = capsys.readouterr()
        assert message in told.err and not told.out

    def test_further_columns_of_a_file_that_is_taken_for_sequences(self, convert, tmp_path, capsys):
        (tmp_path / "mine_pairs.tsv").write_text("a\tx y\n")
        convert(tmp_path / "mine_pairs.tsv", "--name=mine", "--columns", "x:float", status=1)
        assert "`--sequences` have no --columns" in capsys.readouterr().err

    def test_real_sequences(self, convert, tmp_path, real_data):
        """A part of Short-Video as the authors of CVA use it."""
        with (real_data / "shortvideo" / "ShortVideo-Dataset_pairs.tsv").open() as file:
            raw = [line for line, _ in zip(file, range(200), strict=False)]
        (tmp_path / "ShortVideo-Dataset_pairs.tsv").write_text("".join(raw))
        convert(tmp_path / "ShortVideo-Dataset_pairs.tsv", "--name=mine")
        expected = {user: items.split() for user, items in (line.split("\t") for line in raw)}
        assert our_sequences(tmp_path / "dataset", "mine") == expected


class TestCounts:
    """Views and likes of one's own, for labels of popularity."""

    TABLE = "id,name,seen,likes\nb,two,20,\na,one,10,3\nz,none,5,5\na,one,10,3\n"

    def convert_it(self, convert, tmp_path, *options, **more):
        (tmp_path / "mine.csv").write_text("user_id,item_id,timestamp\nu,b,1\nu,a,2\nv,a,5\nv,c,6\n")
        (tmp_path / "items.csv").write_text(self.TABLE)
        return convert(tmp_path / "mine.csv", f"--items={tmp_path / 'items.csv'}", "--item_id=id", *options, **more)

    def test_counts_are_of_items_with_interactions_by_id(self, convert, tmp_path, capsys):
        folder = self.convert_it(convert, tmp_path, "--counts", "views=seen", "likes")
        assert lines(folder, ".counts") == ["item_id:token\tviews:float\tlikes:float", "a\t10\t3", "b\t20\t"]
        following = (
            capsys.readouterr().out.splitlines()[-1].removeprefix("Next: python -m recbole_video.dataset_tools ")
        )
        assert main([*shlex.split(following), "--shares", "1", "0", "0"]) == 0
        assert (folder / "mine.views-log2_1p.popularity").is_file()
        kept = json.loads((folder / "mine.views-log2_1p.popularity.json").read_text())
        told = capsys.readouterr().out
        assert kept["settings"]["split"]["kind"] == "temporal" and "; split: temporal" in told
        place = f"--data_path={folder.parent} --label=views-log2_1p"  # and no number that a model could read
        assert told.endswith(f"\nNext: python run_recbole_video.py --dataset=mine {place} --model=Constant\n")
        assert not (folder / "mine.item").exists()

    def test_without_times_no_hour_is_proposed(self, convert, tmp_path, capsys):
        columns = ("--item_columns", "length:float=likes")
        (tmp_path / "mine.csv").write_text("user_id,item_id\nu,b\nv,a\nw,z\n")
        (tmp_path / "items.csv").write_text("id,name,seen,likes\nb,two,20,1\na,one,10,3\nz,none,5,5\n")
        place = f"--items={tmp_path / 'items.csv'}"
        folder = convert(tmp_path / "mine.csv", place, "--item_id=id", "--counts", "views=seen", "--no_time", *columns)
        command = ["label", "mine", "--data_path", str(folder.parent), "--source=views", "--transform=log1p"]
        assert main([*command, "--split=random", "--shares", "0.4", "0.3", "0.3"]) == 0
        assert capsys.readouterr().out.endswith('--model=MetadataGBDT --metadata_numeric="[length]"\n')

    def test_labels_are_made_of_them(self, convert, tmp_path):
        folder = self.convert_it(convert, tmp_path, "--counts", "views=seen", "--item_columns", "title:text=name")
        command = ["label", "mine", "--data_path", str(folder.parent), "--source=views", "--transform=log2_1p"]
        assert main([*command, "--shares", "1", "0", "0"]) == 0
        table = pd.read_csv(folder / "mine.views-log2_1p.popularity", sep="\t")
        assert table["label:float"].tolist() == pytest.approx(np.log2([11, 21]), abs=1e-6)
        assert table["time:float"].tolist() == [1, 0]

    def test_a_count_that_models_may_read_is_warned_of(self, convert, tmp_path):
        options = ["--counts", "views=seen", "--item_columns", "views:float=seen"]
        folder = self.convert_it(convert, tmp_path, *options)
        assert lines(folder, ".item")[1:] == ["b\t20", "a\t10", "c\t"]
        warnings = json.loads((folder / "mine.card.json").read_text())["warnings"]
        assert any("`seen` is both a count and a column of .item" in warning for warning in warnings)

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("id,seen\na,many\n", "line 2, column `seen`: `many` is not a number"),
            ("id,seen\na,1\na,2\n", "line 3: `a` is there a second time, with other values"),
            ("id,views\na,1\n", "has no column `seen`; it has `id`, `views`.\n"),
            ("key,seen\na,1\n", "has no column `id`; it has `key`, `seen`; name the right one by --item_id=COLUMN."),
            ("id,seen\nz,1\n", "items.csv` counts nothing of the items that have interactions"),
        ],
    )
    def test_faults(self, convert, tmp_path, capsys, table, message):
        self.TABLE = table
        self.convert_it(convert, tmp_path, "--counts", "views=seen", status=1)
        assert message in capsys.readouterr().err
