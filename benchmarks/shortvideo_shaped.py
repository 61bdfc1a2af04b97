"""A synthetic csv in the shape of Short-Video's, for measurements of time and memory.

Its counts are those of the largest public version: 10,000 users, 153,561 videos, about a million exposures that fan
out into 6.8 million rows over a week, 1.4 GB. Some titles hold quoted commas and line breaks, some bare commas, some a
quote that is never closed. Everything follows from one seed.

    python -m benchmarks.shortvideo_shaped FILE
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

import numpy as np

HEADER = (
    "user_id,pid,author_id,category_id,category_level,parent_id,root_id,exposed_time,author_fans_count,watch_time,"
    "duration,cvm_like,click,comment,follow,collect,forward,hate,tag_name,title,p_hour,p_date,gender,age,mod_price,"
    "fre_city,fre_community_type,fre_city_level"
)
_FIRST_SECOND, _WEEK = 1_663_257_600, 7 * 86_400
_CHARACTERS = "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过发后作里"
_CITIES = ("上海,country,一线城市", "成都,urban,新一线城市", "unknown,unknown,unknown")


@dataclass(frozen=True)
class Shape:
    """How much of everything there is.

    Attributes:
        quoted: Share of titles with commas inside quotes.
        multi_line: Share of titles with a line break inside quotes.
        bare_commas: Share of titles with commas and no quotes.
        broken_quotes: Share of titles with a quote that is never closed.
        title_factor: How many times as long as usual titles are.
    """

    n_users: int = 10_000
    n_items: int = 153_561
    n_exposures: int = 1_019_568
    quoted: float = 0.02
    multi_line: float = 0.0005
    bare_commas: float = 0.005
    broken_quotes: float = 0.001
    title_factor: int = 1
    seed: int = 7


def make(path: Path, shape: Shape | None = None) -> dict[str, int]:
    """Write the csv, unless it is there in this shape.

    Returns:
        What a reader must find: ``rows``, ``exposures``, and rows per kind of flaw.
    """
    shape = shape or Shape()
    facts = path.with_suffix(".json")
    known = json.loads(facts.read_text()) if facts.is_file() else {}
    if known.pop("shape", None) == asdict(shape):
        return known
    rng = np.random.default_rng(shape.seed)
    kinds, videos = _videos(shape, rng)
    with path.open("w", encoding="utf-8", newline="") as file:
        rows_of = _write_exposures(file, shape, videos, rng)
    found = {kind: int(sum(rows_of[i] for i in np.flatnonzero(kinds == kind))) for kind in sorted(set(kinds.tolist()))}
    found.update(rows=int(rows_of.sum()), exposures=shape.n_exposures)
    facts.write_text(json.dumps({**found, "shape": asdict(shape)}))
    return found


def _videos(shape: Shape, rng: np.random.Generator) -> tuple[np.ndarray, list[tuple[str, str, list[str], str]]]:
    """Kind of each video's title [N], and per video: author, duration, (category, tag) parts of rows, title."""
    shares = [shape.quoted, shape.multi_line, shape.bare_commas, shape.broken_quotes]
    names = ["quoted", "multi_line", "bare_commas", "broken_quotes", "plain"]
    kinds = rng.choice(names, size=shape.n_items, p=[*shares, 1 - sum(shares)])
    n_tags, n_categories = rng.integers(1, 5, shape.n_items), rng.integers(1, 5, shape.n_items)
    characters = rng.integers(0, len(_CHARACTERS), (shape.n_items, 24))
    durations = np.round(rng.lognormal(4.4, 0.8, shape.n_items).clip(2.7, 1734.9), 1)
    videos = []
    for item, kind in enumerate(kinds):
        title = _title(kind, "".join(_CHARACTERS[c] for c in characters[item][: 6 + item % 18]) * shape.title_factor)
        categories = [f"{100 * level + item % 30},{min(level + 1, 3)},3,3" for level in range(n_categories[item])]
        tags = [f"标签{(item * 7 + n) % 40_000}" for n in range(n_tags[item])]
        fan_out = [f"{category}|{tag}" for category in categories for tag in tags]
        videos.append((str(500_000 + item // 3), str(durations[item]), fan_out, title))
    return kinds, videos


def _title(kind: str, text: str) -> str:
    return {
        "quoted": f'"{text},{text[:4]}"',
        "multi_line": f'"{text}\n{text[:4]}"',
        "bare_commas": f"{text},{text[:4]}",
        "broken_quotes": f'"{text}',
        "plain": text,
    }[kind]


def _write_exposures(
    file: IO[str], shape: Shape, videos: list[tuple[str, str, list[str], str]], rng: np.random.Generator
) -> np.ndarray:
    """Write all rows, by user and time; returns rows per video [N]."""
    file.write(HEADER + "\n")
    rows_of = np.zeros(len(videos), np.int64)
    users = np.sort(rng.integers(0, shape.n_users, shape.n_exposures))
    popularity = rng.permutation((np.arange(shape.n_items) + 20.0) ** -0.6)
    items = rng.choice(shape.n_items, shape.n_exposures, p=popularity / popularity.sum())
    times = rng.integers(0, _WEEK, shape.n_exposures)
    times = times[np.lexsort((times, users))]
    watched = rng.geometric(0.05, shape.n_exposures)
    flags = rng.random((shape.n_exposures, 7)) < (0.026, 0.6, 0.004, 0.005, 0.01, 0.005, 0.0005)
    for start in range(0, shape.n_exposures, 10_000):
        chosen = slice(start, start + 10_000)
        lines = []
        for user, item, time, seconds, set_ in zip(
            users[chosen].tolist(), items[chosen].tolist(), times[chosen].tolist(), watched[chosen].tolist(),
            flags[chosen].tolist(), strict=True,
        ):  # fmt: skip
            author, duration, fan_out, title = videos[item]
            copies = 1 + (item % 16 == 0)
            rows_of[item] += copies * len(fan_out)
            head = f"{user + 1},{item + 1},{author},"
            middle = f",{_FIRST_SECOND + time},4000,{seconds},{duration},{','.join(map(str, set_))},"
            tail = f",{title},{time // 3600 % 24},2022091{6 + time // 86400 % 4},{_person(user)}\n"
            lines += [f"{head}{c}{middle}{tag}{tail}" for c, _, tag in (x.partition("|") for x in fan_out)] * copies
        file.write("".join(lines))
    return rows_of


def _person(user: int) -> str:
    age = "" if user % 10 == 0 else str(18 + user % 50)
    return f"{'MF'[user % 2]},{age},{999 + user % 20 * 100},{_CITIES[user % 3]}"


if __name__ == "__main__":
    print(make(Path(sys.argv[1])))
