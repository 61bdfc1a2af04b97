"""Whether the difference of two rows is more than chance: paired tests, named, with their p-values corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from recbole_video.reports.cases import Cases
from recbole_video.reports.collect import Collection, Record
from recbole_video.sweep.folder import FINISHED
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.spec import Comparison

ALPHA = 0.05
CORRECTION_NAMES = {"holm": "Holm's correction", "fdr": "Benjamini and Hochberg's control of the false discovery rate"}
_FEWEST_SEEDS = 2


@dataclass(frozen=True)
class Tested:
    """The outcome of a comparison.

    Attributes:
        a: Row that is compared.
        b: Row that it is compared with.
        column: Column they stand in.
        metric: What is compared.
        test: Name of the test, and over how many pairs.
        difference: Mean of a less that of b, as the table shows the metric.
        p: Of Student's t-test, two-sided; None where the test cannot be made.
        why_not: Why it cannot.
        wilcoxon: Of Wilcoxon's signed-rank test over the same pairs, two-sided.
        corrected: Both, t and Wilcoxon, corrected for all tests of the table; None where there is none.
    """

    a: str
    b: str
    column: str
    metric: str
    test: str
    difference: float | None
    p: float | None
    why_not: str = ""
    wilcoxon: float | None = None
    corrected: tuple[float | None, float | None] = (None, None)

    @property
    def is_told_apart(self) -> bool:
        """Whether both tests, corrected, find a difference."""
        return all(p is not None and p < ALPHA for p in self.corrected)


def test_all(collection: Collection, cases: Cases | None = None) -> list[Tested]:
    """Every comparison of the sweep, for each column and metric that can be tested."""
    found = []
    cases = cases or Cases()
    for comparison in collection.sweep.compare:
        for column in collection.sweep.columns:
            a, b = (_finished(collection, name, column.label) for name in (comparison.a, comparison.b))
            if comparison.over == "seeds":
                found += over_seeds(comparison, column.label, collection.sweep.metrics, a, b)
            else:
                found += over_cases(comparison, column.label, collection.sweep.metrics, a, b, cases)
    return found


def _finished(collection: Collection, row: str, column: str) -> list[Record]:
    """The finished runs of a cell."""
    return [
        record
        for record in collection.records
        if record.trial.row == row and record.trial.column == column and record.state.kind == FINISHED
    ]


def over_seeds(
    comparison: Comparison, column: str, metrics: tuple[Metric, ...], a: list[Record], b: list[Record]
) -> list[Tested]:
    """Tests of pairs of runs with one seed, as STAP's Table 2 has it over five retrainings."""
    of_seed = [{record.trial.seed: record for record in side} for side in (a, b)]
    seeds = sorted(of_seed[0].keys() & of_seed[1].keys())
    found = []
    for metric in metrics:
        if not metric.key.startswith("test_result/"):
            continue
        values = np.array([[metric.read(side[seed].result) for side in of_seed] for seed in seeds], dtype=float)
        values = values[np.isfinite(values).all(axis=1)] if len(values) else values.reshape(0, 2)
        if len(values) < _FEWEST_SEEDS:
            found.append(_untested(comparison, column, metric, f"needs {_FEWEST_SEEDS} seeds of both rows"))
            continue
        found.append(paired(comparison, column, metric.name, values[:, 0] - values[:, 1], "seeds"))
    return found


def over_cases(
    comparison: Comparison,
    column: str,
    metrics: Sequence[Metric],
    a: list[Record],
    b: list[Record],
    cases: Cases,
) -> list[Tested]:
    """Tests of pairs of test users or videos, each the mean over its row's seeds.

    Users are compared by each ranking metric of ``per_user.tsv``, videos by the absolute error of ``predictions.tsv``.
    """
    left, right = cases.table(a), cases.table(b)
    if left is None or right is None:
        why = "needs per_user.tsv (save_per_user=True) or predictions.tsv of both rows"
        return [_untested(comparison, column, metrics[0], why)]
    shared = left.index.intersection(right.index)
    found = []
    for name in [name for name in left.columns if name in right.columns]:
        metric = next((m for m in metrics if m.key == f"test_result/{name}"), None)
        if metric is not None:
            difference = (left.loc[shared, name] - right.loc[shared, name]).to_numpy() * metric.factor
            found.append(paired(comparison, column, metric.name, difference, "test cases"))
    return found


def paired(comparison: Comparison, column: str, metric: str, difference: np.ndarray, what: str) -> Tested:
    """Student's and Wilcoxon's tests of ``difference: [N]`` between the halves of pairs."""
    test = f"paired t-test over {len(difference):,} {what}"
    mean = float(difference.mean()) if len(difference) else None
    if not len(difference) or np.ptp(difference) == 0:  # the statistic is 0 / 0, or infinite
        why = "all pairs differ by the same amount" if len(difference) else f"they share no {what}"
        return Tested(comparison.a, comparison.b, column, metric, test, mean, None, why)
    p = float(stats.ttest_1samp(difference, 0.0).pvalue)
    wilcoxon = float(stats.wilcoxon(difference).pvalue)
    return Tested(comparison.a, comparison.b, column, metric, test, mean, p, wilcoxon=wilcoxon)


def _untested(comparison: Comparison, column: str, metric: Metric, why: str) -> Tested:
    return Tested(comparison.a, comparison.b, column, metric.name, "paired t-test", None, None, why)


# -- several tests -----------------------------------------------------------------------------


def corrected(tests: Sequence[Tested], correction: str) -> list[Tested]:
    """The same with p-values that allow for their number, those of the t-tests and Wilcoxon's each for themselves.

    Args:
        tests: All tests of a table.
        correction: ``holm``: the chance of a single false finding is held; ``fdr``: the share of false ones.
    """
    places = [i for i, test in enumerate(tests) if test.p is not None]
    both = [[getattr(tests[i], name) for i in places] for name in ("p", "wilcoxon")]
    adjusted = [adjust(np.array(values, dtype=float), correction).tolist() for values in both]
    found = list(tests)
    for place, *values in zip(places, *adjusted, strict=True):
        found[place] = replace(tests[place], corrected=(values[0], values[1]))
    return found


def adjust(p: np.ndarray, correction: str) -> np.ndarray:
    """P-values ``p: [N]`` as Holm (1979), or Benjamini and Hochberg (1995), correct them, [N]."""
    if not len(p):
        return p
    if correction == "fdr":
        return stats.false_discovery_control(p, method="bh")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate((len(p) - np.arange(len(p))) * p[order])
    result = np.empty_like(p)
    result[order] = np.minimum(stepped, 1.0)
    return result
