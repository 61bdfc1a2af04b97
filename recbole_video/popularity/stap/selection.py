"""What the released training scripts ask of an epoch before it takes the place of the best one so far.

Restated from ``scripts/multimodal_memory_bank`` of ``AI4SS/STAP`` at 4d98914. Each script selects by an error that must
fall, and asks for gains besides: shares of the best epoch's values by which errors fell and SRC rose.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

_Gains = Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """What one script asks.

    Attributes:
        metric: The error that it selects by; the rule acts where that is the run's ``valid_metric``.
        reads: The metrics whose gains it reads. nMSE stands for the mean squared error: both have the same gains.
        is_enough: Whether the gains suffice.
    """

    metric: str
    reads: tuple[str, ...]
    is_enough: Callable[[_Gains], bool]

    def keeps(self, result: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether an epoch with the validation metrics ``result`` takes the place of one with those of ``best``."""
        gains = {name: _gain(name, result[name.lower()], best[name.lower()]) for name in self.reads}
        return gains[self.metric] > 0 and self.is_enough(gains)


def _gain(name: str, value: float, best: float) -> float:
    change = value - best if name == "SRC" else best - value
    if best == 0:
        return math.copysign(math.inf, change) if change else 0.0
    return change / abs(best)


_ERRORS = ("MAPE", "MAE", "nMSE")
RULES = {
    "smpd": Rule("MAPE", _ERRORS, lambda gains: sum(gains.values()) > 0.005),
    "informs": Rule("MAPE", _ERRORS, lambda gains: sum(gains.values()) > 0),
    "microlens": Rule("MAE", ("MAE", "SRC"), lambda gains: max(gains.values()) > 0.001),
}


def rule_for(name: str, valid_metric: str) -> Rule | None:
    """The rule of that name, where its script selects by that metric, too."""
    rule = RULES.get(name)
    return rule if rule is not None and rule.metric.lower() == valid_metric.lower() else None
