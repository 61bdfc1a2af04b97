"""Converters on damaged, hostile and merely odd input: a sentence or a whole data set, and nothing else on the disk."""

import gzip
import io
import json
import re
import tempfile
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from recbole_video.dataset_tools.__main__ import main

from recbole_video.data.atomic_file import read_columns
from recbole_video.data.text import read_media, read_text_rows

from .promises import cases, check_sentence, contents, outcome

pytest.importorskip("pyarrow", reason="needs the extra `data`")
openpyxl = pytest.importorskip("openpyxl", reason="needs the extra `data`")

# What has broken readers of data before.
HOSTILE = (
    "", " ", "NA", "nan", "inf", "-1", "-0.0", "1e999", "1e30", "9" * 400, "9" * 5000, "1_000", "１２", "True", "null",
    '"', "'", "\t", "\n", "\r", "\0", "\x1b[2J", "\u2028", "\ufeff", "\ufffd", "[PAD]", "[1, 2]", "['a', 'b c']", "a,b",
    "a b", "a|b", "{}", "[", "[" * 3000, "../../x", "/etc/x", "C:\\x", ".x", "=1+1", "<script>", "x" * 70_000, "é",
    "👩‍⚕️", "2024-01-01T00:00:00+09:00", "1661000000123", str(2**63), str(-(2**63)), str(2**64), "\\ud800",
)  # fmt: skip
# Bytes that are no UTF-8, or of other kinds of files.
BYTES = (
    b"\xff", b"\xed\xa0\x80", b"\xff\xfe", "日本".encode("gbk"), "é".encode("cp1252"), b"PK\x03\x04", b"\x1f\x8b",
    b"PAR1", b"\r\n", b",", b"\t", b"{", b"}", b'"',
)  # fmt: skip
FRAGMENTS = st.sampled_from([*(text.encode("utf-8", "surrogatepass") for text in HOSTILE), *BYTES])
BAD_NAMES = ("..", "../x", "a/b", "", " ", ".x", "a\tb", "a\nb", "n" * 300)
NAMES = st.sampled_from((*["d"] * 50, *["other", "é", "[x]"] * 3, *BAD_NAMES))
OVERWRITE = st.sampled_from((*[True] * 9, False))
CELLS = st.sampled_from(HOSTILE)
ODD_VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), CELLS, st.just(10**400), st.just("\ud800"),
    st.lists(st.one_of(CELLS, st.integers(), st.none()), max_size=2), st.dictionaries(st.just("a"), CELLS),
)  # fmt: skip


def one_in(n):
    """True once in so many draws; Hypothesis itself prefers what is small."""
    return st.sampled_from((*[False] * (n - 1), True))


@st.composite
def mutated(draw, content, most=2):
    """``content`` with some bytes changed, put in, taken out, repeated, or cells replaced."""
    for _ in range(draw(st.integers(0, most))):
        kind = draw(st.sampled_from(("cell", "cell", "put", "cut", "flip", "repeat", "end", "encode")))
        start = draw(st.integers(0, max(len(content) - 1, 0)))
        end = min(len(content), start + draw(st.integers(0, 40)))
        if kind == "cell":
            cells = list(re.finditer(rb"[^,\t\n{}:\[\]]+", content))
            if cells:
                start, end = cells[start % len(cells)].span()
            content = content[:start] + draw(FRAGMENTS) + content[end:]
        elif kind == "put":
            content = content[:start] + draw(FRAGMENTS) + content[start:]
        elif kind == "cut":
            content = content[:start] + content[end:]
        elif kind == "flip" and content:
            content = content[:start] + bytes([draw(st.integers(0, 255))]) + content[start + 1 :]
        elif kind == "repeat":
            content = content[:end] + content[start:end] * draw(st.integers(1, 50)) + content[end:]
        elif kind == "end":
            content = content[:start]
        elif kind == "encode":
            content = content.decode("utf-8", "replace").encode(
                draw(st.sampled_from(("utf-16", "gbk", "cp1252"))), "replace"
            )
    return content


def options(**choices):
    """At most three of these options, each with one of its values; None is no value."""
    words = [
        f"--{name}" if value is None else f"--{name}={value}" for name, values in choices.items() for value in values
    ]
    return st.lists(st.sampled_from(words), max_size=2)


@cache
def earlier(command, seed):
    """The files of a good conversion, which no failure may touch: name -> bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        words = [str(word).replace("RAW", str(root / "raw")) for word in WORDS[command]]
        write(root / "raw", GOOD[command]())
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            assert main([command, *words, f"--out={root / 'out'}", "--name=d"]) == 0
        return {path.name: path.read_bytes() for path in (root / "out" / "d").iterdir()}


def write(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def check(command, files, words, name, overwrite):
    """Convert; a failure is a sentence and changes nothing, a success is a data set that can be read."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "raw", files)
        write(root / "out" / "d", {**earlier(command, 0), "notes.txt": b"of the user"})
        before = contents(root)
        said, told = io.StringIO(), io.StringIO()
        words = [str(word).replace("RAW", str(root / "raw")) for word in words]
        call = [command, *words, f"--out={root / 'out'}", f"--name={name}", *(["--overwrite"] if overwrite else [])]
        with redirect_stdout(told), redirect_stderr(said):
            status = outcome(run, call)
        after = contents(root)
        event(f"{command} ended with {status}")
        if status:
            assert after == before and not told.getvalue(), (status, said.getvalue())
            assert status in (1, 2)
            last = said.getvalue().strip().rpartition("\nDataError: ")[2] if status == 1 else "options"
            check_sentence(last)
            return said.getvalue()
        check_readable(root / "out" / name, name)
        changed = {path for path in after if after.get(path) != before.get(path)}
        assert all(path == f"out/{name}" or path.startswith(f"out/{name}/{name}.") for path in changed), changed
        assert set(before) - set(after) <= {f"out/{name}/{file}" for file in earlier(command, 0)}
        return ""


def run(words):
    try:
        return main(words)
    except SystemExit as end:  # argparse
        return end.code


def check_readable(folder, name):
    ids = {}
    for suffix, key in ((".inter", "item_id"), (".item", "item_id"), (".user", "user_id"), (".counts", "item_id")):
        path = folder / f"{name}{suffix}"
        if suffix == ".inter" or path.is_file():
            frame = read_columns(path, None, set(), may_be_empty=lambda field: field not in ("user_id", "item_id"))
            assert len(frame), path
            ids[suffix] = set(frame[key])
    assert ids[".inter"] <= ids.get(".item", ids[".inter"])
    if (folder / f"{name}.text.jsonl").is_file():
        list(read_text_rows(folder / f"{name}.text.jsonl"))
        read_media(folder / f"{name}.text.jsonl")
    if (folder / f"{name}.times.npy").is_file():
        assert len(np.load(folder / f"{name}.times.npy")) == len(
            read_columns(folder / f"{name}.inter", None, set(), may_be_empty=bool)
        )
    json.loads((folder / f"{name}.card.json").read_text(encoding="utf-8"))


# -- generic --

ROWS = [("a", "x", 1700000000, 1.5, "p q"), ("a", "y", 1700000100, None, ""), ("b", "x", 1700000050, 2.0, "q")]
KEYS = ("user_id", "item_id", "timestamp", "seconds", "tags")


def generic_files():
    lines = [",".join(KEYS), *(",".join("" if cell is None else str(cell) for cell in row) for row in ROWS)]
    return {"t.csv": ("\n".join(lines) + "\n").encode(), "items.csv": b"item_id,name,size\nx,one,1\ny,two,\n"}


@st.composite
def generic_cases(draw):
    """Files and the words that convert them."""
    kind = draw(st.sampled_from(("csv", "csv.gz", "tsv", "jsonl", "parquet", "dat")))
    files = generic_files()
    rows = [[draw(CELLS) if draw(one_in(30)) else cell for cell in row] for row in ROWS]
    if kind == "jsonl":
        odd = st.sampled_from(
            ["x", 1, 2.5, None, True, ["a"], [1, 2.5], {}, [[1]], float("nan"), float("inf"), 10**400, "\ud800"]
        )
        rows = [[draw(odd) if draw(one_in(15)) else cell for cell in row] for row in rows]
        text = "".join(
            json.dumps({k: v for k, v in zip(KEYS, row, strict=True) if v is not None}) + "\n" for row in rows
        )
        content = text.encode()
    elif kind == "parquet":
        content = draw(parquet(rows))
    else:
        separator = {"tsv": "\t", "dat": "::"}.get(kind, ",")
        text = [KEYS, *rows]
        content = "\n".join(separator.join("" if c is None else str(c) for c in row) for row in text).encode(
            "utf-8", "replace"
        )
    if kind == "csv.gz":
        content = gzip.compress(content, mtime=0)
    del files["t.csv"]
    files[f"t.{kind}"] = draw(mutated(content))
    if draw(st.booleans()):
        files["items.csv"] = draw(mutated(files["items.csv"]))
    words = [f"RAW/t.{kind}", *(["--separator=::"] if kind == "dat" else [])]
    words += draw(GENERIC_OPTIONS)
    pairs = f"RAW/t_pairs.{kind}"
    if draw(one_in(4)):
        files[pairs.removeprefix("RAW/")] = files.pop(f"t.{kind}")
        words[0] = pairs
    if draw(st.booleans()):
        words += ["--columns", *draw(st.lists(st.sampled_from(GENERIC_COLUMNS), min_size=1, max_size=2))]
    if draw(st.booleans()):
        words += [
            "--items",
            "RAW/items.csv",
            "--item_columns",
            *draw(st.sampled_from(ITEM_COLUMNS)),
            *draw(st.sampled_from(([], ["--counts", "views=size"], ["--counts", "size", "n=name"]))),
        ]
    return files, words


GENERIC_COLUMNS = (
    "seconds:float", "seconds:token", "seconds:float_seq", "tags:token_seq", "tags:float_seq", "tags:token",
    "a\tb:token=tags", "a:b:token=tags", "x:token=user_id", "n:float=timestamp", "tags", "\n:float=tags",
    '"q":token=tags',
)  # fmt: skip
ITEM_COLUMNS = (["title:text=name"], ["size:float"], ["name:token", "size:token_seq"])
GENERIC_OPTIONS = options(
    time_unit=["ms", "us", "ns", "iso", "s"], sequences=[None], no_time=[None],
    drop_incomplete=[None], no_header=[None], no_quotes=[None],
    separator=["", ",", "\\t", "::", '"', "\n", " "], encoding=["gbk", "utf-16", "cp1252", "base64", "x\0"],
    list_separator=[" ", ",", "|", ""], min_user=["2", "-1", str(10**30)], min_item=["2"], repeats=["first", "last"],
    user=["item_id", "tags", "1"],
)  # fmt: skip


@st.composite
def parquet(draw, rows):
    """A parquet file of these rows; columns of mixed values become text, some become lists."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    columns = {}
    for name, cells in zip(KEYS, zip(*rows, strict=True), strict=True):
        is_numeric = all(isinstance(cell, (int, float, type(None))) for cell in cells)
        columns[name] = list(cells) if is_numeric else [str(cell) for cell in cells]
    if draw(one_in(3)):
        columns["tags"] = [["a", "b c"], None, []]
    if draw(one_in(3)):
        columns["seconds"] = [[1.0, None], [2], None]
    found = io.BytesIO()
    pq.write_table(pa.table(columns), found)
    return found.getvalue()


# -- microlens --


def microlens_files():
    pairs = "user,item,timestamp\n1,3,1661000000123\n1,1,1661000005123\n2,1,1661100000001\n2,2,1661100003000\n"
    features = io.BytesIO()
    np.save(features, np.ones((3, 4), dtype=np.float32))
    return {
        "MicroLens-50k_pairs.csv": pairs.encode(),
        "MicroLens-50k_pairs.tsv": b"1\t3 1\n2\t1 2\n",
        "MicroLens-50k_titles.csv": b'item,title\n1,plain\n2,"one, two"\n3, \n',
        "MicroLens-50k_likes_and_views.txt": b"1\t10\t20\n3\t4\t50\n",
        "MicroLens-50k_comments_en.txt": b"1\t3\tso funny\n2\t1\tx\n",
        "tags_to_summary.csv": b"1,Food\n2,Pets\n",
        "x_features_A.npy": features.getvalue(),
        "x_features_B.json": b'{"1": [1, 2.5], "2": [3, 4], "3": [0, 0]}',
    }


MICROLENS_OPTIONS = options(
    features=["RAW/x_features_A.npy", "RAW/x_features_B.json", "../x=RAW/x_features_A.npy", "=RAW/x_features_A.npy"],
    fill_titles=["RAW/MicroLens-50k_titles.csv", "RAW", "RAW/none"], titles=["RAW/tags_to_summary.csv"],
    implausible_counts=["drop"], with_counts=[None], min_user=["2", "100"], min_item=["2"], one_pass=[None],
    repeats=["first"], size=["50k", "1M"],
)  # fmt: skip

# -- shortvideo --

HEADER = (
    "user_id,pid,author_id,category_id,category_level,parent_id,root_id,exposed_time,author_fans_count,watch_time,duration,"
    "cvm_like,click,comment,follow,collect,forward,hate,tag_name,title,p_hour,p_date,gender,age,mod_price,fre_city,"
    "fre_community_type,fre_city_level"
)
FLAGS = "False,True,False,False,True,False,False"
EXPOSURE = f"7,12,501,3,1,3,3,16633{{:05d}},40,46,91.9,{FLAGS},做饭,{{}},11,20220916,M,42,1899,上海,x,y"


def shortvideo_files():
    rows = [EXPOSURE.format(n, title) for n, title in enumerate(("简单", '"a, b"', "a, b", '"open', "", "x"))]
    feature = io.BytesIO()
    np.save(feature, np.ones((8, 256), dtype=np.float32))
    return {
        "interaction.csv": "\n".join((HEADER, *rows, "")).encode(),
        "map.csv": b"pid,media\n12,13\n",
        "categories_cn_en.csv": b"category_id,category_name_en\n3,Food\n",
        "f/12.npy": feature.getvalue(),
        "f/13.npy": feature.getvalue(),
        "f/13.txt": "说话".encode(),
    }


SHORTVIDEO_OPTIONS = options(
    id_map=["RAW/map.csv", "RAW/none"], categories=["RAW/categories_cn_en.csv"], features=["RAW/f"], asr=["RAW/f"],
    preset=["all", "cva"], effective_view=["1", "nan", "1e999", "x"], positive=["click", "cvm_like,hate", "x"],
    min_item=["1", "2"], min_user=["1", "5"], repeats=["last"], iterate=[None], order=["users_first"],
)  # fmt: skip

# -- smpd --


def smpd_records():
    post = {"pid": "P1", "uid": "U1", "post_content": "a,b", "post_location": "US", "post_suggested_words": ["x y"],
            "post_text_language": "en", "video_path": "train/U1/V1.mp4", "post_time": "2023-01-05 10:30"}  # fmt: skip
    counts = ("following", "follower", "likes", "video", "digg", "heart", "friend")
    user = {"uid": "U1", **{f"user_{name}_count": 10 + n for n, name in enumerate(counts)}}
    video = {"pid": "P1", "video_height": 1024, "video_width": 5, "video_duration": 2, "video_ratio": "540p",
             "video_format": "mp4", "music_title": "la", "music_duration": 8}  # fmt: skip
    return {
        "posts_train": [post, {**post, "pid": "P2"}],
        "posts_test": [{**post, "pid": "P3", "uid": "U2"}],
        "users_train": [user],
        "videos_train": [video],
        "popularity_train": [{"pid": "P1", "popularity": 1.5}, {"pid": "P2", "popularity": 3}],
    }


def smpd_files(tables=None):
    tables = tables or smpd_records()
    return {f"{n}.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode() for n, rows in tables.items()}


@st.composite
def smpd_cases(draw):
    tables = smpd_records()
    for rows in tables.values():
        for row in rows:
            for key in list(row):
                if draw(one_in(40)):
                    if draw(st.booleans()):
                        del row[key]
                    else:
                        row[key] = draw(ODD_VALUES)
    files = smpd_files(tables)
    if draw(st.booleans()):
        name = draw(st.sampled_from(sorted(files)))
        files[name] = draw(mutated(files[name]))
    return files


# -- informs --

SHEET = (
    "identifier", "video_id", "author_id", "video_create_date", "video_description", "author_follower_count",
    "video_comment_count", "video_heart_count", "video_play_count", "video_share_count",
)  # fmt: skip
VIDEOS = [(n, f"'730000000000000000{n}'", 11 + n, 1700000000 + n, "try this", 1200, 3, 50, 900, n) for n in range(1, 4)]


def book(rows, columns=SHEET):
    sheets = openpyxl.Workbook()
    for row in (columns, *rows):
        sheets.active.append(list(row))
    found = io.BytesIO()
    sheets.save(found)
    return found.getvalue()


@cache
def _informs():
    return {
        "training.xlsx": book(VIDEOS[:2]),
        "testing.xlsx": book([row[:6] for row in VIDEOS[2:]], SHEET[:6]),
        "testing_set_with_labels.xlsx": book(VIDEOS[2:]),
    }


def informs_files():
    return dict(_informs())


DOCTYPES = (
    b'<!DOCTYPE x [<!ENTITY a "aaaa">]>',
    b'<!DOCTYPE x SYSTEM "file:///etc/passwd">',
    b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 1000 + b'"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
)


@st.composite
def informs_cases(draw):
    files = informs_files()
    name = draw(st.sampled_from(sorted(files)))
    kind = draw(st.sampled_from(("cells", "cells", "part", "lost part", "doctype", "bytes")))
    if kind == "cells":
        cells = st.one_of(CELLS, st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False))
        rows = [[draw(cells) if draw(one_in(12)) else cell for cell in row] for row in VIDEOS]
        clean = [
            [c if not isinstance(c, str) else re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", c)[:9000] for c in row]
            for row in rows
        ]
        files[name] = book(clean)
    elif kind == "bytes":
        files[name] = draw(mutated(files[name]))
    else:
        files[name] = rezipped(files[name], draw, kind)
    return files


def _for_excel(cell):
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "?", cell)[:9000] if isinstance(cell, str) else cell


def rezipped(content, draw, kind):
    found = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(found, "w", zipfile.ZIP_DEFLATED) as new:
        target = draw(st.sampled_from(sorted(old.namelist())))
        for part in old.namelist():
            data = old.read(part)
            if part == target and kind == "part":
                data = draw(mutated(data))
            elif part == target and kind == "doctype":
                head, _, rest = (
                    data.partition(b"?>") if data.startswith(b"<?xml") else (b"<?xml version='1.0'", b"", data)
                )
                data = head + b"?>" + draw(st.sampled_from(DOCTYPES)) + rest
            if part != target or kind != "lost part":
                new.writestr(part, data)
    return found.getvalue()


INFORMS_OPTIONS = options(
    valid_share=["0", "0.9", "nan", "1", "x"], missing_videos=["drop"], videos=["RAW", "/nowhere"]
)

# -- vk-lsvd --


def vk_lsvd_files(change=lambda name, value: value):
    """Three weeks and what lies beside them; ``change`` has a hand in each column."""

    def table(columns):
        found = io.BytesIO()
        pq.write_table(pa.table({name: change(name, values) for name, values in columns.items()}), found)
        return found.getvalue()

    import pyarrow as pa
    from pyarrow import parquet as pq

    names = ("like", "dislike", "share", "bookmark", "click_on_author", "open_comments")
    flags = {name: [True, False] for name in names}
    week = {"place": [0, 1], "platform": [1, 1], "agent": [2, 3], "timespent": [10, 255], **flags}
    parts = {"train/week_24": [7, 8], "validation/week_25": [8, 7], "test/week_26": [7, 7]}
    files = {
        f"s/{name}.parquet": table({"user_id": users, "item_id": [n, n + 1], **week})
        for n, (name, users) in enumerate(parts.items(), start=1)
    }
    files["metadata/users_metadata.parquet"] = table(
        {"user_id": [7, 8], "age": [20, 30], "gender": [1, 2], "geo": [3, 3]}
    )
    files["metadata/items_metadata.parquet"] = table(
        {"item_id": [1, 2, 3], "author_id": [5, 5, 6], "duration": [9, 9, 9]}
    )
    vectors = io.BytesIO()
    np.savez(vectors, item_id=np.array([1, 2, 4]), embedding=np.ones((3, 4), dtype=np.float16))
    return {**files, "metadata/item_embeddings.npz": vectors.getvalue()}


@st.composite
def vk_lsvd_cases(draw):
    if draw(st.booleans()):
        return draw(with_one_changed(vk_lsvd_files))
    odd = st.sampled_from(([None, 1], [1.5, 2.0], ["a", "b"], [[1], [2]], [True, None], [-1, 2**62], [], None))

    def change(name, values):
        found = draw(odd) if draw(one_in(20)) else values
        return values if found is None else (found * len(values))[: len(values)] if found else [None] * len(values)

    return vk_lsvd_files(change)


VK_LSVD_OPTIONS = options(
    positive=["like", "share"], watched=["10", "1e9", "nan", "-1", "x"], metadata=["RAW/metadata", "RAW", "/nowhere"],
    min_user=["2", "9"], min_item=["2"], repeats=["first"],
)  # fmt: skip

GOOD = {
    "vk-lsvd": vk_lsvd_files,
    "generic": generic_files,
    "microlens": microlens_files,
    "shortvideo": shortvideo_files,
    "smpd": smpd_files,
    "informs": informs_files,
}
WORDS = {
    "vk-lsvd": ["RAW/s"],
    "generic": [
        "RAW/t.csv",
        "--columns",
        "seconds:float",
        "--items",
        "RAW/items.csv",
        "--item_columns",
        "title:text=name",
    ],
    "microlens": ["RAW", "--features=RAW/x_features_A.npy"],
    "shortvideo": ["RAW", "--preset=all"],
    "smpd": ["RAW"],
    "informs": ["RAW"],
}


def with_one_changed(files):
    """One or two of the files mutated."""

    @st.composite
    def changed(draw):
        content = files()
        for name in draw(st.lists(st.sampled_from(sorted(content)), min_size=1, max_size=2, unique=True)):
            content[name] = draw(mutated(content[name]))
        if draw(one_in(8)):
            del content[draw(st.sampled_from(sorted(content)))]
        return content

    return changed()


@cases(12)
@given(generic_cases(), NAMES, OVERWRITE)
def test_generic(case, name, overwrite):
    files, words = case
    check("generic", files, words, name, overwrite)


@cases(12)
@given(with_one_changed(microlens_files), MICROLENS_OPTIONS, NAMES, OVERWRITE)
def test_microlens(files, words, name, overwrite):
    check("microlens", files, ["RAW", *words], name, overwrite)


@cases(12)
@given(with_one_changed(shortvideo_files), SHORTVIDEO_OPTIONS, NAMES, OVERWRITE)
def test_shortvideo(files, words, name, overwrite):
    check("shortvideo", files, ["RAW/interaction.csv", *words], name, overwrite)


@cases(12)
@given(smpd_cases(), options(empty_text=["x", ""], videos=["RAW"]), NAMES, OVERWRITE)
def test_smpd(files, words, name, overwrite):
    check("smpd", files, ["RAW", *words], name, overwrite)


@cases(12)
@given(informs_cases(), INFORMS_OPTIONS, NAMES, OVERWRITE)
def test_informs(files, words, name, overwrite):
    check("informs", files, ["RAW", *words], name, overwrite)


@cases(12)
@given(vk_lsvd_cases(), VK_LSVD_OPTIONS, NAMES, OVERWRITE)
def test_vk_lsvd(files, words, name, overwrite):
    check("vk-lsvd", files, ["RAW/s", *words], name, overwrite)
