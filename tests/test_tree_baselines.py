"""SVR, HyFea, MFTM and MVP: against the libraries called directly, and rules that they can and cannot learn."""

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVR as KernelSVR
from sklearn.svm import LinearSVR

from recbole_video import load_model, run_recbole_video
from recbole_video.config import Config
from recbole_video.data.labelled_loader import PopularityLoader
from recbole_video.errors import CheckpointError, ConfigError, DataError

from .test_popularity import METADATA, TEXT, D, N, fitted, inputs_of, write_popularity


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("trees")
    write_popularity(root)
    return root


def features_of(dataset, codes=True):
    """Mean frame, mean text, numbers and codes or one column per category, by hand."""
    frames, mask = dataset.frames.gather(torch.arange(1, len(dataset) + 1))
    text, _ = dataset.text.gather(torch.arange(1, len(dataset) + 1))
    n = mask.sum(dim=1).numpy()
    mean = np.stack([frames[i, : n[i]].double().mean(dim=0).numpy() for i in range(len(n))])
    m = dataset.metadata
    one_hot = np.concatenate([m.codes[:, i, None] == np.arange(k) for i, k in enumerate(m.n_categories)], axis=1)
    return np.concatenate([mean, text[:, 0].double().numpy(), m.numeric, m.codes if codes else one_hot], axis=1)


def splits_of(dataset, x):
    return {name: (x[rows], dataset.labels[rows]) for name, rows in dataset.rows.items()}


def used_again(root, model, options, exact=True):
    """A run's checkpoint predicts what the run predicted, whatever the batches."""
    options = {"data_path": str(root), "figures": False, "eval_batch_size": 3, **METADATA, **options}
    folder = run_recbole_video(model, "pop", config_dict=options)["run_folder"]
    predictor = load_model(folder)
    written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t", float_precision="round_trip")
    found = predictor.predict(inputs_of(root, predictor, written["item_id"].tolist()))
    if exact:
        assert found.tolist() == written["prediction"].tolist()
    np.testing.assert_allclose(found, written["prediction"], rtol=1e-9)
    return folder


def tampered(folder, path, change):
    state = torch.load(f"{folder}/model.pth", weights_only=True)
    change(state["state_dict"])
    torch.save(state, path)
    return path


def write_rule(root, rule, n=300, name="rule", **changed):
    """Videos whose label is ``rule(seconds)``, of which the first in time are trained on; frames and text are noise."""
    rng = np.random.default_rng(3)
    seconds = rng.uniform(1, 100, n)
    write_popularity(root, name, n=n, seconds=seconds, labels=rule(np.log1p(seconds)), **changed)


def r_squared(root, model, **options):
    task, _ = fitted(root, model, name="rule", use_frames=False, use_text=False, **options)
    found, _ = task.evaluate("test")
    return 1 - np.mean((found.values - found.labels) ** 2) / found.labels.var()


class TestVariant:
    def test_one_of_a_literal_needs_no_file(self):
        assert Config("SVR")["kernel"] == "rbf"  # no variant at all
        with pytest.raises(ConfigError, match="There is no variant `offical` of STAP"):
            Config("STAP", config_dict={"variant": "offical"})


class TestFeatureRows:
    def test_frames_are_never_in_memory_at_once(self, root, monkeypatch):
        seen, batch = [], PopularityLoader.batch
        monkeypatch.setattr(PopularityLoader, "batch", lambda self, rows: seen.append(len(rows)) or batch(self, rows))
        fitted(root, "SVR", eval_batch_size=7, **METADATA)
        assert max(seen) == 7 and sum(seen) == N - 10 + 10

    def test_components_are_scikit_learns(self, root):
        task, _ = fitted(root, "SVR", frame_components=3, **METADATA)
        x = features_of(task.data)[:, :D].astype(np.float32).astype(float)
        train = task.data.rows["train"]
        pca = PCA(3, svd_solver="full").fit(x[train])
        batch = next(task._batches("test"))
        found = task.model.content_rows(task.model.condensed(batch))
        np.testing.assert_allclose(found[:, :3], pca.transform(x[batch["row"]]), rtol=1e-9, atol=1e-12)
        assert found.shape[1] == 3 + TEXT

    def test_more_components_than_videos(self, root):
        with pytest.raises(ConfigError, match="`frame_components` is 5, and there are 4 training videos; lower it"):
            fitted(root, "SVR", frame_components=5, train_share=0.1, **METADATA)

    def test_padding_changes_no_digit(self, root):
        task, _ = fitted(root, "SVR", **METADATA)
        batch = dict(next(task._batches("test")))
        garbage = torch.where(batch["frame_mask"][..., None], batch["frames"], 9.0)
        longer = {
            **batch,
            "frames": torch.cat([garbage, torch.ones(len(garbage), 30, D)], dim=1),
            "frame_mask": torch.cat([batch["frame_mask"], torch.zeros(len(garbage), 30, dtype=torch.bool)], dim=1),
        }
        assert task.model.predict(longer).tolist() == task.model.predict(batch).tolist()

    @pytest.mark.parametrize("model", ["SVR"])
    def test_nothing_varies(self, tmp_path, model):
        write_popularity(tmp_path, seconds=1.0)
        options = {"use_frames": False, "use_text": False, "metadata_numeric": ["seconds"]}
        with pytest.raises(DataError, match=f"All 40 training videos have the same features: {model} has nothing to l"):
            fitted(tmp_path, model, **options)


class TestSVR:
    @pytest.mark.parametrize("kernel", ["rbf", "linear"])
    def test_it_is_scikit_learns(self, root, kernel):
        task, outcome = fitted(root, "SVR", kernel=kernel, **METADATA)
        parts = splits_of(task.data, features_of(task.data, codes=False).astype(np.float32))
        (x, y), (x_valid, y_valid), (x_test, _) = (parts[name] for name in ("train", "valid", "test"))
        scaler, mean, sd = StandardScaler().fit(x.astype(float)), y.mean(), y.std()

        def fit(penalty):
            linear = LinearSVR(epsilon=0.1, C=penalty, random_state=42, max_iter=5000)
            model = KernelSVR(C=penalty) if kernel == "rbf" else linear
            return model.fit(scaler.transform(x), (y - mean) / sd)

        errors = {
            c: np.mean((fit(c).predict(scaler.transform(x_valid)) * sd + mean - y_valid) ** 2) for c in (0.1, 1, 10)
        }
        best = min(errors, key=errors.get)
        assert outcome.notes["C"] == best
        wanted = fit(best).predict(scaler.transform(x_test)) * sd + mean
        found = task.evaluate("test")[0].values
        np.testing.assert_allclose(found, wanted, rtol=1e-8 if kernel == "rbf" else 1e-6)  # liblinear stops early

    def test_used_again(self, root, in_tmp):
        folder = used_again(root, "SVR", {"frame_components": 2})

        def change(state):
            state["_extra_state"]["vectors"] = state["_extra_state"]["vectors"][:, 1:]

        with pytest.raises(CheckpointError, match="`vectors` in its `support vectors` is not of the shape"):
            load_model(tampered(folder, in_tmp / "model.pth", change))

    def test_many_videos_are_refused_with_the_way_out(self, root):
        with pytest.raises(ConfigError, match="there are 40, more than max_kernel_videos=39; set kernel=linear"):
            fitted(root, "SVR", max_kernel_videos=39, **METADATA)
        fitted(root, "SVR", kernel="linear", **METADATA)

    def test_a_rule_that_a_line_cannot_express(self, tmp_path):
        write_rule(tmp_path, lambda x: np.sin(3 * x))
        scores = {
            kernel: r_squared(tmp_path, "SVR", kernel=kernel, metadata_numeric=["seconds"])
            for kernel in ("rbf", "linear")
        }
        assert scores["rbf"] > 0.8 > 0.4 > scores["linear"]


def test_no_label_of_valid_or_test_moves_what_was_fitted(tmp_path):
    """Nor do their frames and authors: what was fitted to training is the same to the last bit."""
    rng = np.random.default_rng(5)
    for name in ("a", "b"):
        write_popularity(tmp_path / name)
    table = pd.read_csv(tmp_path / "b" / "pop" / "pop.mine.popularity", sep="\t")
    test = table["split:token"] == "test"
    table.loc[test, "label:float"] = rng.normal(50, 9, test.sum())
    table.to_csv(tmp_path / "b" / "pop" / "pop.mine.popularity", sep="\t", index=False)
    one, other = (fitted(tmp_path / name, "SVR", **METADATA)[0].model.state_dict() for name in ("a", "b"))
    assert all(torch.equal(one["_extra_state"][name], value) for name, value in other["_extra_state"].items())
