"""Using a trained model without its data."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.data.frame_store import FrameStore
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.experiment import build_model, load_data

from .conftest import FRAME_DIM, MODELS, small_options, write_dataset


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """name, encoder -> (run folder, data root), trained once per module."""
    root = tmp_path_factory.mktemp("trained")
    write_dataset(root)
    runs = {}

    def train(model="SASRec", encoder="CVA", **options):
        key = (model, encoder, str(options))
        if key not in runs:
            chosen = small_options(model, encoder, data_path=str(root), **options)
            for name in ("checkpoint_dir", "log_dir", "tensorboard_dir"):
                chosen[name] = str(root / name)
            runs[key] = Path(run_recbole_video(model, "tiny", config_dict=chosen)["run_folder"])
        return runs[key], root

    return train


def true_scores(folder, histories):
    """Scores from the training pipeline: model and data built anew, weights loaded."""
    config = Config(config_file_list=[folder / "config.yaml"])
    data = load_data(config)
    model = build_model(config, data.catalogue)
    model.load_state_dict(torch.load(folder / "model.pth", weights_only=True)["state_dict"])
    model.eval()
    token_to_id = data.dataset.field2token_id["item_id"]
    width = config["MAX_ITEM_LIST_LENGTH"]
    item_seq = torch.zeros(len(histories), width, dtype=torch.long)
    for row, history in enumerate(histories):
        ids = [token_to_id[t] for t in history][-width:]
        item_seq[row, : len(ids)] = torch.tensor(ids)
    batch = {"item_id_list": item_seq, "item_length": (item_seq > 0).sum(1)}
    with torch.no_grad():
        return model.full_sort_predict(batch)[:, 1:], list(data.dataset.item_tokens[1:])


HISTORIES = [["i1", "i2", "i3"], ["i7"], [f"i{i}" for i in range(12)]]


@pytest.mark.parametrize("encoder", ["CVA", "ID"])
@pytest.mark.parametrize("name", MODELS)
def test_scores_equal_the_training_pipelines(trained, name, encoder):
    folder, _ = trained(name, encoder)
    want, tokens = true_scores(folder, HISTORIES)
    got = load_model(folder).score(HISTORIES)
    assert got.columns.tolist() == tokens
    np.testing.assert_allclose(got.to_numpy(), want.numpy(), rtol=1e-5, atol=1e-6)


def test_data_is_not_needed(trained, tmp_path):
    folder, _ = trained()
    (tmp_path / "model.pth").write_bytes((folder / "model.pth").read_bytes())
    assert len(load_model(tmp_path / "model.pth").recommend(HISTORIES, k=2)) == 6


def test_recommend_against_sorting(trained):
    folder, _ = trained()
    scores, tokens = true_scores(folder, HISTORIES)
    table = load_model(folder).recommend({"a": HISTORIES[0], "b": HISTORIES[1], "c": HISTORIES[2]}, k=5)
    assert table.columns.tolist() == ["user_id", "rank", "item_id", "score"]
    for user, history, row in zip("abc", HISTORIES, scores.tolist(), strict=True):
        want = sorted((t for t in tokens if t not in history), key=lambda t, row=row: -row[tokens.index(t)])[:5]
        mine = table[table["user_id"] == user]
        assert mine["item_id"].tolist() == want and mine["rank"].tolist() == [1, 2, 3, 4, 5]


def test_candidates_and_seen(trained):
    model = load_model(trained()[0])
    table = model.recommend([["i1"]], k=9, candidates=["i1", "i2", "i3"])
    assert set(table["item_id"]) == {"i2", "i3"}
    table = model.recommend([["i1"]], k=9, candidates=["i1", "i2", "i3"], exclude_seen=False)
    assert set(table["item_id"]) == {"i1", "i2", "i3"} and table["score"].is_monotonic_decreasing


def test_old_part_of_a_long_history_does_not_count_but_is_seen(trained):
    model = load_model(trained()[0])
    long, cut = HISTORIES[2], HISTORIES[2][-10:]
    np.testing.assert_allclose(model.score([long]), model.score([cut]), rtol=1e-6)
    assert not set(long) & set(model.recommend([long], k=99)["item_id"])


@pytest.mark.parametrize("name", MODELS)
def test_new_video_equals_a_known_one_with_the_same_frames(trained, name):
    folder, root = trained(name, "CVA")
    model = load_model(folder)
    store = FrameStore(root / "tiny" / "tiny.frames.npy")
    rows = [store.items.index("i5"), store.items.index("i6")]
    model.add_videos(["new5", "new6"], store.frames[rows], store.frame_counts[rows])
    scores = model.score(HISTORIES, ["i5", "new5", "i6", "new6"])
    np.testing.assert_allclose(scores["i5"], scores["new5"], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scores["i6"], scores["new6"], rtol=1e-5, atol=1e-6)
    histories = model.score([["i1", "new5", "new6"], ["i1", "i5", "i6"]], ["i2", "i3"]).to_numpy()
    np.testing.assert_allclose(histories[0], histories[1], rtol=1e-4, atol=1e-6)
    assert {"new5", "new6"} < set(model.recommend([["i1"]], k=99)["item_id"])


def test_store_adds_what_is_unknown(trained, tmp_path):
    model = load_model(trained()[0])
    frames = np.random.default_rng(0).normal(size=(3, 2, FRAME_DIM))
    write_frame_store(tmp_path / "n.frames.npy", ["i1", "x", "y"], frames, vfm="random", sampling="none")
    assert model.add_store(tmp_path / "n.frames.npy") == 2 and model.items[-2:] == ["x", "y"]
    assert model.add_store(tmp_path / "n.frames.npy") == 0


def test_fused_model_recommends_new_videos_by_content_alone(trained):
    folder, _ = trained(id_fusion="gate")
    model = load_model(folder)
    model.add_videos(["x"], np.ones((1, 3, FRAME_DIM)))
    assert np.isfinite(model.score(HISTORIES, ["x"])).all().all()


def test_export(trained, tmp_path):
    model = load_model(trained()[0])
    model.add_videos(["x"], np.ones((1, 3, FRAME_DIM)))
    vectors_path, ids_path = model.export_item_vectors(tmp_path / "out")
    tokens, vectors = ids_path.read_text().split(), np.load(vectors_path)
    assert tokens == model.items and vectors.shape == (len(tokens), 16) and vectors.dtype == np.float32


class TestBadInput:
    @pytest.fixture
    def model(self, trained):
        return load_model(trained()[0])

    @pytest.mark.parametrize(
        ("histories", "message"),
        [
            ([], "no history"),
            ([["i1"], []], "user `1`"),
            ({"a": "i1"}, "user `a` must be a list"),
            ([["i1", "zz"]], "1 items are unknown .*`zz`"),
        ],
    )
    def test_histories(self, model, histories, message):
        with pytest.raises(DataError, match=message):
            model.recommend(histories)

    def test_k(self, model):
        with pytest.raises(ConfigError, match="`k` is 0"):
            model.recommend([["i1"]], k=0)

    @pytest.mark.parametrize(
        ("items", "shape", "message"),
        [
            (["x"], (1, 3, 5), r"must be \[1, F, 8\], not \[1, 3, 5\]"),
            (["x", "y"], (1, 3, 8), "must be"),
            (["i1"], (1, 3, 8), "already known .*`i1`"),
            (["x", "x"], (2, 3, 8), "same id"),
        ],
    )
    def test_new_videos(self, model, items, shape, message):
        with pytest.raises(DataError, match=message):
            model.add_videos(items, np.ones(shape))

    def test_new_videos_with_nan(self, model):
        frames = np.ones((2, 3, FRAME_DIM))
        frames[1, 0, 0] = np.nan
        with pytest.raises(DataError, match="1 new videos hold NaN or infinity .first: `y`"):
            model.add_videos(["x", "y"], frames)
        assert "x" not in model.items

    def test_new_videos_for_a_model_of_ids(self, trained):
        with pytest.raises(ConfigError, match="item_encoder=ID"):
            load_model(trained("SASRec", "ID")[0]).add_videos(["x"], np.ones((1, 3, FRAME_DIM)))

    def test_checkpoint(self, trained, tmp_path):
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            load_model(tmp_path)
        state = torch.load(trained()[0] / "model.pth", weights_only=True)
        state["config"]["hidden_size"] = 32
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match="does not hold a model that this version can build"):
            load_model(tmp_path)
        state["config"]["colour"] = "red"
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match="`colour` is not an option"):
            load_model(tmp_path)
