"""A tiny data set and small models, shared by the tests.

What takes long to import is imported where it is used: the process that hands the tests out to the workers reads this
file before they start, and runs no test.
"""

import gc
import os
import sys
from functools import cache, wraps
from pathlib import Path

import pytest

from .forked import Forks

N_USERS, N_ITEMS, N_FRAMES, FRAME_DIM = 40, 30, 3, 8
ENCODERS = ("CVA", "PerceiverIO", "MLP", "Pooling", "ID")
MODELS = ("SASRec", "GRU4Rec", "NextItNet", "BERT4Rec", "NARM", "FMLPRec")
SMALL_ENCODER = {"latent_dim": 16, "depth": 2, "n_heads": 2, "head_dim": 8, "query_dim": 12}


def pytest_configure(config):
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # for all sessions of a process; with tokens Ray writes to the home folder
    if runs_tests(config):
        gc.disable()  # of what is imported nothing is garbage: until collection has finished, looking for it is in vain
        import torch

        from recbole_video.runtime import recbole_compat

        torch.set_num_threads(1)
        recbole_compat.apply()
        spare_what_every_run_repeats()


def runs_tests(config):
    """Whether this process does so itself, as a worker does, and does not hand them out."""
    return hasattr(config, "workerinput") or config.getoption("dist", "no") == "no"


def spare_what_every_run_repeats():
    """Most of the time of a tiny run: its curve's pixels, what its record says alike each time, waiting for the disk.

    A kill loses nothing that has been written; what waits for the disk is there for a machine that loses its power.
    Memory is given back to the system by the first run alone: the next one would ask for the same pages at once.
    """
    from matplotlib.figure import Figure

    from recbole_video import quick_start
    from recbole_video.runtime import provenance

    Figure.savefig = _without_pixels(Figure)
    os.fsync = _leave_to_the_system
    quick_start.reset_peak_memory = cache(quick_start.reset_peak_memory)
    for name in ("_commit", "_version"):
        setattr(provenance, name, cache(getattr(provenance, name)))


def _without_pixels(kind):
    """What saves one dot in place of a figure, which has been made whole."""
    save = kind.savefig

    @wraps(save)
    def save_a_dot(figure, target, **options):
        save(kind(figsize=(1, 1)), target, **{**options, "dpi": 1})

    return save_a_dot


def _leave_to_the_system(handle):
    os.fstat(handle)  # of a handle that is none, the same error


@pytest.fixture
def pictures(monkeypatch):
    """Figures are drawn, as they are outside of the tests."""
    from matplotlib.figure import Figure

    monkeypatch.setattr(Figure, "savefig", Figure.savefig.__wrapped__)


def pytest_collection_finish():
    keep_what_is_imported()
    gc.enable()


def pytest_runtest_logfinish():
    keep_what_is_imported()


_kept = 0  # modules
_MANY = 50  # of them; looking for garbage among what they made takes as long as a small run


def keep_what_is_imported():
    """What is imported stays: each run collects garbage as it begins, and need not go through all of it.

    Much is imported by the first test that needs it, such as PyTorch's compiler by the first training step.
    """
    global _kept
    if len(sys.modules) >= _kept + _MANY:
        gc.collect()
        gc.freeze()
        _kept = len(sys.modules)


# A module is one worker's, with its fixtures and what it alone imports. What takes longest comes first, beside the
# others, so that no worker is left alone with it at the end.
_LONGEST = (
    "test_sweep_kills", "test_on_ray", "test_processes", "test_popularity", "test_video_pipeline", "test_site",
    "test_run_folder", "test_step_plan", "test_training", "test_neural_baselines", "test_tree_explanations",
    "test_packaging", "test_user_encoders", "test_retrieval_baselines", "test_cli", "test_content", "test_recommender",
    "test_docs", "test_recorded_steps", "test_dataset_tools", "test_shortvideo", "test_tree_baselines",
)  # fmt: skip


def pytest_collection_modifyitems(items):
    """Put the modules that take longest first."""
    order = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.module.__name__.rpartition(".")[2], len(order)))


def write_dataset(folder, name="tiny", n_users=N_USERS, n_items=N_ITEMS, seed=0, lengths=None):
    """Atomic files and a frame store of random sequences; returns rows of (user, item, time)."""
    import numpy as np

    from recbole_video import write_frame_store

    rng = np.random.default_rng(seed)
    if lengths is None:
        lengths = rng.integers(5, 14, n_users)
    rows = [
        (f"u{user}", f"i{item}", 10 * position + user % 7)
        for user, length in enumerate(lengths)
        for position, item in enumerate(rng.choice(n_items, length, replace=length > n_items))
    ]
    rows = [rows[i] for i in rng.permutation(len(rows))]
    folder = folder / name
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["user_id:token\titem_id:token\ttimestamp:float", *("\t".join(map(str, row)) for row in rows)]
    (folder / f"{name}.inter").write_text("\n".join(lines) + "\n")
    frames = rng.normal(size=(n_items, N_FRAMES, FRAME_DIM))
    counts = rng.integers(1, N_FRAMES + 1, n_items)
    items = [f"i{item}" for item in range(n_items)]
    write_frame_store(folder / f"{name}.frames.npy", items, frames, counts, vfm="random", sampling="none")
    return rows


@pytest.fixture(scope="session")
def forks():
    """Starts commands in forks of one process for all workers."""
    with Forks(run=os.environ.get("PYTEST_XDIST_TESTRUNUID")) as forks:
        yield forks


@pytest.fixture(scope="session")
def data_root(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    write_dataset(root)
    return root


@pytest.fixture(scope="session")
def raw(tmp_path_factory):
    """Raw videos, titles and models, for those in the group `raw videos`."""
    from .test_video_pipeline import write_raw

    root = tmp_path_factory.mktemp("raw")
    write_raw(root)
    return root


@pytest.fixture
def in_tmp(tmp_path, monkeypatch):
    """Run in an empty folder, where log/ and saved/ go."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def small_options(model="SASRec", encoder="CVA", **options):
    """Options of a model that trains in a blink."""
    from recbole_video.item_encoders import ITEM_ENCODERS

    small = {
        "data_path": None,
        "show_progress": False,
        "use_gpu": False,
        "epochs": 1,
        "train_batch_size": 16,
        "item_encoder": encoder,
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    }
    if encoder in ITEM_ENCODERS and encoder not in ("ID", "Pooling", "MLP"):
        keys = (
            SMALL_ENCODER if encoder == "PerceiverIO" else {k: v for k, v in SMALL_ENCODER.items() if k != "query_dim"}
        )
        small.update({f"encoder_{k}": v for k, v in keys.items()})
    widths = {
        "SASRec": {"hidden_size": 16, "inner_size": 32},
        "BERT4Rec": {"hidden_size": 16, "inner_size": 32},
        "FMLPRec": {"hidden_size": 16, "inner_size": 32},
        "GRU4Rec": {"embedding_size": 16, "hidden_size": 12},
        "NARM": {"embedding_size": 16, "hidden_size": 12},
        "NextItNet": {"embedding_size": 16},
    }[model]
    if encoder == "Pooling":
        widths = {
            k: v
            for k, v in widths.items()
            if k == "inner_size" or (model in ("GRU4Rec", "NARM") and k == "hidden_size")
        }
    return {**small, **widths, **options}


@pytest.fixture
def make_config(data_root):
    """config = make_config("SASRec", "CVA", option=value)"""
    from recbole_video.config import Config

    def make(model="SASRec", encoder="CVA", dataset="tiny", **options):
        chosen = small_options(model, encoder, **options)
        chosen["data_path"] = chosen["data_path"] or str(data_root)
        return Config(model, dataset, config_dict=chosen)

    return make


def prepared(config):
    """The task of a recommendation run before it is fitted, with its data and its model."""
    from recbole_video.tasks.recommendation import RecommendationTask

    task = RecommendationTask(config)
    task.read_data()
    task.make_model()
    return task


@pytest.fixture
def make_model(make_config):
    """config, data, model = make_model("SASRec", "CVA", option=value)"""

    def make(model="SASRec", encoder="CVA", **options):
        config = make_config(model, encoder, **options)
        task = prepared(config)
        return config, task.data, task.model

    return make


@pytest.fixture(scope="session")
def real_data():
    """Folder of real videos and titles, which is no part of this repository."""
    folder = Path(os.environ.get("RECBOLE_VIDEO_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not (folder / "microlens").is_dir():
        pytest.skip("no real videos: RECBOLE_VIDEO_TEST_DATA names no folder with microlens/")
    return folder
