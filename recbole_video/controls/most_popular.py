"""Control: the same ranking for everybody, by popularity."""

from __future__ import annotations

from typing import Any

from recbole_video.controls.by_count import ByCount
from recbole_video.data.sequences import Actions


class MostPopular(ByCount):
    """Items by the number of their training actions."""

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Count the training actions of each item."""
        return self.count(actions, actions.is_trained())
