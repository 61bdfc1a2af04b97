"""Real videos for the measurements on decoding and encoding, and a longer one made of them."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.common import ROOT

_FOLDERS = ("microlens/videos", "other")


def real_videos() -> list[Path]:
    """The mp4 files under ``RECBOLE_VIDEO_TEST_DATA``, or ``../shared/data``; none where there is no such folder."""
    root = Path(os.environ.get("RECBOLE_VIDEO_TEST_DATA", ROOT.parent / "shared" / "data"))
    return [path for folder in _FOLDERS for path in sorted((root / folder).glob("*.mp4"))]


def repeated(source: Path, target: Path, times: int) -> Path:
    """Write a video several times in a row into one file, without encoding it anew."""
    import av

    with av.open(str(target), "w") as output:
        stream = None
        offset = 0
        for _ in range(times):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or output.add_stream_from_template(video)
                end = 0
                for packet in container.demux(video):
                    if packet.dts is None:
                        continue
                    end = max(end, packet.pts + packet.duration)
                    packet.pts, packet.dts, packet.stream = packet.pts + offset, packet.dts + offset, stream
                    output.mux(packet)
                offset += end
    return target
