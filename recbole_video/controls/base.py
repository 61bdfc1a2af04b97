"""What all controls share: they are fitted in one go, and score the catalogue for histories."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from recbole.model.abstract_recommender import SequentialRecommender
from recbole.utils import InputType
from torch import Tensor

from recbole_video.content.items import ItemContent
from recbole_video.controls.options import ControlOptions
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions
from recbole_video.errors import CheckpointError
from recbole_video.runtime.trainable import Trainable


class Control(Trainable, SequentialRecommender):
    """Base of the controls: a subclass implements :meth:`fit_once` and :meth:`score`.

    What was fitted lies in buffers, whose shapes follow from options and catalogue, or in ``get_extra_state`` as plain
    values and tensors, so that a checkpoint holds it.

    Args:
        config: The run's configuration.
        dataset: What there is to know of the data: numbers, widths of content.

    Attributes:
        is_deterministic: Whether runs that differ in the seed alone are the same; a sweep runs such a control once.
        ignores_padding: Scores are the same however much padding follows a history.
        content: The content of the items, if it is read; None in a model that was loaded from a file.
    """

    Options: type[ControlOptions] = ControlOptions
    is_video_model = True
    is_deterministic = True
    ignores_padding = True
    input_type = InputType.POINTWISE

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config.host(), dataset)
        self.content: ItemContent | None = dataset.content

    @classmethod
    def is_fitted_once(cls) -> bool:
        return True

    @classmethod
    def reads_content(cls, config: Any) -> bool:
        """Whether it reads the content of the items with these options."""
        return False

    # -- what a control does -------------------------------------------------------------------

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Fit to the training actions, and no others: those of ``actions.split.train``.

        Returns:
            What was fitted, as plain values for the results.
        """
        raise NotImplementedError

    def score(self, histories: Tensor, lengths: Tensor) -> Tensor:
        """Score every item for some histories.

        Args:
            histories: [B, L] int64, item ids, oldest first, zeros behind.
            lengths: [B] int64, items in each history, at least 1.

        Returns:
            [B, n_items] float32, of no other tensor's memory; column 0, the padding, is not read.
        """
        raise NotImplementedError

    def full_sort_predict(self, interaction: Mapping[str, Tensor]) -> Tensor:
        """RecBole's name of what an evaluation asks: scores of all items, [B, n_items]."""
        return self.score(interaction[self.ITEM_SEQ], interaction[self.ITEM_SEQ_LEN])

    # -- what a run asks -----------------------------------------------------------------------

    def before_ranking(self) -> None:
        """Nothing has to be computed before the catalogue is ranked."""

    def parameter_counts(self) -> dict[str, int]:
        """Nothing is trained."""
        return {}

    def check_state(self, state: Mapping[str, Any], path: Path) -> None:
        """Refuse a ``state_dict`` out of a file before it is loaded, beyond missing values and other shapes.

        Raises:
            CheckpointError: Where a value is not as it must be.
        """
        for name, value in state.items():
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise CheckpointError(f"`{path}` holds a model that is of no use: `{name}` holds NaN or infinity.")


def last_items(histories: Tensor, lengths: Tensor) -> Tensor:
    """The newest item of each of ``histories: [B, L]``, [B]."""
    return histories.gather(1, lengths[:, None] - 1)[:, 0]
