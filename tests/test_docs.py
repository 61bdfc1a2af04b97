"""The texts in docs/: the programs accept every command in them, every link leads somewhere."""

import re
import runpy
import shlex
import shutil
from pathlib import Path
from pkgutil import resolve_name

import numpy as np
import pytest
from PIL import Image
from recbole_video.dataset_tools.__main__ import COMMANDS, _parser
from recbole_video.dataset_tools.__main__ import main as convert
from recbole_video.dataset_tools.label import settings_of
from recbole_video.dataset_tools.popularity.presets import PRESETS
from recbole_video.dataset_tools.popularity_demo import GeneratingRule
from recbole_video.dataset_tools.popularity_demo import make as make_popularity_demo
from scipy.stats import binom

from recbole_video import load_model, run_recbole_video
from recbole_video.cli import main as run
from recbole_video.commands.predict import predict_parser
from recbole_video.commands.recommend import recommend_parser
from recbole_video.config import Config, known_options
from recbole_video.content.store import store_path
from recbole_video.options.parse import parse_command_line
from recbole_video.popularity.__main__ import main as explain
from recbole_video.sweep.spec import load_sweep, preset_names, read_sweep

from .conftest import prepared

FOLDER = Path(__file__).parent.parent / "docs"
TEXTS = {
    name: (FOLDER / name).read_text(encoding="utf-8")
    for name in (
        "datasets.md",
        "video.md",
        "popularity.md",
        "sweeps.md",
        "reliability.md",
        "content.md",
        "evaluation.md",
        "authors.md",
        "controls.md",
        *(f"tasks/{path.name}" for path in sorted((FOLDER / "tasks").glob("*.md"))),
        "baselines.md",
    )
}
TEXT = "\n".join(TEXTS.values())
LINES = [line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()]
LINES += re.findall(r"`(python (?:-m recbole_video\.dataset_tools|run_recbole_video\.py) [^`A-Z]+)`", TEXT)
OTHERS = [line for line in LINES if line.startswith("recbole-video explain ")]


def words_behind(program):
    """The words after the program's name, of each line that runs it, up to where its output goes."""
    return [
        shlex.split(line.partition(program)[2].partition(" >")[0], comments=True) for line in LINES if program in line
    ]


CONVERSIONS = words_behind("-m recbole_video.dataset_tools ")
RUNS = words_behind("run_recbole_video.py ")
RECOMMENDATIONS = words_behind("recbole-video recommend ")
PREDICTIONS = words_behind("recbole-video predict ")


def test_commands_are_found():
    found = (CONVERSIONS, RUNS, RECOMMENDATIONS, PREDICTIONS, OTHERS)
    assert len(CONVERSIONS) >= 6 and len(RUNS) >= 2 and sum(map(len, found)) == len(LINES)


def test_new_videos_are_recommended_from_the_store_that_is_made_of_them():
    asked = [recommend_parser().parse_args(words).add_store for words in RECOMMENDATIONS]
    made = [words for words in CONVERSIONS if any(word.startswith("--new") for word in words)]
    stores = []
    for words in made:
        name, store = (one.partition("=")[2] for one in words if one.startswith(("--name=", "--store=")))
        stores.append([store_path(Path("dataset") / name, name, store)])
    assert len(asked) == 2 and all(paths in stores for paths in asked)


def test_predictions_are_of_the_stores_that_are_made_of_new_videos():
    asked = [predict_parser().parse_args(words) for words in PREDICTIONS]
    stores = {str(path) for one in asked for path in (one.frames, one.text) if path is not None}
    made = [
        {
            name: next((w.partition("=")[2] for w in words if w.startswith(f"--{name}=")), None)
            for name in ("name", "store")
        }
        for words in CONVERSIONS
        if any(word.startswith("--new") for word in words)
    ]
    assert len(asked) == 2 and len(stores) == 2 and all(one.item == "video" for one in asked)
    assert stores <= {str(store_path(Path("dataset") / one["name"], one["name"], one["store"])) for one in made}


def test_nothing_is_installed_from_an_index_that_lacks_it():
    pages = [*FOLDER.glob("*.md"), FOLDER.parent / "README.md"]
    sources = [*(FOLDER.parent / "recbole_video").rglob("*.py"), *(FOLDER.parent / "dataset_tools").rglob("*.py")]
    for path in [*pages, *sources]:
        assert not re.search(r"pip install '?recbole_video", path.read_text(encoding="utf-8")), path


def test_keys_of_a_sweep_are_accepted_as_the_table_writes_them():
    """`compare`, `search`, `figure`, `resources` and metrics with a key, copied out of the page."""
    table = {key: text for key, text in re.findall(r"^\| `(\w+)` \| (.*) \|$", TEXTS["sweeps.md"], re.MULTILINE)}
    code = {key: re.findall(r"`(\{[^`]*\})`", text) for key, text in table.items()}
    rows = "rows: [{label: row, group: x, options: {}}, {label: other, options: {}}]\nmetrics: [HR@10]\n"
    text = f"compare: {code['compare'][0].replace('b: row', 'b: other')}\nresources: {code['resources'][0]}\n"
    [comparison] = read_sweep(rows + text, "mine", "mine.yaml").compare
    assert (comparison.a, comparison.b, comparison.over) == ("x / row", "other", "seeds")
    search = f"search: {code['search'][0]}\nspace: {{learning_rate: [0.1]}}\n"
    assert read_sweep(search, "mine", "mine.yaml").search.n_trials == 20
    metric = code["metrics"][0].replace("...", "cold", 1)
    assert read_sweep(f"metrics: [{metric}]", "mine", "mine.yaml").metrics[0].name == "cold"


@pytest.mark.parametrize("words", CONVERSIONS, ids=" ".join)
def test_conversions_are_accepted(words):
    arguments = _parser(words[0], resolve_name(COMMANDS[words[0]])).parse_args(words[1:])
    if words[0] == "label" and not arguments.list_presets:
        assert settings_of(arguments).sources


def example(page, name, language="python"):
    [code] = re.findall(rf"<!-- example: {name} -->\n```{language}\n(.*?)```", TEXTS[page], re.DOTALL)
    return code


@pytest.mark.parametrize("words", RUNS, ids=" ".join)
def test_runs_are_accepted(words, in_tmp, monkeypatch):
    (in_tmp / "my_encoder.py").write_text(example("tasks/own-encoder.md", "encoder"))
    monkeypatch.syspath_prepend(in_tmp)
    options = parse_command_line(words, known_options())
    if "report" in options:
        assert set(options) <= {"report", "out", "latex", "correction"}
    elif "sweep" in options:
        (in_tmp / "mine.yaml").write_text(re.findall(r"```yaml\n(.*?)```", TEXTS["sweeps.md"], re.DOTALL)[0])
        (in_tmp / "model.hyper").write_text("learning_rate loguniform -8,0\n")
        sweep = load_sweep(options["sweep"], bool(options.get("demo")))
        assert sweep.metrics or sweep.space
    else:
        Config(command_line=[word for word in words if word != "--leak_report"])


@pytest.mark.parametrize("page", ["tasks/clicks-and-videos.md", "tasks/vectors.md"])
def test_all_rows_of_a_report_are_tested_on_the_same_users(page):
    """Controls and encoders: what leaves out views is the same for all."""
    runs = re.findall(r"^python run_recbole_video.py --dataset=mine .*", TEXTS[page], re.MULTILINE)
    assert len(runs) >= 4 and all("--missing_items=drop" in line for line in runs)


def test_use_of_a_trained_popularity_model(in_tmp, capsys):
    """The example in Python runs as it is printed, then the commands on its run, on a tenth of the data set."""
    make_popularity_demo(in_tmp / "dataset" / "popularity-demo", GeneratingRule(n_videos=600, n_authors=100))
    [code] = re.findall(r"<!-- example: popularity -->\n```python\n(.*?)```", TEXTS["popularity.md"], re.DOTALL)
    names = {}
    exec(compile(code, "example", "exec"), names)
    line, submission = OTHERS
    _, *items = shlex.split(line.partition("recbole-video explain ")[2])
    _, *words = shlex.split(submission.partition("recbole-video explain ")[2])
    assert explain([names["folder"], *words]) == 0 and capsys.readouterr().out.endswith("n.json: 120 posts\n")
    assert explain([names["folder"], *items]) == 0
    told = capsys.readouterr().out
    assert all(f"{item}: predicted" in told for item in items)


def test_from_a_table_of_videos_to_a_prediction(in_tmp, capsys):
    """Both commands and the example in Python run as they are printed, on a table of the page's columns."""
    pattern = r"<!-- example: own popularity -->\n```bash\n(.*?)```\n\n```python\n(.*?)```"
    [(commands, code)] = re.findall(pattern, TEXTS["datasets.md"], re.DOTALL)
    assert len([line for line in (commands + code).splitlines() if line]) <= 10
    rng = np.random.default_rng(0)
    seconds = rng.integers(5, 100, 200)
    rows = [
        f"v{i},a{i % 9},2024-01-{1 + i // 10:02}T{i % 24:02}:00:00Z,{s},{'food' if i % 2 else 'dance'},my video {i},"
        f"{int(2 ** (3 + s / 10))}"
        for i, s in enumerate(seconds)
    ]
    Path("videos.csv").write_text("\n".join(["video,author,posted_at,seconds,topic,title,views", *rows]))
    for command in commands.splitlines():
        assert convert(shlex.split(command.partition("-m recbole_video.dataset_tools ")[2])) == 0
    following = shlex.split(capsys.readouterr().out.splitlines()[-1].partition("Next: python run_recbole_video.py ")[2])
    assert (
        following[-1] == "--metadata_numeric=[seconds, hour, weekday, title_words]"
        and "--model=MetadataGBDT" in following
    )
    assert run(following) == 0
    capsys.readouterr()
    exec(compile(code, "example", "exec"), {})
    short, long = map(float, capsys.readouterr().out.strip().splitlines()[-1].strip("[]").split())
    assert short == pytest.approx(2**4.2, rel=0.3) and long == pytest.approx(2**12.5, rel=0.3)


def test_use_of_several_modalities(in_tmp, capsys):
    """The example in Python runs as it is printed."""
    [code] = re.findall(r"<!-- example: content -->\n```python\n(.*?)```", TEXTS["content.md"], re.DOTALL)
    exec(compile(code, "example", "exec"), {})
    assert "Origin(dim=16, vfm='noise'" in capsys.readouterr().out


def test_a_table_with_an_encoder_of_ones_own(in_tmp, monkeypatch, capsys):
    """The file as it is printed; every trial is checked."""
    (in_tmp / "my_encoder.py").write_text(example("tasks/own-encoder.md", "encoder"))
    (in_tmp / "mine.yaml").write_text(example("tasks/own-encoder.md", "sweep", "yaml"))
    monkeypatch.syspath_prepend(in_tmp)
    [plan, whole] = [words for words in RUNS if "--trust=my_encoder:MaxPool" in words]
    assert plan == [*whole, "--dry_run"] and run(plan) == 0
    assert "19 (4 rows × 3 seeds, and 7 of controls)" in capsys.readouterr().out


def test_what_needs_no_video_runs_without_one(in_tmp):
    """The conversion and the runs of the third step of the page, as they are printed: no store is there."""
    rng = np.random.default_rng(0)
    views = [f"u{user},{1000 + i},{10 * t}" for user in range(12) for t, i in enumerate(rng.permutation(20)[:8])]
    Path("clicks.csv").write_text("\n".join(["user,video,time", *views]))
    page = TEXTS["tasks/clicks-and-videos.md"]
    [convert_line] = re.findall(r"^python -m recbole_video.dataset_tools (generic .*)$", page, re.MULTILINE)
    assert convert(shlex.split(convert_line)) == 0
    step = page.partition("## 3. ")[2].partition("## 4. ")[0]
    runs = [shlex.split(line) for line in re.findall(r"^python run_recbole_video.py (.*)$", step, re.MULTILINE)]
    assert len(runs) == 3 and not list(Path("dataset/mine").glob("*.frames.npy"))
    for options in runs:
        prepared(Config(command_line=options))


def test_from_clicks_with_vectors_or_titles_to_a_recommendation(in_tmp):
    """The page's commands that convert, and its example, as they are printed; each run finds what it reads."""
    rng = np.random.default_rng(0)
    ids = [str(1000 + i) for i in range(20)]
    views = [f"u{user},{ids[i]},{10 * t}" for user in range(12) for t, i in enumerate(rng.permutation(20)[:8])]
    Path("clicks.csv").write_text("\n".join(["user,video,time", *views]))
    words = np.array([f"{a}{b}" for a in ("red", "big", "new", "old") for b in range(25)])
    Path("videos.csv").write_text(
        "\n".join(["video,title", *(f"{i},{' '.join(rng.permutation(words)[:9])}" for i in ids)])
    )
    Path("new_titles.csv").write_text(f"item_id,title\nlater,{' '.join(words[:9])}\n")
    Path("ids.txt").write_text("\n".join(ids))
    np.save("vectors.npy", rng.normal(size=(20, 6)))
    lines = re.findall(r"^python (.*)$", TEXTS["tasks/vectors.md"], re.MULTILINE)
    for line in (line for line in lines if "dataset_tools" in line):
        assert (
            convert(shlex.split(line.partition("-m recbole_video.dataset_tools ")[2].replace("--dim=64", "--dim=6")))
            == 0
        )
    made = {path: path.read_bytes() for path in Path("dataset/mine").glob("mine.frames.*")}
    assert len(made) == 2
    exec(compile(example("tasks/vectors.md", "vectors"), "example", "exec"), {})
    changed = [path.suffix for path, content in made.items() if path.read_bytes() != content]
    assert changed == [".json"]  # by the command it names its source
    for name in ("frames.npy", "frames.json"):
        shutil.copy(f"dataset/titled/titled.text.{name}", f"dataset/mine/mine.text.{name}")
    runs = [shlex.split(line.partition(" ")[2]) for line in lines if "--dataset" in line]
    assert len(runs) == 5
    for options in runs:
        prepared(Config(command_line=options))
    small = {"item_encoder": "CVA", "epochs": 1, "hidden_size": 8, "inner_size": 8, "encoder_latent_dim": 8}
    folder = run_recbole_video("SASRec", "mine", config_dict=small)["run_folder"]
    code = example("tasks/clicks-and-videos.md", "recommend").replace("saved/SASRec-CVA-mine-...", folder)
    names = {}
    exec(compile(code, "example", "exec"), names)
    assert len(names["model"].recommend({"ann": ["1002", "1007"]}, k=10)) == 10
    titles = {"item_encoder": "MLP", "frame_store": "text", "missing_items": "drop", "epochs": 1}
    model = load_model(run_recbole_video("SASRec", "titled", config_dict=titles)["run_folder"])
    assert model.add_store("dataset/titled/titled.new.frames.npy") == 1 and "later" in model.items


def test_table_of_the_demo():
    """It lists each option whose default the demo's file changes, with both values."""
    default = Config("STAP", "none-of-ours").defaults
    demo = {k: v for k, v in Config("STAP").defaults.items() if default.get(k) != v}
    table = TEXTS["popularity.md"].partition("| Option | Default | popularity-demo |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (`[^|]*) \| ([^|]*) \| ([^|]*) \|$", table, re.MULTILINE)
    told = {}
    for names, *values in rows:
        for i, name in enumerate(re.findall(r"`(\w+)`", names)):
            told[name] = [re.findall(r"\[.*?\]|[\w.]+", value.replace(" x ", " "))[i] for value in values]
    of_data = {"label", "metadata_numeric", "TIME_FIELD", "USER_ID_FIELD", "ITEM_ID_FIELD"}
    assert told == {name: [str(default[name]), str(value)] for name, value in demo.items() if name not in of_data}


def n_cells(sweep):
    """Trials of a preset; none has a space."""
    assert not sweep.space
    seeds = [1 if row.runs_once else len(sweep.seeds) for row in sweep.rows if row.options is not None]
    return sum(seeds) * len(sweep.columns)


def test_table_of_sweeps():
    """Every preset is in the table, with as many trials as it has."""
    rows = re.findall(r"^\| (`[^|]*`) \| [^|]* \| ([\d, ]+) \| ([\d, ]+) \|$", TEXTS["sweeps.md"], re.MULTILINE)
    told = {}
    for names, *counts in rows:
        for i, name in enumerate(re.findall(r"`([^`]+)`", names)):
            told[name] = tuple(int(count.split(", ")[i]) for count in counts)
    assert told == {name: tuple(n_cells(load_sweep(name, demo)) for demo in (False, True)) for name in preset_names()}


def test_every_command_and_preset_is_explained():
    for name in COMMANDS:
        assert f"`{name}`" in TEXT or name in ("microvideo-demo", "ml-100k")
    assert set(re.findall(r"^\| `([\w-]+)` \| .* \| .* \|$", TEXT, re.MULTILINE)) >= set(PRESETS)


@pytest.mark.parametrize("name", TEXTS)
def test_links_lead_somewhere(name):
    anchors = {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", TEXTS[name], re.MULTILINE)
    }
    for file, anchor in re.findall(r"\]\((?!http)([^)#]*)#?([^)]*)\)", TEXTS[name]):
        assert ((FOLDER / name).parent / file).exists() if file else anchor in anchors, file


class TestFiguresOfResults:
    """Drawn from the tables of their pages: none is behind its page, and each mark is a number that stands there."""

    FOLDER = FOLDER / "results"
    DRAWN = runpy.run_path(str(FOLDER / "draw.py"))

    @pytest.mark.parametrize("name", DRAWN["FIGURES"])
    def test_a_figure_is_of_the_numbers_of_its_page(self, name):
        panels = self.DRAWN["FIGURES"][name]()
        with Image.open(self.FOLDER / f"{name}.png") as picture:
            assert picture.text["Description"] == self.DRAWN["digest"](panels), "run python docs/results/draw.py"
        text = (self.FOLDER / f"{name}.md").read_text(encoding="utf-8")
        assert f"]({name}.png)" in text
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        for row in (row for panel in panels for row in panel.rows if not row.label.startswith("Published")):
            digits = {f"{row.value:.{n}f}" for n in (2, 3)}
            assert any(
                line.startswith(f"| {row.label} |") and digits & set(re.findall(r"[\d.]+", line)) for line in lines
            )
            assert row.low <= row.value <= row.high

    def test_the_interval_of_a_share(self):
        """Both ends are where a binomial tail has 2.5 %."""
        row = self.DRAWN["_with_exact_interval"](self.DRAWN["Row"]("a", 4.25, 4.25, 4.25), 2261)
        hits = round(0.0425 * 2261)
        assert binom.sf(hits - 1, 2261, row.low / 100) == pytest.approx(0.025, abs=1e-6)
        assert binom.cdf(hits, 2261, row.high / 100) == pytest.approx(0.025, abs=1e-6)
