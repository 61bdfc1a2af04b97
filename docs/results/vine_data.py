"""The data set of vine.yaml from posts.csv, users.csv, histogram.npy and text_vectors.npy (row i: video i + 1).

    python docs/results/vine_data.py RAW [--out=dataset]

Two splits of the labels log2(1 + loops): ``by-time``, 8:1:1 in the order of the posts, and ``random``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.__main__ import main as dataset_tools

from recbole_video import write_frame_store

_SPLITS = {"by-time": ["temporal"], "random": ["random", "--seed", "42"]}


def make(raw: Path, out: Path) -> None:
    """Write atomic files, labels, and the stores of histograms (one frame a video) and text vectors."""
    posts, users = str(raw / "posts.csv"), str(raw / "users.csv")
    words = ["generic", posts, "--name", "vine", "--user", "user", "--item", "video", "--time", "time"]
    words += ["--time_unit", "iso", "--items", posts, "--item_id", "video", "--counts", "loops", "--users", users]
    words += ["--user_id", "user", "--item_columns", "title_length:float=title_words", "--user_columns"]
    words += [f"{name}:float" for name in ("followers", "following", "posts", "loops_total", "likes_total")]
    _run([*words, "--out", str(out)])
    for name, split in _SPLITS.items():
        words = ["label", "vine", "--data_path", str(out), "--source", "loops", "--transform", "log2_1p"]
        _run([*words, "--label_name", name, "--split", *split, "--shares", "0.8", "0.1", "0.1"])
    for store, file in {"": "histogram", ".text": "text_vectors"}.items():
        rows = np.load(raw / f"{file}.npy").astype(np.float32)
        scaled = rows / rows.sum(axis=1, keepdims=True) if file == "histogram" else rows
        items = [str(i + 1) for i in range(len(rows))]
        path = out / "vine" / f"vine{store}.frames.npy"
        write_frame_store(path, items, scaled[:, None], vfm=f"published {file}", sampling="one row a video")


def _run(words: list[str]) -> None:
    if dataset_tools(words):
        raise SystemExit(1)


if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("--out=")]
    make(Path(sys.argv[1]), Path(options[0][6:] if options else "dataset"))
