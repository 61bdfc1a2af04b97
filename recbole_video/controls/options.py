"""The options of every control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from recbole_video.options.option import declared
from recbole_video.options.run import resume_option
from recbole_video.recommendation.options import RankingOptions, RecommendationOptions


@dataclass(frozen=True)
class ControlOptions(RankingOptions):
    """Controls of recommendation: untrained models, on the data and by the evaluation of trained ones."""

    # What a trained model reads beyond these, and RecBole knows: it would do nothing.
    without_effect: ClassVar[frozenset[str]] = RankingOptions.without_effect | (
        frozenset(declared(RecommendationOptions)) - frozenset(declared(RankingOptions)) - {"resume"}
    )
    models: ClassVar[str] = "controls, which are not trained"

    resume: bool | str | None = resume_option()
