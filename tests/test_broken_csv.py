"""Broken csv: what is sound is copied, what is not is read as a person would read it, and counted."""

import csv
import io
import sys

import numpy as np
import pytest
from recbole_video.dataset_tools.raw.broken_csv import Layout, Tally, mend, read_blocks, read_csv_header
from recbole_video.dataset_tools.raw.csv_tables import read_tables

from recbole_video.errors import DataError, MissingDependencyError

COLUMNS = ("user", "size", "flag", "tag", "title", "hour", "city")
LAYOUT = Layout(COLUMNS, "title", {"user": "key", "size": "number", "flag": "flag", "hour": "int"})


def write(path, text, encoding="utf-8"):
    path.write_bytes((",".join(COLUMNS) + "\n" + text).encode(encoding))
    return path


def records(path, layout=LAYOUT, block_bytes=1 << 24):
    """All records by Python's csv module, from the mended blocks, and the tally."""
    tally, rows = Tally(), []
    for block in read_blocks(path, layout, block_bytes):
        mended, counts = mend(block, layout)
        tally.add(counts)
        rows += list(csv.reader(io.StringIO(mended.decode(), newline="")))
    return rows, tally


def titles(rows):
    return [row[4] for row in rows]


class TestOneRecord:
    @pytest.mark.parametrize(
        ("line", "title", "counted"),
        [
            ("1,2.5,True,a,plain,7,X\n", "plain", None),
            ("1,2.5,True,a,,7,X\n", "", None),
            ('1,2.5,True,a,"one, two",7,X\n', "one, two", None),
            ('1,2.5,True,a,"he said ""hi""",7,X\n', 'he said "hi"', None),
            ('1,2.5,True,a,he said "hi",7,X\n', 'he said "hi"', None),
            ('1,2.5,True,a,"one\n\ntwo, three",7,X\n', "one\n\ntwo, three", "multi_line"),
            ("1,2.5,True,a,one, two, three,7,X\n", "one, two, three", "bare_commas"),
            ('1,2.5,True,a,"open, never closed,7,X\n', '"open, never closed', "broken_quotes"),
            ('1,2.5,True,a,"wow" he said,7,X\n', '"wow" he said', "broken_quotes"),
            ('1,2.5,True,a,"a" and "b", c,7,X\n', '"a" and "b", c', "broken_quotes"),
            ("1,2.5,True,a,one\ntwo, three,7,X\n", "one\ntwo, three", "bare_breaks"),
            ('1,2.5,True,a,"one\ntwo "three,7,X\n', '"one\ntwo "three', "bare_breaks"),
            ('1,2.5,True,"x, y",one, two,7,X\n', "one, two", "bare_commas"),
            ("1,2.5,True,a,1,2,3,4,5,7,X\n", "1,2,3,4,5", "bare_commas"),
            ("1,2.5,True,a,a\rb,7,X\n", "a\rb", "bare_breaks"),
        ],
    )
    def test_is_read(self, tmp_path, line, title, counted):
        path = write(tmp_path / "a.csv", line + "2,1,False,b,next,8,Y\n")
        rows, tally = records(path)
        assert titles(rows) == [title, "next"] and [row[0] for row in rows] == ["1", "2"]
        assert rows[0][:3] == ["1", "2.5", "True"] and rows[0][5:] == ["7", "X"]
        counts = {k: v for k, v in vars(tally).items() if v and k != "records"}
        assert tally.records == 2 and counts == ({counted: 1} if counted else {})

    def test_two_broken_quotes_do_not_swallow_what_is_between(self, tmp_path):
        """The second quote makes a record of the right width for a csv parser: three of four records would vanish."""
        lines = ['1,1,True,a,"open,7,X', "2,1,True,a,fine,7,X", "3,1,True,a,fine,7,X", '4,1,True,a,"open,7,X']
        path = write(tmp_path / "a.csv", "\n".join(lines) + "\n")
        plain = list(csv.reader(path.open(newline="")))
        assert len(plain) == 2 and len(plain[1]) == len(COLUMNS)
        rows, tally = records(path)
        assert [row[0] for row in rows] == ["1", "2", "3", "4"] and tally.broken_quotes == 2

    @pytest.mark.parametrize("line", ["just words", "1,2.5,True,a,no end", "1,2.5,True,a,t,7"])
    def test_unreadable_lines_are_counted_and_placed(self, tmp_path, line):
        path = write(tmp_path / "a.csv", f"1,1,True,a,t,7,X\n\n{line}\n2,1,True,a,t,7,X\n")
        rows, tally = records(path)
        assert [row[0] for row in rows] == ["1", "2"]
        assert (tally.records, tally.unreadable, tally.first_unreadable) == (2, 1, 4)


class TestFile:
    def test_crlf_and_byte_order_mark(self, tmp_path):
        text = '1,1,True,a,t,7,X\r\n2,1,True,a,"u\r\nv",7,X\r\n'
        path = tmp_path / "a.csv"
        path.write_bytes(b"\xef\xbb\xbf" + ",".join(COLUMNS).encode() + b"\r\n" + text.encode())
        assert read_csv_header(path) == COLUMNS
        rows, tally = records(path)
        assert titles(rows) == ["t", "u\nv"] and rows[0][6] == "X" and tally.multi_line == 1

    def test_last_line_without_end(self, tmp_path):
        rows, _ = records(write(tmp_path / "a.csv", "1,1,True,a,t,7,X\n2,1,True,a,u, v,7,X"))
        assert titles(rows) == ["t", "u, v"]

    def test_wrong_bytes_are_replaced_and_counted(self, tmp_path):
        path = write(tmp_path / "a.csv", 'a,1\n1,1,True,a,"\xe9",7,X\n', "latin-1")
        rows, tally = records(path)
        assert titles(rows) == ["\ufffd"] and tally.not_utf8 == 1 and tally.unreadable == 1
        assert tally.first_not_utf8 == 3

    def test_a_title_longer_than_the_csv_module_allows(self, tmp_path):
        long = "x, " * 60_000
        [block] = read_blocks(write(tmp_path / "a.csv", f'1,1,True,a,"{long}",7,X\n'), LAYOUT)
        mended, tally = mend(block, LAYOUT)
        assert mended.decode() == f'1,1,True,a,"{long}",7,X\n' and tally == Tally(records=1)
        assert csv.field_size_limit() == 131_072

    def test_a_file_without_lines(self, tmp_path):
        path = tmp_path / "a.csv"
        path.write_bytes(b"user\n" + b"x" * 5000)
        with pytest.raises(DataError, match=r"a.csv`, line 2 is over [\d,]+ bytes long; is this a csv file"):
            list(read_blocks(path, LAYOUT, block_bytes=1000))

    def test_an_endless_record_does_not_grow_in_memory(self, tmp_path):
        text = '1,1,True,a,"open,7,X' + "\nnothing but words" * 2000 + "\n2,1,True,a,t,7,X\n"
        path = write(tmp_path / "a.csv", text)
        blocks = list(read_blocks(path, LAYOUT, block_bytes=1000))
        assert max(len(block.data) for block in blocks) < 6000
        rows, tally = records(path, block_bytes=1000)
        assert [row[0] for row in rows] == ["1", "2"] and tally.unreadable == 2000 and tally.first_unreadable == 3

    def test_missing_and_empty(self, tmp_path):
        with pytest.raises(DataError, match=r"absent.csv` cannot be read: No such file"):
            read_csv_header(tmp_path / "absent.csv")
        (tmp_path / "wide.csv").write_bytes("user,title\n".encode("utf-16"))
        with pytest.raises(DataError, match=r"wide.csv` is not text in UTF-8 \(it is UTF-16\)"):
            read_csv_header(tmp_path / "wide.csv")
        (tmp_path / "long.csv").write_text("x" * 200_000)
        with pytest.raises(DataError, match=r"long.csv`, line 1: field larger than field limit"):
            read_csv_header(tmp_path / "long.csv")
        (tmp_path / "empty.csv").write_text("")
        with pytest.raises(DataError, match=r"empty.csv` has no header"):
            read_csv_header(tmp_path / "empty.csv")


def random_file(rng, n):
    """Lines of a broken csv, and the records that they stand for."""
    lines, expected = [], []
    words = ["", "word", "two words", "词,语", 'a "b" c', "x,y,z", "up\ndown", '"quoted" start', "tail\n\nmore, of it"]
    for number in range(n):
        title = words[rng.integers(len(words))]
        row = [str(number), f"{rng.random():.3f}", ("True", "False")[rng.integers(2)], "tag", title, "7", "城市"]
        sound = io.StringIO()
        csv.writer(sound, lineterminator="\n").writerow(row)
        bare = ",".join(row) + "\n"
        lines.append(bare if rng.random() < 0.3 else sound.getvalue())
        expected.append(row)
    return "".join(lines), expected


@pytest.mark.parametrize("block_bytes", [97, 500, 1 << 20])
def test_random_files_are_read_back_whatever_the_block(tmp_path, block_bytes):
    text, expected = random_file(np.random.default_rng(3), 400)
    rows, tally = records(write(tmp_path / "a.csv", text), block_bytes=block_bytes)
    assert rows == expected
    assert tally.records == 400 and tally.unreadable == 0 and tally.bare_commas and tally.bare_breaks


class TestTables:
    @pytest.fixture(autouse=True)
    def needs_pyarrow(self):
        pytest.importorskip("pyarrow", reason="needs the extra `data`")

    def read(self, path, columns, **options):
        """Column -> all values, the tally, and the bytes that progress told of."""
        import pyarrow as pa

        sizes, tally = [], Tally()
        table = pa.concat_tables(read_tables(path, LAYOUT, columns, tally, sizes.append, **options))
        return {name: table.column(name).to_pylist() for name in columns}, tally, sum(sizes)

    def test_types_and_empty_cells(self, tmp_path):
        text = "7,2.5,TRUE,a,t,7,X\n8,,0,,u, v,,X\n"
        columns = ("user", "size", "flag", "tag", "title", "hour")
        found, tally, n_bytes = self.read(write(tmp_path / "a.csv", text), columns)
        assert found == {
            "user": [7, 8], "size": [2.5, None], "flag": [True, False], "tag": ["a", ""], "title": ["t", "u, v"],
            "hour": [7, None],
        }  # fmt: skip
        assert n_bytes == len(text) and tally.bare_commas == 1

    @pytest.mark.parametrize("line", ["x1,1,True,a,t,7,X", ",1,True,a,t,7,X", "1,1,maybe,a,t,7,X"])
    def test_a_line_that_only_looks_sound_is_left_out_and_counted(self, tmp_path, line):
        path = write(tmp_path / "a.csv", f"7,1,True,a,t,7,X\n{line}\n8,1,True,a,t,7,X\n")
        found, tally, _ = self.read(path, ("user", "flag"))
        assert found["user"] == [7, 8]
        assert (tally.records, tally.unreadable, tally.first_unreadable) == (2, 1, 3)

    def test_such_lines_are_searched_in_ever_smaller_parts(self, tmp_path, monkeypatch):
        """What is read line by line is a small part of the file, and nothing is lost or counted twice."""
        from recbole_video.dataset_tools.raw import csv_tables

        lines = [f"{n},1,True,a,{'one, two' if n % 7 == 0 else 't'},7,X".encode() for n in range(2000)]
        lines[700] = b"bad,1,True,a,t,7,X"
        lines[1100] = b"1100,1,True,a,\xff,7,X"
        path = tmp_path / "a.csv"
        path.write_bytes(b"\n".join([",".join(COLUMNS).encode(), *lines, b""]))
        careful = []
        original = csv_tables.mend

        def mend_and_note(block, layout, **options):
            if options.get("careful"):
                careful.append(len(block.data))
            return original(block, layout, **options)

        monkeypatch.setattr(csv_tables, "mend", mend_and_note)
        monkeypatch.setattr(csv_tables, "_CAREFUL_BYTES", 500)
        found, tally, n_bytes = self.read(path, ("user", "title"))
        assert found["user"] == [n for n in range(2000) if n != 700] and found["title"][1099] == "\ufffd"
        assert (tally.records, tally.unreadable, tally.first_unreadable) == (1999, 1, 702)
        assert tally.not_utf8 == 1 and tally.bare_commas == len([n for n in range(2000) if n % 7 == 0 and n != 700])
        assert 0 < sum(careful) < 2000 < n_bytes == path.stat().st_size - len(",".join(COLUMNS)) - 1

    def test_a_number_that_is_too_large_is_an_error(self, tmp_path):
        path = write(tmp_path / "a.csv", f"7,1,True,a,t,7,X\n{10**30},1,True,a,t,7,X\n")
        with pytest.raises(DataError, match=r"line 3: column `user`, .*int64.*; mend or remove the record"):
            self.read(path, ("user",))
        path = write(tmp_path / "a.csv", f"7,1,True,a,t,7,X\n8,1,True,a,t,{10**30},X\n")
        with pytest.raises(DataError, match=r"a.csv`, line 3: column `hour`, .*int64"):
            self.read(path, ("flag", "hour", "user"))

    @pytest.mark.parametrize("n_before", [0, 1, 40])
    def test_a_number_beyond_all_floats_is_named_with_its_line(self, tmp_path, n_before):
        lines = [f"{n},1,True,a,t,7,X" for n in range(n_before)]
        path = write(tmp_path / "a.csv", "\n".join([*lines, "7,1e999,True,a,t,7,X", *lines, "8,1,True,a,t,7,X"]) + "\n")
        with pytest.raises(
            DataError, match=rf"a.csv`, line {n_before + 2}: the number in `size` is beyond what a float"
        ):
            self.read(path, ("user", "size"))

    def test_without_pyarrow(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "pyarrow", None)
        with pytest.raises(MissingDependencyError, match=r"a.csv` needs pyarrow.*uv pip install -e '.\[data\]'"):
            next(read_tables(write(tmp_path / "a.csv", ""), LAYOUT, ("user",), Tally()))
