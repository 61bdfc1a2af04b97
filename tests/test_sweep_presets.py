"""Every preset is sound, and every published number in it is the paper's.

``tests/published/*.tsv`` were typed from the papers by another hand than the presets.
"""

import csv
from pathlib import Path

import pytest
from recbole_video.dataset_tools import BUNDLED

from recbole_video.sweep.metrics import Metric
from recbole_video.sweep.plan import make_plan
from recbole_video.sweep.spec import load_sweep, preset_names

PUBLISHED = Path(__file__).parent / "published"
RESULTS = Path(__file__).parent.parent / "docs" / "results"
WITHOUT_NUMBERS = {"cva-fig4", "stap-fig5-topk", "stap-fig5-window", "stap-fig6"}  # figures that print none


def typed(name):
    with (PUBLISHED / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        return {
            (row["group"], row["row"], row["column"], row["metric"]): float(row["value"])
            for row in csv.DictReader(file, delimiter="\t")
        }


def in_preset(name):
    """Numbers of a preset under the same keys; Table 15 has its groups as metrics there."""
    found = {}
    for row in load_sweep(name).rows:
        for column, values in row.published.items():
            for metric, value in values.items():
                key = (row.group, row.label, column, metric)
                found[("", row.label, metric.removeprefix("group "), "HR@10") if name == "cva-table15" else key] = value
    return found


def test_every_table_and_figure_has_a_preset():
    tables = {f"cva-table{n}" for n in (4, 6, 7, 12, 13, 15, 16, 17, 18)} | {
        f"stap-table{n}" for n in (2, 3, 4, "-s1", "-s4")
    }
    assert set(preset_names()) == tables | WITHOUT_NUMBERS
    assert {path.stem for path in PUBLISHED.glob("*.tsv")} == tables


@pytest.mark.parametrize("name", sorted(path.stem for path in PUBLISHED.glob("*.tsv")))
def test_published_numbers(name):
    assert in_preset(name) == typed(name)


@pytest.mark.parametrize("demo", [False, True], ids=["full", "demo"])
@pytest.mark.parametrize("name", preset_names())
def test_plan(name, demo):
    """Every option of every trial is known, every metric computed; trials have folders of their own."""
    plan = make_plan(load_sweep(name, demo))
    assert plan.n_trials == len({trial.name for trial in plan.trials}) > 0
    bundled = {"microvideo-demo", "popularity-demo", "trends-demo", "ml-100k"}
    datasets = {dataset.name for dataset in plan.datasets}
    assert (datasets <= bundled) == demo
    needed = {need.dataset: need for need in plan.sweep.needs}
    for dataset in () if demo else plan.datasets:
        need = needed[dataset.name]
        made = set(need.stores) | {word.partition("=")[2] for line in need.commands for word in line.split()}
        assert need.download and need.commands and set(dataset.stores) <= made


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*.yaml")), ids=lambda path: path.stem)
def test_plan_of_results(path):
    """The sweeps of real data, each beside the page that it made; what is made on first use needs no download."""
    plan = make_plan(load_sweep(str(path), demo=False))
    assert plan.n_trials == len({trial.name for trial in plan.trials}) > 0
    assert {dataset.name for dataset in plan.datasets} - set(BUNDLED) == {need.dataset for need in plan.sweep.needs}


@pytest.mark.parametrize(("place", "value"), [("#1", 30.0), ("#2", 10.0), ("#3", None), ("#0", None), ("b", 10.0)])
def test_metric_by_its_place(place, value):
    metric = Metric.of({"name": "tag", "key": f"groups/tag/{place}/hit@10"})
    assert metric.read({"groups": {"tag": {"z": {"hit@10": 0.3}, "b": {"hit@10": 0.1}}}}) == value


@pytest.mark.parametrize(
    ("name", "key", "bigger", "shown"),
    [
        ("HR@10", "test_result/hit@10", True, "9.737"),
        ("NDCG@20", "test_result/ndcg@20", True, "9.737"),
        ("nMSE", "test_result/nmse", False, "0.0974"),
        ("seconds", "seconds", False, "0"),
        ("GB", "peak_memory_mb", False, "0.00"),
        ("parameters", "parameters", False, "0"),
    ],
)
def test_metric(name, key, bigger, shown):
    metric = Metric.of(name)
    result = {"test_result": {"hit@10": 0.09737, "ndcg@20": 0.09737, "nmse": 0.09737}, "seconds": 0.09737}
    result |= {"peak_memory_mb": 0.09737, "parameters": {"model": 9, "item_encoder": 0}}
    assert (metric.key, metric.bigger) == (key, bigger)
    assert metric.write(metric.read(result)) == shown
    assert metric.read({}) is None
