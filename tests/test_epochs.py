"""Epochs are counted from 1 wherever they are told; checkpoints keep the index, and older records are read alike."""

import json
from copy import deepcopy
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from recbole_video import run_recbole_video
from recbole_video.errors import CheckpointError
from recbole_video.reports.collect import collect
from recbole_video.reports.content import make_content
from recbole_video.results.earlier_versions import as_of_today
from recbole_video.results.targets import was_best_last
from recbole_video.runtime.checkpoint import read_checkpoint
from recbole_video.runtime.recbole_epochs import WandbLoggerFromOne
from recbole_video.tasks.task import Hooks

from .conftest import small_options
from .test_report_rows import hits_of, write_run
from .test_run_folder import comparable

COLUMNS = {"inter": ["user_id", "item_id", "timestamp"]}


def old(result):
    """A record as it was written when epochs were counted from 0."""
    history = [{**record, "epoch": record["epoch"] - 1} for record in result["history"]]
    return {**result, "best_epoch": result["best_epoch"] - 1, "history": history}


def steps(root, tag):
    [path] = Path(root).rglob("events*")
    read = EventAccumulator(str(path))
    read.Reload()
    return [event.step for event in read.Scalars(tag)]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were saved."""
    figures, save = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, *a, **k: (figures.append(figure), save(figure, *a, **k)))
    return figures


def test_log_record_curve_and_checkpoint_agree(in_tmp, data_root, drawn):
    told = []
    result = run_recbole_video(
        "SASRec",
        "tiny",
        config_dict=small_options(data_path=str(data_root), epochs=3, learning_rate=0.01, keep_last_checkpoint=True),
        hooks=Hooks(on_epoch=lambda epoch, score: told.append(epoch)),
    )
    folder, best = Path(result["run_folder"]), result["best_epoch"]
    scores = [record["valid_score"] for record in result["history"]]
    assert scores[best - 1] == max(scores) == result["best_valid_score"]
    record = json.loads((folder / "metrics.json").read_text())
    assert [epoch["epoch"] for epoch in record["history"]] == [1, 2, 3] and record["best_epoch"] == best
    log = (folder / "run.log").read_text()
    assert [f"epoch {number} training" in log for number in range(5)] == [False, True, True, True, False]
    assert f"epoch {best} evaluating" in log and f"valid (epoch {best})" in log
    [curve] = drawn
    loss, score = curve.axes
    assert list(loss.get_lines()[0].get_xdata()) == [1, 2, 3]
    assert f"best epoch: {best}" in [line.get_label() for line in score.get_lines()]
    assert steps("log_tensorboard", "Loss/Train") == steps("log_tensorboard", "Vaild_score") == [1, 2, 3]
    last, kept = read_checkpoint(folder / "last.pth"), read_checkpoint(folder / "model.pth")
    assert kept["epoch"] == last["progress"]["best_epoch"] == best - 1
    assert [epoch["epoch"] for epoch in last["progress"]["history"]] == told == [0, 1, 2]


def test_a_checkpoint_of_an_earlier_version_goes_on_to_the_same_numbers(in_tmp, data_root):
    """Its progress counts from 0, as it has always done."""

    class Killed(BaseException):
        pass

    def kill(epoch, score):
        if epoch == 1:
            raise Killed

    options = small_options(data_path=str(data_root), epochs=3)
    unbroken = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="unbroken")
    with pytest.raises(Killed):
        run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="cut", hooks=Hooks(on_epoch=kill))
    last = read_checkpoint(Path("cut/last.pth"))
    progress = last["progress"]
    assert (last["epoch"], progress["next_epoch"]) == (1, 2) and progress["best_epoch"] in (0, 1)
    assert [record["epoch"] for record in progress["history"]] == [0, 1]
    resumed = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="cut")
    assert "Resume training from epoch 3" in Path("cut/run.log").read_text()
    assert comparable(resumed) == comparable(unbroken) and [e["epoch"] for e in resumed["history"]] == [1, 2, 3]


def test_the_stored_result_of_an_earlier_version(in_tmp, data_root, capfd):
    """--resume of a finished run gives it as one of today; a damaged one is refused as such."""
    options = small_options(data_path=str(data_root), epochs=2, learning_rate=0.01)
    result = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="run")
    path, told = Path("run/metrics.json"), capfd.readouterr().out
    record = old(json.loads(path.read_text()))
    path.write_text(json.dumps(record))
    again = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="run")
    assert (again["best_epoch"], again["history"]) == (result["best_epoch"], result["history"])
    table = told[told.index("SASRec + CVA on tiny") : told.index("peak memory")]
    assert f"valid (epoch {result['best_epoch']})" in table and table in capfd.readouterr().out
    for history in (5, "text", [{}], {"a": 1}):
        path.write_text(json.dumps({**record, "history": history}))
        with pytest.raises(CheckpointError, match="does not hold the result of a run of this version"):
            run_recbole_video("SASRec", "tiny", config_dict=options, run_folder="run")


def test_a_report_reads_an_old_record_as_a_new_one(tmp_path, drawn):
    """The same rows are still rising, and the curves are the same."""
    lines, told = [], []
    for name, change in (("new", dict), ("old", old)):
        root = tmp_path / name
        write_run(root / "a", hits_of(0.5, 1), config={"epochs": 3}, epochs=3, best_epoch=3)
        write_run(root / "b", hits_of(0.4, 2), "GRU4Rec", config={"epochs": 3}, epochs=3, best_epoch=2)
        for path in root.rglob("metrics.json"):
            path.write_text(json.dumps(change(json.loads(path.read_text()))))
        write_run(root / "c", hits_of(0.3, 3), "MostPopular", control=True)
        [collection] = collect([root])
        drawn.clear()
        [section] = make_content([collection]).sections
        told.append([section.notes, section.legend, [row.cells for row in section.table.rows]])
        [axis] = drawn[-1].axes
        lines.append([(list(line.get_xdata()), list(line.get_ydata())) for line in axis.get_lines()])
        rising = {r.result["config"]["model"]: was_best_last(r.result) for r in collection.records}
        assert rising == {"SASRec": True, "GRU4Rec": False, "MostPopular": False} and axis.get_xlabel() == "epoch"
    assert lines[0] == lines[1] and {tuple(x) for x, _ in lines[0]} == {(1, 2, 3)}
    assert told[0] == told[1] and any("In 1 of 2 rows trained by epochs" in note for note in told[0][0])


def test_which_records_are_old():
    new = {"best_epoch": 2, "history": [{"epoch": 1}, {"epoch": 2}], "seconds": 1.0}
    before = old(new)
    given = deepcopy(before)
    assert as_of_today(before) == as_of_today(new) == new and before == given
    for other in ({"best_epoch": 0, "history": []}, {"best_valid_score": 0.5}):  # fitted in one go; of RecBole's own
        assert as_of_today(other) == other


def test_recboles_own_models(in_tmp, data_root, capfd):
    """Its trainer counts from 0; its checkpoints and what is called after an epoch do so still."""
    told = []
    options = {"data_path": str(data_root), "use_gpu": False, "load_col": COLUMNS, "epochs": 2, "show_progress": True}
    result = run_recbole_video(
        "BPR", "tiny", config_dict=options, hooks=Hooks(on_epoch=lambda epoch, score: told.append(epoch))
    )
    out, bars = capfd.readouterr()
    for number, n in ((0, 0), (1, 1), (2, 1), (3, 0)):
        assert out.count(f"epoch {number} training") == out.count(f"epoch {number} evaluating") == n
        assert (f"Train {number:>5}" in bars) == bool(n)
    assert "epoch 2 evaluating" in Path(result["run_folder"], "run.log").read_text()
    assert steps("log_tensorboard", "Loss/Train") == steps("log_tensorboard", "Vaild_score") == [1, 2]
    assert told == [0, 1] and not {"best_epoch", "history"} & set(result)


def test_steps_of_weights_and_biases(monkeypatch):
    class Settings:
        log_wandb = False

    seen, logger = [], WandbLoggerFromOne(Settings)
    logger.log_wandb = True
    monkeypatch.setattr(
        logger, "_wandb", type("W", (), {"log": lambda self, m, commit: seen.append(m)})(), raising=False
    )
    logger.log_metrics({"epoch": 0, "train_loss": 0.5, "train_step": 0}, head="train")
    logger.log_metrics({"ndcg@10": 0.5, "valid_step": 1}, head="valid")
    assert seen == [
        {"train/epoch": 1, "train/train_loss": 0.5, "train_step": 1},
        {"valid/ndcg@10": 0.5, "valid_step": 2},
    ]
