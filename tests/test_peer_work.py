"""What the comparison with peers computes for all sides: quality of lists, sequences, times of epochs."""

import json
import math

import numpy as np
import pytest

from benchmarks import peer_work, standing
from benchmarks.peer_work import EpochChoice, Sequences, StepClock, quality, timed, write_lists
from recbole_video.data.protocols import split_recbole


def test_quality_of_lists_by_hand():
    lists = np.array([[5, 1, 2], [1, 5, 2], [1, 2, 3], [1, 2, 5]])
    found = quality(lists, np.full(4, 5), k=2)  # ranks 1, 2, none, 3
    assert found == pytest.approx({"hr@10": 2 / 4, "ndcg@10": (1 + 1 / math.log2(3)) / 4})


def test_what_each_side_is_given(tmp_path):
    Sequences(np.array([11, 12, 13, 14, 21, 22, 23]), np.array([0, 4, 7])).write(str(tmp_path / "s.npz"))
    data = Sequences.read(str(tmp_path / "s.npz"))
    assert data.histories() == [[11, 12, 13], [21, 22]]
    assert data.targets.tolist() == [14, 23]
    assert [part.tolist() for part in data.without_last(2)] == [[0, 0, 1], [11, 12, 21]]
    assert data.n_targets == 1  # 12 after 11


def test_lists_come_from_a_table_in_any_order(tmp_path):
    write_lists(tmp_path / "lists.npy", users=[1, 0, 1], ranks=[2, 1, 1], items=[7, 8, 9], k=3)
    assert np.load(tmp_path / "lists.npy").tolist() == [[8, 0, 0], [9, 7, 0]]


def test_whole_epochs_are_averaged_and_cut_ones_multiplied(monkeypatch):
    times = iter([0.0, 1.0, 3.0, 6.0, 10.0, 12.0, 14.0, 18.0])
    monkeypatch.setattr(peer_work, "perf_counter", lambda: next(times))
    whole = StepClock()
    for _ in range(2):
        whole.begin()
        for _ in range(3):  # two steps and the end
            whole.stamp()
    assert whole.epoch_seconds(2) == (6 + 8) / 2

    cut = StepClock()
    cut.epochs = [[0.0, 9.0, 18.0, 27.0, 36.0, 45.0, 47.0, 49.0, 51.0]]  # loading, four slow steps, three of 2 s
    assert cut.epoch_seconds(100) == 200.0


def test_the_median_time_counts(monkeypatch):
    times = iter([0.0, 9.0, 10.0, 12.0, 20.0, 23.0])
    monkeypatch.setattr(peer_work, "perf_counter", lambda: next(times))
    made = iter("abc")
    assert timed(lambda: next(made), 3) == (3.0, "c")


def test_windows_are_those_of_the_protocol():
    """Cut as protocol recbole cuts: the last window of each user first, then what is before them."""
    lengths = np.array([25, 4, 13])
    items = np.arange(100, 100 + lengths.sum())
    start = np.append(0, np.cumsum(lengths))
    data, rows = Sequences(items, start), split_recbole(lengths, 10).train
    want = [items[a:b].tolist() for a, b in zip(rows.start, rows.end, strict=True)]
    found = [window.tolist() for window in data.windows(10)]
    assert sorted(found) == sorted(want) and sum(len(window) - 1 for window in found) == data.n_targets
    assert [window[-1] for window in found[:3]] == items[start[1:] - 3].tolist()


def test_the_epoch_that_validates_best_is_kept(tmp_path):
    data = Sequences(np.arange(1, 9), np.array([0, 4, 8]))  # users 1 2 3 4 and 5 6 7 8
    epochs = iter([[9, 9], [3, 9], [3, 7], [3, 7]])  # of both users, the first item after each epoch
    tested = iter("abc")

    def lists_of(n):
        return np.array([next(tested)]) if n == 1 else np.eye(1, 10, dtype=int) * np.array(next(epochs))[:, None]

    choice = EpochChoice(data, lists_of, str(tmp_path / "lists.npy"))
    for _ in range(4):
        choice.end_epoch()
    assert choice.curve == [0.0, 0.5, 1.0, 1.0] and np.load(tmp_path / "lists.npy").tolist() == ["c"]


def test_page_of_ml_100k_shows_its_record():
    record = json.loads((standing.ROOT / "benchmarks/results/standing-ml-100k.json").read_text(encoding="utf-8"))
    page = (standing.ROOT / "docs/results/ml-100k.md").read_text(encoding="utf-8")
    assert standing.table(record) in page and record["inter_sha256"][:12] in page
