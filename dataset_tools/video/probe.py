"""What a video file really holds: its frames' times by reading the packets, not by trusting the header."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.failures import VideoFailure
from recbole_video.dataset_tools.video.samplers import Timeline

from recbole_video.runtime.dependencies import import_optional

# Headers are off by a few frames in sound files; beyond this share of them the file was cut.
_LOST_SHARE = 0.05
# Containers whose clock may start anew within a file: files that were joined by their bytes, as HLS downloads are.
_RESTARTING = frozenset(["mpegts", "mpeg"])
# Seconds by which a clock goes back, or jumps ahead, only if it has started anew; as FFmpeg takes them.
_BACK, _AHEAD = 0.1, 10.0
_UNTIMED = frozenset(["avi"])  # containers that say when frames are decoded, and not when they are shown
_MICROSECONDS = 1_000_000  # in which PyAV gives a container's duration


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video without decoding all of it.

    Attributes:
        n_frames: Frames that the file holds.
        duration: Seconds from the first frame's start to the last one's end.
        fps: Frames per second, on average.
        width: Width of the picture as it is shown, in pixels.
        height: Height of the picture as it is shown, in pixels.
        rotation: Degrees by which the picture is turned counterclockwise to be shown.
        codec: Name of the codec.
    """

    n_frames: int
    duration: float
    fps: float
    width: int
    height: int
    rotation: int
    codec: str


def probe(path: str | Path) -> VideoInfo:
    """Read what is known of a video without decoding all of it.

    Raises:
        VideoFailure: If the file has no frames to decode.
        MissingDependencyError: Without PyAV.
    """
    timeline = read_timeline(path)
    with open_video(path) as (container, stream):
        frame = next(iter(container.decode(stream)), None)
        if frame is None:
            raise VideoFailure("undecodable", "no frame decodes")
        width, height = shown_size(frame, stream)
        return VideoInfo(
            n_frames=len(timeline),
            duration=timeline.duration,
            fps=len(timeline) / timeline.duration,
            width=width,
            height=height,
            rotation=frame.rotation % 360,
            codec=stream.codec_context.name,
        )


def read_duration(path: str | Path) -> float:
    """Read how many seconds a video lasts, as its header says; nothing else of the file is read if it has one.

    Raises:
        VideoFailure: If the file is no video or does not say how long it is.
        MissingDependencyError: Without PyAV.
    """
    with open_video(path) as (container, _):
        if container.format.name not in _RESTARTING:
            if not container.duration or container.duration < 0:
                raise VideoFailure("unreadable", "it does not say how long it is")
            return container.duration / _MICROSECONDS
    return read_timeline(path, accept_truncated=True).duration  # there is no header to say it


def read_timeline(path: str | Path, accept_truncated: bool = False) -> Timeline:
    """Read when each frame is shown, without decoding.

    Args:
        path: The file.
        accept_truncated: Take what a truncated file holds for the whole.

    Raises:
        VideoFailure: If there are no frames, or fewer than the header promises.
    """
    with open_video(path) as (container, stream):
        packets = _read_packets(container, stream)
        if not packets.starts:
            raise VideoFailure("truncated", "not one frame is in the file")
        lack = packets.fault or _lack(packets, container, stream)
        if lack and not accept_truncated:
            raise VideoFailure("truncated", lack)
        ticks = Fraction(stream.time_base)
        return Timeline.of_frames(packets.starts, packets.lengths, ticks, stream.average_rate, packets.has_pts)


@dataclass
class _Packets:
    """What the packets of a file say.

    Attributes:
        starts: Start of each frame of the video stream in ticks, in order of decoding.
        lengths: Their lengths in ticks; 0 where it is not said.
        end: Seconds at which the last packet of any stream ends.
        n_hidden: Frames that an edit list cuts off.
        has_pts: Whether all of them say when they are shown, and not only when they are decoded.
        n_restarts: How often the clock starts anew.
        fault: What broke the reading off; empty if it came to the end.
    """

    starts: list[int] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    end: float = 0.0
    n_hidden: int = 0
    has_pts: bool = True
    n_restarts: int = 0
    fault: str = ""

    def add(self, packet: Any, stream_index: int) -> None:
        """Take in a packet of any stream; ``stream_index`` is that of the video stream."""
        start = packet.pts if packet.pts is not None else packet.dts
        if not packet.size or start is None:
            return
        length = packet.duration or 0
        self.end = max(self.end, float((start + length) * packet.time_base))
        if packet.stream_index != stream_index:
            return
        if packet.is_discard:
            self.n_hidden += 1
            return
        self.has_pts &= packet.pts is not None
        self.starts.append(start)
        self.lengths.append(length)


def _read_packets(container: Any, stream: Any) -> _Packets:
    from av.error import FFmpegError

    packets = _Packets(has_pts=container.format.name not in _UNTIMED)
    clock = Clock(container, stream)
    try:
        for packet in container.demux(*([stream] if stream.frames else [])):  # all streams where no count is promised
            clock.straighten(packet)
            packets.add(packet, stream.index)
    except FFmpegError as error:
        packets.fault = f"after {len(packets.starts)} frames: {error.strerror}"
    packets.n_restarts = clock.n_restarts
    return packets


class Clock:
    """Makes one clock of those of a video stream whose packets come from files that were joined.

    Args:
        container: PyAV's container.
        stream: Its video stream.

    Attributes:
        n_restarts: How often the clock has started anew.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._index = stream.index if container.format.name in _RESTARTING else None
        self._back, self._ahead = (int(seconds / stream.time_base) for seconds in (_BACK, _AHEAD))
        self._previous: int | None = None  # when the last packet was to be decoded, by its own clock
        self._end = 0  # when the last frame so far ends, by the one clock
        self._offset = 0
        self.n_restarts = 0

    def straighten(self, packet: Any) -> None:
        """Give a packet its times on the one clock."""
        if packet.stream_index != self._index or packet.dts is None or packet.pts is None:
            return
        own, length = packet.dts, packet.duration or 0
        if self._previous is not None and not -self._back <= own - self._previous <= self._ahead:
            self._offset = self._end - packet.pts
            self.n_restarts += 1
        self._previous = own
        packet.pts += self._offset
        packet.dts += self._offset
        self._end = max(self._end, packet.pts + length)


def _lack(packets: _Packets, container: Any, stream: Any) -> str:
    """What the header promises and the file does not hold; empty if it keeps its word.

    Some containers count frames; of others the duration is compared, sound included, which may outlast the video.
    """
    if packets.n_restarts:
        return ""  # what is said of the whole is true of one part
    n_frames, n_promised = len(packets.starts) + packets.n_hidden, stream.frames
    if n_promised:
        is_short = n_frames < (1 - _LOST_SHARE) * n_promised
        return f"{n_frames} of {n_promised} frames are in the file" if is_short else ""
    promised = (container.duration or 0) / _MICROSECONDS
    is_short = packets.end - (container.start_time or 0) / _MICROSECONDS < (1 - _LOST_SHARE) * promised
    return f"{packets.end:.1f} of {promised:.1f} s are in the file" if is_short else ""


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and find its video stream.

    Yields:
        PyAV's container and stream.

    Raises:
        VideoFailure: If there is no such file, or nothing in it to decode.
        MissingDependencyError: Without PyAV.
    """
    av = import_av()
    _check_content(Path(path))
    try:
        container = av.open(str(path))
    except av.error.FFmpegError as error:
        raise VideoFailure("unreadable", str(error.strerror or error)) from error
    with container:
        streams = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not container.streams:
            raise VideoFailure("unreadable", "it has no streams")
        if not streams:
            kinds = sorted({stream.type for stream in container.streams})
            raise VideoFailure("no_video", f"its streams are {', '.join(kinds)}")
        yield container, streams[0]


def _check_content(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise VideoFailure("missing", str(error.strerror)) from error
    if size == 0:
        raise VideoFailure("empty", "0 bytes")


def shown_size(frame: Any, stream: Any) -> tuple[int, int]:
    """Width and height of a frame in square pixels, turned as it is shown."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if frame.rotation % 180 else (width, height)


def import_av() -> Any:
    """Import PyAV, silent as it is by default: with its logging on, decoder threads and Python can block each other.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    return import_optional("av", "Reading videos needs PyAV; uv pip install -e '.[video]' in the checkout.")
