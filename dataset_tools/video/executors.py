"""Where the work of a run is done: here, or on a Ray cluster; and what is done with a video's decoded frames.

The pictures of one video make a batch of their own: what is stored of a video depends on the video, its title and the
settings, never on its neighbours, so that a run may be cut up and resumed at will.

On a cluster, Ray Data streams videos from decoding tasks on CPUs to actors with the models on GPUs, and holds the tasks
back while the actors are busy (its back-pressure), so that decoded frames never fill the cluster's memory. Finished
videos come back here, where shards are written as in a local run: the results are the same to the byte.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any
from urllib.parse import quote

import numpy as np
from recbole_video.dataset_tools.video.contact_sheet import write_contact_sheet
from recbole_video.dataset_tools.video.decode import Decoded, DecodeTask, Frames
from recbole_video.dataset_tools.video.frame_encoders import ClipEncoder, FrameEncoder, load_frame_encoder
from recbole_video.dataset_tools.video.job import FramePlan
from recbole_video.dataset_tools.video.samplers import best, item_rng
from recbole_video.dataset_tools.video.samples import Finished, Sample
from recbole_video.dataset_tools.video.titles import noisy
from recbole_video.dataset_tools.video.workers import TIMEOUT, DecodePool

from recbole_video.errors import ConfigError, DataError
from recbole_video.runtime.ray_session import import_ray, ray_session

# Plan and tasks -> finished videos, in any order.
Executor = Callable[[FramePlan, Iterable[DecodeTask]], Iterator[Finished]]
# Videos that a decoding task takes on: enough to make its start negligible, few enough to balance.
_VIDEOS_PER_TASK = 4
# Videos that go to an actor, and come back, at a time.
_VIDEOS_PER_CALL = 4
# Not one, as the decoding tasks take: Ray runs steps of equal needs in one process, here on the GPU's.
_ACTOR_CORES = 0.5


def run_here(n_workers: int, timeout: float = TIMEOUT) -> Executor:
    """Decode in ``n_workers`` processes, ``timeout`` seconds per video at most, and run the models in this one."""

    def execute(plan: FramePlan, tasks: Iterable[DecodeTask]) -> Iterator[Finished]:
        maker = FrameMaker(plan)
        with DecodePool(n_workers, timeout) as pool:
            for decoded in pool.decode(tasks):
                yield maker.finish(decoded)

    return execute


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

    def execute(plan: FramePlan, tasks: Iterable[DecodeTask]) -> Iterator[Finished]:
        rows = [{"task": pickle.dumps(task)} for task in tasks]
        if not rows:
            return
        with ray_session(os.environ.get("RAY_ADDRESS") or None, part="data") as ray:
            for row in _stream(ray, rows, plan, n_actors, gpus_per_actor).iter_rows():
                yield pickle.loads(row["finished"])

    return execute


def _stream(ray: Any, rows: list[dict[str, bytes]], plan: FramePlan, n_actors: int, gpus: float | None) -> Any:
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

    def __init__(self, plan: FramePlan) -> None:
        self._maker = FrameMaker(plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        finished = [self._maker.finish(pickle.loads(decoded)) for decoded in batch["decoded"]]
        return {"finished": [pickle.dumps(video) for video in finished]}


class FrameMaker:
    """Chooses frames and embeds them, with the models of a plan.

    Args:
        plan: What to do.

    Raises:
        DataError: If a model cannot be loaded.
    """

    def __init__(self, plan: FramePlan) -> None:
        self._plan = plan
        self._scorer = ClipEncoder(plan.scorer.here(), plan.placement) if plan.scorer else None
        self._encoder = load_frame_encoder(plan.encoder.here(), plan.placement) if plan.encoder else None

    def finish(self, decoded: Decoded) -> Finished:
        """Do what is left to do for a video.

        Raises:
            DataError: If an embedding is not finite in float16.
        """
        task, frames = decoded.task, decoded.frames
        item_id, size = task.video.item_id, task.video.size
        if frames is None:
            return Finished(item_id, size, failure=decoded.failure)
        similarity = self._similarity(task, frames)
        chosen = np.arange(len(frames.numbers)) if similarity is None else best(similarity, task.sampling.n_frames)
        self._write_contact_sheet(task, frames, chosen, similarity)
        sample = Sample(
            item_id=item_id,
            sampler=task.sampling.sampler,
            frames=frames.numbers[chosen].tolist(),
            times=frames.times[chosen].round(6).tolist(),
            similarity=None if similarity is None else similarity[chosen].round(6).tolist(),
        )
        pictures = frames.pictures[chosen]
        return Finished(item_id, size, sample, self._encoder and _stored(self._encoder, pictures, item_id))

    def _similarity(self, task: DecodeTask, frames: Frames) -> np.ndarray | None:
        """Cosine of each frame with the title, [n]; None where frames are not scored."""
        if self._scorer is None or task.title is None:
            return None
        text = self._scorer.embed_text([task.title])[0].astype(np.float64)
        if self._plan.title_noise:
            text = noisy(text, self._plan.title_noise, item_rng(task.sampling.seed, task.video.item_id, "noise"))
        images = self._scorer.embed(frames.pictures).astype(np.float64)
        return images @ text / (np.linalg.norm(images, axis=1) * np.linalg.norm(text))

    def _write_contact_sheet(
        self, task: DecodeTask, frames: Frames, chosen: np.ndarray, similarity: np.ndarray | None
    ) -> None:
        if self._plan.contact_sheets is None:
            return
        path = self._plan.contact_sheets / f"{quote(task.video.item_id, safe=' ')}.png"
        write_contact_sheet(path, f"{task.video.item_id}  {task.title or ''}", frames, chosen, similarity)


def _stored(encoder: FrameEncoder, pictures: np.ndarray, item_id: str) -> np.ndarray:
    """Embeddings as they are stored, float16 [n, D]."""
    with np.errstate(over="ignore"):
        stored = encoder.embed(pictures).astype(np.float16)
    if not np.isfinite(stored).all():
        raise DataError(f"The embeddings of `{item_id}` are not finite in float16; try --precision float32.")
    return stored
