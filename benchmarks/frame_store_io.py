"""Writing frame embeddings and gathering random items, beside LMDB and safetensors on the same data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import Measurement, Options, Row, medians, run_child, time_each

_SHAPE = (100_000, 5, 384)  # five times MicroLens-100K
_SMALL_SHAPE = (2_000, 5, 384)
_BATCH = 660  # items of a training batch: 60 sequences of 11
_BATCHES = 50
_OURS, _LMDB, _SAFETENSORS = "ours", "LMDB", "safetensors"


def measure(options: Options) -> Measurement:
    """Write and gather with all three, in turns in one process."""
    shape = _SMALL_SHAPE if options.small else _SHAPE
    result = Measurement(
        "frame-store-io", f"Frame store: {shape[0]:,} items of {shape[1]} frames of {shape[2]} numbers"
    )
    run = run_child(options, "frame_store_io.time_stores", folder=str(options.folder), shape=shape)
    result.raw = run
    megabytes = run["megabytes"]
    written, gathered = medians(run["write_seconds"]), medians(run["gather_seconds"])
    for name in (_LMDB, _SAFETENSORS):
        result.rows.append(
            Row(
                f"writing {megabytes:,.0f} MB to disk, against {name}",
                f"{megabytes / written[_OURS]:,.0f} MB/s",
                f"{megabytes / written[name]:,.0f} MB/s",
                written[name] / written[_OURS],
            )
        )
    for name in (_LMDB, _SAFETENSORS):
        result.rows.append(
            Row(
                f"gathering {_BATCH} random items, against {name}",
                f"{_BATCHES * _BATCH / gathered[_OURS]:,.0f} items/s",
                f"{_BATCHES * _BATCH / gathered[name]:,.0f} items/s",
                gathered[name] / gathered[_OURS],
            )
        )
    result.notes.append(
        "All three end with the data flushed to the disk. Ours also checks every value and stores a checksum, which is "
        "a second reading of the array. LMDB holds one value per item under its token, written in one transaction; "
        "safetensors holds one array, gathered row by row with get_slice. Gathering is from warm files into a float16 "
        "array per batch, by token with LMDB and by row with the others; before timing, all three are compared."
    )
    return result


def time_stores(folder: str, shape: tuple[int, int, int]) -> dict[str, Any]:
    """Seconds of each call by store."""
    rng = np.random.default_rng(0)
    frames = rng.standard_normal(shape, dtype=np.float32).astype(np.float16)
    tokens = [f"v{i:07d}" for i in range(len(frames))]
    root = Path(folder)
    writers: dict[str, Callable[[], Any]] = {
        _OURS: lambda: _write_ours(root / "io.frames.npy", tokens, frames),
        _LMDB: lambda: _write_lmdb(root / "io.lmdb", tokens, frames),
        _SAFETENSORS: lambda: _write_safetensors(root / "io.safetensors", frames),
    }
    write_seconds = time_each(writers, 5, dict.fromkeys(writers, 1), warms_up=False)
    batches = [rng.integers(len(frames), size=_BATCH) for _ in range(_BATCHES)]
    gatherers = {
        _OURS: _gather_ours(root / "io.frames.npy"),
        _LMDB: _gather_lmdb(root / "io.lmdb", tokens, shape),
        _SAFETENSORS: _gather_safetensors(root / "io.safetensors", shape),
    }
    for name, gather in gatherers.items():
        if not np.array_equal(gather(batches[0]), frames[batches[0]]):
            raise RuntimeError(f"{name} gives other frames than were written.")
    steps = {name: (lambda g=gather: [g(batch) for batch in batches]) for name, gather in gatherers.items()}
    return {
        "megabytes": frames.nbytes / 1e6,
        "write_seconds": write_seconds,
        "gather_seconds": time_each(steps, 5, dict.fromkeys(steps, 1)),
    }


def _write_ours(path: Path, tokens: list[str], frames: np.ndarray) -> None:
    from recbole_video import write_frame_store

    write_frame_store(path, tokens, frames, vfm="random", sampling="none")


def _write_lmdb(path: Path, tokens: list[str], frames: np.ndarray) -> None:
    import lmdb

    for file in path.glob("*"):
        file.unlink()
    with lmdb.open(str(path), map_size=4 * frames.nbytes + 2**24) as environment:
        with environment.begin(write=True) as transaction:
            for token, row in zip(tokens, frames, strict=True):
                transaction.put(token.encode(), row.tobytes(), append=True)
        environment.sync(True)


def _write_safetensors(path: Path, frames: np.ndarray) -> None:
    import os

    from safetensors.numpy import save_file

    save_file({"frames": frames}, path)
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _gather_ours(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    from recbole_video import FrameStore

    store = FrameStore(path)
    return lambda rows: store.frames[rows]


def _gather_lmdb(path: Path, tokens: list[str], shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    import lmdb

    environment = lmdb.open(str(path), readonly=True, lock=False, readahead=False)

    def gather(rows: np.ndarray) -> np.ndarray:
        frames = np.empty((len(rows), *shape[1:]), np.float16)
        with environment.begin(buffers=True) as transaction:
            for position, row in enumerate(rows.tolist()):
                value = transaction.get(tokens[row].encode())
                frames[position] = np.frombuffer(value, np.float16).reshape(shape[1:])
        return frames

    return gather


def _gather_safetensors(path: Path, shape: tuple[int, int, int]) -> Callable[[np.ndarray], np.ndarray]:
    from safetensors import safe_open

    opened = safe_open(path, framework="numpy")
    array = opened.get_slice("frames")

    def gather(rows: np.ndarray) -> np.ndarray:
        frames = np.empty((len(rows), *shape[1:]), np.float16)
        for position, row in enumerate(rows.tolist()):
            frames[position] = array[row : row + 1][0]
        return frames

    return gather
