"""Text embeddings that need no weights: TF-IDF over words and its leading singular vectors.

What was fitted lies beside its store as ``<name>.tfidf.npz``, plain arrays that are read without pickle: the words,
their weights (IDF), the singular vectors, and the settings. Texts that come later are embedded by it into the same
space.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from recbole_video.content.store import SUFFIX
from recbole_video.errors import DataError, counted
from recbole_video.files.reading import NO_NPZ, parse_json

TFIDF = "tfidf"
_SEED = 0  # of the randomised decomposition
# Of scikit-learn's TfidfVectorizer; in a file of another version, words may be cut and weighed in another way.
_SETTINGS = {"sublinear_tf": True, "lowercase": True, "token_pattern": r"(?u)\b\w\w+\b", "norm": "l2"}
_KEPT = {"version": 1, **_SETTINGS, "rows": "unit length"}


def fit_path(store: Path) -> Path:
    """Where the fit of a frame store lies."""
    return store.with_name(f"{store.name.removesuffix(SUFFIX)}.tfidf.npz")


@dataclass(frozen=True)
class TfidfFit:
    """What is fitted to texts.

    Attributes:
        words: V known words, in the order of the columns.
        idf: Weight of each word, float64 [V].
        components: Leading right singular vectors of the weighed texts, float64 [D, V].
    """

    words: list[str]
    idf: np.ndarray
    components: np.ndarray

    @classmethod
    def to(cls, texts: Sequence[str], dim: int) -> TfidfFit:
        """Fit to texts; words that occur in one text only are left out: they bring no two texts together.

        Args:
            texts: What it is fitted to.
            dim: D, width of an embedding.

        Raises:
            DataError: If the texts have too few words, or are too few, for so many dimensions.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        vectorizer = TfidfVectorizer(min_df=2, **_SETTINGS)
        try:
            weights = vectorizer.fit_transform(texts)
        except ValueError:  # no word is left
            weights = np.zeros((len(texts), 0))
        if min(weights.shape) <= dim:
            most = min(weights.shape) - 1
            advice = f"lower --dim to {most} or less" if most > 0 else "give other --fields, or --encoder uae"
            raise DataError(
                f"{counted(len(texts), 'text has', 'texts have')} {counted(weights.shape[1], 'word')} in common with "
                f"others, too few for {counted(dim, 'dimension')}; {advice}."
            )
        components = TruncatedSVD(dim, random_state=_SEED).fit(weights).components_
        return cls(vectorizer.get_feature_names_out().tolist(), vectorizer.idf_, components)

    # -- in a file -----------------------------------------------------------------------------

    def as_bytes(self) -> bytes:
        """The content of its file; the same fit makes the same bytes."""
        file = BytesIO()
        settings, words = (np.frombuffer(json.dumps(value).encode(), np.uint8) for value in (_KEPT, self.words))
        np.savez(file, settings=settings, words=words, idf=self.idf, components=self.components)
        return file.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, path: Path) -> TfidfFit:
        """What :meth:`as_bytes` gave.

        Args:
            content: Of the file.
            path: The file, for messages.

        Raises:
            DataError: If it is of another version, or its arrays do not fit each other.
        """
        try:
            with np.load(BytesIO(content), allow_pickle=False) as file:
                settings, words = (
                    parse_json(file[name].tobytes().decode(), path.name) for name in ("settings", "words")
                )
                fit = cls(words, file["idf"], file["components"])
        except (*NO_NPZ, MemoryError) as error:
            raise DataError(f"The fit `{path}` cannot be read ({error}); make its store anew.") from error
        if settings != _KEPT:
            raise DataError(f"The fit `{path}` is of another version of this package; make its store anew.")
        if not fit._is_sound():
            raise DataError(f"The fit `{path}` is damaged: its arrays do not fit each other; make its store anew.")
        return fit

    def _is_sound(self) -> bool:
        words: Any = self.words
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            return False
        arrays = (self.idf, self.components)
        return (
            len(set(words)) == len(words) > 0
            and self.idf.shape == (len(words),)
            and self.components.shape[1:] == (len(words),)
            and all(array.dtype == np.float64 and np.isfinite(array).all() for array in arrays)
        )


class TfidfEncoder:
    """TF-IDF with logarithmic counts, reduced by a truncated SVD, rows of unit length.

    A text without any known word is a row of zeros.

    Args:
        fit: What is known of words.
    """

    batch_size = 4096

    def __init__(self, fit: TfidfFit) -> None:
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.fit = fit
        self.dim = len(fit.components)
        self._words = TfidfVectorizer(vocabulary={word: i for i, word in enumerate(fit.words)}, **_SETTINGS)
        self._words.idf_ = fit.idf

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, float32 [n, D]."""
        from sklearn.preprocessing import normalize

        return normalize(self._words.transform(texts) @ self.fit.components.T).astype(np.float32)
