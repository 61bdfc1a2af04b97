"""Options of runs: any value of any option, in any way that options are given, ends in a run or in one sentence."""

import os
from importlib.resources import files
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from recbole_video import run_recbole_video
from recbole_video.config import Config
from recbole_video.errors import RecBoleVideoError

from ..conftest import small_options, write_dataset
from ..test_popularity import METADATA, SMALL, write_popularity
from .promises import cases, contents, kept, outcome
from .values import SMALL_NUMBERS, as_words, as_yaml, near, values

VIDEO = [(model, encoder) for model in ("SASRec", "GRU4Rec", "NARM", "FMLPRec") for encoder in ("CVA", "Pooling")]
VIDEO += [("BERT4Rec", "MLP"), ("NextItNet", "ID"), ("SASRec", "PerceiverIO")]
POPULARITY = ("STAP", "MetadataGBDT", "MetadataRidge", "Constant")
STOCK = ("BPR", "Pop", "recbole:SASRec")
# Where a value takes long by itself, or reaches beyond this machine.
NOT_RUN = frozenset([
    "epochs", "compile", "nproc", "world_size", "ip", "port", "offset", "group_offset", "local_rank", "worker",
    "shuffle", "log_wandb", "wandb_project", "detect_anomaly", "use_gpu", "gpu_id", "data_path",
    "checkpoint_dir", "log_dir", "tensorboard_dir", "dataset", "model", "device", "config_files", "resume",
])  # fmt: skip
WORDS = ["--", "-m", "-d", "--epochs", "=", "--=1", "3", "--model=", "-m=STAP"]
PLACES = ["a b", "ü", "a/b/c", "x" * 300, "nul\x00", "file", "file/x", " ", "-x", "%d", "a:b"]


@pytest.fixture(scope="module")
def roots(tmp_path_factory):
    root = tmp_path_factory.mktemp("fuzz data")
    write_dataset(root, "tiny", n_users=12, n_items=10)
    write_popularity(root, "pop", n=40)
    return root


def base_options(target, root):
    """Small options of a model with its data."""
    common = {"data_path": str(root), "show_progress": False, "use_gpu": False}
    if target in VIDEO:
        own = small_options(*target, data_path=str(root))
        return {**own, "model": target[0], "dataset": "tiny", "topk": [1, 3], "valid_metric": "NDCG@3"}
    if target in POPULARITY:
        own = {**SMALL, **METADATA} if target == "STAP" else METADATA
        return {**common, **own, "model": target, "dataset": "pop", **({"epochs": 1} if target == "STAP" else {})}
    fields = {"load_col": {"inter": ["user_id", "item_id", "timestamp"]}, "topk": [1, 3], "valid_metric": "NDCG@3"}
    return {**common, **fields, "model": target, "dataset": "tiny", "epochs": 1}


OURS = {
    name
    for layer in files("recbole_video.properties").iterdir()
    if layer.name.endswith(".yaml")
    for name in yaml.safe_load(layer.read_text("utf-8"))
} | {
    name
    for layer in files("recbole_video.properties").joinpath("model").iterdir()
    for name in yaml.safe_load(layer.read_text("utf-8"))
}
TARGETS = st.sampled_from([*VIDEO, *POPULARITY, *POPULARITY[:1] * 4, *STOCK])
_KNOWN = {}


def known_options(target, root):
    """Every option of a model with its default."""
    if target not in _KNOWN:
        config = Config(config_dict=base_options(target, root))
        encoder = {
            f"encoder_{name}": value for name, value in (config.encoder_options() if target in VIDEO else {}).items()
        }
        _KNOWN[target] = {**config.defaults, **encoder, **base_options(target, root)}
    return _KNOWN[target]


@st.composite
def strange_options(draw, target, root, numbers=None, without=frozenset()):
    """One to three options with odd values, unknown names among them."""
    known = {name: value for name, value in known_options(target, root).items() if name not in without}
    ours = st.sampled_from(sorted(name for name in known if name in OURS or name.startswith("encoder_")))
    names = [
        ours,
        ours,
        ours,
        st.sampled_from(sorted(known)),
    ]  # RecBole has a hundred of names that no model here reads
    if not without:
        names.append(st.sampled_from(["learning_rte", "", "a b", "É", "encoder_", "x" * 999]))
    chosen = draw(st.lists(st.one_of(names), min_size=1, max_size=3, unique=True))
    more = {} if numbers is None else {"numbers": tuple(numbers)}
    return {name: draw(near(known.get(name), **more)) for name in chosen}


class TestConfig:
    @cases(15)
    @given(data=st.data())
    def test_any_options_in_any_form(self, roots, tmp_path, data):
        target = data.draw(TARGETS, "model")
        odd = data.draw(strange_options(target, roots), "options")
        form = data.draw(st.sampled_from(["dict", "words", "file"]), "form")
        base = base_options(target, roots)
        if form == "words":
            made = outcome(Config, config_dict=base, command_line=as_words(odd))
        elif form == "file":
            path = tmp_path / "odd.yaml"
            path.write_text(as_yaml(odd), encoding="utf-8")
            base = {name: value for name, value in base.items() if name not in odd}
            made = outcome(Config, config_file_list=[path], config_dict=base)
        else:
            made = outcome(Config, config_dict={**base, **odd})
        if isinstance(made, Config):
            self.check_read_again(made)

    def check_read_again(self, config):
        """What a run writes down as its options are options that give the same again."""
        text = yaml.safe_dump(config.to_options(), sort_keys=True, allow_unicode=True)
        again = outcome(Config, config_dict=yaml.safe_load(text))
        assert isinstance(again, Config), again
        assert yaml.safe_dump(again.to_options(), sort_keys=True, allow_unicode=True) == text

    @cases(10)
    @given(content=st.one_of(values().map(as_yaml), st.text(max_size=60), st.binary(max_size=60)))
    def test_any_file(self, roots, tmp_path, content):
        path = tmp_path / "odd.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        outcome(Config, "SASRec", "tiny", [path], {"data_path": str(roots)})

    @cases(10)
    @given(words=st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=6)), max_size=4))
    def test_any_words(self, roots, words):
        outcome(Config, config_dict={"data_path": str(roots)}, command_line=words)


class TestRuns:
    @pytest.fixture(scope="class")
    def earlier(self, roots, tmp_path_factory):
        """A folder in which a run has finished."""
        folder = tmp_path_factory.mktemp("runs") / "work"
        folder.mkdir()
        with _inside(folder):
            run_recbole_video(config_dict=base_options(("SASRec", "CVA"), roots))
            (folder / "saved" / "notes.txt").write_text("mine")
            (folder / "file").write_text("mine as well")
        return folder

    @cases(3, share=0.3)
    @given(data=st.data())
    def test_ends_in_a_result_or_a_sentence(self, roots, earlier, data):
        target = data.draw(TARGETS, "model")
        options = base_options(target, roots)
        options |= data.draw(strange_options(target, roots, SMALL_NUMBERS, NOT_RUN), "options")
        if data.draw(st.integers(0, 4)) == 0:
            place = data.draw(st.sampled_from(["checkpoint_dir", "log_dir", "tensorboard_dir", "run_folder"]), "place")
            options[place] = data.draw(st.sampled_from(PLACES), "folder")
        check_run(earlier, options)


def check_run(folder, options):
    """Run, and look at what is there afterwards."""
    run_folder = options.pop("run_folder", None)
    saved = Path(options.get("checkpoint_dir", "saved"))
    with _inside(folder), kept(folder), kept(folder.parent):
        before = set(contents(folder))
        result = outcome(run_recbole_video, config_dict=options, run_folder=run_folder)
        new = set(contents(folder)) - before
        if isinstance(result, RecBoleVideoError):
            assert not [name for name in new if name.endswith((".json", ".pth", ".png", ".tsv", "run.log"))], new
        else:
            assert {"best_valid_result", "test_result"} <= set(result)
        mine = (
            saved,
            options.get("log_dir", "log"),
            options.get("tensorboard_dir", "log_tensorboard"),
            run_folder or "saved",
        )
        tops = {Path(place).parts[0] for place in map(Path, mine) if place.parts}
        assert {Path(name).parts[0] for name in new} <= tops, new
        assert {path.name for path in folder.parent.iterdir()} == {folder.name}


class _inside:
    """Work in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __enter__(self):
        self.before = Path.cwd()
        os.chdir(self.folder)

    def __exit__(self, *error):
        os.chdir(self.before)
