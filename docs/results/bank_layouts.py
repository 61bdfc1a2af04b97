"""How much of a label a memory bank can know by its layout alone, before anything is trained.

    python docs/results/bank_layouts.py popularity-demo trends-demo

A video is given the popularity of the slot that is nearest to it, or the mean of the five nearest by
softmax(-d^2 / 0.1), where slots lie at the means of what topics are clustered by. Printed is the nMSE of the test.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from recbole_video.dataset_tools import prepare
from sklearn.preprocessing import StandardScaler

from recbole_video import FrameStore
from recbole_video.popularity.stap.memory_init import initial_grid
from recbole_video.popularity.stap.parts import standardised_blocks

_GRIDS = ((6, 32), (1, 192))  # partitions by popularity, topics in each
_TEMPERATURE = 0.1


def main(names: list[str]) -> None:
    """Print a line for each data set and each choice of what topics are clustered by."""
    print("| data | topics of | slots | nearest slot | five nearest |\n|---|---|---|---|---|")
    for name in names:
        folder = Path("dataset") / name
        prepare(name, folder)
        labels = pd.read_csv(folder / f"{name}.log2-views.popularity", sep="\t")
        is_train, is_test = (labels["split:token"] == part for part in ("train", "test"))
        blocks = blocks_of(folder, name)
        for choice in (("frames", "text", "U"), ("frames", "text"), ("text",)):
            used = [blocks[block] for block in choice]
            features = standardised_blocks(torch.from_numpy(np.hstack(used)).float(), [x.shape[1] for x in used])
            y = labels["label:float"].to_numpy()
            for grid in _GRIDS:
                found = layout_errors(features, y, is_train.to_numpy(), is_test.to_numpy(), *grid)
                print(f"| {name} | {', '.join(choice)} | {grid[0]} x {grid[1]} | {found[0]:.3f} | {found[1]:.3f} |")


def blocks_of(folder: Path, name: str) -> dict[str, np.ndarray]:
    """Mean frame, text and author counts of each video, [N, d] each, in the order of the label file."""
    frames, text = FrameStore(folder / f"{name}.frames.npy"), FrameStore(folder / f"{name}.text.frames.npy")
    rows = pd.read_csv(folder / f"{name}.inter", sep="\t").merge(pd.read_csv(folder / f"{name}.user", sep="\t"))
    counts = np.log1p(rows[["followers:float", "following:float", "videos:float"]].to_numpy())
    mean = [np.asarray(frames.frames[i, :n], dtype=np.float64).mean(axis=0) for i, n in enumerate(frames.frame_counts)]
    return {
        "frames": np.array(mean),
        "text": np.asarray(text.frames[:, 0], dtype=np.float64),
        "U": StandardScaler().fit_transform(counts),
    }


def layout_errors(
    features: torch.Tensor,
    labels: np.ndarray,
    is_train: np.ndarray,
    is_test: np.ndarray,
    n_partitions: int,
    n_topics: int,
) -> tuple[float, float]:
    """The nMSE of the nearest slot's popularity, and of the five nearest ones'."""
    y = torch.from_numpy((labels - labels[is_train].mean()) / labels[is_train].std()).float()
    train, test = features[is_train], features[is_test]
    grid = initial_grid(train, train, y[is_train], n_partitions, n_topics)
    distance = torch.cdist(test, grid.slots.flatten(0, 1)).square()
    popularity = grid.centroids.flatten()
    near = distance.topk(5, largest=False)
    weights = torch.softmax(-near.values / _TEMPERATURE, dim=1)
    guesses = popularity[near.indices[:, 0]], (weights * popularity[near.indices]).sum(dim=1)
    one, five = (float((guess - y[is_test]).square().mean() / y[is_test].var(unbiased=False)) for guess in guesses)
    return one, five


if __name__ == "__main__":
    main(sys.argv[1:] or ["popularity-demo", "trends-demo"])
