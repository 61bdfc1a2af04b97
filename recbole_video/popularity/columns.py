"""The metadata of a batch as the columns of a matrix, for models that are fitted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from recbole_video.data.metadata import chosen_columns
from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.explanation import Contribution
from recbole_video.popularity.options import FittedOptions

_MOST_NAMED = 10  # columns in the notes of a fit


@dataclass(frozen=True)
class MetadataOptions(FittedOptions):
    """Popularity models that are fitted in one go to the metadata alone."""

    model: ClassVar[str] = "This model"

    def check(self) -> None:
        super().check()
        named = self.metadata != "none" or self.metadata_numeric or self.metadata_categorical or self.author_history
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


def column_names(config: Any, inputs: InputShape) -> list[str]:
    """The names of the metadata's columns, numbers before categories."""
    numeric, categorical = chosen_columns(config)
    if (len(numeric), len(categorical)) == (inputs.n_numeric, len(inputs.n_categories)):
        return [*numeric, *categorical]
    numbers = [f"number {i}" for i in range(1, inputs.n_numeric + 1)]  # no metadata, or not of these options
    return [*numbers, *(f"category {i}" for i in range(1, len(inputs.n_categories) + 1))]


def contributions(
    of_columns: np.ndarray, names: Sequence[str], sizes: Sequence[int], content: Mapping[str, int] | None = None
) -> list[Contribution]:
    """What each feature adds to a prediction: the sum over its columns.

    Args:
        of_columns: What each column adds, float64 [columns]: content, then metadata.
        names: Names of the metadata's columns, M of them.
        sizes: Columns that each of them has here, [M]: of a category one, or one per value.
        content: Columns of each input before the metadata, by its name; one of no column is left out.
    """
    before = {name: size for name, size in (content or {}).items() if size}
    ends = np.cumsum([*before.values(), *sizes])[:-1]
    amounts = [float(part.sum()) for part in np.split(of_columns, ends)]
    places = [*[None] * len(before), *range(len(names))]
    return [
        Contribution(name, amount, column=place)
        for name, amount, place in zip([*before, *names], amounts, places, strict=True)
    ]


def shares_by_name(of_columns: np.ndarray, names: Sequence[str], whole: float) -> dict[str, float]:
    """Share of each column of the metadata in what trees tell apart, in percent, the ten largest; none of 0.

    Args:
        of_columns: A number of each column, [M].
        names: Their names.
        whole: The sum of such numbers over all columns that the trees read.
    """
    largest = np.argsort(-of_columns, kind="stable")[:_MOST_NAMED]
    return {names[i]: round(100 * float(of_columns[i]) / whole, 2) for i in largest if of_columns[i] > 0}


def earlier_version_error(model: str) -> CheckpointError:
    """The error of an explanation by what the checkpoint of an earlier version does not hold."""
    return CheckpointError(
        f"This {model} was trained by an earlier version, which did not keep what an explanation needs; train it again "
        "for explanations."
    )


def _numbers_and_codes(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Numbers, float64 [B, n], and codes of categories, int64 [B, m]; no column without metadata."""
    if "numeric" not in batch:
        n = len(batch["row"])
        return np.zeros((n, 0)), np.zeros((n, 0), dtype=np.int64)
    return batch["numeric"].cpu().numpy().astype(np.float64), batch["categories"].cpu().numpy()
