"""The harness itself: it kills, resumes and compares, and sees what it is there to see."""

import json
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from .case import Bench, Outcome, Unbroken, _Case
from .kinds import file_names
from .process import Command, Launcher
from .results import Results


class TestKills:
    def test_training(self, tmp_path, forks):
        with Bench("training", tmp_path / "bench", fresh=0, launcher=forks.launcher) as bench:
            outcomes = []
            while not any(outcome.kills for outcome in outcomes):  # a run may end before its moment comes
                assert len(outcomes) < 10
                outcomes.append(bench.run("SIGINT", 0, len(outcomes), 1))
        assert [fault for outcome in outcomes for fault in outcome.faults] == []
        assert outcomes[-1].starts >= 2 and outcomes[-1].kills[0]["code"] in (130, -2)  # the last as Python itself ends


class TestLauncher:
    def test_those_of_one_place_share_a_process(self, tmp_path):
        """And whoever has joined goes on when the one that started it has ended."""
        nothing = Command("gc:disable", ("gc",), (), tmp_path, tmp_path / "log")
        nothing.log.touch()
        with TemporaryDirectory(prefix="k-") as short:
            first, second = (Launcher(("gc",), shared=Path(short, "socket")) for _ in range(2))
            first.__enter__()
            with second:
                assert [self.code_of(launcher, nothing) for launcher in (first, second, first)] == [0, 0, 0]
                assert second._server is None
                first.__exit__()
                assert self.code_of(second, nothing) == 0

    def code_of(self, launcher, command):
        running = launcher.start(command)
        assert running.ended_within(60)
        return running.code


class TestComparison:
    @pytest.fixture
    def case(self, tmp_path):
        """A case whose work is done: a file ``a``, and a file of the user."""

        class Kind:
            def result(folder):
                return {"a": (folder / "a").read_text()}

        class Done:
            kind = Kind
            unbroken = Unbroken({"a": "1"}, Counter(["a"]), {}, {})

        (tmp_path / "a").write_text("1")
        (tmp_path / "mine").write_bytes(b"mine")
        made = _Case(Done, Outcome("training", "SIGKILL", 0, 0), None, tmp_path)
        made.mine = {tmp_path / "mine": b"mine"}
        return made

    def test_nothing_to_find(self, case):
        case._compare()
        assert case.outcome.faults == []

    @pytest.mark.parametrize(
        ("name", "content", "fault"),
        [
            ("a", "2", "a differs from the unbroken run's"),
            ("mine", "other", "a file of the user is gone or changed: mine"),
            (".a.x1y2z3w4", "left", "left over: .a.RANDOM"),
        ],
    )
    def test_what_is_found(self, case, name, content, fault):
        (case.folder / name).write_text(content)
        case._compare()
        assert case.outcome.faults == [fault]

    def test_a_file_of_the_user_that_is_gone(self, case):
        (case.folder / "mine").unlink()
        case._compare()
        assert "a file of the user is gone or changed: mine" in case.outcome.faults

    def test_names_without_their_times(self, tmp_path):
        for name in ("SASRec-tiny-Nov-21-2026_10-00-00", "SASRec-tiny-Nov-21-2026_10-00-00-2", "log"):
            (tmp_path / name).mkdir()
        assert file_names(tmp_path) == Counter({"SASRec-tiny-TIME": 2})


class TestResults:
    def test_goes_on_where_the_file_ends(self, tmp_path):
        path = tmp_path / "kills.json"
        results = Results(path, 0)
        first = results.next_case("training", ["SIGKILL", "SIGINT"], 2)
        results.add(Outcome("training", first.signal, 0, first.number, kills=[{}, {}], starts=3))
        again = Results(path, 0)
        second = again.next_case("training", ["SIGKILL", "SIGINT"], 2)
        assert {first.signal, second.signal} == {"SIGKILL", "SIGINT"} and second.n_missing == 2
        again.add(Outcome("training", second.signal, 0, second.number, kills=[{}, {}], faults=["left over: x"]))
        assert again.next_case("training", ["SIGKILL", "SIGINT"], 2) is None
        assert again.n_faults() == 1 and "1 x left over: x" in again.table()
        assert len(json.loads(path.read_text())["cases"]) == 2 and Results(path, 1).n_kills("training", "SIGINT") == 0
