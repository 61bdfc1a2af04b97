"""Options and columns of ``label``: labels that can be read, or one sentence and nothing changed."""

import contextlib
import io
import json
import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from recbole_video.dataset_tools.__main__ import main
from recbole_video.dataset_tools.popularity.labels import SCALINGS, TRANSFORMS
from recbole_video.dataset_tools.popularity.presets import PRESETS
from recbole_video.dataset_tools.popularity.splits import KINDS

from recbole_video.data.atomic_file import read_columns

ITEMS = ["a", "b", "c", "d", "e", "é"]
numbers = st.floats().map(repr) | st.integers(-3, 10).map(str) | st.sampled_from(["1e308", "-0", "", "5e-324", "x"])
counts = st.sampled_from(["0", "1", "3", "7", "1000", "", "1e308", "-1", "0.5"])
sound_shares = st.sampled_from(
    [["0.5", "0.25", "0.25"], ["1", "0", "0"], ["0.6", "0", "0.4"], ["0.34", "0.33", "0.33"]]
)
shares = sound_shares | st.lists(numbers, min_size=3, max_size=3)
seeds = st.integers(-1, 50) | st.sampled_from([2**32 - 1, 2**32, 2**64, 10**30])
sources = st.sampled_from(["views", "likes", "interactions", "kind", "split", "comments", "", "é"])
names = st.text(max_size=6) | st.sampled_from(["..", "a/b", "x" * 300, "a\tb", "l"])
options = st.fixed_dictionaries(
    {},
    optional={
        "preset": st.sampled_from([*PRESETS, "mmrb"]).map(lambda v: [v]),
        "source": st.lists(sources, min_size=1, max_size=3),
        "transform": st.sampled_from(list(TRANSFORMS)).map(lambda v: [v]),
        "scaling": st.sampled_from(SCALINGS).map(lambda v: [v]),
        "top": numbers.map(lambda v: [v]),
        "cap": numbers.map(lambda v: [v]),
        "fitted_on": st.sampled_from(["train", "all"]).map(lambda v: [v]),
        "split": st.sampled_from(KINDS).map(lambda v: [v]),
        "shares": shares,
        "seed": st.lists(seeds.map(str), min_size=1, max_size=3),
        "drawn_first": st.sampled_from(["valid", "test"]).map(lambda v: [v]),
        "label_name": names.map(lambda v: [v]),
        "overwrite": st.just([]),
    },
)
cell = st.tuples(counts, counts, st.sampled_from(["train", "valid", "test", "dev", ""]))
tables = st.fixed_dictionaries(
    {
        "rows": st.lists(cell, min_size=1, max_size=6),
        "times": st.lists(st.sampled_from(["0", "1", "5", "1e9"]), min_size=1, max_size=8),
        "has_counts": st.booleans() | st.just(True),
        "twice": st.sampled_from([False, False, False, True]),
    }
)


def write_tables(folder, tables):
    rows = [(item, *row) for item, row in zip(ITEMS, tables["rows"], strict=False)]
    if tables["twice"]:
        rows.append(rows[0])
    inter = [f"u\t{ITEMS[i % len(ITEMS)]}\t{time}" for i, time in enumerate(tables["times"])]
    header = "user_id:token\titem_id:token\ttimestamp:float"
    (folder / "d.inter").write_text("\n".join([header, *inter]) + "\n", encoding="utf-8")
    items = [
        "item_id:token\tsplit:token\tviews:float",
        *(f"{item}\t{split or 'train'}\t1" for item, _, _, split in rows),
    ]
    (folder / "d.item").write_text("\n".join(items) + "\n", encoding="utf-8")
    if tables["has_counts"]:
        header = "item_id:token\tviews:float\tlikes:float\tkind:token"
        lines = [header, *(f"{item}\t{views}\t{likes}\t{kind}" for item, views, likes, kind in rows)]
        (folder / "d.counts").write_text("\n".join(lines) + "\n", encoding="utf-8")


def run(words):
    """Exit status and what was printed; argparse ends the program itself."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return main(words), out.getvalue(), err.getvalue()
        except SystemExit as end:
            return end.code, out.getvalue(), err.getvalue()


@given(options, tables)
def test_labels(options, tables):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "d"
        folder.mkdir()
        write_tables(folder, tables)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        words = [word for key, values in options.items() for word in (f"--{key}", *values)]
        status, _, error = run(["label", "d", f"--data_path={name}", *words])
        after = {path.name: path.read_bytes() for path in folder.iterdir()}
        assert before.items() <= after.items() and [path.name for path in Path(name).iterdir()] == ["d"]
        if status:
            assert after == before and status in (1, 2) and error and "Traceback" not in error
            return
        [record, table] = sorted(set(after) - set(before), key=len, reverse=True)
        assert record == f"{table}.json" and not table.startswith(".")
        values = read_columns(folder / table, None, set(), may_be_empty=lambda field: True)
        assert set(values["split"]) <= {"train", "valid", "test", ""} and (values["split"] == "train").any()
        assert not np.isinf(values["label"]).any()
        assert ((values["split"] == "") == values["label"].isna()).all()
        labels = json.loads(after[record])["labels"]
        assert sum(part["items"] for part in labels.values()) == values["label"].notna().sum()
