"""Decoding frames of a video: once, in order, scaled down on the way; and a task of it, as a process gets it.

Seeking to each frame decodes the same stretch many times over, since real files have few keyframes.
Frames that are not wanted and that no other frame is built on are skipped by the decoder.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.video.failures import Failure, VideoFailure
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.probe import Clock, open_video, read_timeline, shown_size
from recbole_video.dataset_tools.video.samplers import SAMPLERS, Sampling, Timeline

# This share of the wanted frames may be damaged; the last sound one before stands in.
_DAMAGED_SHARE = 0.05
# Pixels up to which handing frames between threads takes longer than decoding them: 426 x 240; 480 x 270 gains.
_SMALL = 426 * 240


@dataclass(frozen=True)
class Frames:
    """Decoded frames of a video.

    Attributes:
        numbers: Frame numbers, int64 [n], distinct and ascending.
        times: Their starts after the start of the video, float64 [n] in seconds.
        pictures: uint8 [n, height, width, 3], RGB, upright.
    """

    numbers: np.ndarray
    times: np.ndarray
    pictures: np.ndarray


def decode_frames(
    path: str | Path, timeline: Timeline, numbers: np.ndarray, short_side: int | None = None, threads: int = 0
) -> Frames:
    """Decode some frames of a video.

    Args:
        path: The file.
        timeline: Its timeline.
        numbers: Frame numbers, distinct and ascending.
        short_side: Scale pictures down until their shorter side has this many pixels; smaller ones,
            and all by default, keep their size.
        threads: Threads of the decoder; 0 for one per core.

    Raises:
        VideoFailure: If the stream is damaged.
    """
    found = _decode(path, timeline, numbers, short_side, threads, skip=True)
    if found.n_damaged:
        # A frame that was skipped may be the one to stand in: look at all of them.
        found = _decode(path, timeline, numbers, short_side, threads, skip=False)
    if not found.numbers or found.n_damaged > max(1, _DAMAGED_SHARE * len(numbers)):
        detail = f"{found.n_damaged} of the {len(numbers)} frames that were asked for are damaged"
        raise VideoFailure("undecodable", detail)
    kept = np.array(found.numbers, np.int64)
    return Frames(kept, timeline.seconds(kept), found.pictures[: len(kept)])


@dataclass(frozen=True)
class DecodeTask:
    """Which frames of a video are to be decoded, and how.

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


def decode_task(task: DecodeTask, threads: int) -> Decoded:
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


def _decode(
    path: str | Path, timeline: Timeline, numbers: np.ndarray, short_side: int | None, threads: int, skip: bool
) -> _Album:
    waiting = deque(numbers.tolist())
    with open_video(path) as (container, stream):
        album = _Album(stream, short_side, len(numbers))
        previous = None
        for number, frame in _numbered(container, stream, timeline, threads, numbers if skip else None):
            _take(album, waiting, (number, frame), previous or (number, frame))
            if not waiting:
                break
            previous = number, frame
        album.n_damaged += len(waiting)
        if waiting and previous:
            album.add(*previous)
    return album


def _take(album: _Album, waiting: deque[int], frame: tuple[int, Any], stand_in: tuple[int, Any]) -> None:
    """Put a frame into the album if it is the next one wanted; ``stand_in`` for those before it, which are damaged."""
    while waiting and waiting[0] < frame[0]:
        waiting.popleft()
        album.n_damaged += 1
        album.add(*stand_in)
    if waiting and waiting[0] == frame[0]:
        waiting.popleft()
        album.add(*frame)


def _numbered(
    container: Any, stream: Any, timeline: Timeline, threads: int, wanted: np.ndarray | None
) -> Iterator[tuple[int, Any]]:
    """Sound frames in order of presentation, with their numbers.

    Args:
        container: PyAV's container.
        stream: Its video stream.
        timeline: The video's timeline.
        threads: Threads of the decoder.
        wanted: Numbers of the frames that must not be skipped; None to skip none.
    """
    stream.thread_type = "AUTO"
    context = stream.codec_context
    context.thread_count = 1 if context.width * context.height <= _SMALL else threads
    number_of = {tick: number for number, tick in enumerate(timeline.ticks.tolist())} if timeline.has_pts else {}
    must_show = None if wanted is None or not timeline.has_pts else set(timeline.ticks[wanted].tolist())
    number = -1
    for frame in _frames(container, stream, must_show):
        number = number_of.get(frame.pts, number + 1)
        if not frame.is_corrupt:
            yield number, frame


def _frames(container: Any, stream: Any, must_show: set[int] | None) -> Iterator[Any]:
    """Frames as the decoder gives them; what a damaged packet would have given is missed, and counted, by number.

    Args:
        container: PyAV's container.
        stream: Its video stream.
        must_show: Ticks of the frames that must not be skipped; None to skip none.
    """
    from av.error import FFmpegError

    clock = Clock(container, stream)
    for packet in container.demux(stream):
        clock.straighten(packet)
        if must_show is not None:
            can_skip = packet.pts is not None and packet.pts not in must_show
            stream.codec_context.skip_frame = "NONREF" if can_skip else "DEFAULT"
        try:
            frames = packet.decode()
        except FFmpegError:
            continue
        yield from frames


def _even(length: float) -> int:
    """The nearest even number: scaling to an odd width takes twice as long."""
    return max(2, 2 * round(length / 2))


class _Album:
    """Upright RGB pictures of one size, fixed by the first of them, in memory that is taken once.

    Attributes:
        numbers: Frame numbers of the pictures, ascending.
        pictures: uint8 [at least as many, height, width, 3].
        n_damaged: Wanted frames that did not decode.
    """

    def __init__(self, stream: Any, short_side: int | None, capacity: int) -> None:
        from av.video.reformatter import VideoReformatter

        self.numbers: list[int] = []
        self.pictures = np.empty((capacity, 0, 0, 3), np.uint8)
        self.n_damaged = 0
        self._stream = stream
        self._short_side = short_side
        self._reformatter = VideoReformatter()

    def add(self, number: int, frame: Any) -> None:
        """Scale a frame and put it behind the others, unless it is the last of them already."""
        if self.numbers and self.numbers[-1] == number:
            return
        if not self.numbers:
            width, height = self._size(frame)
            self.pictures = np.empty((len(self.pictures), height, width, 3), np.uint8)
        self.pictures[len(self.numbers)] = self._upright(frame)
        self.numbers.append(number)

    def _upright(self, frame: Any) -> np.ndarray:
        height, width = self.pictures.shape[1:3]
        turns = round(frame.rotation / 90) % 4  # counterclockwise, as rot90 turns
        if turns % 2:
            width, height = height, width
        scaled = self._reformatter.reformat(frame, width, height, "rgb24", interpolation="AREA")
        return np.rot90(scaled.to_ndarray(), turns)

    def _size(self, frame: Any) -> tuple[int, int]:
        """Width and height of the pictures."""
        width, height = shown_size(frame, self._stream)
        scale = (self._short_side or min(width, height)) / min(width, height)
        if scale >= 1:
            return width, height
        return _even(width * scale), _even(height * scale)
