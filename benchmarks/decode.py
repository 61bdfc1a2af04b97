"""Decoding 100 frames of real videos beside decord and beside seeking to each frame; memory and length."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import videos
from benchmarks.common import Measurement, MemoryPeak, Options, Row, medians, run_child, time_each

_FRAMES = 100
_SHORT_SIDE = 256
_LONGER = 10
_OURS, _DECORD, _SCALED, _SEEKING = "ours", "decord", "decord, scaling as it decodes", "seeking to each frame"
# Growth of memory below this share is not growth with the length of the video.
_FLAT = 1.15


def measure(options: Options) -> Measurement:
    """Time all three on each video, in turns in one process; then the memory of ours on a longer video."""
    result = Measurement("decode", f"{_FRAMES} frames of a video, shorter side {_SHORT_SIDE} pixels")
    paths = videos.real_videos()
    if not paths:
        result.notes.append("Skipped: no real videos; set RECBOLE_VIDEO_TEST_DATA to a folder with microlens/videos.")
        return result
    for path in paths[-1:] if options.small else paths:
        run = run_child(options, "decode.time_video", path=str(path), threads=options.threads)
        result.raw[path.name] = run
        seconds = medians(run["seconds"])
        what = f"{path.name}: {run['n_frames']} frames, {run['size']}, {run['codec']}"
        for name, goal in ((_DECORD, 1.3), (_SCALED, None), (_SEEKING, 10.0)):
            result.rows.append(_row(f"{what}; against {name}", seconds[_OURS], seconds[name], goal))
    longest = max(paths, key=lambda path: result.raw.get(path.name, {}).get("n_frames", 0))
    result.rows.append(_memory_row(options, longest, result))
    result.notes += [
        "Segment-middle frames as RGB arrays, from opening the file on; medians of calls in turns, the files warm in "
        f"the page cache, {options.threads} threads each. decord is timed as it is called by default, which gives "
        "pictures of full size that are yet to be scaled down, and scaling to the size of ours. Before timing, the "
        "pictures of ours, of the latter and of seeking are compared.",
        "Ours reads the packets' times first, lets the decoder skip frames that are not wanted and that no other is "
        "built on, and scales only what is kept.",
    ]
    return result


def _row(what: str, ours: float, other: float, goal: float | None) -> Row:
    return Row(what, f"{ours:.2f} s", f"{other:.2f} s", other / ours, goal)


def _memory_row(options: Options, path: Path, result: Measurement) -> Row:
    longer = videos.repeated(path, options.folder / f"longer-{path.name}", _LONGER)
    peaks = {p: run_child(options, "decode.peak_memory", path=str(p), threads=options.threads) for p in (path, longer)}
    result.raw["peak_mb"] = {p.name: peak for p, peak in peaks.items()}
    return Row(
        f"memory for {path.name} {_LONGER} times in a row / once",
        f"{peaks[longer]:.0f} MB",
        f"{peaks[path]:.0f} MB",
        goal="does not grow with length",
        met=peaks[longer] < _FLAT * peaks[path],
    )


def time_video(path: str, threads: int) -> dict[str, Any]:
    """Seconds of each call by method, and facts of the video."""
    from recbole_video.dataset_tools.video.probe import probe, read_timeline
    from recbole_video.dataset_tools.video.samplers import segment_middles

    info = probe(path)
    numbers = segment_middles(read_timeline(path), _FRAMES)
    methods = {
        _OURS: partial(decode_ours, path, threads),
        _DECORD: partial(_decode_with_decord, path, numbers, threads),
        _SCALED: partial(_decode_with_decord, path, numbers, threads, _size(info.width, info.height)),
        _SEEKING: partial(_seek_to_each, path, numbers, threads),
    }
    pictures = {name: method() for name, method in methods.items()}
    for name in (_SCALED, _SEEKING):
        _compare(pictures[_OURS], pictures[name], name)
    slow = {_SEEKING: methods.pop(_SEEKING)}
    seconds = time_each(methods, 7, dict.fromkeys(methods, 1), warms_up=False)
    seconds |= time_each(slow, 1, {_SEEKING: 1}, warms_up=False)
    return {
        "seconds": seconds,
        "n_frames": info.n_frames,
        "size": f"{info.width}x{info.height}",
        "codec": info.codec,
    }


def decode_ours(path: str, threads: int) -> np.ndarray:
    """The segments' middle frames by this package, uint8 [n, h, w, 3]."""
    from recbole_video.dataset_tools.video.decode import decode_frames
    from recbole_video.dataset_tools.video.probe import read_timeline
    from recbole_video.dataset_tools.video.samplers import segment_middles

    timeline = read_timeline(path)
    return decode_frames(path, timeline, segment_middles(timeline, _FRAMES), _SHORT_SIDE, threads).pictures


def _decode_with_decord(
    path: str, numbers: np.ndarray, threads: int, size: tuple[int, int] | None = None
) -> np.ndarray:
    import decord

    width, height = size or (-1, -1)
    reader = decord.VideoReader(path, width=width, height=height, num_threads=threads)
    return reader.get_batch(numbers.tolist()).asnumpy()


def _size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the pictures that ours gives."""
    scale = min(1.0, _SHORT_SIDE / min(width, height))
    return 2 * round(width * scale / 2), 2 * round(height * scale / 2)


def _seek_to_each(path: str, numbers: np.ndarray, threads: int) -> np.ndarray:
    """Seek to the keyframe before each frame and decode from there."""
    import av
    from recbole_video.dataset_tools.video.decode import _Album
    from recbole_video.dataset_tools.video.probe import read_timeline

    ticks = read_timeline(path).ticks[numbers].tolist()
    with av.open(path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        stream.codec_context.thread_count = threads
        album = _Album(stream, _SHORT_SIDE, len(ticks))
        for number, tick in enumerate(ticks):
            container.seek(tick, stream=stream)
            album.add(number, next(frame for frame in container.decode(stream) if frame.pts >= tick))
    return album.pictures


def _compare(ours: np.ndarray, other: np.ndarray, name: str) -> None:
    """Refuse to time methods that give different frames; scaling differs by a little."""
    difference = np.abs(ours.astype(np.int16) - other).mean()
    if ours.shape != other.shape or difference > 6:
        raise RuntimeError(f"The frames of `{name}` are not ours: {other.shape}, mean difference {difference:.1f}.")


def peak_memory(path: str, threads: int) -> float:
    """Most memory that decoding takes beyond what the process held before, in MB."""
    decode_ours(path, threads)  # libraries are loaded, and their buffers made, by now
    with MemoryPeak() as memory:
        before = memory.before_mb
        decode_ours(path, threads)
    return memory.rss_mb - before
