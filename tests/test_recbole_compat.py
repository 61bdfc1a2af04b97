"""The mends: RecBole's own models run, and nothing is touched where it is sound."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse
import torch

from recbole_video import recbole_compat, run_recbole_video
from recbole_video.errors import ConfigError, MissingDependencyError

from .conftest import small_options

STOCK = {
    "show_progress": False,
    "use_gpu": False,
    "epochs": 1,
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
}


@pytest.mark.parametrize("model", ["recbole:SASRec", "STAMP", "Pop", "LightGCN", "BPR", "FPMC"])
def test_recboles_own_models_run_from_the_same_function(in_tmp, data_root, model):
    """LightGCN needs dok_matrix._update; every model needs NumPy's old names and a loadable checkpoint."""
    result = run_recbole_video(model, "tiny", config_dict={**STOCK, "data_path": str(data_root)})
    assert {"best_valid_score", "valid_score_bigger", "best_valid_result", "test_result"} <= set(result)
    [checkpoint] = (in_tmp / "saved").rglob("*.pth")
    assert torch.load(checkpoint, weights_only=True)["config"]["model"] == model.split(":")[-1]


def test_unknown_option_of_a_stock_model(data_root):
    with pytest.raises(ConfigError, match="`item_encodr` is not an option"):
        run_recbole_video("Pop", "tiny", config_dict={**STOCK, "item_encodr": "CVA"})


def test_more_best_items_than_there_are(in_tmp, data_root):
    with pytest.raises(ConfigError, match=r"`topk` asks for the best 1000 items, and there are \d+; lower topk"):
        run_recbole_video("Pop", "tiny", config_dict={**STOCK, "data_path": str(data_root), "topk": [1000]})


def test_existing_numpy_names_are_left_alone(monkeypatch):
    before = {name: np.__dict__[name] for name in recbole_compat._NUMPY_NAMES if name in np.__dict__}
    marker = object()
    monkeypatch.setattr(np, "float_", marker, raising=False)
    recbole_compat.apply()
    assert np.float_ is marker
    assert all(np.__dict__[name] is value for name, value in before.items() if name != "float_")


def test_existing_dok_update_is_left_alone(monkeypatch):
    marker = object()
    monkeypatch.setattr(scipy.sparse.dok_matrix, "_update", marker, raising=False)
    recbole_compat.apply()
    assert scipy.sparse.dok_matrix._update is marker


def test_dok_update_fills_the_matrix(monkeypatch):
    monkeypatch.delattr(scipy.sparse.dok_matrix, "_update", raising=False)
    recbole_compat.apply()
    matrix = scipy.sparse.dok_matrix((2, 3))
    matrix._update({(0, 1): 2.0, (1, 2): 3.0})
    assert matrix.toarray().tolist() == [[0, 2, 0], [0, 0, 3]]


@pytest.mark.parametrize("before", [False, True])
def test_importing_recbole_leaves_anomaly_detection_as_it_was(before):
    """RecBole's SINE switches it on for the whole process when it is imported."""
    script = f"""
import torch
torch.autograd.set_detect_anomaly({before})
from recbole_video import recbole_compat
recbole_compat.apply()
import recbole.model.sequential_recommender.sine
assert torch.is_anomaly_enabled() is {before}
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


def test_pandas_3_is_refused(monkeypatch):
    monkeypatch.setattr("pandas.__version__", "3.0.1")
    with pytest.raises(MissingDependencyError, match="under pandas 3.0.1; install `pandas<3`"):
        recbole_compat.apply()


def test_video_models_and_stock_models_share_a_process(in_tmp, data_root):
    options = small_options("SASRec", "ID", data_path=str(data_root))
    first = run_recbole_video("SASRec", "tiny", config_dict=options, saved=False)
    run_recbole_video("Pop", "tiny", config_dict={**STOCK, "data_path": str(data_root)}, saved=False)
    again = run_recbole_video("SASRec", "tiny", config_dict=options, saved=False)
    assert first["test_result"] == again["test_result"]
