"""The pipeline on a Ray cluster of this machine: the same bytes as without."""

import pytest
from recbole_video.dataset_tools.video.cluster import run_on_ray

from recbole_video.errors import ConfigError

from .test_video_pipeline import contents, raw, run  # noqa: F401  (raw is a fixture)


@pytest.fixture
def ray_here():
    """A small local Ray."""
    ray = pytest.importorskip("ray", reason="needs Ray: the extra `cluster`")
    pytest.importorskip("ray.data", reason="needs Ray Data: the extra `cluster`")
    ray.init("local", num_cpus=2, object_store_memory=10**8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_the_results_are_those_of_a_local_run(ray_here, raw, tmp_path):  # noqa: F811
    """Bad videos included."""
    words = ["--sampler", "uniform", "--n_frames", "4"]
    here = run("frames", raw, tmp_path / "here", *words)
    there = run("frames", raw, tmp_path / "there", *words, "--ray")
    assert contents(there) == contents(here)


def test_no_actor():
    with pytest.raises(ConfigError, match="actors is 0"):
        run_on_ray(0)
