"""Optuna's suggestions for Ray Tune, each point once: a trial's folder is named after its options."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from recbole_video.sweep.space import Space, for_ray, point_key

_MOST_ASKS = 200  # for a point that has not been tried
_FAILED = optuna.trial.TrialState.FAIL


class DistinctOptunaSearch(OptunaSearch):
    """Ray's OptunaSearch (TPE), which passes over points that have been tried and trials that have failed.

    Args:
        space: What is searched.
        mode: ``max`` or ``min``.
        seed: Seed of Optuna's sampler.
        tried: Points of earlier trials with their scores; None for one without.
    """

    def __init__(
        self, space: Space, mode: str, seed: int, tried: Sequence[tuple[dict[str, Any], float | None]]
    ) -> None:
        known = [(point, score) for point, score in tried if score is not None]
        past: dict[str, Any] = {}
        if known:
            past = {"points_to_evaluate": [p for p, _ in known], "evaluated_rewards": [s for _, s in known]}
        super().__init__(for_ray(space), metric="score", mode=mode, seed=seed, **past)
        self._scores = {point_key(point): score for point, score in tried}
        self._key_of: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """A point that nobody has tried; ``FINISHED`` where there seems to be none left."""
        for _ in range(_MOST_ASKS):
            point = super().suggest(trial_id)
            key = point_key(point)
            if key not in self._scores:
                self._scores[key] = None
                self._key_of[trial_id] = key
                return point
            self._skip_repeated(trial_id, self._scores[key])
        return Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Learn from an epoch; a trial that has failed reports no score."""
        if "score" in result:
            super().on_trial_result(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn from a trial that is over."""
        if trial_id in self._key_of:
            self._scores[self._key_of[trial_id]] = (result or {}).get("score")
        super().on_trial_complete(trial_id, result, error)

    def _skip_repeated(self, trial_id: str, score: float | None) -> None:
        """Tell Optuna the known score of a point that it suggests again; None fails it."""
        asked = self._ot_trials.pop(trial_id)
        study: Any = self._ot_study
        study.tell(asked, score, state=_FAILED if score is None else None)
