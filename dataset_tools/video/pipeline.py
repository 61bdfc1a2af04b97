"""The run: videos that are not done yet -> decoding -> choosing and embedding -> shards -> results."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recbole_video.dataset_tools.video.decode_task import DecodeTask
from recbole_video.dataset_tools.video.failures import Failure, write_failures
from recbole_video.dataset_tools.video.frame_encoders import read_shape
from recbole_video.dataset_tools.video.frame_maker import FrameMaker
from recbole_video.dataset_tools.video.listing import VideoFile
from recbole_video.dataset_tools.video.merge import Results
from recbole_video.dataset_tools.video.plan import Plan
from recbole_video.dataset_tools.video.probe import import_av
from recbole_video.dataset_tools.video.samplers import RANDOM, RESAMPLE
from recbole_video.dataset_tools.video.samples import ChosenFrames
from recbole_video.dataset_tools.video.shards import Finished, Parts, ShardWriter
from recbole_video.dataset_tools.video.titles import Titles
from recbole_video.dataset_tools.video.weights import Weights
from recbole_video.dataset_tools.video.workers import TIMEOUT, DecodePool
from tqdm import tqdm

from recbole_video.content.store import store_path
from recbole_video.errors import DataError
from recbole_video.files.replacement import Replacement, finish_replacements

# Plan and tasks -> finished videos, in any order.
Executor = Callable[[Plan, Iterable[DecodeTask]], Iterator[Finished]]


@dataclass(frozen=True)
class Outputs:
    """Where the results go.

    Attributes:
        folder: Folder of the data set.
        name: Name of the data set.
        store: Name of the frame store within it; empty for the default one.
    """

    folder: Path
    name: str
    store: str = ""

    def _file(self, suffix: str) -> Path:
        return self.folder / f"{self.name}{f'.{self.store}' if self.store else ''}{suffix}"

    @property
    def frames(self) -> Path:
        return store_path(self.folder, self.name, self.store)

    @property
    def samples(self) -> Path:
        return self._file(".samples.jsonl")

    @property
    def failures(self) -> Path:
        return self._file(".failures.csv")

    @property
    def parts(self) -> Path:
        return self._file(".parts")


@dataclass(frozen=True)
class Job:
    """What is to be made.

    Attributes:
        videos: The videos, sorted by item token.
        plan: What is done to each.
        titles: Their titles.
        outputs: Where the results go.
        chosen: Frames that were chosen before, of every video; None to choose now.
        failed: Videos that failed before and are not among ``videos``.
        overwrite: Replace results that are there.
    """

    videos: list[VideoFile]
    plan: Plan
    titles: Titles
    outputs: Outputs
    chosen: ChosenFrames | None = None
    failed: list[Failure] = field(default_factory=list)
    overwrite: bool = False

    @property
    def sampling_settings(self) -> dict[str, Any]:
        """How frames are chosen, or were."""
        return self.plan.sampling_settings(self.titles) if self.chosen is None else self.chosen.settings

    def results(self) -> list[Path]:
        """The files that the run makes, the report of failures apart."""
        made = [self.outputs.samples] if self.chosen is None else []
        return [*made, self.outputs.frames, self.outputs.frames.with_suffix(".json")] if self.plan.encoder else made


@dataclass(frozen=True)
class Summary:
    """How a run ended.

    Attributes:
        n_videos: Videos with frames.
        failures: Videos without.
        n_untitled: Videos without a title, whose frames were chosen at random instead.
    """

    n_videos: int
    failures: list[Failure]
    n_untitled: int


def make(job: Job, executor: Executor) -> Summary:
    """Do what is not done yet and write the results.

    A run that was stopped in any way goes on where it was when this is called again.

    Args:
        job: What is to be made.
        executor: Where it is done.

    Raises:
        DataError: If results are there already, parts were made with other settings or are being made by another
            process, or no video gives frames.
    """
    finish_replacements(job.outputs.folder)
    settings = _settings(job)
    if not Parts.are_of(job.outputs.parts, settings):  # else the results are those of the run that goes on
        _refuse_existing(job)
    import_av()
    parts = Parts(job.outputs.parts, settings, discard=job.overwrite)
    with parts.locked():
        summary = _make(job, parts, executor)
    parts.remove()
    return summary


def _make(job: Job, parts: Parts, executor: Executor) -> Summary:
    parts.recover()
    done = parts.find(job.videos, again=True)
    tasks = (_task(job, video) for video in job.videos if video.item_id not in done)
    bar = tqdm(total=len(job.videos), initial=len(done), unit="video", desc=job.outputs.name, disable=None)
    with bar, ShardWriter(parts) as writer:
        for finished in executor(job.plan, tasks):
            writer.add(finished)
            bar.update()
    return _write_results(job, parts)


def run_here(n_workers: int, timeout: float = TIMEOUT) -> Executor:
    """Decode in ``n_workers`` processes, ``timeout`` seconds per video at most, and run the models in this one."""

    def execute(plan: Plan, tasks: Iterable[DecodeTask]) -> Iterator[Finished]:
        maker = FrameMaker(plan)
        with DecodePool(n_workers, timeout) as pool:
            for decoded in pool.decode(tasks):
                yield maker.finish(decoded)

    return execute


def _refuse_existing(job: Job) -> None:
    there = [path for path in job.results() if path.exists()]
    if there and not job.overwrite:
        names = ", ".join(f"`{path}`" for path in there)
        raise DataError(f"{names} exist already; pass --overwrite to make them anew, or --store for another name.")


def _settings(job: Job) -> dict[str, Any]:
    """Whatever the results depend on: what parts must agree in."""
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


def _write_results(job: Job, parts: Parts) -> Summary:
    results = Results(parts, job.videos)
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
