"""Controls against brute force: counted, compared and ranked by plain Python from the rows of the file."""

import json
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from recbole_video import FrameStore, load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.registries import CONTROLS
from recbole_video.runtime.checkpoint import read_checkpoint, write_checkpoint

from .conftest import small_options, write_dataset

LENGTH = 4  # of histories, so that windows are cut
OPTIONS = {"show_progress": False, "use_gpu": False, "MAX_ITEM_LIST_LENGTH": LENGTH, "topk": [3, 5]}
OPTIONS |= {"valid_metric": "NDCG@5", "eval_groups": ["cold", "popularity"]}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The folder of the data sets, and the rows of `tiny`."""
    root = tmp_path_factory.mktemp("controls")
    rows = write_dataset(root, n_users=50, n_items=12, seed=3)
    store = FrameStore(root / "tiny" / "tiny.frames.npy")
    texts = np.random.default_rng(1).normal(size=(len(store.items), 1, 5))
    write_frame_store(root / "tiny" / "tiny.text.frames.npy", store.items, texts, vfm="words", sampling="none")
    return root, rows


@pytest.fixture
def fitted(data, in_tmp):
    """result, recommender = fitted(model, **options)"""

    def run(model, **options):
        given = {"data_path": str(data[0]), **OPTIONS, **options}
        result = run_recbole_video(model, "tiny", config_dict=given)
        return result, load_model(result["run_folder"])

    return run


def place(item_id):
    """Where an id stands among equal scores: SplitMix64, as a signed number, in plain Python."""
    low = 2**64 - 1
    x = (item_id + 1) * 0x9E3779B97F4A7C15 & low
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & low
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & low
    x ^= x >> 31
    return x - 2**64 if x >= 2**63 else x


class Truth:
    """The data set as a protocol has it, from the rows of the file alone."""

    def __init__(self, rows, protocol):
        by_user = {}
        for user, item, time in rows:
            by_user.setdefault(user, []).append((time, item))
        order = {user: sorted(actions, key=lambda action: action[0]) for user, actions in by_user.items()}
        kept = -(LENGTH + 3) if protocol == "microlens" else 0
        self.actions = {user: actions[kept:] for user, actions in order.items() if len(actions) >= 5}
        self.items = {user: [item for _, item in actions] for user, actions in self.actions.items()}
        self.trained = {user: actions[:-2] for user, actions in self.actions.items()}
        of_kept = {(user, *action) for user, actions in self.actions.items() for action in actions}
        in_file = [item for user, item, time in rows if (user, time, item) in of_kept]
        self.catalogue = list(dict.fromkeys(in_file))  # in the order of ids
        self.histories = {user: items[:-1] for user, items in self.items.items()}
        self.is_masked = protocol == "microlens"

    def counts(self):
        return Counter(item for actions in self.trained.values() for _, item in actions)

    def late(self, share, by):
        """Counts of the last share of training."""
        actions = [(time, item) for actions in self.trained.values() for time, item in actions]
        last, first = max(actions)[0], min(actions)[0]
        if by == "time":
            return Counter(item for time, item in actions if time >= last - share * (last - first))
        ordered = sorted(actions, key=lambda action: action[0])
        return Counter(item for _, item in ordered[-round(share * len(ordered)) :])

    def transitions(self):
        pairs = [pair for actions in self.trained.values() for pair in pairwise(actions)]
        return Counter((a, b) for (_, a), (_, b) in pairs)

    def by_score(self, scores):
        """The catalogue, best first."""
        ids = {item: number for number, item in enumerate(self.catalogue, start=1)}
        return sorted(self.catalogue, key=lambda item: (-scores[item], place(ids[item])))

    def result(self, scores):
        """Hit and NDCG of the test by sorting all items."""
        hits = {3: [], 5: []}
        for user, items in self.items.items():
            seen = set(items[:-1]) - {items[-1]} if self.is_masked else set()
            ranked = [i for i in self.by_score(scores.loc[user]) if i not in seen]
            rank = ranked.index(items[-1]) + 1
            for k, values in hits.items():
                values.append((rank <= k, (rank <= k) / np.log2(rank + 1)))
        means = {k: np.mean(values, axis=0) for k, values in hits.items()}
        return {f"{name}@{k}": means[k][i] for i, name in enumerate(("hit", "ndcg")) for k in (3, 5)}


def cosines(root, items, names=("frames",)):
    """Cosine of each item to each: of means of what there is, side by side where there are several modalities."""
    parts = []
    for name in names:
        store = FrameStore(root / "tiny" / f"tiny.{'' if name == 'frames' else name + '.'}frames.npy")
        rows = store.rows_of(list(items))
        frames, counts = store.read(rows).astype(np.float64), store.counts_of(rows)
        means = np.array([frame[:count].mean(axis=0) for frame, count in zip(frames, counts, strict=True)])
        parts.append(means / np.linalg.norm(means, axis=1, keepdims=True))
    return np.concatenate(parts, axis=1)


def frame_of(truth, score):
    """A table of scores: user, item."""
    return pd.DataFrame([[score(user, item) for item in truth.catalogue] for user in truth.items],
                        index=list(truth.items), columns=truth.catalogue, dtype=float)  # fmt: skip


PROTOCOLS = pytest.mark.parametrize("protocol", ["microlens", "recbole"])


def check(truth, fitted, expected, atol=0.0):
    """Scores of the loaded model, its recommendations, and the metrics of the run are those expected."""
    result, recommender = fitted
    scores = recommender.score(truth.histories)
    np.testing.assert_allclose(scores.loc[list(truth.items), truth.catalogue], expected, rtol=0, atol=atol)
    assert result["test_result"] == pytest.approx(truth.result(scores), abs=6e-6)
    shown = recommender.recommend(truth.histories, k=3, exclude_seen=False)
    user = next(iter(truth.items))
    assert list(shown[shown["user_id"] == user]["item_id"]) == truth.by_score(scores.loc[user])[:3]
    few = recommender.score({user: truth.histories[user]}, truth.catalogue[2:5])
    np.testing.assert_allclose(few, scores.loc[[user], truth.catalogue[2:5]], atol=1e-6)


@PROTOCOLS
def test_most_popular(data, fitted, protocol):
    truth = Truth(data[1], protocol)
    counts = truth.counts()
    run = fitted("MostPopular", protocol=protocol)
    check(truth, run, frame_of(truth, lambda user, item: counts[item]))
    assert run[0]["control"] == {"actions": counts.total(), "items": len(counts)}


def test_the_newest_of_equally_popular_items_first(data, fitted):
    truth = Truth(data[1], "microlens")
    counts = truth.counts()
    ranked = sorted(truth.catalogue, key=lambda item: (counts[item], truth.catalogue.index(item)))
    assert len(set(counts.values())) < len(counts)
    scores = fitted("MostPopular", equal_counts="newest_first")[1].score(truth.histories)
    assert [list(row.sort_values().index) for _, row in scores.iterrows()] == [ranked] * len(scores)


@pytest.mark.parametrize(("share", "by"), [(0.3, "time"), (0.3, "order"), (1.0, "time")])
def test_recent_popular(data, fitted, share, by):
    truth = Truth(data[1], "recbole")
    counts = truth.late(share, by)
    run = fitted("RecentPopular", protocol="recbole", recent_share=share, recent_by=by)
    if by == "time":  # of equal times at the edge of an order, the data's own order decides
        check(truth, run, frame_of(truth, lambda user, item: counts[item]))
        assert share < 1 or counts == truth.counts()
    assert run[0]["control"]["actions"] == counts.total()


@PROTOCOLS
def test_transition_backs_off_to_content(data, fitted, protocol):
    truth = Truth(data[1], protocol)
    pairs, place = truth.transitions(), {item: i for i, item in enumerate(truth.catalogue)}
    near = cosine_similarity(cosines(data[0], truth.catalogue))

    def score(user, item):
        last = truth.histories[user][-1]
        return pairs[last, item] + (1 + near[place[last], place[item]]) / 2 * (1 - 2**-10)

    run = fitted("Transition", protocol=protocol)
    check(truth, run, frame_of(truth, score), atol=1e-5)
    assert run[0]["control"] == {"transitions": pairs.total(), "different": len(pairs)}


def test_transition_backs_off_to_popularity(data, fitted):
    truth = Truth(data[1], "microlens")
    pairs, counts = truth.transitions(), truth.counts()
    most = max(counts.values()) + 1

    def score(user, item):
        return pairs[truth.histories[user][-1], item] + counts[item] / most * (1 - 2**-10)

    check(truth, fitted("Transition", transition_backoff="popularity"), frame_of(truth, score), atol=1e-6)


@pytest.mark.parametrize("names", [("frames",), ("text",), ("frames", "text")], ids=" ".join)
@pytest.mark.parametrize("similar_to", ["last", "mean"])
def test_content_knn(data, fitted, names, similar_to):
    truth = Truth(data[1], "microlens")
    vectors = cosines(data[0], truth.catalogue, names)
    place = {item: i for i, item in enumerate(truth.catalogue)}
    read = -1 if similar_to == "last" else -LENGTH
    wanted = {
        user: np.mean([vectors[place[item]] / np.linalg.norm(vectors[place[item]]) for item in items[read:]], axis=0)
        for user, items in truth.histories.items()
    }
    near = cosine_similarity(np.array(list(wanted.values())), vectors)
    users = list(wanted)
    run = fitted("ContentKNN", similar_to=similar_to, content=list(names))
    check(truth, run, frame_of(truth, lambda user, item: near[users.index(user), place[item]]), atol=1e-6)


def test_an_item_without_content_is_like_nothing(data, tmp_path, in_tmp):
    root = tmp_path / "data"
    write_dataset(root, n_users=50, n_items=12, seed=3)
    store = FrameStore(root / "tiny" / "tiny.frames.npy")
    rows = store.rows_of(store.items)
    frames, counts = store.read(rows), store.counts_of(rows)
    write_frame_store(
        root / "tiny" / "tiny.frames.npy", store.items[1:], frames[1:], counts[1:], vfm="random", sampling="x"
    )
    given = {**OPTIONS, "data_path": str(root)}
    for model in ("ContentKNN", "Transition"):
        with pytest.raises(DataError, match="1 item has no frames"):
            run_recbole_video(model, "tiny", config_dict=given)
        options = {**given, "missing_items": "zero"}
        recommender = load_model(run_recbole_video(model, "tiny", config_dict=options)["run_folder"])
        scores = recommender.score([[store.items[0]]])
        if model == "ContentKNN":
            assert (scores.to_numpy() == 0).all()
        else:
            popular = Truth(data[1], "microlens").counts()
            unseen = [i for i in scores if scores.loc[0, i] < 1]
            assert sorted(unseen, key=lambda i: scores.loc[0, i]) == sorted(unseen, key=lambda i: popular[i])
    # What others leave out, a control that reads no content leaves out as well.
    results = [
        run_recbole_video(model, "tiny", config_dict={**given, "missing_items": "drop"}, saved=False)
        for model in ("ContentKNN", "MostPopular")
    ]
    by_content = {"data_path": str(root), "missing_items": "drop"}
    of_models = [
        run_recbole_video("SASRec", "tiny", config_dict=small_options("SASRec", encoder, **by_content), saved=False)
        for encoder in ("ID", "Pooling")
    ]
    assert [one["data"]["items"] for one in [*results, *of_models]] == [len(store.items) - 1] * 4
    assert len({one["data"]["test_users"] for one in [*results, *of_models]}) == 1
    assert run_recbole_video("MostPopular", "tiny", config_dict=given, saved=False)["data"]["items"] == len(store.items)


def test_random(data, fitted):
    truth = Truth(data[1], "microlens")
    runs = {seed: fitted("Random", seed=seed) for seed in (1, 2)}
    scores = {seed: run[1].score(truth.histories) for seed, run in runs.items()}
    check(truth, runs[1], scores[1].loc[list(truth.items), truth.catalogue])
    assert (scores[1] == fitted("Random", seed=1)[1].score(truth.histories)).all(axis=None)
    assert not (scores[1] == scores[2]).any(axis=None) and len(np.unique(scores[1])) > 0.99 * scores[1].size
    many = runs[1][1].score([[a, b] for a in truth.catalogue for b in truth.catalogue])
    assert abs(many.to_numpy().mean() - 0.5) < 0.03 and abs(np.corrcoef(many.to_numpy()[:, :2].T)[0, 1]) < 0.3


@pytest.mark.parametrize("name", CONTROLS)
def test_a_run_leaves_what_a_trained_one_leaves(data, fitted, name):
    result, recommender = fitted(name, save_per_user=True)
    folder = Path(result["run_folder"])
    assert {"config.yaml", "metrics.json", "model.pth", "per_user.tsv", "run.json", "run.log"} == {
        path.name for path in folder.iterdir() if not path.name.startswith(".")
    }
    users = pd.read_csv(folder / "per_user.tsv", sep="\t")
    assert users["hit@3"].mean() == pytest.approx(result["test_result"]["hit@3"], abs=6e-6)
    groups = result["groups"]
    assert groups["cold"]["cold"]["users"] + groups["cold"]["warm"]["users"] == len(users)
    assert users["cold"].sum() == groups["cold"]["cold"]["users"]
    sizes = users["popularity_group"].value_counts().to_dict()
    assert sizes == {int(name): one["users"] for name, one in groups["popularity"].items() if one["users"]}
    assert len(groups["popularity"]) == 10 and result["parameters"] == {} and result["best_epoch"] == 0
    assert "item_encoder" not in json.loads((folder / "metrics.json").read_text())["config"]
    assert sorted(recommender.items) == sorted(Truth(data[1], "microlens").catalogue)
    again = run_recbole_video(name, config_file_list=[folder / "config.yaml"], saved=False)
    assert again["test_result"] == result["test_result"]
    with pytest.raises(ConfigError, match="control, which ranks the videos of its training"):
        recommender.add_videos(["new"], np.zeros((1, 1, 8)))
    with pytest.raises(ConfigError, match="has no item vectors"):
        recommender.export_item_vectors(folder)


def test_a_history_is_read_to_its_length(data, fitted):
    """Whatever the padding behind, and in batches of any size."""
    for name in CONTROLS:
        model = fitted(name)[1].model
        histories = torch.tensor([[1, 2, 3, 0], [4, 0, 0, 0], [5, 6, 0, 0]])
        lengths = torch.tensor([3, 1, 2])
        together = model.score(histories, lengths)
        for i, n in enumerate(lengths):
            torch.testing.assert_close(model.score(histories[[i], :n], n[None]), together[[i]])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"epochs": 3}, "`epochs` has no effect on controls, which are not trained; remove it"),
        ({"item_encoder": "CVA"}, "`item_encoder` is not an option"),
        ({"recent_share": 0.0}, "`recent_share` is 0.0; it must be above 0 and at most 1"),
        ({"recent_by": "place"}, "`recent_by` is `place`; it must be one of time, order"),
        ({"eval_args": {"split": {"RS": [8, 1, 1]}}}, "tested on each user's last action"),
    ],
)
def test_options_that_do_nothing_or_cannot_be_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Config("RecentPopular", config_dict=options)


def test_recbole_keeps_its_random_model():
    assert Config("recbole:Random").task == "stock" and Config("Random").task == "recommendation"


def test_a_control_of_your_own(data, fitted):
    """The one of docs/controls.md."""
    page = (Path(__file__).parents[1] / "docs" / "controls.md").read_text(encoding="utf-8")
    code, _, run = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0].rstrip().rpartition("\n")
    assert run == 'run_recbole_video("Newest")'
    try:
        exec(compile(code, "controls.md", "exec"), {"__name__": "mine"})
        result, recommender = fitted("Newest")
        assert result["control"] == {"items": len(recommender.items)}
        assert list(recommender.recommend([["i1"]], k=2, exclude_seen=False)["item_id"]) == recommender.items[:-3:-1]
    finally:
        CONTROLS._entries.pop("Newest", None)


def test_a_damaged_checkpoint_is_refused(fitted):
    path = Path(fitted("Transition")[0]["run_folder"]) / "model.pth"
    state = read_checkpoint(path, "cpu")
    stored = state["state_dict"]["_extra_state"]
    bad = {
        "starts": stored["starts"].flip(0),
        "successors": stored["successors"] + 100,
        "times_seen": -stored["times_seen"],
    }
    for name, value in bad.items():
        extra = {**stored, name: value}
        write_checkpoint(path, {**state, "state_dict": {**state["state_dict"], "_extra_state": extra}})
        with pytest.raises(CheckpointError, match="transitions that are not between its items"):
            load_model(path)
    write_checkpoint(path, {**state, "state_dict": {**state["state_dict"], "popularity": torch.tensor([np.nan])}})
    with pytest.raises(CheckpointError, match="popularity"):
        load_model(path)
