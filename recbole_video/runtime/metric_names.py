"""Names, scale and direction of metrics: one table for the console, reports, sweeps and figures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from recbole_video.errors import ConfigError


@dataclass(frozen=True)
class MetricName:
    """How people write a metric.

    Attributes:
        label: As the papers write it.
        is_share: Between 0 and 1, and shown x 100.
        is_smaller_better: Whether less is better; None for a metric of RecBole's, whose tables say it.
    """

    label: str
    is_share: bool = False
    is_smaller_better: bool | None = None


# By key: as results are keyed, in lower case and without the cut-off.
METRIC_NAMES = {
    "hit": MetricName("HR", is_share=True),
    "ndcg": MetricName("NDCG", is_share=True),
    "mrr": MetricName("MRR", is_share=True),
    "map": MetricName("MAP", is_share=True),
    "recall": MetricName("Recall", is_share=True),
    "precision": MetricName("Precision", is_share=True),
    "nmse": MetricName("nMSE", is_smaller_better=True),
    "mae": MetricName("MAE"),
    "src": MetricName("SRC", is_smaller_better=False),
    "mape": MetricName("MAPE", is_smaller_better=True),
}
_KEYS = {name.label.lower(): key for key, name in METRIC_NAMES.items()}


def metric_label(key: str) -> str:
    """``HR@10`` for ``hit@10``; a metric that is not in the table stays as it is."""
    head, at, cut_off = key.partition("@")
    known = METRIC_NAMES.get(head.lower())
    return f"{known.label if known else head}{at}{cut_off}"


def metric_key(label: str) -> str:
    """``hit@10`` for ``HR@10``, ``Hit@10`` or ``hit@10``."""
    head, at, cut_off = label.lower().partition("@")
    return f"{_KEYS.get(head, head)}{at}{cut_off}"


def is_share(key: str) -> bool:
    """Whether a metric is between 0 and 1, and shown x 100 as in the papers."""
    known = METRIC_NAMES.get(key.partition("@")[0].lower())
    return known is not None and known.is_share


def called_here(given: str, known: Collection[str]) -> str:
    """Return ``" (it is called `hit@10` here)"`` for what the papers call otherwise, or an empty string.

    Args:
        given: Of a metric, ``HR@10`` for example.
        known: Names that are accepted, in lower case.
    """
    key = metric_key(given)
    return f" (it is called `{key}` here)" if key in known and key != given.lower() else ""


def not_computed(valid_metric: str, computed: Collection[str], remedy: str) -> ConfigError:
    """What refuses a metric to choose by that a model is not judged by."""
    return ConfigError(
        f"`valid_metric` is `{valid_metric}`, which is not computed{called_here(valid_metric, computed)}; choose from "
        f"{', '.join(computed)}, or {remedy}."
    )
