"""``ml-100k`` with text embeddings in place of frames: real interactions, text instead of video.

RecBole's wheel carries MovieLens 100K (100,000 ratings with their times). A film gets three rows
where a video would get frames: its title, its genres and its year, each TF-IDF, reduced by SVD
where it is wider, and each in coordinates of its own, so that a mean over the rows keeps all three.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.bundled import bundled_command

from recbole_video.content.store import write_frame_store

NAME = "ml-100k"
FILES = (".inter", ".frames.npy", ".frames.json")
HELP = "make MovieLens 100K from RecBole's wheel, with text embeddings (made on first use anyway)"
add_arguments, run = bundled_command(NAME)
_TITLE_DIM, _GENRE_DIM, _YEAR_DIM = 64, 32, 32


def make(folder: Path) -> None:
    """Copy RecBole's atomic files into ``folder`` and write text embeddings beside them."""
    import recbole

    source = Path(recbole.__file__).parent / "dataset_example" / NAME
    for suffix in ("inter", "item", "user"):
        shutil.copyfile(source / f"{NAME}.{suffix}", folder / f"{NAME}.{suffix}")
    items = pd.read_csv(source / f"{NAME}.item", sep="\t", dtype=str, keep_default_na=False, quoting=3)
    items.columns = [column.partition(":")[0] for column in items.columns]
    frames = text_frames(items["movie_title"], items["class"], items["release_year"])
    write_frame_store(
        folder / f"{NAME}.frames.npy",
        list(items["item_id"]),
        frames,
        vfm="none: TF-IDF and SVD of text",
        sampling="rows: title, genres, year",
    )


def text_frames(titles: pd.Series, genres: pd.Series, years: pd.Series) -> np.ndarray:
    """Three rows per film, [N, 3, D]: title, genres, year, in disjoint coordinates."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    decades = years.str[:3] + "0s"
    parts = (
        _reduce(TfidfVectorizer(sublinear_tf=True, token_pattern=r"\w+"), titles, _TITLE_DIM),
        _reduce(TfidfVectorizer(token_pattern=r"\S+"), genres, _GENRE_DIM),
        _reduce(TfidfVectorizer(token_pattern=r"\S+"), years + " " + decades, _YEAR_DIM),
    )
    frames = np.zeros((len(titles), len(parts), sum(part.shape[1] for part in parts)), np.float32)
    start = 0
    for row, part in enumerate(parts):
        frames[:, row, start : start + part.shape[1]] = part * np.sqrt(part.shape[1])  # entries of unit size
        start += part.shape[1]
    return frames


def _reduce(vectorizer: Any, texts: pd.Series, width: int) -> np.ndarray:
    """TF-IDF rows of unit length in ``width`` columns, by SVD where there are more."""
    from sklearn.decomposition import TruncatedSVD
    from sklearn.preprocessing import normalize

    weights = vectorizer.fit_transform(texts)
    if weights.shape[1] <= width:
        return np.pad(weights.toarray(), ((0, 0), (0, width - weights.shape[1])))
    return normalize(TruncatedSVD(width, random_state=0).fit_transform(weights))
