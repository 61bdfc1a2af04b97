"""Several processes that train one model: what they compute is what one computes."""

import json
import multiprocessing
import os
import pickle
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_video import run_recbole_video
from recbole_video.data.sequence_loaders import SequenceLoader
from recbole_video.data.step_plan import GROUP, QUERY_ROW, QUERY_TARGET, SEQUENCE
from recbole_video.data.step_shard import shard
from recbole_video.errors import ConfigError, DataError, TrainingError
from recbole_video.runtime.launch import launch
from recbole_video.runtime.processes import Processes, processes
from recbole_video.tasks.task import Hooks

from . import process_work
from .conftest import keep_what_is_imported, small_options, spare_what_every_run_repeats, write_dataset
from .test_popularity import METADATA, SMALL, write_popularity

# Sampled numbers of each process differ: no dropout.
STILL = {"hidden_dropout_prob": 0.0, "attn_dropout_prob": 0.0, "epochs": 2, "train_batch_size": 30}
NEGATIVES = {"loss_type": "BPR", "train_neg_sample_args": {"distribution": "uniform", "sample_num": 2}}
CASES = {
    "groups": {"candidate_group": 15},
    "more groups than processes have": {"candidate_group": 10, "item_encoder": "ID"},
    "one group": {"clip_grad_norm": {"max_norm": 0.5}},
    "full softmax": {"loss_type": "CE", "item_encoder": "MLP"},
    "BPR": NEGATIVES,
    "from disk": {"frames_on_device": False, "item_encoder": "PerceiverIO"},
    "a last step of one row": {"train_batch_size": 39, "id_fusion": "gate", "id_dropout": 0.0},
    "STAP": {"model": "STAP", "memory_update": "both"},
}


def options_of(name, root):
    case = dict(CASES[name])
    model = case.pop("model", "SASRec")
    if model == "STAP":
        quiet = {"dropout": 0.0, "epochs": 3, "train_batch_size": 24, "show_progress": False}
        return model, "pop", {**SMALL, **METADATA, **case, **quiet, "data_path": str(root)}
    return (
        model,
        "tiny",
        {**small_options("SASRec", case.pop("item_encoder", "CVA"), data_path=str(root)), **STILL, **case},
    )


def train(name, root, folder, **more):
    """Result, weights and curve of a run, in one process or as one of several."""
    model, dataset, options = options_of(name, root)
    places = {place: str(folder / place) for place in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    result = run_recbole_video(model, dataset, config_dict={**options, **places}, **more)
    keep_what_is_imported()
    if not result or not processes().is_first:
        return None
    made = Path(result["run_folder"])
    weights = torch.load(made / "model.pth", weights_only=True)["state_dict"]
    return result, weights, json.loads((made / "metrics.json").read_text())["history"]


class Stopped(Exception):
    pass


def stop(epoch, score):
    raise Stopped


def begin(root, folder):
    """A run that ends after its first epoch, in one process."""
    model, dataset, options = options_of("one group", root)
    with pytest.raises(Stopped):
        run_recbole_video(model, dataset, config_dict=options, run_folder=folder, hooks=Hooks(on_epoch=stop))


def work_of_each(root, folder, begun):
    """Called in each of two processes; what the first one found."""
    torch.set_num_threads(1)
    spare_what_every_run_repeats()
    keep_what_is_imported()
    group = processes()
    assert group == Processes(int(os.environ["RANK"]), 2)
    found = {"sums": sums(group), "gradient": gradients(group)}
    found.update({name: train(name, root, folder) for name in CASES})
    found["resumed"] = train("one group", root, folder, run_folder=begun)
    found["again"] = train("one group", root, folder, run_folder=begun)
    return found


def sums(group):
    total = group.sum_of(torch.tensor([1, group.rank]))
    told = group.from_first(lambda: f"process {group.rank}")
    return total.tolist(), told, group.split(5)


def gradients(group):
    """Of a loss over rows of both processes, each of which makes some of them; a weight that one has no gradient of."""
    shared, own, unused = (torch.nn.Parameter(torch.tensor([float(n)])) for n in (2, 3, 5))
    rows = (torch.arange(3 - group.rank)[:, None] + 1.0) * shared
    if group.rank == 1:
        rows = rows * own
    gathered = group.gathered(rows, [3, 2])
    (gathered.pow(2).sum() * (0.25 if group.rank else 0.75)).backward()
    group.sum_gradients([shared, own, unused])
    return gathered.detach()[:, 0].tolist(), [shared.grad.item(), own.grad.item(), unused.grad]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("processes")
    write_dataset(root)
    write_popularity(root)
    return root


def launch_forked(forks, folder, function):
    """As ``launch`` in two processes, which are forks: their imports would take longer than what they are to do."""
    (folder / "function").write_bytes(pickle.dumps(function))
    running = forks.start(folder, entry=f"{__name__}:launch_what_is_asked_for")
    try:
        assert running.ended_within(600) and running.code == 0, (folder / "output.txt").read_text()
    finally:
        running.clean_up()
    found, error = pickle.loads((folder / "found").read_bytes())
    if error is not None:
        raise error
    return found


def launch_what_is_asked_for():
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method: fork
    found = error = None
    try:
        found = launch(pickle.loads(Path("function").read_bytes()), 2)
    except TrainingError as one:
        error = one
    assert not multiprocessing.active_children()
    Path("found").write_bytes(pickle.dumps((found, error)))


@pytest.fixture(scope="module")
def two(data, forks):
    """What two processes found, in all cases, started once."""
    begin(data, data / "begun")
    return launch_forked(forks, data, partial(work_of_each, data, data / "two", data / "begun"))


def test_what_they_tell_each_other(two):
    assert two["sums"] == ([2, 1], "process 0", [3, 2])
    gathered, (shared, own, unused) = two["gradient"]
    rows = [1 * 2, 2 * 2, 3 * 2, 1 * 2 * 3, 2 * 2 * 3]
    assert gathered == rows and unused is None
    assert shared == pytest.approx(sum(2 * row * row / 2 for row in rows))
    assert own == pytest.approx(sum(2 * row * row / 3 for row in rows[3:]))


@pytest.mark.parametrize("name", CASES)
def test_two_processes_train_what_one_trains(two, data, name):
    result, weights, history = train(name, data, data / "one")
    other, other_weights, other_history = two[name]
    assert other["test_result"] == result["test_result"] and other["best_epoch"] == result["best_epoch"]
    assert other["groups"] == result["groups"] and other["parameters"] == result["parameters"]
    assert [e["valid_score"] for e in other_history] == [e["valid_score"] for e in history]
    for mine, theirs in zip(history, other_history, strict=True):
        assert theirs["train_loss"] == pytest.approx(mine["train_loss"], rel=1e-4)
    assert list(weights) == list(other_weights)
    for key, weight in weights.items():
        torch.testing.assert_close(
            other_weights[key], weight, rtol=2e-3, atol=2e-4, msg=lambda text, key=key: f"{key}: {text}"
        )


def test_a_run_goes_on_in_another_number_of_processes(two, data):
    result, weights, history = train("one group", data, data / "unbroken")
    other, other_weights, other_history = two["resumed"]
    assert other["test_result"] == result["test_result"] and len(history) == len(other_history) == 2
    for key, weight in weights.items():
        torch.testing.assert_close(other_weights[key], weight, rtol=2e-3, atol=2e-4)
    assert two["again"][0]["test_result"] == result["test_result"]  # it has finished, and is shown


def test_a_process_that_is_killed_ends_the_others(forks, tmp_path):
    with pytest.raises(TrainingError, match="Process 2 of 2 ended by SIGKILL, .* --resume goes on"):
        launch_forked(forks, tmp_path, process_work.die)


def test_a_fault_of_one_of_them_ends_the_others():
    """Here each process starts as those of a run do, and imports what it needs."""
    with pytest.raises(DataError, match="line 3: something is wrong"):
        launch(process_work.fail, 2)
    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("SASRec", {"nproc": 0}, "`nproc` .* at least 1"),
        ("Pop", {"nproc": "two"}, "`nproc` .* at least 1"),
        ("SASRec", {"nproc": None, "world_size": 2}, "use nproc"),
        ("SASRec", {"nproc": 64, "train_batch_size": 30}, "`nproc` is 64, .* 30"),
        ("SASRec", {"nproc": 4, "train_batch_size": 30, "candidate_group": 15}, "`nproc` is 4, .* 2 groups"),
        ("SASRec", {"world_size": 2}, "use nproc"),
        ("STAP", {"nproc": 99, "train_batch_size": 16, "dataset": "pop"}, "`nproc` is 99, .* 16"),
    ],
)
def test_numbers_of_processes_that_cannot_be(data, model, options, message):
    with pytest.raises(ConfigError, match=message):
        run_recbole_video(model, "tiny", config_dict={"data_path": str(data), **options})


def test_runs_that_have_one_process(data):
    with pytest.raises(ConfigError, match="with hooks, as a sweep's trial is"):
        run_recbole_video("SASRec", "tiny", config_dict={"data_path": str(data), "nproc": 2}, hooks=Hooks())


class TestShards:
    """Rows of a step by process, without processes."""

    @pytest.mark.parametrize("size", [1, 2, 3, 7, 11])
    @pytest.mark.parametrize("by_group", [True, False])
    def test_every_query_is_in_one(self, make_config, size, by_group):
        from recbole_video.recommendation.data import load_data

        config = make_config(candidate_group=8, train_batch_size=40)
        loader = SequenceLoader(config, load_data(config).actions)
        fields = loader.fields(np.arange(40), 0)
        fields[GROUP] = np.random.default_rng(0).permutation(40) // 8
        whole = sorted(zip(map(tuple, fields[SEQUENCE][fields[QUERY_ROW]]), fields[QUERY_TARGET], strict=True))
        seen, shares = [], []
        for rank in range(size):
            own, share = shard(fields, rank, size, by_group)
            shares.append(share)
            assert len(own[GROUP]) and own[QUERY_ROW].max() < len(own[SEQUENCE])
            assert set(own[GROUP]) == set(range(own[GROUP].max() + 1))
            if share:
                seen += zip(map(tuple, own[SEQUENCE][own[QUERY_ROW]]), own[QUERY_TARGET], strict=True)
        assert sorted(seen) == whole and sum(shares) == pytest.approx(1)
