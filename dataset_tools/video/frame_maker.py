"""From a video's decoded frames to the chosen ones and their embeddings, on the accelerator.

The pictures of one video make a batch of their own: what is stored of a video depends on the video, its
title and the settings, never on its neighbours, so that a run may be cut up and resumed at will.
"""

from __future__ import annotations

from urllib.parse import quote

import numpy as np
from recbole_video.dataset_tools.video.contact_sheet import write_contact_sheet
from recbole_video.dataset_tools.video.decode import Frames
from recbole_video.dataset_tools.video.decode_task import Decoded, DecodeTask
from recbole_video.dataset_tools.video.frame_encoders import ClipEncoder, FrameEncoder, load_frame_encoder
from recbole_video.dataset_tools.video.plan import Plan
from recbole_video.dataset_tools.video.samplers import best
from recbole_video.dataset_tools.video.samples import Sample
from recbole_video.dataset_tools.video.seeds import item_rng
from recbole_video.dataset_tools.video.shards import Finished
from recbole_video.dataset_tools.video.titles import noisy

from recbole_video.errors import DataError


class FrameMaker:
    """Chooses frames and embeds them, with the models of a plan.

    Args:
        plan: What to do.

    Raises:
        DataError: If a model cannot be loaded.
    """

    def __init__(self, plan: Plan) -> None:
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
