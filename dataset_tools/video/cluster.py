"""The same run on a Ray cluster: decoding tasks on CPUs, actors with the models on GPUs.

Ray Data streams videos from the tasks to the actors and holds the tasks back while the actors are busy
(its back-pressure), so that decoded frames never fill the cluster's memory. Finished videos come back
here, where shards are written as in a local run: the results are the same to the byte.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

from recbole_video.dataset_tools.video.decode_task import DecodeTask
from recbole_video.dataset_tools.video.frame_maker import FrameMaker
from recbole_video.dataset_tools.video.pipeline import Executor
from recbole_video.dataset_tools.video.plan import Plan
from recbole_video.dataset_tools.video.shards import Finished
from recbole_video.dataset_tools.video.workers import DecodePool

from recbole_video.errors import ConfigError
from recbole_video.runtime.ray_session import import_ray, ray_session

# Videos that a decoding task takes on: enough to make its start negligible, few enough to balance.
_VIDEOS_PER_TASK = 4
# Videos that go to an actor, and come back, at a time.
_VIDEOS_PER_CALL = 4
# Not one, as the decoding tasks take: Ray runs steps of equal needs in one process, here on the GPU's.
_ACTOR_CORES = 0.5


def run_on_ray(n_actors: int, gpus_per_actor: float | None = None) -> Executor:
    """Decode in Ray tasks of one core each, and run the models in Ray actors.

    Joins the cluster at ``RAY_ADDRESS``; without it, and unless this process has started Ray already, starts one
    on this machine that listens on the loopback alone. Videos and folders of weights must be where all its machines
    see them.

    Args:
        n_actors: Processes that run the models.
        gpus_per_actor: GPUs, or a share of one, that each takes; by default 1 where the cluster has any.

    Raises:
        ConfigError: If there is no actor, or no cluster at the address.
        MissingDependencyError: Without Ray Data.
    """
    if n_actors < 1:
        raise ConfigError(f"actors is {n_actors}; at least one process must run the models.")
    import_ray("data")

    def execute(plan: Plan, tasks: Iterable[DecodeTask]) -> Iterator[Finished]:
        rows = [{"task": pickle.dumps(task)} for task in tasks]
        if not rows:
            return
        with ray_session(os.environ.get("RAY_ADDRESS") or None, part="data") as ray:
            for row in _stream(ray, rows, plan, n_actors, gpus_per_actor).iter_rows():
                yield pickle.loads(row["finished"])

    return execute


def _stream(ray: Any, rows: list[dict[str, bytes]], plan: Plan, n_actors: int, gpus: float | None) -> Any:
    """The stream of rows with finished videos; nothing runs until it is read."""
    ray.data.DataContext.get_current().enable_progress_bars = False  # the run has a bar of its own
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    if gpus is None:
        gpus = float(ray.cluster_resources().get("GPU", 0) > 0)
    videos = ray.data.from_items(rows, override_num_blocks=-(-len(rows) // _VIDEOS_PER_TASK))
    return videos.map(_decode, num_cpus=1).map_batches(
        _Actor,
        fn_constructor_args=(plan,),
        batch_size=_VIDEOS_PER_CALL,
        compute=ray.data.ActorPoolStrategy(size=n_actors),
        num_gpus=gpus,
        num_cpus=_ACTOR_CORES,
    )


def _decode(row: dict[str, Any]) -> dict[str, Any]:
    """Decode one video, in a process that may die without harm to the task."""
    [decoded] = _pool().decode([pickle.loads(row["task"])])
    return {"decoded": pickle.dumps(decoded)}


@cache
def _pool() -> DecodePool:
    """The decoding process of this Ray worker; it ends with it."""
    return DecodePool(1, threads=1).__enter__()


class _Actor:
    """A FrameMaker that takes and gives batches of rows."""

    def __init__(self, plan: Plan) -> None:
        self._maker = FrameMaker(plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        finished = [self._maker.finish(pickle.loads(decoded)) for decoded in batch["decoded"]]
        return {"finished": [pickle.dumps(video) for video in finished]}
