"""Plans of steps: what is made ahead, and that a step then asks its device nothing."""

import threading

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recbole_video.config import Config
from recbole_video.data.labelled_loader import PopularityLoader
from recbole_video.data.step_plan import StepPlan, distinct_items, planned_ahead
from recbole_video.tasks import task_of
from recbole_video.tasks.recommendation import make_loaders

from .conftest import ENCODERS, MODELS
from .test_popularity import METADATA, SMALL, write_popularity

CPU = torch.device("cpu")
# Operations whose result has a size, or a value, for which the host would have to wait.
FORBIDDEN = (
    "aten::nonzero", "aten::_unique", "aten::unique", "aten::_local_scalar_dense", "aten::item", "aten::masked_select",
    "aten::is_nonzero", "aten::equal", "aten::_unique2", "aten::unique_consecutive", "aten::repeat_interleave.Tensor",
)  # fmt: skip


class Watcher(TorchDispatchMode):
    """Notes forbidden operations, boolean indices and copies to the host."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name()
        indices = args[1] if name.startswith(("aten::index.", "aten::index_put", "aten::_index_put")) else ()
        if name.startswith(FORBIDDEN) or any(i is not None and i.dtype == torch.bool for i in indices):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


def small(loss_type):
    if loss_type != "BPR":
        return {"loss_type": loss_type}
    return {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}


def shallow(name, encoder):
    """Options by which each kind of layer is there once: without values each operation takes PyTorch milliseconds."""
    of_model = {"n_layers": 1} if name in ("SASRec", "BERT4Rec", "FMLPRec") else {}
    of_encoder = {"encoder_depth": 1} if encoder in ("CVA", "PerceiverIO") else {}
    return {**of_model, **of_encoder, **({"block_num": 1} if name == "NextItNet" else {})}


def step(model, plan, optimizer):
    optimizer.zero_grad()
    model.calculate_loss(plan).backward()
    optimizer.step()


class TestNoWaiting:
    @pytest.mark.parametrize("loss_type", ["in_batch", "CE", "BPR"])
    @pytest.mark.parametrize("name", MODELS)
    def test_of_a_training_step_on_a_cpu(self, make_model, name, loss_type):
        config, data, model = make_model(name, "CVA", **small(loss_type))
        loader = make_loaders(config, data, model)["train"]
        plan = loader.batch(np.arange(len(loader.rows)))
        optimizer = torch.optim.SGD(model.parameters(), 0.1)
        with Watcher() as watcher:
            step(model, plan, optimizer)
        assert watcher.seen == []

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("STAP", {}),
            ("STAP", {"memory_update": "both"}),
            ("STAP", {"dppo_pairs": "pool"}),
            ("STAP", {"variant": "official"}),
            ("MMRA", {"hidden_size": 8, "n_neighbours": 3}),
            ("ICPF", {"hidden_size": 8, "n_neighbours": 3}),
        ],
    )
    def test_of_popularity(self, tmp_path, name, options):
        """From the second step on: the first one looks whether windows are constant, and warns."""
        write_popularity(tmp_path)
        small = {k: v for k, v in SMALL.items() if not (options.get("variant") and k in ("state_size", "base_window"))}
        small |= {"hidden_size": 24} if options.get("variant") else {}
        small = small if name == "STAP" else {"train_batch_size": 16}

        def steps(device):
            config = Config(name, "pop", config_dict={**small, **METADATA, **options, "data_path": str(tmp_path)})
            task = task_of(config)(config)
            task.read_data(), task.make_model()
            loader = PopularityLoader(config, task.data, task.data.rows["train"], shuffle=True)
            task.model.before_epoch(0, PopularityLoader(config, task.data, task.data.rows["train"], shuffle=False))
            step(task.model, plan := next(iter(loader)), torch.optim.SGD(task.model.parameters(), 0.1))
            task.model.epoch_statistics()
            task.model.to(device).train()
            with Watcher() as watcher:
                step(task.model, plan.to(device), torch.optim.SGD(task.model.parameters(), 0.1))
                task.model.after_step()
                task.model.predict(plan.to(device))
            return watcher.seen

        assert steps("cpu") == steps("meta") == []

    def test_the_watcher_sees(self):
        x = torch.tensor([1, 0, 2])
        with Watcher() as watcher:
            x.unique(), x.nonzero(), x[x > 0], x.sum().item(), x.tolist()
            x[x > 5] = 3
        assert len(watcher.seen) >= 5

    @pytest.mark.parametrize("encoder", ENCODERS)
    @pytest.mark.parametrize("name", MODELS)
    def test_on_a_device_that_has_no_values(self, make_model, name, encoder):
        """The path of a GPU: step, optimiser and ranking, on tensors that have a shape and a place only."""
        for loss_type in ("in_batch", "CE", "BPR") if encoder in ("CVA", "ID") else ("in_batch",):
            options = {**small(loss_type), **shallow(name, encoder)}
            config, data, model = make_model(name, encoder, train_batch_size=8, **options)
            loaders = make_loaders(config, data, model)
            plan, batch = loaders["train"].batch(np.arange(8)), next(iter(loaders["test"]))
            content = data.catalogue.content
            model.to("meta")
            if content is not None:
                moved = content.on(torch.device("meta"), True)
                model.item_embedding.content = moved
            optimizer = torch.optim.AdamW(model.parameters())
            step(model, plan.to("meta"), optimizer)
            model.eval()
            with torch.no_grad():
                scores = model.full_sort_predict(batch.interaction.to("meta"))
            assert scores.shape == (len(batch.index), data.catalogue.item_num) and scores.is_meta


class TestPlannedAhead:
    def test_order(self):
        assert list(planned_ahead(range(50), CPU, 2)) == list(range(50))

    def test_what_fails_is_raised_where_it_is_awaited(self):
        def batches():
            yield 1
            raise OSError("disk")

        found = planned_ahead(batches(), CPU)
        assert next(found) == 1
        with pytest.raises(OSError, match="disk"):
            next(found)

    def test_leaving_early_ends_the_thread_which_is_never_far_ahead(self):
        made = []
        n_before = threading.active_count()

        def batches():
            for i in range(1000):
                made.append(i)
                yield i

        for i in planned_ahead(batches(), CPU, n_ahead=3):
            if i == 10:
                break
        assert len(made) <= 10 + 3 + 2 and threading.active_count() == n_before


class TestPlan:
    def test_distinct_items_of_groups(self):
        sequences = np.array([[3, 5, 3, 0], [5, 9, 0, 0], [2, 3, 0, 0]])
        items, counts = distinct_items(sequences, np.array([0, 0, 1]))
        assert items.tolist() == [2, 3, 5, 9]
        assert counts.tolist() == [[0, 2, 2, 1], [1, 1, 0, 0]]

    def test_to_a_device_and_back_in_one_piece(self):
        fields = {"a": torch.arange(6).view(2, 3), "b": torch.ones(2), "c": torch.arange(4), "empty": torch.arange(0)}
        packed = torch.cat([t.reshape(-1) for t in fields.values() if t.dtype == torch.int64])
        plan = StepPlan(fields, packed=packed)
        assert plan.to("cpu") is plan
        moved = plan.to("meta")
        assert {n: (t.shape, t.dtype, t.device.type) for n, t in moved.items()} == {
            n: (t.shape, t.dtype, "meta") for n, t in fields.items()
        }
        assert moved["a"]._base is moved["c"]._base and moved.to("meta")["a"].is_meta

    @pytest.mark.parametrize("name", MODELS)
    def test_content_on_disk_is_read_with_the_plan(self, make_model, name, monkeypatch):
        config, data, model = make_model(name, "PerceiverIO", frames_on_device=False, **small("BPR"))
        model.eval()
        plan = make_loaders(config, data, model)["train"].batch(np.arange(12))
        assert plan.content["frames"].shape[0] == len(plan["step_items"])
        monkeypatch.setattr("recbole_video.content.table.ContentTable._read", None)  # the step itself reads nothing
        from_disk = model.calculate_loss(plan)
        monkeypatch.undo()
        held = data.catalogue.content.on(CPU, True)
        model.item_embedding.content = held
        assert model.calculate_loss(StepPlan(plan.fields, plan.parts)).item() == from_disk.item()

    def test_random_numbers_follow_from_seed_epoch_and_step(self, make_model):
        config, data, model = make_model("BERT4Rec", "CVA", ft_ratio=0.0, **small("BPR"))
        loader = make_loaders(config, data, model)["train"]

        def drawn(epoch, at):
            loader.set_epoch(epoch)
            torch.manual_seed(at)
            plan = loader.batch(np.arange(12), at)
            return plan["masked_list"].tolist(), plan["query_negatives"].tolist()

        first = drawn(0, 0)
        assert first == drawn(0, 0)
        assert all(a != b for other in (drawn(0, 1), drawn(1, 0)) for a, b in zip(first, other, strict=True))
