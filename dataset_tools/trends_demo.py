"""``trends-demo``: synthetic videos that are as popular as the trend they belong to, which has to be remembered.

The rule is that of :mod:`popularity_demo` without its events: an author's reach, a little of the topics, chance, and
nine tenths of the variance from sixty trends. Near videos are of one trend, and a trend's popularity follows from
nothing: trends lie in three directions only, where neighbours have nothing in common, so that no smooth function of
the content tells their popularity. It is what a memory of past videos is for.
"""

from __future__ import annotations

from pathlib import Path

from recbole_video.dataset_tools import popularity_demo
from recbole_video.dataset_tools.bundled import bundled_command
from recbole_video.dataset_tools.popularity_demo import GeneratingRule

NAME = "trends-demo"
FILES = popularity_demo.FILES
HELP = "make the synthetic data set of trends, on which a memory pays (made on first use anyway)"
add_arguments, run = bundled_command(NAME)
RULE = GeneratingRule(
    n_videos=4_000,
    n_frames=6,
    n_trends=60,
    trend=3.0,
    highlight=0.0,
    surprise=0.0,
    topic_size=0.3,
    trend_directions=3,
    trend_distance=3.0,
)


def make(folder: Path, rule: GeneratingRule = RULE) -> None:
    """Write the atomic files, both stores, counts, labels and a card of the data set into ``folder``."""
    popularity_demo.make(folder, rule, NAME)
