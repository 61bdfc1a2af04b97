"""Ranked lists of any other program, judged as a model of ours is: the same split, protocol, groups and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from recbole_video.config import Config
from recbole_video.data.sequence_loaders import HistoryLoader
from recbole_video.errors import CheckpointError, ConfigError
from recbole_video.evaluation.groups import groups_of_targets, ranking_results_by_group
from recbole_video.evaluation.lists import check_metrics_follow, rank_listed
from recbole_video.evaluation.ranking import Ranking, hits_by_chance
from recbole_video.evaluation.ranking_metrics import Metrics, RankingMetrics
from recbole_video.recommendation.data import describe_data
from recbole_video.recommendation.lists import read_lists
from recbole_video.results.per_user import write_per_user
from recbole_video.tasks.recommendation import RecommendationTask, rows_of_test, shown_protocol
from recbole_video.tasks.task import Fitted
from recbole_video.training.run_folder import RunFolder


class ListsTask(RecommendationTask):
    """Reads lists in place of a model, trains nothing and tests them; there is nothing to validate."""

    def build(self) -> Any:
        """The lists in ids of the data, and what was left out of them.

        Raises:
            ConfigError: If no lists are named.
        """
        if not self.config["score_lists"]:
            raise ConfigError("`score_lists` is empty; name the file of ranked lists: --score_lists=FILE.")
        self.refuse_processes("ranked lists are judged by one process")
        dataset = self.data.dataset
        return read_lists(self.config["score_lists"], list(dataset.user_tokens), list(dataset.item_tokens))

    @classmethod
    def try_to_build(cls, config: Any) -> None:
        """Nothing: there is no model."""

    def fit(self) -> Fitted:
        """Nothing."""
        self._metrics = RankingMetrics(self.config, self.data.catalogue.train_counts.numpy())
        return Fitted(None, {}, history=None)

    def evaluate(self, split: str) -> tuple[Ranking, Metrics]:
        """Find the targets of the split in the lists.

        Raises:
            ConfigError: If a metric needs more than the lists say.
        """
        rows = getattr(self.data.actions.split, split)
        loader = HistoryLoader(self.config, self.data.actions, rows, self.data.catalogue.item_num, trim=True)
        lists = self.model.lists
        found = rank_listed(lists, loader, self._metrics.n_top)
        exactness = check_metrics_follow(found, self._metrics, f"`{self.config['score_lists']}`")
        self._facts = {
            **self.model.facts,
            "targets_without_list": int((lists.lengths(loader.users) == 0).sum()),
            "targets_not_listed": int((~found.is_listed).sum()),
            "entries_not_ranked": found.n_left_out,
            **exactness,
        }
        return found.ranking, self._metrics.average(found.ranking)

    def describe(self, test: Ranking) -> dict[str, Any]:
        """The lists, results by group, what ties do to them, data."""
        config = self.config
        return {
            "lists": self._facts,
            "ties": self._metrics.ties(test),
            "chance": hits_by_chance(test, config["topk"]),
            "groups": ranking_results_by_group(
                test, self._metrics, config["eval_groups"], config["cold_item_threshold"]
            ),
            "parameters": {},
            "data": {**describe_data(config, self.data, None), "lists": {"sha256": self._facts["sha256"]}},
        }

    def rows(self, result: dict[str, Any]) -> list[tuple[str, Metrics]]:
        """The test and each group of it."""
        return rows_of_test(result)

    def title(self, result: dict[str, Any]) -> str:
        """File, data set, protocol, and what counts as a miss."""
        data, lists = result["data"], result["lists"]
        remarks = [
            f"{lists[name]:,} {what}"
            for name, what in (
                ("targets_without_list", "targets of users without a list: misses"),
                ("unknown_users", "users without a target in the test (unknown, or too few actions)"),
                ("unknown_items", "items unknown to the data, left out"),
                ("entries_not_ranked", "entries that their user had seen, left out"),
            )
            if lists[name]
        ]
        remarks += [f"{n:,} targets are missing from lists of fewer than {k} items: misses at {k}"
                    for k, n in lists["short_lists"].items() if n]  # fmt: skip
        head = (
            f"The lists of {lists['file']} on {data['dataset']}: {data['test_users']:,} users, ranked among "
            f"{data['items']:,} items, protocol {shown_protocol(data)}"
        )
        return "; ".join([head, *remarks])

    def write(self, folder: RunFolder, test: Ranking, result: dict[str, Any]) -> None:
        """Each user's rank and metrics, where they are asked for."""
        dataset = self.data.dataset
        if self.config["save_per_user"]:
            wanted, threshold = self.config["eval_groups"], self.config["cold_item_threshold"]
            groups = groups_of_targets(test.targets, self._metrics.train_counts, wanted, threshold)
            tokens = (dataset.user_tokens, dataset.item_tokens)
            write_per_user(folder.per_user, test, self._metrics, tokens, groups)

    @classmethod
    def open(cls, config: Config, state: dict[str, Any], path: Path) -> NoReturn:
        """Refuse: lists are no model.

        Raises:
            CheckpointError: Always.
        """
        raise CheckpointError(f"`{path}` is of ranked lists, which are no model to load.")
