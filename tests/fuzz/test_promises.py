"""The fuzzers' own measure: a fault is seen as one."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recbole_video.errors import DataError

from .promises import cases, check_sentence, kept, outcome, unchanged


def fail(error):
    raise error


class TestOutcome:
    @cases(20)
    @given(st.text())
    def test_own_errors_are_readable_whatever_they_repeat(self, value):
        assert isinstance(outcome(fail, DataError(f"`{value}` is no value.")), DataError)

    def test_other_errors_are_faults(self):
        with pytest.raises(KeyError):
            outcome(fail, KeyError("x"))

    def test_a_hang_is_a_fault(self):
        with pytest.raises(AssertionError, match="did not end"):
            outcome(time.sleep, 60, seconds=0.01)

    @pytest.mark.parametrize("message", ["", "a\x1b[2J", "x" * 5000, "Traceback (most recent call last)"])
    def test_what_is_no_sentence(self, message):
        with pytest.raises(AssertionError):
            check_sentence(message)


@pytest.mark.parametrize(("watch", "allows_more"), [(unchanged, False), (kept, True)])
def test_changes_of_files_are_seen(tmp_path, watch, allows_more):
    (tmp_path / "mine").write_text("1")
    with watch(tmp_path):
        pass
    with pytest.raises(AssertionError, match="changed"), watch(tmp_path):
        (tmp_path / "mine").write_text("2")
    if allows_more:
        with watch(tmp_path):
            (tmp_path / "new").mkdir()
    else:
        with pytest.raises(AssertionError, match="changed"), watch(tmp_path):
            (tmp_path / "new").mkdir()
