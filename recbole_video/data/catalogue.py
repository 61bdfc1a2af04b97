"""What a model has to know of the data: how many items, their content, how often each trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from recbole_video.content.items import ItemContent


@dataclass(frozen=True)
class Catalogue:
    """Stands in for RecBole's ``dataset`` argument of a model's constructor.

    Attributes:
        user_field: RecBole's name of the user id field.
        item_field: RecBole's name of the item id field.
        user_num: Users, padding included.
        item_num: Items, padding included.
        train_counts: [item_num] int64, training actions of each item.
        content: The content by item id, or None where no encoder reads it, or it is not there.
        content_dims: D, width of a row, of each modality that is read.
    """

    user_field: str
    item_field: str
    user_num: int
    item_num: int
    train_counts: Tensor
    content: ItemContent | None = None
    content_dims: Mapping[str, int] = field(default_factory=dict)

    def num(self, field: str) -> int:
        """Number of ids of the user or item field, padding included, as RecBole's ``Dataset.num``."""
        numbers = {self.user_field: self.user_num, self.item_field: self.item_num}
        if field not in numbers:
            raise KeyError(f"Models of this package know the fields {list(numbers)}, not `{field}`.")
        return numbers[field]

    @property
    def is_trained(self) -> Tensor:
        """[item_num] bool, items that occur in training."""
        return torch.as_tensor(self.train_counts) > 0
