"""SASRec with ids of this package, RecTools, Cornac and RecBole on one split of ``ml-100k``, all judged by one program.

    python benchmarks/standing.py [--cache=FOLDER] [--seeds=1,2,3] [--only=NAME] [--out=FILE.json]
    python benchmarks/standing.py --table FILE.json

Protocol recbole: every side trains on all but each user's last two films, chooses its epoch by NDCG@10 on the last but
one, and ranks all films, histories included, for the last; its 100 best of each user go to a file, and
``--score_lists`` judges every file. What lies in the cache (``saved/standing``) is not made again, and counts in the
record; ``--only`` trains the sides of that word alone. One thread.
"""

from __future__ import annotations

import csv
import json
import os
import sys
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import mean, stdev
from time import perf_counter
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pandas as pd
import torch
from recbole_video.dataset_tools import prepare

from benchmarks import environments, host, ours
from benchmarks.common import ROOT, Options, run_child
from benchmarks.peer_work import Sequences, Setting, as_lists
from recbole_video import load_model, run_recbole_video
from recbole_video.files.atomic import write_json
from recbole_video.files.values import file_digest
from recbole_video.reports.intervals import bootstrap
from recbole_video.runtime.provenance import provenance

_DATA = "ml-100k"
_OUT = ROOT / "benchmarks" / "results" / "standing-ml-100k.json"
_CACHE = ROOT / "saved" / "standing"
_CONTROLS = ("MostPopular", "RecentPopular", "ContentKNN", "Transition", "Random")
_METRICS = {"HR@10": "hit@10", "NDCG@10": "ndcg@10", "HR@20": "hit@20", "NDCG@20": "ndcg@20"}
SETTING = Setting(
    width=64, length=10, batch=52, dropout=0.2, epochs=10, n_steps=None, repeats=1, n_slow=None, blocks=1, k=100
)  # fmt: skip
_SOFTMAX, _IN_BATCH = {"loss_type": "CE"}, {"loss_type": "in_batch", "logq_power": 0.0}
_QUIET = {"show_progress": False, "use_gpu": False, "state": "WARNING"}


@dataclass(frozen=True)
class Side:
    """A library with a loss.

    Attributes:
        label: Its name and version.
        loss: What it is trained with, in words.
        target: ``module.function`` of this package that trains it.
        packages: Of its own environment; empty where it runs in ours.
        given: Further arguments of the function.
        beside: The label of ours that is trained with the same loss; empty for ours.
    """

    label: str
    loss: str
    target: str
    packages: tuple[str, ...] = ()
    given: dict[str, Any] = field(default_factory=dict)
    beside: str = "ours, softmax"

    @property
    def name(self) -> str:
        """For files."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.label.lower()).split())


_RECTOOLS = ("rectools[torch]==0.19.0",)
SIDES = (
    Side("ours, softmax", "all items", "standing.train_ours", given={"loss": _SOFTMAX}, beside=""),
    Side("RecTools 0.19.0, windows", "all items", "peer_rectools.choose", _RECTOOLS, {"in_windows": True}),
    Side("RecTools 0.19.0, last L + 1", "all items", "peer_rectools.choose", _RECTOOLS, {"in_windows": False}),
    Side("ours, in-batch softmax", "the batch's items", "standing.train_ours", given={"loss": _IN_BATCH}, beside=""),
    Side("Cornac 3.0.1", "the batch's items", "peer_cornac.choose", ("cornac==3.0.1",), {}, "ours, in-batch softmax"),
    Side("RecBole 1.2.1", "all items", "standing.train_recbole"),
)  # fmt: skip


@dataclass(frozen=True)
class Places:
    """Where things lie in the cache."""

    cache: Path

    @property
    def sequences(self) -> str:
        """The actions that all sides are given."""
        return str(self.cache / "sequences.npz")

    @property
    def names(self) -> Path:
        """Tokens of their users and items."""
        return self.cache / "names.json"

    def of(self, run: str, suffix: str) -> Path:
        """A file or folder of one run."""
        return self.cache / f"{run}{suffix}"


# -- what is run -----------------------------------------------------------------------------------


def run_all(places: Places, seeds: list[int], only: str) -> dict[str, Any]:
    """Train what is missing, seed by seed, judge all that there is, and compare."""
    torch.set_num_threads(1)
    places.cache.mkdir(parents=True, exist_ok=True)
    options = Options(places.cache, threads=1, seconds=0.0, epochs=0)
    if not places.names.is_file():
        prepare(_DATA, places.cache / _DATA)
        run_child(options, "standing.export", data_path=str(places.cache), sequences=places.sequences)
    for seed in seeds:
        for side in SIDES:
            if only.lower() in side.label.lower():
                _train(options, places, side, seed)
    trained = [
        _train(options, places, side, seed)
        for side in SIDES
        for seed in seeds
        if places.of(f"{side.name}-{seed}", ".json").is_file()
    ]
    judged: dict[str, list[dict[str, Any]]] = {name: [_judge_control(places, name)] for name in _CONTROLS}
    name_of = {side.label: side.name for side in SIDES}
    for run in trained:
        found = _judge_lists(places, f"{name_of[run['side']]}-{run['seed']}", run["seed"])
        judged.setdefault(run["side"], []).append(found)
    return _record(places, judged, trained)


def _train(options: Options, places: Places, side: Side, seed: int) -> dict[str, Any]:
    run = f"{side.name}-{seed}"
    done = places.of(run, ".json")
    if done.is_file():
        return json.loads(done.read_text(encoding="utf-8"))
    python = _python(side) if side.packages else sys.executable
    setting = {**asdict(SETTING), "seed": seed}
    common = {"sequences": places.sequences, "lists": str(places.of(run, ".npy")), "setting": setting}
    own = {} if side.packages else {"folder": str(places.of(run, "")), "data_path": str(places.cache)}
    print(f"{side.label}, seed {seed}", flush=True)
    started = perf_counter()
    found = run_child(options, side.target, python=python, **common, **own, **side.given)
    found = {"side": side.label, "seed": seed, "seconds": perf_counter() - started, **found}
    _write_csv(places, run)
    write_json(done, found)
    return found


def _python(side: Side) -> Path:
    """The interpreter that the comparison of times has made, or makes, for this library."""
    name = side.label.partition(",")[0].replace(" ", "-").lower()
    return environments.python_of(name, (*side.packages, f"torch=={torch.__version__}"))


def _write_csv(places: Places, run: str) -> None:
    """The lists in the words of the data, as ``--score_lists`` reads them."""
    names = json.loads(places.names.read_text(encoding="utf-8"))
    lists = np.load(places.of(run, ".npy"))
    with places.of(run, ".csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["user_id", "item_id", "rank"])
        for user, items in zip(names["users"], lists, strict=True):
            writer.writerows([user, names["items"][item], rank] for rank, item in enumerate(items, 1) if item)


def _judge_lists(places: Places, run: str, seed: int) -> dict[str, Any]:
    return _judge(places, f"{run}-judged", {"model": "Lists", "score_lists": str(places.of(run, ".csv")), "seed": seed})


def _judge_control(places: Places, name: str) -> dict[str, Any]:
    return _judge(places, f"{name.lower()}-judged", {"model": name, "seed": 1})


def _judge(places: Places, folder: str, options: dict[str, Any]) -> dict[str, Any]:
    data = {"dataset": _DATA, "data_path": str(places.cache), "protocol": "recbole", "save_per_user": True}
    logs = {name: str(places.cache / name) for name in ("log_dir", "tensorboard_dir")}
    chosen = {**data, "MAX_ITEM_LIST_LENGTH": SETTING.length, **_QUIET, **logs, **options}
    return run_recbole_video(config_dict=chosen, run_folder=places.cache / folder)


# -- what comes of it ------------------------------------------------------------------------------


def _record(places: Places, judged: dict[str, list[dict[str, Any]]], trained: list[dict[str, Any]]) -> dict[str, Any]:
    users = {label: _per_user(runs) for label, runs in judged.items()}
    beside = {side.label: side.beside for side in SIDES}
    rows = []
    for label, runs in judged.items():
        own = users.get(beside.get(label, ""))
        rows.append(
            {
                "label": label,
                "test": {name: [run["test_result"][key] for run in runs] for name, key in _METRICS.items()},
                "interval": {name: bootstrap(users[label][key].to_numpy()) for name, key in _METRICS.items()},
                "ours minus this": _differences(own, users[label]) if own is not None else {},
            }
        )
    return {
        "made_by": provenance(),
        "data": judged[_CONTROLS[0]][0]["data"],
        "inter_sha256": file_digest(places.cache / _DATA / f"{_DATA}.inter"),
        "setting": asdict(SETTING),
        "rows": rows,
        "trained": trained,
    }


def _per_user(runs: list[dict[str, Any]]) -> pd.DataFrame:
    """Each user's metrics, the mean over seeds."""
    tables = [
        pd.read_csv(Path(run["run_folder"], "per_user.tsv"), sep="\t", index_col="user_id").drop(columns="item_id")
        for run in runs
    ]
    return pd.concat(tables).groupby(level=0).mean()


def _differences(own: pd.DataFrame, other: pd.DataFrame) -> dict[str, Any]:
    """Mean over users of what ours is above theirs, and its interval."""
    apart = {name: (own[key] - other[key]).to_numpy() for name, key in _METRICS.items()}
    return {name: [float(values.mean()), *bootstrap(values)] for name, values in apart.items()}


def table(record: dict[str, Any]) -> str:
    """The result as Markdown, x 100."""
    epochs: dict[str, list[dict[str, Any]]] = {}
    for run in record["trained"]:
        epochs.setdefault(run["side"], []).append(run)
    lines = [
        "| SASRec with ids of | softmax over | HR@10 | NDCG@10 | 95 % over users | HR@20 | NDCG@20 "
        "| ours minus this, NDCG@10 | best epochs | seconds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    loss = {side.label: side.loss for side in SIDES}
    for row in sorted(record["rows"], key=lambda row: row["label"] not in loss):
        runs = epochs.get(row["label"], [])
        test = {name: _cell(values) for name, values in row["test"].items()}
        low, high = row["interval"]["NDCG@10"]
        apart = row["ours minus this"].get("NDCG@10")
        cells = [
            row["label"], loss.get(row["label"], ""), test["HR@10"], test["NDCG@10"],
            f"{100 * low:.2f} to {100 * high:.2f}", test["HR@20"], test["NDCG@20"],
            f"{100 * apart[0]:+.2f} ({100 * apart[1]:+.2f} to {100 * apart[2]:+.2f})" if apart else "",
            ", ".join(str(1 + int(np.argmax(run["valid"]))) for run in runs),
            f"{mean(run['seconds'] for run in runs):.0f}" if runs else "",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(values: list[float]) -> str:
    percent = [100 * value for value in values]
    spread = f" ± {stdev(percent):.2f}" if len(percent) > 1 else ""
    return f"{mean(percent):.2f}{spread}"


# -- in a process of its own -----------------------------------------------------------------------


def export(data_path: str, sequences: str) -> dict[str, int]:
    """Write what all sides read, and the words of the data."""
    data = ours.prepare(data_path, _DATA, item_encoder="ID", protocol="recbole").data
    rows, actions = data.actions.split.test, data.actions
    bounds = list(zip(rows.first, rows.end + 1, strict=True))
    if any(end != start for (_, end), (start, _) in pairwise(bounds)):
        raise ValueError("Some user's actions have no test target among them.")
    found = Sequences(actions.items, np.append(rows.first, len(actions.items)))
    found.write(sequences)
    users = [str(data.dataset.user_tokens[user]) for user in actions.users[rows.first]]
    names = {"users": users, "items": [str(token) for token in data.dataset.item_tokens]}
    write_json(Path(data_path, "names.json"), names)
    return {"users": found.n_users, "targets": found.n_targets}


def train_ours(
    data_path: str, folder: str, sequences: str, lists: str, setting: dict[str, Any], loss: dict[str, Any]
) -> dict[str, Any]:
    """A run of this package, and the lists that its loaded model recommends."""
    chosen, data, names = Setting(**setting), Sequences.read(sequences), _names(data_path)
    logs = {name: str(Path(data_path, name)) for name in ("log_dir", "tensorboard_dir")}
    options = {**_model_options(chosen), "learner": "adam", "item_encoder": "ID", "protocol": "recbole", **loss}
    options |= {"train_batch_size": chosen.batch, "valid_metric": "NDCG@10", "data_path": data_path, **logs, **_QUIET}
    run_recbole_video("SASRec", _DATA, config_dict=options, run_folder=folder)
    run = json.loads(Path(folder, "metrics.json").read_text(encoding="utf-8"))
    histories = {user: [names["items"][item] for item in history] for user, history in enumerate(data.histories())}
    best = load_model(folder).recommend(histories, k=chosen.k, exclude_seen=False)
    id_of = {token: item for item, token in enumerate(names["items"])}
    items = [id_of[token] for token in best["item_id"]]
    np.save(lists, as_lists(best["user_id"].to_numpy(int), best["rank"], items, chosen.k))
    valid = [epoch["valid_score"] for epoch in run["history"]]
    return {"valid": valid, "parameters": run["parameters"]["model"], "own test": run["test_result"]}


def train_recbole(data_path: str, folder: str, sequences: str, lists: str, setting: dict[str, Any]) -> dict[str, Any]:
    """RecBole's own data, model, trainer and evaluation, as ``--model=recbole:SASRec`` has them."""
    from recbole.utils.case_study import full_sort_topk

    chosen, data, names = Setting(**setting), Sequences.read(sequences), _names(data_path)
    options = {**_model_options(chosen), "train_batch_size": data.rows_of_step(chosen), "valid_metric": "NDCG@10"}
    options |= {"metrics": ["Hit", "NDCG"], "topk": [10, 20], "metric_decimal_place": 6, "checkpoint_dir": folder}
    experiment = host.prepare(data_path, _DATA, **options)
    valid: list[float] = []
    train, validate, test = experiment.train, experiment.valid, experiment.test
    experiment.trainer.fit(
        train, validate, show_progress=False, callback_fn=lambda _, score: valid.append(float(score))
    )
    own = {name: float(value) for name, value in experiment.trainer.evaluate(test).items()}
    known, id_of = test.dataset, {token: item for item, token in enumerate(names["items"])}
    users = known.token2id(known.uid_field, names["users"])
    _, best = full_sort_topk(users, experiment.model, test, chosen.k)
    np.save(lists, np.vectorize(id_of.get)(known.id2token(known.iid_field, best.numpy())))
    parameters = sum(p.numel() for p in experiment.model.parameters())
    return {"valid": valid, "parameters": parameters, "own test": own}


def _names(data_path: str) -> dict[str, list[str]]:
    return json.loads(Path(data_path, "names.json").read_text(encoding="utf-8"))


def _model_options(chosen: Setting) -> dict[str, Any]:
    """Of ours and of RecBole's: all epochs are trained."""
    return {**chosen.sasrec_options(), "epochs": chosen.epochs, "stopping_step": chosen.epochs}


def main(words: list[str]) -> int:
    """See the module's text."""
    flags = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    places = [word for word in words if not word.startswith("--")]
    if "table" in flags:
        print(table(json.loads(Path(places[0]).read_text(encoding="utf-8"))), end="")
        return 0
    seeds = [int(seed) for seed in flags.get("seeds", "1,2,3").split(",")]
    record = run_all(Places(Path(flags.get("cache", _CACHE)).resolve()), seeds, flags.get("only", ""))
    write_json(Path(flags.get("out", _OUT)), record)
    print(table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
