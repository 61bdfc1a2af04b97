"""Time: splits at cuts against brute force, nothing later in training, the leak report, data without times."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole_video.dataset_tools.__main__ import main as tools

from recbole_video import run_recbole_video, write_frame_store
from recbole_video.cli import main
from recbole_video.config import Config
from recbole_video.data.leaks import leak_report, temporal_facts
from recbole_video.data.negatives import NegativeSampler
from recbole_video.data.protocols import TemporalRule, split_microlens, split_recbole, split_temporal
from recbole_video.data.sequences import Actions, are_positions
from recbole_video.data.times import dates_of_offsets
from recbole_video.errors import ConfigError, DataError
from recbole_video.recommendation.data import load_data

from .conftest import small_options, write_dataset

L = 3
HEADER = "user_id:token\titem_id:token\ttimestamp:float\n"


@st.composite
def histories(draw):
    """Each user's (time, item) pairs, sorted by time as the actions of a data set are."""
    users = draw(
        st.lists(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 6)), min_size=1, max_size=9), min_size=1)
    )
    return [sorted(user, key=lambda pair: pair[0]) for user in users]


def as_arrays(users):
    lengths = np.array([len(user) for user in users])
    times = np.array([time for user in users for time, _ in user], dtype=float)
    items = np.array([item for user in users for _, item in user])
    return lengths, times, items


def as_actions(users, split):
    lengths, times, items = as_arrays(users)
    return Actions(items, np.repeat(np.arange(1, len(users) + 1), lengths), split, 7, times)


def rows_of(users, rows):
    """(user, history, target) of each row, as places in the user's sequence."""
    first = np.cumsum([0, *map(len, users)])
    user = np.searchsorted(first, rows.start, side="right") - 1
    return [
        (int(u), list(range(s - first[u], s - first[u] + n)), int(s - first[u] + n))
        for u, s, n in zip(user, rows.start, rows.length, strict=True)
    ]


def chosen(places, rule):
    """The targets among the places of one user's actions."""
    return {"last": places[-1:], "first": places[:1], "all": places}[rule]


def brute_force(users, cuts, rule, valid):
    """Places that train of each user, and (user, history, target) of both parts, one action at a time."""
    trained, of_valid, of_test = [], [], []
    for u, user in enumerate(users):
        before = [place for place, (time, _) in enumerate(user) if time < cuts[0]]
        between = [place for place, (time, _) in enumerate(user) if cuts[0] <= time < cuts[-1]]
        behind = [place for place, (time, _) in enumerate(user) if time >= cuts[-1]]
        if valid == "last_training":
            between = before[-1:] if len(before) >= 3 else []
            before = [place for place in before if place not in between]
        trained.append(before if len(before) >= 2 else [])
        of_valid += [(u, list(range(max(0, t - L), t)), t) for t in chosen(between, rule) if t > 0]
        of_test += [(u, list(range(max(0, t - L), t)), t) for t in chosen(behind, rule) if t > 0]
    return trained, of_valid, of_test


def trained_places(users, split):
    first = np.cumsum([0, *map(len, users)])
    is_trained = as_actions(users, split).is_trained()
    return [list(np.flatnonzero(is_trained[a:b])) for a, b in pairwise(first)]


class TestTemporalSplit:
    @given(histories(), st.integers(0, 13), st.integers(1, 5), st.sampled_from(["last", "first", "all"]), st.booleans())
    @settings(max_examples=150, deadline=None)
    def test_against_brute_force(self, users, cut, gap, rule, two):
        lengths, times, _ = as_arrays(users)
        cuts = (cut + 1.5, cut + gap + 1.5) if two else (cut + 1.5,)  # below 1 it would be a share
        valid = "cut" if two else "last_training"
        split = split_temporal(lengths, times, L, TemporalRule(cuts, rule, valid))
        trained, of_valid, of_test = brute_force(users, cuts, rule, valid)
        assert trained_places(users, split) == trained
        assert rows_of(users, split.valid) == of_valid and rows_of(users, split.test) == of_test
        counts = np.bincount([users[u][p][1] for u, places in enumerate(trained) for p in places], minlength=7)
        assert as_actions(users, split).train_item_counts().tolist() == counts.tolist()
        assert all(n <= L + 1 for n in split.train.length)

    @given(histories(), st.floats(0.05, 0.9))
    @settings(max_examples=60, deadline=None)
    def test_a_share_is_the_time_of_the_action_behind_that_part(self, users, share):
        lengths, times, _ = as_arrays(users)
        split = split_temporal(lengths, times, L, TemporalRule((share,), "all", "last_training"))
        want = sorted(times)[int(share * len(times))]
        assert split.cuts == (want,)
        assert (times < want).mean() <= share  # equal times are not divided

    def test_an_action_at_the_cut_is_behind_it(self):
        split = split_temporal(
            np.array([4]), np.array([1.0, 2, 3, 3]), L, TemporalRule((3.0,), "first", "last_training")
        )
        assert rows_of([[0] * 4], split.test) == [(0, [0, 1], 2)]

    def test_random_targets_are_seeded_and_each_likely(self):
        lengths = np.full(3000, 5)
        times = np.tile([0.0, 1, 2, 3, 4], 3000)

        def ends(seed):
            rule = TemporalRule((2.0,), "random", "last_training", seed)
            return split_temporal(lengths, times, L, rule).test.end % 5

        assert (ends(1) == ends(1)).all() and (ends(1) != ends(2)).any()
        assert set(ends(1)) == {2, 3, 4} and np.bincount(ends(1))[2:].min() > 900

    def test_targets_without_history_are_counted(self):
        users = [[(0, 1), (1, 2), (2, 3), (9, 4)], [(9, 1)], [(5, 6), (9, 2)]]
        lengths, times, _ = as_arrays(users)
        split = split_temporal(lengths, times, L, TemporalRule((4.0, 8.0), "all", "cut"))
        assert split.n_without_history == (1, 1)
        facts = temporal_facts(as_actions(users, split))
        assert facts == {
            "cuts": [4.0, 8.0],
            "actions_before": [3, 4],
            "test_targets": 2,
            "of_cold_items": 1,  # 4; the second user's 1 is no target, and 2 was seen
            "of_cold_users": 1,
            "cold_items": 3,  # 4, 5 and 6
            "cold_users": 2,
            "targets_without_history": {"valid": 1, "test": 1},
        }

    def test_cuts_at_one_time_are_refused(self):
        with pytest.raises(DataError, match="validation from 3 and for a test from 3 on, .* choose cuts farther apart"):
            split_temporal(np.array([4]), np.array([1.0, 3, 3, 3]), L, TemporalRule((0.3, 0.6)))


def by_loop(users, split):
    """The leak report, one target at a time."""
    trained = trained_places(users, split)
    done = [(u, *users[u][place]) for u, places in enumerate(trained) for place in places]
    flags = {"item_trained_later": [], "user_trained_later": [], "trained_later": [], "repeats": [], "equal_times": []}
    for u, _, target in rows_of(users, split.test):
        time, item = users[u][target]
        flags["item_trained_later"].append(any(i == item and t > time for _, t, i in done))
        flags["user_trained_later"].append(any(v == u and t > time for v, t, _ in done))
        flags["trained_later"].append(any(t > time for _, t, _ in done))
        flags["repeats"].append(item in [i for _, i in users[u][:target]])
        flags["equal_times"].append(time in [t for p, (t, _) in enumerate(users[u]) if p != target])
    return {"targets": len(flags["repeats"]), "times": "known"} | {k: round(np.mean(v), 6) for k, v in flags.items()}


class TestLeakReport:
    @given(histories(), st.sampled_from(["microlens", "recbole", "temporal"]))
    @settings(max_examples=150, deadline=None)
    def test_against_brute_force(self, users, protocol):
        users = [user + [(13 + n, 1 + n % 6) for n in range(4)] for user in users]  # enough for any split
        lengths, times, _ = as_arrays(users)
        split = {
            "microlens": lambda: split_microlens(lengths, L),
            "recbole": lambda: split_recbole(lengths, L),
            "temporal": lambda: split_temporal(lengths, times, L, TemporalRule((14.5,), "all", "last_training")),
        }[protocol]()
        report = leak_report(as_actions(users, split))
        assert report == by_loop(users, split)
        if protocol == "temporal":
            assert report["trained_later"] == 0

    def test_in_every_result_and_by_itself(self, in_tmp, data_root, capsys):
        options = small_options("SASRec", "CVA", data_path=str(data_root))
        leaks = run_recbole_video("SASRec", "tiny", config_dict=options, saved=False)["data"]["leaks"]
        assert leaks["targets"] == 40 and 0 < leaks["item_trained_later"] < 1 and leaks["user_trained_later"] == 0
        capsys.readouterr()
        given = ["--leak_report", "--dataset=tiny", f"--data_path={data_root}"]
        assert main(given) == 0
        shown = capsys.readouterr().out
        assert "tiny, protocol microlens: 40 test targets; times: known" in shown
        assert (
            f"{leaks['item_trained_later']:.2%}"
            in shown.split("whose item has a training action later")[1].splitlines()[0]
        )
        assert main([*given, "--protocol=temporal"]) == 0
        assert "on items unseen before the first cut" in capsys.readouterr().out
        assert main(["--leak_report=tiny"]) == 1 and "write it alone" in capsys.readouterr().err
        assert main([*given, "--model=Pop"]) == 0
        assert "tiny, protocol RecBole's own: 40 test targets" in capsys.readouterr().out
        bare = in_tmp / "bare"
        bare.mkdir()
        shutil.copytree(data_root / "tiny", bare / "tiny")
        (bare / "tiny" / "tiny.frames.npy").unlink()  # it needs no content
        assert main([*given[:2], f"--data_path={bare}"]) == 0 and capsys.readouterr().out == shown
        write_frame_store(bare / "tiny" / "tiny.frames.npy", ["i1"], np.ones((1, 1, 2)), vfm="x", sampling="y")
        for protocol, targets in (("microlens", 40), ("temporal", None), ("recbole", 40)):
            assert main([*given[:2], f"--data_path={bare}", f"--protocol={protocol}"]) == 0
            assert f"protocol {protocol}: {targets or ''}" in capsys.readouterr().out
        assert main(["--leak_report", "--model=STAP"]) == 1 and "STAP predicts popularity" in capsys.readouterr().err

    @pytest.mark.parametrize("model", ["recbole:GRU4Rec", "Pop"])
    def test_of_recboles_own_split(self, in_tmp, data_root, model):
        """It leaves the last two actions out, as our protocol `recbole` does with its data."""
        options = {"data_path": str(data_root), "epochs": 1, "show_progress": False, "use_gpu": False}
        theirs = run_recbole_video(model, "tiny", config_dict=options)["data"]["leaks"]
        config = Config("SASRec", "tiny", config_dict={**options, "item_encoder": "ID", "protocol": "recbole"})
        assert theirs == {**leak_report(load_data(config).actions), "equal_times": None}


class TestWithoutTimes:
    @pytest.fixture
    def ordered(self, tmp_path):
        """Positions in place of times, as converters write where the raw data have none."""
        rows = write_dataset(tmp_path)
        by_user = {}
        for user, item, _ in sorted(rows, key=lambda row: row[2]):
            by_user.setdefault(user, []).append(item)
        lines = [f"{user}\t{item}\t{n}\n" for user, items in by_user.items() for n, item in enumerate(items)]
        (tmp_path / "tiny" / "tiny.inter").write_text(HEADER + "".join(lines))
        return tmp_path

    def test_they_are_refused_by_a_cut_in_time(self, make_config, ordered):
        config = make_config(encoder="ID", data_path=str(ordered), protocol="temporal")
        with pytest.raises(
            DataError, match="^`tiny` has no times, only the order of each user's actions, so that no time"
        ):
            load_data(config)

    def test_the_leak_report_says_so(self, make_config, ordered):
        # What is left after a filter is no longer 0, 1, 2, ...; that there are no times is known before.
        config = make_config(encoder="ID", data_path=str(ordered), item_inter_num_interval="[5,inf)")
        report = leak_report(load_data(config).actions)
        assert report["times"] == "none: the data have only the order of each user's actions"
        assert report["item_trained_later"] is None and report["equal_times"] is None and report["repeats"] == 0

    @pytest.mark.parametrize(
        ("times", "want"),
        [
            ([0, 1, 2, 0, 1], True),
            ([2, 0, 1, 1, 0], True),
            ([1, 2, 3, 1, 2], True),
            ([0, 1, 2, 1, 2], False),
            ([0, 1, 1, 0, 1], False),
            ([0, 1, 2, 0, 2], False),
            ([0, 0.5, 2, 0, 1], False),
            ([5, 7, 9, 6, 8], False),
        ],
    )
    def test_positions_are_told_from_times(self, times, want):
        assert are_positions(np.array([0, 0, 0, 1, 1]), np.array(times, dtype=float)) == want


class TestRuns:
    def test_a_run_is_of_its_cuts(self, in_tmp, data_root):
        options = small_options("SASRec", "CVA", data_path=str(data_root), protocol="temporal", eval_groups=["cold"])
        result = run_recbole_video(
            "SASRec", "tiny", config_dict={**options, "temporal_target": "all", "save_per_user": True}
        )
        data = result["data"]
        config = Config(config_file_list=[Path(result["run_folder"]) / "config.yaml"])
        actions = load_data(config).actions
        assert data["temporal"] == {"target": "all", "valid": "cut", **temporal_facts(actions)}
        assert data["test_users"] == len(np.unique(actions.users[actions.split.test.start]))
        rows = (Path(result["run_folder"]) / "per_user.tsv").read_text().splitlines()
        assert len(rows) == 1 + data["temporal"]["test_targets"] > 1 + data["test_users"]

    @pytest.mark.parametrize("loss", ["in_batch", "CE", "BPR"])
    def test_nothing_after_the_cut_is_read_in_training(self, in_tmp, tmp_path, loss):
        """Other actions behind the cut, on other items that nobody knew before: the same losses."""
        write_dataset(tmp_path, n_items=35)
        path = tmp_path / "tiny" / "tiny.inter"
        rows = [(user, int(item[1:]), time) for user, item, time in map(str.split, path.read_text().splitlines()[1:])]
        early = [row for row in rows if float(row[2]) < 60 and row[1] < 25]
        late = [row for row in rows if float(row[2]) >= 60]
        losses = []
        for unknown in (25, 30):
            shifted = [(user, (item + unknown) % 25 if item < 25 else unknown + item % 5, t) for user, item, t in late]
            lines = [f"{user}\ti{item}\t{time}\n" for user, item, time in [*early, *shifted]]
            path.write_text(HEADER + "".join(lines))
            options = small_options(
                "GRU4Rec", "CVA", data_path=str(tmp_path), protocol="temporal", loss_type=loss, epochs=2
            )
            options |= {"temporal_cut": [60, 75], "dropout_prob": 0.0}
            result = run_recbole_video("GRU4Rec", "tiny", config_dict=options)
            assert result["data"]["temporal"]["cuts"] == [60.0, 75.0]
            record = json.loads((Path(result["run_folder"]) / "metrics.json").read_text())
            losses.append([epoch["train_loss"] for epoch in record["history"]])
        assert losses[0] == pytest.approx(losses[1], rel=1e-5)

    def test_unseen_items_are_no_negatives(self):
        counts = np.array([0, 3, 0, 2, 0, 1])
        options = {"distribution": "uniform", "sample_num": 50}
        own = np.zeros((20, 1), dtype=np.int64)
        drawn = NegativeSampler(options, counts, only_trained=True).draw(own, np.random.default_rng(0))
        assert set(drawn.ravel()) == {1, 3, 5}
        assert set(NegativeSampler(options, counts).draw(own, np.random.default_rng(0)).ravel()) == {1, 2, 3, 4, 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"temporal_cut": 0.9}, r"`temporal_cut` is `0.9`, and temporal_valid=cut needs two, where validation and"),
        ({"temporal_valid": "last_training"}, "temporal_valid=last_training needs one, where the test begins"),
        ({"temporal_cut": "soon"}, "it must be one or two numbers, shares of all actions between 0 and 1 or times"),
        ({"temporal_cut": [0.5, True]}, "must be one or two numbers"),
        ({"temporal_cut": []}, "must be one or two numbers"),
        ({"temporal_target": "middle"}, "`temporal_target` is `middle`; it must be one of last, first, all, random"),
        (
            {"temporal_cut": [0.8, 0.9], "protocol": "recbole", "temporal_target": "all"},
            "no effect on runs with protocol=recbole",
        ),
    ],
    ids=str,
)
def test_options_that_do_not_fit(make_config, options, message):
    with pytest.raises(ConfigError, match=message):
        make_config(**{"protocol": "temporal", **options})


def test_a_cut_that_leaves_a_part_empty(make_config):
    with pytest.raises(DataError, match="The train part of `tiny` is empty: move temporal_cut"):
        load_data(make_config(encoder="ID", protocol="temporal", temporal_cut=[-9, 50]))


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1_000), ("iso", 0)])
def test_a_cut_of_converted_data_has_its_date(in_tmp, unit, factor, capsys):
    """Their .inter counts from the first action, which the card tells: the date is that of the raw times."""
    start, rng = datetime(2024, 2, 28, 21, tzinfo=UTC), np.random.default_rng(0)
    hours = np.sort(rng.choice(2000, 240, replace=False))
    times = [start + timedelta(hours=int(hour)) for hour in hours]
    written = [f"{time.timestamp() * factor:.0f}" if factor else time.isoformat() for time in times]
    rows = [f"u{rng.integers(12)},i{rng.integers(20)},{time}" for time in written]
    Path("clicks.csv").write_text("\n".join(["user_id,item_id,timestamp", *rows]))
    assert tools(["generic", "clicks.csv", "--name=mine", f"--time_unit={unit}"]) == 0
    capsys.readouterr()
    assert (
        main(["run", "--dataset=mine", "--model=MostPopular", "--protocol=temporal", "--temporal_cut=[0.5, 0.75]"]) == 0
    )
    data = json.loads(next(Path("saved").glob("*/metrics.json")).read_text())["data"]["temporal"]
    dates = [(times[0] + timedelta(seconds=cut)).strftime("%Y-%m-%d %H:%M:%S") for cut in data["cuts"]]
    assert data["dates"] == dates and f"cut at {dates[0]} UTC (" in capsys.readouterr().out


def test_without_a_card_there_is_no_date(tmp_path):
    card = tmp_path / "mine.card.json"
    assert dates_of_offsets(card, [5.0]) == []
    for text in ("{", "[]", "{}", '{"interactions": null}', '{"interactions": {"first_time": "a", "time_unit": "s"}}',
                 '{"interactions": {"first_time": 1700000000, "time_unit": "h"}}',
                 '{"interactions": {"first_time": 12, "time_unit": "s"}}'):  # fmt: skip
        card.write_text(text)
        assert dates_of_offsets(card, [5.0]) == []
    card.write_text('{"interactions": {"first_time": 1700000000, "time_unit": "s"}}')
    assert dates_of_offsets(card, [20.5]) == ["2023-11-14 22:13:40"]
