"""STAP at the size of the paper: latency by batch beside its Table S3, and memory of training by number of videos."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.common import Measurement, MemoryPeak, Options, Row, medians, run_child, time_each

_FRAMES, _FRAME_DIM, _TEXT_DIM, _METADATA = 100, 768, 1024, 9
# Table S3: batch -> mean milliseconds on a V100.
_PUBLISHED = {1: 1.892, 4: 2.135, 8: 3.242, 16: 7.281, 32: 14.563}
_VIDEOS = (600, 2_000, 6_000)
_SHOWN = 500  # memory_init_videos, so that the smallest data set has more
_STEPS = 8


def measure(options: Options) -> Measurement:
    """Latency at five batches; peak memory of some steps on three sizes of data set."""
    result = Measurement("stap", f"STAP, {_FRAMES} frames of {_FRAME_DIM} numbers, text of {_TEXT_DIM}")
    run = run_child(options, "stap.time_batches", gpu=True, repeats=3 if options.small else 15)
    result.raw["latency"] = run
    for batch, seconds in medians(run["seconds"]).items():
        n = int(batch)
        result.rows.append(
            Row(
                f"prediction, batch {n}, beside Table S3",
                f"{1000 * seconds:.2f} ms, {n / seconds:,.0f} videos/s",
                f"{_PUBLISHED[n]:.2f} ms, {1000 * n / _PUBLISHED[n]:,.0f} videos/s (published)",
            )
        )
    of_sixteen = 1000 * np.array(run["seconds"]["16"])
    slowest = np.percentile(of_sixteen, 99)
    result.rows.append(
        Row(
            f"prediction, batch 16, {len(of_sixteen)} times, beside Table S2",
            f"mean {of_sixteen.mean():.2f}, SD {of_sixteen.std(ddof=1):.3f}, P99 {slowest:.2f} ms",
            "mean 7.28, SD 0.020, P99 7.33 ms (published)",
        )
    )
    sizes = [n // 10 for n in _VIDEOS] if options.small else _VIDEOS
    peaks = {}
    for n in sizes:
        size = run_child(options, "stap.write_videos", folder=str(options.folder), n_videos=n)
        peaks[n] = {"store_mb": size, **run_child(options, "stap.train_steps", folder=str(options.folder), n_videos=n)}
    result.raw["memory"] = {str(n): peak for n, peak in peaks.items()}
    first, last = sizes[0], sizes[-1]
    for n in sizes:
        grown, added = peaks[n]["peak_mb"] - peaks[first]["peak_mb"], peaks[n]["store_mb"] - peaks[first]["store_mb"]
        result.rows.append(
            Row(
                f"memory of training, {n:,} videos, features on disk",
                f"{peaks[n]['peak_mb']:,.0f} MB",
                f"{peaks[n]['store_mb']:,.0f} MB of frames",
                goal="flat in the number of videos" if n == last else None,
                met=grown < 0.25 * added if n == last else None,
            )
        )
    result.notes.append(
        f"{run['parameters']:,} parameters, on {run['device']}; the published figures are of a V100 and of a model "
        "said to have 1.28 million. Memory is what a process takes beyond its libraries, without mapped files, as the "
        f"memory bank is laid out over memory_init_videos = {_SHOWN} videos (16,384 by default) and {_STEPS} steps are "
        "trained."
    )
    return result


def time_batches(repeats: int) -> dict[str, Any]:
    """Seconds of a prediction by batch size."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(device).eval()
    steps = {}
    for n in _PUBLISHED:
        batch = {
            "frames": torch.randn(n, _FRAMES, _FRAME_DIM, device=device),
            "frame_mask": torch.ones(n, _FRAMES, dtype=torch.bool, device=device),
            "text": torch.randn(n, 1, _TEXT_DIM, device=device),
            "text_mask": torch.ones(n, 1, dtype=torch.bool, device=device),
            "numeric": torch.randn(n, _METADATA, device=device),
        }
        steps[str(n)] = lambda batch=batch: _predict(model, batch)
    return {
        "device": "a CPU" if device.type == "cpu" else torch.cuda.get_device_name(),
        "parameters": model.parameter_counts()["model"],
        "seconds": time_each(steps, repeats, dict.fromkeys(steps, 3)),
    }


@torch.no_grad()
def _predict(model: Any, batch: dict[str, torch.Tensor]) -> list[float]:
    return model.predict(batch).tolist()  # the values are here: a GPU is through


def _model(device: torch.device) -> Any:
    from recbole_video.config import Config
    from recbole_video.popularity.base import InputShape
    from recbole_video.popularity.stap.model import STAP

    config = Config("STAP", "none")
    model = STAP(config, InputShape(_FRAME_DIM, _FRAMES, _TEXT_DIM, _METADATA)).to(device)
    rng = torch.Generator().manual_seed(0)
    n, bank = 4 * model.bank.n_slots, model.bank
    bank.initialise(*(torch.randn(n, width, generator=rng) for width in (bank.width, 32)), torch.rand(n, generator=rng))
    return model


def train_steps(folder: str, n_videos: int) -> dict[str, Any]:
    """Peak memory of laying the memory bank out and of some training steps, frames on disk, in MB."""
    from recbole_video.config import Config
    from recbole_video.data.labelled_loader import PopularityLoader, sample_rows
    from recbole_video.tasks.popularity import PopularityTask

    root, name = Path(folder), f"videos-{n_videos}"
    options = {"data_path": str(root), "frames_on_device": False, "text_store": "text", "label": "x",
               "memory_init_videos": _SHOWN}  # fmt: skip
    config = Config("STAP", name, config_dict=options)
    with MemoryPeak() as memory:
        before = memory.anonymous_mb
        task = PopularityTask(config)
        dataset, model = task.read_data(), task.make_model()
        loader = PopularityLoader(config, dataset, dataset.rows["train"], shuffle=True)
        shown = PopularityLoader(config, dataset, sample_rows(dataset.rows["train"], _SHOWN, 0), shuffle=False)
        model.before_epoch(config["memory_warmup_epochs"], shown)
        for step, batch in zip(range(_STEPS), loader, strict=False):
            model.calculate_loss(batch).backward()
            model.zero_grad(set_to_none=step < _STEPS)
    return {"peak_mb": memory.anonymous_mb - before}


def write_videos(folder: str, n_videos: int) -> float:
    """Write a data set of random videos; returns the size of its frames in MB."""
    from recbole_video import write_frame_store

    name, n = f"videos-{n_videos}", n_videos
    place = Path(folder) / name
    place.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    items = [f"v{i}" for i in range(n)]
    frames = rng.standard_normal((n, _FRAMES, _FRAME_DIM), dtype=np.float32).astype(np.float16)
    write_frame_store(place / f"{name}.frames.npy", items, frames, vfm="random", sampling="none")
    text = rng.standard_normal((n, 1, _TEXT_DIM), dtype=np.float32)
    write_frame_store(place / f"{name}.text.frames.npy", items, text, vfm="random", sampling="none")
    lines = [
        "user_id:token\titem_id:token\ttimestamp:float",
        *(f"u{i % 50}\t{item}\t{i}" for i, item in enumerate(items)),
    ]
    (place / f"{name}.inter").write_text("\n".join(lines) + "\n")
    split = ["train"] * (n - 20) + ["valid"] * 10 + ["test"] * 10
    rows = [f"{item}\t{rng.normal():.4f}\t{i}\t{part}" for i, (item, part) in enumerate(zip(items, split, strict=True))]
    header = "item_id:token\tlabel:float\ttime:float\tsplit:token"
    (place / f"{name}.x.popularity").write_text("\n".join([header, *rows]) + "\n")
    return frames.nbytes / 1e6
