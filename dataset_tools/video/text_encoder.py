"""Text embeddings: a frozen language model from titles to vectors, as STAP takes them (UAE-Large-V1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from recbole_video.dataset_tools.video.frame_encoders import Placement, load_transformers_model
from recbole_video.dataset_tools.video.weights import Source, Weights

from recbole_video.errors import DataError

UAE = Source("uae", "WhereIsAI/UAE-Large-V1")


class TextEncoder:
    """A language model of ``transformers``: the class token of the last layer, as UAE is trained to use it.

    Args:
        weights: Folder with the model and its tokenizer.
        placement: Where and how it runs.

    Attributes:
        dim: D, width of an embedding.

    Raises:
        DataError: If the folder is incomplete or holds no language model.
        MissingDependencyError: Without ``transformers``.
    """

    def __init__(self, weights: Weights, placement: Placement) -> None:
        model = load_transformers_model(weights)
        from transformers import AutoTokenizer

        try:
            self._tokenizer = AutoTokenizer.from_pretrained(weights.folder, local_files_only=True)
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"`{weights.folder}` holds no tokenizer that transformers can load: {error}.") from error
        self._placement = placement.resolved()
        self._model = model.to(self._placement.device)
        self.dim = int(model.config.hidden_size)

    @property
    def batch_size(self) -> int:
        """Texts per pass at most."""
        return self._placement.batch_size

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts, float32 [n, D]; what exceeds the model's context is cut off."""
        size = self._placement.batch_size
        batches = [list(texts[start : start + size]) for start in range(0, len(texts), size)]
        return np.concatenate([np.zeros((0, self.dim), np.float32), *map(self._embed_batch, batches)])

    def _embed_batch(self, texts: list[str]) -> np.ndarray:
        longest = min(self._tokenizer.model_max_length, self._model.config.max_position_embeddings)
        tokens = self._tokenizer(texts, padding=True, truncation=True, max_length=longest, return_tensors="pt")
        with self._placement.running():
            return self._model(**tokens.to(self._placement.device)).last_hidden_state[:, 0].float().cpu().numpy()
