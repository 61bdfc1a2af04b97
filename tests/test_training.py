"""Trainer, schedules, checkpoints, resumption after SIGKILL."""

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from recbole_video import run_recbole_video
from recbole_video.errors import CheckpointError, ConfigError, RunFolderError, TrainingError
from recbole_video.files.atomic import write_atomically, write_text
from recbole_video.registries import ITEM_ENCODERS
from recbole_video.runtime.checkpoint import read_checkpoint, write_checkpoint
from recbole_video.runtime.trainable import Trainable
from recbole_video.tasks.recommendation import make_loaders
from recbole_video.training.run_folder import RunFolder
from recbole_video.training.schedule import make_schedule, rate_factor
from recbole_video.training.trainer import Trainer

from .conftest import small_options, write_dataset
from .test_popularity import SMALL, write_popularity


def run(data_root, model="SASRec", encoder="CVA", saved=True, **options):
    chosen = small_options(model, encoder, data_path=str(data_root), **options)
    return run_recbole_video(model, "tiny", config_dict=chosen, saved=saved)


def comparable(result):
    return {k: result[k] for k in ("best_valid_score", "best_valid_result", "test_result", "best_epoch")}


def losses(result):
    history = json.loads(Path(result["run_folder"], "metrics.json").read_text())["history"]
    return [(record["epoch"], record["train_loss"]) for record in history]


class TestRun:
    def test_result_and_run_folder(self, in_tmp, data_root, pictures):
        result = run(data_root, epochs=2, save_per_user=True, eval_groups=["cold", "popularity"])
        assert {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"} <= set(result)
        assert result["valid_score_bigger"] is True
        assert result["best_valid_score"] == result["best_valid_result"]["ndcg@10"]
        folder = Path(result["run_folder"])
        assert {p.name for p in folder.iterdir()} == {
            "config.yaml", "run.json", "model.pth", "metrics.json", "curve.png", "run.log", "per_user.tsv",
        }  # fmt: skip
        record = json.loads((folder / "metrics.json").read_text())
        assert record["test_result"] == result["test_result"] and len(record["history"]) == 2
        assert (
            record["made_by"]["libraries"].startswith(f"torch {torch.__version__}")
            and len(record["data"]["inter_sha256"]) == 64
        )
        assert record["config"]["encoder_depth"] == 2
        assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
        lines = (folder / "per_user.tsv").read_text().splitlines()
        values = np.array([float(line.split("\t")[3]) for line in lines[1:]])
        assert lines[0].split("\t")[:4] == ["user_id", "item_id", "rank", "hit@10"]
        assert values.mean() == pytest.approx(result["test_result"]["hit@10"], abs=1e-5)
        log = next(Path("log/SASRec").glob("SASRec-tiny-*.log")).read_text()
        for line in ("epoch 1 training [time: ", "valid_score: ", "best valid : {'hit@10'", "test result: {'hit@10'"):
            assert line in log and line in (folder / "run.log").read_text()
        assert list(Path("log_tensorboard").rglob("events*"))

    def test_not_saved_gives_the_same_numbers_and_no_folder(self, in_tmp, data_root):
        kept = run(data_root, epochs=4)
        loose = run(data_root, epochs=4, saved=False)
        assert comparable(kept) == comparable(loose) and loose["run_folder"] is None
        assert len(list(Path("saved").iterdir())) == 1

    def test_same_seed_same_numbers(self, in_tmp, data_root):
        first, second, other = (run(data_root, saved=False, epochs=3, seed=s) for s in (1, 1, 2))
        assert comparable(first) == comparable(second) != comparable(other)

    def test_test_set_takes_no_part_in_choosing_the_epoch(self, in_tmp, data_root):
        result = run(data_root, epochs=6, learning_rate=0.01)
        history = json.loads(Path(result["run_folder"], "metrics.json").read_text())["history"]
        scores = [record["valid_score"] for record in history]
        assert result["best_valid_score"] == max(scores)
        assert scores[result["best_epoch"] - 1] == max(scores)

    def test_early_stopping(self, in_tmp, data_root):
        result = run(data_root, epochs=80, stopping_step=2, learning_rate=0.01)
        history = json.loads(Path(result["run_folder"], "metrics.json").read_text())["history"]
        scores = [record["valid_score"] for record in history]
        assert len(scores) < 80 and len(scores) - result["best_epoch"] == 3
        assert max(scores[-3:]) < result["best_valid_score"] == scores[-4]

    def test_frames_on_disk_give_the_same_numbers(self, in_tmp, data_root):
        memory, disk = (run(data_root, saved=False, frames_on_device=where) for where in (True, False))
        assert comparable(memory) == comparable(disk) and disk["data"]["frames"]["on_device"] is False

    def test_pooling_takes_the_frames_width(self, in_tmp, data_root):
        assert run(data_root, encoder="Pooling", saved=False)["parameters"]["item_encoder"] == 0
        with pytest.raises(ConfigError, match="`hidden_size` is 16, but Pooling keeps the frames' width, 8"):
            run(data_root, encoder="Pooling", hidden_size=16)

    @pytest.mark.parametrize("shape", [lambda v: v[:, None], lambda v: v[:-1], lambda v: v[:, :-1], lambda v: v[0]])
    def test_an_encoder_of_other_shapes(self, in_tmp, data_root, shape, monkeypatch):
        """What would be spread over other shapes, or fail somewhere in PyTorch, is told where it is made."""

        class Shaped(ITEM_ENCODERS.get("MLP")):
            def forward(self, frames, mask):
                return shape(super().forward(frames, mask))

        monkeypatch.setattr(ITEM_ENCODERS, "_entries", {**ITEM_ENCODERS._entries, "Shaped": Shaped})
        with pytest.raises(
            ConfigError, match=r"encoder `Shaped` gives \[.* for \d+ videos, and must give one vector of 16"
        ):
            run(data_root, encoder="MLP", saved=False, item_encoder="Shaped")

    def test_sizes_that_contradict_each_other(self, in_tmp, data_root):
        with pytest.raises(ConfigError, match="SASRec cannot be built.*multiple of the number of attention heads"):
            run(data_root, n_heads=3)

    def test_infinite_loss(self, in_tmp, data_root):
        with pytest.raises(TrainingError, match="not finite in epoch 1; lower learning_rate"):
            run(data_root, learner="sgd", learning_rate=1e30, epochs=3)

    @pytest.mark.parametrize("fusion", ["sum", "gate"])
    def test_id_fusion(self, in_tmp, data_root, fusion):
        plain, fused = run(data_root, saved=False), run(data_root, saved=False, id_fusion=fusion)
        assert fused["parameters"]["model"] > plain["parameters"]["model"]

    @pytest.mark.parametrize("loss_type", ["CE", "BPR"])
    @pytest.mark.parametrize("model", ["SASRec", "BERT4Rec", "FMLPRec"])
    def test_recboles_losses(self, in_tmp, data_root, model, loss_type):
        assert 0 <= run(data_root, model, saved=False, loss_type=loss_type)["test_result"]["hit@10"] <= 1


def test_compiled_model_gives_the_same_numbers(in_tmp, data_root, monkeypatch):
    compiled = []
    original = torch.nn.Module.compile
    monkeypatch.setattr(
        torch.nn.Module,
        "compile",
        lambda self, **k: (compiled.append(type(self).__name__), original(self, backend="eager", **k)),
    )
    plain, fast = run(data_root, saved=False), run(data_root, saved=False, compile=True)
    assert compiled == ["CVA", "TransformerEncoder"]
    assert fast["test_result"] == pytest.approx(plain["test_result"], abs=0.05)


class TestCompile:
    """`compile=True` compiles what is called; graphs are counted as they are made, and run without a C++ compiler."""

    @pytest.fixture
    def graphs(self, monkeypatch):
        made, compile_call, compile_part = [], torch.compile, torch.nn.Module.compile

        def backend(graph, inputs):
            made.append(graph)
            return graph.forward

        monkeypatch.setattr(torch, "compile", lambda call, **k: compile_call(call, **{"backend": backend, **k}))
        monkeypatch.setattr(torch.nn.Module, "compile", lambda part, **k: compile_part(part, backend=backend, **k))
        return made

    def test_popularity_model(self, in_tmp, graphs):
        write_popularity(in_tmp / "data")
        options = {"data_path": str(in_tmp / "data"), **SMALL, "epochs": 1, "use_gpu": False, "train_batch_size": 64}
        options |= {"temporal": "pooled", "memory": "off", "use_text": False, "use_metadata": False}
        for name in ("n_partitions", "n_clusters", "memory_top_k", "memory_warmup_epochs", "state_size", "base_window"):
            del options[name]
        plain, fast = (
            run_recbole_video("STAP", "pop", config_dict={**options, "compile": wanted}, saved=False)
            for wanted in (False, True)
        )
        assert len(graphs) >= 2  # the encoder and the head
        assert fast["test_result"] == pytest.approx(plain["test_result"], rel=1e-3)

    def test_every_part_with_something_to_learn(self, graphs):
        class Net(Trainable, torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.layer, self.act = torch.nn.Linear(2, 2), torch.nn.ReLU()

            def calculate_loss(self, x):
                return self.act(self.layer(x)).sum()

        trainer = Trainer.__new__(Trainer)
        trainer.model = Net()
        assert trainer.compile() == 1 and not graphs
        trainer.model.calculate_loss(torch.ones(1, 2))
        assert len(graphs) == 1

    def test_model_without_parts_is_refused(self, in_tmp, make_model, monkeypatch):
        config, _, model = make_model(compile=True)
        monkeypatch.setattr(type(model), "parts_to_compile", lambda self: [])
        with pytest.raises(ConfigError, match="`compile` has no effect on SASRec"):
            Trainer(config, model, dict)


class TestDiverged:
    """One sentence, and not what a metric says of numbers that are none."""

    def popularity(self, root, **options):
        chosen = {"data_path": str(root), **SMALL, "use_metadata": False, "use_gpu": False, "learner": "sgd", **options}
        return run_recbole_video("STAP", "pop", config_dict=chosen, saved=False)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"weight_decay": 1e38}, "The weights are not finite after epoch 1: training has diverged; lower learn"),
            ({}, "predictions are not finite: training has diverged; lower learning_rate"),
        ],
    )
    def test_popularity_model(self, in_tmp, options, message):
        """One step in an epoch, after which the loss was still a number."""
        write_popularity(in_tmp / "data")
        with pytest.raises(TrainingError, match=message):
            self.popularity(in_tmp / "data", train_batch_size=64, learning_rate=1e30, **options)

    def test_metric_without_end(self, make_trainer, monkeypatch):
        trainer, batch = make_trainer(epochs=1)
        monkeypatch.setattr(trainer, "evaluate", lambda: {"ndcg@10": float("inf")})
        with pytest.raises(TrainingError, match="NDCG@10 is not finite: training has diverged"):
            trainer.fit(_OneBatch(batch))


@pytest.fixture
def make_trainer(in_tmp, make_model):
    """trainer, batch = make_trainer(option=value)"""

    def make(**options):
        config, data, model = make_model(**options)
        train = make_loaders(config, data, model)["train"]
        trainer = Trainer(config, model, evaluate=dict)
        trainer._schedule = make_schedule(config, trainer.optimizer, len(train))
        return trainer, train.batch(np.arange(16))

    return make


class _OneBatch(list):
    """A loader of one batch."""

    def __init__(self, batch):
        super().__init__([batch])

    def set_epoch(self, epoch):
        pass


class TestStep:
    @pytest.mark.parametrize("max_norm", [0.01, 1e6])
    def test_plain_gradient_descent_by_hand(self, make_trainer, max_norm):
        """w - rate * (g * min(1, max_norm / |g|) + decay * w), with the gradient of the loss g."""
        dropout = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0}
        options = {
            "learner": "sgd",
            "learning_rate": 0.1,
            "weight_decay": 0.5,
            "clip_grad_norm": {"max_norm": max_norm},
        }
        trainer, batch = make_trainer(**options, **dropout)
        model = trainer.model.train()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.calculate_loss(batch).backward()
        gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        norm = torch.cat([g.flatten() for g in gradient.values()]).norm().item()
        assert 0.01 < norm < 1e6
        trainer._train_step(batch)
        for name, g in gradient.items():
            want = before[name] - 0.1 * (g * min(1.0, max_norm / norm) + 0.5 * before[name])
            torch.testing.assert_close(model.get_parameter(name).detach(), want, rtol=1e-4, atol=1e-6)

    def test_item_encoder_with_settings_of_its_own(self, make_trainer):
        """By hand as above, with a rate and a decay for either part."""
        trainer, batch = make_trainer(
            learner="sgd",
            learning_rate=0.1,
            weight_decay=0.5,
            item_encoder_learning_rate=0.2,
            item_encoder_weight_decay=0.0,
            hidden_dropout_prob=0.0,
            attn_dropout_prob=0.0,
        )
        model = trainer.model.train()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        model.calculate_loss(batch).backward()
        gradient = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        trainer._train_step(batch)
        assert {name.startswith("item_embedding.encoder.") for name in gradient} == {True, False}
        for name, g in gradient.items():
            rate, decay = (0.2, 0.0) if name.startswith("item_embedding.encoder.") else (0.1, 0.5)
            want = before[name] - rate * (g + decay * before[name])
            torch.testing.assert_close(model.get_parameter(name).detach(), want, rtol=1e-4, atol=1e-6)

    @pytest.mark.parametrize(
        ("encoder", "own", "n_groups"),
        [
            ("CVA", {}, 1),
            ("CVA", {"item_encoder_weight_decay": 0.0}, 2),
            ("CVA", {"item_encoder_learning_rate": 0.2, "id_fusion": "gate"}, 2),
            ("ID", {"item_encoder_learning_rate": 0.2}, 2),
            ("Pooling", {"item_encoder_learning_rate": 0.2}, 1),
        ],
    )
    def test_every_parameter_is_in_one_group(self, make_model, encoder, own, n_groups):
        _, _, model = make_model("SASRec", encoder, **own)
        groups = model.parameter_groups(0.1)
        grouped = [id(p) for group in groups for p in group["params"]]
        assert len(groups) == n_groups
        assert sorted(grouped) == sorted(id(p) for p in model.parameters())
        if n_groups == 2:
            n_encoder = sum(p.numel() for p in groups[1]["params"])
            of_encoder = sum(p.numel() for p in model.item_embedding.encoder.parameters())
            assert n_encoder == of_encoder and "lr" not in groups[0]
            of_ids = 0 if model.item_embedding.fusion is None else 1  # a vector per item, and the gate
            counted = model.parameter_counts()["item_encoder"] - of_encoder
            assert counted == of_ids * sum(p.numel() for n, p in model.named_parameters() if ".fusion." in n)
            assert (counted >= model.n_items * 8) == bool(of_ids)

    @pytest.mark.parametrize(
        ("enable_amp", "dtype"), [(True, torch.bfloat16), (False, torch.float32), ("auto", torch.float32)]
    )
    def test_autocast(self, make_trainer, enable_amp, dtype):
        """`auto` means a GPU that computes in bfloat16, so not a CPU."""
        trainer, batch = make_trainer(enable_amp=enable_amp)
        seen = []
        trainer.model.item_embedding.encoder.register_forward_hook(lambda *call: seen.append(call[2].dtype))
        assert torch.isfinite(trainer._train_step(batch)) and seen == [dtype]

    @pytest.mark.parametrize("wanted", [True, False])
    def test_anomaly_detection_is_as_the_option_says(self, make_trainer, wanted):
        """Importing RecBole's models leaves it on for the process, at half the speed."""
        trainer, batch = make_trainer(detect_anomaly=wanted)
        seen = []
        original = trainer.model.calculate_loss
        trainer.model.calculate_loss = lambda b: (seen.append(torch.is_anomaly_enabled()), original(b))[1]
        with torch.autograd.set_detect_anomaly(not wanted):
            trainer._train_epoch(_OneBatch(batch), 0)
            assert torch.is_anomaly_enabled() is not wanted
        assert seen == [wanted]

    def test_learner_is_the_one_named(self, make_trainer):
        for name, kind in (("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("adagrad", torch.optim.Adagrad)):
            optimizer = make_trainer(learner=name, learning_rate=0.02, weight_decay=0.3)[0].optimizer
            assert type(optimizer) is kind
            assert optimizer.defaults["lr"] == 0.02 and optimizer.defaults["weight_decay"] == 0.3


class TestSchedule:
    def test_is_stepped_through_training(self, in_tmp, data_root):
        folder = run(data_root, epochs=2, lr_scheduler="linear", learning_rate=0.01, keep_last_checkpoint=True)[
            "run_folder"
        ]
        state = read_checkpoint(Path(folder, "last.pth"))
        steps = 2 * -(-40 // 16)  # 40 users, batches of 16
        assert state["schedule"]["last_epoch"] == steps and state["optimizer"]["param_groups"][0]["lr"] == 0.0

    def test_warm_up_then_constant(self):
        assert [rate_factor("constant", 10, 0.4, s) for s in range(6)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]

    def test_linear_and_cosine_end_at_zero(self):
        assert [rate_factor("linear", 4, 0.0, s) for s in range(5)] == [1.0, 0.75, 0.5, 0.25, 0.0]
        assert [round(rate_factor("cosine", 4, 0.0, s), 4) for s in range(5)] == [1.0, 0.8536, 0.5, 0.1464, 0.0]


KILLED = """
import os, signal
from recbole_video import run_recbole_video
from recbole_video.training import trainer
original, calls = trainer.Trainer._train_step, []
def step(self, *a):
    calls.append(1)
    if len(calls) == 8: os.kill(os.getpid(), signal.SIGKILL)
    return original(self, *a)
trainer.Trainer._train_step = step
run_recbole_video("SASRec", "tiny", config_dict={options!r})
"""


def test_run_killed_in_an_epoch_resumes_to_the_same_numbers(in_tmp, data_root, forks):
    """By SIGKILL; tests/test_run_folder.py has the other moments."""
    options = small_options(data_path=str(data_root), epochs=5, learning_rate=0.003, lr_scheduler="cosine")
    options["id_fusion"] = "sum"
    torch.set_num_threads(1)
    unbroken = run_recbole_video("SASRec", "tiny", config_dict={**options, "checkpoint_dir": "unbroken"})
    Path("killed.py").write_text(KILLED.format(options=options))
    status, output = forks.run_file("killed.py")
    assert status == -signal.SIGKILL, output[-2000:]
    [folder] = Path("saved").iterdir()
    assert not RunFolder(folder).is_finished and read_checkpoint(folder / "last.pth")["epoch"] >= 0
    resumed = run_recbole_video("SASRec", "tiny", config_dict={**options, "resume": True})
    assert resumed["run_folder"] == str(folder)
    assert comparable(resumed) == comparable(unbroken)
    assert losses(resumed) == losses(unbroken)
    ours, theirs = (read_checkpoint(Path(r["run_folder"], "model.pth"))["state_dict"] for r in (resumed, unbroken))
    assert all(torch.equal(ours[k], theirs[k]) for k in theirs)


class TestResume:
    @pytest.fixture
    def unfinished(self, in_tmp, data_root):
        folder = Path(run(data_root, epochs=2, keep_last_checkpoint=True)["run_folder"])
        (folder / "metrics.json").unlink()
        return folder

    def test_by_name_needs_no_other_option(self, unfinished):
        result = run_recbole_video(config_dict={"resume": str(unfinished)})
        assert result["run_folder"] == str(unfinished) and RunFolder(unfinished).is_finished

    def test_a_run_that_ends_while_it_becomes_better_says_so(self, in_tmp, data_root, capfd):
        for epochs in (1, 3):
            result = run(data_root, epochs=epochs)
            is_last = epochs > 1 and result["best_epoch"] == epochs
            told = f"The last of {epochs} epochs was the best: more may be better (--epochs={2 * epochs})."
            assert (told in capfd.readouterr().out) == is_last

    def test_by_name_where_the_width_follows_the_frames(self, in_tmp, data_root):
        """Its config.yaml names no width, which is no value of the option otherwise."""
        folder = Path(run(data_root, "SASRec", "Pooling")["run_folder"])
        (folder / "metrics.json").unlink()
        assert run_recbole_video(config_dict={"resume": str(folder)})["run_folder"] == str(folder)

    def test_by_name_refuses_other_options(self, unfinished):
        with pytest.raises(ConfigError, match="made with other options"):
            run_recbole_video(config_dict={"resume": str(unfinished), "learning_rate": 0.5})

    def test_starts_anew_when_there_is_nothing_of_these_options(self, unfinished, data_root, capfd):
        """And names the run that is nearest, with what differs."""
        was = yaml.safe_load((unfinished / "config.yaml").read_text())["learning_rate"]
        result = run(data_root, epochs=2, resume=True, learning_rate=0.002)
        assert result["run_folder"] != str(unfinished)
        told = capfd.readouterr().out
        assert f"resume from (`{unfinished}` has learning_rate={was}); starting with the first epoch" in told

    def test_changed_data(self, in_tmp):
        write_dataset(in_tmp, "own")
        options = small_options(data_path=str(in_tmp), keep_last_checkpoint=True)
        folder = Path(run_recbole_video("SASRec", "own", config_dict=options)["run_folder"])
        (folder / "metrics.json").unlink()
        write_dataset(in_tmp, "own", seed=1)
        with pytest.raises(CheckpointError, match="The data set has changed since `.*last.pth` was written"):
            run_recbole_video(config_dict={"resume": str(folder)})

    def test_run_killed_before_its_first_checkpoint(self, unfinished):
        (unfinished / "last.pth").unlink()
        result = run_recbole_video(config_dict={"resume": str(unfinished)})
        assert result["run_folder"] == str(unfinished) and len(losses(result)) == 2

    def test_folder_without_a_run(self, in_tmp, data_root):
        with pytest.raises(CheckpointError, match="nothing to resume in `nowhere`"):
            run(data_root, resume="nowhere")

    def test_truncated_checkpoint(self, unfinished):
        content = (unfinished / "last.pth").read_bytes()
        (unfinished / "last.pth").write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="last.pth` cannot be read: it is truncated, corrupt"):
            run_recbole_video(config_dict={"resume": str(unfinished)})


class TestFiles:
    def test_failed_write_leaves_the_old_file(self, tmp_path):
        path = tmp_path / "a.txt"
        write_text(path, "old")

        def fail(file):
            file.write(b"ne")
            raise OSError(28, "No space left on device")

        with pytest.raises(RunFolderError, match="No space left on device"):
            write_atomically(path, fail)
        assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]

    def test_a_checkpoint_that_does_not_fit_says_why(self, tmp_path):
        """torch.save itself speaks of positions that do not agree."""
        resource = pytest.importorskip("resource")
        path = tmp_path / "a.pth"
        write_checkpoint(path, {"state_dict": {}})
        old, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limit[1]))
        try:
            with pytest.raises(RunFolderError, match=r"a.pth` cannot be written: File too large"):
                write_checkpoint(path, {"state_dict": {"a": torch.zeros(1_000_000)}})
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]

    def test_checkpoint_holds_plain_values_only(self, in_tmp, data_root):
        folder = Path(run(data_root, keep_last_checkpoint=True)["run_folder"])
        for name in ("last.pth", "model.pth"):
            state = torch.load(folder / name, weights_only=True)
            assert {"config", "epoch", "cur_step", "best_valid_score", "state_dict", "other_parameter"} <= set(state)
        assert {"optimizer", "schedule", "rng"} <= set(torch.load(folder / "last.pth", weights_only=True))
        assert yaml.safe_load((folder / "config.yaml").read_text()) == state["config"]

    def test_checkpoint_that_is_none(self, tmp_path):
        torch.save({"a": 1}, tmp_path / "a.pth")
        (tmp_path / "b.pth").write_bytes(b"not a checkpoint")
        torch.save({"state_dict": {}, "code": print}, tmp_path / "c.pth")
        for name, message in (
            ("a", "no `state_dict`"),
            ("b", "cannot be read"),
            ("c", "cannot be read"),
            ("d", "There is no checkpoint"),
        ):
            with pytest.raises(CheckpointError, match=message):
                read_checkpoint(tmp_path / f"{name}.pth")

    def test_unwritable_run_folder(self, in_tmp, data_root):
        Path("occupied").write_text("a file")
        with pytest.raises(RunFolderError, match="checkpoint_dir"):
            run(data_root, checkpoint_dir="occupied")
        with pytest.raises(RunFolderError, match="log file .* cannot be written"):
            run(data_root, log_dir="occupied")

    def test_write_then_read(self, tmp_path):
        write_checkpoint(tmp_path / "x.pth", {"state_dict": {"w": torch.arange(3)}})
        assert read_checkpoint(tmp_path / "x.pth")["state_dict"]["w"].tolist() == [0, 1, 2]


def test_kill_during_a_write_leaves_no_half_checkpoint(in_tmp, forks):
    Path("write.py").write_text(
        "import sys, torch\nfrom recbole_video.runtime.checkpoint import write_checkpoint\n"
        "i = 0\nwhile True:\n"
        "    write_checkpoint(sys.argv[1], {'state_dict': {'w': torch.full((200_000,), float(i))}})\n"
        "    i += 1\n    print(i, flush=True)\n"
    )
    running = forks.start(in_tmp, "write.py", "x.pth", entry="tests.forked:run_as_main")
    try:
        while "3\n" not in Path("output.txt").read_text() and not running.ended_within(0.01):
            pass
        running.ended_within(0.05)
    finally:
        running.clean_up()
    assert running.code == -signal.SIGKILL, Path("output.txt").read_text()
    weights = read_checkpoint("x.pth")["state_dict"]["w"]
    assert (weights == weights[0]).all()
