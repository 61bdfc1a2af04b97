"""The run: videos that are not done yet -> decoding -> choosing and embedding -> shards -> results."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
from recbole_video.dataset_tools.output.earlier import refuse_earlier
from recbole_video.dataset_tools.video.decode import DecodeTask
from recbole_video.dataset_tools.video.executors import Executor
from recbole_video.dataset_tools.video.failures import Failure, write_failures
from recbole_video.dataset_tools.video.frame_encoders import read_shape
from recbole_video.dataset_tools.video.job import Job
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.probe import import_av
from recbole_video.dataset_tools.video.samplers import RANDOM, RESAMPLE
from recbole_video.dataset_tools.video.samples import Finished, settings_path
from recbole_video.dataset_tools.video.shards import ShardFolder, ShardWriter, read_shard
from recbole_video.dataset_tools.video.weights import Weights
from tqdm import tqdm

from recbole_video.content.store import FrameBlock, FrameStore, write_frame_blocks
from recbole_video.errors import DataError, counted
from recbole_video.files.atomic import write_atomically, write_json
from recbole_video.files.replacement import Replacement, finish_replacements


@dataclass(frozen=True)
class Summary:
    """What a run has done.

    Attributes:
        n_videos: Videos with frames.
        failures: Videos without.
        n_untitled: Videos without a title, whose frames were chosen at random instead.
    """

    n_videos: int
    failures: list[Failure]
    n_untitled: int


def run_job(job: Job, executor: Executor) -> Summary:
    """Do what is not done yet and write the results.

    A run that was stopped in any way goes on where it was when this is called again.

    Args:
        job: What is to be made.
        executor: Where it is done.

    Raises:
        DataError: If results are there already, shards were made with other settings or are being made by another
            process, or no video gives frames.
    """
    finish_replacements(job.outputs.folder)
    settings = _settings(job)
    if not ShardFolder.are_of(job.outputs.parts, settings):  # else the results are those of the run that goes on
        refuse_earlier(job.results(), job.overwrite)
    import_av()
    shards = ShardFolder(job.outputs.parts, settings, discard=job.overwrite)
    with shards.locked():
        summary = _process(job, shards, executor)
    shards.remove()
    return summary


def _process(job: Job, shards: ShardFolder, executor: Executor) -> Summary:
    shards.recover()
    done = shards.find(job.videos, again=True)
    tasks = (_task(job, video) for video in job.videos if video.item_id not in done)
    bar = tqdm(total=len(job.videos), initial=len(done), unit="video", desc=job.outputs.name, disable=None)
    with bar, ShardWriter(shards) as writer:
        for finished in executor(job.plan, tasks):
            writer.add(finished)
            bar.update()
    return _write_results(job, shards)


def _settings(job: Job) -> dict[str, Any]:
    """Whatever the results depend on: what shards must agree in."""
    chosen = {} if job.chosen is None else {"chosen": job.chosen.sha256}
    return {**job.sampling_settings, **job.plan.encoding_settings(), **chosen}


def _task(job: Job, video: VideoFile) -> DecodeTask:
    """What to decode of a video; without a title there is nothing to score frames against."""
    sampling, title, numbers = job.plan.sampling, None, None
    if job.chosen is not None:
        numbers = tuple(job.chosen.samples[video.item_id].frames)
    elif sampling.sampler == RESAMPLE:
        title = job.titles.get(video.item_id)
        sampling = sampling if title is not None else replace(sampling, sampler=RANDOM)
    return DecodeTask(video, sampling, title, numbers, job.plan.short_side, job.plan.accept_truncated)


def _write_results(job: Job, shards: ShardFolder) -> Summary:
    results = Results(shards, job.videos)
    outputs = job.outputs
    failures = sorted([*results.failures, *job.failed], key=lambda failure: failure.item_id)
    if not results.items:
        write_failures(outputs.failures, failures)
        raise DataError(f"None of the {len(failures)} videos gave frames; `{outputs.failures}` says why.")
    with Replacement(outputs.folder, outputs.frames.name) as new:
        write_failures(new.file(outputs.failures.name), failures)
        if job.chosen is None:
            results.write_samples(new.file(outputs.samples.name), job.sampling_settings)
        if job.plan.encoder is not None:
            _write_store(job, job.plan.encoder, results, new.file(outputs.frames.name))
    looked = job.plan.sampling.sampler == RESAMPLE and job.titles.condition != "none"
    n_untitled = results.samplers[RANDOM] if looked else 0
    return Summary(len(results.items), failures, n_untitled)


def _write_store(job: Job, encoder: Weights, results: Results, path: Path) -> None:
    settings = job.sampling_settings
    sampler, n_frames = settings["sampler"], int(settings["n_frames"])
    of = f" of {settings['n_candidates']}" if sampler in (RANDOM, RESAMPLE) else ""
    results.write_store(
        path,
        n_frames,
        read_shape(encoder).frame_dim,
        vfm=encoder.place,
        sampling=f"{sampler}, {n_frames}{of} frames",
        settings={**settings, **job.plan.encoding_settings()},
    )


class Results:
    """What the shards of a run amount to, for the videos that the run was to do.

    Args:
        shards: The shards of the run.
        videos: The videos, in the order that the results will have.

    Attributes:
        items: Tokens of the videos that gave frames, in order.
        failures: The others, in order.
        samplers: How many videos each sampler chose the frames of.

    Raises:
        DataError: If a video has no record.
    """

    def __init__(self, shards: ShardFolder, videos: list[VideoFile]) -> None:
        self._places = shards.find(videos)
        if lost := [video.item_id for video in videos if video.item_id not in self._places]:
            raise DataError(
                f"{counted(len(lost), 'video has', 'videos have')} no record in `{shards.folder}` (first: "
                f"`{lost[0]}`), which something else has changed; give the command again."
            )
        self._shards = sorted({shard for shard, _ in self._places.values()})
        self.samplers: Counter[str] = Counter()
        failed = self._count()
        self.items = [video.item_id for video in videos if video.item_id not in failed]
        self.failures = [failed[video.item_id] for video in videos if video.item_id in failed]
        self._row_of = {item_id: row for row, item_id in enumerate(self.items)}

    def _count(self) -> dict[str, Failure]:
        """The failures by item; the videos with frames are counted by their sampler."""
        failed: dict[str, Failure] = {}
        for finished in self._finished(with_embeddings=False):
            if finished.failure is not None:
                failed[finished.item_id] = finished.failure
            if finished.sample is not None:
                self.samplers[finished.sample.sampler] += 1
        return failed

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
