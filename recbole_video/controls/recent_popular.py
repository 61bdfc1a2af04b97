"""Control: the same ranking for everybody, by popularity of late."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from recbole_video.controls.by_count import ByCount
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequences import Actions
from recbole_video.errors import DataError
from recbole_video.options.option import option


class RecentPopular(ByCount):
    """Items by the number of their actions in the last part of training.

    Where times are places in a sequence, as in data that came without any, ``time`` and ``order`` mean those.

    Raises:
        DataError: If the data has no times.
    """

    @dataclass(frozen=True)
    class Options(ByCount.Options):
        """Those of RecentPopular."""

        recent_share: float = option(
            0.1, "Share of training that counts, its end.", above=0, at_most=1, section="RecentPopular"
        )
        recent_by: Literal["time", "order"] = option(
            "time",
            "time: a share of the time between the first and the last training action; order: of the actions, by time.",
        )

    def __init__(self, config: Any, dataset: Catalogue) -> None:
        super().__init__(config, dataset)
        self._share: float = config["recent_share"]
        self._by: str = config["recent_by"]

    def fit_once(self, actions: Actions) -> dict[str, Any]:
        """Count the late training actions of each item."""
        if actions.times is None:
            raise DataError("RecentPopular needs the time of each action; choose another control.")
        trained = np.flatnonzero(actions.is_trained())
        times = actions.times[trained]
        late = self._late_by_time(times) if self._by == "time" else self._late_by_order(times)
        chosen = np.zeros(len(actions.items), dtype=bool)
        chosen[trained[late]] = True
        return {**self.count(actions, chosen), "first_time": float(times[late].min())}

    def _late_by_time(self, times: np.ndarray) -> np.ndarray:
        """Which of ``times: [T]`` lie in the last share of their span, both ends included, bool [T]."""
        return times >= times.max() - self._share * (times.max() - times.min())

    def _late_by_order(self, times: np.ndarray) -> np.ndarray:
        """Places of the last share of ``times: [T]``; of equal times, those of later users go last."""
        return np.argsort(times, kind="stable")[-max(1, round(self._share * len(times))) :]
