"""Files that somebody else made: nothing in them is run, and every value is checked before it is used."""

import math
import pickle
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from recbole_video import load_model, run_recbole_video
from recbole_video.cli import main
from recbole_video.config import Config
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.item_encoders import ITEM_ENCODERS, MLP, register_item_encoder
from recbole_video.popularity import POPULARITY_MODELS
from recbole_video.runtime.checkpoint import read_checkpoint
from recbole_video.user_encoders import USER_ENCODERS
from recbole_video.user_encoders.sasrec import SASRec

from .conftest import small_options, write_dataset

EVIL = 'import pathlib\npathlib.Path("touched").write_text("run")\nclass X:\n    pass\n'
OWN = """
from torch import nn
from recbole_video.item_encoders import MLP
from recbole_video.user_encoders.sasrec import SASRec

class Mine(MLP):
    pass

class MySASRec(SASRec):
    pass
"""


def of_a_new_process(monkeypatch, *modules):
    """Forget what this process was given, as if it had just started."""
    for registry in (ITEM_ENCODERS, USER_ENCODERS, POPULARITY_MODELS):
        monkeypatch.setattr(registry, "_admitted", {})
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    for module in modules:
        monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """folder = train(model, encoder, **options), each once."""
    root = tmp_path_factory.mktemp("trained")
    write_dataset(root)
    runs = {}

    def run(model="SASRec", encoder="MLP", **options):
        key = (str(model), encoder)
        if key not in runs:
            name = model if isinstance(model, str) and model in USER_ENCODERS else "SASRec"
            chosen = {**small_options(name, encoder, data_path=str(root)), **options}
            for option in ("checkpoint_dir", "log_dir", "tensorboard_dir"):
                chosen[option] = str(root / option)
            runs[key] = Path(run_recbole_video(model, "tiny", config_dict=chosen)["run_folder"])
        return runs[key]

    return run


@pytest.fixture
def tampered(train, tmp_path):
    """path = tampered(change): a checkpoint after ``change(state)``."""

    def make(change, **of):
        state = torch.load(train(**of) / "model.pth", weights_only=True)
        change(state)
        path = tmp_path / "model.pth"
        torch.save(state, path)
        return path

    return make


def put(*keys, value):
    """A change that sets a value, keys from the outside in; the value ``...`` removes it."""

    def change(state):
        for key in keys[:-1]:
            state = state[key]
        if value is ...:
            del state[keys[-1]]
        else:
            state[keys[-1]] = value

    return change


class TestNothingIsRun:
    @pytest.fixture(autouse=True)
    def evil(self, in_tmp, monkeypatch):
        """A folder with code in it, on the Python path as the command line puts it."""
        (in_tmp / "saved").mkdir()
        (in_tmp / "saved" / "evil.py").write_text(EVIL)
        monkeypatch.syspath_prepend(in_tmp)
        yield
        assert not (in_tmp / "touched").exists()

    def test_a_shell_command(self, tampered):
        def change(state):
            state["config"].update(item_encoder="subprocess:Popen", encoder_shell=True)
            state["data"]["content"]["frames"]["dim"] = "touch touched"

        path = tampered(change)
        for trust in (False, "subprocess:Popen", True):
            with pytest.raises(CheckpointError, match="subprocess:Popen"):
                load_model(path, trust=trust)

    @pytest.mark.parametrize("option", ["item_encoder", "model"])
    @pytest.mark.parametrize("name", ["saved.evil:X", "saved.evil:X.y", "saved.evil:"])
    def test_a_module_in_a_run_folder(self, tampered, option, name):
        with pytest.raises(CheckpointError, match="names the class `saved.evil:X?.*trust='saved.evil"):
            load_model(tampered(put("config", option, value=name)))

    @pytest.mark.parametrize("option", ["item_encoder", "model"])
    def test_a_config_file_or_a_run_to_resume(self, train, in_tmp, option):
        options = {**yaml.safe_load((train() / "config.yaml").read_text()), option: "saved.evil:X"}
        (in_tmp / "config.yaml").write_text(yaml.safe_dump(options))
        with pytest.raises(ConfigError, match="The config file `.*config.yaml` names the class `saved.evil:X`"):
            Config(config_file_list=[in_tmp / "config.yaml"])
        (in_tmp / "config.yaml").rename(in_tmp / "saved" / "config.yaml")
        with pytest.raises(ConfigError, match="names the class `saved.evil:X`.*--trust=saved.evil:X"):
            run_recbole_video(command_line=["--resume=saved"])

    def test_files_cannot_say_that_they_are_trusted(self, in_tmp):
        (in_tmp / "a.yaml").write_text("item_encoder: saved.evil:X\ntrust: true\n")
        with pytest.raises(ConfigError, match="names the class `saved.evil:X`"):
            Config(config_file_list=["a.yaml"])

    def test_recbole_s_own_version_is_no_class_path(self, in_tmp):
        (in_tmp / "a.yaml").write_text("model: recbole:SASRec\n")
        assert Config(config_file_list=["a.yaml"]).task == "stock"

    def test_of_a_run_and_of_the_config_files_of_a_sweep(self, in_tmp, monkeypatch, capsys):
        (in_tmp / "mine.py").write_text(OWN)
        (in_tmp / "a.yaml").write_text("item_encoder: mine:Mine\ndataset: missing\n")
        monkeypatch.syspath_prepend(in_tmp)
        of_a_new_process(monkeypatch, "mine")
        with pytest.raises(ConfigError, match="names the class `mine:Mine`"):
            run_recbole_video(config_file_list=["a.yaml"])
        with pytest.raises(DataError, match="There is no data set `missing`"):
            run_recbole_video(config_file_list=["a.yaml"], trust="mine:Mine")
        of_a_new_process(monkeypatch, "mine")
        (in_tmp / "sweep.yaml").write_text("base: {epochs: 1}\nspace: {learning_rate: [0.1, 0.2]}\n")
        (in_tmp / "own.yaml").write_text("base: {dataset: missing}\nspace: {item_encoder: [MLP, mine:Mine]}\n")
        for words in (["--sweep=sweep.yaml", "--config_files=a.yaml"], ["--sweep=own.yaml"]):
            of_a_new_process(monkeypatch, "mine")
            assert main([*words, "--dry_run"]) == 1 and "names the class `mine:Mine`" in capsys.readouterr().err
            assert "mine" not in sys.modules
            assert main([*words, "--dry_run", "--trust=mine:Mine"]) == 0, capsys.readouterr().err

    @pytest.mark.parametrize("name", ["../evil", "..", "a/b", "/tmp/evil", "a\\b", "\0"])
    def test_option_files_beside_the_checkpoint(self, tampered, in_tmp, name):
        """A data set's name is part of the path of an option file, which could name a class."""
        (in_tmp / "evil.yaml").write_text("item_encoder: saved.evil:X\n")
        with pytest.raises(CheckpointError, match="`dataset` is `.*`; it must be the name of a folder"):
            load_model(tampered(put("config", "dataset", value=name)))

    def test_a_pickle_that_calls(self, tampered, in_tmp):
        class Call:
            def __reduce__(self):
                return Path.touch, (Path("touched"),)

        torch.save({"state_dict": {}, "config": Call()}, in_tmp / "model.pth")
        with pytest.raises(CheckpointError, match="truncated, corrupt, or no checkpoint"):
            load_model(in_tmp / "model.pth")


class TestTrust:
    @pytest.fixture
    def own(self, in_tmp, monkeypatch):
        (in_tmp / "own_models.py").write_text(OWN)
        monkeypatch.syspath_prepend(in_tmp)
        of_a_new_process(monkeypatch, "own_models")

    def test_an_encoder_by_its_path(self, own, train, monkeypatch):
        path = train(encoder="own_models:Mine")
        assert load_model(path).items  # the program itself has asked for the class
        of_a_new_process(monkeypatch, "own_models")
        with pytest.raises(CheckpointError, match="names the class `own_models:Mine`, which is code to be run"):
            load_model(path)
        with pytest.raises(CheckpointError, match=r"names the class .* \(`trust` names own_models:Other, recbole"):
            load_model(path, trust=["own_models:Other", SASRec])
        assert "own_models" not in sys.modules
        for trust in ("own_models:Mine", ["other:X", "own_models:Mine"], "other:X own_models:Mine", True):
            of_a_new_process(monkeypatch, "own_models")
            assert load_model(path, trust=trust).items

    def test_a_model_as_a_class(self, own, train, monkeypatch):
        import own_models

        path = train(own_models.MySASRec)
        assert load_model(path).items
        of_a_new_process(monkeypatch)
        with pytest.raises(CheckpointError, match="names the class `own_models:MySASRec`"):
            load_model(path)
        assert load_model(path, trust=own_models.MySASRec).items

    def test_a_class_inside_a_function_within_its_process(self, train, monkeypatch):
        class Local(SASRec):
            pass

        path = train(Local)
        assert type(load_model(path).model) is Local
        of_a_new_process(monkeypatch)
        with pytest.raises(CheckpointError, match="is no path to a class; write it as `module:Class`"):
            load_model(path, trust=True)

    def test_a_registered_class_is_known_by_its_path_too(self, tampered, monkeypatch):
        of_a_new_process(monkeypatch)

        @register_item_encoder("Renamed")
        class Mine(MLP):
            pass

        path = f"{Mine.__module__}:{Mine.__qualname__}"
        for name in ("Renamed", path, "recbole_video.item_encoders.mlp:MLP"):
            assert load_model(tampered(put("config", "item_encoder", value=name))).items

    def test_the_command_line(self, own, train, in_tmp, monkeypatch):
        config = train(encoder="own_models:Mine") / "config.yaml"
        of_a_new_process(monkeypatch, "own_models")
        with pytest.raises(ConfigError, match="names the class"):
            Config(config_file_list=[config], command_line=["--trust=other:X"])
        for words in (["--trust"], ["--trust=own_models:Mine"], ["--item_encoder=own_models:Mine"]):
            of_a_new_process(monkeypatch, "own_models")
            assert Config(config_file_list=[config], command_line=words)["item_encoder"] == "own_models:Mine"
        of_a_new_process(monkeypatch, "own_models")
        assert Config(config_file_list=[config], config_dict={"item_encoder": "own_models:Mine"}).inputs_read

    @pytest.mark.parametrize("trust", ["yes", ["a:B", "c"], 3, [3], None])
    def test_what_it_may_be(self, tampered, trust):
        with pytest.raises(ConfigError, match="^`trust` (is|names)"):
            load_model(tampered(put("config", "item_encoder", value="m:X")), trust=trust)


class TestClassesAreCheckedBeforeTheyAreCalled:
    @pytest.mark.parametrize(
        ("path", "message"),
        [
            (
                "subprocess:Popen",
                "`subprocess:Popen` cannot be an item encoder: it is not a class derived from torch.nn",
            ),
            ("builtins:print", "not a class derived from"),
            ("recbole_video.errors:nearest", "not a class derived from"),
            ("recbole_video:__doc__", "not a class derived from"),
            ("torch:nope", "module `torch` has no class `nope`"),
            ("not_there:X", "there is no module `not_there`"),
            ("torch.not_there:X", "there is no module `torch.not_there`"),
            ("broken_module:X", "`broken_module` cannot be imported .ZeroDivisionError: division by zero"),
            ("needy_module:X", "`needy_module` imports `nothing_such`, which is not installed"),
            (":X", "is no path to a class"),
            ("torch:", "is no path to a class"),
            ("a b:X", "is no path to a class"),
            ("..:X", "is no path to a class"),
            (".torch:X", "is no path to a class"),
        ],
    )
    @pytest.mark.parametrize("option", ["item_encoder", "model"])
    def test_by_path(self, in_tmp, monkeypatch, option, path, message):
        (in_tmp / "broken_module.py").write_text("1 / 0\n")
        (in_tmp / "needy_module.py").write_text("import nothing_such\n")
        monkeypatch.syspath_prepend(in_tmp)
        if option == "model":
            message = message.replace("an item encoder", "a model").replace("torch.nn", "")
        for given in ({"config_dict": {option: path}}, {"command_line": [f"--{option}={path}"]}):
            with pytest.raises(ConfigError, match=message):
                Config(**given)

    def test_as_a_class(self):
        with pytest.raises(
            ConfigError, match="cannot be a model: it is not a class derived from recbole.model.abstract"
        ):
            Config(dict)
        likeness = type("Likeness", (nn.Module,), {"is_video_model": True})
        with pytest.raises(
            ConfigError, match="cannot be a user encoder: it is not .*user_encoders.base.VideoRecommender"
        ):
            Config(likeness)
        likeness = type("Likeness", (nn.Module,), {"is_popularity_model": True})
        with pytest.raises(ConfigError, match="cannot be a popularity model: .*popularity.base.PopularityModel"):
            Config(likeness)
        with pytest.raises(ConfigError, match="cannot be an item encoder"):
            register_item_encoder()(dict)
        with pytest.raises(ConfigError, match="cannot be a user encoder"):
            USER_ENCODERS.register("Mine")(MLP)


INFINITE, NAN = math.inf, math.nan
LOOP = ["Hit"]
LOOP.append(LOOP)


def test_the_earlier_network_of_no_attention_is_refused(train, tmp_path):
    """Its weights had other names: offsets of the latents and one plain feed-forward."""
    folder = train(encoder="PerceiverIO", encoder_variant="no_attention")
    state = torch.load(folder / "model.pth", weights_only=True)
    prefix = "item_embedding.encoder.blocks"
    weights = {name: weight for name, weight in state["state_dict"].items() if not name.startswith(prefix)}
    state["state_dict"] = {**weights, f"{prefix}.offsets": torch.zeros(5, 16)}
    torch.save(state, tmp_path / "old.pth")
    sentence = "does not hold a model that this version can build: its encoder_variant=no_attention is an earlier"
    with pytest.raises(CheckpointError, match=sentence):
        load_model(tmp_path / "old.pth")


class TestValues:
    @pytest.mark.parametrize(
        ("keys", "value", "message"),
        [
            (("config",), [1], "its `config` is not a dictionary with words as keys"),
            (("config",), {1: 2}, "its `config` is not a dictionary with words as keys"),
            (("config", "model"), ..., "`model` in its `config` is not a text"),
            (("config", "dataset"), 3, "`dataset` in its `config` is not a text"),
            (("config", "item_encoder"), ["MLP"], "`item_encoder` in its `config` is not a text"),
            (("config", "item_encoder"), "Nope", "no item encoder named `Nope`"),
            (("config", "model"), "Constant", "not an option for model Constant"),
            (("config", "MAX_ITEM_LIST_LENGTH"), 10**9, "is not a whole number from 1 to 65536"),
            (("config", "MAX_ITEM_LIST_LENGTH"), 12, r"`position_embedding.weight` is \[10, 16\], .* \[12, 16\]"),
            (("config", "n_layers"), 10**9, "`n_layers` is 1000000000; it must be at most 1000"),
            (("config", "n_layers"), 1000, "far larger than what is stored"),
            (("config", "hidden_size"), 10**9, "far larger than what is stored|cannot be built"),
            (("config", "encoder_expansion"), 10**12, "far larger than what is stored|cannot build"),
            (("config", "hidden_dropout_prob"), NAN, "`hidden_dropout_prob` in its `config` is not made of finite"),
            (("config", "topk"), [10, INFINITE], "`topk` in its `config` is not made of finite numbers"),
            (("config", "topk"), torch.ones(3), "`topk` in its `config` is not made of finite numbers"),
            (("config", "metrics"), LOOP, "`metrics` in its `config` is not made of finite numbers"),
            (("data",), None, "its `data` is not a dictionary"),
            (("data", "item_tokens"), ..., "`item_tokens` in its `data` is not a list of different texts"),
            (("data", "item_tokens"), "i1", "`item_tokens` in its `data` is not a list of different texts"),
            (("data", "item_tokens"), ["[PAD]", 3], "is not a list of different texts"),
            (("data", "item_tokens"), ["[PAD]"], "is not the padding and at least one item"),
            (("data", "item_tokens"), ["[PAD]", "a", "a"], "is not a list of different texts"),
            (("data", "item_tokens"), ["[PAD]", "a"], r"`item_vectors` are \[\d+, 16\], and its items .* \[2, 16\]"),
            (("data", "user_num"), True, "`user_num` in its `data` is not a whole number"),
            (("data", "user_num"), -1, "`user_num` in its `data` is not a whole number"),
            (("data", "user_field"), None, "`user_field` in its `data` is not a text"),
            (("data", "item_field"), "user_id", "`item_field` in its `data` is not another one than `user_field`"),
            (("data", "content"), ..., "its `data.content` is not|`content` in its `data` is not about frames"),
            (("data", "content"), [8], "its `data.content` is not a dictionary"),
            (("data", "content", "frames"), 8, "its `data.content.frames` is not a dictionary"),
            (("data", "content", "audio"), {"dim": 8}, "`content` in its `data` is not about frames, which the model"),
            (
                ("data", "content", "frames", "dim"),
                "8",
                "`dim` in its `data.content.frames` is not a whole number from 1",
            ),
            (
                ("data", "content", "frames", "dim"),
                0,
                "`dim` in its `data.content.frames` is not a whole number from 1",
            ),
            (("data", "content", "frames", "dim"), 9, r"is \[128, 8\], and its options make \[128, 9\]"),
            (("data", "content", "frames", "vfm"), 7, "`vfm` in its `data.content.frames` is not a text"),
            (("item_vectors",), ..., "holds no item vectors; load `model.pth`"),
            (("item_vectors",), [1.0], "its `item_vectors` are list"),
            (("item_vectors",), torch.zeros(3, 16), r"its `item_vectors` are \[3, 16\]"),
            (("item_vectors",), torch.zeros(31, 16, dtype=torch.long), "its `item_vectors` are"),
            (("item_vectors",), torch.full((31, 16), NAN), "`item_vectors` are not finite|`item_vectors` are"),
            (("item_vectors",), torch.zeros(1, 16).expand(31, 16), "`item_vectors` (is no plain tensor|are)"),
            (("state_dict",), [1], "it has no `state_dict`"),
            (("state_dict", "LayerNorm.bias"), 3, "`LayerNorm.bias` is no plain tensor"),
            (("state_dict", "LayerNorm.bias"), torch.zeros(16).to_sparse(), "no plain tensor"),
            (("state_dict", "LayerNorm.bias"), torch.zeros(1).expand(10**15), "no plain tensor"),
            (("state_dict", "LayerNorm.bias"), torch.zeros(16, device="meta"), "no plain tensor|corrupt"),
            (("state_dict", "LayerNorm.bias"), torch.zeros(17), r"`LayerNorm.bias` is \[17\], .* make \[16\]"),
            (
                ("state_dict", "LayerNorm.bias"),
                torch.zeros(16, dtype=torch.long),
                "numbers of another kind, torch.int64",
            ),
            (("state_dict", "LayerNorm.bias"), torch.zeros(16, dtype=torch.cfloat), "numbers of another kind"),
            (("state_dict", "LayerNorm.bias"), torch.full((16,), NAN), "`LayerNorm.bias` holds NaN or infinity"),
            (("state_dict", "LayerNorm.bias"), torch.full((16,), INFINITE), "`LayerNorm.bias` holds NaN or infinity"),
            (("state_dict", "LayerNorm.bias"), ..., "it lacks `LayerNorm.bias`"),
            (("state_dict", "more"), torch.zeros(2), "its options make no `more`"),
            (("state_dict", 3), torch.zeros(2), "its options make no `3`"),
        ],
        ids=str,
    )
    def test_one_sentence_each(self, tampered, keys, value, message):
        with pytest.raises(CheckpointError, match=message) as caught:
            load_model(tampered(put(*keys, value=value)))
        assert "model.pth" in str(caught.value) and "\n" not in str(caught.value)

    def test_a_model_of_recbole(self, tampered):
        def change(state):
            state["config"] = {"model": "LightGCN", "dataset": "tiny"}

        with pytest.raises(CheckpointError, match="is a checkpoint of one of RecBole's own models"):
            load_model(tampered(change))

    def test_weights_that_make_no_score(self, tampered):
        model = load_model(tampered(put("state_dict", "LayerNorm.weight", value=torch.full((16,), 3e38))))
        with pytest.raises(CheckpointError, match="scores are not finite"):
            model.recommend([["i1"]])

    def test_a_recurrent_model_and_a_block_for_each_dilation(self, tampered):
        with pytest.raises(CheckpointError, match="far larger than what is stored"):
            load_model(tampered(put("config", "num_layers", value=1000), model="GRU4Rec"))
        with pytest.raises(CheckpointError, match="far larger than what is stored|`block_num` is 1000"):
            load_model(tampered(put("config", "block_num", value=1000), model="NextItNet"))

    def test_a_packed_file(self, train, tmp_path):
        """A kilobyte could unpack to gigabytes."""
        source, path = train() / "model.pth", tmp_path / "model.pth"
        with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
            for entry in old.infolist():
                new.writestr(entry.filename, old.read(entry))
        with pytest.raises(CheckpointError, match="truncated, corrupt, or no checkpoint"):
            load_model(path)

    @pytest.mark.parametrize("content", [b"", b"PK", pickle.dumps({"state_dict": {}}), b"\x80\x02" * 99])
    def test_other_files(self, tmp_path, content):
        (tmp_path / "model.pth").write_bytes(content)
        with pytest.raises(CheckpointError, match="truncated, corrupt, or no checkpoint"):
            read_checkpoint(tmp_path / "model.pth")

    def test_what_is_not_used_may_be_missing(self, tampered):
        def change(state):
            for key in ("epoch", "cur_step", "best_valid_score", "progress", "other_parameter"):
                del state[key]
            del state["data"]["inter_sha256"]
            for key in ("vfm", "sampling", "sha256"):
                del state["data"]["content"]["frames"][key]

        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert np.isfinite(load_model(tampered(change)).score([["i1"]])).all(axis=None)
