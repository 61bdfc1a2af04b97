"""The memory bank alone: layout, routing, its losses, and updates without growing."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from recbole_video.errors import CheckpointError, DataError, MemoryFrozenError
from recbole_video.popularity.stap.memory_bank import MemoryBank, usage_statistics
from recbole_video.popularity.stap.memory_init import equal_partitions, initial_grid
from recbole_video.popularity.stap.routing_losses import BalanceLoss, PreferenceLoss


def videos(n, width=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(n, width, generator=rng), torch.randn(n, 7, generator=rng), torch.randn(n, generator=rng)


def bank_of(n=60, **options):
    torch.manual_seed(0)
    bank = MemoryBank(4, 3, 4, **{"top_k": 2, **options})
    bank.initialise(*videos(n))
    return bank


class TestLayout:
    def test_partitions_are_equal_whatever_the_ties(self):
        partition, edges = equal_partitions(np.zeros(12), 3)
        assert np.bincount(partition).tolist() == [4, 4, 4] and edges.tolist() == [0, 0]
        partition, edges = equal_partitions(np.array([5.0, 1, 3, 2, 4, 6]), 3)
        assert partition.tolist() == [2, 0, 1, 0, 1, 2] and edges.tolist() == [3, 5]

    @pytest.mark.parametrize("clustering", ["per_partition", "global"])
    def test_slots_are_means_of_their_videos(self, clustering):
        """Three well-separated topics at each level of popularity: every cell is one blob."""
        rng = np.random.default_rng(0)
        topic, level = (grid.ravel() for grid in np.meshgrid(np.arange(3), np.arange(2)))
        topic, level = np.repeat(topic, 10), np.repeat(level, 10)
        features = np.eye(3)[topic] * 100 + rng.normal(size=(60, 3))
        queries, labels = rng.normal(size=(60, 4)), level * 10 + rng.normal(size=60) * 0.1
        grid = initial_grid(*(torch.tensor(x) for x in (queries, features, labels)), 2, 3, clustering, shrinkage=0)
        expected = {
            (lv, tuple(np.round(queries[(topic == tp) & (level == lv)].mean(0), 4))) for tp in range(3) for lv in (0, 1)
        }
        found = {(lv, tuple(np.round(grid.slots[lv, c].numpy(), 4).astype(float))) for lv in (0, 1) for c in range(3)}
        assert {(lv, tuple(round(v, 3) for v in values)) for lv, values in found} == {
            (lv, tuple(round(v, 3) for v in values)) for lv, values in expected
        }
        assert (grid.counts == 10).all()
        assert grid.centroids[1].numpy() == pytest.approx(10, abs=0.3) and float(grid.edges) == pytest.approx(10, abs=1)
        if clustering == "global":  # one topic is the same column at both levels
            members = [features[np.argmin(((queries - grid.slots[lv, 0].numpy()) ** 2).sum(1))] for lv in (0, 1)]
            assert members[0].argmax() == members[1].argmax() or grid.counts[0, 0] == 10

    def test_centroids_are_shrunk(self):
        labels = torch.tensor([0.0, 2.0])
        grid = initial_grid(torch.randn(2, 4), torch.tensor([[0.0], [9.0]]), labels, 1, 2, shrinkage=5.0)
        assert sorted(grid.centroids[0].tolist()) == pytest.approx([(0 + 5) / 6, (2 + 5) / 6])

    @pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 11])
    @pytest.mark.parametrize("clustering", ["per_partition", "global"])
    @pytest.mark.parametrize("space", ["query", "pca", "random"])
    def test_few_videos(self, n, clustering, space):
        queries, features, labels = videos(n)
        grid = initial_grid(queries, features, labels, 3, 4, clustering, space)
        assert grid.slots.shape == (3, 4, 4) and torch.isfinite(grid.slots).all()
        assert torch.isfinite(grid.centroids).all() and grid.counts.sum() == n

    def test_equal_videos_and_labels(self):
        same = torch.ones(9, 4)
        grid = initial_grid(same, same, torch.ones(9), 3, 4)
        assert torch.isfinite(grid.slots).all() and (grid.counts > 0).sum() == 3
        torch.testing.assert_close(grid.centroids, torch.ones(3, 4))

    def test_what_cannot_be_laid_out(self):
        queries, features, labels = videos(5)
        with pytest.raises(DataError, match="at least one training video"):
            initial_grid(queries[:0], features[:0], labels[:0], 3, 4)
        with pytest.raises(DataError, match="NaN or infinite"):
            initial_grid(queries, features * torch.nan, labels, 3, 4)


class TestRouting:
    def test_formula(self):
        bank = bank_of()
        q = torch.randn(5, 4)
        routing = bank(q)
        scores = (q @ bank.slots.reshape(12, 4).T / 2).detach().numpy()
        gate = np.exp(scores / 1.0) / np.exp(scores / 1.0).sum(1, keepdims=True)
        np.testing.assert_allclose(routing.gate.detach(), gate, rtol=1e-4)
        for i in range(5):
            kept = np.argsort(-gate[i])[:2]
            assert routing.top[i].tolist() == kept.tolist()
            slots = bank.slots.reshape(12, 4).detach().numpy()
            np.testing.assert_allclose(routing.retrieved[i].detach(), gate[i, kept] @ slots[kept], rtol=1e-4)
            expected = gate[i, kept] @ bank.centroids.flatten().numpy()[kept]
            assert float(routing.popularity[i]) == pytest.approx(expected, rel=1e-3, abs=1e-5)

    def test_all_slots_kept_is_no_truncation(self):
        bank, q = bank_of(top_k=12), torch.randn(3, 4)
        routing = bank(q)
        torch.testing.assert_close(routing.weights, routing.gate)

    def test_straight_through(self):
        """The values are those of the mask; gradients reach slots that were not kept."""
        ste, masked = bank_of(), bank_of(routing_grad="masked")
        q = torch.randn(1, 4)
        torch.testing.assert_close(ste(q).weights, masked(q).weights)
        grads = []
        for bank in (ste, masked):
            query = q.clone().requires_grad_()
            log_gate = bank(query)
            scores = log_gate.scores
            scores.retain_grad()
            log_gate.retrieved.square().sum().backward()
            grads.append((bank, scores.grad[0]))
        full = grads[0][1]
        assert (full.abs() > 1e-7).sum() > 2
        weights = torch.softmax(ste(q).scores[0].detach(), -1)
        slots = ste.slots.detach().reshape(12, 4)
        kept = torch.zeros(12).scatter_(0, ste(q).top[0], 1.0)
        z = (weights * kept) @ slots
        upstream = slots @ (2 * z)  # of each slot's weight, kept or not
        torch.testing.assert_close(full, weights * (upstream - (weights * upstream).sum()), rtol=1e-4, atol=1e-6)

    def test_temperature_learns_or_not(self):
        for learns in (True, False):
            bank = bank_of(tau_learnable=learns)
            bank(torch.randn(4, 4)).retrieved.square().sum().backward()
            assert (bank.tau_raw.grad is not None) == learns
        assert float(bank_of(tau=1.316).tau.detach()) == pytest.approx(1.316)

    def test_renormalised(self):
        weights = bank_of(renormalize_topk=True)(torch.randn(4, 4)).weights
        torch.testing.assert_close(weights.sum(1), torch.ones(4))


class TestBalance:
    def gate(self, joint, batch=3):
        return torch.tensor(joint, dtype=torch.float64).flatten().expand(batch, -1)

    def prior(self):
        p = np.arange(1, 4) ** -1.5
        return p / p.sum()

    @pytest.mark.parametrize("direction", ["p_prior", "prior_p"])
    def test_zero_at_the_prior_positive_elsewhere(self, direction):
        loss = BalanceLoss(3, 4, 1.0, 1.0, direction=direction).double()
        at_prior = np.outer(self.prior(), np.full(4, 0.25))
        assert float(loss(self.gate(at_prior))) == pytest.approx(0, abs=1e-6)
        assert float(loss(self.gate(at_prior[::-1].copy()))) > 0.1
        empty = np.zeros((3, 4))
        empty[0, 0] = 1
        assert math.isfinite(float(loss(self.gate(empty)))) and float(loss(self.gate(empty))) > 0.1

    def test_against_scipy(self):
        rng = np.random.default_rng(0)
        joint = rng.dirichlet(np.ones(12)).reshape(3, 4)
        rows, columns, prior = joint.sum(1), joint.sum(0), self.prior()
        found = float(BalanceLoss(3, 4, 0.3, 0.7).double()(self.gate(joint)))
        assert found == pytest.approx(0.3 * entropy(rows, prior) + 0.7 * entropy(columns, np.full(4, 0.25)), rel=1e-5)
        found = float(BalanceLoss(3, 4, 0.3, 0.7, 0.1, direction="prior_p").double()(self.gate(joint)))
        expected = 0.3 * entropy(prior, rows) + 0.7 * entropy(np.full(4, 0.25), columns)
        expected += 0.1 * (np.log(12) - entropy(joint.ravel()))
        assert found == pytest.approx(expected, rel=1e-5)


class TestPreference:
    def loss(self, support, bank, q, labels, **options):
        return PreferenceLoss(support, **{"gamma": 0.5, "margin": 0.25, "width": 4, **options})(
            bank, bank(q), q, labels
        )

    @pytest.mark.parametrize("support", ["own_topk", "full", "topk_mass", "mu_weighted", "c_pop"])
    def test_against_a_loop(self, support):
        bank, q = bank_of(), torch.randn(6, 4)
        labels = torch.tensor([0.0, 0.1, 0.5, 1.0, 1.1, -2.0])
        routing = bank(q)
        log_gate, centroids = routing.log_gate.detach().numpy(), bank.centroids.flatten().numpy()
        mu = (centroids - centroids.mean()) / centroids.std(ddof=1)
        kept = routing.top.numpy()
        g = {
            "own_topk": [log_gate[i, kept[i]].sum() for i in range(6)],
            "full": log_gate.sum(1),
            "topk_mass": [np.log(np.exp(log_gate[i, kept[i]]).sum()) for i in range(6)],
            "mu_weighted": log_gate @ mu,
            "c_pop": [np.exp(log_gate[i, kept[i]]) @ centroids[kept[i]] for i in range(6)],
        }[support]
        pairs = [(i, j) for i in range(6) for j in range(6) if labels[i] - labels[j] > 0.25]
        expected = np.mean([np.log1p(np.exp(-0.5 * (g[i] - g[j]))) for i, j in pairs])
        assert float(self.loss(support, bank, q, labels)) == pytest.approx(expected, rel=1e-4)

    def test_no_pairs_is_zero(self):
        bank, q = bank_of(), torch.randn(3, 4)
        assert float(self.loss("own_topk", bank, q, torch.zeros(3))) == 0
        assert float(self.loss("own_topk", bank, q[:1], torch.zeros(1))) == 0

    def test_directions(self):
        """``own_topk`` falls as the popular video's kept scores rise; ``full`` rises as it routes more sharply."""
        from recbole_video.popularity.stap.memory_bank import Routing

        torch.manual_seed(2)
        bank, scores, labels = bank_of(), torch.randn(2, 12), torch.tensor([1.0, 0.0])
        top = scores.topk(2).indices

        def loss(support, changed):
            routing = Routing(changed, changed.log_softmax(-1), top, changed, changed, changed[:, 0])
            return float(PreferenceLoss(support, margin=0.25)(bank, routing, torch.zeros(2, 4), labels))

        raised = scores.clone()
        raised[0, top[0]] += 1
        doubled = scores.clone()
        doubled[0] *= 2
        assert loss("own_topk", raised) < loss("own_topk", scores)
        assert loss("full", doubled) > loss("full", scores)

    def test_pool_trains_slots_alone(self):
        bank, q = bank_of(), torch.randn(40, 4, requires_grad=True)
        loss = self.loss("full", bank, q, torch.arange(40.0), pairs="pool")
        loss.backward()
        assert float(loss) > 0 and q.grad is None and bank.slots.grad.abs().sum() > 0


class TestUpdates:
    def test_a_hundred_thousand_updates_leave_the_size(self):
        bank = bank_of()
        before = {name: tensor.shape for name, tensor in bank.state_dict().items()}
        n = 100_000
        bank.update([""] * n, torch.randn(n, 4), torch.randn(n))
        assert {name: tensor.shape for name, tensor in bank.state_dict().items()} == before
        assert bank.counts.sum() == n + 60

    def test_one_query_again_and_again(self):
        bank, q = bank_of(eta=0.05), torch.tensor([1.0, -1, 2, 0.5])
        slot = int((bank.slots[2].detach() @ q).argmax())
        bank.update([""] * 500, q.expand(500, 4), torch.full((500,), 99.0))
        torch.testing.assert_close(bank.slots[2, slot].detach(), q, rtol=1e-3, atol=1e-3)
        assert float(bank.centroids[2, slot]) > 90

    def test_moving_mean_of_labels(self):
        bank = bank_of()
        slot = int((bank.slots[0].detach() @ torch.ones(4)).argmax())
        mean, count = float(bank.centroids[0, slot]), float(bank.counts[0, slot])
        bank.update(["a"], torch.ones(1, 4), torch.tensor([-50.0]))
        assert float(bank.centroids[0, slot]) == pytest.approx(mean + (-50 - mean) / (count + 1), rel=1e-5)

    def test_without_a_label_only_the_slot_moves(self):
        bank = bank_of()
        before = bank.centroids.clone(), bank.slots.detach().clone()
        bank.update(["a"], torch.ones(1, 4))
        assert torch.equal(bank.centroids, before[0]) and (bank.slots != before[1]).any(-1).sum() == 1

    def test_a_bank_that_is_not_laid_out(self):
        with pytest.raises(DataError, match="not laid out yet"):
            MemoryBank(4, 3, 4).update(["a"], torch.ones(1, 4))

    def test_frozen_and_protected(self):
        bank = bank_of()
        before = {name: tensor.clone() for name, tensor in bank.state_dict().items()}
        bank.protect(["test1"])
        with pytest.raises(DataError, match=r"1 of these videos are of the split under evaluation .first: `test1`"):
            bank.update(["a", "test1"], torch.ones(2, 4))
        bank.freeze_memory()
        with pytest.raises(MemoryFrozenError, match="freeze_memory.False"):
            bank.update(["a"], torch.ones(1, 4))
        bank.average_in(torch.ones(3, 4), bank(torch.ones(3, 4)))
        assert all(torch.equal(before[name], tensor) for name, tensor in bank.state_dict().items())
        bank.freeze_memory(False)
        bank.update(["a"], torch.ones(1, 4))

    def test_moving_average_against_a_loop(self):
        bank, q = bank_of(eta=0.1), torch.randn(7, 4)
        routing = bank(q)
        expected = bank.slots.detach().reshape(12, 4).clone()
        for s in range(12):
            rows = [b for b in range(7) if s in routing.top[b].tolist()]
            if rows:
                w = routing.gate[rows, s].detach()
                expected[s] = 0.9 * expected[s] + 0.1 * (w[:, None] * q[rows]).sum(0) / w.sum()
        bank.average_in(q, routing)
        torch.testing.assert_close(bank.slots.detach().reshape(12, 4), expected, rtol=1e-4, atol=1e-5)


class TestStorage:
    def test_save_and_load(self, tmp_path):
        bank = bank_of()
        bank.save(tmp_path / "bank.pth")
        other = MemoryBank(4, 3, 4)
        other.load(tmp_path / "bank.pth")
        assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in bank.state_dict().items())

    def test_another_size(self, tmp_path):
        bank_of().save(tmp_path / "bank.pth")
        with pytest.raises(
            DataError, match="3 x 4 x 4 .partitions, clusters, width., not 6 x 4 x 4; set n_partitions as"
        ):
            MemoryBank(4, 6, 4).load(tmp_path / "bank.pth")
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            MemoryBank(4, 6, 4).load(tmp_path / "absent.pth")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.pop("slots"), "it lacks `slots`"),
            (lambda state: state.update(more=torch.zeros(2)), "its options make no `more`"),
            (lambda state: state.update(edges=torch.zeros(9)), r"`edges` is \[9\], and its options make \[2\]"),
            (lambda state: state["centroids"].fill_(torch.nan), "finite numbers: centroids"),
        ],
    )
    def test_a_file_of_something_else(self, tmp_path, change, message):
        bank = bank_of()
        state = dict(bank.state_dict())
        change(state)
        torch.save({"state_dict": state}, tmp_path / "bank.pth")
        with pytest.raises(CheckpointError, match=message):
            MemoryBank(4, 3, 4).load(tmp_path / "bank.pth")


def test_usage_statistics():
    assert usage_statistics(torch.ones(10)) == pytest.approx({"entropy": 1, "gini": 0, "top5_share": 0.5})
    one = usage_statistics(torch.eye(10)[0])
    assert one["entropy"] == pytest.approx(0) and one["gini"] == pytest.approx(0.9) and one["top5_share"] == 1
    use = np.random.default_rng(0).gamma(1.0, size=30)
    share = use / use.sum()
    brute = np.abs(share[:, None] - share).sum() / (2 * 30)
    found = usage_statistics(torch.from_numpy(use))
    assert found["gini"] == pytest.approx(brute) and found["entropy"] == pytest.approx(entropy(share) / np.log(30))
