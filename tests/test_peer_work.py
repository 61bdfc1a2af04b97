"""What the comparison with peers computes for all sides: quality of lists, sequences, times of epochs."""

import math

import numpy as np
import pytest

from benchmarks import peer_work
from benchmarks.peer_work import Sequences, StepClock, quality, timed, write_lists


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
