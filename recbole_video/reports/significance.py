"""Whether the difference of two rows is more than chance: paired tests, named, with their p-values corrected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from recbole_video.reports.cases import Cases, Part
from recbole_video.reports.collect import Collection, Record
from recbole_video.reports.comparable import difference
from recbole_video.sweep.folder import FINISHED
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.spec import Comparison

ALPHA = 0.05
CORRECTION_NAMES = {"holm": "Holm's correction", "fdr": "Benjamini and Hochberg's control of the false discovery rate"}
LEVEL = 0.95
ENOUGH_SEEDS = 5
_FEWEST_SEEDS = 2
_TIE_DECIMALS = 9  # means of equal numbers may differ in the last digits, and have one rank all the same
_STARS = ((0.001, "***"), (0.01, "**"), (ALPHA, "*"))


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
        interval: Its 95 % interval, by Student's t; None where the test cannot be made.
        relative: The difference as a share of b's mean; None where that is 0, or unknown.
        p: Of Student's t-test, two-sided; None where the test cannot be made.
        why_not: Why it cannot.
        wilcoxon: Of Wilcoxon's signed-rank test over the same pairs, two-sided.
        corrected: Both, t and Wilcoxon, corrected for all tests of its family; None where there is none.
        few_seeds: How many seeds there are, where they are too few to rely on.
        bigger: Whether more of the metric is better.
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
    interval: tuple[float, float] | None = None
    relative: float | None = None
    few_seeds: int | None = None
    bigger: bool = True

    @property
    def is_better(self) -> bool:
        """Whether a has the better mean."""
        return self.difference is not None and (self.difference > 0 if self.bigger else self.difference < 0)

    @property
    def is_told_apart(self) -> bool:
        """Whether both tests, corrected, find a difference."""
        return all(p is not None and p < ALPHA for p in self.corrected)

    @property
    def stars(self) -> str:
        """One to three, where a is better and the corrected p-value of the t-test below 0.05, 0.01 and 0.001."""
        p = self.corrected[0] if self.is_better else None
        return next((stars for limit, stars in _STARS if p is not None and p < limit), "")


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
        tested = paired(comparison, column, metric, values.T, f"{len(values):,} seeds")
        found.append(replace(tested, few_seeds=len(values) if len(values) < ENOUGH_SEEDS else None))
    return found


def over_cases(
    comparison: Comparison,
    column: str,
    metrics: Sequence[Metric],
    a: list[Record],
    b: list[Record],
    cases: Cases,
) -> list[Tested]:
    """Tests of pairs of test users or videos, each the mean over its row's seeds and weighed by its targets.

    Users are compared by each ranking metric of ``per_user.tsv``, videos by the absolute error of ``predictions.tsv``.
    """
    left, right = cases.table(a), cases.table(b)
    if (what := difference(a, b)) is not None:
        return [_untested(comparison, column, metrics[0], f"they are judged on different data: {what}")]
    if left is None or right is None:
        why = "needs per_user.tsv (save_per_user=True) or predictions.tsv of every run of both rows"
        return [_untested(comparison, column, metrics[0], why)]
    found = []
    for name in left.columns:
        metric = next((m for m in metrics if m.key == f"test_result/{name}"), None)
        if metric is not None and (test := of_column(comparison, column, metric, a, b, cases)):
            found.append(test)
    return found


def of_column(
    comparison: Comparison, column: str, metric: Metric, a: list[Record], b: list[Record], cases: Cases
) -> Tested | None:
    """The test of one metric over test cases, those of a group where it is of one; None where they are not known."""
    part = Part.of(metric)
    tables = [table for side in (a, b) if part is not None and (table := cases.table(side, part)) is not None]
    if part is None or len(tables) < 2 or any(part.metric not in table for table in tables):
        return None
    values = [table[part.metric].dropna() for table in tables]
    shared = values[0].index.intersection(values[1].index)
    pairs = np.stack([side.loc[shared].to_numpy(dtype=float) for side in values]) * metric.factor
    weights = cases.weights(a, part).loc[shared].to_numpy(dtype=float)
    if len(weights):  # each target weighs alike, as in the table; a user with several is one case all the same
        pairs = pairs * (weights / weights.mean())
    what = f"{len(shared):,} test cases{_of_seeds(len(a), len(b))}"
    return paired(comparison, column, metric, pairs, what)


def _of_seeds(a: int, b: int) -> str:
    """How the seeds of two rows enter a test over cases."""
    if max(a, b) == 1:
        return ""
    return f", each the mean over {a} seed{'s' * (a > 1)}" + (f" and {b}" if b != a else "")


def paired(comparison: Comparison, column: str, metric: Metric, pairs: np.ndarray, what: str) -> Tested:
    """Student's and Wilcoxon's tests of the difference between the rows of ``pairs: [2, N]``.

    Args:
        comparison: What is compared.
        column: Where it stands.
        metric: What the values are of.
        pairs: Values of a and of b, as the table shows them.
        what: What the pairs are, and how many.
    """
    apart, test = pairs[0] - pairs[1], f"paired t-test over {what}"
    mean = float(apart.mean()) if len(apart) else None
    if not len(apart) or np.ptp(apart) == 0:  # the statistic is 0 / 0, or infinite
        alike = "all pairs differ by the same amount" if mean else "they are the same in every pair"
        why = alike if len(apart) else "they share no test cases"
        return Tested(comparison.a, comparison.b, column, metric.name, test, mean, None, why, bigger=metric.bigger)
    student = stats.ttest_1samp(apart, 0.0)
    ends, base = student.confidence_interval(LEVEL), float(pairs[1].mean())
    return Tested(
        comparison.a,
        comparison.b,
        column,
        metric.name,
        test,
        mean,
        float(student.pvalue),
        wilcoxon=float(stats.wilcoxon(apart.round(_TIE_DECIMALS)).pvalue),
        interval=(float(ends.low), float(ends.high)),
        relative=float(apart.mean()) / abs(base) if base else None,
        bigger=metric.bigger,
    )


def _untested(comparison: Comparison, column: str, metric: Metric, why: str) -> Tested:
    return Tested(comparison.a, comparison.b, column, metric.name, "paired t-test", None, None, why)


# -- several tests -----------------------------------------------------------------------------


def corrected(tests: Sequence[Tested], correction: str) -> list[Tested]:
    """The same with p-values that allow for their number, those of the t-tests and Wilcoxon's each for themselves.

    Args:
        tests: All tests of a family: the comparisons that a sweep asks for, or those behind a table's marks.
        correction: ``holm``: the chance of a single false finding is held; ``fdr``: the share of false ones.
    """
    places = [i for i, test in enumerate(tests) if test.p is not None]
    both = [[getattr(tests[i], name) for i in places] for name in ("p", "wilcoxon")]
    adjusted = [adjust(np.array(values, dtype=float), correction).tolist() for values in both]
    found = list(tests)
    for place, *values in zip(places, *adjusted, strict=True):
        found[place] = replace(tests[place], corrected=(values[0], values[1]))
    return found


def n_tested(tests: Sequence[Tested]) -> int:
    """How many of some tests could be made, for which they are corrected."""
    return sum(test.p is not None for test in tests)


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
