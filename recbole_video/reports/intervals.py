"""How far the mean over test users or videos may be off: 95 % intervals."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import stats

from recbole_video.reports.cases import Cases, Part, n_in_group
from recbole_video.reports.collect import Record
from recbole_video.results.targets import n_test_targets
from recbole_video.sweep.metrics import Metric

LEVEL = 0.95
RESAMPLES = 2000
_SEED = 0


@dataclass(frozen=True)
class Interval:
    """A 95 % interval of a cell, as the table shows the metric.

    Attributes:
        low: Its lower end.
        high: Its upper end.
        is_exact: Whether it is of a binomial proportion, exact; otherwise a bootstrap over users.
    """

    low: float
    high: float
    is_exact: bool


def interval_of(metric: Metric, records: list[Record], cases: Cases) -> Interval | None:
    """The interval of a cell; None where nothing per user is known.

    Hits of one run are counted: the interval is Clopper's and Pearson's. Of several runs, and of other metrics, each
    user's value is its mean over the runs, and users are drawn again; where a user has several targets, with all of
    them, and that is done for hits as well.

    Args:
        metric: A metric of the test split, or of a group of its targets.
        records: The finished runs of the cell.
        cases: Where values per user are read.
    """
    part = Part.of(metric)
    if part is None or not records:
        return None
    if len(records) == 1 and part.metric.startswith("hit@") and _has_a_target_each(records[0]):
        return _of_hits(records[0], metric, part)
    table = cases.table(records, part)
    if table is None or part.metric not in table:
        return None
    low, high = bootstrap(table[part.metric].to_numpy(), cases.weights(records, part).to_numpy())
    return Interval(low * metric.factor, high * metric.factor, is_exact=False)


def _of_hits(record: Record, metric: Metric, part: Part) -> Interval | None:
    n, shown = n_in_group(metric, record) if part.kind else n_targets(record), metric.read(record.result)
    if not n or shown is None:
        return None
    ends = stats.binomtest(round(shown / metric.factor * n), n).proportion_ci(LEVEL, method="exact")
    return Interval(float(ends.low) * metric.factor, float(ends.high) * metric.factor, is_exact=True)


def n_targets(record: Record) -> int | None:
    """Test targets that the metrics of a run are means over; None where its results do not say."""
    return n_test_targets(record.result.get("data") or {})


def _has_a_target_each(record: Record) -> bool:
    """Whether each user has one target: hits of one user are not independent, and no binomial counts them."""
    return n_targets(record) == (record.result.get("data") or {}).get("test_users")


def bootstrap(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[float, float]:
    """The percentile interval of the mean of ``values: [N]``, by seeded resampling of N of them.

    A resample counts how often each distinct value is drawn, which is multinomial: a metric with a cut-off has few.

    Args:
        values: One of each user, NaN where there is none.
        weights: [N]; of the targets whose mean a user's value is, their number: users are drawn, with all of theirs.
    """
    pairs = np.stack([values, np.ones(len(values)) if weights is None else weights], axis=1)
    distinct, counts = np.unique(pairs[~np.isnan(values)], axis=0, return_counts=True)
    n = counts.sum()
    drawn = np.random.default_rng(_SEED).multinomial(n, counts / n, size=RESAMPLES)
    tail = 50 * (1 - LEVEL)
    low, high = np.percentile(drawn @ distinct.prod(axis=1) / (drawn @ distinct[:, 1]), [tail, 100 - tail])
    return float(low), float(high)
