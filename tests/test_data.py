"""From atomic files to batches: protocols, filters, malformed input."""

import logging
import re

import numpy as np
import pytest
import torch
from recbole.data.dataset import SequentialDataset

from recbole_video.data.atomic_file import read_columns, read_header
from recbole_video.data.protocols import keep_microlens, split_microlens, split_recbole
from recbole_video.data.sequence_loaders import HistoryLoader, PrefixLoader, SequenceLoader
from recbole_video.data.sequences import VideoDataset
from recbole_video.errors import ConfigError, DataError
from recbole_video.recommendation.data import load_data

from .conftest import write_dataset


def sequences_by_user(rows):
    """User -> items in order of time, from (user, item, time) rows."""
    users = {}
    for user, item, time in rows:
        users.setdefault(user, []).append((time, item))
    return {user: [item for _, item in sorted(pairs)] for user, pairs in users.items()}


def tokens(data, ids):
    return [str(data.dataset.item_tokens[i]) for i in ids]


def eval_rows(data, rows):
    """User -> (history, target) in tokens."""
    actions = data.actions
    return {
        str(data.dataset.user_tokens[actions.users[start]]): (
            tokens(data, actions.items[start : start + length]),
            tokens(data, [actions.items[start + length]])[0],
        )
        for start, length in zip(rows.start, rows.length, strict=True)
    }


def test_a_data_set_is_told_without_padding(make_config, tmp_path):
    rows = write_dataset(tmp_path, lengths=[5, 6, 7], n_items=10)
    plain = re.sub(r"\x1b\[[\d;]*m", "", str(load_data(make_config(data_path=str(tmp_path)))))
    n_items = len({item for _, item, _ in rows})
    assert plain.splitlines() == [
        "tiny",
        "The number of users: 3",
        "Average actions of users: 6.00",
        f"The number of items: {n_items}",
        f"Average actions of items: {18 / n_items:.2f}",
        "The number of inters: 18",
        f"The sparsity of the dataset: {100 - 100 * 18 / (3 * n_items):.2f}%",
        "Remain Fields: ['user_id', 'item_id', 'timestamp']",
    ]


class TestMicroLensProtocol:
    def test_windows_and_split_by_hand(self, make_config, tmp_path):
        rows = write_dataset(tmp_path, lengths=[4, 5, 13, 14, 20], n_items=30)
        data = load_data(make_config(data_path=str(tmp_path)))
        users = sequences_by_user(rows)
        test, valid = eval_rows(data, data.actions.split.test), eval_rows(data, data.actions.split.valid)
        assert set(test) == {"u1", "u2", "u3", "u4"}  # u0 has fewer than five actions
        for user, history in test.items():
            kept = users[user][-13:]  # L + 3
            assert history == (kept[:-1][-10:], kept[-1])
            assert valid[user] == (kept[:-2][-10:], kept[-2])
        train = {
            str(data.dataset.user_tokens[data.actions.users[s]]): tokens(data, data.actions.items[s : s + n])
            for s, n in zip(data.actions.split.train.start, data.actions.split.train.length, strict=True)
        }
        assert train == {user: users[user][-13:-2] for user in test}

    def test_catalogue_is_what_the_windows_hold(self, make_config, tmp_path):
        rows = write_dataset(tmp_path, lengths=[20], n_items=20)
        data = load_data(make_config(data_path=str(tmp_path)))
        assert sorted(tokens(data, range(1, data.dataset.item_num))) == sorted(sequences_by_user(rows)["u0"][-13:])

    def test_what_is_left_out_is_counted_and_logged(self, make_config, tmp_path, caplog):
        write_dataset(tmp_path, lengths=[4, 20], n_items=30)
        with caplog.at_level(logging.INFO):
            data = load_data(make_config(data_path=str(tmp_path)))
        assert data.dataset.dropped == {
            "protocol microlens: 1 users with too few actions": 4,
            "protocol microlens: old actions of 1 users": 7,
        }
        assert "7 interactions left out (protocol microlens: old actions of 1 users)" in caplog.text

    def test_train_counts_by_hand(self, make_config, tmp_path):
        rows = write_dataset(tmp_path, lengths=[6, 9, 14], n_items=15)
        data = load_data(make_config(data_path=str(tmp_path)))
        want = {}
        for sequence in sequences_by_user(rows).values():
            for item in sequence[-13:-2]:
                want[item] = want.get(item, 0) + 1
        counts = data.catalogue.train_counts
        assert {t: int(n) for t, n in zip(data.dataset.item_tokens, counts, strict=True) if n} == want

    def test_users_with_too_few_actions_only(self, make_config, tmp_path):
        write_dataset(tmp_path, lengths=[4, 3], n_items=30)
        with pytest.raises(DataError, match="No interaction .* is left .*protocol.*min_sequence_length"):
            load_data(make_config(data_path=str(tmp_path)))


class TestRecBoleProtocol:
    def test_same_rows_as_recboles_own_split(self, make_config, tmp_path):
        """Every (history, target) of RecBole's prefix rows, in the same part."""
        write_dataset(tmp_path, lengths=[1, 2, 3, 4, 5, 17, 26], n_items=40)
        config = make_config(encoder="ID", data_path=str(tmp_path), protocol="recbole")
        data = load_data(config)
        parts = SequentialDataset(config.host()).build()
        prefixes = PrefixLoader(config, data.actions)
        assert set(data.dataset.item_tokens) == set(parts[0].field2id_token["item_id"])
        assert list(data.dataset.item_tokens) == list(parts[0].field2id_token["item_id"])

        def stock_rows(part):
            feat = part.inter_feat
            return sorted(
                (int(u), tuple(s[:n].tolist()), int(t))
                for u, s, n, t in zip(
                    feat["user_id"], feat["item_id_list"], feat["item_length"], feat["item_id"], strict=True
                )
            )

        def our_rows(rows):
            items, users = data.actions.items, data.actions.users
            return sorted(
                (int(users[s]), tuple(items[s : s + n].tolist()), int(items[s + n]))
                for s, n in zip(rows.start, rows.length, strict=True)
            )

        assert our_rows(prefixes.rows) == stock_rows(parts[0])
        assert our_rows(data.actions.split.valid) == stock_rows(parts[1])
        assert our_rows(data.actions.split.test) == stock_rows(parts[2])

    def test_windows_make_every_action_after_the_first_a_target_once(self):
        lengths = np.array([1, 2, 3, 4, 5, 12, 13, 14, 23, 24, 35])
        split = split_recbole(lengths, max_history=10)
        first = np.cumsum(lengths) - lengths
        targets = [i for s, n in zip(split.train.start, split.train.length, strict=True) for i in range(s + 1, s + n)]
        trained = [n if n < 3 else n - 1 if n == 3 else n - 2 for n in lengths]
        want = [i for f, n in zip(first, trained, strict=True) for i in range(f + 1, f + n)]
        assert sorted(targets) == want
        assert split.train.length.max() <= 11


def test_keep_microlens_against_a_loop():
    lengths = np.array([3, 5, 12, 13, 14, 1, 30])
    want = [n >= 5 and n - i <= 13 for n in lengths for i in range(n)]
    assert keep_microlens(lengths, 10, 5).tolist() == want


def test_split_microlens_never_trains_on_the_last_two():
    lengths = np.array([5, 7, 13])
    split = split_microlens(lengths, 10)
    assert (split.train.end == np.cumsum(lengths) - 2).all()
    assert (split.valid.end == np.cumsum(lengths) - 2).all() and (split.test.end == np.cumsum(lengths) - 1).all()


class TestFilters:
    def test_k_core_is_recboles(self, make_config, tmp_path):
        write_dataset(tmp_path, lengths=[6] * 20, n_items=25, seed=3)
        options = {"data_path": str(tmp_path), "protocol": "recbole", "item_inter_num_interval": "[4,inf)"}
        ours = VideoDataset(make_config(encoder="ID", **options))
        theirs = SequentialDataset(make_config(encoder="ID", **options).host())
        assert sorted(ours.item_tokens) == sorted(theirs.field2id_token["item_id"])
        assert ours.inter_num == theirs.inter_num and ours.dropped["filter options"] == 120 - ours.inter_num

    def test_time_is_not_rounded_to_float32(self, make_config, tmp_path):
        folder = tmp_path / "late"
        write_dataset(tmp_path, "late", n_items=9)
        rows = [f"u0\ti{i}\t{1_660_000_000_000 + (9 - i)}" for i in range(9)]  # milliseconds, in reverse
        (folder / "late.inter").write_text("\n".join(["user_id:token\titem_id:token\ttimestamp:float", *rows]) + "\n")
        data = load_data(make_config(dataset="late", data_path=str(tmp_path)))
        assert tokens(data, data.actions.items) == [f"i{i}" for i in reversed(range(9))]

    @pytest.mark.parametrize("option", ["benchmark_filename", "threshold"])
    def test_options_without_effect_are_refused(self, make_config, option):
        with pytest.raises(ConfigError, match=f"`{option}` has no effect"):
            load_data(make_config(**{option: ["a"]}))


class TestMissingItems:
    @pytest.fixture
    def lacking(self, tmp_path):
        """Two items occur in the .inter file and not in the frame store."""
        rows = write_dataset(tmp_path, lengths=[8, 9, 10], n_items=12)
        path = tmp_path / "tiny" / "tiny.inter"
        path.write_text(path.read_text().replace("\ti3\t", "\tx3\t").replace("\ti4\t", "\tx4\t"))
        return tmp_path, sum(item in ("i3", "i4") for _, item, _ in rows)

    def test_error_says_how_many_and_which_first(self, make_config, lacking):
        with pytest.raises(
            DataError, match=r"2 items have no frames in .*tiny\.frames\.npy.*first: `x\d`.*missing_items=drop"
        ):
            load_data(make_config(data_path=str(lacking[0])))

    def test_drop_is_counted(self, make_config, lacking):
        data = load_data(make_config(data_path=str(lacking[0]), missing_items="drop", min_sequence_length=3))
        assert data.dataset.dropped["missing items"] == lacking[1]
        assert not {"x3", "x4"} & set(data.dataset.item_tokens)

    def test_zero_gives_zero_frames(self, make_config, lacking):
        data = load_data(make_config(data_path=str(lacking[0]), missing_items="zero"))
        ids = torch.tensor([i for i, t in enumerate(data.dataset.item_tokens) if t in ("x3", "x4")])
        frames, mask = data.catalogue.content.gather(ids)["frames"]
        assert len(ids) == 2 and not frames.any() and not mask.any()
        assert "missing items" not in data.dataset.dropped

    def test_item_without_a_row_in_the_item_file(self, make_config, tmp_path):
        """RecBole drops its interactions without a word."""
        write_dataset(tmp_path, lengths=[8, 9], n_items=12)
        lines = ["item_id:token\tyear:token", *(f"i{i}\t2020" for i in range(11))]
        (tmp_path / "tiny" / "tiny.item").write_text("\n".join(lines) + "\n")
        columns = {"inter": ["user_id", "item_id", "timestamp"], "item": ["item_id", "year"]}
        options = {"data_path": str(tmp_path), "load_col": columns}
        with pytest.raises(DataError, match=r"In `tiny.inter`, 1 item has no row in `tiny.item` \(first: `i11`\)"):
            load_data(make_config(**options))
        data = load_data(make_config(**options, missing_items="drop"))
        assert data.dataset.dropped["missing items"] > 0 and "i11" not in data.dataset.item_tokens
        assert "i11" in load_data(make_config(**options, missing_items="zero")).dataset.item_tokens


class TestAtomicFile:
    HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"

    def read(self, tmp_path, text, wanted=None):
        path = tmp_path / "x.inter"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_columns(path, wanted, set())

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ("a\tb\t1\na\tb\n", r"x\.inter`, line 3: 2 columns where the header has 3"),
            ("a\tb\t1\na\tb\t2\t3\n", r"x\.inter`, line 3: 4 columns where the header has 3"),
            ("a\tb\t1\na\tb\tsoon\n", r"x\.inter`, line 3, column `timestamp`: `soon` is not a number"),
            ("a\tb\t1\na\t\t2\n", r"x\.inter`, line 3, column `item_id`: the token is empty"),
            ("a\tb\tnan\n", r"x\.inter`, line 2, column `timestamp`: `nan` is not a finite number"),
            ("a\tb\t1\n\na\tb\t2\n", r"x\.inter`, line 3: 1 columns"),
            ("a\tb\t1\na\0b\tb\t2\n", r"x\.inter`, line 3: it holds a carriage return or a NUL"),
            ("a\tb\t1\na\tb\rc\t2\n", r"x\.inter`, line 3: it holds a carriage return or a NUL"),
            ("a\tb\t1_0\n", r"x\.inter`, line 2, column `timestamp`: `1_0` is not a number"),
            ("a\tb\t1e999\n", r"x\.inter`, line 2, column `timestamp`: `1e999` is not a finite number"),
        ],
    )
    def test_fault_is_named_with_file_line_and_column(self, tmp_path, body, message):
        with pytest.raises(DataError, match=message):
            self.read(tmp_path, self.HEADER + body)

    def test_infinite_features_are_refused_where_cells_may_be_empty(self, tmp_path):
        (tmp_path / "x.item").write_text("item_id:token\tsize:float\na\t\nb\t1e999\n")
        with pytest.raises(DataError, match="line 3, column `size`: `1e999` is not a finite number"):
            read_columns(tmp_path / "x.item", None, set(), may_be_empty=lambda field: field == "size")

    @pytest.mark.parametrize("cell", ["1 x", "1 1e999", "nan", "1,5"])
    def test_sequences_of_numbers(self, make_config, tmp_path, cell):
        write_dataset(tmp_path)
        (tmp_path / "tiny" / "tiny.item").write_text(
            "item_id:token\tsizes:float_seq\n" + "".join(f"i{n}\t{'1 2' if n else cell}\n" for n in range(30))
        )
        with pytest.raises(DataError, match=f"tiny.item`, line 2, column `sizes`: `{cell}` is not finite numbers"):
            load_data(make_config(data_path=str(tmp_path), load_col=None))

    def test_not_utf8(self, tmp_path):
        with pytest.raises(DataError, match="of line 3 does not fit"):
            self.read(tmp_path, self.HEADER.encode() + b"a\tb\t1\n\xff\tb\t2\n")

    @pytest.mark.parametrize(
        "header", ["user_id\titem_id", "user_id:tokens\titem_id:token", "user_id:token,item_id:token"]
    )
    def test_bad_header(self, tmp_path, header):
        with pytest.raises(DataError, match=r"line 1, column 1: .* is not `name:type`"):
            self.read(tmp_path, header + "\n")

    def test_field_twice(self, tmp_path):
        with pytest.raises(DataError, match="the field `a` appears twice"):
            self.read(tmp_path, "a:token\ta:token\n")

    def test_missing_field(self, tmp_path):
        with pytest.raises(
            DataError, match="no field `likes`, which load_col names; it has user_id, item_id, timestamp"
        ):
            self.read(tmp_path, self.HEADER + "a\tb\t1\n", {"likes"})

    def test_missing_file(self, tmp_path):
        with pytest.raises(DataError, match="cannot be read: No such file"):
            read_header(tmp_path / "absent.inter")

    def test_tokens_stay_as_they_are(self, tmp_path):
        """Quotes and words that pandas takes for missing values are ids like any other."""
        words = ['"quoted', "NA", "null", "nan", "None", "007", "1e5"]
        frame = self.read(tmp_path, self.HEADER + "".join(f"{w}\t{w}\t1\n" for w in words))
        assert frame["user_id"].tolist() == words

    def test_byte_order_mark_and_windows_line_ends(self, tmp_path):
        frame = self.read(tmp_path, b"\xef\xbb\xbf" + self.HEADER.encode() + b"a\tb\t1\r\n")
        assert frame.to_dict("list") == {"user_id": ["a"], "item_id": ["b"], "timestamp": [1.0]}

    def test_no_interactions(self, make_config, tmp_path):
        write_dataset(tmp_path)
        (tmp_path / "tiny" / "tiny.inter").write_text(self.HEADER)
        with pytest.raises(DataError, match="holds no interactions"):
            load_data(make_config(data_path=str(tmp_path)))

    def test_unknown_data_set(self, make_config, tmp_path):
        with pytest.raises(
            DataError, match="There is no data set `tiny`.*microvideo-demo, .* made on first use. Check --dataset"
        ):
            load_data(make_config(encoder="ID", data_path=str(tmp_path)))


class TestLoaders:
    def test_batches_against_a_loop(self, make_config):
        config = make_config()
        data = load_data(config)
        loader = SequenceLoader(config, data.actions)
        seen = []
        for batch in loader:
            assert (batch["item_length"].diff() >= 0).all()
            for row in range(len(batch["user_id"])):
                length = int(batch["item_length"][row])
                sequence = batch["sequence_list"][row].tolist()
                assert batch["item_id_list"][row].tolist() == sequence[:length] + [0] * (10 - length)
                assert batch["target_list"][row].tolist() == sequence[1:]
                assert sequence[length] == batch["item_id"][row] and not any(sequence[length + 1 :])
                seen.append((int(batch["user_id"][row]), sequence))
        split = data.actions.split.train
        want = [
            (int(data.actions.users[s]), data.actions.items[s : s + n].tolist() + [0] * (11 - n))
            for s, n in zip(split.start, split.length, strict=True)
        ]
        assert sorted(seen) == sorted(want)

    def test_order_follows_seed_and_epoch(self, make_config):
        config = make_config()
        loader = SequenceLoader(config, load_data(config).actions)

        def order(epoch):
            loader.set_epoch(epoch)
            return torch.cat([batch["user_id"] for batch in loader]).tolist()

        assert order(0) == order(0) and order(0) != order(1) and sorted(order(0)) == sorted(order(1))

    def test_history_batches_are_bounded_by_the_memory_option(self, make_config):
        config = make_config(eval_memory_mb=1)
        data = load_data(config)
        loader = HistoryLoader(config, data.actions, data.actions.split.test, n_items=2**18 // 4, trim=True)
        assert loader.batch_size == 4  # rows of 65,536 float32 scores in 1 MB
        assert sorted(np.concatenate([b.index for b in loader])) == list(range(len(loader.rows)))

    def test_seen_is_everything_before_the_target(self, make_config):
        config = make_config(mask_history=True)
        data = load_data(config)
        rows = data.actions.split.test
        batch = HistoryLoader(config, data.actions, rows, data.dataset.item_num, trim=True).batch(np.arange(len(rows)))
        for row in range(len(rows)):
            want = data.actions.items[rows.first[row] : rows.end[row]].tolist()
            seen_row, seen_item = batch.seen
            assert seen_item[seen_row == row].tolist() == want
