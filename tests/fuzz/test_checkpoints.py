"""Checkpoints that somebody has changed: a loaded model gives finite answers, or there is one sentence why not."""

import copy
import io
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, note
from hypothesis import strategies as st

from recbole_video import load_model, run_recbole_video
from recbole_video.errors import RecBoleVideoError
from recbole_video.serving.predictor import Inputs

from ..conftest import small_options, write_dataset
from ..test_popularity import METADATA, SMALL, TEXT, D, T, write_popularity
from .promises import cases, outcome

NUMBERS = st.one_of(
    st.integers(-3, 40),
    st.sampled_from([0, 1, 2**16 + 1, 10**9, 2**63, -(2**63) - 1, 10**400]),
    st.floats(-2, 50),
    st.sampled_from([math.nan, math.inf, -math.inf, 1e308, 1e-320, -0.0]),
)
WORDS = st.one_of(
    st.text(max_size=8),
    st.sampled_from([
        "", "subprocess:Popen", "os:system", "antigravity:X", "GRU4Rec", "SASRec", "STAP", "Constant", "LightGCN", "ID",
        "CVA", "Pooling", "recbole:SASRec", "../x", "[[[[", "{'a': 1}", "None", "True", "1e999", "none", "off", "BPR",
        "i1", "[PAD]", "item_id", "user_id", "\ud800", "\x1b[2J", "x" * 5000,
    ]),
)  # fmt: skip
PLAIN = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(WORDS | NUMBERS, inner, max_size=3)),
    max_leaves=6,
)
TENSORS = st.sampled_from([
    lambda t: t.flatten()[:0], lambda t: t.flatten()[:1], lambda t: t[..., None], lambda t: torch.zeros(3, 3),
    lambda t: t.new_zeros(1).expand(10**12), lambda t: t.flatten().flip(0).view(t.shape), lambda t: t.tolist(),
    lambda t: t.double(), lambda t: t.bfloat16(), lambda t: t.long(), lambda t: t.bool(), lambda t: t.cfloat(),
    lambda t: t * math.nan, lambda t: t + math.inf, lambda t: t * 3e38, lambda t: t * 0,
    lambda t: t.float().to_sparse(), lambda t: torch.nn.Parameter(t.float()),
])  # fmt: skip


class States(dict):
    """Short where a failing case is shown."""

    def __repr__(self):
        return f"States({', '.join(self)})"


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    """The valid checkpoints that are changed."""
    root = tmp_path_factory.mktemp("fuzzed")
    write_dataset(root)
    write_popularity(root)
    places = {name: str(root / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    found = States()
    for model, encoder in (("SASRec", "MLP"), ("GRU4Rec", "ID"), ("NextItNet", "CVA")):
        options = {**small_options(model, encoder, data_path=str(root), encode_chunk=7), **places}
        found[model] = run_recbole_video(model, "tiny", config_dict=options)["run_folder"]
    options = {**SMALL, **METADATA, **places, "data_path": str(root), "epochs": 1}
    found["STAP"] = run_recbole_video("STAP", "pop", config_dict=options)["run_folder"]
    return States((name, torch.load(f"{folder}/model.pth", weights_only=True)) for name, folder in found.items())


def places_in(value, path=()):
    """Paths to all values within dictionaries and lists; of long lists the first and the last."""
    if isinstance(value, dict):
        keys = list(value)
    else:
        keys = sorted({0, len(value) - 1}) if isinstance(value, list) and value else []
    for key in keys:
        yield (*path, key)
        yield from places_in(value[key], (*path, key))


def at(state, path):
    for key in path:
        state = state[key]
    return state


def change(draw, state):
    """One change somewhere: of a value, its type, its size, a key, or a tensor."""
    # Options and what is said of the data are many fewer values than weights, and checked one by one.
    tops = ["config", "config", "data", "data", "state_dict", "item_vectors", "epoch"]
    top = draw(st.sampled_from([name for name in tops if name in state] or list(state)))
    path = draw(st.sampled_from(list(places_in({top: state[top]}))))
    holder, key = at(state, path[:-1]), path[-1]
    value = holder[key]
    kind = draw(st.sampled_from(["replace", "replace", "remove", "add", "size"]))
    if isinstance(value, torch.Tensor) and kind != "remove":
        holder[key] = draw(TENSORS)(value)
    elif kind == "remove":
        del holder[key]
    elif kind == "size" and isinstance(value, list):
        holder[key] = draw(st.sampled_from([value[:-1], value * 2, [], [value], value[::-1]]))
    elif kind == "size" and isinstance(value, (int, float)) and not isinstance(value, bool):
        holder[key] = draw(st.sampled_from([value + 1, -value, value * 2, value * 1.0, str(value), value * 10**6]))
    elif kind == "add" and isinstance(value, dict):
        value[draw(WORDS)] = draw(PLAIN)
    else:
        holder[key] = draw(PLAIN)
    note(f"{kind} {path}: {str(value)[:60]!r}")


def use(path):
    """Load a model and ask it."""
    model = load_model(path)
    if hasattr(model, "recommend"):
        known = model.items[:2]
        return [model.recommend([known], k=3)["score"].to_numpy(), model.score([known], known).to_numpy()]
    rng = np.random.default_rng(0)
    metadata = {"seconds": [1.0, 2.0], "kind": ["a", "b"], "time": [1.6e9, 1.7e9], "fans": [3, 4]}
    inputs = Inputs(rng.normal(size=(2, T, D)), [T, 1], rng.normal(size=(2, TEXT)), metadata)
    return [model.predict(inputs), np.array([model.explain(inputs).popularity])]


@cases(25)
@given(st.data(), st.sampled_from(["SASRec", "GRU4Rec", "NextItNet", "STAP"]))
def test_finite_answers_or_one_sentence(states, tmp_path_factory, data, name):
    state = copy.deepcopy(states[name])
    for _ in range(data.draw(st.integers(1, 3))):
        if state:
            change(data.draw, state)
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    try:
        torch.save(state, path)
    except (RuntimeError, ValueError, UnicodeEncodeError):
        return  # what PyTorch itself cannot write
    found = outcome(use, path)
    assert isinstance(found, RecBoleVideoError) or all(np.isfinite(answer).all() for answer in found)
    assert "antigravity" not in sys.modules


@cases(25)
@given(st.data(), st.sampled_from(["SASRec", "STAP"]))
def test_changed_bytes(states, tmp_path_factory, data, name):
    whole = io.BytesIO()
    torch.save(states[name], whole)
    content = bytearray(whole.getvalue())
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + data.draw(st.integers(0, 8))] = data.draw(st.binary(max_size=8))
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    path = tmp_path_factory.getbasetemp() / "changed.pth"
    path.write_bytes(content)
    found = outcome(use, path)
    assert isinstance(found, RecBoleVideoError) or all(np.isfinite(answer).all() for answer in found)
