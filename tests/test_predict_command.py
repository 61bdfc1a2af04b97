"""``recbole-video predict`` and ``explain``: against the same from Python, and what they refuse."""

import re

import numpy as np
import pandas as pd
import pytest
from recbole_video.dataset_tools.__main__ import main as convert

from recbole_video import FrameStore, load_model, run_recbole_video, write_frame_store
from recbole_video.cli import main
from recbole_video.data.labelled import PopularityDataset
from recbole_video.errors import CheckpointError
from recbole_video.popularity.counts import count_behind, counts_of
from recbole_video.serving.predictor import Inputs

from .conftest import small_options
from .test_popularity import METADATA, SMALL, T, write_popularity
from .test_popularity import D as WIDTH

NEW = ["n1", "n2", "n3"]
# what the table says of n2, n1 and n3, by hand
ROWS = {
    "seconds": [30, None, 2.5],
    "fans": [12, None, 7],
    "time": [122400, 127800, 169200],
    "kind": ["x", "y", "w"],
}
COLUMNS = ["--item=video", "--time=posted", "--column=seconds=length"]


def trained(root, model, label="mine", name="pop", **options):
    given = {"data_path": str(root), "label": label, "checkpoint_dir": str(root / "runs"), "log_dir": str(root / "log")}
    return run_recbole_video(model, name, config_dict={**given, "figures": False, **options})["run_folder"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("predict")
    write_popularity(root)
    rng = np.random.default_rng(1)
    for name, shape in (("frames", (3, T, WIDTH)), ("text.frames", (3, 1, 5))):
        kept = FrameStore(root / "pop" / f"pop.{name}.npy")
        assert shape[-1] == kept.frame_dim
        path = root / f"new.{name}.npy"
        write_frame_store(path, NEW, rng.normal(size=shape), vfm="random", sampling="none")
    # the columns by names of their own, out of their order, beside one that nothing reads
    (root / "new.csv").write_text(
        "fans,posted,kind,video,length,likes\n"
        "12,1970-01-02T10:00:00Z,x,n2,30,9\n,1970-01-02T11:30:00Z,y,n1,,9\n7,1970-01-03T00:00:00+01:00,w,n3,2.5,9\n"
    )
    return root


@pytest.fixture(scope="module")
def stap(root):
    return trained(root, "STAP", **{**SMALL, **METADATA, "epochs": 1})


@pytest.fixture(scope="module")
def trees(root):
    return trained(root, "MetadataGBDT", author_history=True, **METADATA)


def test_an_id_twice_is_told(root, trees, tmp_path, capsys):
    rows = (root / "new.csv").read_text().replace(",n3,", ",n2,")
    (tmp_path / "twice.csv").write_text(rows.replace("fans,", "user_id,fans,").replace("\n", "\na1,", 3))
    assert main(["predict", trees, str(tmp_path / "twice.csv"), *COLUMNS]) == 0
    told = capsys.readouterr()
    assert len(told.out.splitlines()) == 4
    assert "1 row repeats an id (first: `n2`); rows are not merged." in told.err


def test_inputs_are_shown_in_a_line():
    given = Inputs(frames=np.zeros((2, 3, 4)), metadata={"fans": [1, 2]}, content={"audio": [[1.0], [2.0]]})
    assert repr(given) == "<Inputs: frames [2, 3, 4], audio [2, 1], metadata (fans)>"
    assert repr(Inputs()) == "<Inputs: nothing>"


def printed(capsys):
    head, *lines = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    return head, lines


def as_python_does(root, run, columns=("seconds", "fans", "time", "kind")):
    """Predictions of the table's videos, its rows written by hand."""
    stores = {"frames": root / "new.frames.npy", "text": root / "new.text.frames.npy"}
    model = load_model(run)
    table = pd.DataFrame({name: ROWS[name] for name in columns})
    return model.predict(model.from_stores(["n2", "n1", "n3"], metadata=table, **stores))


def test_a_table_and_stores_as_from_python(root, stap, capsys):
    stores = [f"--frames={root / 'new.frames.npy'}", f"--text={root / 'new.text.frames.npy'}"]
    assert main(["predict", stap, str(root / "new.csv"), *COLUMNS, *stores]) == 0
    head, lines = printed(capsys)
    assert head == ["item_id", "prediction"]  # the label is of no one count
    assert [line[0] for line in lines] == ["n2", "n1", "n3"]
    assert [line[1] for line in lines] == [f"{value:.6g}" for value in as_python_does(root, stap)]


def test_what_the_cells_do_not_say(root, trees, caplog):
    """Empty cells, categories and authors of no training video: each is told, once."""
    table = pd.DataFrame(
        {"seconds": [1.0, None, 3], "fans": [1.0, 2, 3], "kind": ["x", "", "w"], "user_id": ["nobody", "a0", None],
         "time": [4e5, 4e5, None]}
    )  # fmt: skip
    model = load_model(trees)
    for _ in range(2):
        model.predict(Inputs(metadata=table))
    assert [record.getMessage() for record in caplog.records if record.name.endswith("predictor")] == [
        "No training video has `w` as its `kind`: it counts as a category that is not known.",
        "`kind` is empty for 1 of 3 videos, read as no known category.",
        "`seconds` is empty for 1 of 3 videos, read as the mean of the training videos.",
        "`time` is empty for 1 of 3 videos, read as the mean of the training videos.",
        "`user_id` is empty for 1 of 3 videos, read as having no past.",
        "1 video is of an author without an earlier training video: their past is empty.",
    ]


@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000), ("ns", 10**9)])
def test_times_in_other_units(root, stap, capsys, unit, factor, in_tmp):
    times = pd.Series([122400, 127800, 169200]) * factor
    table = pd.read_csv(root / "new.csv").assign(posted=times)
    table.to_parquet("new.parquet")
    stores = [f"--frames={root / 'new.frames.npy'}", f"--content=text={root / 'new.text.frames.npy'}"]
    assert main(["predict", stap, "new.parquet", *COLUMNS, *stores, f"--time_unit={unit}"]) == 0
    assert [line[1] for line in printed(capsys)[1]] == [f"{value:.6g}" for value in as_python_does(root, stap)]


def test_videos_of_a_store_alone(root, capsys):
    options = {**SMALL, "epochs": 1, "use_metadata": False, "use_text": False}
    run = trained(root, "STAP", **options)
    capsys.readouterr()
    path = root / "new.frames.npy"
    assert main(["predict", run, f"--frames={path}"]) == 0
    lines, model = printed(capsys)[1], load_model(run)
    expected = model.predict(model.from_stores(NEW, frames=path))
    assert lines == [[item, f"{value:.6g}"] for item, value in zip(NEW, expected, strict=True)]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "The model reads frames; give the new videos' store by --frames=FILE, as `frames --new` makes it."),
        (["--frames=F"], "The model reads text; give the new videos' store by --text=FILE, as `embed-text --new`"),
        (["--frames=F", "--text=T"], "The model reads fans, kind, seconds, time; give a table"),
        (["C", "--frames=F", "--text=T"], "name the right one by --item=COLUMN."),
        (["C", "--frames=F", "--text=T", "--item=video"], "name the right one by --column=seconds=COLUMN."),
        (["C", "--frames=F", "--text=T", *COLUMNS, "--time=when"], "name the right one by --time=COLUMN."),
        (["C", "--frames=F", "--text=T", *COLUMNS, "--column=fan=fans"], "names `fan` (did you mean `fans`?), which"),
        (["C", "--frames=F", "--text=T", *COLUMNS, "--time_unit=ms"], "give --time_unit=iso"),
        (["C", "--frames=F", "--text=T", "--content=text=T", *COLUMNS], "The store of `text` is given twice"),
        (["C", "--frames=F", "--text=T", "--content=audio", *COLUMNS], "`--content` is `audio`; it must be NAME=FILE"),
        (["C", "--frames=F", "--text=T", "--content=audio=T", *COLUMNS], "The model does not read `audio`"),
        (
            ["C", "--frames=F", "--text=T", *COLUMNS, "--column=seconds=likes"],
            "`seconds` is the column `length` and `li",
        ),
        (
            ["C", "--frames=F", "--text=T", *COLUMNS, "--column=item_id=likes"],
            "`item_id` is the column `video` and `li",
        ),
        (
            ["C", "--frames=F", "--text=T", *COLUMNS, "--user=likes"],
            "`--user` names `user_id`, which the model does no",
        ),
        (["empty.csv", "--frames=F", "--text=T", *COLUMNS], "`empty.csv` has no row"),
        (["gap.csv", "--frames=F", "--text=T", *COLUMNS], "`gap.csv`, line 3: the cell of `video` is empty."),
        (["other.csv", "--frames=F", "--text=T", *COLUMNS], "lacks 1 of the items (first: `n9`)"),
    ],
)
def test_refusals(root, stap, in_tmp, capsys, words, message):
    head, *rows = (root / "new.csv").read_text().splitlines()
    (in_tmp / "empty.csv").write_text(f"{head}\n")
    (in_tmp / "gap.csv").write_text("\n".join([head, rows[0], rows[1].replace("n1", "")]))
    (in_tmp / "other.csv").write_text("\n".join([head, rows[0].replace("n2", "n9")]))
    files = {"F": root / "new.frames.npy", "T": root / "new.text.frames.npy", "C": root / "new.csv"}
    words = [re.sub(r"(?<![a-zA-Z])[FTC]$", lambda match: str(files[match.group()]), word) for word in words]
    assert main(["predict", stap, *words]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (",30,", ",soon,", "`new.csv`, line 2, column `length`: `soon` is not a number"),
        (",30,", ",3_0,", "`new.csv`, line 2, column `length`: `3_0` is not a number"),
        (",30,", ',"1,030",', "thousands are not set apart); mend it"),
        (",30,", ",1e999,", "`new.csv`, line 2, column `length`: `1e999` is beyond what a float holds"),
        ("1970-01-02T11:30:00Z", "soon", "`new.csv`, line 3, column `posted`: `soon` is no ISO date"),
        ("n1", '"n\t1"', "`new.csv`, line 3: the id `n\\t1`"),
    ],
)
def test_cells_that_are_refused_are_named(root, trees, in_tmp, capsys, old, new, message):
    text = (root / "new.csv").read_text().replace("fans,", "fans,author,", 1)
    (in_tmp / "new.csv").write_text(re.sub("^(12|7)?,1", r"\1,a1,1", text, flags=re.MULTILINE).replace(old, new, 1))
    assert main(["predict", trees, "new.csv", *COLUMNS, "--user=author"]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("unit", [[], ["--time_unit=s"]])
def test_empty_times_and_times_in_the_wrong_unit(root, trees, in_tmp, capsys, unit):
    """An empty one is unknown, with the unit told or not; one in milliseconds is named with its row."""
    table = pd.DataFrame(
        {"item_id": ["x1", "x2"], "user_id": ["a1", "a1"], "time": ["", "140000"], "fans": [1, 2], "seconds": [3, 4],
         "kind": ["x", "y"]}
    )  # fmt: skip
    table.to_csv("new.csv", index=False)
    assert main(["predict", trees, "new.csv", *unit]) == 0
    rows = table.assign(time=[None, 140000.0])
    expected = load_model(trees).predict(Inputs(metadata=rows))
    assert [line[1] for line in printed(capsys)[1]] == [f"{value:.6g}" for value in expected]
    table.assign(time=["", "1700000000000"]).to_csv("new.csv", index=False)
    assert main(["predict", trees, "new.csv", *unit]) == 1
    assert "line 3, column `time`: `1700000000000` lies beyond the year 2200 in s (in ms it" in capsys.readouterr().err


def test_videos_of_all_stores(tmp_path, capsys):
    """A video that one store lacks is masked or refused, and never passed over; in whichever order stores are named."""
    write_popularity(tmp_path)
    paths = {name: tmp_path / f"new.{name}.frames.npy" for name in ("frames", "text")}
    rng = np.random.default_rng(1)
    write_frame_store(paths["frames"], ["n1", "n2"], rng.normal(size=(2, T, WIDTH)), vfm="random", sampling="none")
    width = FrameStore(tmp_path / "pop" / "pop.text.frames.npy").frame_dim
    write_frame_store(paths["text"], ["n3", "n1"], rng.normal(size=(2, 1, width)), vfm="random", sampling="none")
    words = [
        [f"--content={name}={paths[name]}" for name in names] for names in (("frames", "text"), ("text", "frames"))
    ]
    lenient = {"missing_items": "zero", "missing_text": "zero"}
    for options, n in (({}, None), (lenient, 3)):
        run = trained(tmp_path, "STAP", **{**SMALL, "epochs": 1, "use_metadata": False, **options})
        for given in words:
            capsys.readouterr()
            assert main(["predict", run, *given]) == (1 if n is None else 0)
            told = capsys.readouterr()
            assert "lacks 1 of the items" in told.err if n is None else len(told.out.splitlines()) == n + 1


def test_whole_numbers_with_a_gap(tmp_path, capsys, in_tmp):
    """A column of parquet with a gap is of floats; 7.0 is the author 7, or 7.0 where the data set has it so."""
    table = write_popularity(
        tmp_path / "7", user_id=[str(i % 7) for i in range(60)], kind=[str(i % 3) for i in range(60)]
    )
    write_popularity(
        tmp_path / "7.0", user_id=[f"{i % 7}.0" for i in range(60)], kind=[f"{i % 3}.0" for i in range(60)]
    )
    rows = table[["item_id", "seconds"]].assign(
        fans=5.0, time=1e6, user_id=(np.arange(60) % 7).astype(float), kind=np.where(np.arange(60) % 3, 2.0, np.nan)
    )
    rows.to_parquet("gap.parquet")
    found = []
    for name in ("7", "7.0"):
        run = trained(tmp_path / name, "MetadataGBDT", author_history=True, **METADATA)
        capsys.readouterr()
        assert main(["predict", run, "gap.parquet"]) == 0
        told = capsys.readouterr()
        assert "without an earlier" not in told.err and "not known." not in told.err
        found.append(told.out)
    assert found[0] == found[1]


def test_counts_and_authors(root, in_tmp, capsys):
    """A label that is log2(1 + views), and a model that reads what an author posted before."""
    rows = [
        f"v{i},a{i % 5},2024-01-{1 + i // 15:02}T{i % 15:02}:00:00Z,{i % 7 + 5},{2 ** (3 + i % 5)}" for i in range(400)
    ]
    (in_tmp / "videos.csv").write_text("\n".join(["video,author,posted,seconds,views", *rows]))
    named = ["--name=posts", "--user=author", "--item=video", "--time=posted", "--time_unit=iso", "--items=videos.csv"]
    assert convert(["generic", "videos.csv", *named, "--item_id=video", "--item_columns", "seconds:float",
                    "--counts", "views"]) == 0  # fmt: skip
    words = ["--source=views", "--transform=log2_1p", "--split=temporal", "--shares", "0.8", "0.1", "0.1"]
    assert convert(["label", "posts", *words]) == 0
    options = {"data_path": "dataset", "author_history": True, "metadata_numeric": ["seconds"]}
    run = trained(in_tmp, "MetadataGBDT", "views-log2_1p", "posts", **options)
    capsys.readouterr()
    (in_tmp / "new.csv").write_text(
        "video,author,posted,seconds\nx1,a3,2024-02-01,9\nx2,a4,2024-02-01,9\nx3,b,2024-02-01,9\n"
    )
    assert main(["predict", run, "new.csv", "--item=video", "--user=author", "--time=posted"]) == 0
    head, lines = printed(capsys)
    assert head == ["item_id", "prediction", "views"] and [line[0] for line in lines] == ["x1", "x2", "x3"]
    predicted = np.array([[float(value) for value in line[1:]] for line in lines])
    assert np.allclose(2 ** predicted[:, 0] - 1, predicted[:, 1], rtol=1e-4)
    assert predicted[0, 0] == pytest.approx(np.log2(1 + 2**6), abs=0.7) and predicted[1, 0] > predicted[0, 0]
    assert main(["predict", run, "new.csv", "--item=video", "--time=posted"]) == 1
    assert "name the right one by --user=COLUMN." in capsys.readouterr().err
    table = pd.read_csv("new.csv").rename(columns={"author": "user_id", "posted": "time"})
    model = load_model(run)
    assert model.metadata_columns == ["seconds", "time", "user_id"] and model.count == "views"
    videos = model.from_stores(table["video"], metadata=table)
    found, why = model.predict(videos), str(model.explain(videos))
    assert str(model.explain(videos, row=2)).startswith("x3: predicted ")
    assert why.startswith(f"x1: predicted {found[0]:.4f} ({2 ** found[0] - 1:,.0f} views)") and "(x " in why
    assert [f"{value:.6g}" for value in found] == [line[1] for line in lines]
    assert np.array_equal(model.to_counts(found), counts_of(found, {"sources": ["views"], "transform": "log2_1p"}))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (None, None),
        ({"sources": ["likes"], "transform": "log2"}, "likes"),
        ({"sources": ["likes"], "transform": "log2", "cap": 9}, None),
        ({"sources": ["likes", "views"], "transform": "log2"}, None),
        ({"sources": ["likes"], "transform": "log2", "scaling": "minmax"}, None),
    ],
)
def test_the_name_of_the_count(settings, name):
    found = count_behind(settings)
    assert (found and found.name) == name


def test_a_model_that_counts_videos_needs_any(root, capsys):
    run = trained(root, "Constant")
    capsys.readouterr()
    assert main(["predict", run]) == 1
    assert "There are no videos: give a table with a row of each, or their frame stores." in capsys.readouterr().err
    assert main(["predict", run, str(root / "new.csv"), "--item=video"]) == 0
    assert len({line[1] for line in printed(capsys)[1]}) == 1


class TestOtherUses:
    @pytest.fixture(scope="class")
    def recommender(self, data_root, tmp_path_factory):
        folder = tmp_path_factory.mktemp("runs")
        options = small_options(
            data_path=str(data_root), epochs=1, checkpoint_dir=str(folder), log_dir=str(folder / "log")
        )
        return run_recbole_video("SASRec", "tiny", config_dict=options)["run_folder"]

    def test_commands_name_each_other(self, recommender, trees, capsys):
        assert main(["predict", recommender]) == 1
        assert "is no popularity model but a recommender; use it by recbole-video recommend." in capsys.readouterr().err
        assert main(["recommend", trees, "--history=v1"]) == 1
        assert "is no recommender but a popularity model; use it by recbole-video predict." in capsys.readouterr().err

    def test_models_name_their_uses(self, recommender, trees):
        with pytest.raises(AttributeError, match=r"^A popularity model has no `recommend`; it has count, explain"):
            _ = load_model(trees).recommend
        with pytest.raises(AttributeError, match=r"^A recommender has no `predict`; it has add_store, .*recommend, "):
            _ = load_model(recommender).predict
        with pytest.raises(AttributeError, match=r"has no `recomend` \(did you mean `recommend`\?\)"):
            _ = load_model(recommender).recomend
        assert not hasattr(load_model(trees), "no_such_thing") and not hasattr(load_model(trees), "_no_such_thing")

    def test_explain_is_the_command_of_the_module(self, root, trees, capsys):
        from recbole_video.popularity.__main__ import main as of_module

        assert main(["explain", trees, "v3"]) == 0
        told = capsys.readouterr().out
        assert "v3" in told and of_module([trees, "v3"]) == 0 and capsys.readouterr().out == told
        assert main(["explain", trees, "no-video"]) == 1
        told = capsys.readouterr().err
        assert "has no labelled video `no-video`" in told and "explained from a table, --table=FILE" in told
        assert main(["explain", trees, trees]) == 1
        assert f"`{trees}` is a folder; name one run, and then ids of videos." in capsys.readouterr().err
        inside = f"; `{root / 'runs'}` holds runs, such as `STAP-pop-.*`: name one"
        with pytest.raises(CheckpointError, match=f"There is no checkpoint `.*`{inside}"):
            load_model(root / "runs")


class TestExplainNew:
    """Videos of a table and of stores, against the same from Python."""

    STORES = ("frames", "text")

    def told(self, root, run, item, columns=("seconds", "fans", "time", "kind")):
        """What Python tells of a video of the table."""
        model, items = load_model(run), ["n2", "n1", "n3"]
        stores = {name: root / f"new.{name}.npy".replace("text", "text.frames") for name in self.STORES}
        table = pd.DataFrame({name: ROWS[name] for name in columns})
        given = model.from_stores(items, metadata=table, **(stores if model.content else {}))
        return model.explain(given, items.index(item)).as_text()

    def test_of_a_table(self, root, tmp_path, capsys):
        run = trained(root, "MetadataGBDT", **METADATA)
        asked = [f"--table={root / 'new.csv'}", *COLUMNS]
        capsys.readouterr()
        assert main(["explain", run, "n3", "n1", *asked]) == 0
        lines = capsys.readouterr().out
        for item in ("n3", "n1"):
            assert self.told(root, run, item) in lines
            assert f"drawn in {run}/explain-{item}.png" in lines
        assert "true" not in lines and "training video, which" not in lines

    def test_of_stores_too(self, root, stap, capsys):
        stores = [f"--frames={root / 'new.frames.npy'}", f"--text={root / 'new.text.frames.npy'}"]
        capsys.readouterr()
        assert main(["explain", stap, "n1", f"--table={root / 'new.csv'}", *COLUMNS, *stores]) == 0
        told = capsys.readouterr().out
        assert self.told(root, stap, "n1") in told and "frame scores: " in told

    def test_titles(self, root, capsys):
        """A new video has the title of its row, and never that of a video of the same id in the data."""
        sidecar = root / "pop" / "pop.text.jsonl"
        sidecar.write_text("".join(f'{{"item_id": "{item}", "title": "of the data"}}\n' for item in ("n1", "n2", "v1")))
        try:
            run = trained(root, "MetadataGBDT", metadata_numeric=["title_words", "seconds"])
        finally:
            table = root / "titled.csv"
            table.write_text("item_id,title,seconds\nn1,a cat on a piano,3\nn2,,4\n")
        capsys.readouterr()
        assert main(["explain", run, "n1", "n2", f"--table={table}"]) == 0
        sidecar.unlink()
        told = capsys.readouterr().out
        assert "its title: a cat on a piano" in told and "of the data" not in told

    @pytest.mark.parametrize(
        ("words", "sentence"),
        [
            (["n4", "TABLE", *COLUMNS, "--user=kind"], "What is given has no video `n4`."),
            (["n1", "FRAMES"], "The model reads fans, kind, seconds, time, user_id; give a table that has a row per"),
            (["--cold_start=2", "TABLE"], "`--cold_start` chooses among the run's data; leave it out, or the table"),
            (["--smp_submission=x.json", "TABLE"], "`--smp_submission` is of the run's test videos; leave it out, or"),
            (["n1", "TABLE", "--item=vid"], "name the right one by --item=COLUMN."),
            (["v3", "--item=vid"], "`--item` is of a table; name the table, or leave it out."),
            (["v3", "--column=a=b"], "`--column` is of a table; name the table, or leave it out."),
        ],
    )
    def test_what_is_refused(self, root, trees, capsys, words, sentence):
        files = {"TABLE": f"--table={root / 'new.csv'}", "FRAMES": f"--frames={root / 'new.frames.npy'}"}
        assert main(["explain", trees, *(files.get(word, word) for word in words)]) == 1
        assert sentence in capsys.readouterr().err


class TestExplainAfterwards:
    """What has come into the folder of the data since the training."""

    def test_a_store_that_the_run_knew_nothing_of(self, tmp_path, capsys):
        write_popularity(tmp_path)
        folder = tmp_path / "pop"
        kept = {path: path.read_bytes() for path in folder.glob("*.frames.*")}
        for path in kept:
            path.unlink()
        run = trained(tmp_path, "MetadataGBDT", **METADATA)
        capsys.readouterr()
        assert main(["explain", run, "v3"]) == 0
        told = capsys.readouterr().out
        few = [f"v{i}" for i in range(5)]
        frames = np.random.default_rng(0).normal(size=(5, T, WIDTH))
        write_frame_store(folder / "pop.frames.npy", few, frames, vfm="random", sampling="none")
        capsys.readouterr()
        assert main(["explain", run, "v3"]) == 0 and capsys.readouterr().out == told

    def test_other_labels(self, tmp_path, capsys):
        write_popularity(tmp_path)
        run = trained(tmp_path, "MetadataGBDT", **METADATA)
        path = tmp_path / "pop" / "pop.mine.popularity"
        path.write_text(path.read_text().replace("train", "valid", 3))
        assert main(["explain", run, "v3"]) == 1
        assert "`pop` has other videos than when" in (told := capsys.readouterr().err)
        assert "(40 + 10 + 10 then, 37 + 13 + 10 now)" in told

    def test_other_splits_of_the_same_sizes(self, tmp_path, capsys):
        """A model is not asked about other labels or splits than it was trained on."""
        write_popularity(tmp_path)
        run = trained(tmp_path, "MetadataGBDT", **METADATA)
        path = tmp_path / "pop" / "pop.mine.popularity"
        lines = path.read_text().splitlines()
        train, test = lines[1], lines[-1]
        lines[1], lines[-1] = train.replace("train", "test"), test.replace("test", "train")
        path.write_text("\n".join([*lines, ""]))
        assert main(["explain", run, "v3"]) == 1
        assert "has other labels or splits than when" in capsys.readouterr().err

    def test_features_of_other_training_videos(self, tmp_path, capsys):
        """What a model makes of a video does not depend on what the others are called today; `predict` agrees."""
        write_popularity(tmp_path)
        run = trained(tmp_path, "MetadataGBDT", author_history=True, **METADATA)
        before = load_model(run)
        why = before.explain_row(PopularityDataset(before.config), 55)
        item = tmp_path / "pop" / "pop.item"
        head, *lines = item.read_text().splitlines()
        doubled = [line.replace(line.split("\t")[1], f"{2 * float(line.split()[1])}") for line in lines[:40]]
        item.write_text("\n".join([head, *doubled, *lines[40:], ""]))
        capsys.readouterr()
        assert main(["explain", f"{run}/model.pth", "v55"]) == 0
        assert capsys.readouterr().out.startswith(f"v55: predicted {why.popularity:.4f}, ")

    def test_constant_columns_are_not_warned_of_again(self, tmp_path, capsys):
        write_popularity(tmp_path)
        item = tmp_path / "pop" / "pop.item"
        head, *lines = (line.split("\t") for line in item.read_text().splitlines())
        same = [[line[0], "7", *line[2:]] for line in lines]
        item.write_text("".join("\t".join(line) + "\n" for line in [head, *same]))
        run = trained(tmp_path, "MetadataGBDT", **METADATA)
        warning = "The same in all training videos: `seconds`"
        assert warning in capsys.readouterr().out
        assert main(["explain", run, "v3"]) == 0
        assert warning not in "".join(capsys.readouterr())

    def test_positions_are_no_times(self, tmp_path, capsys):
        """Where the order of the rows stood in for times, a prediction is told which number comes after them."""
        write_popularity(tmp_path, time=np.arange(60) * 1.0)
        (tmp_path / "pop" / "pop.times.npy").unlink()
        run = trained(tmp_path, "MetadataRidge", author_history=True, metadata_numeric=["seconds"])
        (tmp_path / "new.csv").write_text("item_id,user_id,time,seconds\nx,a1,1700716400,3\n")
        assert main(["predict", run, str(tmp_path / "new.csv")]) == 1
        assert "numbers that tell their order, 0 to 39; give 40 for a video that came" in capsys.readouterr().err
