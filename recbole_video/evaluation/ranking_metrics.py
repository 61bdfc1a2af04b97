"""RecBole's ranking metrics, by RecBole's own formulas, from ranks instead of score matrices."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import torch
from recbole.evaluator import TopkMetric, metrics_dict
from recbole.evaluator.collector import DataStruct

from recbole_video.errors import ConfigError
from recbole_video.evaluation.ranking import Ranking

Metrics = dict[str, float]

_LONGEST_LIST = 1000
_VALUES_AT_ONCE = 1 << 22  # of a metric, at each rank and each cut-off up to the last one


class RankingMetrics:
    """The metrics that ``config["metrics"]`` names.

    With one target per user, a top-k metric is a function of the target's rank: RecBole's own
    formula is applied once to each possible rank and then looked up. Metrics of the recommended
    lists (coverage, Gini index, ...) are RecBole's classes on the lists themselves.

    Args:
        config: The run's configuration.
        train_counts: [n_items] training actions of each item; for metrics that need popularity.

    Raises:
        ConfigError: If ``topk`` asks for more items than there are, and for more than a thousand.
    """

    def __init__(self, config: Any, train_counts: np.ndarray) -> None:
        self.topk: list[int] = config["topk"]
        self.decimals: int = config["metric_decimal_place"]
        self.train_counts = train_counts
        host = config.host()  # some of them read options that no run of ours has
        self._metrics = {name.lower(): metrics_dict[name.lower()](host) for name in config["metrics"]}
        _check_list_lengths(self.topk, len(train_counts) - 1)
        self._by_rank = {
            name: _values_by_rank(metric, self.topk)
            for name, metric in self._metrics.items()
            if isinstance(metric, TopkMetric)
        }

    @property
    def n_top(self) -> int:
        """How many recommended items the metrics need to see; 0 when ranks suffice."""
        needs_lists = any("rec.items" in metric.metric_need for metric in self._metrics.values())
        return max(self.topk) if needs_lists else 0

    def beyond_ranks(self) -> dict[str, bool]:
        """Metrics that the first ranks alone do not give, and whether they need the place of every item."""
        others = [metric for name, metric in self._metrics.items() if name not in self._by_rank]
        return {type(metric).__name__: "rec.meanrank" in metric.metric_need for metric in others}

    def per_user(self, ranking: Ranking) -> dict[str, np.ndarray]:
        """Each user's value of every top-k metric: name@k -> [R] float."""
        row = np.minimum(ranking.ranks, max(self.topk) + 1) - 1
        return {
            f"{name}@{k}": values[row, i] for name, values in self._by_rank.items() for i, k in enumerate(self.topk)
        }

    def expected(self, ranking: Ranking) -> Metrics:
        """The top-k metrics that a random order of equal scores gives on average, over all users.

        A target that ``t`` others are tied with stands on each of ``t + 1`` ranks with the same probability.
        """
        first = np.minimum(ranking.n_above, max(self.topk))
        last = np.minimum(ranking.n_above + ranking.n_tied + 1, max(self.topk))
        result: Metrics = {}
        for name, values in self._by_rank.items():
            total = np.concatenate([np.zeros((1, len(self.topk))), values[:-1].cumsum(axis=0)])
            means = ((total[last] - total[first]) / (ranking.n_tied + 1)[:, None]).mean(axis=0)
            result |= {
                f"{name}@{k}": round(float(mean), self.decimals) for k, mean in zip(self.topk, means, strict=True)
            }
        return result

    def ties(self, ranking: Ranking) -> dict[str, Any]:
        """How many targets share their score with other items, and :meth:`expected`, as plain values."""
        is_tied = ranking.n_tied > 0
        return {
            "targets": int(is_tied.sum()),
            "mean_others": round(float(ranking.n_tied[is_tied].mean()), 2) if is_tied.any() else 0.0,
            "expected": self.expected(ranking),
        }

    def average(self, ranking: Ranking) -> Metrics:
        """The metrics over all users, keys and rounding as in RecBole."""
        result: Metrics = {}
        per_user = self.per_user(ranking)
        for name, metric in self._metrics.items():
            if name in self._by_rank:
                for k in self.topk:
                    result[f"{name}@{k}"] = round(float(per_user[f"{name}@{k}"].mean()), self.decimals)
            else:
                values = metric.calculate_metric(self._collected(ranking, metric.metric_need))
                result.update({key: float(value) for key, value in values.items()})
        return result

    def _collected(self, ranking: Ranking, needs: list[str]) -> DataStruct:
        """What RecBole's collector would hand to a metric."""
        collected = DataStruct()
        if "rec.items" in needs:
            collected.set("rec.items", torch.from_numpy(ranking.top_items))
        if "rec.meanrank" in needs:
            # The average rank among equal scores, as RecBole counts it for GAUC.
            mean_rank = ranking.n_above + 1 + ranking.n_tied / 2
            columns = np.stack([mean_rank, ranking.n_ranked, np.ones(len(ranking))], axis=1)
            collected.set("rec.meanrank", torch.from_numpy(columns))
        if "data.num_items" in needs:
            collected.set("data.num_items", len(self.train_counts))
        if "data.count_items" in needs:
            counts = {i: int(n) for i, n in enumerate(self.train_counts) if n}
            collected.set("data.count_items", Counter(counts))
        return collected


def _check_list_lengths(topk: list[int], n_items: int) -> None:
    """Lists longer than a small catalogue mean little, and cost nothing; beyond that, they would fill the memory."""
    if max(topk) > max(n_items, _LONGEST_LIST):
        raise ConfigError(f"`topk` asks for the best {max(topk):,} items, and there are {n_items:,}; lower topk.")


def _values_by_rank(metric: TopkMetric, topk: list[int]) -> np.ndarray:
    """Value of a top-k metric at each cut-off, for a target on rank 1..K or below, where K is the last cut-off."""
    max_k = max(topk)
    takes_number = metric.metric_info.__code__.co_argcount > 2
    parts = []
    for ranks in np.array_split(np.arange(max_k + 1), (max_k + 1) * max_k // _VALUES_AT_ONCE + 1):
        hits = ranks[:, None] == np.arange(max_k)
        n_targets = np.ones(len(ranks), dtype=np.int64)
        values = metric.metric_info(hits, n_targets) if takes_number else metric.metric_info(hits)
        parts.append(np.asarray(values, float)[:, np.asarray(topk) - 1])
    return np.concatenate(parts)
