"""Ranked lists of other programs: judged as the model that made them is, and by brute force; faults of a file."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recbole_video import load_model, run_recbole_video
from recbole_video.cli import main
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.evaluation.lists import grouped_by_user, rank_listed
from recbole_video.evaluation.ties import tie_places
from recbole_video.recommendation.data import load_data
from recbole_video.recommendation.lists import read_lists

from .conftest import small_options, write_dataset

USERS, ITEMS = ["[PAD]", "a", "b", "c"], ["[PAD]", "x", "y", "z", "w"]


def lists_of(options, **more):
    """A run of the lists, of the same data as another run."""
    kept = ("data_path", "protocol", "mask_history", "use_gpu", "show_progress", "temporal_target", "load_col")
    chosen = {name: value for name, value in options.items() if name in kept}
    return run_recbole_video("Lists", "tiny", config_dict={**chosen, **more})


@pytest.fixture(scope="module", params=["microlens", "recbole", "temporal"])
def run(request, tmp_path_factory):
    """A trained model's options, result, and its lists of all items for the test users."""
    root = tmp_path_factory.mktemp("lists")
    write_dataset(root)
    options = small_options("SASRec", "ID", data_path=str(root), protocol=request.param, save_per_user=True)
    options |= {name: str(root / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    options["eval_groups"] = ["popularity", "cold"]
    result = run_recbole_video("SASRec", "tiny", config_dict=options)
    data = load_data(Config(config_file_list=[Path(result["run_folder"]) / "config.yaml"]))
    rows, items = data.actions.split.test, data.dataset.item_tokens
    histories = {
        data.dataset.user_tokens[data.actions.users[first]]: items[data.actions.items[first:end]].tolist()
        for first, end in zip(rows.first, rows.end, strict=True)
    }
    seen = request.param == "microlens"
    table = load_model(result["run_folder"]).recommend(histories, k=99, exclude_seen=seen)
    return root, options, result, table


class TestOfAModel:
    """The lists that a model gives have the figures of its run: serving, evaluation and lists rank alike."""

    @pytest.mark.parametrize("kind", ["csv", "tsv", "parquet", "jsonl"])
    @pytest.mark.parametrize("order", ["rank", "score"])
    def test_same_figures_groups_and_files(self, run, in_tmp, kind, order):
        _, options, result, table = run
        path = in_tmp / f"lists.{kind}"
        write(table.sample(frac=1, random_state=1).drop(columns="score" if order == "rank" else "rank"), path)
        more = {"eval_groups": options["eval_groups"], "save_per_user": True}
        mine = lists_of(options, score_lists=str(path), **more)
        for name in ("test_result", "groups", "ties"):
            assert mine[name] == result[name]
        same = {name: value for name, value in result["data"].items() if name in mine["data"]}
        assert {name: value for name, value in mine["data"].items() if name != "lists"} == same
        theirs, ours = ((Path(one["run_folder"]) / "per_user.tsv").read_text().splitlines() for one in (result, mine))
        assert ours == theirs
        assert mine["lists"]["exact_at"] == [10, 20] and mine["lists"]["ordered_by"] == order

    def test_lists_that_end_early(self, run, in_tmp):
        _, options, result, table = run
        write(table[table["rank"] <= 10], in_tmp / "lists.csv")
        mine = lists_of(options, score_lists="lists.csv", topk=[1, 10], valid_metric="Hit@10")
        assert mine["test_result"]["hit@10"] == result["test_result"]["hit@10"]
        n_targets = result["data"]["leaks"]["targets"]
        assert mine["lists"]["targets_not_listed"] == round((1 - mine["test_result"]["hit@10"]) * n_targets)
        assert mine["lists"]["exact_at"] == [1, 10] and not any(mine["lists"]["short_lists"].values())
        with pytest.raises(ConfigError, match="`topk` asks for the best 20 items, and the longest list of .* has 10"):
            lists_of(options, score_lists="lists.csv")

    @pytest.mark.parametrize(
        ("metric", "why"), [("GAUC", "the rank of every target among all"), ("ItemCoverage", "10 items of every user")]
    )
    def test_metrics_that_early_ends_do_not_give(self, run, in_tmp, metric, why):
        _, options, _, table = run
        write(table[table["rank"] <= 10 - (table["user_id"] == table["user_id"].iloc[0])], in_tmp / "lists.csv")
        chosen = {"metrics": ["Hit", metric], "topk": [10], "valid_metric": "Hit@10"}
        with pytest.raises(ConfigError, match=f"`metrics` names {metric}, which needs {why}.* leaves some out; remove"):
            lists_of(options, score_lists="lists.csv", **chosen)

    def test_metrics_of_whole_lists(self, run, in_tmp):
        _, options, _, table = run
        write(table, in_tmp / "lists.csv")
        metrics = {"metrics": ["Hit", "GAUC", "ItemCoverage", "GiniIndex"], "topk": [5], "valid_metric": "Hit@5"}
        model = run_recbole_video("SASRec", "tiny", config_dict={**options, **metrics}, saved=False)
        assert lists_of(options, score_lists="lists.csv", **metrics)["test_result"] == model["test_result"]


def write(table, path):
    if path.suffix == ".parquet":
        table.to_parquet(path)
    elif path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, sep="," if path.suffix == ".csv" else "\t", index=False)


class _Loader(SimpleNamespace):
    """Histories of users 1 to 3 over items 1 to 6, as a loader of the data has them."""

    n_items = 7

    @property
    def rows(self):
        return self.users

    def batch(self, index):
        pairs = [(row, item) for row, user in enumerate(index) for item in self.seen[user]]
        row, item = (torch.tensor(part, dtype=torch.long) for part in (zip(*pairs, strict=True) if pairs else ([], [])))
        return SimpleNamespace(seen=(row, item) if self.masks else None)


@given(st.data(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_ranks_against_brute_force(data, masks):
    """Lists of any length with equal scores, some empty; histories that are ranked or not."""
    some = st.lists(st.integers(1, 6), max_size=6, unique=True)
    lists = [data.draw(some) for _ in range(3)]
    scores = [[data.draw(st.integers(0, 2)) for _ in items] for items in lists]
    seen = [data.draw(some) for _ in range(3)]
    targets = np.array([data.draw(st.integers(1, 6)) for _ in range(3)])
    entries = [(u + 1, i, s) for u in range(3) for i, s in zip(lists[u], scores[u], strict=True)]
    if not entries:
        return
    users, items, values = map(np.array, zip(*entries, strict=True))
    loader = _Loader(users=np.array([1, 2, 3]), targets=targets, seen=seen, masks=masks)
    found = rank_listed(grouped_by_user(users, items, values.astype(float), 4), loader, n_top=6)
    places = tie_places(7, torch.device("cpu")).tolist()
    for u in range(3):
        hidden = set(seen[u]) - {targets[u]} if masks else set()
        kept = [(-s, places[i], i) for i, s in zip(lists[u], scores[u], strict=True) if i not in hidden]
        order = [i for *_, i in sorted(kept)]
        assert found.ranking.top_items[u].tolist() == order + [0] * (6 - len(order))
        assert found.usable[u] == len(order) and found.ranking.n_ranked[u] == 6 - len(hidden)
        if targets[u] in order:
            own = scores[u][lists[u].index(targets[u])]
            assert found.ranking.ranks[u] == 1 + order.index(targets[u])
            assert found.ranking.n_above[u] == sum(-s > own for s, *_ in kept)
            assert found.ranking.n_tied[u] == sum(-s == own for s, *_ in kept) - 1
        else:
            assert found.ranking.ranks[u] == 7 - len(hidden) and found.ranking.n_tied[u] == 0
        assert found.is_short(4)[u] == (targets[u] not in order and len(order) < min(4, 6 - len(hidden)))


class TestFile:
    def read(self, tmp_path, text, name="lists.csv"):
        (tmp_path / name).write_text(text)
        return read_lists(tmp_path / name, USERS, ITEMS)

    def test_what_is_unknown_is_left_out_and_counted(self, tmp_path):
        text = "user,item,score\na,x,3\na,new,2\na,y,1\nnobody,x,1\nnobody,new,2\nc,other,1\n"
        read = self.read(tmp_path, text)
        assert read.lists.start.tolist() == [0, 0, 2, 2, 2] and read.lists.items.tolist() == [1, 2]
        facts = {name: read.facts[name] for name in ("rows", "unknown_users", "unknown_items", "rows_of_unknown")}
        assert facts == {"rows": 6, "unknown_users": 1, "unknown_items": 2, "rows_of_unknown": 4}

    def test_names_of_columns(self, tmp_path):
        for head in ("user_id,item_id,rank", "user_id:token,item_id:token,rank:float", "score,user,rank,item_id"):
            row = "9,b,1,z" if head.startswith("score") else "b,z,1"
            read = self.read(tmp_path, f"{head}\n{row}\n")
            assert read.lists.items.tolist() == [3] and read.facts["ordered_by"] == "rank"

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("user,item,place\na,x,1\n", r"has no column `rank` \(or `score`\); it has `user`, `item`, `place`"),
            ("id,item,rank\na,x,1\n", r"has no column `user_id` \(or `user`\)"),
            ("user,item,rank\n", "has no row behind its header"),
            ("user,item,rank\nnobody,x,1\n", "names no user and item of the data together; check that ids"),
            (
                "user,item,score\na,x,1\na,y,nan\n",
                "line 3, column `score`: `nan` is not a finite number; mend the lists",
            ),
            ("user,item,score\na,x,inf\n", "line 2, column `score`: `inf` is not a finite number"),
            ("user,item,score\na,x,\n", "line 2, column `score`: `` is not a finite number"),
            ("user,item,rank\na,x,0\n", "line 2, column `rank`: `0` is no rank, a whole number from 1"),
            ("user,item,rank\na,x,1.5\n", "`1.5` is no rank"),
            ("user,item,rank\na,x,1\na,y,2\na,z,2\n", "line 4: user `a` has the rank 2 twice; give each item its own"),
            (
                "user,item,rank\na,x,1\na,y,3\n",
                "line 3: the ranks of user `a` are not 1, 2, 3, ...: 2 is missing before 3",
            ),
            ("user,item,rank\na,x,1\na,x,2\n", "line 3: item `x` stands twice in the list of user `a`; keep one"),
            ("user,item,score\na,,1\n", "line 2, column `item`: `` is empty"),
            ("", "is empty"),
        ],
    )
    def test_faults_are_one_sentence(self, tmp_path, text, message):
        with pytest.raises(DataError, match=message) as refused:
            self.read(tmp_path, text)
        assert "\n" not in str(refused.value)

    def test_another_kind_of_file(self, tmp_path):
        with pytest.raises(DataError, match="lists.xlsx` ends in none of .csv"):
            self.read(tmp_path, "", "lists.xlsx")
        with pytest.raises(DataError, match="absent.csv"):
            read_lists(tmp_path / "absent.csv", USERS, ITEMS)


class TestCommand:
    def test_of_the_command_line_and_again(self, in_tmp, data_root, capsys):
        users = [f"u{user}" for user in range(0, 40, 2)]
        lines = [f"{user},i{item},{rank}" for user in users for rank, item in enumerate(range(12), start=1)]
        (in_tmp / "mine.csv").write_text("\n".join(["user_id,item_id,rank", *lines, "u0,unknown,13"]) + "\n")
        words = ["--score_lists", "mine.csv", "--dataset=tiny", f"--data_path={data_root}", "--topk=[5]"]
        assert main([*words, "--valid_metric=Hit@5", "--use_gpu=False", "--protocol=recbole"]) == 0
        shown = capsys.readouterr().out
        assert (
            "The lists of mine.csv on tiny: 40 users, ranked among 30 items, protocol recbole; 20 targets of users"
            in shown
        )
        assert "without a list: misses; 1 items unknown to the data, left out" in shown
        [folder] = Path("saved").glob("Lists-*")
        record = json.loads((folder / "metrics.json").read_text())
        assert record["lists"]["targets_without_list"] == 20 and record["lists"]["short_lists"] == {"5": 20}
        assert record["best_valid_score"] is None and record["data"]["leaks"]["targets"] == 40
        assert main([f"--resume={folder}"]) == 0 and "nothing is trained" in capsys.readouterr().out
        with pytest.raises(CheckpointError, match="keeps no checkpoint"):
            load_model(folder)
        assert main([f"--report={folder}"]) == 0
        assert "lists of mine.csv" in capsys.readouterr().out

    def test_without_a_file(self, in_tmp, data_root, capsys):
        assert main(["--model=Lists", "--dataset=tiny", f"--data_path={data_root}"]) == 1
        assert "`score_lists` is empty; name the file" in capsys.readouterr().err
        assert main(["--help_options=Lists"]) == 0 and "score_lists" in capsys.readouterr().out


def test_an_encoder_that_keeps_the_width_of_its_frames():
    """It says what is left out; lists have no width that could follow the frames."""
    config = Config("Lists", config_dict={"item_encoder": "Pooling"})
    assert config.inputs_read == {"frames"} and config.keeps_frame_dim


def test_missing_users_are_misses(in_tmp, data_root):
    pd.DataFrame({"user": ["u1"] * 30, "item": [f"i{n}" for n in range(30)], "score": range(30)}).to_csv("one.csv")
    options = {"data_path": str(data_root), "use_gpu": False, "protocol": "recbole", "score_lists": "one.csv"}
    result = run_recbole_video(
        "Lists", "tiny", config_dict={**options, "metrics": ["Recall"], "topk": [30], "valid_metric": "Recall@30"}
    )
    assert result["test_result"]["recall@30"] == 1 / 40
