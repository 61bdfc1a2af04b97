"""Further frame stores of ``microvideo-demo``, for tables about frames: vision models, samplers, titles, how many.

Each video of the demo gets 24 frames of which three in ten show one of its topics; others repeat the frame before or
show nothing but noise around an intro that all videos share. A title finds frames that show a topic of the video, with
some error. Names are those that the sweeps give the stores of real data, such as ``dinov3-resample5``. A vision model
is a random projection with noise: the better the model's name, the less. Everything follows from one seed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.microvideo_demo import GENERATOR_VERSION, NAME, Recipe, demo_topics

from recbole_video.content.store import write_frame_store

_N_FRAMES = 24
_LATENT = 32
_P_INFORMATIVE, _P_REDUNDANT = 0.3, 0.2
_TITLE_ERROR = 0.25
_NAME = re.compile(
    r"(?P<vfm>dinov3|dinov2|clip|vit)-(?P<how>mid|resample|titles-(none|noise|mismatched|masked))(?P<n>\d*)"
)


@dataclass(frozen=True)
class _Vfm:
    width: int
    noise: float


_VFMS = {"dinov3": _Vfm(64, 0.3), "clip": _Vfm(48, 0.4), "dinov2": _Vfm(64, 0.5), "vit": _Vfm(96, 0.8)}


@dataclass(frozen=True)
class _Footage:
    frames: np.ndarray  # [N, T, L] latent content
    relevance: np.ndarray  # [N, T] how much of the video's topics each frame shows, 0 to 1
    topic: np.ndarray  # [N, T] topic shown, -1 for none


def is_demo_store(name: str | None) -> bool:
    """Whether a frame store of this name can be made."""
    return bool(name) and _NAME.fullmatch(str(name)) is not None


def make_store(folder: Path, name: str, recipe: Recipe | None = None) -> None:
    """Write ``microvideo-demo.<name>.frames.npy`` into ``folder``."""
    recipe = recipe or Recipe()
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"`{name}` is no name of a demo store")
    topics = demo_topics(recipe)
    footage = _film(topics, np.random.default_rng((recipe.seed, 1)))
    rng = np.random.default_rng((recipe.seed, 2))
    chosen = _choose(found["how"], int(found["n"] or 5), footage, topics, rng)
    picked = np.take_along_axis(footage.frames, chosen[..., None], axis=1)
    vfm = _VFMS[found["vfm"]]
    own = np.random.default_rng((recipe.seed, 3, sorted(_VFMS).index(found["vfm"])))
    projection = own.normal(size=(_LATENT, vfm.width)) / np.sqrt(_LATENT)
    embeddings = picked @ projection + vfm.noise * own.normal(size=(*chosen.shape, vfm.width))
    items = [f"v{i:04d}" for i in range(recipe.n_videos)]
    sampling = f"{found['how']}{found['n']}, generator version {GENERATOR_VERSION}"
    path = folder / f"{NAME}.{name}.frames.npy"
    write_frame_store(path, items, embeddings, np.full(len(items), chosen.shape[1]), vfm="synthetic", sampling=sampling)


def _film(topics: np.ndarray, rng: np.random.Generator) -> _Footage:
    n, n_topics = topics.shape
    directions = np.linalg.qr(rng.normal(size=(_LATENT, n_topics)))[0].T * np.sqrt(_LATENT)
    intro = rng.normal(size=_LATENT)
    frames = np.zeros((n, _N_FRAMES, _LATENT))
    topic = np.full((n, _N_FRAMES), -1)
    for video in range(n):
        kinds = rng.choice(3, size=_N_FRAMES, p=[_P_INFORMATIVE, _P_REDUNDANT, 1 - _P_INFORMATIVE - _P_REDUNDANT])
        for t, kind in enumerate(kinds):
            noise = rng.normal(size=_LATENT)
            if kind == 0:
                topic[video, t] = rng.choice(n_topics, p=topics[video])
                frames[video, t] = directions[topic[video, t]] + 0.6 * noise
            elif kind == 1 and t:
                topic[video, t] = topic[video, t - 1]
                frames[video, t] = frames[video, t - 1] + 0.05 * noise
            else:
                frames[video, t] = intro + noise
    return _Footage(frames, _relevance(topics, topic), topic)


def _relevance(topics: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Share of each shown topic in ``topics``, [N, T]; 0 where a frame shows none."""
    share = np.take_along_axis(topics, np.maximum(shown, 0), axis=1)
    return np.where(shown >= 0, share, 0.0)


def _choose(how: str, n: int, footage: _Footage, topics: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Places of the chosen frames in order, int [N, n]."""
    n_videos = len(topics)
    if how == "mid":
        first = (_N_FRAMES - n) // 2
        return np.tile(np.arange(first, first + n), (n_videos, 1))
    relevance, error = footage.relevance, _TITLE_ERROR
    if how == "titles-none":
        relevance = np.zeros_like(relevance)
    elif how == "titles-noise":
        error = 4 * _TITLE_ERROR
    elif how == "titles-mismatched":
        relevance = _relevance(topics[rng.permutation(n_videos)], footage.topic)
    elif how == "titles-masked":  # half of the words, and with them half of the topics
        kept = topics * (rng.random(topics.shape) < 0.5)
        relevance = _relevance(kept, footage.topic)
    scores = relevance + error * rng.normal(size=relevance.shape)
    return np.sort(np.argsort(-scores, axis=1)[:, :n], axis=1)
