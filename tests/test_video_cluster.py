"""The pipeline on a Ray cluster of this machine: the same bytes as without."""

from contextlib import contextmanager

import psutil
import pytest
from recbole_video.dataset_tools.video import executors
from recbole_video.dataset_tools.video.executors import run_on_ray

from recbole_video.errors import ConfigError
from recbole_video.runtime.ray_session import ray_session

from .test_video_pipeline import contents, run


@pytest.fixture
def ray_here():
    """A small local Ray."""
    pytest.importorskip("ray", reason="needs Ray: the extra `cluster`")
    pytest.importorskip("ray.data", reason="needs Ray Data: the extra `cluster`")
    with ray_session(None, n_cpus=2, part="data"):
        yield


def test_the_results_are_those_of_a_local_run(ray_here, raw, tmp_path):
    """Bad videos included; and no process of Ray listens to other machines."""
    sockets = [s for p in psutil.Process().children(recursive=True) for s in p.net_connections("inet")]
    listening = {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
    assert listening and listening <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
    words = ["--sampler", "uniform", "--n_frames", "4"]
    here = run("frames", raw, tmp_path / "here", *words)
    there = run("frames", raw, tmp_path / "there", *words, "--ray")
    assert contents(there) == contents(here)


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
