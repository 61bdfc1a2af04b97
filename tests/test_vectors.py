"""``vectors``: arrays and tables of one's own as frame stores, and what is refused of them."""

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main, overview
from recbole_video.dataset_tools.raw import tables

from recbole_video import write_frame_store
from recbole_video.cli import main as recbole_video
from recbole_video.config import Config
from recbole_video.content.store import FrameStore

from .conftest import prepared

IDS = ["007", "v,1", "猫", "it's", "5"]


@pytest.fixture
def folder(in_tmp):
    """The folder of the data set `mine`, whose clicks are of all items but the last."""
    folder = in_tmp / "dataset" / "mine"
    folder.mkdir(parents=True)
    views = [f"u{user}\t{item}\t{t}.0" for user in range(3) for t, item in enumerate(IDS[:4] * 3)]
    text = "\n".join(["user_id:token\titem_id:token\ttimestamp:float", *views])
    (folder / "mine.inter").write_text(f"{text}\n", encoding="utf-8")
    Path("ids.txt").write_bytes("\r\n".join(["\ufeff007", *IDS[1:], "", ""]).encode())
    return folder


@pytest.fixture
def vectors(folder):
    """vectors(file, "--option=value") is the exit status."""
    return lambda *words: main(["vectors", *map(str, words), "--name=mine"])


def numbers(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def same(store, expected):
    """Whether two stores are the same, byte by byte, but for where they come from."""
    ours, theirs = (dict(vars(one.manifest)) for one in (store, expected))
    ours.pop("extra"), theirs.pop("extra")
    return ours == theirs and store.frames.tobytes() == expected.frames.tobytes()


class TestArrays:
    @pytest.mark.parametrize("dtype", ["<f4", ">f8", "f2", "i4"])
    def test_one_vector_of_each_item(self, folder, vectors, dtype, capsys):
        array = (10 * numbers(5, 3)).astype(dtype)
        np.save("vectors.npy", array)
        assert vectors("vectors.npy", "--ids=ids.txt", "--vfm=my-model") == 0
        expected = write_frame_store("a.frames.npy", IDS, array[:, None], vfm="my-model", sampling="none")
        store = FrameStore(folder / "mine.frames.npy")
        assert same(store, expected) and store.manifest.extra["source"] == "vectors.npy"
        assert capsys.readouterr().out.splitlines() == [
            "4 of 4 items of mine have a vector of 3 numbers; 1 vector is of no item of it.",
            "Written: dataset/mine/mine.frames.npy",
            "Next: python run_recbole_video.py --dataset=mine --item_encoder=MLP",
        ]

    def test_several_of_each_item(self, folder, vectors, capsys, caplog):
        """Zeros fill up; of zeros alone there is none, and the training leaves such an item out."""
        array = numbers(5, 4, 3)
        array[1, 2:] = array[2] = array[3, 0] = 0
        np.save("vectors.npy", array)
        assert vectors("vectors.npy", "--ids=ids.txt", "--store=many") == 0
        expected = write_frame_store("a.frames.npy", IDS, array, [4, 2, 0, 4, 4], vfm="vectors", sampling="none")
        assert same(FrameStore(folder / "mine.many.frames.npy"), expected)
        told, _, following = capsys.readouterr().out.splitlines()
        assert told.startswith("3 of 4 items of mine have up to 4 vectors of 3 numbers; 1 vector is")
        assert following == "Next: python run_recbole_video.py --dataset=mine --frame_store=many --missing_items=drop"
        assert "1 row is of zeros alone, which is no vector: `vectors.npy`, row 3 first." in caplog.text

    def test_the_next_command_runs(self, folder, vectors, capsys):
        np.save("vectors.npy", numbers(5, 3))
        Path("ids.txt").write_text("\n".join(["5", "6", "猫", "007", "v,1"]), encoding="utf-8")
        assert vectors("vectors.npy", "--ids=ids.txt", "--store=one of", "--out=dataset/../dataset") == 0
        told, written, following = capsys.readouterr().out.splitlines()
        assert told.startswith("3 of 4 items") and told.endswith("; 2 vectors are of no item of it.")
        assert written == "Written: dataset/../dataset/mine/mine.one of.frames.npy"
        _, program, *words = shlex.split(following.removeprefix("Next: "))
        assert program == "run_recbole_video.py" and words[-2:] == ["--frame_store=one of", "--missing_items=drop"]
        prepared(Config(command_line=words))

    def test_many_blocks(self, folder, vectors, monkeypatch):
        monkeypatch.setattr("recbole_video.dataset_tools.vectors._BLOCK", 7)
        array = numbers(5, 2, 3)
        array[4, 1] = 0
        np.save("vectors.npy", array)
        assert vectors("vectors.npy", "--ids=ids.txt") == 0
        assert FrameStore(folder / "mine.frames.npy").frame_counts.tolist() == [2, 2, 2, 2, 1]

    def test_videos_that_came_later(self, folder, vectors, capsys):
        """None is of the clicks: a slip, unless they have a store of their own."""
        np.save("vectors.npy", numbers(2, 3))
        Path("ids.txt").write_text("x\ny\n")
        assert vectors("vectors.npy", "--ids=ids.txt") == 1 and not list(folder.glob("*.npy"))
        assert "None of the ids of `ids.txt`, such as `x`, is an item of `dataset/mine/mine.inter`, such as `007`" in (
            capsys.readouterr().err
        )
        assert vectors("vectors.npy", "--ids=ids.txt", "--store=new") == 0
        assert "recommend RUN_FOLDER --add_store=dataset/mine/mine.new.frames.npy" in capsys.readouterr().out

    def test_an_earlier_store(self, folder, vectors, capsys):
        for array, words, status in ((numbers(5, 3), [], 0), (numbers(5, 2), [], 1), (numbers(5, 2), ["more"], 0)):
            np.save("vectors.npy", array)
            assert vectors("vectors.npy", "--ids=ids.txt", *(["--overwrite", "--vfm=other"] if words else [])) == status
        there = "`dataset/mine/mine.frames.npy`, `dataset/mine/mine.frames.json` exist already"
        assert f"{there}; pass --overwrite to make them anew, or --store for another" in capsys.readouterr().err
        assert FrameStore(folder / "mine.frames.npy").frame_dim == 2

    def test_what_is_no_store_is_kept(self, folder, vectors, capsys):
        np.save("vectors.npy", numbers(5, 3))
        (folder / "mine.frames.npy").write_text("mine")
        assert vectors("vectors.npy", "--ids=ids.txt", "--overwrite") == 1
        assert "is not of a frame store" in capsys.readouterr().err
        assert (folder / "mine.frames.npy").read_text() == "mine"

    def test_of_a_data_set_with_counts_nothing_comes_next(self, folder, vectors, capsys):
        (folder / "mine.counts").write_text("item_id:token\tviews:float\n")
        np.save("vectors.npy", numbers(5, 3))
        assert vectors("vectors.npy", "--ids=ids.txt") == 0 and "Next" not in capsys.readouterr().out


class TestTables:
    @pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl"])
    @pytest.mark.parametrize("rows", [2, 100])
    def test_every_format(self, folder, vectors, suffix, rows, monkeypatch):
        """In chunks that are as short as many columns make them."""
        monkeypatch.setattr(tables, "_CHUNK_CELLS", rows * 5)
        array = numbers(5, 4)
        table = pd.DataFrame(array, columns=["b", "a", "d", "c"])
        table.insert(2, "video", IDS)
        if suffix == ".parquet":
            table.to_parquet("v.parquet")
        elif suffix == ".jsonl":
            table.to_json("v.jsonl", orient="records", lines=True, double_precision=15)
        else:
            table.to_csv(f"v{suffix}", index=False, sep="\t" if suffix == ".tsv" else ",")
        assert vectors(f"v{suffix}", "--item=video") == 0
        expected = write_frame_store("a.frames.npy", IDS, array[:, None], vfm="vectors", sampling="none")
        assert same(FrameStore(folder / "mine.frames.npy"), expected)

    def test_its_separator_and_encoding(self, folder, vectors):
        Path("v.csv").write_bytes("item_id;a\n5;1\n猫;2\n".encode("gbk"))
        assert vectors("v.csv", "--separator=;", "--encoding=gbk") == 0
        assert FrameStore(folder / "mine.frames.npy").items == ["5", "猫"]

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("item_id,a\n007,1\n5,x\n", "`v.csv`, line 3, column `a`: `x` is no finite number; all columns beside"),
            ("item_id,a\n007,1\n5,inf\n", "`v.csv`, line 3, column `a`: `inf` is no finite number"),
            ("item_id,a\n007,1\n5,NaN\n", "`v.csv`, line 3, column `a`: `NaN` is no finite number"),
            ('item_id,a\n007,1\n5,"1,5"\n', "`1,5` is no finite number (numbers are written with a point"),
            ("item_id,a\n007,1\n5,\n", "`v.csv`, line 3, column `a`: the cell is empty; all vectors have the same"),
            ("item_id,a\n\n007,1\n5,70000\n", "`v.csv`, line 4, of item `5`: `70000` is beyond 65,504"),
            ("item_id,a\n\n007,1\n5,1\n007,2\n", "`v.csv`, line 5: `007` is there a second time, as in line 3"),
            ("item_id,a\n007,1\n,1\n", "`v.csv`, line 3: the id `` in column `item_id` cannot be a token"),
            ("item_id,a\n007,1\n5\x07,1\n", "`v.csv`, line 3: the id `5\\x07` in column `item_id` cannot be a token"),
            ("item_id,a\n007,1\n5\n", "`v.csv`, line 3: 1 columns where the first line has 2"),
            ("item_id,a,a\n007,1,2\n", "`v.csv` has the column `a` twice"),
            ("itemid,a\n007,1\n", "no column `item_id` (did you mean `itemid`?); it has `itemid`, `a`; name the right"),
            ("item_id;a\n007;1\n", "its cells seem to be separated by `;`: give --separator=';'"),
            (",item_id,a\n0,007,1\n", "`v.csv` has a column ``, which numbers its rows; save it with index=False"),
            ("item_id\n007\n", "`v.csv` has no column beside `item_id`; give a column for each number"),
            ("item_id,a\n", "`v.csv` has no row"),
            ("", "`v.csv` is empty"),
        ],
    )
    def test_what_is_refused(self, folder, vectors, text, told, capsys):
        Path("v.csv").write_text(text)
        assert vectors("v.csv") == 1 and not list(folder.glob("*.frames.*"))
        [line] = capsys.readouterr().err.splitlines()
        assert told in line

    @pytest.mark.parametrize("write", ["to_parquet", "to_json"])
    def test_lists_in_cells(self, folder, vectors, write, monkeypatch):
        """One column of whole vectors, read in several parts, is what a column a number is."""
        monkeypatch.setattr("recbole_video.dataset_tools.raw.tables._CHUNK_ROWS", 4)
        numbers = np.random.default_rng(0).normal(size=(len(IDS), 3)).round(3)
        pd.DataFrame(numbers, columns=list("abc")).assign(item_id=IDS).to_csv("wide.csv", index=False)
        assert vectors("wide.csv") == 0
        [path] = folder.glob("*.frames.npy")
        wide = path.read_bytes()
        table = pd.DataFrame({"vector": numbers.tolist(), "item_id": IDS})
        if write == "to_json":
            table.to_json("v.jsonl", orient="records", lines=True)
        else:
            table.to_parquet("v.parquet")
        assert vectors("v.jsonl" if write == "to_json" else "v.parquet", "--overwrite") == 0
        assert path.read_bytes() == wide

    @pytest.mark.parametrize(
        ("cells", "told"),
        [
            ([[1, 2], [1, 2, 3]], "line 2, column `v`: 3 numbers, and 2 in the rows before; all vectors have the same"),
            ([[1, 2], None], "line 2, column `v`: the cell is empty; all vectors have the same length"),
            ([[1, 2], [1, None]], "line 2, column `v`: `[1, None]` is no list of finite numbers"),
            ([[1, 2], []], "line 2, column `v`: `[]` is no list of finite numbers"),
            ([["a", "b"]], "line 1, column `v`: `['a', 'b']` is no list of finite numbers"),
            (
                [[[1, 2], [3, 4]]],
                "is no list of finite numbers; of several vectors an item give an npy file, [N, F, D]",
            ),
            ([[[1, 2], [3]]], "is no list of finite numbers"),
            ([[1, 2], 3], "line 2, column `v`: `3` is no finite number"),
            ([[1, 7e4]], "beyond 65,504"),
        ],
    )
    def test_cells_that_are_no_vector(self, folder, vectors, cells, told, capsys):
        lines = [json.dumps({"item_id": item, "v": cell}) for item, cell in zip(IDS, cells, strict=False)]
        Path("v.jsonl").write_text("\n".join(lines))
        assert vectors("v.jsonl") == 1 and not list(folder.glob("*.frames.*"))
        [line] = capsys.readouterr().err.splitlines()
        assert told in line

    def test_lists_beside_other_columns(self, vectors, capsys):
        pd.DataFrame({"item_id": IDS, "vector": [[1.0, 2.0]] * 5, "n": 1}).to_parquet("v.parquet")
        assert vectors("v.parquet") == 1
        told = capsys.readouterr().err
        assert "row 1, column `vector`: a list; where a column holds whole vectors, name it by" in told
        assert vectors("v.parquet", "--vector=vector") == 0
        assert "have a vector of 2 numbers" in capsys.readouterr().out
        assert vectors("v.parquet", "--vector=vektor", "--overwrite") == 1
        assert "has no column `vektor` (did you mean `vector`?)" in capsys.readouterr().err


class TestRefused:
    @pytest.mark.parametrize(
        ("array", "told"),
        [
            (np.ones(5), "`v.npy` holds float64 of shape [5]; vectors must be numbers [N, D] or [N, F, D]"),
            (np.ones((5, 0)), "of shape [5, 0]"),
            (np.ones((5, 2), bool), "holds bool of shape [5, 2]"),
            (np.array([["a"]] * 5), "holds <U1 of shape [5, 1]"),
            (np.array([[None]] * 5), "cannot be read as an npy file: Array can't be memory-mapped"),
            (np.ones((4, 2)), "`ids.txt` has 5 ids, `007` the first, and `v.npy` 4 rows; line n must name the item of"),
            (np.array([[1, 2]] * 4 + [[1, np.nan]]), "`v.npy`, row 5, of item `5`: `nan` is no finite number; make"),
            (np.array([[1, 2]] * 4 + [[-np.inf, 0]]), "`v.npy`, row 5, of item `5`: `-inf` is no finite number"),
            (np.array([[1, 2]] * 3 + [[1, -1e6]] * 2), "row 4, of item `it's`: `-1e+06` is beyond 65,504, the most"),
        ],
    )
    def test_numbers(self, folder, vectors, array, told, capsys):
        np.save("v.npy", array)
        assert vectors("v.npy", "--ids=ids.txt") == 1 and not list(folder.glob("*.frames.*"))
        [line] = capsys.readouterr().err.splitlines()
        assert told in line

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("007\na\n007\n", "`ids.txt`, line 3: `007` is there a second time, as in line 1; keep one."),
            ("007\n\na\n", "`ids.txt`, line 2: the id `` cannot be a token: RecBole would read it as missing"),
            ("007\na\tb\nc\n", "`ids.txt`, line 2: the id `a\\tb` cannot be a token: RecBole would split it"),
            ("007\na\nNA\n", "`ids.txt`, line 3: the id `NA` cannot be a token"),
            ("007\na\r\n[PAD]", "`ids.txt`, line 3: the id `[PAD]` cannot be a token: RecBole pads with this word"),
            ("", "`ids.txt` has 0 ids and `v.npy` 3 rows"),
        ],
    )
    def test_ids(self, folder, vectors, text, told, capsys):
        np.save("v.npy", np.ones((3, 2)))
        Path("ids.txt").write_text(text)
        assert vectors("v.npy", "--ids=ids.txt") == 1 and not list(folder.glob("*.frames.*"))
        [line] = capsys.readouterr().err.splitlines()
        assert told in line

    @pytest.mark.parametrize(
        ("words", "told"),
        [
            (["v.npy"], "`v.npy` names no items; give --ids=FILE"),
            (["v.csv", "--ids=ids.txt"], "--ids is for an npy file; the ids of a table are its column --item"),
            (["v.npy", "--ids=ids.txt", "--item=a"], "--item has no effect on an npy file"),
            (["v.npy", "--ids=ids.txt", "--encoding=gbk"], "--encoding has no effect on an npy file"),
            (["v.npy", "--ids=ids.txt", "--vfm="], "--vfm is ``; give the name of the model"),
            (["v.npy", "--ids=ids.txt", "--store=../x"], "--store is `../x`, which cannot be a part of a file's name"),
            (["v.npy", "--ids=none.txt"], "There is no file `none.txt`"),
            (["none.npy", "--ids=ids.txt"], "There is no file `none.npy`"),
            (["v.pt"], "`v.pt` ends in none of .csv"),
        ],
    )
    def test_options(self, folder, vectors, words, told, capsys):
        np.save("v.npy", np.ones((5, 2)))
        Path("v.pt").write_text("x")
        assert vectors(*words) == 1 and told in capsys.readouterr().err

    def test_no_data_set(self, folder, capsys):
        np.save("v.npy", np.ones((5, 2)))
        assert main(["vectors", "v.npy", "--ids=ids.txt", "--name=mines"]) == 1
        told = capsys.readouterr().err
        assert "There is no `dataset/mines/mines.inter` (did you mean `mine`?); the clicks come first: python" in told
        assert told.endswith("dataset_tools generic CLICKS.csv --name=mines.\n")


def test_it_is_listed(capsys):
    assert recbole_video(["data", "--help"]) == 0
    assert "  vectors           vectors of your own" in capsys.readouterr().out and "vectors of your own" in overview()
