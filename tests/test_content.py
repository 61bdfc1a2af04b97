"""Named content: several modalities of one item, through the table, fusion, training, checkpoints and use."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from torch import nn

from recbole_video import load_model, run_recbole_video, write_frame_store
from recbole_video.config import Config
from recbole_video.content.items import ContentRows, ItemContent, content_stores
from recbole_video.content.mean import masked_mean
from recbole_video.content.store import FrameStore
from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.labelled_loader import PopularityLoader, check_batch_fields
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.files.atomic import write_json
from recbole_video.files.reading import dump_yaml, read_json
from recbole_video.item_encoders import ITEM_ENCODERS, register_item_encoder
from recbole_video.item_encoders.fusion import EarlyFusion, LateFusion, build_content_encoder
from recbole_video.options.content import chosen_content, named_stores, stores_by_name
from recbole_video.popularity import POPULARITY_MODELS, register_popularity_model
from recbole_video.popularity.base import PopularityModel
from recbole_video.quick_start import make_config
from recbole_video.recommendation.data import describe_data, load_data
from recbole_video.runtime.checkpoint_checks import upgraded
from recbole_video.serving.predictor import Inputs
from recbole_video.sweep.plan import make_trial
from recbole_video.sweep.space import grid, point_key, read_space
from recbole_video.sweep.spec import read_sweep
from recbole_video.tasks.recommendation import make_loaders
from recbole_video.tasks.task import Hooks, prepare_bundled
from recbole_video.training.run_folder import RunFolder, _digest, config_fingerprint

from .conftest import FRAME_DIM, MODELS, N_ITEMS, SMALL_ENCODER, prepared, small_options, write_dataset

AUDIO_DIM, N_AUDIO = 5, 2
BOTH = ["frames", "audio"]
HOW = ("early", "late", "late_gate", "late_concat")
CPU = torch.device("cpu")
NAMES = ("CVA", "MLP", "PerceiverIO", "Pooling")


def write_audio(root, name="tiny", lacking=(), dim=AUDIO_DIM):
    """A second modality for all but the ``lacking`` items."""
    rng = np.random.default_rng(7)
    items = [f"i{i}" for i in range(N_ITEMS) if i not in lacking]
    rows, counts = rng.normal(size=(len(items), N_AUDIO, dim)), rng.integers(1, N_AUDIO + 1, len(items))
    return write_frame_store(root / name / f"{name}.audio.frames.npy", items, rows, counts, vfm="ear", sampling="all")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The tiny data set with frames, and audio of all but three items."""
    root = tmp_path_factory.mktemp("content")
    write_dataset(root)
    write_audio(root, lacking=(3, 4, 5))
    return root


def config_of(root, encoder="CVA", model="SASRec", **options):
    places = {name: str(root / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
    return Config(model, "tiny", config_dict=small_options(model, encoder, data_path=str(root), **places, **options))


def model_of(root, encoder="CVA", model="SASRec", **options):
    config = config_of(root, encoder, model, **options)
    task = prepared(config)
    return config, task.data, task.model


@pytest.fixture(scope="module")
def trained(root):
    """how, encoder, options -> run folder, trained once."""
    runs = {}

    def train(how=None, encoder="MLP", content=BOTH, **options):
        key = (how, encoder, str(content), str(options))
        if key not in runs:
            config = config_of(root, encoder, content=content, content_fusion=how, **options)
            runs[key] = Path(run_recbole_video("SASRec", config_dict={**config.to_options()})["run_folder"])
        return runs[key]

    return train


def content_of(n=6, dims=None, seed=1):
    """Random rows of two modalities; item 4 lacks the second, item 5 both."""
    rng = torch.Generator().manual_seed(seed)
    counts = {"frames": [3, 1, 2, 3, 2, 0], "audio": [2, 2, 1, 1, 0, 0]}
    dims = dims or {"frames": FRAME_DIM, "audio": AUDIO_DIM}
    content = {}
    for name, dim in dims.items():
        mask = torch.arange(max(counts[name])) < torch.tensor(counts[name])[:n, None]
        values = torch.randn(n, mask.shape[1], dim, generator=rng, dtype=torch.float64)
        content[name] = ContentRows(values * mask[..., None], mask)
    return content


def encoder_of(how, name="MLP", seed=0):
    torch.manual_seed(seed)
    keys = set(SMALL_ENCODER) if name == "PerceiverIO" else set(SMALL_ENCODER) - {"query_dim"}
    options = {} if name in ("MLP", "Pooling") else {key: SMALL_ENCODER[key] for key in keys}
    dims = {"frames": FRAME_DIM, "audio": FRAME_DIM if name == "Pooling" and how != "early" else AUDIO_DIM}
    made = build_content_encoder(
        lambda dim: ITEM_ENCODERS.get(name)(dim, FRAME_DIM, **options), dims, FRAME_DIM, how, None
    )
    return made.double(), content_of(dims=dims)


class TestNames:
    """Which stores the options name."""

    def stores(self, root, encoder="MLP", **options):
        found = content_stores(config_of(root, encoder, **options))
        return {name: path.name for name, path in found.items()}

    @pytest.mark.parametrize(
        ("options", "want"),
        [
            ({}, {"frames": "tiny.frames.npy"}),
            ({"frame_store": "clip"}, {"frames": "tiny.clip.frames.npy"}),
            ({"content": "frames"}, {"frames": "tiny.frames.npy"}),
            ({"content": ["audio"]}, {"audio": "tiny.audio.frames.npy"}),
            ({"content": BOTH}, {"frames": "tiny.frames.npy", "audio": "tiny.audio.frames.npy"}),
            (
                {"content": BOTH, "frame_store": "clip"},
                {"frames": "tiny.clip.frames.npy", "audio": "tiny.audio.frames.npy"},
            ),
            (
                {"content": {"frames": "clip", "title": "text"}},
                {"frames": "tiny.clip.frames.npy", "title": "tiny.text.frames.npy"},
            ),
            ({"content": {"audio": None, "x": "/y/z.npy"}}, {"audio": "tiny.audio.frames.npy", "x": "z.npy"}),
            ({"content": {"frames": "clip"}, "frame_store": "clip"}, {"frames": "tiny.clip.frames.npy"}),
            ({"content": {"a": "frames"}}, {"a": "tiny.frames.npy"}),
            (
                {"content": {"frames": "audio", "audio": "frames"}},
                {"frames": "tiny.audio.frames.npy", "audio": "tiny.frames.npy"},
            ),
            ({"content": {"aud_io": "aud io"}}, {"aud_io": "tiny.aud io.frames.npy"}),
        ],
        ids=str,
    )
    def test_of_recommendation(self, root, options, want):
        assert self.stores(root, **options) == want

    def test_frames_of_the_longer_name(self, tmp_path):
        write_dataset(tmp_path)
        folder = tmp_path / "tiny"
        for kind in ("npy", "json"):
            (folder / f"tiny.frames.{kind}").rename(folder / f"tiny.frames.frames.{kind}")
        assert self.stores(tmp_path, content=["frames"]) == {"frames": "tiny.frames.frames.npy"}
        assert self.stores(tmp_path, content={"a": "frames"}) == {"a": "tiny.frames.frames.npy"}
        write_dataset(tmp_path)  # both: the word asks for the longer name, as ever, and the name alone does not
        assert self.stores(tmp_path, frame_store="frames") == {"frames": "tiny.frames.frames.npy"}
        assert self.stores(tmp_path) == {"frames": "tiny.frames.npy"}

    @pytest.mark.parametrize(
        ("options", "want"),
        [
            ({}, {"frames": "p.frames.npy", "text": "p.text.frames.npy"}),
            ({"use_text": False, "frame_store": "clip"}, {"frames": "p.clip.frames.npy"}),
            ({"use_frames": False, "text_store": "titles"}, {"text": "p.titles.frames.npy"}),
            ({"content": ["text"]}, {"text": "p.text.frames.npy"}),
            (
                {"content": {"text": "titles", "frames": None}},
                {"text": "p.titles.frames.npy", "frames": "p.frames.npy"},
            ),
            ({"content": ["frames", "text"], "use_text": False}, {"frames": "p.frames.npy"}),
        ],
        ids=str,
    )
    def test_of_popularity(self, options, want):
        config = Config("STAP", "p", config_dict={"data_path": "d", **options})
        assert {name: path.name for name, path in content_stores(config).items()} == want

    @pytest.mark.parametrize(
        ("word", "want"),
        [
            ("[frames, 007]", ["frames", "007"]),
            ("{audio: ~, frames: 1e5}", {"audio": None, "frames": "1e5"}),
            ("{frames: 1e5, audio: ~}", [{"frames": "1e5"}, "audio"]),  # not in order of names
            ("[{frames: 1e5}, audio]", [{"frames": "1e5"}, "audio"]),
            ("{'audio': None, 'frames': 'null'}", {"audio": None, "frames": "null"}),
            ("no", "no"),
        ],
    )
    def test_are_text_on_the_command_line_and_in_a_file(self, root, tmp_path, word, want):
        (tmp_path / "c.yaml").write_text(f"content: {word}\n")
        if "'" in word:  # Python's way, for the command line alone
            (tmp_path / "c.yaml").write_text("content: {audio: null, frames: 'null'}\n")
        options = small_options("SASRec", "MLP", data_path=str(root))
        assert Config("SASRec", "tiny", config_dict=options, command_line=[f"--content={word}"])["content"] == want
        config = Config("SASRec", "tiny", [tmp_path / "c.yaml"], options)
        assert config["content"] == want
        again = Config(config_dict=yaml.safe_load(yaml.safe_dump(config.to_options())))
        assert again["content"] == want and config_fingerprint(again) == config_fingerprint(config)

    def test_defaults_leave_the_fingerprint_of_before(self, root):
        """An old run folder has none of these options."""
        options = config_of(root).to_options()
        assert not {"content", "content_fusion", "content_width"} & set(options)

    def test_named_stores_are_made_of_a_bundled_data_set(self, root, monkeypatch):
        assert named_stores(config_of(root, content={"frames": None, "a": "clip"})) == ["clip"]
        assert named_stores(config_of(root, frame_store="clip")) == ["clip"] and not named_stores(config_of(root))
        assert not named_stores(config_of(root, content={"a": "frames"}))
        made = []
        monkeypatch.setattr("recbole_video.dataset_tools.prepare", lambda *given: made.append(given[2]))
        content = ["frames", "dinov3-mid5"]
        prepare_bundled(Config("SASRec", "microvideo-demo", config_dict={"content": content}))
        assert made == [None, "dinov3-mid5"]


@pytest.mark.parametrize(
    ("encoder", "options", "message"),
    [
        ("MLP", {"content": ["frames", "frames"]}, "`content` names `frames` twice"),
        ("MLP", {"content": True}, "`content` is `True`; it must be text"),
        ("MLP", {"content": []}, r"`content` is `\[\]`; it must be a list of names"),
        ("MLP", {"content": [["frames"]]}, "`content` is .*; it must be a list of names"),
        ("MLP", {"content": {"frames": ["a"]}}, "`content` is .*; it must be"),
        ("MLP", {"content": "frames,audio"}, "`content` names `frames,audio`; a name is made of letters"),
        ("MLP", {"content": ["../audio"]}, "`content` names `../audio`; a name is made of letters"),
        ("MLP", {"content": ["audio"], "frame_store": "x"}, "`frame_store` is the store of `frames`, which `content`"),
        (
            "MLP",
            {"content": {"frames": "a"}, "frame_store": "b"},
            "`content` says `a` of `frames`, .*`frame_store` says",
        ),
        ("ID", {"content": BOTH}, "`content` is what an item encoder reads, and item_encoder=ID reads ids alone"),
        (
            "MLP",
            {"content": BOTH, "content_fusion": "sum"},
            "`content_fusion` is `sum`; it must be one of early, late, ",
        ),
        ("MLP", {"content_fusion": "late"}, "`content_fusion` is about several modalities; name them by content"),
        ("MLP", {"content_width": 8}, "`content_width` is about several modalities"),
        ("MLP", {"content": ["frames"], "content_fusion": "late"}, "`content_fusion` is about .* names `frames` alone"),
        ("MLP", {"content": {"a": "audio"}, "content_fusion": "early"}, "`content_fusion` is about .* `a` alone"),
        ("MLP", {"content": "audio", "content_width": 8}, "`content_width` is about several .* `audio` alone; leave"),
        (
            "MLP",
            {"content": BOTH, "content_width": 0},
            "`content_width` is `0`; it must be a whole number of at least 1",
        ),
        ("MLP", {"content": BOTH, "content_width": 1.5}, "`content_width` is `1.5`; it must be a whole number"),
        ("MLP", {"content": BOTH, "content_width": 8, "content_fusion": "late"}, "`content_width` is what .*=early"),
        ("MLP", {"contents": BOTH}, "`contents` is not an option.*`content`"),
        ("MLP", {"content": "aud io"}, r"`content` names `aud io`; .* another name is written {aud_io: 'aud io'}\."),
        ("MLP", {"content": "frames, audio"}, r"several are written \[frames, audio\]\."),
        ("MLP", {"content": [{"a": None}, "a"]}, "`content` names `a` twice"),
        ("Pooling", {"content": [["frames"]]}, "`content` is .*; it must be a list of names"),
        ("MLP", {"content": "{text: ~, text: a}"}, "`content` gives `text` twice, the second time in line 1"),
        ("MLP", {"content": "[a, b"}, r"`content` names `\[a, b`"),
    ],
)
def test_options_that_cannot_be(root, encoder, options, message):
    with pytest.raises(ConfigError, match=message):
        config_of(root, encoder, **options)


def test_void_options_of_a_run_of_before(root, tmp_path):
    """Earlier versions took options of fusion for one modality: its run is loaded, and resumed by its folder."""
    old = {**config_of(root, content=["frames"]).to_options(), "content_fusion": "late"}
    assert Config(config_dict=old, is_stored=True)["content_fusion"] == "late"
    (tmp_path / "config.yaml").write_text(dump_yaml(old))
    with pytest.raises(ConfigError, match="names `frames` alone"):
        Config(config_file_list=[tmp_path / "config.yaml"])
    assert make_config(config_dict={"resume": str(tmp_path)})["content_fusion"] == "late"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"content": ["frames", "audoi"]},
            "`content` names `audoi`.*`audio`.*there is no `.*tiny.audoi.frames.npy`; there is audio, frames",
        ),
        ({"content": {"frames": "clip", "audio": None}}, "there is no `.*tiny.clip.frames.npy`"),
        ({"content": {"frames": "/none/x.npy"}}, "there is no `/none/x.npy`"),
        (
            {"content": {"audio": "adio", "frames": None}},
            r"`content` names `audio`, of the store `adio` \(did you mean `audio`\?\), and there is no .*audio,",
        ),
        (
            {"content": {"frames": None}, "frame_store": "clip"},
            "`content` names `frames`, of the store `clip`, and there is no `.*tiny.clip",
        ),
        (
            {"frame_store": "clip"},
            r"There is no `.*tiny.clip.frames.npy`; .*set frame_store \(there is audio, frames\)",
        ),
    ],
)
def test_stores_that_are_not_there(root, options, message):
    with pytest.raises(DataError, match=message) as caught:
        load_data(config_of(root, "MLP", **options))
    assert "names `frames` (did you mean" not in str(caught.value)


def test_names_that_a_popularity_model_does_not_read():
    with pytest.raises(ConfigError, match="`content` names `txet`, which STAP does not read.*`text`.*frames, text"):
        Config("STAP", "p", config_dict={"data_path": "d", "content": ["txet"]})


@pytest.mark.parametrize("model", ["MetadataRidge", "MetadataGBDT", "Constant"])
def test_names_that_leave_no_video_out_of_the_data_of_a_control(model):
    """Else a misspelt one would give it other videos than the models that it is compared with."""
    data = {"data_path": "d", **({} if model == "Constant" else {"metadata_numeric": ["a"]})}
    for name in ("farmes", "audio"):
        with pytest.raises(
            ConfigError, match=f"`content` names `{name}`, which {model} does not read.*only leaves out"
        ):
            Config(model, "p", config_dict={**data, "content": {"frames": None, name: "audio"}})
    assert Config(model, "p", config_dict={**data, "content": {"frames": "audio"}})["content"]
    old = {"model": model, "dataset": "p", **data, "content": ["frames", "audio"]}
    assert Config(config_dict=old, is_stored=True)["content"] == ["frames", "audio"]  # which a run of before may have


SWAPPED = {"z": "frames", "a": "again"}  # of one width, so that swapped weights would load


class TestOrder:
    """The order of modalities is part of a model, and no file loses it."""

    @pytest.fixture(scope="class")
    def root(self, tmp_path_factory):
        root = tmp_path_factory.mktemp("order")
        write_dataset(root)
        rows = np.random.default_rng(3).normal(size=(N_ITEMS, 2, FRAME_DIM))
        write_frame_store(root / "tiny" / "tiny.again.frames.npy", [f"i{i}" for i in range(N_ITEMS)], rows,
                          vfm="x", sampling="x")  # fmt: skip
        return root

    def options(self, root, tmp_path, content, **more):
        places = {name: str(tmp_path / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
        return small_options("SASRec", "MLP", data_path=str(root), epochs=2, content=content, **places, **more)

    @pytest.mark.parametrize(
        "content",
        [
            "frames",
            ["frames", "audio"],
            {"audio": None, "frames": None},
            {"frames": None, "audio": None},
            {"z": "pix", "a": "aud"},
            {"a": "aud", "z": "pix"},
            {"text": "007", "frames": None, "b": "null", "on": "no"},
            [{"z": "pix"}, "a"],
        ],
        ids=str,
    )
    @pytest.mark.parametrize("model", ["SASRec", "STAP"])
    def test_every_form_survives_every_file(self, root, tmp_path, content, model, monkeypatch):
        if model == "STAP":
            monkeypatch.setattr(
                POPULARITY_MODELS.get(model), "inputs_read", frozenset([*stores_by_name(content), "text"])
            )
        given = {"data_path": str(root), "content": content}
        config = Config(model, "tiny", config_dict=given)
        (tmp_path / "c.yaml").write_text(dump_yaml(config.to_options()))
        write_json(tmp_path / "c.json", config.to_options())
        for again in (
            Config(config_file_list=[tmp_path / "c.yaml"]),
            Config(config_dict=read_json(tmp_path / "c.json")),
        ):
            assert list(chosen_content(again).items()) == list(chosen_content(config).items())
            assert config_fingerprint(again) == config_fingerprint(config)
        if isinstance(content, dict):  # as earlier versions wrote it: sorted, nothing as null
            (tmp_path / "old.yaml").write_text(yaml.safe_dump({**config.to_options(), "content": content}))
            assert stores_by_name(Config(config_file_list=[tmp_path / "old.yaml"])["content"]) == content

    def test_two_orders_are_two_runs(self, root, tmp_path):
        one, other = ({"content": dict(pairs)} for pairs in (SWAPPED.items(), reversed(SWAPPED.items())))
        assert point_key(one) != point_key(other) and point_key({"x": 1, **one}) == point_key({**one, "x": 1})
        configs = [Config("SASRec", "tiny", config_dict=self.options(root, tmp_path, **each)) for each in (one, other)]
        assert config_fingerprint(configs[0]) != config_fingerprint(configs[1])
        assert configs[0]["content"] != configs[1]["content"]  # by which a sweep knows data that it has
        text = "space: {content: [{z: frames, a: again}, {a: again, z: frames}]}"
        sweep = read_sweep(text, "s", "s.yaml")
        trials = [make_trial(sweep, sweep.rows[0], 0, point, 1) for point in grid(sweep.space)]
        assert len({trial.name.rpartition("-")[2] for trial in trials}) == 2
        assert list(stores_by_name(trials[0].options["content"])) == ["z", "a"]
        with pytest.raises(ConfigError, match="lists .* twice"):
            read_space({"content": [SWAPPED, dict(SWAPPED)]})

    @pytest.fixture(scope="class")
    def killed_once(self, root, tmp_path_factory):
        """The folder of a run that was killed after its first epoch."""

        def kill(epoch, score):
            raise KeyboardInterrupt

        folder = tmp_path_factory.mktemp("killed") / "killed"
        options = self.options(root, folder.parent, SWAPPED)
        with pytest.raises(KeyboardInterrupt):
            run_recbole_video("SASRec", "tiny", config_dict=options, run_folder=folder, hooks=Hooks(on_epoch=kill))
        return folder

    def killed(self, once, tmp_path, is_old):
        """A copy of it; or as an earlier version left it."""
        folder = tmp_path / "checkpoint_dir" / "killed"
        shutil.copytree(once, folder)
        if is_old:
            stored = {**yaml.safe_load((folder / "config.yaml").read_text()), "content": dict(SWAPPED)}
            (folder / "config.yaml").write_text(yaml.safe_dump(stored))
            record = read_json(folder / "run.json")
            write_json(folder / "run.json", {**record, "fingerprint": _digest(stored)})
        return folder

    @pytest.fixture(scope="class")
    def unbroken(self, root, tmp_path_factory):
        options = self.options(root, tmp_path_factory.mktemp("unbroken"), SWAPPED)
        found = run_recbole_video("SASRec", "tiny", config_dict=options)
        return found["best_valid_result"], found["test_result"]

    @pytest.mark.parametrize(("is_old", "how"), [(False, "folder"), (True, "folder"), (True, "newest"), (True, "at")])
    def test_a_resumed_run_ends_as_an_unbroken_one(self, root, tmp_path, killed_once, unbroken, is_old, how):
        options = self.options(root, tmp_path, SWAPPED)
        folder = self.killed(killed_once, tmp_path, is_old)
        if how == "folder":
            found = run_recbole_video(config_dict={"resume": str(folder)})
        elif how == "newest":
            found = run_recbole_video("SASRec", "tiny", config_dict={**options, "resume": True})
        else:
            found = run_recbole_video("SASRec", "tiny", config_dict=options, run_folder=folder)
        assert found["run_folder"] == str(folder)
        assert (found["best_valid_result"], found["test_result"]) == unbroken
        assert list(load_model(folder).content) == list(SWAPPED)

    def test_a_run_of_the_other_order_is_another_one(self, root, tmp_path, killed_once):
        """Though the fingerprint that an earlier version wrote is the same for both."""
        folder = self.killed(killed_once, tmp_path, is_old=True)
        other = self.options(root, tmp_path, dict(reversed(SWAPPED.items())))
        with pytest.raises(ConfigError, match="holds a run of other options"):
            RunFolder.at(folder, Config("SASRec", "tiny", config_dict=other))
        with pytest.raises(ConfigError, match="was made with other options"):
            RunFolder.to_resume(make_config("SASRec", "tiny", None, {**other, "resume": str(folder)}))
        assert RunFolder.to_resume(Config("SASRec", "tiny", config_dict={**other, "resume": True})) is None

    def test_an_old_run_without_a_checkpoint_begins_anew(self, root, tmp_path, killed_once):
        config = Config("SASRec", "tiny", config_dict=self.options(root, tmp_path, SWAPPED))
        folder = self.killed(killed_once, tmp_path, is_old=True)
        for name in ("last.pth", "model.pth"):
            (folder / name).unlink()
        found = RunFolder.at(folder, config)
        found.release()
        assert found.content_as_trained() is None

    @pytest.mark.parametrize(
        ("trained", "off", "is_same"),
        [(["text", "frames"], {}, True), (["frames", "text"], {}, False), (["frames"], {"use_text": False}, True),
         ([], {}, True)],
    )  # fmt: skip
    def test_an_old_run_is_known_by_the_order_of_what_it_read(self, tmp_path, trained, off, is_same):
        """What was switched off has no order; without a checkpoint nothing has."""
        content = {"text": "t", "frames": "f"}
        config = Config("STAP", "p", config_dict={"data_path": "d", "content": content, **off})
        stored = {**config.to_options(), "content": content}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(stored))
        write_json(tmp_path / "run.json", {"fingerprint": _digest(stored)})
        if trained:
            torch.save({"state_dict": {}, "data": {"content": dict.fromkeys(trained)}}, tmp_path / "last.pth")
        assert RunFolder(tmp_path)._is_of(config) == is_same

    def test_a_checkpoint_of_another_order_is_refused(self, root, tmp_path, killed_once):
        config = Config("SASRec", "tiny", config_dict=self.options(root, tmp_path, SWAPPED))
        folder = self.killed(killed_once, tmp_path, is_old=False)
        state = torch.load(folder / "last.pth", weights_only=True)
        state["data"]["content"] = dict(reversed(state["data"]["content"].items()))
        torch.save(state, folder / "last.pth")
        with pytest.raises(CheckpointError, match="has changed"):
            run_recbole_video(config_dict=config.to_options(), run_folder=folder)


class TestItemContent:
    TOKENS = np.array(["[PAD]", "i2", "i3", "i0"], dtype=object)

    def test_against_the_stores(self, root):
        stores = {
            name: FrameStore(root / "tiny" / f"tiny{word}.frames.npy")
            for name, word in (("frames", ""), ("audio", ".audio"))
        }
        content = ItemContent.of(stores, self.TOKENS, CPU)
        assert content.names == ("frames", "audio") and content.dims == {"frames": FRAME_DIM, "audio": AUDIO_DIM}
        found = content.gather(torch.tensor([3, 0, 2]))
        for name, store in stores.items():
            for i, token in enumerate(("i0", None, "i3")):
                row = store.items.index(token) if token in store.items else None
                count = 0 if row is None else store.frame_counts[row]
                assert found[name].mask[i].tolist() == [k < count for k in range(store.n_frames)]
                want = np.zeros_like(store.frames[0]) if row is None else store.frames[row].astype(np.float32)
                np.testing.assert_array_equal(found[name].values[i], want)
        assert content.origins()["audio"] == {
            "dim": AUDIO_DIM,
            "vfm": "ear",
            "sampling": "all",
            "sha256": stores["audio"].manifest.sha256,
        }
        moved = content.on(CPU, False)
        assert not moved.tables["audio"].is_on_device
        again = moved.gather(torch.tensor([3, 0, 2]))
        assert all(torch.equal(a, b) for name in found for a, b in zip(found[name], again[name], strict=True))

    @pytest.mark.parametrize("policy", ["error", "drop", "zero"])
    def test_items_without_any(self, tmp_path, policy):
        """One without audio, or without frames, stays; one without both is what `missing_items` says."""
        write_dataset(tmp_path)
        path = tmp_path / "tiny" / "tiny.frames.npy"
        store = FrameStore(path)
        items, rows = list(store.items), np.array(store.frames)
        kept = [row for row, item in enumerate(items) if item not in ("i1", "i2")]
        write_frame_store(path, [items[r] for r in kept], rows[kept], vfm="random", sampling="none")
        write_audio(tmp_path, lacking=(2, 3))
        config = config_of(tmp_path, content=BOTH, missing_items=policy, min_sequence_length=3)
        if policy == "error":
            with pytest.raises(
                DataError, match="1 item has no content in any of `tiny.frames.npy`, .*first: `i2`.*drop"
            ):
                load_data(config)
            return
        data = load_data(config)
        tokens = list(data.dataset.item_tokens)
        assert {"i1", "i3"} < set(tokens) and ("i2" in tokens) == (policy == "zero")
        found = data.catalogue.content.gather(torch.tensor([tokens.index("i1"), tokens.index("i3")]))
        assert found["frames"].mask.any(dim=1).tolist() == [False, True]
        assert found["audio"].mask.any(dim=1).tolist() == [True, False]


class TestFusion:
    @pytest.mark.parametrize("how", HOW)
    @pytest.mark.parametrize("name", NAMES)
    def test_content_under_the_mask_changes_nothing(self, how, name):
        encoder, content = encoder_of(how, name)
        other = {
            n: rows._replace(values=rows.values.masked_fill(~rows.mask[..., None], 9.0)) for n, rows in content.items()
        }
        want = encoder(content)
        assert want.shape == (6, FRAME_DIM) and torch.isfinite(want).all()
        torch.testing.assert_close(encoder(other), want, rtol=0, atol=0)
        alone = {n: ContentRows(*(part[2:3] for part in rows)) for n, rows in content.items()}
        torch.testing.assert_close(encoder(alone), want[2:3])

    @pytest.mark.parametrize("how", HOW)
    def test_gradient_reaches_every_parameter_and_no_masked_row(self, how):
        encoder, content = encoder_of(how)
        content = {n: rows._replace(values=rows.values.clone().requires_grad_()) for n, rows in content.items()}
        encoder(content).square().sum().backward()
        for rows in content.values():
            assert rows.values.grad[rows.mask].abs().sum() > 0 and not rows.values.grad[~rows.mask].any()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in encoder.parameters())

    def test_early_by_hand(self):
        """Projection, modality vector, one sequence; then the mean over all rows that there are."""
        torch.manual_seed(3)
        dims = {"frames": FRAME_DIM, "audio": AUDIO_DIM}
        fusion = EarlyFusion(lambda dim: ITEM_ENCODERS.get("Pooling")(dim, 6), dims, 6).double()
        content = content_of()
        state = {key: value.numpy() for key, value in fusion.state_dict().items()}
        assert set(state) == {"modality", *(f"projections.{i}.{k}" for i in (0, 1) for k in ("weight", "bias"))}
        for item in range(6):
            rows = []
            for i, name in enumerate(dims):
                for row, is_there in zip(content[name].values[item].numpy(), content[name].mask[item], strict=True):
                    if is_there:
                        weight, bias = state[f"projections.{i}.weight"], state[f"projections.{i}.bias"]
                        rows.append(weight @ row + bias + state["modality"][i])
            want = np.mean(rows, axis=0) if rows else np.zeros(6)
            np.testing.assert_allclose(fusion(content)[item].detach().numpy(), want, rtol=1e-12)

    @pytest.mark.parametrize("how", HOW[1:])
    def test_late_by_hand(self, how):
        encoder, content = encoder_of(how)
        vectors = [e(*content[name]).detach().numpy() for name, e in zip(content, encoder.encoders, strict=True)]
        present = [content[name].mask.any(dim=1).numpy() for name in content]
        for item in range(6):
            parts = [v[item] if p[item] else np.zeros(FRAME_DIM) for v, p in zip(vectors, present, strict=True)]
            if how == "late":
                want = parts[0] + parts[1]
            elif how == "late_concat":
                out = encoder.out.weight.detach().numpy(), encoder.out.bias.detach().numpy()
                want = out[0] @ np.concatenate(parts) + out[1]
            else:
                gate = encoder.gate.weight.detach().numpy(), encoder.gate.bias.detach().numpy()
                score = np.exp(gate[0] @ np.concatenate(parts) + gate[1]) * [p[item] for p in present]
                shares = score / score.sum() if score.sum() else score
                want = shares[0] * parts[0] + shares[1] * parts[1]
            np.testing.assert_allclose(encoder(content)[item].detach().numpy(), want, rtol=1e-6, atol=1e-9)

    def test_one_modality_is_the_encoder_itself(self):
        for how in (None, *HOW):
            torch.manual_seed(0)
            made = build_content_encoder(lambda dim: ITEM_ENCODERS.get("MLP")(dim, 4), {"x": 3}, 4, how, 9)
            torch.manual_seed(0)
            plain = ITEM_ENCODERS.get("MLP")(3, 4)
            assert type(made) is type(plain)
            assert all(torch.equal(a, b) for a, b in zip(made.parameters(), plain.parameters(), strict=True))

    def test_widths_that_pooling_cannot_keep(self, root):
        for options, message in (
            ({"content_width": 9}, "Pooling keeps the frames' width: .*must be 9, not 384"),
            ({"content_fusion": "late"}, r"=late needs all to be of one width \(frames 8, audio 5\); fuse early"),
            ({"content_fusion": "late_concat", "hidden_size": 8}, r"=late_concat needs all .* \(frames 8, audio 5\)"),
            ({"content_fusion": "late", "content": {"a": "frames", "b": "frames"}}, "must be 8, not 384"),
        ):
            with pytest.raises(ConfigError, match=message):
                model_of(root, "Pooling", **{"content": BOTH, **options})


class TestTraining:
    @pytest.mark.parametrize("encoder", NAMES)
    @pytest.mark.parametrize("how", ["early", "late_gate"])
    def test_every_item_encoder(self, root, encoder, how):
        own = {"hidden_size": FRAME_DIM} if encoder == "Pooling" else {}
        if encoder == "Pooling" and how != "early":
            own["content"] = {"frames": None, "again": str(root / "tiny" / "tiny.frames.npy")}
        config, data, model = model_of(
            root, encoder, **{"content": BOTH, "content_fusion": how, "id_fusion": "gate", **own}
        )
        train = make_loaders(config, data, model)["train"]
        loss = model.calculate_loss(next(iter(train)))
        loss.backward()
        assert torch.isfinite(loss)
        unused = [n for n, p in model.item_embedding.named_parameters() if p.grad is None]
        assert all("query" in name for name in unused)  # of a single latent, see SelfAttention
        model.eval()
        with torch.no_grad():
            vectors = model.item_embedding.weight
        assert torch.isfinite(vectors).all() and len(vectors) == data.catalogue.item_num

    @pytest.mark.parametrize("model", MODELS)
    @pytest.mark.parametrize("how", ["early", "late"])
    def test_every_user_encoder(self, root, model, how):
        config, data, built = model_of(root, "MLP", model, content=BOTH, content_fusion=how)
        built.calculate_loss(next(iter(make_loaders(config, data, built)["train"]))).backward()
        assert all(torch.isfinite(p.grad).all() for p in built.item_embedding.parameters() if p.grad is not None)

    def test_an_encoder_of_ones_own_reads_several(self, root, monkeypatch):
        """With the signature that it always had."""
        monkeypatch.setattr(ITEM_ENCODERS, "_entries", dict(ITEM_ENCODERS._entries))
        monkeypatch.setattr(ITEM_ENCODERS, "_admitted", {})

        class Largest(nn.Module):
            def __init__(self, frame_dim, item_dim, scale=1.0):
                super().__init__()
                self.scale, self.out = scale, nn.Linear(frame_dim, item_dim)

            def forward(self, frames, mask):
                largest = frames.masked_fill(~mask[..., None], -1e4).amax(dim=1)
                return self.out(torch.where(mask.any(dim=1, keepdim=True), largest, 0.0)) * self.scale

        register_item_encoder()(Largest)
        for how in HOW:
            config, data, model = model_of(
                root, "MLP", item_encoder="Largest", content=BOTH, content_fusion=how, encoder_scale=2.0
            )
            assert torch.isfinite(model.calculate_loss(next(iter(make_loaders(config, data, model)["train"]))))

    @pytest.mark.parametrize("named", [{"content": ["frames"]}, {"content": "frames"}], ids=str)
    def test_one_named_modality_is_bit_equal_to_none_named(self, root, named):
        def steps(**options):
            config, data, model = model_of(root, "CVA", id_fusion="sum", **options)
            optimizer = torch.optim.SGD(model.parameters(), 0.1)
            losses = []
            for batch in make_loaders(config, data, model)["train"]:
                optimizer.zero_grad()
                loss = model.calculate_loss(batch)
                loss.backward()
                optimizer.step()
                losses.append(loss.item())
            return losses, model.state_dict(), torch.rand(3)

        old, new = steps(), steps(**named)
        assert old[0] == new[0] and list(old[1]) == list(new[1]) and torch.equal(old[2], new[2])
        assert all(torch.equal(old[1][key], new[1][key]) for key in old[1])

    def test_results_say_what_was_read(self, root):
        both, alone = config_of(root, content=BOTH), config_of(root, content=["frames"])
        inputs = describe_data(both, data := load_data(both), data.catalogue.content)["inputs"]
        assert set(inputs) == set(BOTH) and inputs["audio"]["vfm"] == "ear" and inputs["audio"]["on_device"]
        described = describe_data(alone, data := load_data(alone), data.catalogue.content)
        assert described["frames"]["file"] == "tiny.frames.npy" and "inputs" not in described


class TestUse:
    @pytest.mark.parametrize("how", HOW)
    def test_round_trip_through_a_checkpoint(self, root, trained, how):
        folder = trained(how)
        recommender = load_model(folder)
        assert {n: (o.dim, o.vfm) for n, o in recommender.content.items()} == {
            "frames": (8, "random"),
            "audio": (5, "ear"),
        }
        config = Config(config_file_list=[folder / "config.yaml"])
        model = prepared(config).model
        model.load_state_dict(torch.load(folder / "model.pth", weights_only=True)["state_dict"])
        model.eval()
        with torch.no_grad():
            want = model.item_embedding.weight[1:].numpy()
        np.testing.assert_allclose(recommender.item_vectors()[1], want, rtol=1e-5, atol=1e-6)
        assert len(recommender.recommend([["i1", "i2"]], k=3)) == 3

    @pytest.mark.parametrize("how", HOW)
    def test_new_videos_equal_known_ones_with_the_same_content(self, root, trained, how):
        model = load_model(trained(how))
        stores = {
            "frames": FrameStore(root / "tiny" / "tiny.frames.npy"),
            "audio": FrameStore(root / "tiny" / "tiny.audio.frames.npy"),
        }
        known = ["i7", "i3"]  # the second has no audio
        rows = {name: store.rows_of(known) for name, store in stores.items()}
        content = {name: store.read(rows[name]) for name, store in stores.items()}
        counts = {name: store.counts_of(rows[name]) for name, store in stores.items()}
        model.add_videos(["a", "b"], frame_counts=counts, content=content)
        model.add_videos(["c"], content["frames"][1:], counts["frames"][1:])  # as ever: frames alone
        tokens, vectors = model.item_vectors()
        by_token = dict(zip(tokens, vectors, strict=True))
        for new, old in (("a", "i7"), ("b", "i3"), ("c", "i3")):
            np.testing.assert_allclose(by_token[new], by_token[old], rtol=1e-4, atol=1e-6)

    def test_stores_of_new_videos(self, root, trained, tmp_path):
        rng = np.random.default_rng(0)
        frames, audio = rng.normal(size=(2, 3, FRAME_DIM)), rng.normal(size=(2, 1, AUDIO_DIM))
        write_frame_store(tmp_path / "f.frames.npy", ["i1", "x"], frames, vfm="random", sampling="none")
        write_frame_store(tmp_path / "a.frames.npy", ["x", "y"], audio, vfm="ear", sampling="all")
        by_store, by_hand = load_model(trained("late")), load_model(trained("late"))
        assert by_store.add_store({"frames": tmp_path / "f.frames.npy", "audio": tmp_path / "a.frames.npy"}) == 2
        by_hand.add_videos(
            ["x"], content={"frames": frames[1:].astype(np.float16), "audio": audio[:1].astype(np.float16)}
        )
        by_hand.add_videos(["y"], content={"audio": audio[1:].astype(np.float16)})
        np.testing.assert_allclose(by_store.item_vectors()[1], by_hand.item_vectors()[1], rtol=1e-4, atol=1e-6)
        with pytest.raises(DataError, match="came from `ear`, those of the training from `random`"):
            by_store.add_store(tmp_path / "a.frames.npy")
        with pytest.raises(ConfigError, match="does not read `audoi`.*`audio`.*; it reads frames, audio"):
            by_store.add_store({"audoi": tmp_path / "a.frames.npy"})
        for wrong in ([tmp_path / "f.frames.npy", tmp_path / "a.frames.npy"], None):
            with pytest.raises(
                ConfigError, match="`path` is .*; give a file, or the file of each modality by its name"
            ):
                by_store.add_store(wrong)

    def test_stores_are_checked_also_where_all_items_are_known(self, trained, tmp_path):
        """By what says that they are of the training's encoder, and by their width."""
        model = load_model(trained("late"))
        known = model.items[:2]
        for vfm, width, options, message in (
            ("eye", AUDIO_DIM, {}, "came from `eye`, those of the training from `ear`"),
            ("ear", AUDIO_DIM + 1, {}, "The audio of `.*` are 6 wide, those of the training 5"),
            ("eye", AUDIO_DIM + 1, {"any_vfm": True}, "are 6 wide"),
        ):
            path = tmp_path / f"{vfm}{width}.frames.npy"
            write_frame_store(path, known, np.ones((2, 1, width)), vfm=vfm, sampling="all")
            with pytest.raises(DataError, match=message):
                model.add_store({"audio": path}, **options)

    def test_one_row_of_each_new_video(self, trained):
        rows = np.random.default_rng(1).normal(size=(2, AUDIO_DIM))
        flat, deep = load_model(trained("late")), load_model(trained("late"))
        flat.add_videos(["x", "y"], content={"audio": rows})
        deep.add_videos(["x", "y"], content={"audio": rows[:, None]})
        np.testing.assert_array_equal(flat.item_vectors()[1], deep.item_vectors()[1])

    @pytest.mark.parametrize(
        ("given", "error", "message"),
        [
            ({}, DataError, "Nothing is given of the new videos; give content=.* of frames, audio"),
            ({"content": {"sound": np.ones((2, 1, 5))}}, ConfigError, "does not read `sound`; it reads frames, audio"),
            ({"content": {"audio": np.ones((2, 1, 8))}}, DataError, r"Audio of 2 new videos must be \[2, F, 5\], not"),
            (
                {"frames": np.ones((2, 1, 8)), "content": {"frames": np.ones((2, 1, 8))}},
                ConfigError,
                "`frames` is given twice",
            ),
            (
                {"content": {"audio": np.ones((2, 1, 5))}, "frame_counts": {"audio": [1, 0]}},
                DataError,
                "1 new video has no content .first: `y`.; give it a row of frames or audio",
            ),
            ({"content": {"audio": np.full((2, 1, 5), np.nan)}}, DataError, "The audio of 2 new videos holds NaN"),
            (
                {"content": {"audio": np.ones((2, 1, 5))}, "frame_counts": {"audio": [1, 2]}},
                DataError,
                "`frame_counts` must be 2 numbers between 0 and 1",
            ),
            (
                {"content": [np.ones((2, 1, 8)), np.ones((2, 1, 5))]},
                ConfigError,
                "`content` is list; give .* by its name",
            ),
            (
                {"content": np.ones((2, 1, 5))},
                ConfigError,
                "`content` is ndarray; give the rows of each modality by its",
            ),
            (
                {"frames": np.ones((2, 1, 8)), "frame_counts": {"frames": [1, 1], "audio": [1, 1]}},
                DataError,
                "`frame_counts` are of `audio`, of which no rows are given",
            ),
            (
                {"content": {"audio": np.ones((2, 5))}, "frame_counts": [1, 1]},
                DataError,
                "are of `frames`, of which no",
            ),
            (
                {"frames": np.ones((2, 8))},
                DataError,
                r"Frames of 2 new videos must be \[2, F, 8\], not \[2, 8\]; of one row each, give vec",
            ),
        ],
        ids=str,
    )
    def test_new_videos_that_cannot_be(self, trained, given, error, message):
        model = load_model(trained("early"))
        with pytest.raises(error, match=message):
            model.add_videos(["x", "y"], **given)
        assert "x" not in model.items

    def test_a_model_of_one_other_modality(self, trained):
        model = load_model(trained(content=["audio"], missing_items="zero"))
        assert model.vfm == "ear" and set(model.content) == {"audio"}
        model.add_videos(["x"], np.ones((1, 2, AUDIO_DIM)))
        assert "x" in model.items


class TestPopularity:
    """A model of one's own that reads a modality of any name."""

    N = 40

    @pytest.fixture
    def own(self, tmp_path, monkeypatch):
        """Options of a model that averages the audio, on videos of which the first lacks it."""
        monkeypatch.setattr(POPULARITY_MODELS, "_entries", dict(POPULARITY_MODELS._entries))
        monkeypatch.setattr(POPULARITY_MODELS, "_admitted", {})

        class Loud(PopularityModel):
            inputs_read = frozenset(["frames", "audio"])

            def __init__(self, config, inputs):
                super().__init__(config, inputs)
                self.out = nn.Linear(inputs.other_dims["audio"] + inputs.frame_dim, 1)

            def forward(self, batch):
                audio = masked_mean(batch["audio"], batch["audio_mask"])
                return self.out(torch.cat([audio, masked_mean(batch["frames"], batch["frame_mask"])], dim=1))[:, 0]

        register_popularity_model()(Loud)
        rng = np.random.default_rng(0)
        folder, items = tmp_path / "p", [f"v{i}" for i in range(self.N)]
        folder.mkdir()
        actions = ["user_id:token\titem_id:token\ttimestamp:float", *(f"a{i}\tv{i}\t{i}" for i in range(self.N))]
        (folder / "p.inter").write_text("\n".join(actions) + "\n")
        split = ["train"] * 20 + ["valid"] * 10 + ["test"] * 10
        labels = ["item_id:token\tlabel:float\tsplit:token"]
        labels += [f"v{i}\t{rng.normal()}\t{split[i]}" for i in range(self.N)]
        (folder / "p.mine.popularity").write_text("\n".join(labels) + "\n")
        for name, first, dim in (("", 0, FRAME_DIM), (".audio", 1, AUDIO_DIM)):
            rows = rng.normal(size=(self.N - first, 2, dim))
            write_frame_store(folder / f"p{name}.frames.npy", items[first:], rows, vfm="x", sampling="x")
        places = {name: str(tmp_path / name) for name in ("checkpoint_dir", "log_dir", "tensorboard_dir")}
        small = {"epochs": 1, "figures": False, "show_progress": False}
        return {"data_path": str(tmp_path), "content": BOTH, **small, **places}

    def test_trains_loads_and_predicts(self, own, tmp_path):
        folder = run_recbole_video("Loud", "p", config_dict=own)["run_folder"]
        predictor = load_model(folder)
        assert {name: origin.dim for name, origin in predictor.content.items()} == {"frames": 8, "audio": 5}
        written = pd.read_csv(f"{folder}/predictions.tsv", sep="\t")
        items = list(written["item_id"])
        stores = {name: tmp_path / "p" / f"p{word}.frames.npy" for name, word in (("frames", ""), ("audio", ".audio"))}
        inputs = predictor.from_stores(items, stores["frames"], content={"audio": stores["audio"]})
        np.testing.assert_allclose(predictor.predict(inputs), written["prediction"], rtol=1e-5)
        predictor.save(tmp_path / "again.pth")
        again = load_model(tmp_path / "again.pth").predict(Inputs(content={"frames": inputs.frames, **inputs.content}))
        np.testing.assert_array_equal(again, predictor.predict(inputs))
        with pytest.raises(ConfigError, match="does not read `audoi`.*`audio`"):
            predictor.predict(Inputs(inputs.frames, content={"audoi": inputs.content["audio"]}))
        with pytest.raises(DataError, match="The model reads frames; give `frames`"):
            predictor.predict(Inputs(content=inputs.content))
        with pytest.raises(DataError, match="The model reads audio; give `audio`"):
            predictor._lacking({"text": 1})  # of a model that reads no frames, given nothing of what it reads
        with pytest.raises(DataError, match=r"The audio must be \[N, n, 5\]"):
            predictor.predict(Inputs(inputs.frames, content={"audio": np.ones((10, 1, 8))}))

    def test_a_modality_that_videos_lack_is_masked_in_use_as_in_training(self, own, tmp_path):
        self.write_some(tmp_path)
        options = {**own, "content": {"audio": "some", "frames": None}}
        folder = run_recbole_video("Loud", "p", config_dict=options)["run_folder"]
        predictor, written = load_model(folder), pd.read_csv(f"{folder}/predictions.tsv", sep="\t")
        items = list(written["item_id"])
        frames, some = (tmp_path / "p" / f"p{word}.frames.npy" for word in ("", ".some"))
        inputs = predictor.from_stores(items, frames, content={"audio": some})
        np.testing.assert_allclose(predictor.predict(inputs), written["prediction"], rtol=1e-5)
        lacking = [row for row, item in enumerate(items) if item not in FrameStore(some).items]
        assert 0 < len(lacking) < len(items)
        alone = predictor.predict(Inputs(inputs.frames, inputs.frame_counts))  # nobody has audio
        np.testing.assert_array_equal(alone[lacking], predictor.predict(inputs)[lacking])
        with pytest.raises(DataError, match=r"`.*some.frames.npy` lacks 5 of the items \(first: `v35`\)"):
            predictor.from_stores(items, some)  # as frames, of which missing_items=error lets none be missing
        for wrong, error, message in (
            (Inputs(content=["audio"]), ConfigError, "`content` is list; give the rows of each modality by its name"),
            (Inputs(inputs.frames, content={"frames": inputs.frames}), ConfigError, "`frames` is given twice"),
            (Inputs(content=inputs.content, frame_counts=[1] * 10), DataError, "`frame_counts` are of frames, which"),
            (
                Inputs(inputs.frames[:3], content={"audio": np.ones((2, AUDIO_DIM))}),
                DataError,
                r"different numbers of videos: {'frames': 3, 'audio': 2}\.",
            ),
        ):
            with pytest.raises(error, match=message):
                predictor.predict(wrong)
        with pytest.raises(ConfigError, match="`content` is list"):
            predictor.from_stores(items, frames, content=[some])
        with pytest.raises(ConfigError, match="`frames` is given twice"):
            predictor.from_stores(items, frames, content={"frames": frames})

    def write_some(self, tmp_path):
        """Audio of all but the last five videos."""
        rows = np.random.default_rng(2).normal(size=(self.N - 5, 2, AUDIO_DIM))
        items = [f"v{i}" for i in range(self.N - 5)]
        return write_frame_store(tmp_path / "p" / "p.some.frames.npy", items, rows, vfm="x", sampling="x")

    def test_what_a_video_lacks_is_masked(self, own):
        dataset = PopularityDataset(Config("Loud", "p", config_dict=own))
        batch = PopularityLoader(dataset.config, dataset, np.arange(self.N), False).batch(np.array([0, 1]))
        assert batch["audio_mask"].tolist() == [[False, False], [True, True]] and not batch["audio"][0].any()
        assert dataset.read_as_zeros["audio"]["train"] == 1 and len(dataset) == self.N
        alone = PopularityDataset(
            Config("Loud", "p", config_dict={**own, "content": ["audio"], "missing_items": "zero"})
        )
        assert alone.frames is None and alone.summary()["inputs"].keys() == {"audio"}
        message = (
            "`content` names `audio`, of the store `loud`, and there is no `.*loud.*`; there is audio, frames: write"
        )
        with pytest.raises(DataError, match=message):
            PopularityDataset(Config("Loud", "p", config_dict={**own, "content": {"audio": "loud"}}))

    def reads(self, monkeypatch, *names):
        monkeypatch.setattr(POPULARITY_MODELS.get("Loud"), "inputs_read", frozenset(names))

    @pytest.mark.parametrize(
        ("content", "clash"),
        [
            ({"frame": "audio", "frames": None}, "frame_mask"),
            ({"label": "audio"}, "label"),
            ({"row": "audio"}, "row"),
            ({"numeric": "audio"}, "numeric"),
            ({"categories": "audio"}, "categories"),
            ({"text_mask": "audio"}, "text_mask"),
            ({"audio_mask": "audio", "audio": None}, "audio_mask"),
            ({"audio": None, "audio_mask": "audio"}, "audio_mask"),
        ],
        ids=str,
    )
    def test_names_of_other_fields_of_a_batch(self, own, monkeypatch, content, clash):
        self.reads(monkeypatch, "metadata", *content)
        with pytest.raises(ConfigError, match=f"`content` names `.*`, and a batch .*by the name `{clash}`"):
            Config("Loud", "p", config_dict={**own, "content": content})

    def test_every_field_of_a_batch_is_taken(self, own, tmp_path, monkeypatch):
        """Whatever a loader puts into a batch beside the modalities, none of them can be called."""
        (tmp_path / "p" / "p.item").write_text(
            "item_id:token\tlength:float\tkind:token\n" + "".join(f"v{i}\t{i}\tk{i % 3}\n" for i in range(self.N))
        )
        self.reads(monkeypatch, "frames", "audio", "metadata")
        options = {**own, "metadata_numeric": ["length"], "metadata_categorical": ["kind"]}
        dataset = PopularityDataset(Config("Loud", "p", config_dict=options))
        batch = PopularityLoader(dataset.config, dataset, np.arange(self.N), False).batch(np.array([0, 1]))
        assert {"numeric", "categories", "row", "label"} < set(batch.fields)
        for field in set(batch.fields) - {"audio", "frames"}:
            with pytest.raises(ConfigError, match=f"names `{field}`"):
                check_batch_fields([*BOTH, field])

    @pytest.mark.parametrize("policy", ["error", "drop", "zero"])
    def test_a_video_without_any_content(self, own, monkeypatch, policy):
        """The first has no audio; frames of it are not read."""
        options = {**own, "content": ["audio"], "missing_items": policy}
        if policy == "error":
            with pytest.raises(DataError, match=r"1 item has no audio in `.*p.audio.frames.npy` \(first: `v0`\)"):
                PopularityDataset(Config("Loud", "p", config_dict=options))
            return
        dataset = PopularityDataset(Config("Loud", "p", config_dict=options))
        assert len(dataset) == self.N - (policy == "drop") and dataset.dropped["without content"] == (policy == "drop")

    @pytest.mark.parametrize("kind", ["audio", "frames"])
    def test_a_split_without_any(self, own, tmp_path, kind):
        rows = np.ones((20, 1, FRAME_DIM))
        write_frame_store(
            tmp_path / "p" / "p.part.frames.npy", [f"v{i}" for i in range(20)], rows, vfm="x", sampling=""
        )
        content = {"frames": None, "audio": None, kind: "part"}
        with pytest.raises(DataError, match=f"No video of the split `valid` has {kind} in `.*p.part.frames.npy`; "):
            PopularityDataset(Config("Loud", "p", config_dict={**own, "content": content, "missing_items": "zero"}))

    @pytest.mark.parametrize(
        ("reads", "options", "why"),
        [
            (("frames", "audio"), {"content": ["text"]}, r"content names nothing of what Loud reads \(audio, frames\)"),
            (("frame",), {"content": None}, r"content names nothing of what Loud reads \(frame\)"),
            (("frames",), {"content": None, "use_frames": False}, "use_frames is False"),
            (
                ("frames", "text", "metadata"),
                {"content": None, "use_frames": False, "use_text": False},
                "there is no metadata column, and use_frames and use_text are False",
            ),
        ],
        ids=str,
    )
    def test_why_no_input_is_left(self, own, monkeypatch, reads, options, why):
        self.reads(monkeypatch, *reads)
        with pytest.raises(ConfigError, match=f"No input is left: {why}."):
            PopularityDataset(Config("Loud", "p", config_dict={**own, **options}))

    def test_what_a_model_is_said_to_read(self, own):
        with pytest.raises(ConfigError, match=r"which Loud does not read; it reads audio, frames\.$"):
            Config("Loud", "p", config_dict={**own, "content": ["frames", "cover"]})


class TestOldCheckpoints:
    def old(self, state):
        """As the version before wrote it."""
        data = state["data"]
        frames = data.pop("content")["frames"]
        data.update(
            frame_dim=frames["dim"], vfm=frames["vfm"], sampling=frames["sampling"], frames_sha256=frames["sha256"]
        )
        return state

    def test_load_and_resume(self, root, tmp_path):
        options = config_of(root, "MLP", epochs=2, keep_last_checkpoint=True).to_options()
        first = run_recbole_video(config_dict=options, run_folder=tmp_path / "run")
        folder = Path(first["run_folder"])
        new = load_model(folder)
        for name in ("model.pth", "last.pth"):
            torch.save(self.old(torch.load(folder / name, weights_only=True)), folder / name)
        (folder / "metrics.json").unlink()
        old = load_model(folder)
        assert old.vfm == new.vfm == "random" and old.content == new.content
        pd.testing.assert_frame_equal(old.score([["i1"]]), new.score([["i1"]]))
        again = run_recbole_video(config_dict=options, run_folder=folder)
        assert again["test_result"] == first["test_result"] and again["run_folder"] == str(folder)

    def test_of_ids(self):
        old = {"user_num": 3, "frame_dim": 0, "vfm": None, "sampling": None, "frames_sha256": None}
        assert upgraded(old) == {"user_num": 3, "content": {}}

    def test_of_a_popularity_model(self):
        origin = {"vfm": "m", "sampling": "s", "sha256": "d"}
        old = {"inputs": {"frame_dim": 6, "text_dim": 0}, "frames": origin, "text": None, "label": {}}
        new = {"inputs": {"frame_dim": 6, "text_dim": 0}, "content": {"frames": {"dim": 6, **origin}}, "label": {}}
        assert upgraded(old) == new == upgraded(new) and upgraded(None) is None

    def test_that_tells_of_other_content_than_its_options(self, trained, tmp_path):
        state = torch.load(trained("late") / "model.pth", weights_only=True)
        del state["data"]["content"]["audio"]
        torch.save(state, tmp_path / "model.pth")
        with pytest.raises(
            CheckpointError, match="`content` in its `data` is not about frames, audio, which the model"
        ):
            load_model(tmp_path / "model.pth")


class TestAverages:
    """The mean of an item's rows, computed once, for encoders that begin with it."""

    @pytest.mark.parametrize("how", [None, *HOW])
    @pytest.mark.parametrize("name", ["CVA", "MLP", "Pooling", "no_attention", "PerceiverIO"])
    def test_vectors_equal_those_of_the_rows(self, root, how, name):
        encoder = "PerceiverIO" if name == "no_attention" else name
        options = {"encoder_variant": name} if name == "no_attention" else {}
        if how is not None:
            options |= {"content": BOTH, "content_fusion": how, "missing_items": "zero"}
        if name == "Pooling" and how not in (None, "early"):
            options["content"] = dict.fromkeys(BOTH, str(root / "tiny" / "tiny.frames.npy"))  # of one width
            options["hidden_size"] = FRAME_DIM
        _, data, model = model_of(root, encoder, **options)
        tower, rows = model.item_embedding, data.catalogue.content
        is_averaged = name != "PerceiverIO"
        assert (tower.content is not rows) == is_averaged
        assert all((table._table is None) == is_averaged or not is_averaged for table in rows.tables.values())
        model.eval()
        with torch.no_grad():
            got = tower.weight
            tower.content = rows
            tower.clear_catalogue()
            torch.testing.assert_close(got, tower.weight, rtol=1e-4, atol=1e-6)
        values, weights = next(iter(rows.averaged().gather(torch.arange(5)).values()))
        frames, mask = next(iter(rows.gather(torch.arange(5)).values()))
        want = torch.stack(
            [f[m].mean(dim=0) if m.any() else torch.zeros(f.shape[1]) for f, m in zip(frames, mask, strict=True)]
        )
        torch.testing.assert_close(values[:, 0], want)
        assert torch.equal(weights[:, 0], mask.sum(dim=1).float())

    def test_rows_that_may_not_be_held_are_read_with_each_batch(self, root):
        config, data, model = model_of(root, "CVA", frames_on_device=False)
        assert set(model.item_embedding.content.read(np.array([1, 2]))) == {"frames"}
        described = describe_data(config, data, model.item_embedding.content)["frames"]
        assert not described["on_device"] and "averaged" not in described
        config, data, model = model_of(root, "CVA")
        assert describe_data(config, data, model.item_embedding.content)["frames"]["averaged"] is True


def test_late_fusion_has_an_encoder_of_each():
    encoder, _ = encoder_of("late")
    assert isinstance(encoder, LateFusion) and len(encoder.encoders) == 2


def test_the_store_of_another_model_is_not_replaced_by_a_slip(tmp_path):
    """A store may have taken days; one of the same model is written anew, as by a script that runs again."""
    path = tmp_path / "d.frames.npy"
    write_frame_store(path, ["a"], np.ones((1, 2, 3)), vfm="dinov2", sampling="uniform")
    kept = path.read_bytes()
    with pytest.raises(
        DataError, match=r"holds frames of `dinov2`, not of `mine`; .*DATASET\.mine\.frames\.npy.*overwrite=True"
    ):
        write_frame_store(path, ["b"], np.zeros((1, 1, 4)), vfm="mine", sampling="none")
    assert path.read_bytes() == kept
    write_frame_store(path, ["b"], np.zeros((1, 2, 3)), vfm="dinov2", sampling="none")
    assert FrameStore(path).items == ["b"]
    write_frame_store(path, ["c"], np.ones((1, 1, 4)), vfm="mine", sampling="none", overwrite=True)
    assert FrameStore(path).items == ["c"] and FrameStore(path).manifest.vfm == "mine"
