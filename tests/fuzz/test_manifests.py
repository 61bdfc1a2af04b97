"""Frame stores that something has damaged: they work, or one sentence says what is wrong."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recbole_video import FrameStore, write_frame_store
from recbole_video.content.table import ContentTable
from recbole_video.errors import RecBoleVideoError

ITEMS = ["a", "b", "é", "d"]
plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.integers(-2, 9)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from([*ITEMS, "1", "sha256"]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(
    ["items", "frame_counts", "n_frames", "frame_dim", "vfm", "sampling", "sha256", "version", "extra", "colour"]
)
near = {  # values of the right kind, which may or may not fit
    "items": st.lists(st.sampled_from([*ITEMS, "", "e"]), min_size=3, max_size=5),
    "frame_counts": st.lists(st.integers(-1, 4), min_size=3, max_size=5),
    "n_frames": st.integers(0, 4),
    "frame_dim": st.integers(0, 6),
    "extra": st.dictionaries(st.just("identical_vectors"), plain | st.just({"items": 2, "first": ["a", "b"]})),
}
changes = st.lists(keys.flatmap(lambda key: st.tuples(st.just(key), near.get(key, plain) | plain)), max_size=3)
edits = st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=4)), max_size=4)
arrays = st.tuples(
    st.sampled_from(["<f2", ">f2", "<f4", "<i2", "|u1", "<c8", "|S3", "<U2", "O", "f2,f2"]),
    st.lists(st.integers(0, 5), max_size=4),
    st.booleans(),
)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sound")
    frames = np.random.default_rng(0).normal(size=(4, 3, 5))
    write_frame_store(folder / "x.frames.npy", ITEMS, frames, [3, 1, 0, 2], vfm="m", sampling="s", more=[1])
    return folder


def works_or_says_why(folder):
    """Read all that there is to read."""
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    try:
        store = FrameStore(folder / "x.frames.npy")
        n = len(store.items)
        assert store.frames.shape == (n, store.n_frames, store.frame_dim) and len(store.frame_counts) == n
        read = store.read(np.arange(-1, n))
        assert not read[np.arange(store.n_frames) >= store.counts_of(np.arange(-1, n))[:, None]].any()
        assert store.rows_of(["no such item", *store.items]).tolist() == list(range(-1, n))
        found, _ = store.twins(np.arange(n)), store.noted_twins
        assert found is None or found.n_items > 1
        store.verify()
        for on_device in (True, False):
            tokens = np.array(["[PAD]", *store.items, "x"], dtype=object)
            table = ContentTable(store, tokens, torch.device("cpu"), on_device, zero_missing=True)
            got, mask = table.gather(torch.arange(n + 2))
            assert torch.isfinite(got).all() and not got[~mask].any() and mask.sum() == store.frame_counts.sum()
    except RecBoleVideoError as error:
        message = str(error)
        assert 0 < len(message) < 4000 and "x.frames" in message and message.isprintable()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def edited(content, changes):
    content = bytearray(content)
    for at, new in changes:
        at = at % (len(content) + 1)
        content[at : at + len(new)] = new
    return bytes(content)


@given(changes, edits, st.none() | st.integers(0, 600), edits)
def test_damaged_stores(sound, changed, manifest_edits, length, array_edits):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        shutil.copytree(sound, folder)
        path = folder / "x.frames.json"
        manifest = json.loads(path.read_text(encoding="utf-8"))
        for key, value in changed:
            manifest[key] = value
        path.write_bytes(edited(json.dumps(manifest).encode(), manifest_edits))
        array = folder / "x.frames.npy"
        array.write_bytes(edited(array.read_bytes(), array_edits)[:length])
        works_or_says_why(folder)


@given(arrays, changes)
def test_arrays_of_other_kinds(sound, array, changed):
    kind, shape, by_columns = array
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        shutil.copytree(sound, folder)
        values = np.zeros(shape, dtype=np.dtype(kind), order="F" if by_columns else "C")
        np.save(folder / "x.frames.npy", values, allow_pickle=True)
        manifest = json.loads((folder / "x.frames.json").read_text(encoding="utf-8"))
        if len(shape) == 3:
            manifest |= {"items": list("abcde")[: shape[0]], "n_frames": shape[1], "frame_dim": shape[2]}
            manifest |= {"frame_counts": [shape[1]] * shape[0]}
        (folder / "x.frames.json").write_text(json.dumps({**manifest, **dict(changed[:1])}))
        works_or_says_why(folder)
