"""Frames per second of the frame encoders, random weights in real shapes: alone, and with decoding before them."""

from __future__ import annotations

import json
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from benchmarks import videos
from benchmarks.common import Measurement, Options, Row, run_child

_PER_VIDEO = 5
_CANDIDATES = 100
# Of the rate of the slower half, what the whole path must reach.
_SHARE = 0.5
_DINOV3, _CLIP = "DINOv3 ViT-S/16", "CLIP ViT-B/32"
_PICTURE = (256, 455, 3)  # a 720p frame as it is decoded


def measure(options: Options) -> Measurement:
    """Time both encoders, then the whole path of each video."""
    result = Measurement("encode", "Encoding frames, random weights, 224 x 224 pixels")
    paths = [str(path) for path in videos.real_videos()]
    run = run_child(
        options, "encode.time_all", gpu=True, folder=str(options.folder), paths=paths, workers=options.threads
    )
    result.raw = run
    for name, rates in run["encoders"].items():
        for size, rate in rates.items():
            result.rows.append(Row(f"{name}, {size} frames a pass, decoding excluded", f"{rate:,.0f} frames/s", ""))
    if paths:
        result.rows.append(_path_row(run["path"]))
    else:
        result.notes.append("Without real videos, decoding is not included; set RECBOLE_VIDEO_TEST_DATA.")
    result.notes.append(
        f"On {run['device']} in {run['precision']}. Frames are {_PICTURE[1]} x {_PICTURE[0]} pictures in memory; "
        f"resizing, normalising and the way to the device count. The path is the real one: {options.threads} decoding "
        "processes, the models in the main one, three videos of 720p HEVC and one of 240p H.264 in turns. Decoding "
        "alone: the same processes on the same videos, their pictures handed over and dropped; encoding alone: the "
        "same models on the same pictures, decoded before. Models are loaded and processes started before any clock."
    )
    return result


def _path_row(path: dict[str, float]) -> Row:
    """The rate of the whole against that of its slower half."""
    slower = min(("decoding", "encoding"), key=lambda part: path[part])
    return Row(
        f"decode {_CANDIDATES} frames, score them with {_CLIP}, embed {_PER_VIDEO} with {_DINOV3}; against the slower "
        f"of decoding alone ({path['decoding']:.2f} videos/s) and encoding alone ({path['encoding']:.2f} videos/s)",
        f"{path['whole']:.2f} videos/s",
        f"{path[slower]:.2f} videos/s ({slower} alone)",
        path["whole"] / path[slower],
        _SHARE,
    )


def time_all(folder: str, paths: list[str], workers: int) -> dict[str, Any]:
    """Rates of the encoders and of the whole path."""
    import torch
    from recbole_video.dataset_tools.video.frame_encoders import Placement, load_frame_encoder
    from recbole_video.dataset_tools.video.weights import Source, find_weights

    torch.set_num_threads(workers)
    root = Path(folder)
    sources = {_DINOV3: Source("dinov3", str(_save_dinov3(root))), _CLIP: Source("clip", str(_save_clip(root)))}
    placement = Placement().resolved()
    on_gpu = placement.device != "cpu"
    rates = {}
    for name, source in sources.items():
        encoder = load_frame_encoder(find_weights(source), placement)
        size = placement.pictures_per_pass
        rates[name] = {size: _rate(encoder, 4 * size, 3.0 if on_gpu else 8.0)}
    path = _time_path(paths * (16 if on_gpu else 1), sources, workers) if paths else {}
    device = torch.cuda.get_device_name() if on_gpu else f"a CPU with {workers} threads"
    return {"encoders": rates, "path": path, "device": device, "precision": placement.precision}


def _rate(encoder: Any, n_frames: int, seconds: float) -> float:
    """Frames per second."""
    pictures = np.random.default_rng(0).integers(0, 255, (n_frames, *_PICTURE), dtype=np.uint8)
    encoder.embed(pictures)
    started, n_frames = perf_counter(), 0
    while perf_counter() - started < seconds:
        n_frames += len(encoder.embed(pictures))
    return n_frames / (perf_counter() - started)


def _time_path(paths: list[str], sources: dict[str, Any], workers: int) -> dict[str, float]:
    """Videos per second: of decoding alone, of the models alone, and of both, as a run has them."""
    from recbole_video.dataset_tools.video.decode import DecodeTask
    from recbole_video.dataset_tools.video.executors import FrameMaker
    from recbole_video.dataset_tools.video.job import make_frame_plan
    from recbole_video.dataset_tools.video.listing import VideoFile
    from recbole_video.dataset_tools.video.samplers import Sampling
    from recbole_video.dataset_tools.video.workers import DecodePool

    plan = make_frame_plan(Sampling(), sources[_DINOV3], sources[_CLIP])
    maker = FrameMaker(plan)
    tasks = [
        DecodeTask(
            VideoFile(str(i), Path(path), 0), plan.sampling, "a title of the video", None, plan.short_side, False
        )
        for i, path in enumerate(paths)
    ]
    with DecodePool(workers) as pool:
        list(pool.decode(tasks[-1:] * workers))  # each process is waited for
        kept = list(pool.decode(tasks[: len(set(paths))]))  # each video once
        _videos_per_second(maker.finish(kept[-1:]))  # libraries choose their kernels at the first call
        return {
            "decoding": _videos_per_second(pool.decode(tasks)),
            "encoding": _videos_per_second(maker.finish(kept[i % len(kept)] for i in range(len(tasks)))),
            "whole": _videos_per_second(maker.finish(pool.decode(tasks))),
        }


def _videos_per_second(results: Any) -> float:
    started = perf_counter()
    n_videos = sum(1 for _ in results)
    return n_videos / (perf_counter() - started)


def _save_dinov3(root: Path) -> Path:
    from recbole_video.runtime import torchvision_compat

    torchvision_compat.apply()
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    folder = root / "dinov3-vits16-shaped"
    DINOv3ViTModel(DINOv3ViTConfig()).save_pretrained(folder)  # its defaults are ViT-S/16's
    processor = {"size": {"height": 224, "width": 224}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def _save_clip(root: Path) -> Path:
    from recbole_video.runtime import torchvision_compat

    torchvision_compat.apply()
    import open_clip
    from safetensors.torch import save_file

    folder = root / "clip-vit-b-32-shaped"
    folder.mkdir(exist_ok=True)
    save_file(open_clip.create_model("ViT-B-32").state_dict(), folder / "open_clip_model.safetensors")
    config = {"model_cfg": open_clip.get_model_config("ViT-B-32"), "preprocess_cfg": {}}
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    return folder
