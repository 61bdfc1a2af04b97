"""Where the work of a run is done: here, or on a Ray cluster; and what is done with a video's decoded frames.

Pictures of several videos share batches of one fixed size (:mod:`.batches`): what is stored of a video depends on the
video, its title and the settings, never on its neighbours, so that a run may be cut up and resumed at will.

On a cluster, Ray Data streams videos from decoding tasks on CPUs to actors with the models on GPUs, and holds the tasks
back while the actors are busy (its back-pressure), so that decoded frames never fill the cluster's memory. Finished
videos come back here, where shards are written as in a local run: the results are the same to the byte.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from recbole_video.dataset_tools.video.batches import Arriving, embed_each, to_device
from recbole_video.dataset_tools.video.contact_sheet import write_contact_sheet
from recbole_video.dataset_tools.video.decode import Decoded, DecodeTask, Frames
from recbole_video.dataset_tools.video.frame_encoders import ClipEncoder, load_frame_encoder
from recbole_video.dataset_tools.video.job import FramePlan
from recbole_video.dataset_tools.video.samplers import best, item_rng
from recbole_video.dataset_tools.video.samples import Finished, Sample
from recbole_video.dataset_tools.video.titles import noisy
from recbole_video.dataset_tools.video.workers import TIMEOUT, DecodePool, decode_row
from torch import Tensor

from recbole_video.errors import ConfigError, DataError
from recbole_video.runtime.ray_session import import_ray, ray_session

# Plan and tasks -> finished videos, in any order.
Executor = Callable[[FramePlan, Iterable[DecodeTask]], Iterator[Finished]]
# Videos that a decoding task takes on: enough to make its start negligible, few enough to balance.
_VIDEOS_PER_TASK = 4
# Pictures that go to an actor at a time, at most: some 350 MB of them.
_PICTURES_PER_CALL = 1000
# Not one, as the decoding tasks take: Ray runs steps of equal needs in one process, here on the GPU's.
_ACTOR_CORES = 0.5


def run_here(n_workers: int, timeout: float = TIMEOUT) -> Executor:
    """Decode in ``n_workers`` processes, ``timeout`` seconds per video at most, and run the models in this one."""

    def execute(plan: FramePlan, tasks: Iterable[DecodeTask]) -> Iterator[Finished]:
        maker = FrameMaker(plan)
        with DecodePool(n_workers, timeout) as pool:
            yield from maker.finish(pool.decode(tasks))

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
    return videos.map(decode_row, num_cpus=1).map_batches(
        _Actor,
        fn_constructor_args=(plan,),
        batch_size=_videos_per_call(plan),
        compute=ray.data.ActorPoolStrategy(size=n_actors),
        num_gpus=gpus,
        num_cpus=_ACTOR_CORES,
    )


def _videos_per_call(plan: FramePlan) -> int:
    """Videos that go to an actor, and come back, at a time: as many as fill a batch, since what is left is padded."""
    sampling = plan.sampling
    n_decoded = sampling.n_frames if plan.scorer is None else sampling.n_candidates
    return max(1, min(plan.placement.pictures_per_pass // sampling.n_frames, _PICTURES_PER_CALL // n_decoded))


class _Actor:
    """A FrameMaker that takes and gives batches of rows."""

    def __init__(self, plan: FramePlan) -> None:
        self._maker = FrameMaker(plan)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        finished = self._maker.finish(map(pickle.loads, batch["decoded"]))
        return {"finished": [pickle.dumps(video) for video in finished]}


@dataclass(frozen=True)
class _Video:
    """A video on its way to its choice of frames.

    Attributes:
        decoded: Its frames, or why there are none.
        pictures: The frames' pictures on the models' device, uint8 [n, height, width, 3].
        title: The embedding of its title, [1, D]; None where frames are not scored.
    """

    decoded: Decoded
    pictures: Tensor | None = None
    title: Arriving | None = None


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

    def finish(self, decoded: Iterable[Decoded]) -> Iterator[Finished]:
        """Do what is left to do for videos.

        They end in about the order in which they come: some wait for others, to share a batch of pictures with them.

        Raises:
            DataError: If an embedding is not finite in float16.
        """
        scored = embed_each(self._scorer, map(self._begin, decoded))
        chosen = (self._choose(video, images) for video, images in scored)
        for finished, embeddings in embed_each(self._encoder, chosen):
            yield finished if embeddings is None else _with_embeddings(finished, embeddings)

    def _begin(self, decoded: Decoded) -> tuple[_Video, Tensor | None]:
        """Send a video to the models' device; returned are its pictures as well where they are to be scored."""
        if decoded.frames is None:
            return _Video(decoded), None
        pictures = to_device(torch.from_numpy(decoded.frames.pictures), self._plan.placement.device)
        if self._scorer is None or decoded.task.title is None:
            return _Video(decoded, pictures), None
        return _Video(decoded, pictures, self._scorer.begin_text([decoded.task.title])), pictures

    def _choose(self, video: _Video, images: np.ndarray | None) -> tuple[Finished, Tensor | None]:
        """All but the embeddings of a video, and the pictures that are to be embedded."""
        task, frames = video.decoded.task, video.decoded.frames
        item_id, size = task.video.item_id, task.video.size
        if frames is None or video.pictures is None:
            return Finished(item_id, size, failure=video.decoded.failure), None
        similarity = self._similarity(video, images)
        chosen = np.arange(len(frames.numbers)) if similarity is None else best(similarity, task.sampling.n_frames)
        self._write_contact_sheet(task, frames, chosen, similarity)
        sample = Sample(
            item_id=item_id,
            sampler=task.sampling.sampler,
            frames=frames.numbers[chosen].tolist(),
            times=frames.times[chosen].round(6).tolist(),
            similarity=None if similarity is None else similarity[chosen].round(6).tolist(),
        )
        # By number, one by one: an index that is an array would be copied to the device, and waited for.
        return Finished(item_id, size, sample), torch.stack([video.pictures[number] for number in chosen.tolist()])

    def _similarity(self, video: _Video, images: np.ndarray | None) -> np.ndarray | None:
        """Cosine of each frame with the title, [n]; None where frames are not scored."""
        if video.title is None or images is None:
            return None
        task = video.decoded.task
        text = video.title.numpy()[0].astype(np.float64)
        if self._plan.title_noise:
            text = noisy(text, self._plan.title_noise, item_rng(task.sampling.seed, task.video.item_id, "noise"))
        images = images.astype(np.float64)
        return images @ text / (np.linalg.norm(images, axis=1) * np.linalg.norm(text))

    def _write_contact_sheet(
        self, task: DecodeTask, frames: Frames, chosen: np.ndarray, similarity: np.ndarray | None
    ) -> None:
        if self._plan.contact_sheets is None:
            return
        path = self._plan.contact_sheets / f"{quote(task.video.item_id, safe=' ')}.png"
        write_contact_sheet(path, f"{task.video.item_id}  {task.title or ''}", frames, chosen, similarity)


def _with_embeddings(finished: Finished, embeddings: np.ndarray) -> Finished:
    """With embeddings as they are stored, float16 [n, D]."""
    with np.errstate(over="ignore"):
        stored = embeddings.astype(np.float16)
    if not np.isfinite(stored).all():
        raise DataError(f"The embeddings of `{finished.item_id}` are not finite in float16; try --precision float32.")
    return replace(finished, embeddings=stored)
