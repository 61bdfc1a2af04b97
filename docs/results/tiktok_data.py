"""The two data sets of tiktok.yaml from actions.csv (user, item), image.npy and audio.npy (row i: item i).

    python docs/results/tiktok_data.py RAW [--out=dataset]

``tiktok`` keeps the order of the file, ``tiktok-shuffled`` shuffles each user's actions, seeded. ``tiktok/above.csv``
lists for each user the most popular videos of a higher number than the last one of the history.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.__main__ import main as dataset_tools

from recbole_video import write_frame_store

_N_LISTED = 20


def make(raw: Path, out: Path) -> None:
    """Write both data sets, their stores and the lists."""
    actions = pd.read_csv(raw / "actions.csv", usecols=["user", "item"])
    vectors = {name: np.load(raw / f"{name}.npy") for name in ("image", "audio")}
    for name, ordered in (("tiktok", actions), ("tiktok-shuffled", actions.sample(frac=1, random_state=0))):
        folder = out / name
        source = out / f"{name}.csv"
        out.mkdir(parents=True, exist_ok=True)
        ordered.to_csv(source, index=False)
        words = [
            "generic",
            str(source),
            "--name",
            name,
            "--user",
            "user",
            "--item",
            "item",
            "--no_time",
            "--out",
            str(out),
        ]
        if dataset_tools(words):
            raise SystemExit(1)
        for modality, rows in vectors.items():
            items = [str(item) for item in range(len(rows))]
            path = folder / f"{name}.{modality}.frames.npy"
            write_frame_store(
                path, items, rows[:, None], vfm=f"published {modality} vectors", sampling="one row a video"
            )
    above(actions).to_csv(out / "tiktok" / "above.csv", index=False)


def above(actions: pd.DataFrame) -> pd.DataFrame:
    """The most popular videos numbered above each history; popularity is of what trains under protocol recbole."""
    place = actions.groupby("user").cumcount(ascending=False)
    number = actions.groupby("user")["item"].transform("size")
    held_out = (number >= 3).astype(int) + (number >= 4)
    popular = actions[place >= held_out]["item"].value_counts(sort=True).index.to_numpy()
    rows = []
    for user, last in actions[(number >= 3) & (place == 1)][["user", "item"]].itertuples(index=False):
        listed = popular[popular > last][:_N_LISTED]
        rows += [(user, item, rank) for rank, item in enumerate(listed, 1)]
    return pd.DataFrame(rows, columns=["user_id", "item_id", "rank"])


if __name__ == "__main__":
    options = [word for word in sys.argv[1:] if word.startswith("--out=")]
    make(Path(sys.argv[1]), Path(options[0][6:] if options else "dataset"))
