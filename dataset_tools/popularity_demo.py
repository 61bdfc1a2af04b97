"""``popularity-demo``: synthetic videos whose popularity follows a known rule, one term per part of a model.

The logarithm of the views is the sum of

- **author**: how much reach the author has, which the follower count tells with some error;
- **text**: a smooth function of the topics that the text mixes;
- **highlight**: how good a video's best moment is. Two or three frames in a row stand out of a drifting
  background, which by itself is noisier than all of them; how good the moment is lies in one direction. At the
  beginning it counts twice, at the end not at all: few see it. Its content must be found, and its place be known;
- **surprise**: how good the first frame after the video's one cut is. Nothing but the change from the frame before
  tells which frame that is;
- **trend**: each video belongs to one of many small trends, which frames and text show and which have a
  popularity of their own without further rule: it can only be remembered from similar past videos;
- chance.

Views are long-tailed counts. Videos come day by day, and the last ones validate and test. Everything follows from
one seed. It shows what a model can use, and says nothing about real data.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.bundled import bundled_command
from recbole_video.dataset_tools.label import label_items
from recbole_video.dataset_tools.output.atomic import write_atomic_file
from recbole_video.dataset_tools.popularity.labels import LabelSettings
from recbole_video.dataset_tools.popularity.splits import SplitSettings

from recbole_video.content.store import write_frame_store
from recbole_video.files.atomic import write_json

NAME = "popularity-demo"
LABEL = "log2-views"
FILES = (
    ".inter", ".item", ".user", ".counts", ".frames.npy", ".frames.json", ".text.frames.npy", ".text.frames.json",
    f".{LABEL}.popularity", f".{LABEL}.popularity.json",
)  # fmt: skip
HELP = "make the synthetic data set of popularity (made on first use anyway)"
add_arguments, run = bundled_command(NAME)
GENERATOR_VERSION = 2
_DAY = 86_400  # seconds
_QUIET_FRAME = 0.4  # size of the impression that any other frame makes, against that after the cut
_CUT = 2.0  # how far a cut moves the background, in each direction


@dataclass(frozen=True)
class GeneratingRule:
    """The numbers of the generating rule; effects in natural logarithms of views.

    Attributes:
        author: Standard deviation of an author's reach.
        text: Standard deviation of the topics' effect.
        highlight: Effect of a highlight of quality 1 in the middle of a video; twice that at the beginning.
        surprise: Effect of an impression of 1 that the frame after the cut makes.
        trend: Standard deviation of a trend's popularity.
        noise: Standard deviation of what is left to chance.
        profile_error: Error of the follower count's logarithm as a sign of reach.
        topic_size: Size of a topic's text embedding.
        trend_directions: In how many directions of frames and text trends differ; None for all.
        trend_distance: Standard deviation of trends in each of these.
    """

    seed: int = 11
    n_videos: int = 6_000
    n_authors: int = 500
    n_frames: int = 16
    frame_dim: int = 32
    text_dim: int = 24
    n_topics: int = 6
    n_trends: int = 120
    days: int = 120
    author: float = 0.5
    text: float = 0.5
    highlight: float = 1.0
    surprise: float = 1.5
    trend: float = 1.5
    noise: float = 0.4
    profile_error: float = 0.4
    background: float = 0.5
    topic_size: float = 1.0
    trend_directions: int | None = None
    trend_distance: float = 0.5


@dataclass(frozen=True)
class Terms:
    """What each term of the rule adds to a video's log views, [N] each."""

    author: np.ndarray
    text: np.ndarray
    highlight: np.ndarray
    surprise: np.ndarray
    trend: np.ndarray
    noise: np.ndarray

    def total(self) -> np.ndarray:
        """The sum of all terms, [N]."""
        return np.sum(list(vars(self).values()), axis=0)


@dataclass(frozen=True)
class Platform:
    """All videos: embeddings, authors, times and the terms of their popularity."""

    frames: np.ndarray  # [N, F, D]
    counts: np.ndarray  # [N] frames
    text: np.ndarray  # [N, Dt]
    authors: np.ndarray  # [N]
    followers: np.ndarray  # [n_authors]
    following: np.ndarray  # [n_authors]
    times: np.ndarray  # [N] seconds
    terms: Terms


def make(folder: Path, rule: GeneratingRule | None = None, name: str = NAME) -> None:
    """Write the atomic files, both stores, counts, labels and a card of the data set into ``folder``."""
    rule = rule or GeneratingRule()
    platform = generate(rule)
    items = np.array([f"p{i:05d}" for i in range(rule.n_videos)], dtype=object)
    users = np.array([f"a{i:04d}" for i in range(rule.n_authors)], dtype=object)
    views = np.round(np.exp(7.0 + platform.terms.total())).astype(np.int64)
    write_atomic_file(
        folder / f"{name}.inter",
        {"user_id:token": users[platform.authors], "item_id:token": items, "timestamp:float": platform.times},
    )
    write_atomic_file(folder / f"{name}.item", {"item_id:token": items, "duration:float": 0.5 * platform.counts})
    write_atomic_file(
        folder / f"{name}.user",
        {
            "user_id:token": users,
            "followers:float": platform.followers,
            "following:float": platform.following,
            "videos:float": np.bincount(platform.authors, minlength=rule.n_authors),
        },
    )
    write_atomic_file(folder / f"{name}.counts", {"item_id:token": items, "views:float": views})
    made: dict[str, Any] = {"vfm": "synthetic", "sampling": f"generator version {GENERATOR_VERSION}"}
    tokens = items.tolist()
    write_frame_store(folder / f"{name}.frames.npy", tokens, platform.frames, platform.counts, **made)
    write_frame_store(folder / f"{name}.text.frames.npy", tokens, platform.text[:, None], **made)
    split = SplitSettings("temporal", (0.7, 0.1, 0.2))
    label_items(folder, name, LABEL, LabelSettings(("views",), "log2_1p", split=split))
    variances = {term: float(np.var(values)) for term, values in vars(platform.terms).items()}
    write_json(
        folder / f"{name}.card.json",
        {
            "data_set": name,
            "synthetic": True,
            "generator_version": GENERATOR_VERSION,
            "rule": asdict(rule),
            "variance_of_terms": variances,
        },
    )


def generate(rule: GeneratingRule) -> Platform:
    """Draw all videos, their embeddings and what makes them popular."""
    rng = np.random.default_rng(rule.seed)
    n = rule.n_videos
    reach = rng.normal(size=rule.n_authors) * rule.author
    activity = rng.pareto(1.2, rule.n_authors) + 0.3
    authors = rng.choice(rule.n_authors, n, p=activity / activity.sum())
    topics = rng.dirichlet(np.full(rule.n_topics, 0.4), n)
    trend = rng.choice(rule.n_trends, n, p=_zipf(rule.n_trends))
    text, of_text = _make_text(rule, topics, trend, rng)
    frames, counts, events = _make_frames(rule, trend, rng)
    terms = Terms(
        author=reach[authors],
        text=rule.text * of_text,
        highlight=rule.highlight * events["highlight"],
        surprise=rule.surprise * events["surprise"],
        trend=rule.trend * rng.normal(size=rule.n_trends)[trend],
        noise=rule.noise * rng.normal(size=n),
    )
    profile = reach / rule.author + rule.profile_error * rng.normal(size=rule.n_authors)
    return Platform(
        frames=frames,
        counts=counts,
        text=text,
        authors=authors,
        followers=np.round(np.exp(6 + 1.5 * profile)),
        following=np.round(np.exp(4 + rng.normal(size=rule.n_authors))),
        times=np.sort(rng.integers(rule.days * _DAY, size=n)),
        terms=terms,
    )


def _zipf(n: int) -> np.ndarray:
    shares = 1 / (np.arange(n) + 10.0)
    return shares / shares.sum()


def _make_text(
    rule: GeneratingRule, topics: np.ndarray, trend: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Text embeddings [N, Dt], and the standardised effect of their topics [N]."""
    directions = rng.normal(size=(rule.n_topics, rule.text_dim))
    trends = _make_trends(rule, rule.text_dim, rng)
    text = rule.topic_size * topics @ directions + trends[trend] + 0.2 * rng.normal(size=(len(topics), rule.text_dim))
    effect = topics @ rng.normal(size=rule.n_topics) + topics[:, 0] * topics[:, 1] * 4
    return text, (effect - effect.mean()) / effect.std()


def _make_trends(rule: GeneratingRule, width: int, rng: np.random.Generator) -> np.ndarray:
    """What is common to the embeddings of a trend's videos, [n_trends, width]."""
    if rule.trend_directions is None:
        return rng.normal(size=(rule.n_trends, width)) * rule.trend_distance
    places = np.random.default_rng(rule.seed).normal(size=(rule.n_trends, rule.trend_directions))  # of both contents
    directions = np.linalg.qr(rng.normal(size=(width, rule.trend_directions)))[0]
    return places @ directions.T * rule.trend_distance


def _make_frames(
    rule: GeneratingRule, trend: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Frames [N, F, D], how many each video has, and the effects of what happens in them [N]."""
    n, f, d = len(trend), rule.n_frames, rule.frame_dim
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.sqrt(d)
    quality, mark, impression = basis[:3]
    trends = _make_trends(rule, d, rng)
    counts = rng.integers(f * 2 // 3, f + 1, size=n)
    frames = np.zeros((n, f, d))
    events = {name: np.zeros(n) for name in ("highlight", "surprise")}
    for i in range(n):
        drift = np.cumsum(rng.normal(size=(f, d)), axis=0) * rule.background / np.sqrt(f)
        drift += rng.normal(size=d) * rule.background
        video = trends[trend[i]] + drift + 0.1 * rng.normal(size=(f, d))
        events["highlight"][i] = _add_highlight(video, int(counts[i]), quality, mark, rng)
        events["surprise"][i] = _add_cut(video, int(counts[i]), impression, rng)
        frames[i, : counts[i]] = video[: counts[i]]
    return frames, counts, events


def _add_highlight(
    video: np.ndarray, n_frames: int, quality: np.ndarray, mark: np.ndarray, rng: np.random.Generator
) -> float:
    """Put a highlight into the video; returns how much it adds: its quality by how early it comes."""
    length = int(rng.integers(2, 4))
    start = int(rng.integers(n_frames - length + 1))
    value = float(rng.normal())
    video[start : start + length] += mark + value * quality
    return value * 2 * (1 - (start + length / 2) / n_frames)


def _add_cut(video: np.ndarray, n_frames: int, impression: np.ndarray, rng: np.random.Generator) -> float:
    """Change the background from some frame on; returns the impression that this frame makes, one among all frames'."""
    impressions = _QUIET_FRAME * rng.normal(size=n_frames)
    cut = int(rng.integers(2, n_frames - 1))
    impressions[cut] = rng.normal()
    video[:n_frames] += impressions[:, None] * impression
    video[cut:n_frames] += _CUT * rng.normal(size=video.shape[1])
    return float(impressions[cut])
