"""One video's share of the decoding work, as a process or a cluster task gets it and answers it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from recbole_video.dataset_tools.video.decode import Frames, decode_frames
from recbole_video.dataset_tools.video.failures import Failure, VideoFailure
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.probe import read_timeline
from recbole_video.dataset_tools.video.samplers import SAMPLERS, Sampling


@dataclass(frozen=True)
class DecodeTask:
    """What to decode.

    Attributes:
        video: The video.
        sampling: How its frames are chosen.
        title: What its frames are scored against; None where they are not.
        numbers: Frame numbers, where they were chosen before.
        short_side: Pixels of the pictures' shorter side.
        accept_truncated: Take what a truncated file holds for the whole.
    """

    video: VideoFile
    sampling: Sampling
    title: str | None
    numbers: tuple[int, ...] | None
    short_side: int
    accept_truncated: bool


@dataclass(frozen=True)
class Decoded:
    """A video's decoded frames, or why there are none, with the task that asked for them."""

    task: DecodeTask
    frames: Frames | None = None
    failure: Failure | None = None


def decode(task: DecodeTask, threads: int) -> Decoded:
    """Decode what a task asks for; whatever the file does to the decoder comes back as a failure.

    Args:
        task: The task.
        threads: Threads of the decoder.
    """
    if not task.video.is_named_in_text:
        return failed(task, "misnamed", "rename it")
    try:
        timeline = read_timeline(task.video.path, task.accept_truncated)
        numbers = _chosen_before(task, len(timeline))
        if numbers is None:
            numbers = SAMPLERS[task.sampling.sampler](timeline, task.sampling, task.video.item_id)
        return Decoded(task, decode_frames(task.video.path, timeline, numbers, task.short_side, threads))
    except VideoFailure as error:
        return failed(task, error.reason, error.detail)
    except MemoryError:
        return failed(task, "crashed", "it ran out of memory")
    except (ValueError, ArithmeticError, LookupError, OSError, RuntimeError) as error:
        # PyAV raises all of these on malformed streams; one video must not end the run.
        return failed(task, "undecodable", f"{type(error).__name__}: {error}")


def _chosen_before(task: DecodeTask, n_frames: int) -> np.ndarray | None:
    if task.numbers is None:
        return None
    if task.numbers[-1] >= n_frames:
        raise VideoFailure("not_sampled", f"frame {task.numbers[-1]} was chosen, but the file has {n_frames} now")
    return np.asarray(task.numbers, np.int64)


def failed(task: DecodeTask, reason: str, detail: str) -> Decoded:
    """The answer to a task that cannot be done."""
    return Decoded(task, failure=Failure(task.video.item_id, task.video.name, reason, detail))
