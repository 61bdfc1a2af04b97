"""Where the pipeline looks for a Ray cluster; test_on_ray.py runs it on one."""

from contextlib import contextmanager

import pytest
from recbole_video.dataset_tools.video import executors
from recbole_video.dataset_tools.video.executors import run_on_ray

from recbole_video.errors import ConfigError


def test_no_actor():
    with pytest.raises(ConfigError, match="actors is 0"):
        run_on_ray(0)


@pytest.mark.parametrize(("given", "address"), [(None, None), ("", None), ("head:6379", "head:6379")])
def test_ray_is_started_as_for_sweeps(monkeypatch, given, address):
    started = []

    @contextmanager
    def session(*arguments, **options):
        started.append((arguments, options))
        yield None

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    if given is not None:
        monkeypatch.setenv("RAY_ADDRESS", given)
    monkeypatch.setattr(executors, "ray_session", session)
    monkeypatch.setattr(executors, "_stream", lambda *_: pytest.fail("no row") if not started else _Nothing())
    assert list(run_on_ray(1)(None, [1])) == []
    assert started == [((address,), {"part": "data"})]


class _Nothing:
    def iter_rows(self):
        return iter(())
