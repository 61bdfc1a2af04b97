"""Whether the difference of two rows is more than chance: paired tests, named, with their p-values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

from recbole_video.reports.collect import Collection, Record
from recbole_video.sweep.folder import FINISHED
from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.spec import Comparison

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
        p: Two-sided; None where the test cannot be made.
        why_not: Why it cannot.
    """

    a: str
    b: str
    column: str
    metric: str
    test: str
    difference: float | None
    p: float | None
    why_not: str = ""


def test_all(collection: Collection) -> list[Tested]:
    """Every comparison of the sweep, for each column and metric that can be tested."""
    found = []
    for comparison in collection.sweep.compare:
        for column in collection.sweep.columns:
            pairs = [
                [
                    record
                    for record in collection.records
                    if record.trial.row == name
                    and record.trial.column == column.label
                    and record.state.kind == FINISHED
                ]
                for name in (comparison.a, comparison.b)
            ]
            test = over_seeds if comparison.over == "seeds" else over_cases
            found += test(comparison, column.label, collection.sweep.metrics, *pairs)
    return found


def over_seeds(
    comparison: Comparison, column: str, metrics: tuple[Metric, ...], a: list[Record], b: list[Record]
) -> list[Tested]:
    """Student's t-test of pairs of runs with one seed, as STAP's Table 2 has it over five retrainings."""
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
        found.append(_t_test(comparison, column, metric.name, values[:, 0] - values[:, 1], "seeds"))
    return found


def over_cases(
    comparison: Comparison, column: str, metrics: tuple[Metric, ...], a: list[Record], b: list[Record]
) -> list[Tested]:
    """Student's t-test of pairs of test users or videos, each the mean over its row's seeds.

    Users are compared by each ranking metric of ``per_user.tsv``, videos by the absolute error of ``predictions.tsv``.
    """
    sides = [_per_case(side) for side in (a, b)]
    if any(side is None for side in sides):
        why = "needs per_user.tsv (save_per_user=True) or predictions.tsv of both rows"
        return [_untested(comparison, column, metrics[0], why)]
    left, right = sides
    assert left is not None and right is not None
    shared = left.index.intersection(right.index)
    found = []
    for name in [name for name in left.columns if name in right.columns]:
        metric = next((m for m in metrics if m.key == f"test_result/{name}"), None)
        if metric is not None:
            difference = (left.loc[shared, name] - right.loc[shared, name]).to_numpy() * metric.factor
            found.append(_t_test(comparison, column, metric.name, difference, "test cases"))
    return found


def _per_case(records: list[Record]) -> pd.DataFrame | None:
    tables = [table for record in records if (table := _read_cases(record.folder)) is not None]
    return pd.concat(tables).groupby(level=0).mean() if tables else None


def _read_cases(folder: Path) -> pd.DataFrame | None:
    if (folder / "per_user.tsv").is_file():
        return (
            pd.read_csv(folder / "per_user.tsv", sep="\t", dtype={"user_id": str})
            .set_index("user_id")
            .drop(columns=["item_id", "rank"])
        )
    if (folder / "predictions.tsv").is_file():
        table = pd.read_csv(folder / "predictions.tsv", sep="\t", dtype={"item_id": str}).set_index("item_id")
        return pd.DataFrame({"mae": (table["prediction"] - table["label"]).abs()})
    return None


def _t_test(comparison: Comparison, column: str, metric: str, difference: np.ndarray, what: str) -> Tested:
    test = f"paired t-test over {len(difference):,} {what}"
    mean = float(difference.mean())
    if np.ptp(difference) == 0:  # the statistic is 0 / 0, or infinite
        why = "all pairs differ by the same amount"
        return Tested(comparison.a, comparison.b, column, metric, test, mean, None, why)
    p = float(stats.ttest_1samp(difference, 0.0).pvalue)
    return Tested(comparison.a, comparison.b, column, metric, test, mean, p)


def _untested(comparison: Comparison, column: str, metric: Metric, why: str) -> Tested:
    return Tested(comparison.a, comparison.b, column, metric.name, "paired t-test", None, None, why)
