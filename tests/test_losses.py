"""Training objectives against loops and against RecBole's."""

import math

import numpy as np
import pytest
import torch
from recbole.model.loss import BPRLoss

from recbole_video.data.step_plan import StepPlan, distinct_items
from recbole_video.recommendation import losses

from .test_user_encoders import training_batch


def brute_force_in_batch(states, targets, sequences, vectors, counts, power=1.0, bias=None):
    """cva.md's wording: one column per occurrence in the batch, own items masked but the target.

    states: {(row, position): [d]}, targets: {(row, position): item}, sequences: list of item lists.
    """
    total = float(sum(counts.values()))
    occurrences = [(b, item) for b, sequence in enumerate(sequences) for item in sequence]
    losses_ = []
    for (row, position), state in states.items():
        target = targets[row, position]

        def logit(item):
            score = state @ vectors[item] + (0.0 if bias is None else bias[item])
            return float(score) - power * math.log(counts[item] / total)

        columns = [logit(target)]
        columns += [logit(item) for _, item in occurrences if item not in sequences[row]]
        losses_.append(math.log(sum(math.exp(c) for c in columns)) - columns[0])
    return sum(losses_) / len(losses_)


@pytest.mark.parametrize("power", [1.0, 0.5, 0.0])
@pytest.mark.parametrize("model_name", ["SASRec", "GRU4Rec", "NARM", "NextItNet"])
def test_in_batch_loss_equals_the_occurrence_form(make_model, model_name, power):
    options = {"logq_power": power, "reg_weight": 0.0} if model_name == "NextItNet" else {"logq_power": power}
    config, data, model = make_model(model_name, "CVA", train_batch_size=12, **options)
    model.eval()
    batch = training_batch(config, data, model)
    sequences = [[i for i in row if i] for row in batch["sequence_list"].tolist()]
    assert any(len(set(s)) < sum(map(len, sequences)) for s in sequences)
    counts = {i: int(n) for i, n in enumerate(data.catalogue.train_counts) if n}
    with torch.no_grad():
        vectors = model.item_embedding.weight
        states = model.states(batch["item_id_list"])
        wanted = {
            (row, position): states[row, position]
            for row, sequence in enumerate(sequences)
            for position in range(len(sequence) - 1)
        }
        targets = {(row, position): sequences[row][position + 1] for row, position in wanted}
        want = brute_force_in_batch(wanted, targets, sequences, vectors, counts, power)
        got = model.calculate_loss(batch)
    assert got.item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("model_name", ["SASRec", "FMLPRec", "BERT4Rec"])
def test_groups_of_candidates_are_batches_of_their_own(make_model, model_name):
    """Loss and gradient are the means of those of the groups; the last group is smaller."""
    config, data, model = make_model(model_name, "CVA", train_batch_size=45, candidate_group=15)
    loader = model.loader(config, data.actions)
    model.eval()
    index = np.random.default_rng(0).permutation(len(loader.rows))[:40]
    whole = loader.batch(index)
    assert whole["step_item_counts"].shape[0] == 3
    rows = {tuple(row): i for i, row in enumerate(whole["sequence_list"].tolist())}
    model.calculate_loss(whole).backward()
    got = [p.grad.clone() for p in model.parameters() if p.grad is not None]
    model.zero_grad()
    if model_name == "BERT4Rec":  # each batch draws its own masks
        parts = [_only_group(whole, group) for group in range(3)]
    else:
        parts = [loader.batch(index[start : start + 15]) for start in (0, 15, 30)]
        assert all(tuple(row) in rows for part in parts for row in part["sequence_list"].tolist())
    losses_ = [model.calculate_loss(part) for part in parts]
    torch.stack(losses_).mean().backward()
    assert model.calculate_loss(whole).item() == pytest.approx(torch.stack(losses_).mean().item(), rel=1e-5)
    for mine, plain in zip(got, [p.grad for p in model.parameters() if p.grad is not None], strict=True):
        torch.testing.assert_close(mine, plain, rtol=1e-3, atol=1e-6)


def _only_group(plan, group):
    """The same step with the rows of one group alone."""
    of_row = plan["step_group"] == group
    of_query = of_row[plan["query_row"]]
    old_row = of_row.nonzero()[:, 0]
    fields = {n: plan[n][of_row] for n in ("item_id_list", "item_length", "sequence_list", "masked_list")}
    fields |= {n: plan[n][of_query] for n in ("query_position", "query_target")}
    fields["query_row"] = torch.searchsorted(old_row, plan["query_row"][of_query])
    items, counts = distinct_items(fields["sequence_list"].numpy(), np.zeros(len(old_row), int))
    fields |= {"step_items": torch.from_numpy(items), "step_item_counts": torch.from_numpy(counts)}
    return StepPlan(fields)


def test_in_batch_with_repeated_items_in_a_sequence():
    """A target that also lies in the history, and an item that occurs in several sequences."""
    sequences = [[1, 2, 1, 3], [3, 4, 2, 2], [5, 1, 4, 6]]
    torch.manual_seed(0)
    vectors = torch.randn(7, 5).double()
    states = {(row, t): torch.randn(5).double() for row in range(3) for t in range(3)}
    targets = {(row, t): sequences[row][t + 1] for row, t in states}
    counts = {1: 7, 2: 5, 3: 4, 4: 3, 5: 1, 6: 2}
    bias = torch.randn(7).double()
    ids = torch.tensor([1, 2, 3, 4, 5, 6])
    log_p = losses.popularity_log(torch.tensor([0, *counts.values()]), 1.0).double()[ids]
    occurrences = torch.tensor([sum(s.count(i) for s in sequences) for i in ids.tolist()]).double()
    owned = torch.tensor([[i in s for i in ids.tolist()] for s in sequences])
    got = losses.in_batch(
        torch.stack(list(states.values())),
        torch.tensor([t - 1 for t in targets.values()]),
        torch.tensor([row for row, _ in states]),
        owned,
        vectors[ids],
        occurrences.log() - log_p,
        -log_p,
        bias[ids],
    )
    want = brute_force_in_batch(states, targets, sequences, vectors, counts, bias=bias)
    assert got.item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("options", [{}, {"candidate_group": 15}, {"loss_type": "CE"}])
def test_many_logits_are_made_in_parts(make_model, monkeypatch, options):
    """Equal to those made at once, in value and gradient; and no tensor is larger than allowed."""
    config, data, model = make_model("BERT4Rec", "ID", train_batch_size=30, ft_ratio=0.0, **options)
    batch = training_batch(config, data, model)
    model.eval()
    gradients = []
    for most in (10_000_000, 100):
        monkeypatch.setattr(losses, "LOGITS_AT_ONCE", most)
        model.zero_grad()
        loss = model.calculate_loss(batch)
        loss.backward()
        gradients.append([loss.detach(), *(p.grad.clone() for p in model.parameters() if p.grad is not None)])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-7)
    seen = []
    original = losses.scores
    monkeypatch.setattr(losses, "scores", lambda *given: (seen.append(original(*given)), seen[-1])[1])
    model.calculate_loss(batch).backward()
    assert len(seen) > 10 and max(scores.numel() for scores in seen) <= 100


def test_popularity_log_is_the_log_of_the_share():
    got = losses.popularity_log(torch.tensor([0, 1, 3]), 1.0)
    torch.testing.assert_close(got, torch.tensor([0.0, math.log(0.25), math.log(0.75)]))


def test_bpr_equals_recbole():
    torch.manual_seed(0)
    positive, negative = torch.randn(9), torch.randn(9)
    torch.testing.assert_close(losses.bpr(positive[:, None], negative[:, None]), BPRLoss()(positive, negative))


def test_full_softmax_equals_cross_entropy_by_hand():
    queries, catalogue = torch.randn(4, 3), torch.randn(6, 3)
    targets = torch.tensor([1, 5, 2, 2])
    logits = queries @ catalogue.T
    want = sum(
        -math.log(math.exp(row[t]) / sum(map(math.exp, row)))
        for row, t in zip(logits.tolist(), targets.tolist(), strict=True)
    )
    assert losses.full_softmax(queries, targets, catalogue).item() == pytest.approx(want / 4, rel=1e-5)


class TestAutocast:
    """Losses are float32 under autocast too: bfloat16 has three digits."""

    def tensors(self, *shapes):
        generator = torch.Generator().manual_seed(0)
        return [4 * torch.randn(shape, generator=generator) for shape in shapes]

    def under_autocast(self, loss):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return loss()

    def test_softmax_losses(self):
        queries, items = self.tensors((6, 16), (9, 16))
        targets, rows = torch.arange(6), torch.zeros(6, dtype=torch.long)
        owned, weight = torch.zeros(1, 9, dtype=torch.bool), torch.zeros(9)
        for loss in (
            lambda: losses.full_softmax(queries, targets, items),
            lambda: losses.in_batch(queries, targets, rows, owned, items, weight, weight),
        ):
            got = self.under_autocast(loss)
            assert got.dtype == torch.float32
            want = -torch.log_softmax(queries.double() @ items.double().T, dim=1)[targets, targets].mean().item()
            assert got.item() == pytest.approx(want, rel=1e-6)

    def test_bpr_of_scores(self):
        queries, items = self.tensors((6, 16), (6, 3, 16))

        def loss():
            scores = losses.scores(queries, items)
            return losses.bpr(scores[:, :1], scores[:, 1:])

        got = self.under_autocast(loss)
        scores = (queries.double()[:, None] * items.double()).sum(dim=2)
        want = -torch.log(1e-10 + torch.sigmoid(scores[:, :1] - scores[:, 1:])).mean().item()
        assert got.dtype == torch.float32 and got.item() == pytest.approx(want, rel=1e-6)

    def test_bpr_of_rounded_scores(self):
        positive, negative = torch.tensor([[3.0]]), torch.tensor([[2.0, 1.0]])
        want = losses.bpr(positive, negative).item()
        assert losses.bpr(positive.bfloat16(), negative.bfloat16()).item() == pytest.approx(want, rel=1e-6)

    @pytest.mark.parametrize("loss_type", ["in_batch", "CE", "BPR"])
    def test_of_a_model(self, make_model, loss_type):
        """What is rounded are the states that the encoders compute, not what the loss makes of them."""
        config, data, model = make_model("SASRec", "CVA", loss_type=loss_type, train_batch_size=12)
        model.eval()
        batch = training_batch(config, data, model)
        seen = []
        original = losses.bpr
        model.negatives = model.negatives or {}

        def spy(positive, negative, weight):
            seen.append((positive.dtype, negative.dtype))
            return original(positive, negative, weight)

        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(losses, "bpr", spy)
            got = self.under_autocast(lambda: model.calculate_loss(batch))
        assert got.dtype == torch.float32
        assert seen == ([(torch.float32, torch.float32)] if loss_type == "BPR" else [])
