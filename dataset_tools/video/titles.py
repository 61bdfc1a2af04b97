"""Titles of videos, and what the robustness table (CVA, Table 7) does to them.

``clean`` leaves them; ``none`` takes them away (frames are then random); ``noise`` adds Gaussian noise to
their embeddings; ``mismatched`` gives every video the title of another; ``masked`` removes half of the
words. What is random follows from a seed and the item, never from the order of the work.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.video.listing import normal_form, read_item_texts
from recbole_video.dataset_tools.video.samplers import item_rng

from recbole_video.data.text import read_text_rows
from recbole_video.errors import ConfigError, DataError, nearest

CONDITIONS = ("clean", "none", "noise", "mismatched", "masked")
# Scripts without spaces between words: there a character counts as a word.
_SPACELESS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_SPACELESS}]|[^\s{_SPACELESS}]+")


class Titles:
    """The title that each video is scored against.

    Args:
        titles: Item token -> title; blank titles count as none.
        condition: One of :data:`CONDITIONS`.
        seed: Seed of what is random.

    Raises:
        ConfigError: If the condition is unknown.
        DataError: If titles are to be exchanged and there are not two.
    """

    def __init__(self, titles: Mapping[str, str], condition: str = "clean", seed: int = 42) -> None:
        if condition not in CONDITIONS:
            raise ConfigError(
                f"`{condition}` is no condition of titles{nearest(condition, CONDITIONS)}; there are "
                f"{', '.join(CONDITIONS)}."
            )
        given = {item_id: title for item_id, title in titles.items() if title.strip()}
        self.condition = condition
        self.seed = seed
        self.sha256 = _digest(given)
        self._titles = {} if condition == "none" else exchanged(given, seed) if condition == "mismatched" else given
        # An item that comes from a file's name may be written in another form of Unicode, as macOS does.
        self._token_of = {normal_form(item_id): item_id for item_id in self._titles if not item_id.isascii()}

    def __len__(self) -> int:
        return len(self._titles)

    def get(self, item_id: str) -> str | None:
        """The title to score the item's frames against; None where it has none."""
        title = self._titles.get(item_id)
        if title is None and not item_id.isascii():
            title = self._titles.get(self._token_of.get(normal_form(item_id), item_id))
        if title is None or self.condition != "masked":
            return title
        return masked(title, item_rng(self.seed, item_id, "title"))


def masked(title: str, rng: np.random.Generator) -> str:
    """Remove half of the words (the smaller half of an odd number); the rest stays in order."""
    words = list(_WORD.finditer(title))
    removed = rng.choice(len(words), len(words) // 2, replace=False)
    kept = list(title)
    for word in removed:
        start, end = words[word].span()
        kept[start:end] = [""] * (end - start)
    return " ".join("".join(kept).split())


def exchanged(titles: Mapping[str, str], seed: int) -> dict[str, str]:
    """Give every item the title of another: one random ring through all items.

    Raises:
        DataError: If there are fewer than two titles.
    """
    if len(titles) < 2:
        raise DataError(f"Mismatched titles need at least two titles; there are {len(titles)}.")
    ring = np.random.default_rng(seed).permutation(sorted(titles)).tolist()
    return {item_id: titles[other] for item_id, other in zip(ring, ring[1:] + ring[:1], strict=True)}


def noisy(embedding: np.ndarray, level: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of ``level`` times the embedding's own length, on average over directions.

    Args:
        embedding: [D].
        level: 0 leaves it; at 1 the noise is as long as the embedding.
        rng: Random stream.
    """
    noise = rng.standard_normal(len(embedding)) / np.sqrt(len(embedding))
    return embedding + level * np.linalg.norm(embedding) * noise


def read_titles(path: Path) -> dict[str, str]:
    """Read titles from JSON lines with ``item_id`` and ``title``, or a csv of the two (see :func:`read_item_texts`).

    In a csv the first column may also be called ``item``. Titles that are missing or null count as empty.

    Raises:
        DataError: If the file is missing, malformed (the line is named), or names an item twice.
    """
    if not path.is_file():
        raise DataError(f"There is no file of titles `{path}`; give one with --titles.")
    titles: dict[str, str] = {}
    is_json = path.suffix == ".jsonl"
    for line, item_id, title in _jsonl_rows(path) if is_json else read_item_texts(path, ("item_id", "item"), "title"):
        if item_id in titles:
            raise DataError(f"`{path}`, line {line}: item `{item_id}` has a second title; keep one.")
        titles[item_id] = title or ""
    return titles


def _jsonl_rows(path: Path) -> Iterator[tuple[int, str, str | None]]:
    for number, row in read_text_rows(path):
        title = row.get("title")
        if not isinstance(title, str | None):
            raise DataError(f"`{path}`, line {number}: the title must be text, not {title!r}.")
        yield number, row["item_id"], title


def _digest(titles: Mapping[str, str]) -> str:
    sha = hashlib.sha256()
    for item_id in sorted(titles):
        sha.update(json.dumps([item_id, titles[item_id]]).encode())
    return sha.hexdigest()
