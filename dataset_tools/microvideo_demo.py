"""``microvideo-demo``: a small synthetic micro-video platform with a known generating rule.

**Videos.** 800 videos; each mixes one to three of 20 topics. A video has three to five frames, and
only some of them show its topics (one topic each, plus noise peculiar to the video): others repeat
the frame before almost exactly, or show nothing but noise around an intro that all videos share.
At least one frame is informative. Titles mix words of the video's topics with filler words.

**Users.** 2,000 users with a taste over topics that drifts: with probability 0.2 per action the
topic of interest moves on, mostly to the one that follows it on a fixed ring. They watch a video
with probability proportional to its popularity (a power law) times how well it fits the topic.

**Time.** The last two actions of every user, which validate and test, lie after day 90. 120 of the
videos were uploaded on day 90: they are cold, never seen in training.

Everything follows from one seed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.bundled import bundled_command
from recbole_video.dataset_tools.output.atomic import write_atomic_file

from recbole_video.content.store import write_frame_store
from recbole_video.files.atomic import write_json
from recbole_video.files.values import file_digest

NAME = "microvideo-demo"
FILES = (".inter", ".frames.npy", ".frames.json")
HELP = "make the synthetic demonstration data set (made on first use anyway)"
add_arguments, run = bundled_command(NAME)
GENERATOR_VERSION = 1
_DAY = 86_400  # seconds

_TOPIC_WORDS = (
    "cooking noodles recipe soup kitchen",
    "football goal penalty stadium striker",
    "kitten cat paws purring whiskers",
    "dance choreography steps ballroom rhythm",
    "makeup lipstick eyeliner foundation glow",
    "travel island sunset backpack airport",
    "gaming boss speedrun console level",
    "guitar chords solo acoustic melody",
    "workout squats abs gym stretching",
    "car engine drift turbo garage",
    "fishing lake bait trout rod",
    "garden roses compost seeds tomato",
    "magic card trick illusion coin",
    "drawing sketch pencil portrait shading",
    "prank sketch laughing joke roommate",
    "puppy dog fetch leash training",
    "fashion outfit dress sneakers thrift",
    "science experiment volcano magnet laser",
    "woodwork chisel table oak lathe",
    "toddler baby giggles nursery nap",
)
_FILLER_TEXT = "my the today watch first time how this best part 2 new day wait so easy never again real"


@dataclass(frozen=True)
class Recipe:
    """The numbers of the generating rule."""

    seed: int = 7
    n_users: int = 2_000
    n_videos: int = 800
    n_cold: int = 120
    frame_dim: int = 64
    n_frames: int = 5
    popularity_exponent: float = 0.7
    taste_sharpness: float = 6.0
    drift: float = 0.2
    cold_boost: float = 2.0
    p_informative: float = 0.45
    p_redundant: float = 0.25
    frame_noise: float = 0.6
    first_days: int = 90
    last_days: int = 14


@dataclass(frozen=True)
class _Videos:
    topics: np.ndarray  # [N, K] shares that sum to 1
    popularity: np.ndarray  # [N]
    is_cold: np.ndarray  # [N] bool


def make(folder: Path, recipe: Recipe | None = None) -> None:
    """Write the atomic files, the frame store and a card of the data set into ``folder``."""
    recipe = recipe or Recipe()
    rng = np.random.default_rng(recipe.seed)
    videos = _make_videos(recipe, rng)
    items = [f"v{i:04d}" for i in range(recipe.n_videos)]
    frames, counts = _make_frames(recipe, videos, rng)
    upload = np.where(videos.is_cold, recipe.first_days * _DAY, 0)
    write_atomic_file(
        folder / f"{NAME}.item",
        {
            "item_id:token": pd.Series(items),
            "title:token_seq": pd.Series(_make_titles(videos, rng)),
            "upload_time:float": pd.Series(upload),
        },
    )
    inter = _make_interactions(recipe, videos, items, rng)
    write_atomic_file(folder / f"{NAME}.inter", {column: inter[column] for column in inter})
    store = write_frame_store(
        folder / f"{NAME}.frames.npy",
        items,
        frames,
        counts,
        vfm="synthetic",
        sampling=f"generator version {GENERATOR_VERSION}",
    )
    write_json(folder / f"{NAME}.card.json", _card(recipe, folder / f"{NAME}.inter", len(inter), store.manifest.sha256))


def _card(recipe: Recipe, inter: Path, n_interactions: int, frames_sha256: str) -> dict[str, Any]:
    return {
        "data_set": NAME,
        "synthetic": True,
        "generator_version": GENERATOR_VERSION,
        "recipe": asdict(recipe),
        "users": recipe.n_users,
        "videos": recipe.n_videos,
        "cold_videos": recipe.n_cold,
        "interactions": n_interactions,
        "inter_sha256": file_digest(inter),
        "frames_sha256": frames_sha256,
    }


def demo_topics(recipe: Recipe) -> np.ndarray:
    """Topics of the videos, shares [N, K] that sum to 1."""
    return _make_videos(recipe, np.random.default_rng(recipe.seed)).topics


def _make_videos(recipe: Recipe, rng: np.random.Generator) -> _Videos:
    n_topics = len(_TOPIC_WORDS)
    topics = np.zeros((recipe.n_videos, n_topics))
    for row in topics:
        chosen = rng.choice(n_topics, size=rng.choice([1, 2, 3], p=[0.5, 0.35, 0.15]), replace=False)
        row[chosen] = rng.dirichlet(np.full(len(chosen), 2.0))
    rank = rng.permutation(recipe.n_videos) + 1
    is_cold = np.zeros(recipe.n_videos, dtype=bool)
    is_cold[rng.choice(recipe.n_videos, recipe.n_cold, replace=False)] = True
    return _Videos(topics, rank**-recipe.popularity_exponent, is_cold)


def _make_frames(recipe: Recipe, videos: _Videos, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Frames [N, F, D] and their number per video [N]."""
    scale = np.sqrt(recipe.frame_dim)  # entries of unit size
    n_topics = videos.topics.shape[1]
    directions = np.linalg.qr(rng.normal(size=(recipe.frame_dim, n_topics)))[0].T * scale
    intro = rng.normal(size=recipe.frame_dim)
    frames = np.zeros((recipe.n_videos, recipe.n_frames, recipe.frame_dim))
    counts = rng.choice([3, 4, 5], size=recipe.n_videos, p=[0.1, 0.2, 0.7])
    p_other = 1 - recipe.p_informative - recipe.p_redundant
    for shares, count, video in zip(videos.topics, counts, frames, strict=True):
        kinds = rng.choice(3, size=count, p=[recipe.p_informative, recipe.p_redundant, p_other])
        kinds[rng.integers(count)] = 0
        own_noise = rng.normal(size=recipe.frame_dim) * recipe.frame_noise
        for position, kind in enumerate(kinds):
            noise = rng.normal(size=recipe.frame_dim)
            if kind == 0:
                topic = rng.choice(n_topics, p=shares)
                video[position] = directions[topic] + own_noise + recipe.frame_noise * noise
            elif kind == 1 and position:
                video[position] = video[position - 1] + 0.05 * noise
            else:
                video[position] = intro + noise
    return frames, counts


def _make_titles(videos: _Videos, rng: np.random.Generator) -> list[str]:
    words = [line.split() for line in _TOPIC_WORDS]
    filler = _FILLER_TEXT.split()
    titles = []
    for shares in videos.topics:
        topics = rng.choice(len(words), size=rng.integers(2, 5), p=shares)
        title = [str(rng.choice(words[topic])) for topic in topics]
        title += [str(word) for word in rng.choice(filler, size=rng.integers(1, 4))]
        titles.append(" ".join(rng.permutation(title)))
    return titles


def _make_interactions(recipe: Recipe, videos: _Videos, items: list[str], rng: np.random.Generator) -> pd.DataFrame:
    n_topics = videos.topics.shape[1]
    fit = np.exp(recipe.taste_sharpness * videos.topics)  # [N, K]
    early = (videos.popularity * ~videos.is_cold)[:, None] * fit
    late = (videos.popularity * np.where(videos.is_cold, recipe.cold_boost, 1.0))[:, None] * fit
    users, watched, times = [], [], []
    for user in range(recipe.n_users):
        length = 5 + min(25, rng.negative_binomial(2, 0.3))
        topic = int(rng.integers(n_topics))
        seen: list[int] = []
        for position in range(length):
            if rng.random() < recipe.drift:
                topic = (topic + 1) % n_topics if rng.random() < 0.8 else int(rng.integers(n_topics))
            weight = (late if position >= length - 2 else early)[:, topic].copy()
            weight[seen] = 0
            seen.append(int(rng.choice(len(weight), p=weight / weight.sum())))
        first = recipe.first_days * _DAY
        before = np.sort(rng.choice(first, size=length - 2, replace=False))
        after = first + np.sort(rng.choice(recipe.last_days * _DAY, size=2, replace=False))
        users += [f"u{user:04d}"] * length
        watched += [items[i] for i in seen]
        times += [*before, *after]
    table = pd.DataFrame({"user_id:token": users, "item_id:token": watched, "timestamp:float": times})
    return table.sort_values("timestamp:float", kind="stable", ignore_index=True)
