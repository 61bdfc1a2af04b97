"""Ranks against sorting, metrics against RecBole's evaluator, groups against loops."""

import tracemalloc
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recbole.evaluator import Collector, Evaluator
from scipy import stats

from recbole_video.data.sequence_loaders import HistoryLoader
from recbole_video.data.tags import ItemTags, read_item_tags
from recbole_video.errors import ConfigError, DataError, DeviceMemoryError, TrainingError
from recbole_video.evaluation import ranking_metrics as metrics_module
from recbole_video.evaluation.groups import popularity_groups, ranking_results_by_group
from recbole_video.evaluation.ranking import Ranking, best_items, count_ranks, rank_targets
from recbole_video.evaluation.ranking_metrics import RankingMetrics
from recbole_video.evaluation.ties import tie_places

ALL_METRICS = [
    "Hit", "NDCG", "MRR", "MAP", "Recall", "Precision", "GAUC",
    "ItemCoverage", "AveragePopularity", "ShannonEntropy", "GiniIndex", "TailPercentage",
]  # fmt: skip


def ranking_of(scores, targets, n_top=0):
    rank, above, tied, n_ranked = count_ranks(scores, targets, None)
    top = scores.topk(n_top, dim=1).indices.numpy() if n_top else None
    counted = (t.numpy() for t in (rank, above, tied, n_ranked))
    return Ranking(np.arange(len(targets)), targets.numpy(), *counted, top)


def place_of(item):
    """SplitMix64 by its definition, as a signed number."""
    mixed = (item + 1) * 0x9E3779B97F4A7C15 % 2**64
    mixed = (mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    mixed = (mixed ^ (mixed >> 27)) * 0x94D049BB133111EB % 2**64
    mixed ^= mixed >> 31
    return mixed - 2**64 if mixed >= 2**63 else mixed


class TestTies:
    def test_places_are_those_of_splitmix64(self):
        places = tie_places(500, torch.device("cpu"))
        assert places[:2].numpy().view(np.uint64).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]  # published
        assert places.tolist() == [place_of(item) for item in range(500)]
        assert torch.equal(tie_places(20, torch.device("cpu")), places[:20])

    def test_they_have_nothing_to_do_with_the_id(self):
        places = tie_places(10_001, torch.device("cpu")).numpy()[1:]
        assert abs(stats.spearmanr(np.arange(10_000), places).statistic) < 0.03
        assert 0.45 < (places[:5000] < np.median(places)).mean() < 0.55

    @given(st.integers(0, 2**32), st.integers(1, 12))
    @settings(max_examples=60, deadline=None)
    def test_ranks_and_lists_against_sorting(self, seed, k):
        scores = torch.from_numpy(np.random.default_rng(seed).integers(0, 4, (6, 12))).float()
        targets = torch.from_numpy(np.random.default_rng(seed + 1).integers(1, 12, 6))
        rank, above, tied, _ = count_ranks(scores, targets, None)
        want = [sorted(range(12), key=lambda i, row=row: (-row[i], place_of(i))) for row in scores.tolist()]
        assert best_items(scores, k)[1].tolist() == [order[:k] for order in want]
        for row, target in enumerate(targets.tolist()):
            own = scores[row, target]
            assert rank[row] == 1 + want[row].index(target)
            assert above[row] == (scores[row] > own).sum() and tied[row] == (scores[row] == own).sum() - 1

    def test_expected_metrics_against_every_order_of_equal_scores(self, make_config):
        names = ["Hit", "NDCG", "MRR", "MAP", "Recall", "Precision"]
        metrics = RankingMetrics(make_config(metrics=names, topk=[1, 3, 4], valid_metric="NDCG@3"), np.ones(6))
        scores = torch.tensor([[0, 1, 1, 1, 0, 0], [9, 2, 1, 1, 3, 1], [0, 0, 0, 0, 0, 0], [0, 5, 4, 3, 2, 1.0]])
        targets = torch.tensor([2, 5, 3, 3])
        orders = list(permutations(range(1, 6)))
        want = dict.fromkeys(metrics.average(ranking_of(scores, targets)), 0.0)
        for order in orders:
            row = [sorted(order, key=lambda i, row=row: -row[i]) for row in scores.tolist()]
            ranks = np.array([1 + row[n].index(t) for n, t in enumerate(targets.tolist())])
            each = metrics.per_user(replace(ranking_of(scores, targets), ranks=ranks))
            want = {name: total + each[name].mean() / len(orders) for name, total in want.items()}
        ties = metrics.ties(ranking_of(scores, targets))
        assert ties["expected"] == pytest.approx(want, abs=1e-5)
        assert (ties["targets"], ties["mean_others"]) == (3, round((2 + 2 + 4) / 3, 2))

    def test_without_ties_nothing_is_else(self, make_config):
        metrics = RankingMetrics(make_config(), np.ones(30))
        ranking = ranking_of(torch.randn(50, 30), torch.randint(1, 30, (50,)))
        assert metrics.ties(ranking) == {"targets": 0, "mean_others": 0.0, "expected": metrics.average(ranking)}


class TestRanks:
    def test_against_sorting(self):
        torch.manual_seed(0)
        scores, targets = torch.randn(50, 40), torch.randint(1, 40, (50,))
        want = [
            1 + sorted(range(1, 40), key=lambda i, row=row: -row[i]).index(t)
            for row, t in zip(scores.tolist(), targets.tolist(), strict=True)
        ]
        rank, _, _, n_ranked = count_ranks(scores, targets, None)
        assert rank.tolist() == want and set(n_ranked.tolist()) == {39}

    def test_equal_scores_stand_in_the_order_of_their_places(self):
        rank, above, tied, _ = count_ranks(torch.zeros(3, 40), torch.tensor([1, 20, 39]), None)
        order = sorted(range(1, 40), key=place_of)
        assert rank.tolist() == [1 + order.index(item) for item in (1, 20, 39)]
        assert not above.any() and tied.tolist() == [38] * 3

    def test_padding_is_never_ranked(self):
        scores = torch.zeros(1, 5)
        scores[0, :2] = torch.tensor([9.0, 1.0])
        assert count_ranks(scores, torch.tensor([1]), None)[0].tolist() == [1]

    def test_seen_items_are_masked_and_the_target_is_not(self):
        scores = torch.tensor([[0.0, 5.0, 4.0, 3.0, 2.0]]).repeat(2, 1)
        seen = (torch.tensor([0, 0, 1]), torch.tensor([1, 3, 2]))
        rank, _, _, n_ranked = count_ranks(scores, torch.tensor([3, 4]), seen)
        assert rank.tolist() == [2, 3] and n_ranked.tolist() == [3, 3]

    @pytest.mark.parametrize("mask", [True, False])
    @pytest.mark.parametrize("eval_batch_size", [7, 512])
    def test_of_a_model_against_a_loop_over_users(self, make_model, mask, eval_batch_size):
        config, data, model = make_model("GRU4Rec", "CVA", eval_batch_size=eval_batch_size, mask_history=mask)
        rows = data.actions.split.test
        loader = HistoryLoader(config, data.actions, rows, data.catalogue.item_num, trim=True)
        ranking = rank_targets(model, loader, config["device"], n_top=3)
        full = HistoryLoader(config, data.actions, rows, data.catalogue.item_num, trim=False)
        for row in range(len(rows)):
            batch = full.batch(np.array([row]))
            with torch.no_grad():
                scores = model.full_sort_predict(batch.interaction)[0]
            target = int(full.targets[row])
            seen = set(batch.seen[1].tolist()) - {target} if mask else set()
            order = sorted((i for i in range(1, len(scores)) if i not in seen), key=lambda i: -scores[i])
            assert ranking.ranks[row] == 1 + order.index(target)
            assert ranking.top_items[row].tolist() == order[:3]

    def test_scores_that_are_not_numbers(self, make_model):
        config, data, model = make_model("SASRec", "ID")
        loader = HistoryLoader(config, data.actions, data.actions.split.test, data.catalogue.item_num, trim=True)
        torch.nn.init.constant_(model.item_embedding.encoder.table.weight, torch.nan)
        with pytest.raises(TrainingError, match="scores are not finite.*learning_rate"):
            rank_targets(model, loader, config["device"])

    def test_list_longer_than_the_catalogue(self, make_model):
        config, data, model = make_model("SASRec", "ID")
        loader = HistoryLoader(config, data.actions, data.actions.split.test, data.catalogue.item_num, trim=True)
        with pytest.raises(ConfigError, match="`topk` asks for 31 items; the catalogue has 30"):
            rank_targets(model, loader, config["device"], n_top=31)

    def test_out_of_memory_names_the_options(self, make_model, monkeypatch):
        config, data, model = make_model("SASRec", "ID")
        loader = HistoryLoader(config, data.actions, data.actions.split.test, data.catalogue.item_num, trim=True)

        def fail(_):
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")

        monkeypatch.setattr(model, "full_sort_predict", fail)
        with pytest.raises(DeviceMemoryError, match="eval_memory_mb or eval_batch_size"):
            rank_targets(model, loader, config["device"])


class TestMetrics:
    def test_every_ranking_metric_equals_recboles_evaluator(self, make_config):
        config = make_config(metrics=ALL_METRICS, topk=[1, 5, 10], valid_metric="NDCG@5", tail_ratio=0.3)
        torch.manual_seed(0)
        n_users, n_items = 200, 60
        scores, targets = torch.randn(n_users, n_items), torch.randint(1, n_items, (n_users,))
        counts = np.random.default_rng(0).integers(0, 30, n_items)
        counts[0] = 0

        collector = Collector(config)
        collector.data_struct.set("data.num_items", n_items)
        collector.data_struct.set("data.count_items", {i: int(c) for i, c in enumerate(counts) if c})
        masked = scores.clone()
        masked[:, 0] = -torch.inf
        collector.data_struct._data_dict = _Cpu(collector.data_struct._data_dict)
        collector.eval_batch_collect(masked, None, torch.arange(n_users), targets)
        want = Evaluator(config).evaluate(collector.data_struct)

        metrics = RankingMetrics(config, counts)
        got = metrics.average(ranking_of(scores, targets, metrics.n_top))
        assert set(got) == set(want) and len(got) == 3 * 11 + 1
        for key, value in want.items():
            assert got[key] == pytest.approx(float(value), abs=2e-6), key

    def test_lists_are_only_made_for_metrics_that_need_them(self, make_config):
        counts = np.ones(30)
        assert RankingMetrics(make_config(), counts).n_top == 0
        assert RankingMetrics(make_config(metrics=["Hit", "GiniIndex"], valid_metric="Hit@10"), counts).n_top == 20

    def test_a_list_longer_than_the_catalogue_is_refused_before_it_is_made(self, make_config):
        """50,000 cut-offs for 50,000 ranks are 18.6 GiB."""
        config = make_config(topk=[50_000], valid_metric="NDCG@50000")
        tracemalloc.start()
        with pytest.raises(ConfigError, match="`topk` asks for the best 50,000 items, and there are 41; lower topk"):
            RankingMetrics(config, np.ones(42, dtype=np.int64))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
        tracemalloc.stop()

    def test_long_lists_of_a_large_catalogue_are_computed_in_parts(self, make_config, monkeypatch):
        options = {"topk": [3, 20, 11], "metrics": ["Hit", "NDCG", "MRR", "MAP", "Recall", "Precision"]}
        config = make_config(**options, valid_metric="NDCG@3")
        counts = np.ones(42, dtype=np.int64)
        whole = RankingMetrics(config, counts)._by_rank
        monkeypatch.setattr(metrics_module, "_VALUES_AT_ONCE", 50)
        parts = RankingMetrics(config, counts)._by_rank
        assert all(np.array_equal(whole[name], parts[name]) for name in whole) and len(whole) == 6
        assert whole["ndcg"].shape == (21, 3)
        assert whole["ndcg"][4].tolist() == pytest.approx([0, 1 / np.log2(6), 1 / np.log2(6)])  # rank 5

    def test_per_user_values_average_to_the_result(self, make_config):
        metrics = RankingMetrics(make_config(), np.ones(30))
        ranking = ranking_of(torch.randn(33, 30), torch.randint(1, 30, (33,)))
        average = metrics.average(ranking)
        for key, values in metrics.per_user(ranking).items():
            assert round(values.mean(), 5) == average[key]
        want = [1 / np.log2(1 + r) if r <= 10 else 0.0 for r in ranking.ranks]
        np.testing.assert_allclose(metrics.per_user(ranking)["ndcg@10"], want)


class TestTags:
    """The column of words in the .item file."""

    TOKENS = np.array(["[PAD]", "a", "b", "c"])

    @pytest.fixture
    def read(self, tmp_path):
        def read(text, field):
            (tmp_path / "tiny.item").write_text(text)
            fixed = {"field_separator": "\t", "seq_separator": " ", "ITEM_ID_FIELD": "item_id", "dataset": "tiny"}
            tags = read_item_tags({**fixed, "data_path": str(tmp_path), "tag_field": field}, self.TOKENS)
            return {name: sorted(tags.items_with(tag).tolist()) for tag, name in enumerate(tags.names)}

        return read

    def test_one_or_several_of_an_item(self, read):
        """An item that the run does not know, and one without tags, are in no group; a repeat counts once."""
        text = "item_id:token\ttags:token_seq\tkind:token\tlikes:float\n"
        text += "c\tfunny cat\tA\t1\nx\tcat\tA\t1\na\tcat cat\tB\t2\nb\t\t\t3\n"
        assert read(text, "tags") == {"cat": [1, 3], "funny": [3]}
        assert read(text, "kind") == {"A": [3], "B": [1]}

    @pytest.mark.parametrize("field", ["tag", "likes"])
    def test_no_column_of_words(self, read, field):
        with pytest.raises(ConfigError, match=f"`tag_field` is `{field}`.* no column of words in .*; choose from tags"):
            read("item_id:token\ttags:token_seq\tlikes:float\na\tcat\t1\n", field)

    def test_no_file_and_no_field(self, tmp_path, make_config):
        config = {"field_separator": "\t", "ITEM_ID_FIELD": "item_id", "dataset": "tiny", "data_path": str(tmp_path)}
        with pytest.raises(DataError, match=r"reads the tags of items in .*tiny.item`, which does not exist"):
            read_item_tags({**config, "tag_field": "tags"}, self.TOKENS)
        with pytest.raises(ConfigError, match="names tag; set tag_field"):
            make_config(eval_groups=["tag"])


class _Cpu(dict):
    """RecBole's collector moves what it holds to the CPU; plain numbers stay."""


class TestGroups:
    def test_popularity_groups_hold_equally_many_items(self):
        counts = np.r_[0, np.random.default_rng(0).integers(0, 50, 200)]
        groups = popularity_groups(counts)
        assert groups[0] == 0 and np.bincount(groups[1:])[1:].tolist() == [20] * 10
        for group in range(1, 10):
            assert counts[1:][groups[1:] == group].max() <= counts[1:][groups[1:] == group + 1].min()

    def test_results_by_group_against_a_loop(self, make_config):
        counts = np.r_[0, np.zeros(9), np.arange(1, 21)].astype(int)
        metrics = RankingMetrics(make_config(), counts)
        ranking = ranking_of(torch.randn(80, 30), torch.randint(1, 30, (80,)))
        result = ranking_results_by_group(ranking, metrics, ["cold", "popularity"], cold_threshold=3)
        is_cold = [counts[t] < 3 for t in ranking.targets]
        for name, inside in (("cold", is_cold), ("warm", [not c for c in is_cold])):
            hits = [r <= 10 for r, i in zip(ranking.ranks, inside, strict=True) if i]
            assert result["cold"][name]["users"] == len(hits)
            assert result["cold"][name]["hit@10"] == pytest.approx(np.mean(hits), abs=1e-5)
        assert sum(group["users"] for group in result["popularity"].values()) == 80

    def test_by_tag_against_a_loop(self, make_config):
        """Twenty of thirty tags, those of most users first; a target counts for each of its tags."""
        rng = np.random.default_rng(0)
        of_item = {item: set(rng.choice(30, rng.integers(0, 4), replace=False).tolist()) for item in range(1, 30)}
        pairs = [(item, tag) for item, tags in of_item.items() for tag in tags]
        items, tags = (np.array(column) for column in zip(*pairs, strict=True))
        names = tuple(f"t{tag:02}" for tag in range(30))
        ranking = ranking_of(torch.randn(80, 30), torch.randint(1, 30, (80,)))
        metrics = RankingMetrics(make_config(), np.ones(30))
        found = ranking_results_by_group(ranking, metrics, [], 1, ItemTags(items, tags, names))["tag"]
        n_users = {name: sum(tag in of_item[t] for t in ranking.targets) for tag, name in enumerate(names)}
        most = sorted((name for name in names if n_users[name]), key=lambda name: (-n_users[name], name))[:20]
        assert list(found) == most and [found[name]["users"] for name in most] == [n_users[name] for name in most]
        for name in most:
            inside = [int(name[1:]) in of_item[t] for t in ranking.targets]
            hits = [rank <= 10 for rank, i in zip(ranking.ranks, inside, strict=True) if i]
            assert found[name]["hit@10"] == pytest.approx(np.mean(hits), abs=1e-5)

    def test_empty_group_has_no_metrics(self, make_config):
        metrics = RankingMetrics(make_config(), np.ones(30))
        ranking = ranking_of(torch.randn(5, 30), torch.randint(1, 30, (5,)))
        assert ranking_results_by_group(ranking, metrics, ["cold"], 1)["cold"]["cold"] == {"users": 0}
