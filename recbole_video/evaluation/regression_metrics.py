"""Metrics of regression that RecBole lacks, as RecBole metric classes: nMSE, SRC and MAPE."""

from __future__ import annotations

import logging
from math import atanh, isfinite, sqrt, tanh

import numpy as np
from recbole.evaluator import register as tables
from recbole.evaluator.base_metric import LossMetric
from scipy.stats import spearmanr

from recbole_video.runtime.logs import ONCE


class NMSE(LossMetric):
    """Mean squared error over the variance of the labels (population): 1 is what their mean would get."""

    smaller = True

    def calculate_metric(self, dataobject):  # noqa: ANN001, ANN201
        return self.output_metric("nmse", dataobject)

    def metric_info(self, preds: np.ndarray, trues: np.ndarray) -> float:
        variance = float(np.var(trues))
        if variance == 0:
            logging.getLogger().warning(
                "All labels are the same: nMSE, which divides by their variance, is undefined.", extra=ONCE
            )
            return float("nan")
        return float(np.mean((preds - trues) ** 2)) / variance


def interval_of_src(src: float, n: int) -> tuple[float, float] | None:
    """The 95 % interval of a rank correlation over ``n`` videos, approximate: by Fisher's z.

    Its standard error is Bonett's and Wright's, sqrt((1 + src^2 / 2) / (n - 3)): that of a correlation of values,
    1 / sqrt(n - 3), is too small for ranks.

    Returns:
        Both ends; None for fewer than five videos, or a correlation that is none or complete.
    """
    if n < 5 or not isfinite(src) or abs(src) >= 1:
        return None
    half = 1.959964 * sqrt((1 + src**2 / 2) / (n - 3))
    return tanh(atanh(src) - half), tanh(atanh(src) + half)


class SRC(LossMetric):
    """Spearman's rank correlation, average ranks on ties; 0 where all predictions are the same."""

    smaller = False

    def calculate_metric(self, dataobject):  # noqa: ANN001, ANN201
        return self.output_metric("src", dataobject)

    def metric_info(self, preds: np.ndarray, trues: np.ndarray) -> float:
        if len(trues) < 2 or np.ptp(trues) == 0:
            logging.getLogger().warning("SRC needs two different labels: it is undefined.", extra=ONCE)
            return float("nan")
        if np.ptp(preds) == 0:
            logging.getLogger().warning("All predictions are the same: SRC is reported as 0.", extra=ONCE)
            return 0.0
        return float(spearmanr(preds, trues).statistic)


class MAPE(LossMetric):
    """Mean absolute error in shares of the label; labels of 0 are left out, and small ones rule it."""

    smaller = True

    def calculate_metric(self, dataobject):  # noqa: ANN001, ANN201
        return self.output_metric("mape", dataobject)

    def metric_info(self, preds: np.ndarray, trues: np.ndarray) -> float:
        kept = trues != 0
        if not kept.any():
            logging.getLogger().warning("All labels are 0: MAPE is undefined.")
            return float("nan")
        return float(np.mean(np.abs((preds[kept] - trues[kept]) / trues[kept])))


def register() -> None:
    """Put the metrics into RecBole's tables; again has no effect."""
    for metric in (NMSE, SRC, MAPE):
        name = metric.__name__.lower()
        tables.metrics_dict[name] = metric
        tables.metric_types[name] = metric.metric_type
        tables.metric_information[name] = metric.metric_need
        if metric.smaller and name not in tables.smaller_metrics:
            tables.smaller_metrics.append(name)
