"""Text embeddings that need no weights: TF-IDF over words and its leading singular vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recbole_video.errors import DataError, counted

TFIDF = "tfidf"
_SEED = 0  # of the randomised decomposition


class TfidfEncoder:
    """TF-IDF with logarithmic counts, reduced by a truncated SVD, rows of unit length; fitted on what it embeds.

    Words that occur in one text only are left out: they bring no two texts together. A text without any other is a row
    of zeros.

    Args:
        dim: D, width of an embedding.
        texts: What it is fitted on.

    Raises:
        DataError: If the texts have too few words, or are too few, for so many dimensions.
    """

    batch_size = 4096

    def __init__(self, dim: int, texts: Sequence[str]) -> None:
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.dim = dim
        self._words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        try:
            weights = self._words.fit_transform(texts)
        except ValueError:  # no word is left
            weights = np.zeros((len(texts), 0))
        if min(weights.shape) <= dim:
            most = min(weights.shape) - 1
            advice = f"lower --dim to {most} or less" if most > 0 else "give other --fields, or --encoder uae"
            raise DataError(
                f"{counted(len(texts), 'text has', 'texts have')} {counted(weights.shape[1], 'word')} in common with "
                f"others, too few for {counted(dim, 'dimension')}; {advice}."
            )
        self._reduction = TruncatedSVD(dim, random_state=_SEED).fit(weights)

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, float32 [n, D]."""
        from sklearn.preprocessing import normalize

        return normalize(self._reduction.transform(self._words.transform(texts))).astype(np.float32)
