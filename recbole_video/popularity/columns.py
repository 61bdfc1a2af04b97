"""The metadata of a batch as the columns of a matrix, for models that are fitted once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from recbole_video.errors import ConfigError
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.options import FittedOptions


@dataclass(frozen=True)
class MetadataOptions(FittedOptions):
    """Popularity models that are fitted in one go to the metadata alone."""

    model: ClassVar[str] = "This model"

    def check(self) -> None:
        super().check()
        named = self.metadata != "none" or self.metadata_numeric or self.metadata_categorical
        if not (self.use_metadata and named):
            raise _no_metadata_error(self.model)


def require_metadata(inputs: InputShape, model: str) -> None:
    """Refuse a model of the metadata where there is none.

    Raises:
        ConfigError: If there is none.
    """
    if not inputs.n_numeric and not inputs.n_categories:
        raise _no_metadata_error(model)


def _no_metadata_error(model: str) -> ConfigError:
    return ConfigError(
        f"{model} reads the metadata alone, and there is none; set metadata to a preset, or metadata_numeric and "
        "metadata_categorical to columns of .item and .user."
    )


def one_hot(batch: Batch, inputs: InputShape) -> np.ndarray:
    """Numbers and one column per category, float64 [B, n + sum of categories]."""
    numeric, codes = _numbers_and_codes(batch)
    columns = [codes[:, i, None] == np.arange(n) for i, n in enumerate(inputs.n_categories)]
    return np.concatenate([numeric, *columns], axis=1)


def side_by_side(batch: Batch) -> np.ndarray:
    """Numbers and one column of codes per categorical column, float64 [B, n + m]."""
    return np.concatenate(_numbers_and_codes(batch), axis=1)


def labels_of(batch: Batch) -> np.ndarray:
    """Labels on their own scale, [B]."""
    return batch["label"].cpu().numpy()


def _numbers_and_codes(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, float64 [B, n], and codes of categories, int64 [B, m]; no column without metadata."""
    if "numeric" not in batch:
        n = len(batch["row"])
        return np.zeros((n, 0)), np.zeros((n, 0), dtype=np.int64)
    return batch["numeric"].cpu().numpy().astype(np.float64), batch["categories"].cpu().numpy()
