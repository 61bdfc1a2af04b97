"""Using a trained model without its data."""

import copy
import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.content.store import FrameStore
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.evaluation.ranking import best_items, rank_targets
from recbole_video.evaluation.ties import tie_places
from recbole_video.tasks.recommendation import make_loaders

from .conftest import FRAME_DIM, MODELS, prepared, small_options, write_dataset


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
    task = prepared(config)
    data, model = task.data, task.model
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


class TestScaleOfItemVectors:
    """sqrt_dim divides what is encoded by the root of d = 16; none leaves it as it is; ids are never divided."""

    @pytest.mark.parametrize(("scale", "factor"), [("sqrt_dim", 0.25), ("none", 1.0)])
    @pytest.mark.parametrize("fusion", ["none", "sum"])
    def test_known_and_new_videos(self, trained, scale, factor, fusion):
        folder, root = trained(item_scale=scale, id_fusion=fusion)
        model = load_model(folder)
        store = FrameStore(root / "tiny" / "tiny.frames.npy")
        row = store.items.index("i5")
        model.add_videos(["new5"], store.frames[[row]], store.frame_counts[[row]])
        tokens, vectors = model.item_vectors()
        frames = torch.from_numpy(np.asarray(store.frames[row, : store.frame_counts[row]], dtype=np.float32))[None]
        with torch.no_grad():
            encoded = model._tower.encoder(frames.mean(dim=1, keepdim=True), torch.ones(1, 1))[0].numpy() * factor
        np.testing.assert_allclose(vectors[tokens.index("new5")], encoded, rtol=1e-4, atol=1e-6)
        if fusion == "sum":
            encoded = encoded + model._tower.fusion.table.weight[tokens.index("i5") + 1].detach().numpy()
        np.testing.assert_allclose(vectors[tokens.index("i5")], encoded, rtol=1e-4, atol=1e-6)

    def test_a_checkpoint_from_before_the_option_is_divided(self, trained, tmp_path):
        state = torch.load(trained()[0] / "model.pth", weights_only=True)
        of_these_times = ("item_scale", "preset", "item_encoder_learning_rate", "item_encoder_weight_decay")
        state["config"] = {name: value for name, value in state["config"].items() if name not in of_these_times}
        torch.save(state, tmp_path / "old.pth")
        frames = np.ones((1, 3, FRAME_DIM))
        models = [load_model(tmp_path / "old.pth"), load_model(trained()[0])]
        for model in models:
            model.add_videos(["x"], frames)
        pd.testing.assert_frame_equal(*(model.score(HISTORIES) for model in models))


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


class TestTies:
    @pytest.fixture(scope="class")
    def four_of_each(self, tmp_path_factory):
        """A data set in which each video stands four times, under four tokens."""
        root = tmp_path_factory.mktemp("ties")
        write_dataset(root, n_users=60, n_items=60)
        frames = np.tile(np.random.default_rng(0).normal(size=(15, 3, FRAME_DIM)), (4, 1, 1))
        items = [f"i{i}" for i in range(60)]
        write_frame_store(
            root / "tiny" / "tiny.frames.npy", items, frames, vfm="random", sampling="none", overwrite=True
        )
        return root

    @pytest.mark.parametrize("name", ["SASRec", "FMLPRec", "BERT4Rec"])
    def test_targets_stand_where_the_evaluation_ranks_them(self, four_of_each, in_tmp, name):
        options = small_options(name, "CVA", data_path=str(four_of_each))
        folder = Path(run_recbole_video(name, "tiny", config_dict=options)["run_folder"])
        config = Config(config_file_list=[folder / "config.yaml"])
        task = prepared(config)
        data, model = task.data, task.model
        model.load_state_dict(torch.load(folder / "model.pth", weights_only=True)["state_dict"])
        test = make_loaders(config, data, model)["test"]
        ranking = rank_targets(model, test, torch.device("cpu"), n_top=7)
        assert (ranking.n_tied >= 2).mean() > 0.9  # the target's copies, but for those in the history
        tokens, items = data.dataset.item_tokens, data.actions.items
        histories = {
            row: tokens[items[test.rows.first[row] : test.rows.end[row]]].tolist() for row in range(len(test.rows))
        }
        loaded = load_model(folder)
        table = loaded.recommend(histories, k=60)
        targets = dict(enumerate(tokens[ranking.targets]))
        mine = table[table["item_id"] == table["user_id"].map(targets)].set_index("user_id")["rank"]
        assert mine[range(len(ranking))].tolist() == ranking.ranks.tolist()
        best = [tokens[row].tolist() for row in ranking.top_items]  # the lists that coverage and the like read
        assert table[table["rank"] <= 7].groupby("user_id")["item_id"].apply(list).tolist() == best

    def test_candidates_and_added_copies(self, four_of_each, in_tmp):
        options = small_options("SASRec", "CVA", data_path=str(four_of_each))
        model = load_model(run_recbole_video("SASRec", "tiny", config_dict=options)["run_folder"])
        store = FrameStore(four_of_each / "tiny" / "tiny.frames.npy")
        token = model.items[-1]
        number = int(token[1:]) % 15
        copies = [t for t in model.items if int(t[1:]) % 15 == number]
        model.add_videos(["new1", "new2"], store.frames[[number, number]])
        wanted = [*copies, "new1", "new2"]
        seen = next(t for t in model.items if t not in wanted)
        table = model.recommend([[seen]], candidates=wanted[::-1])
        vectors = dict(zip(*model.item_vectors(), strict=True))
        assert all(np.array_equal(vectors[t], vectors[wanted[0]]) for t in copies)
        by_score = table.sort_values("score", ascending=False, kind="stable")
        assert table["item_id"].tolist() == by_score["item_id"].tolist()
        places = tie_places(len(model.items) + 20, torch.device("cpu"))
        for _, tied in table.groupby("score"):
            own = [int(places[model._id_of[token]]) for token in tied["item_id"]]
            assert own == sorted(own)

    @pytest.mark.parametrize("k", [1, 3, 7, 20])
    def test_best_items_of_some_ids_against_sorting(self, k):
        scores = torch.from_numpy(np.random.default_rng(k).integers(0, 4, (50, 20))).float()
        scores[:, 3] = -torch.inf
        ids = torch.from_numpy(np.random.default_rng(k).permutation(99)[:20])
        values, columns = best_items(scores, k, ids)
        places = tie_places(99, torch.device("cpu"))[ids].numpy()
        want = [np.lexsort([places, -row])[:k].tolist() for row in scores.numpy()]
        assert columns.tolist() == want
        assert torch.equal(values, scores.gather(1, columns))


class TestWhatIsUnknown:
    """One item or user that the model does not know does not refuse a batch."""

    @pytest.fixture
    def model(self, trained):
        return load_model(trained()[0])

    def test_it_is_left_out_and_told(self, model):
        histories = {"a": ["zz", "i1", "yy", "i2"], "b": [], "c": ["zz"], "d": ["i3"]}
        with pytest.warns(UserWarning) as told:
            table = model.recommend(histories, k=3)
        messages = [str(warning.message) for warning in told]
        assert messages == [
            "Left out: 3 items of histories (first: `zz`), unknown to the model.",
            "Left out: 2 users (first: `b`), with a history of no item that the model knows.",
        ]
        pd.testing.assert_frame_equal(table, model.recommend({"a": ["i1", "i2"], "d": ["i3"]}, k=3))
        with pytest.warns(UserWarning):
            assert model.score(histories, ["i5"]).index.tolist() == ["a", "d"]

    def test_nobody_is_left(self, model):
        with pytest.warns(UserWarning):
            table, scores = model.recommend([["zz"], []]), model.score([["zz"], []], ["i5"])
        assert table.columns.tolist() == ["user_id", "rank", "item_id", "score"] and not len(table)
        assert scores.shape == (0, 1)

    def test_it_is_refused_on_request(self, model):
        for ask in (model.recommend, model.score):
            with pytest.raises(DataError, match="can be used: 1 item of histories .first: `zz`., unknown to"):
                ask([["i1", "zz"], ["i1"]], errors="raise")
            with pytest.raises(DataError, match="can be used: 1 user .first: `b`., with a history of no"):
                ask({"a": ["i1"], "b": []}, errors="raise")

    def test_histories_of_pandas_and_numpy(self, model):
        histories = {"a": ["i1", "i2"], "b": ["i3"]}
        want = model.recommend(histories, k=2)
        rows = pd.DataFrame({"user": ["a", "a", "b"], "item": ["i1", "i2", "i3"]})
        for given in (
            rows.groupby("user")["item"].apply(list),
            {user: np.array(items) for user, items in histories.items()},
            {user: pd.Series(items, dtype=object) for user, items in histories.items()},
            {user: tuple(items) for user, items in histories.items()},
        ):
            pd.testing.assert_frame_equal(model.recommend(given, k=2), want)


@pytest.mark.parametrize(("name", "encoder"), [*((name, "CVA") for name in MODELS), ("SASRec", "ID")])
def test_a_loaded_model_can_be_pickled_and_copied(trained, name, encoder):
    model = load_model(trained(name, encoder)[0])
    want = model.recommend(HISTORIES, k=4)
    for twin in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        pd.testing.assert_frame_equal(twin.recommend(HISTORIES, k=4), want)
        if encoder != "ID":
            twin.add_videos(["x"], np.ones((1, 3, FRAME_DIM)))
            assert "x" in twin.items and "x" not in model.items
        twin.model.load_state_dict(twin.model.state_dict())  # forgets the vectors of the twin alone
        assert twin.model.item_embedding._catalogue is None
        pd.testing.assert_frame_equal(model.recommend(HISTORIES, k=4), want)


def test_home_in_paths(trained, tmp_path, monkeypatch):
    (tmp_path / "model.pth").write_bytes((trained()[0] / "model.pth").read_bytes())
    monkeypatch.setenv("HOME", str(tmp_path))
    model = load_model("~/model.pth")
    assert model.items == load_model("~").items
    assert model.export_item_vectors("~/out")[0] == tmp_path / "out" / "item_vectors.npy"


class TestBadInput:
    @pytest.fixture
    def model(self, trained):
        return load_model(trained()[0])

    @pytest.mark.parametrize(
        ("histories", "message"),
        [
            ([], "no history"),
            ("i1", "`histories` is a str; give a dictionary"),
            (7, "`histories` is a int"),
            ({"a": "i1"}, "user `a` must be a list of items, oldest first, not a str.$"),
            (
                ["i1", "i2"],
                r'user `0` must be a list of items, oldest first, not a str; a single history is \[\["i1", ...\]\]',
            ),
            ({"a": {"i1"}}, "user `a` must be a list of items, oldest first, not a set, which has no order"),
            ([["i1"], None], "user `1` must be .* not a NoneType"),
            ([["i1"], np.array(3)], "user `1` must be .* not a ndarray"),
            ({("i1", "i2")}, "`histories` is a set"),
            (pd.DataFrame({"a": ["i1"]}), "`histories` is a DataFrame"),
            (pd.Series([["i1"], ["i2"]], index=["a", "a"]), "two rows of a user"),
        ],
        ids=str,
    )
    @pytest.mark.parametrize("errors", ["skip", "raise"])
    def test_histories(self, model, histories, message, errors):
        for ask in (model.recommend, model.score):
            with pytest.raises(DataError, match=message):
                ask(histories, errors=errors)

    @pytest.mark.parametrize("k", [0, -1, 2.0, "3", True, np.bool_(True), None, float("nan")])
    def test_k(self, model, k):
        with pytest.raises(ConfigError, match=f"`k` is {k}; it must be a whole number of at least 1"):
            model.recommend([["i1"]], k=k)

    @pytest.mark.parametrize("k", [np.int64(3), np.uint8(3), torch.tensor(3)])
    def test_whole_numbers_of_other_libraries(self, model, k):
        pd.testing.assert_frame_equal(model.recommend([["i1"]], k=k), model.recommend([["i1"]], k=3))

    def test_nothing_to_score(self, model):
        with pytest.raises(DataError, match="There is no item to score"):
            model.score([["i1"]], items=[])
        with pytest.raises(DataError, match="There is no candidate"):
            model.recommend([["i1"]], candidates=[])
        with pytest.raises(DataError, match="1 item is unknown to the model .first: `zz`"):
            model.recommend([["i1"]], candidates=["i1", "zz"])
        with pytest.raises(ConfigError, match="`errors` is `ignore`; it must be one of skip, raise"):
            model.recommend([["i1"]], errors="ignore")

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
        with pytest.raises(DataError, match="1 new video hold NaN or infinity .first: `y`"):
            model.add_videos(["x", "y"], frames)
        assert "x" not in model.items

    @pytest.mark.parametrize("value", [1e30, 70_000, -1e5])
    def test_new_videos_beyond_what_a_store_holds(self, model, value):
        frames = np.ones((2, 3, FRAME_DIM))
        frames[1, 2, 4] = value
        with pytest.raises(DataError, match="frames of 1 new video hold values beyond 65,504.*first: `y`"):
            model.add_videos(["x", "y"], frames)
        model.add_videos(["x", "y"], frames, [3, 2])  # what lies behind the last frame is not read
        assert len(model.recommend([["i1"]], k=99)) == len(model.items) - 1

    def test_new_videos_whose_vector_is_not_finite(self, model):
        """Within float16, but the encoder overflows."""
        with torch.no_grad():
            model.model.item_embedding.encoder.compress.proj.weight.mul_(1e35)
        before = model.recommend([["i1"]], k=99)
        with pytest.raises(DataError, match="no finite vector of 2 new videos .first: `x`"):
            model.add_videos(["x", "y"], np.full((2, 3, FRAME_DIM), 6e4))
        pd.testing.assert_frame_equal(model.recommend([["i1"]], k=99), before)

    @pytest.mark.parametrize(
        ("frames", "counts", "message"),
        [
            ([[[1.0] * 8], [[1.0] * 8] * 2], None, "`frames` is no array of numbers: give the same number of them"),
            (np.ones((2, 3, 8), complex), None, "`frames` is no array of numbers: it holds complex numbers"),
            (np.full((2, 3, 8), "1.0"), None, "`frames` is no array of numbers: it holds text"),
            (np.ones((2, 3, 8)), [1, 2.5], "`frame_counts` must be 2 numbers between 1 and 3"),
            (np.ones((2, 3, 8)), [1, np.nan], "`frame_counts` must be"),
            (np.ones((2, 3, 8)), [0, 3], "`frame_counts` must be"),
            (np.ones((2, 3, 8)), ["a", "b"], "`frame_counts` is no array of numbers"),
        ],
        ids=str,
    )
    def test_new_videos_that_are_no_arrays(self, model, frames, counts, message):
        with pytest.raises(DataError, match=message):
            model.add_videos(["x", "y"], frames, counts)
        with pytest.raises(DataError, match="`items` is a set, which has no order"):
            model.add_videos({"x", "y"}, np.ones((2, 3, 8)))

    @pytest.mark.parametrize("options", [{"trust": 3}, {"trust": ["x"]}, {"device": "xyz"}, {"device": 3.5}], ids=str)
    def test_options_of_loading_are_no_fault_of_the_model(self, trained, options):
        [name] = options
        with pytest.raises(ConfigError, match=f"^`{name}` ") as refused:
            load_model(trained()[0], **options)
        assert len(str(refused.value)) < 150

    @pytest.mark.parametrize("token", ["", "x\ny", "x\ty", "x\x1by", "\u2028", None, True, np.nan])
    def test_new_videos_whose_ids_no_file_can_hold(self, model, token, tmp_path):
        with pytest.raises(DataError, match="`items` holds .* .number 1, counted from 0., which"):
            model.add_videos(["x", token], np.ones((2, 3, 8)))
        model.export_item_vectors(tmp_path)
        lines = (tmp_path / "item_ids.txt").read_text().splitlines()
        assert len(lines) == len(np.load(tmp_path / "item_vectors.npy")) and lines == model.items

    @pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int32])
    def test_tensors_of_any_type(self, trained, dtype):
        frames = torch.arange(48).reshape(2, 3, 8).to(dtype)
        vectors = []
        for given in (
            frames,
            list(frames),
            frames.float().numpy(),
            frames.tolist(),
            frames.clone().float().requires_grad_(),
        ):
            model = load_model(trained()[0])
            model.add_videos(["x", "y"], given, torch.tensor([2, 3]))
            vectors.append(model.item_vectors()[1][-2:])
        for other in vectors[1:]:
            np.testing.assert_array_equal(other, vectors[0])

    def test_new_videos_for_a_model_of_ids(self, trained):
        with pytest.raises(ConfigError, match="item_encoder=ID"):
            load_model(trained("SASRec", "ID")[0]).add_videos(["x"], np.ones((1, 3, FRAME_DIM)))

    def test_checkpoint(self, trained, tmp_path):
        with pytest.raises(CheckpointError, match="There is no checkpoint"):
            load_model(tmp_path)
        (tmp_path / "first-run").mkdir()
        shutil.copy(trained()[0] / "model.pth", tmp_path / "first-run")
        with pytest.raises(CheckpointError, match="first-rum` .did you mean `first-run`"):
            load_model(tmp_path / "first-rum")
        state = torch.load(trained()[0] / "model.pth", weights_only=True)
        state["config"]["hidden_size"] = 32
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match=r"this version can build: `item_.*` is \[16, 16\], .* \[32, 16\]"):
            load_model(tmp_path)
        state["config"]["colour"] = "red"
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(CheckpointError, match="`colour` is not an option"):
            load_model(tmp_path)
