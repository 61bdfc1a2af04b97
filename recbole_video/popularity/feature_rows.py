"""Content and metadata of a video as one row of features, for models that are fitted in one go to content."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.decomposition import PCA
from torch import Tensor

from recbole_video.errors import ConfigError, DataError, TrainingError
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape, PopularityModel
from recbole_video.popularity.columns import column_names, contributions, one_hot, shares_by_name, side_by_side
from recbole_video.popularity.explanation import Contribution
from recbole_video.popularity.options import FittedOptions

_INPUTS = ("frames", "text", "metadata")
_KEPT = ("row", "label", "numeric", "categories")
STATE = "_extra_state"  # PyTorch's name of what get_extra_state gives


@dataclass(frozen=True)
class ContentOptions(FittedOptions):
    """Popularity models that are fitted in one go to content, a row of features per video."""

    # By which the frames are read.
    of_training: ClassVar[frozenset[str]] = FittedOptions.of_training - {"eval_batch_size"}

    frame_components: int | None = option(
        None, "The mean frame in at most so many principal components of training; empty: as it is.", at_least=1
    )


class FeatureModel(PopularityModel):
    """Base of models that are fitted in one go to a row of features per video.

    A row is the mean frame, as it is or in principal components, the mean text, and the metadata. Every feature is
    computed from its own video alone, frame by frame and row by row, so that it is the same to the last digit however
    the videos are batched and padded.

    Raises:
        ConfigError: If no input is left.
    """

    frame_mean: Tensor
    frame_axes: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        n = min(config["frame_components"] or 0, inputs.frame_dim)
        self.n_components = n
        self.n_content = (n or inputs.frame_dim) + inputs.text_dim
        self._names = column_names(config, inputs)
        if n:
            self.register_buffer("frame_mean", torch.zeros(inputs.frame_dim, dtype=torch.float64))
            self.register_buffer("frame_axes", torch.zeros(n, inputs.frame_dim, dtype=torch.float64))

    # -- features ------------------------------------------------------------------------------

    def condensed(self, batch: Batch) -> Batch:
        """Mean frame and mean text of each video, ``content`` float32 [B, d_v + d_t], beside metadata and labels."""
        means = [_mean_row(batch[name], batch[mask]) for name, mask in _MODALITIES if name in batch]
        empty = torch.zeros(len(batch["row"]), 0)
        return {**{name: batch[name] for name in _KEPT if name in batch}, "content": torch.cat([empty, *means], dim=1)}

    def fit_components(self, train: Batch) -> None:
        """Find the principal components of the mean frames of training, where they are asked for.

        Raises:
            ConfigError: If there are fewer training videos than components.
        """
        if not self.n_components:
            return
        frames = train["content"].numpy()[:, : self.inputs.frame_dim].astype(np.float64)
        if len(frames) < self.n_components:
            raise ConfigError(
                f"`frame_components` is {self.n_components}, and there are {len(frames)} training videos; lower it."
            )
        found = PCA(self.n_components, svd_solver="full").fit(frames)
        self.frame_mean.copy_(torch.from_numpy(found.mean_))
        self.frame_axes.copy_(torch.from_numpy(found.components_))

    def content_rows(self, condensed: Batch) -> np.ndarray:
        """Content of each video, float64 [B, d], the mean frame in components where they are asked for."""
        content = condensed["content"].cpu().numpy().astype(np.float64)
        if not self.n_components:
            return content
        frames, text = np.split(content, [self.inputs.frame_dim], axis=1)
        axes, mean = self.frame_axes.cpu().numpy(), self.frame_mean.cpu().numpy()
        return np.concatenate([by_row(axes, frames - mean), text], axis=1)

    def rows_with_codes(self, condensed: Batch) -> np.ndarray:
        """Content, numbers, and one column of codes per categorical column, float64 [B, d + n + m]."""
        return np.concatenate([self.content_rows(condensed), side_by_side(condensed)], axis=1)

    def rows_with_one_hot(self, condensed: Batch) -> np.ndarray:
        """Content, numbers, and one column per category, float64 [B, d + n + sum of categories]."""
        return np.concatenate([self.content_rows(condensed), one_hot(condensed, self.inputs)], axis=1)

    def importance(self, of_columns: np.ndarray) -> dict[str, dict[str, float]]:
        """Share of each input, and of single columns of the metadata, in what trees tell apart, in percent.

        Args:
            of_columns: A number of each column of :meth:`rows_with_codes`, [d + n + m].

        Returns:
            ``importance`` by input, 0 for one that is not read, unless metadata is all there is; and ``features``, the
            ten largest columns of the metadata, where there is any.
        """
        parts = np.split(np.asarray(of_columns, dtype=np.float64), np.cumsum([*self._content_sizes().values()]))
        whole = max(float(np.sum(of_columns)), np.finfo(float).tiny)
        shares = {name: round(100 * float(part.sum()) / whole, 2) for name, part in zip(_INPUTS, parts, strict=True)}
        found = {"importance": shares} if self.n_content else {}
        return {**found, "features": shares_by_name(parts[-1], self._names, whole)} if len(parts[-1]) else found

    def contributions(self, of_columns: np.ndarray) -> list[Contribution]:
        """What frames, text, and each column of the metadata add to a prediction.

        Args:
            of_columns: What each column of :meth:`rows_with_codes` adds, float64 [d + n + m].
        """
        return contributions(of_columns, self._names, [1] * len(self._names), self._content_sizes())

    def _content_sizes(self) -> dict[str, int]:
        return {"frames": self.n_content - self.inputs.text_dim, "text": self.inputs.text_dim}

    def not_fitted_error(self) -> TrainingError:
        """The error of a prediction before there is anything to predict by."""
        return TrainingError(f"{type(self).__name__} has not been fitted yet: fit it first.")

    # -- in a checkpoint -----------------------------------------------------------------------

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Check the weights, and what was fitted by :meth:`check_fitted`."""
        super().check_state(state, path)
        self.check_fitted(state.get(STATE), path)

    def check_fitted(self, state: Any, path: Path) -> None:
        """Refuse what should be of :meth:`get_extra_state` of this class and is not.

        Raises:
            CheckpointError: If it is not as it must be.
        """
        raise NotImplementedError


_MODALITIES = (("frames", "frame_mask"), ("text", "text_mask"))


def _mean_row(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the rows [B, L, d] that the mask [B, L] has, float32 [B, d]; zeros for a video without any.

    They are added one after the other in double precision: a library's sum depends on the length of the padding.
    """
    total = torch.zeros(len(values), values.shape[-1], dtype=torch.float64)
    for place in range(values.shape[1]):
        total += values[:, place].double().cpu() * mask[:, place, None].cpu()
    return (total / mask.sum(dim=1).clamp(min=1)[:, None].cpu()).float()


def by_row(matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """``rows @ matrix.T``, [N, k], one row at a time: the last digits of a product depend on how many rows it has.

    Args:
        matrix: float64 [k, d].
        rows: float64 [N, d].
    """
    return np.stack([matrix @ row for row in np.ascontiguousarray(rows)]) if len(rows) else np.zeros((0, len(matrix)))


def refuse_constant(rows: np.ndarray, model: str) -> None:
    """Refuse features that are the same for all training videos, of which no model learns anything.

    Args:
        rows: float [N, d].
        model: For the message.

    Raises:
        DataError: If they are.
    """
    if not (rows != rows[:1]).any():
        raise DataError(
            f"All {len(rows):,} training videos have the same features: {model} has nothing to learn from; read "
            "frames, text or other metadata."
        )
