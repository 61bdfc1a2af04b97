"""From shards to the results of a run: frame store, samples, report of failures; a shard in memory at a time."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from recbole_video.dataset_tools.video.failures import Failure
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.samples import settings_path
from recbole_video.dataset_tools.video.shards import Finished, Parts, read_shard

from recbole_video.content.store import FrameBlock, FrameStore, write_frame_blocks
from recbole_video.errors import DataError, counted
from recbole_video.files.atomic import write_atomically, write_json


class Results:
    """What the parts of a run amount to, for the videos that the run was to do.

    Args:
        parts: The run's parts.
        videos: The videos, in the order that the results will have.

    Attributes:
        items: Tokens of the videos that gave frames, in order.
        failures: The others, in order.
        samplers: How many videos each sampler chose the frames of.

    Raises:
        DataError: If a video has no record.
    """

    def __init__(self, parts: Parts, videos: list[VideoFile]) -> None:
        self._places = parts.find(videos)
        if lost := [video.item_id for video in videos if video.item_id not in self._places]:
            raise DataError(
                f"{counted(len(lost), 'video has', 'videos have')} no record in `{parts.folder}` (first: "
                f"`{lost[0]}`), which something else has "
                "changed; give the command again."
            )
        self._shards = sorted({shard for shard, _ in self._places.values()})
        failed: dict[str, Failure] = {}
        self.samplers: Counter[str] = Counter()
        for finished in self._finished(with_embeddings=False):
            if finished.failure is not None:
                failed[finished.item_id] = finished.failure
            if finished.sample is not None:
                self.samplers[finished.sample.sampler] += 1
        done = [video.item_id for video in videos]
        self.items = [item_id for item_id in done if item_id not in failed]
        self.failures = [failed[item_id] for item_id in done if item_id in failed]
        self._row_of = {item_id: row for row, item_id in enumerate(self.items)}

    def write_store(self, path: Path, n_frames: int, frame_dim: int, **manifest: Any) -> FrameStore:
        """Write the frame store; ``manifest`` as in :func:`write_frame_blocks`."""
        return write_frame_blocks(path, self.items, n_frames, frame_dim, self._blocks(n_frames), **manifest)

    def write_samples(self, path: Path, settings: dict[str, Any]) -> None:
        """Write the chosen frames, and beside them how they were chosen."""
        places = np.zeros((len(self.items), 2), np.int64)  # start and length of each video's line

        def write(file: IO[bytes]) -> None:
            with tempfile.TemporaryFile(dir=path.parent) as unsorted:
                self._write_lines(unsorted, places)
                for start, length in places.tolist():
                    unsorted.seek(start)
                    file.write(unsorted.read(length))

        write_json(settings_path(path), settings)
        write_atomically(path, write)

    def _write_lines(self, file: IO[bytes], places: np.ndarray) -> None:
        start = 0
        for finished in self._finished(with_embeddings=False):
            if finished.sample is not None:
                line = (json.dumps(asdict(finished.sample), ensure_ascii=False) + "\n").encode()
                places[self._row_of[finished.item_id]] = start, len(line)
                start += file.write(line)

    def _blocks(self, n_frames: int) -> Iterator[FrameBlock]:
        for shard in self._shards:
            videos = [v for v in self._of_shard(shard, True) if v.embeddings is not None]
            if videos:
                yield _block(videos, np.array([self._row_of[v.item_id] for v in videos]), n_frames)

    def _finished(self, with_embeddings: bool) -> Iterator[Finished]:
        for shard in self._shards:
            yield from self._of_shard(shard, with_embeddings)

    def _of_shard(self, shard: Path, with_embeddings: bool) -> Iterator[Finished]:
        """The videos whose record in this shard is the one that counts."""
        for position, finished in enumerate(read_shard(shard, with_embeddings)):
            if self._places.get(finished.item_id) == (shard, position):
                yield finished


def _block(videos: list[Finished], rows: np.ndarray, n_frames: int) -> FrameBlock:
    """Rows in ascending order, with zeros behind the last frame of each."""
    embeddings = [video.embeddings for video in videos if video.embeddings is not None]
    frames = np.zeros((len(videos), n_frames, embeddings[0].shape[1]), np.float16)
    for row, own in zip(frames, embeddings, strict=True):
        row[: len(own)] = own
    order = np.argsort(rows)
    counts = np.array([len(own) for own in embeddings])
    return FrameBlock(rows[order], frames[order], counts[order])
