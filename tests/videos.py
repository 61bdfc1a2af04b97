"""Small videos whose frames carry their number as black and white squares, and other files that are none."""

from fractions import Fraction

import av
import numpy as np

SIZE = 64, 48  # width and height
_SQUARE = 16
_BITS = (SIZE[0] // _SQUARE) * (SIZE[1] // _SQUARE)
MILLISECOND = Fraction(1, 1000)


def numbered_picture(number):
    """uint8 [48, 64, 3]: twelve squares, the bits of ``number``."""
    bits = [(number >> bit) & 1 for bit in range(_BITS)]
    squares = np.array(bits, np.uint8).reshape(SIZE[1] // _SQUARE, SIZE[0] // _SQUARE) * 255
    return np.repeat(np.kron(squares, np.ones((_SQUARE, _SQUARE), np.uint8))[..., None], 3, axis=2)


def read_number(picture):
    """The number in a picture of any size."""
    height, width = picture.shape[:2]
    rows = ((np.arange(SIZE[1] // _SQUARE) + 0.5) * height / (SIZE[1] // _SQUARE)).astype(int)
    columns = ((np.arange(SIZE[0] // _SQUARE) + 0.5) * width / (SIZE[0] // _SQUARE)).astype(int)
    bits = (picture[np.ix_(rows, columns)].mean(axis=2) > 127).ravel()
    return int(sum(1 << bit for bit, on in enumerate(bits) if on))


def write_video(
    path, n_frames=40, fps=30, milliseconds=None, rotation=0, pictures=None, audio=False, scale=1, **options
):
    """Write an H.264 video with B-frames.

    Args:
        path: mp4, mkv, ...
        n_frames: Frames.
        fps: Frames per second.
        milliseconds: Start of each frame, for a variable frame rate.
        rotation: Degrees by which players turn it, counterclockwise.
        pictures: uint8 [n, height, width, 3] instead of numbers.
        audio: Write a sound track beside the pictures.
        scale: Size of the picture, in multiples of 64 x 48.
        options: Of the codec.
    """
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "12", "g": "16", "bf": "3", **options})
        first = numbered_picture(0) if pictures is None else pictures[0]
        stream.width, stream.height = first.shape[1] * scale, first.shape[0] * scale
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        if milliseconds is not None:
            stream.codec_context.time_base = MILLISECOND
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        for number in range(n_frames if pictures is None else len(pictures)):
            picture = numbered_picture(number) if pictures is None else pictures[number]
            frame = av.VideoFrame.from_ndarray(picture.repeat(scale, 0).repeat(scale, 1), format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], MILLISECOND
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if sound is not None:
            _write_sound(container, sound, n_frames / fps)
    return path


def write_sound(path, seconds=1.0):
    """Write a file with sound alone."""
    with av.open(str(path), "w") as container:
        _write_sound(container, container.add_stream("aac", rate=16000, layout="mono"), seconds)
    return path


def _write_sound(container, stream, seconds):
    for start in range(0, int(16000 * seconds), 1024):
        samples = np.sin(np.arange(start, start + 1024) / 20).astype(np.float32)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 16000, start
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def cut(source, target, share):
    """Copy the first ``share`` of a file's bytes."""
    content = source.read_bytes()
    target.write_bytes(content[: int(len(content) * share)])
    return target
