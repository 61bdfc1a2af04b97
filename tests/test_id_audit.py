"""The audit of ids: shifts between a table and numbered files, found by durations."""

from itertools import product

import numpy as np
import pytest
from recbole_video.dataset_tools.media.id_audit import SHIFTS, _cheapest_path, audit_ids

from recbole_video.errors import DataError

RUNS = [(1, 300, 0), (301, 650, 1), (651, 900, 2), (901, 1200, 1)]


def made(seed=0, runs=RUNS, lost=0.0, wrong=0.0):
    """Seconds of the ids and of the files, and the true file of each id."""
    rng = np.random.default_rng(seed)
    truth = {i: i + shift for first, last, shift in runs for i in range(first, last + 1)}
    expected = {i: round(float(rng.lognormal(4.4, 0.8)), 1) for i in truth}
    found = {file: float(rng.lognormal(4.4, 0.8)) for file in range(1, max(truth.values()) + 80)}
    for i, file in truth.items():
        found[file] = expected[i] + rng.uniform(-0.4, 0.4) + (5.0 if rng.random() < wrong else 0.0)
    for file in rng.permutation(list(found))[: int(lost * len(found))].tolist():
        del found[file]
    return expected, found, truth


@pytest.mark.parametrize("seed", range(5))
def test_path_costs_least(seed):
    cost = np.random.default_rng(seed).choice([0.0, 0.5, 1.0], size=(8, 3)) * 3

    def total(path):
        return sum(cost[row, state] for row, state in enumerate(path)) + 3.0 * sum(np.diff(path) != 0)

    found = _cheapest_path(cost)
    assert total(found) == min(total(path) for path in product(range(3), repeat=8))


@pytest.mark.parametrize(("lost", "wrong"), [(0.0, 0.0), (0.2, 0.1)])
def test_shifts_are_found(lost, wrong):
    """A file that two ids claim is given to neither: at the turn from 2 to 1 there is one."""
    expected, found, truth = made(lost=lost, wrong=wrong)
    audit = audit_ids(expected, found, 0.5)
    assert [run.shift for run in audit.runs] == [0, 1, 2, 1]
    for run, (first, _, _) in zip(audit.runs, RUNS, strict=True):
        assert abs(run.first - first) <= 8  # at a turn, a few may be either
    false = [i for i, file in audit.media.items() if truth[i] != file]
    assert len(false) <= 3
    possible = [i for i, file in truth.items() if file in found and abs(found[file] - expected[i]) <= 0.5]
    assert len(audit.media) >= 0.98 * len(possible) and len(set(audit.media.values())) == len(audit.media)


def test_figures_are_those_of_brute_force():
    expected, found, _ = made(seed=1, lost=0.1)
    audit = audit_ids(expected, found, 0.5)
    for shift in SHIFTS:
        there = [i for i in expected if i + shift in found]
        assert audit.compared[shift] == len(there)
        assert audit.agree[shift] == sum(abs(found[i + shift] - expected[i]) <= 0.5 for i in there)
    assert 0 < audit.chance < 0.05
    assert sum(run.videos for run in audit.runs) == audit.videos == len(expected)


def test_report():
    audit = audit_ids(*made()[:2], 0.5)
    told = audit.report()
    assert "Of 1,200 videos, " in told and "in 4 runs explain 99.9% (+0 25.0%, +1 54.2%, +2 20.8%)" in told
    assert f"The map has {len(audit.media):,} videos" in told


def test_files_of_others_explain_nothing():
    expected, found, _ = made(runs=[(1, 400, 40)])
    audit = audit_ids(expected, found, 0.5)
    assert sum(run.confirmed for run in audit.runs) < 0.05 * audit.videos


@pytest.mark.parametrize("found", [{}, {999: 3.0}])
def test_nothing_to_compare(found):
    with pytest.raises(DataError, match="None of the videos of the table has a file within three numbers"):
        audit_ids({1: 3.0}, found, 0.5)
