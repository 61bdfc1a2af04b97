"""Steps of one shape: what fills them up changes nothing, and a recorded step does what the step does."""

import copy

import numpy as np
import pytest
import torch

from recbole_video.data.step_plan import IS_QUERY, ITEMS, QUERY_ROW
from recbole_video.errors import ConfigError
from recbole_video.runtime.processes import processes
from recbole_video.tasks.recommendation import make_loaders
from recbole_video.training.recorded_steps import RecordedSteps
from recbole_video.training.schedule import load_optimizer, make_optimizer, make_schedule
from recbole_video.training.trainer import Trainer

from .conftest import MODELS
from .test_step_plan import shallow, small, step

CPU = torch.device("cpu")


def loaders_of(make_model, name, encoder="CVA", train_batch_size=12, **options):
    """A model in evaluation mode, its plain training batches, and those of one shape."""
    config, data, model = make_model(name, encoder, train_batch_size=train_batch_size, **options)
    plain = make_loaders(config, data, model)["train"]
    filled = copy.copy(plain)
    filled.has_one_shape = True
    return model.eval(), plain, filled


def loss_and_gradients(model, plan):
    model.zero_grad()
    loss = model.calculate_loss(plan)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("options", [small("in_batch"), small("CE"), small("BPR"), {"candidate_group": 4}], ids=str)
@pytest.mark.parametrize("name", MODELS)
def test_what_fills_a_step_up_changes_neither_loss_nor_gradient(make_model, name, options):
    size = 8 if "candidate_group" in options else 4
    model, plain, filled = loaders_of(make_model, name, train_batch_size=size, **options)
    some = (np.random.default_rng(seed).permutation(len(plain.rows))[:size] for seed in range(50))
    index = next(i for i in some if len(plain.batch(i)[ITEMS]) < len(filled.batch(i)[ITEMS]))
    want, wanted = loss_and_gradients(model, plain.batch(index))
    got, found = loss_and_gradients(model, filled.batch(index))
    torch.testing.assert_close(got, want, rtol=1e-6, atol=1e-6)
    assert found.keys() == wanted.keys()
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-6, msg=parameter)


@pytest.mark.parametrize("name", ["SASRec", "BERT4Rec", "FMLPRec"])
def test_few_shapes_and_the_whole_catalogue_only_where_it_is(make_model, name):
    model, plain, filled = loaders_of(make_model, name, **small("BPR"))
    n_items, shapes = plain.actions.n_items, set()
    for seed in range(60):
        index = np.random.default_rng(seed).permutation(len(plain.rows))[:12]
        plan, n_distinct = filled.batch(index, seed), len(plain.batch(index, seed)[ITEMS])
        shapes.add(plan.shapes)
        assert len(plan[ITEMS]) != n_items - 1 or n_distinct == n_items - 1
        assert len(plan[QUERY_ROW]) == len(plan[IS_QUERY]) <= filled.most_queries
        model.calculate_loss(plan)  # looks all ids up
    assert len(shapes) < 30
    assert IS_QUERY not in filled.batch(np.arange(7))


@pytest.mark.parametrize("name", MODELS)
def test_on_a_device_that_has_no_values(make_model, name):
    for options in (small("in_batch"), small("CE"), small("BPR"), {"candidate_group": 4}):
        options |= {"train_batch_size": 12, "cuda_graph": True, **shallow(name, "CVA")}
        config, data, model = make_model(name, "CVA", **options)
        plan = make_loaders(config, data, model)["train"].batch(np.arange(12))
        model.to("meta")
        model.item_embedding.content = data.catalogue.content.on(torch.device("meta"), True)
        assert IS_QUERY in plan
        step(model, plan.to("meta"), torch.optim.AdamW(model.parameters()))


class Replayer:
    """Stands for CUDA's graphs: what was recorded is done anew on what the memory of its plan then holds."""

    def __init__(self):
        self.n_recorded = self.n_run = self.n_replayed = 0

    def run(self, step):
        self.n_run += 1
        return step()

    def record(self, step):
        self.n_recorded += 1

        def replay():
            self.n_replayed += 1
            return step()

        return replay


@pytest.mark.parametrize("options", [{}, {"frames_on_device": False}], ids=["held", "on disk"])
def test_recorded_steps_train_as_the_others(make_model, options):
    """From plans that are copied into the memory of the first one of their shape, the last of an epoch apart."""

    models, recorder = {}, Replayer()
    for kind in ("plain", "recorded"):
        model, _, filled = loaders_of(make_model, "SASRec", "PerceiverIO", seed=5, **options)
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2)

        def compute(plan, model=model, optimizer=optimizer):
            step(model, plan, optimizer)
            return torch.zeros(())

        do = compute if kind == "plain" else RecordedSteps(compute, optimizer.zero_grad, CPU, recorder)
        for epoch in range(4):
            filled.set_epoch(epoch)
            for plan in filled:
                do(plan)
        models[kind] = model
    assert recorder.n_recorded >= 1 and recorder.n_replayed > recorder.n_recorded and recorder.n_run >= 4
    for a, b in zip(models["plain"].parameters(), models["recorded"].parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_rates_are_read_from_memory_and_scheduled(make_config):
    config = make_config("SASRec", "CVA", lr_scheduler="linear", learning_rate=0.1, epochs=1)
    weight = torch.nn.Parameter(torch.ones(2))
    recorded = make_optimizer(config, [weight], is_recorded=True)
    schedule = make_schedule(config, recorded, 10)
    memory = recorded.param_groups[0]["lr"]
    schedule.step()
    assert recorded.param_groups[0]["lr"] is memory and memory.item() == pytest.approx(0.09)
    plain = make_optimizer(config, [weight])
    load_optimizer(plain, recorded.state_dict())
    assert plain.param_groups[0]["lr"] == pytest.approx(0.09) and not plain.param_groups[0]["capturable"]
    load_optimizer(recorded, plain.state_dict())
    assert recorded.param_groups[0]["lr"].item() == pytest.approx(0.09) and recorded.param_groups[0]["capturable"]


@pytest.mark.parametrize(
    "options, words",
    [
        ({"nproc": 2, "train_batch_size": 12}, "nproc above 1"),
        ({"detect_anomaly": True}, "detect_anomaly"),
        ({"learner": "sgd"}, "learner"),
    ],
)
def test_what_cannot_be_recorded(make_config, options, words):
    with pytest.raises(ConfigError, match=words):
        make_config("SASRec", "CVA", cuda_graph=True, **options)


def test_without_a_gpu(make_model):
    config, _, model = make_model("SASRec", "CVA", cuda_graph=True)
    assert processes().is_alone
    with pytest.raises(ConfigError, match="needs a GPU"):
        Trainer(config, model, dict)
