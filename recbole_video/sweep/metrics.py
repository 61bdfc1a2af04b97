"""The columns of a table: what is read from a run's ``metrics.json``, and how it is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from recbole_video.errors import ConfigError
from recbole_video.runtime.metric_names import is_share, metric_key

_COUNTS = frozenset(["users", "videos", "parameters", "seconds"])  # whole numbers
_COSTS = {"seconds": "seconds", "gb": "peak_memory_mb", "parameters": "parameters"}


@dataclass(frozen=True)
class Metric:
    """One number of a run.

    Attributes:
        name: As a table shows it, such as ``HR@10``, ``nMSE``, ``seconds`` or ``GB``.
        key: Where it lies in ``metrics.json``, names joined by ``/``; ``#2`` is the second of what is there.
        bigger: Whether more is better.
        factor: What the stored number is multiplied by; ranking metrics are shown x 100, as in the papers.
        decimals: Digits behind the point.
        is_quality: Whether a table marks the best; costs and counts are only told.
    """

    name: str
    key: str
    bigger: bool
    factor: float
    decimals: int
    is_quality: bool = True

    @classmethod
    def of(cls, given: str | dict[str, str]) -> Metric:
        """From a name, or from ``{name: ..., key: ...}`` for a number that is not of the test split as a whole.

        Raises:
            ConfigError: If it is neither.
        """
        if isinstance(given, str):
            given = {"name": given}
        is_of_both = isinstance(given, dict) and "name" in given and not set(given) - {"name", "key"}
        if not is_of_both or not all(isinstance(text, str) and text for text in given.values()):
            raise ConfigError(f"`{given}` is no metric; write a name, or {{name: ..., key: ...}}.")
        name = given["name"]
        key = given.get("key") or _default_key(name)
        plain = key.rpartition("/")[2].partition("@")[0].lower()
        cost = name.lower() if name.lower() in _COSTS else plain
        is_ranking = is_share(plain)
        return cls(
            name=name,
            key=key,
            bigger=cost not in _COSTS and not _is_smaller_better(plain),
            factor=100.0 if is_ranking else 1 / 1024 if name.lower() == "gb" else 1.0,
            decimals=0 if cost in _COUNTS else 2 if cost == "gb" else 3 if is_ranking else 4,
            is_quality=cost not in _COSTS and cost not in _COUNTS,
        )

    def read(self, result: dict[str, Any]) -> float | None:
        """The number in a run's results, as it is shown; None where the run has none."""
        value: Any = result
        for part in self.key.split("/"):
            value = _entry(value, part) if isinstance(value, dict) else None
        if isinstance(value, dict):  # parameters: those of the item encoder, which the papers count
            value = value.get("item_encoder", value.get("model"))
        return None if not isinstance(value, (int, float)) or isinstance(value, bool) else float(value) * self.factor

    def title_in(self, results: Sequence[dict[str, Any]]) -> str:
        """Its name; of one that reads the second of something (``#2``), what that is in all of some results."""
        names = {_name_of_place(result, self.key.split("/")) for result in results}
        [only] = names if len(names) == 1 else [None]
        return self.name if only is None else only

    def write(self, value: float) -> str:
        """The number with its digits."""
        return f"{value:,.{self.decimals}f}" if self.decimals == 0 else f"{value:.{self.decimals}f}"


def _entry(values: dict[str, Any], name: str) -> Any:
    """The value of a name, or of ``#2``, the second; None where there is none."""
    place = name.removeprefix("#")
    if place == name or not place.isdecimal():
        return values.get(name)
    return next(islice(values.values(), int(place) - 1, None), None) if int(place) else None


def _name_of_place(result: dict[str, Any], path: Sequence[str]) -> str | None:
    """What the ``#2`` of a path stands for; None where it has none, or a result has no such entry."""
    value: Any = result
    for part in path:
        place = part.removeprefix("#")
        if not isinstance(value, dict):
            return None
        if place != part and place.isdecimal():
            return next(islice(value, int(place) - 1, None), None) if int(place) else None
        value = value.get(part)
    return None


def _is_smaller_better(name: str) -> bool:
    """As RecBole's register of metrics has it, ours among them."""
    from recbole.evaluator.register import smaller_metrics

    from recbole_video.evaluation.regression_metrics import register

    register()
    return name in smaller_metrics


def _default_key(name: str) -> str:
    lower = name.lower()
    if lower in _COSTS:
        return _COSTS[lower]
    return f"test_result/{metric_key(name)}"
