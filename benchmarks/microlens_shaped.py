"""Synthetic data in the shape of MicroLens-100K, for measurements of time and memory.

Its counts are those of the real data set: 100,000 users with 5 to 218 actions (quartiles 5/6/8,
719,405 in all) on 19,738 videos with 1 to 640 actions (quartiles near 9/22/49). Which user meets
which video is random, so accuracies on it mean nothing. Everything follows from one seed.

    python -m benchmarks.microlens_shaped FOLDER
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.output.atomic import write_atomic_file

from recbole_video import write_frame_store

NAME = "microlens-shaped"

# Share of users with 5, 6, 7 and 8 actions: the quartiles are 5/6/8. The others follow a power law.
_LENGTH_SHARES = {5: 0.38, 6: 0.20, 7: 0.12, 8: 0.09}
_LONGEST = 218
# Actions of the least popular video and at the three quartiles; the most popular one.
_POPULARITY = (1.0, 9.0, 22.0, 49.0)
_MOST_POPULAR = 640


@dataclass(frozen=True)
class Shape:
    """How much of everything there is."""

    n_users: int = 100_000
    n_interactions: int = 719_405
    n_items: int = 19_738
    n_frames: int = 5
    frame_dim: int = 384
    seed: int = 7


def make(folder: Path, shape: Shape | None = None, name: str = NAME) -> Path:
    """Write ``<name>/<name>.inter`` and its frame store into ``folder``, unless they are there.

    Returns:
        ``folder``, the ``data_path`` of a run.
    """
    shape = shape or Shape()
    target = folder / name
    if (target / f"{name}.frames.json").is_file():  # written last
        return folder
    target.mkdir(parents=True, exist_ok=True)
    items = _write_interactions(target / f"{name}.inter", shape)
    rng = np.random.default_rng((shape.seed, 1))
    frames = rng.standard_normal((shape.n_items, shape.n_frames, shape.frame_dim), dtype=np.float32)
    write_frame_store(target / f"{name}.frames.npy", items, frames, vfm="synthetic", sampling="noise")
    return folder


def _write_interactions(path: Path, shape: Shape) -> list[str]:
    """Write the ``.inter`` file and return all item tokens."""
    rng = np.random.default_rng(shape.seed)
    lengths = rng.permutation(user_lengths(shape))
    users = np.repeat(np.arange(shape.n_users), lengths)
    items = _deal(users, item_counts(shape), rng)
    # Times are positions in one order of all actions: RecBole sorts them as float32, which holds them exactly.
    times = rng.permutation(len(users))
    order = np.argsort(times)
    tokens = [str(i + 1) for i in range(shape.n_items)]
    write_atomic_file(
        path,
        {
            "user_id:token": pd.Series(users[order] + 1),
            "item_id:token": pd.Series(items[order] + 1),
            "timestamp:float": pd.Series(times[order] + 1),
        },
    )
    return tokens


def user_lengths(shape: Shape) -> np.ndarray:
    """Actions per user, [n_users] int, ascending, with exactly ``n_interactions`` in all."""
    short = [np.full(round(share * shape.n_users), n) for n, share in _LENGTH_SHARES.items()]
    n_long = shape.n_users - sum(map(len, short))
    shortest = max(_LENGTH_SHARES) + 1
    target = shape.n_interactions - sum(int(part.sum()) for part in short)
    quantile = (np.arange(n_long) + 0.5) / n_long

    def long(exponent: float) -> np.ndarray:
        lengths = np.floor(shortest * (1 - quantile) ** -exponent).clip(max=_LONGEST).astype(int)
        lengths[-1] = _LONGEST
        return lengths

    lengths = _with_sum(long, target, low=0.0, high=2.0)
    return np.concatenate([*short, np.sort(lengths)])


def item_counts(shape: Shape) -> np.ndarray:
    """Actions per video, [n_items] int, ascending, with exactly ``n_interactions`` in all.

    Log-linear between the quartiles, a power law above the last one.
    """
    quantile = (np.arange(shape.n_items) + 0.5) / shape.n_items
    scale = shape.n_interactions / shape.n_items / (719_405 / 19_738)
    body = np.exp(np.interp(quantile, [0, 0.25, 0.5, 0.75], np.log(_POPULARITY)))
    above = np.clip((quantile - 0.75) / 0.25, 0, 1)

    def counts(exponent: float) -> np.ndarray:
        values = (body * (1 - above) ** -exponent).clip(max=_MOST_POPULAR)
        return np.round(scale * values).clip(min=1).astype(int)

    return _with_sum(counts, shape.n_interactions, low=0.0, high=2.0)


def _with_sum(make_values, target: int, low: float, high: float) -> np.ndarray:
    """Values of the growing function ``make_values(x)``, the last bit spread, that sum to ``target``."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if make_values(middle).sum() <= target else (low, middle)
    values = make_values(low)
    missing = target - int(values.sum())
    # The largest value stays; those below it take one more each, in turns.
    for start in range(0, missing, len(values) - 1):
        values[: min(len(values) - 1, missing - start)] += 1
    return values


def _deal(users: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Hand each action a video, [A] int: video i ``counts[i]`` times, none twice to one user."""
    items = rng.permutation(np.repeat(rng.permutation(len(counts)), np.sort(counts)))
    while True:
        key = users * len(counts) + items
        first = np.zeros(len(key), dtype=bool)
        first[np.unique(key, return_index=True)[1]] = True
        twice = np.flatnonzero(~first)
        if not len(twice):
            return items
        for position in twice:
            other = rng.integers(len(items))
            items[position], items[other] = items[other], items[position]


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
