"""Boosted trees as plain arrays, against scikit-learn, which grew them; and damaged ones out of a checkpoint."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingRegressor
from threadpoolctl import threadpool_info, threadpool_limits

from recbole_video import load_model, run_recbole_video
from recbole_video.errors import CheckpointError, MissingDependencyError
from recbole_video.popularity import gbdt
from recbole_video.popularity.trees import Trees

from .test_popularity import METADATA, write_popularity


def grown(categorical, n=800, n_trees=20):
    """Features, and a model grown on half of them; categories are whole numbers, of which training had six."""
    rng, half = np.random.default_rng(0), n // 2
    features = rng.normal(size=(n, len(categorical)))
    features[:, np.array(categorical)] = rng.integers(0, 8, (n, sum(categorical)))
    features[:half, np.array(categorical)] %= 6
    labels = np.sin(features).sum(axis=1) + 3 * (features[:, -1] % 3) + rng.normal(size=n)
    model = HistGradientBoostingRegressor(
        max_iter=n_trees, max_leaf_nodes=15, categorical_features=categorical, early_stopping=False, random_state=0
    )
    return features, model.fit(features[:half], labels[:half])


@pytest.mark.parametrize(
    "categorical",
    [[False] * 3, [False, True, False, True], [True, False, False], [False, True], [True, True]],
    ids=str,
)
def test_equal_to_scikit_learn_to_the_last_digit(categorical):
    """Wherever the categorical columns stand: scikit-learn moves them to the front."""
    features, model = grown(categorical)
    assert any(tree.nodes["is_categorical"].any() for [tree] in model._predictors) == any(categorical)
    trees = Trees.from_model(model)
    assert trees.predict(features).tolist() == model.predict(features).tolist()
    again = Trees.from_state({name: value.clone() for name, value in trees.state().items()})
    assert again.predict(features).tolist() == model.predict(features).tolist()


def test_a_category_that_training_never_had_goes_where_scikit_learn_sends_it():
    features, model = grown([False, True])
    features = np.repeat(features[:1], 5, axis=0)
    features[:, 1] = [-1, 7.5, 1000, np.nan, 39]
    assert Trees.from_model(model).predict(features).tolist() == model.predict(features).tolist()


@pytest.mark.parametrize("few, threads", [(1000, {1}), (10, {3})])
def test_few_videos_are_fitted_by_one_thread(monkeypatch, few, threads):
    """OpenMP's threads spin while they wait for each other: on a busy machine, minutes for a fit of seconds."""
    seen, fit = set(), HistGradientBoostingRegressor.fit

    def watched(self, *data):
        seen.update(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        return fit(self, *data)

    monkeypatch.setattr(HistGradientBoostingRegressor, "fit", watched)
    monkeypatch.setattr("recbole_video.popularity.tree_libraries.FEW_ROWS", few)
    data = np.arange(40.0)[:, None], np.arange(40.0)
    with threadpool_limits(3, user_api="openmp"):
        gbdt.grown(data, data, {"max_iter": 2})
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp"} == {3}
    assert seen == threads


def test_private_fields_that_are_read():
    """A scikit-learn without them is refused when the trees are grown, in one sentence."""
    _, model = grown([False, True])
    [tree] = model._predictors[0]
    names = {"value", "feature_idx", "num_threshold", "missing_go_to_left", "left", "right", "is_leaf"}
    assert names | {"is_categorical", "bitset_idx"} <= set(tree.nodes.dtype.names)
    assert tree.raw_left_cat_bitsets.shape[1] == 8 and tree.raw_left_cat_bitsets.dtype == np.uint32
    assert np.size(model._baseline_prediction) == 1 and model.is_categorical_.tolist() == [False, True]
    assert len(model._preprocessor.named_transformers_["encoder"].categories_) == 1
    del model._predictors
    with pytest.raises(MissingDependencyError, match="keeps its boosted trees in another way"):
        Trees.from_model(model)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    write_popularity(root)
    found = {}
    for model in ("MetadataGBDT", "MetadataRidge"):
        options = {"data_path": str(root), "figures": False, "checkpoint_dir": str(root / "saved"), **METADATA}
        options |= {"log_dir": str(root / "log"), "tensorboard_dir": str(root / "tensorboard")}
        found[model] = run_recbole_video(model, "pop", config_dict=options)["run_folder"]
    return found


def array(name, change):
    """A change to an array of the stored trees."""

    def apply(state):
        trees = state["state_dict"]["_extra_state"]
        trees[name] = change(trees[name].clone())

    return apply


def put(values, place, value):
    values[place] = value
    return values


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (array("roots", lambda a: put(a, 0, 10**6)), "`roots` in its `trees` is not an array that fits the others"),
        (array("roots", lambda a: a.double()), "`roots` in its `trees`"),
        (array("column", lambda a: put(a, 0, 4)), "`column` in its `trees`"),
        (array("left", lambda a: put(a, 0, 0)), "`left` in its `trees`"),  # would never end
        (array("right", lambda a: put(a, 0, 10**9)), "`right` in its `trees`"),
        (array("left", lambda a: a[:-1]), "`left` in its `trees`"),
        (array("value", lambda a: put(a, 0, float("nan"))), "`value` in its `trees`"),
        (array("value", lambda a: a[None]), "`value` in its `trees`|`column` in its `trees`"),
        (array("threshold", lambda a: put(a, 0, float("nan"))), "`threshold` in its `trees`"),
        (array("start", lambda a: a.expand(2)), "`trees.start` is no plain tensor|`start` in its `trees`"),
        (array("start", lambda a: a.float()), "`start` in its `trees`"),
        (array("missing_left", lambda a: a.long()), "`missing_left` in its `trees`"),
        (array("subset", lambda a: put(a, 0, 10**6)), "`subset` in its `trees`"),
        (array("subsets", lambda a: a.reshape(-1)), "`subsets` in its `trees`"),
        (array("codes", lambda a: a[:1]), "`codes` in its `trees`"),
        (array("code_columns", lambda a: put(a, 0, 99)), "`code_columns` in its `trees`"),
        (array("codes", lambda a: [1, 2]), "`trees.codes` is no plain tensor"),
        (lambda state: state["state_dict"].update(_extra_state=3), "its `trees` is not a dictionary"),
        (lambda state: state["state_dict"].pop("_extra_state"), "its `trees` is not a dictionary"),
        (lambda state: state["state_dict"]["_extra_state"].pop("left"), "`trees.left` is no plain tensor"),
        (lambda state: state["state_dict"].update(more=torch.ones(1)), "its options make no `more`"),
        (lambda state: state["data"].update(inputs=3), "its `data.inputs` is not a dictionary"),
    ],
)
def test_damaged_trees(run, tmp_path, change, message):
    state = torch.load(f"{run['MetadataGBDT']}/model.pth", weights_only=True)
    change(state)
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "model.pth")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("weights", torch.zeros(3, dtype=torch.float64), r"`weights` is \[3\], and its options make \[7\]"),
        ("weights", torch.full((7,), float("inf"), dtype=torch.float64), "of no use: `weights` holds NaN or infinity"),
        ("intercept", torch.tensor(float("nan"), dtype=torch.float64), "of no use: `intercept` holds NaN"),
        ("intercept", torch.tensor(3), "`intercept` holds numbers of another kind"),
        ("alpha", None, "it lacks `alpha`"),
    ],
)
def test_damaged_ridge(run, tmp_path, name, value, message):
    state = torch.load(f"{run['MetadataRidge']}/model.pth", weights_only=True)
    if value is None:
        del state["state_dict"][name]
    else:
        state["state_dict"][name] = value
    torch.save(state, tmp_path / "model.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "model.pth")
