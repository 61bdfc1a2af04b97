"""Frame store, frame table and item tower."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from recbole_video import FrameStore, write_frame_store
from recbole_video.content.items import ItemContent
from recbole_video.content.store import FrameBlock, digest, store_path, write_frame_blocks
from recbole_video.content.table import ContentTable
from recbole_video.content.twins import Twins, find_twins, row_keys
from recbole_video.errors import ConfigError, DataError, DeviceMemoryError
from recbole_video.item_encoders import MLP
from recbole_video.item_encoders.id_fusion import IdFusion
from recbole_video.recommendation.tower import ItemTower

CPU = torch.device("cpu")


def make_store(folder, n=6, n_frames=4, dim=5, counts=None):
    frames = np.random.default_rng(0).normal(size=(n, n_frames, dim))
    counts = [4, 1, 2, 3, 4, 4][:n] if counts is None else counts
    store = write_frame_store(folder / "x.frames.npy", list("abcdef")[:n], frames, counts, vfm="m", sampling="s")
    return store, frames.astype(np.float16)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def table(store, tokens="[PAD] c a f", **options):
    return ContentTable(store, np.array(tokens.split()), CPU, **options)


class TestStore:
    def test_round_trip(self, tmp_path):
        _, frames = make_store(tmp_path)
        store = FrameStore(tmp_path / "x.frames.npy")
        assert store.items == list("abcdef") and store.frame_counts.tolist() == [4, 1, 2, 3, 4, 4]
        for row, count in enumerate(store.frame_counts):
            assert np.array_equal(store.frames[row, :count], frames[row, :count])
            assert not store.frames[row, count:].any()
        assert isinstance(store.frames, np.memmap) and store.frames.dtype == np.float16
        store.verify()

    def test_damage_is_found(self, tmp_path):
        make_store(tmp_path)
        path = tmp_path / "x.frames.npy"
        content = bytearray(path.read_bytes())
        content[-30] ^= 1
        path.write_bytes(content)
        with pytest.raises(DataError, match="damaged"):
            FrameStore(path).verify()

    def test_truncated_file(self, tmp_path):
        make_store(tmp_path)
        path = tmp_path / "x.frames.npy"
        path.write_bytes(path.read_bytes()[:150])
        with pytest.raises(DataError, match="cannot be read"):
            FrameStore(path)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"frame_dim": 6}, r"shape \(6, 4, 5\), but its manifest says \(6, 4, 6\)"),
            ({"n_frames": 3}, "its manifest says"),
            ({"items": list("abcde")}, "its manifest says"),
            ({"items": list("abcdea")}, "lists item `a` twice"),
            ({"frame_counts": [9] * 6}, "frame count between 0 and 4"),
            ({"version": 99}, "format version 99"),
            ({"colour": "red"}, "is not the manifest of a frame store"),
            ({"frame_counts": [True] * 6}, "frame_counts are not a list of whole numbers"),
            ({"frame_counts": "444444"}, "frame_counts are not a list of whole numbers"),
            ({"frame_counts": [-1, 1, 2, 3, 4, 4]}, "frame count between 0 and 4"),
            ({"frame_counts": [10**40, 1, 2, 3, 4, 4]}, "frame count between 0 and 4"),
            ({"frame_counts": [4]}, "one frame count .* for each of its 6 items"),
            ({"n_frames": 10**40}, "n_frames is no whole number from 0"),
            ({"n_frames": 4.0}, "n_frames is no whole number from 0"),
            ({"frame_dim": -5}, "frame_dim is no whole number from 0"),
            ({"items": "abcdef"}, "items are not a list of texts"),
            ({"items": ["a", "b", "c", "d", "e", ""]}, "cannot hold an item named ``"),
            ({"items": None}, "items are not a list of texts"),
            ({"sha256": 1}, "sha256 is no text"),
            ({"vfm": None}, "vfm is no text"),
            ({"extra": []}, "extra is no set of names and values"),
            ({"version": "1"}, "version is no whole number"),
        ],
    )
    def test_manifest_that_does_not_match(self, tmp_path, changed, message):
        make_store(tmp_path)
        path = tmp_path / "x.frames.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changed}))
        with pytest.raises(DataError, match=message):
            FrameStore(tmp_path / "x.frames.npy")

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("[1]", "is not the manifest"),
            ("null", "is not the manifest"),
            ("[" * 100_000, "nested too deeply"),
            ('{"version": 1, "n_frames": ' + "9" * 5000 + "}", "holds a number that cannot be used"),
            ('{"vfm": 1e999}', "holds a number that cannot be used"),
            (b'{"vfm": "\xff"}', "is not text in UTF-8"),
            ('{"vfm": "\\ud800"}', "half of a surrogate pair"),
        ],
    )
    def test_manifest_that_is_none(self, tmp_path, text, message):
        make_store(tmp_path)
        (tmp_path / "x.frames.json").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(DataError, match=message):
            FrameStore(tmp_path / "x.frames.npy")

    def test_missing_files(self, tmp_path):
        with pytest.raises(DataError, match=r"no `.*y\.frames\.npy`.*dataset_tools"):
            FrameStore(tmp_path / "y.frames.npy")

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (np.nan, "item `b` hold NaN or infinity"),
            (np.inf, "item `b` hold NaN or infinity"),
            (1e6, "item `b` hold values beyond float16, 65,504; scale them down"),
        ],
    )
    def test_values_that_float16_cannot_hold(self, tmp_path, value, message):
        frames = np.zeros((2, 1, 3))
        frames[1, 0, 1] = value
        with pytest.raises(DataError, match=message):
            write_frame_store(tmp_path / "x.frames.npy", ["a", "b"], frames, vfm="m", sampling="s")
        assert not list(tmp_path.glob("x.*"))

    def test_overwriting_that_breaks_off_leaves_the_old_store(self, tmp_path, monkeypatch):
        store, frames = make_store(tmp_path)
        before = contents(tmp_path)

        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr("recbole_video.content.store._write_manifest", fail)
        with pytest.raises(KeyboardInterrupt):
            write_frame_store(store.path, store.items, -frames, vfm="m", sampling="s")
        assert contents(tmp_path) == before
        FrameStore(store.path).verify()

    def test_blocks_in_any_order_make_the_same_files(self, tmp_path):
        store, frames = make_store(tmp_path)
        counts = store.frame_counts
        order = [np.array([4, 5]), np.array([2, 0, 1]), np.array([3])]
        blocks = [FrameBlock(rows, frames[rows][:, : counts[rows].max()], counts[rows]) for rows in order]
        (tmp_path / "y").mkdir()
        write_frame_blocks(tmp_path / "y" / "x.frames.npy", list("abcdef"), 4, 5, iter(blocks), vfm="m", sampling="s")
        for name in ("x.frames.npy", "x.frames.json"):
            assert (tmp_path / name).read_bytes() == (tmp_path / "y" / name).read_bytes()

    def test_the_array_is_what_numpy_writes(self, tmp_path):
        store, frames = make_store(tmp_path)
        frames[np.arange(4) >= store.frame_counts[:, None]] = 0
        np.save(tmp_path / "plain.npy", frames)
        assert (tmp_path / "plain.npy").read_bytes() == (tmp_path / "x.frames.npy").read_bytes()

    @pytest.mark.parametrize(
        ("rows", "shape", "message"),
        [
            ([[0, 1]], (2, 3, 5), "No frames were given for 1 of the items"),
            ([[0, 1], [1, 2]], (2, 3, 5), "given twice"),
            ([[0, 2, 2, 1]], (4, 3, 5), "given twice"),
            ([[0, 1, 2]], (3, 5, 5), r"must be \[3, at most 4, 5\], not \[3, 5, 5\]"),
            ([[0, 1, 2]], (3, 3, 6), r"must be \[3, at most 4, 5\], not \[3, 3, 6\]"),
        ],
    )
    def test_blocks_that_do_not_make_a_store(self, tmp_path, rows, shape, message):
        """What was there before stays."""
        store, _ = make_store(tmp_path)
        blocks = [FrameBlock(np.array(r), np.zeros(shape), np.ones(len(r), int)) for r in rows]
        with pytest.raises(DataError, match=message):
            write_frame_blocks(store.path, list("abc"), 4, 5, blocks, vfm="m", sampling="s")
        FrameStore(store.path).verify()

    @pytest.mark.parametrize(("shape", "advice"), [((2, 5), r"; of one row each, give vectors\[:, None\]"), ((5,), "")])
    def test_frames_of_another_shape(self, tmp_path, shape, advice):
        with pytest.raises(DataError, match=r"of 2 items must be \[2, F, D\], not \[[\d, ]*\]" + advice + r"\.$"):
            write_frame_store(tmp_path / "x.frames.npy", ["a", "b"], np.zeros(shape), vfm="m", sampling="s")

    def test_names_of_stores(self, tmp_path):
        assert store_path("d", "ml", None).as_posix() == "d/ml.frames.npy"
        assert store_path("d", "ml", "clip").as_posix() == "d/ml.clip.frames.npy"
        assert store_path("d", "ml", "e/z.frames.npy").as_posix() == "e/z.frames.npy"


class TestTwins:
    """Items with identical vectors tie wherever they are ranked."""

    def store(self, folder, caplog, width=5):
        frames = np.random.default_rng(0).normal(size=(9, 2, width))
        frames[7], frames[5], frames[8] = frames[2], frames[2], frames[4]
        counts = [2, 2, 2, 0, 1, 2, 0, 2, 1]  # 3 and 6 have no frames, and are no twins
        tokens = list("abcdefghi")
        return write_frame_store(folder / "x.frames.npy", tokens, frames, counts, vfm="m", sampling="s")

    @pytest.mark.parametrize("width", [1, 4, 5])
    def test_whoever_writes_them_is_told_once(self, tmp_path, caplog, width):
        store = self.store(tmp_path, caplog, width)
        [record] = caplog.records
        assert "5 items of `" in record.message and "first: `c` and `f`" in record.message
        assert store.manifest.extra == {"identical_vectors": {"items": 5, "first": ["c", "f"]}}
        assert store.noted_twins == store.twins(np.arange(9)) == Twins(5, ("c", "f"))
        assert store.twins(np.array([-1, 0, 1, 2, 3, 4, 6])) is None

    def test_without_any_nothing_is_said_or_noted(self, tmp_path, caplog):
        store, _ = make_store(tmp_path)
        assert not caplog.records and store.manifest.extra == {} and store.noted_twins is None

    def test_a_run_counts_those_among_its_items(self, tmp_path, caplog, monkeypatch):
        store = self.store(tmp_path, caplog)
        assert table(store, "[PAD] i e a", on_device=True).twins() == Twins(2, ("i", "e"))
        assert table(store, "[PAD] c e a", on_device=False).twins() is None
        monkeypatch.setattr("recbole_video.content.table._CHECKED_BYTES", 0)
        assert table(store, "[PAD] c e a", on_device=False).twins() == Twins(5, ("c", "f"))

    def test_rows_are_compared_and_not_only_their_keys(self):
        rows = np.array([[1.0], [2.0], [1.0]])
        keys = np.zeros(3, np.uint64)
        assert find_twins(keys, lambda k: rows[k], str) == Twins(2, ("0", "2"))
        assert find_twins(keys[:2], lambda k: rows[k], str) is None

    def test_keys_are_those_of_the_bytes(self):
        rows = np.random.default_rng(0).integers(0, 2, (5000, 11)).astype(np.float16)
        by_bytes = len({row.tobytes() for row in rows})
        assert len(np.unique(row_keys(rows))) == by_bytes < 5000

    @pytest.mark.parametrize("note", [7, {}, {"items": "2", "first": ["a", "b"]}, {"items": 2, "first": ["a"]}])
    def test_a_note_that_is_none(self, note):
        assert Twins.from_plain(note) is None


class TestTable:
    @pytest.mark.parametrize("on_device", ["auto", True, False])
    def test_gather_by_id(self, tmp_path, on_device):
        store, frames = make_store(tmp_path)
        rows = table(store, on_device=on_device)
        assert rows.is_on_device == (on_device is not False)
        got, mask = rows.gather(torch.tensor([3, 1, 0, 1]))
        for k, item in enumerate(["f", "c", None, "c"]):
            count = 0 if item is None else int(store.frame_counts["abcdef".index(item)])
            assert mask[k].tolist() == [position < count for position in range(4)]
            if item:
                want = torch.from_numpy(frames["abcdef".index(item), :count]).float()
                assert torch.equal(got[k, :count], want)
            assert not got[k, count:].any()

    def test_auto_leaves_frames_on_disk_when_they_are_large(self, tmp_path, monkeypatch):
        monkeypatch.setattr("recbole_video.content.table._free_memory", lambda device: 4 * 4 * 5 * 2 * 4 - 1)
        assert not table(make_store(tmp_path)[0]).is_on_device
        monkeypatch.setattr("recbole_video.content.table._free_memory", lambda device: 4 * 4 * 5 * 2 * 4)
        assert table(make_store(tmp_path)[0]).is_on_device

    def test_out_of_memory_names_the_option(self, tmp_path, monkeypatch):
        store, _ = make_store(tmp_path)

        def fail(*_, **__):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(torch.Tensor, "to", fail)
        with pytest.raises(DeviceMemoryError, match="frames_on_device=False"):
            ContentTable._load(_bare_table(store))

    @pytest.mark.parametrize("on_device", [True, False])
    @pytest.mark.parametrize("rubbish", [7, np.nan])
    def test_nothing_is_read_behind_the_last_frame(self, tmp_path, on_device, rubbish):
        """Another program's store need not hold zeros there."""
        store, _ = make_store(tmp_path)
        expected = table(store, on_device=on_device).gather(torch.tensor([2, 1, 0, 3]))
        raw = np.load(store.path)
        raw[np.arange(4) >= store.frame_counts[:, None]] = rubbish
        np.save(store.path, raw)
        manifest = json.loads(store.path.with_suffix(".json").read_text())
        store.path.with_suffix(".json").write_text(json.dumps({**manifest, "sha256": digest(raw)}))
        other = FrameStore(store.path)
        got = table(other, on_device=on_device).gather(torch.tensor([2, 1, 0, 3]))
        assert all(map(torch.equal, got, expected))
        assert not other.read(np.array([-1, 1]))[[0, 1], 1:].any()

    @pytest.mark.parametrize("on_device", [True, False])
    def test_nan_names_the_item(self, tmp_path, on_device):
        store, _ = make_store(tmp_path)
        raw = np.load(tmp_path / "x.frames.npy")
        raw[2, 0, 0] = np.nan
        np.save(tmp_path / "x.frames.npy", raw)
        store = FrameStore(tmp_path / "x.frames.npy")
        store.verify = lambda: None
        with pytest.raises(DataError, match="1 item .first: `c`"):
            table(store, on_device=on_device).gather(torch.tensor([2, 1]))

    @pytest.mark.parametrize("on_device", [True, False])
    def test_changed_bytes_are_noticed(self, tmp_path, on_device):
        make_store(tmp_path)
        raw = np.load(tmp_path / "x.frames.npy")
        raw[2, 0, 0] += 1
        np.save(tmp_path / "x.frames.npy", raw)
        with pytest.raises(DataError, match="damaged: its checksum"):
            table(FrameStore(tmp_path / "x.frames.npy"), on_device=on_device).gather(torch.tensor([1]))

    def test_items_without_frames(self, tmp_path):
        store, _ = make_store(tmp_path, counts=[4, 1, 0, 3, 4, 4])
        with pytest.raises(DataError, match="2 items have no frames .*first: `c`, `z`"):
            table(store, "[PAD] a c z")
        frames, mask = table(store, "[PAD] a c z", zero_missing=True).gather(torch.tensor([2, 3]))
        assert not frames.any() and not mask.any()


def _bare_table(store):
    bare = ContentTable.__new__(ContentTable)
    bare.store, bare.device, bare._rows = store, CPU, np.array([-1, 0, 1])
    return bare


class _Counting(MLP):
    """An encoder that remembers how many items each call encoded."""

    def __init__(self, *args):
        super().__init__(*args)
        self.calls = []

    def forward(self, frames, mask):
        self.calls.append(len(frames))
        return super().forward(frames, mask)


class TestTower:
    @pytest.fixture
    def tower(self, tmp_path):
        torch.manual_seed(0)
        frames = table(make_store(tmp_path)[0], "[PAD] a b c d e f")
        return ItemTower(
            _Counting(5, 3), ItemContent({"frames": frames}), n_items=7, item_dim=3, extra=torch.ones(1, 3), chunk=4
        )

    def encoded(self, tower, ids):
        return tower.encoder(*tower.content.tables["frames"].gather(torch.tensor(ids))) / 3**0.5

    def test_weight_in_chunks(self, tower):
        tower.eval()
        with torch.no_grad():
            weight = tower.weight
            assert tower.encoder.calls == [4, 2]
            assert tower.weight is weight and len(tower.encoder.calls) == 2
            torch.testing.assert_close(weight[1:7], self.encoded(tower, [1, 2, 3, 4, 5, 6]))
        assert not weight[0].any() and torch.equal(weight[7], torch.ones(3))

    def test_lookup_of_any_shape(self, tower):
        ids = torch.tensor([[1, 0, 7], [5, 5, 2]])
        for training in (True, False):
            tower.train(training)
            with torch.set_grad_enabled(training):
                torch.testing.assert_close(tower(ids), tower.weight[ids])

    def test_encode_once_serves_the_step(self, tower):
        with tower.encode_once(torch.tensor([2, 5])) as step:
            tower(torch.tensor([2, 2, 0])), tower(torch.tensor([5, 7]))
            assert tower.encoder.calls == [2]
            torch.testing.assert_close(step.vectors, self.encoded(tower, [2, 5]))
            assert step.column(torch.tensor([5, 0, 2])).tolist() == [1, -1, 0]

    def test_an_id_that_was_not_announced_is_an_error(self, tower):
        with tower.encode_once(torch.tensor([2, 5])), pytest.raises(IndexError):
            tower(torch.tensor([3]))

    def test_the_step_ends_with_its_block(self, tower):
        with pytest.raises(RuntimeError, match="stop"), tower.encode_once(torch.tensor([2])):
            raise RuntimeError("stop")
        tower(torch.tensor([3]))

    @pytest.mark.parametrize("change", ["train", "eval", "load"])
    @torch.no_grad()
    def test_catalogue_is_dropped_when_weights_may_have_changed(self, tower, change):
        tower.eval()
        before = tower.weight.clone()
        state = {k: v + 1 for k, v in tower.state_dict().items()}
        if change == "load":
            tower.load_state_dict(state)
        else:
            for parameter in tower.parameters():
                parameter += 1
            getattr(tower, change)()
        assert not torch.allclose(tower.weight[1:], before[1:])

    def test_gradient_through_the_whole_catalogue(self, tower):
        tower.weight.sum().backward()
        assert all(p.grad is not None for p in tower.parameters())

    def test_frames_are_not_in_the_state(self, tower):
        assert set(tower.state_dict()) == {"extra", *(f"encoder.{k}" for k in tower.encoder.state_dict())}

    def test_attribute_error_inside_weight_is_not_hidden(self, tower):
        class Broken(nn.Module):
            def forward(self, frames, mask):
                return self.absent

        tower.encoder = Broken()
        with pytest.raises(RuntimeError, match="absent"):
            tower.weight  # noqa: B018


class TestIdFusion:
    @pytest.mark.parametrize("mode", ["sum", "gate"])
    def test_untrained_item_keeps_its_content_alone(self, mode):
        fusion = IdFusion(4, 3, mode, 0.5, torch.tensor([False, True, False, True])).eval()
        content = torch.randn(2, 3)
        fused = fusion(content, torch.tensor([1, 2]))
        assert torch.equal(fused[1], content[1]) and not torch.equal(fused[0], content[0])

    def test_sum_and_gate_by_hand(self):
        trained, content, ids = torch.ones(4, dtype=torch.bool), torch.randn(2, 3), torch.tensor([1, 3])
        plain = IdFusion(4, 3, "sum", 0.0, trained)
        torch.testing.assert_close(plain(content, ids), content + plain.table.weight[ids])
        gated = IdFusion(4, 3, "gate", 0.0, trained)
        vector = gated.table.weight[ids]
        gate = torch.sigmoid(torch.cat([content, vector], 1) @ gated.gate.weight.T + gated.gate.bias)
        torch.testing.assert_close(gated(content, ids), content + gate * vector)

    def test_dropout_hides_whole_vectors_in_training_only(self):
        fusion = IdFusion(1001, 3, "sum", 0.3, torch.ones(1001, dtype=torch.bool))
        ids, content = torch.arange(1, 1001), torch.zeros(1000, 3)
        hidden = (fusion(content, ids) == 0).all(dim=1)
        assert hidden.float().mean() == pytest.approx(0.3, abs=0.05)
        assert not (fusion.eval()(content, ids) == 0).any()


def test_a_manifest_knows_no_nan(tmp_path):
    """A note that is not a number is null, and the store is read; as are manifests of earlier versions with NaN."""
    path = tmp_path / "a.frames.npy"
    write_frame_store(path, ["a"], np.ones((1, 1, 2)), vfm="m", sampling="s", loss=float("nan"))
    assert FrameStore(path).manifest.extra == {"loss": None}
    manifest = path.with_suffix(".json")
    manifest.write_text(manifest.read_text().replace("null", "NaN"))
    assert FrameStore(path).manifest.extra == {"loss": None}


def test_a_manifest_that_nobody_could_read_is_not_written(tmp_path):
    path = tmp_path / "a.frames.npy"
    write_frame_store(path, ["a"], np.ones((1, 1, 2)), vfm="m", sampling="s")
    with pytest.raises(DataError, match="its vfm is no text"):
        write_frame_store(path, ["b"], np.ones((1, 1, 2)), vfm=7, sampling="s")
    assert FrameStore(path).items == ["a"]


def write(path, items=("a", "b"), frames=np.ones((2, 1, 3))):  # noqa: B008 - it is only read
    return write_frame_store(path, items, frames, vfm="m", sampling="s")


class TestWhatIsGiven:
    @pytest.mark.parametrize(
        ("items", "message"),
        [
            ({"a", "b"}, "`items` is a set, which has no order"),
            ({"a": 1, "b": 2}.keys(), "`items` is a dict_keys, which has no order"),
            ({"a": 1, "b": 2}, "`items` is a dict and no list of ids"),
            ("ab", "`items` is a str and no list of ids"),
            (np.array([["a"], ["b"]]), "`items` is a ndarray and no list of ids"),
            (3, "`items` is a int and no list of ids"),
            (["a", ""], "holds `` .number 1, counted from 0., which is empty"),
            (["a", " "], "which is empty"),
            (["a", "x\ny"], r"holds `x\\ny` .number 1.*, which holds a line break"),
            (["a\tb", "b"], r"holds `a\\tb` .number 0.*, which holds a line break, a tab"),
            (["a", None], "holds `None` .number 1.*, which is no id"),
            (["a", ["b"]], "which is no id"),
            ([True, False], "which is no id"),
        ],
    )
    def test_items_without_order_or_name(self, tmp_path, items, message):
        with pytest.raises(DataError, match=message):
            write(tmp_path / "x.frames.npy", items)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("items", [np.array([3, 10]), torch.tensor([3, 10]), iter(["3", "10"]), (3, 10)])
    def test_items_with_an_order(self, tmp_path, items):
        assert write(tmp_path / "x.frames.npy", items).items == ["3", "10"]

    @pytest.mark.parametrize(
        ("frames", "message"),
        [
            (np.ones((2, 1, 3)) * 1j, "`frames` is no array of numbers: it holds complex numbers"),
            (torch.ones(2, 1, 3) * 1j, "`frames` is no array of numbers: it holds complex numbers"),
            (np.full((2, 1, 3), "1.5"), "`frames` is no array of numbers: it holds text"),
            (np.full((2, 1, 3), "1.5", object), "`frames` is no array of numbers: it holds text"),
            (np.full((2, 1, 3), "2020-01-01", "M8[D]"), "values of type datetime64"),
            ([[[1.0]], [[1.0], [2.0]]], "give the same number of them for each video"),
            ([torch.ones(1, 3), torch.ones(2, 3)], "give the same number of them for each video"),
        ],
    )
    @pytest.mark.filterwarnings("error")
    def test_frames_that_are_no_numbers(self, tmp_path, frames, message):
        with pytest.raises(DataError, match=message):
            write(tmp_path / "x.frames.npy", frames=frames)
        if isinstance(frames, np.ndarray):
            block = FrameBlock(np.arange(2), frames, np.ones(2, int))
            with pytest.raises(DataError, match=message):
                write_frame_blocks(tmp_path / "x.frames.npy", ["a", "b"], 1, 3, [block], vfm="m", sampling="s")

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
    def test_tensors(self, tmp_path, dtype):
        frames = torch.arange(6).reshape(2, 1, 3).to(dtype)
        np.testing.assert_array_equal(write(tmp_path / "x.frames.npy", frames=frames).frames.ravel(), np.arange(6))
        write(tmp_path / "x.frames.npy", frames=list(frames.requires_grad_(dtype.is_floating_point)))


class TestFilesOfTheUser:
    def test_are_not_replaced(self, tmp_path):
        path = tmp_path / "u.frames.npy"
        np.save(path, np.arange(3))
        with pytest.raises(DataError, match=r"u.frames.npy` is there and is not of a frame store"):
            write(path)
        np.testing.assert_array_equal(np.load(path), np.arange(3))
        (tmp_path / "v.frames.json").write_text('{"mine": 1}')
        with pytest.raises(DataError, match=r"v.frames.json` is there and is not of a frame store"):
            write(tmp_path / "v.frames.npy")
        assert sorted(file.name for file in tmp_path.iterdir()) == ["u.frames.npy", "v.frames.json"]

    @pytest.mark.parametrize("name", ["x.frames.npy", "x.frames.json"])
    def test_damaged_stores_are(self, tmp_path, name):
        write(tmp_path / "x.frames.npy")
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:20])
        write(tmp_path / "x.frames.npy").verify()

    def test_home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        write("~/zz.frames.npy")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["zz.frames.json", "zz.frames.npy"]
        assert FrameStore("~/zz.frames.npy").items == ["a", "b"]
        assert store_path("d", "ml", "~/z.frames.npy") == tmp_path / "z.frames.npy"

    @pytest.mark.parametrize("name", ["..", "a/b", "x\ny"])
    def test_stores_of_no_plain_name(self, name):
        with pytest.raises(ConfigError, match="is neither a word, for `ml.WORD.frames.npy`"):
            store_path("d", "ml", name)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "it is no set of names and values"),
        ({"items": "x"}, "it lacks `frame_counts`, `n_frames`, `frame_dim`, `vfm`, `sampling`, `sha256`"),
        ({"more": 1}, "it has `more`, which no manifest has"),
    ],
)
def test_manifests_with_other_keys(tmp_path, content, message):
    path = write(tmp_path / "x.frames.npy").path.with_suffix(".json")
    whole = json.loads(path.read_text())
    path.write_text(json.dumps({**whole, **content} if "more" in content else content))
    with pytest.raises(DataError, match=message):
        FrameStore(tmp_path / "x.frames.npy")
