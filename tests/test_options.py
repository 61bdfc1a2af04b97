"""Declarations of options: what they admit, how they are read and shown, and that nothing else says the same."""

import ast
import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
import recbole
import yaml
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments
from torch import nn

from recbole_video import run_recbole_video
from recbole_video.cli import main
from recbole_video.config import Config, known_options
from recbole_video.errors import ConfigError
from recbole_video.files.reading import dump_yaml, read_yaml
from recbole_video.item_encoders import ITEM_ENCODERS, register_item_encoder
from recbole_video.listing import properties_files
from recbole_video.options.option import Option, Rule, check_no_void_options, declared, option
from recbole_video.options.parse import convert_option
from recbole_video.options.run import RunOptions
from recbole_video.options.show import as_table, as_yaml, as_yaml_value, by_section
from recbole_video.popularity import POPULARITY_MODELS, register_popularity_model
from recbole_video.popularity.base import PopularityModel
from recbole_video.popularity.options import PopularityOptions
from recbole_video.popularity.stap.model import STAP
from recbole_video.runtime import recbole_options
from recbole_video.user_encoders import USER_ENCODERS
from recbole_video.user_encoders.base import VideoRecommender
from recbole_video.user_encoders.sasrec import SASRec

from .test_popularity import METADATA, write_popularity

PROPERTIES = files("recbole_video.properties")
RECBOLE = Path(recbole.__file__).parent


@dataclass(frozen=True)
class Small(RunOptions):
    """A small model.

    Made for this test.
    """

    depth: int = option(2, "Layers.", at_least=1, at_most=9, section="Size")
    rate: float = option(0.1, at_least=0)
    share: float = option(0.5, "Of it.", at_least=0, below=1)
    kind: Literal["a", "b"] = option("a", "a or b.", section="Kind")
    edge: float = option(1.0, "Of b.", void_when=(("kind", "a"),))
    sizes: list[int] = option([3], "Widths.", at_least=1, is_filled=True)
    name: str | None = option(None)
    amp: Literal["auto", True, False] = option("auto")
    resume: bool | str | None = option(False)
    columns: list[str] = option([])
    seed: int = option(7, by_hand=True)


class Loose(PopularityModel):
    """A model of somebody's, found by its path."""

    @dataclass(frozen=True)
    class Options(PopularityOptions):
        """Loose."""

        looseness: float = option(0.5, "Of it.")


class TestOneOption:
    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("depth", [1, 9], [0, 10, 1.0, True, "1", None, [1]]),
            ("rate", [0, 0.5, 1e9], [-1e-9, False, "0.1", None]),
            ("share", [0, 0.999], [1, -0.1]),
            ("kind", ["a", "b"], ["c", None, 1, ["a"]]),
            ("sizes", [[1], [2, 3]], [[], [0], [1.5], 3, ["1"], None, [True]]),
            ("name", [None, "x", ""], [1, ["x"]]),
            ("amp", ["auto", True, False], ["True", 1, 0, None]),
            ("resume", [True, "folder", None], [1, 0.5]),
            ("columns", [[], ["a"]], [[1], "a", None]),
            ("seed", [-1, "x"], []),
        ],
    )
    def test_values(self, name, good, bad):
        one = declared(Small)[name]
        for value in good:
            one.check(value)
        for value in bad:
            with pytest.raises(ConfigError, match=f"`{name}` is "):
                one.check(value)

    @pytest.mark.parametrize(
        ("name", "value", "sentence"),
        [
            ("depth", 0, "`depth` is `0`; it must be a whole number of at least 1, such as the default, `2`."),
            ("depth", 10, "`depth` is 10; it must be at most 9."),
            ("rate", -1, "`rate` is -1; it must not be negative."),
            ("share", 1, "`share` is 1; it must be at least 0 and below 1."),
            ("kind", "c", "`kind` is `c`; it must be one of a, b."),
            ("resume", 1, "`resume` is `1`; it must be True, False, a word or empty, such as the default, `False`."),
            ("sizes", [0], "`sizes` is `[0]`; it must be a list of whole numbers of at least 1, such as the default, "
             "`[3]`."),
        ],
    )  # fmt: skip
    def test_sentences(self, name, value, sentence):
        one = declared(Small)[name]
        with pytest.raises(ConfigError) as error:
            one.check(value, one.default)
        assert str(error.value) == sentence

    def test_what_is_text(self):
        text = {name for name, one in declared(Small).items() if one.is_text}
        folders = {"checkpoint_dir", "log_dir", "tensorboard_dir"}
        assert text == {"kind", "name", "resume", "valid_metric", "ray_address"} | folders
        assert {name for name, one in declared(Small).items() if one.is_text_list} == {"columns", "metrics"}
        assert convert_option(declared(Small)["name"], "1e5") == "1e5" and convert_option(None, "1e5") == 100000.0
        assert convert_option(declared(Small)["resume"], "True") is True

    def test_void(self):
        options = declared(Small).values()
        check_no_void_options(options, {"edge": 2.0}, {"kind": "b"})
        with pytest.raises(ConfigError, match="`edge` has no effect on runs with kind=a; remove it"):
            check_no_void_options(options, {"edge": 2.0}, {"kind": "a"})

    def test_arguments_of_a_constructor(self):
        class Encoder(nn.Module):
            def __init__(
                self,
                frame_dim: int,
                item_dim: int,
                *,
                depth: Annotated[int, Rule("Blocks.", at_least=1)] = 4,
                plain=0.5,
                anything=None,
                needed: str,
                kind: "Unknown" = 1,  # noqa: F821
            ):
                super().__init__()

        found = declared(Encoder)
        assert list(found) == [f"encoder_{n}" for n in ("depth", "plain", "anything", "needed", "kind")]
        assert found["encoder_plain"].type is float and found["encoder_anything"].type is Any

    @pytest.mark.parametrize(
        ("name", "text"),
        [("depth", "64"), ("rate", "1e-3"), ("sizes", "[3, 4]"), ("columns", "[a, b]"), ("eval_args", "{mode: full}"),
         ("reproducibility", "True"), ("depth", "~"), ("amp", "True")],
    )  # fmt: skip
    def test_a_text_that_reads_like_the_value_is_called_one(self, name, text):
        """As of ``depth: "64"`` in a file: without a word on the quotes the sentence would read as if 64 were none."""
        with pytest.raises(ConfigError) as error:
            declared(Small)[name].check(text)
        told = str(error.value)
        assert told.startswith(f"`{name}` is the text `{text}`; ") and told.endswith(": write it without quotes.")

    def test_other_texts_are_not(self):
        for name, text in (("depth", "deep"), ("kind", "64")):
            with pytest.raises(ConfigError, match=f"`{name}` is `{text}`; it must be [^:]*[.]$"):
                declared(Small)[name].check(text)


class Wide(nn.Module):
    """Whose arguments are of many types."""

    def __init__(
        self,
        frame_dim: int,
        item_dim: int,
        *,
        sizes: tuple[int, ...] = (1, 2),
        pair: tuple[float, float] = (0.0, 1.0),
        words: tuple[str, ...] = ("a",),
        anyhow: tuple = (),
        place: Path = Path("q"),
        maybe: Path | None = None,
        word_or_place: str | Path = "w",
        call: Callable[[int], int] = abs,
        many: Sequence[int] = (),
        noted: Annotated[int, Rule("Noted.", at_least=2)] | None = None,
        shift: Literal[-1, 1] = 1,
        free=None,
    ):
        super().__init__()


class TestTypesOfConstructors:
    @pytest.mark.parametrize(
        ("name", "good", "bad"),
        [
            ("sizes", [[1], (3, 4), []], [5, [1.5], ["a"], "ab", [True], [-1]]),
            ("pair", [[0, 0.5], (1.0, 2)], [[1], [1, 2, 3], 0.5, ["a", "b"]]),
            ("words", [["a", "007"]], [["a", 1], "a", 3]),
            ("anyhow", [[1, "a"]], [1]),
            ("place", ["data/x", Path("y")], [5, ["x"], True, None]),
            ("maybe", ["data/x", None], [5]),
            ("word_or_place", ["data/x"], [5]),
            ("call", [len], ["len", 3, [1]]),
            ("many", [[1, 2], (1,)], [3, {"a": 1}]),
            ("noted", [2, None], ["x", 1.5]),
            ("shift", [-1, 1], [0]),
            ("free", [-1, -0.5, "a", [1]], []),
        ],
    )
    def test_values(self, name, good, bad):
        one = declared(Wide)[f"encoder_{name}"]
        for value in good:
            one.check(value)
        for value in bad:
            with pytest.raises(ConfigError, match=f"`encoder_{name}` is "):
                one.check(value)

    def test_sentences(self):
        for name, value, words in (
            ("pair", [1], "a list of 2: float, float"),
            ("sizes", [0.5], "a list of whole numbers of at least 0"),
            ("place", 5, "a path"),
            ("call", "len", "of the type Callable, which no text and no number is"),
        ):
            with pytest.raises(ConfigError, match=f"must be {words}"):
                declared(Wide)[f"encoder_{name}"].check(value)

    def test_what_the_constructor_gets(self, monkeypatch, tmp_path):
        """What it declares; and what a run has stored gives the same again."""
        monkeypatch.setattr(ITEM_ENCODERS, "_entries", {**ITEM_ENCODERS._entries, "Wide": Wide})
        monkeypatch.setenv("HOME", str(tmp_path))
        words = ["--item_encoder=Wide", "--encoder_sizes=[3, 4]", "--encoder_place=~/007", "--encoder_words=[007, no]"]
        config = Config(command_line=words)
        found = config.encoder_options()
        assert found["sizes"] == (3, 4) and found["words"] == ("007", "no")
        assert found["place"] == tmp_path / "007" and isinstance(found["place"], Path)
        assert found["pair"] == (0.0, 1.0) and found["word_or_place"] == "w" and found["maybe"] is None
        (tmp_path / "c.yaml").write_text(dump_yaml(config.to_options()))
        again = Config(config_file_list=[tmp_path / "c.yaml"]).encoder_options()
        assert {**again, "many": tuple(again["many"])} == found and found["call"] is abs
        older = {**config.to_options(), "encoder_call": "<built-in function abs>"}  # as checkpoints once had it
        assert Config(config_dict=older, is_stored=True).encoder_options()["call"] is abs
        assert "--encoder_place=q" in as_table("", by_section(Wide))


FROZEN = dataclass(frozen=True)


def options_in(body, decorator=FROZEN, base=PopularityOptions):
    """A popularity model whose ``Options`` has this body."""
    own = type("Options", (base,), body)
    return type("Own", (PopularityModel,), {"Options": decorator(own) if decorator else own})


class TestDeclarationsThatLoseOptions:
    """Of somebody's model: each is one sentence as the class is registered or asked for, not an option that is lost."""

    @pytest.fixture(autouse=True)
    def _leave_the_tables(self, monkeypatch):
        for attribute in ("_entries", "_admitted"):
            monkeypatch.setattr(POPULARITY_MODELS, attribute, dict(getattr(POPULARITY_MODELS, attribute)))

    @pytest.mark.parametrize(
        ("cls", "message"),
        [
            (options_in({"__annotations__": {"wide": int}, "wide": 3}, decorator=None), "`wide`.*put @dataclass"),
            (options_in({"__annotations__": {"epochs": int}, "epochs": 3}, decorator=None), "`epochs`.*put @dataclass"),
            (options_in({"wide": option(3)}, decorator=None), "set `wide` without a type.*write `wide: TYPE = option"),
            (options_in({"epochs": 3}), "set `epochs` without a type, which changes no option"),
            (options_in({"__annotations__": {"wide": "Nowhere"}, "wide": 3}), "name the type `Nowhere`.*TYPE_CHECKING"),
            (options_in({}, base=object), "must inherit from recbole_video.popularity.options.PopularityOptions"),
            (options_in({}, base=RunOptions), "must inherit from .*PopularityOptions"),
        ],
    )
    def test_is_refused(self, cls, message):
        with pytest.raises(ConfigError, match=f"`Options` of `.*Own`.*{message}"):
            register_popularity_model(cls)
        with pytest.raises(ConfigError, match=message):
            Config(cls)

    def test_what_loses_none(self):
        note = {"__annotations__": {"models": ClassVar[str]}, "models": "mine", "helper": lambda self: 1}
        for cls in (options_in({}, decorator=None), options_in(note, decorator=None), options_in(note)):
            assert Config(cls)["huber_delta"] == 1.0

    def test_void_when_names_an_option_that_there_is_not(self):
        body = {"__annotations__": {"a": int}, "a": option(3, void_when=(("lable", 1),))}
        with pytest.raises(
            ConfigError, match="`a` names `lable` in void_when, .* .did you mean `label`.. for model Own"
        ):
            Config(options_in(body))

        class Encoder(nn.Module):
            def __init__(self, frame_dim, item_dim, *, a: Annotated[int, Rule(void_when=(("b", 1),))] = 3, b=2):
                super().__init__()

        with pytest.raises(ConfigError, match="`encoder_a` names `b` in void_when, which is not an option"):
            Config(config_dict={"item_encoder": register_item_encoder("Lost")(Encoder) and "Lost"})
        ITEM_ENCODERS._entries.pop("Lost")

    def test_a_decorator_without_parentheses(self):
        @register_popularity_model
        class Bare(PopularityModel):
            pass

        assert isinstance(Bare, type) and POPULARITY_MODELS.get("Bare") is Bare
        for thing, shown in ((print, "print"), (3, "3")):
            with pytest.raises(ConfigError, match=f"`{shown}` cannot be a popularity model"):
                register_popularity_model(thing)


class TestShown:
    def test_yaml(self):
        text = as_yaml(Small, RunOptions)
        assert yaml.safe_load(text) == {k: v.default for k, v in declared(Small).items() if k in Small.__annotations__}
        assert text.startswith(
            "# A small model. Made for this test.\n\n# Size\ndepth: 2                        # (int) Lay"
        )
        assert "\n# Kind\nkind: a " in text and "rate: 0.1                       # (float) At least 0.\n" in text

    @pytest.mark.parametrize(
        "value",
        [None, True, 3, -2.5, 1e-12, 1e300, "a", "no", "null", "1e5", "NDCG@10", "a: b", "", "ü", [1, "x"],
         {"a": None, "b": [0.5]}],
    )  # fmt: skip
    def test_values_are_read_again(self, value):
        assert yaml.safe_load(f"x: {as_yaml_value(value)}")["x"] == value

    def test_table(self):
        text = as_table("Options:", by_section(Small, RunOptions), 100)
        assert re.search(r"Kind\n +--kind=a +str +a or b\.\n +--edge=1\.0 +float +Of b\. No effect with kind=a\.", text)
        assert all(len(line) <= 100 for line in text.splitlines())

    @pytest.mark.parametrize("name", ["SASRec", "STAP", "Constant", "PerceiverIO", "BPR", "recbole:SASRec"])
    def test_every_option_is_on_the_console(self, name, capsys):
        assert main(["--help_options", name]) == 0
        shown = set(re.findall(r"^  --(\w+)=", capsys.readouterr().out, re.MULTILINE))
        if name == "PerceiverIO":
            assert shown == set(declared(ITEM_ENCODERS.get(name)))
        else:
            config = Config(name)
            ours = set(declared(config.model_class.Options)) if config.task != "stock" else set(config.defaults)
            assert shown >= ours - {"MODEL_TYPE"}

    def test_an_encoder_and_a_model_by_path(self, capsys):
        for path, said, own in (
            (f"{__name__}:Wide", "Options of the item encoder .*:Wide:", "encoder_sizes"),
            (f"{__name__}:Loose", "Options of Loose:", "looseness"),
        ):
            assert main(["--help_options", path]) == 0
            shown = capsys.readouterr().out
            assert re.match(said, shown) and f"--{own}=" in shown
        for path, message in ((f"{__name__}:Small", "cannot be a model"), ("nowhere.at:All", "no module `nowhere")):
            assert main(["--help_options", path]) == 1
            assert message in capsys.readouterr().err

    def test_bounds_choices_and_what_makes_void_stand_in_the_files(self):
        text = as_yaml(Small, RunOptions)
        for line in ("# (int) Layers. At least 1 and at most 9.", "# (float) Of b. No effect with kind=a.",
                     "# (str or bool) One of auto, True, False."):  # fmt: skip
            assert line in text

    def test_a_name_that_there_is_not(self, capsys):
        assert main(["--help_options=SASRek"]) != 0
        assert "no model or item encoder named `SASRek` (did you mean `SASRec`?)" in capsys.readouterr().err
        assert main(["--help_options"]) != 0

    def test_the_files_of_properties(self):
        """They are what is declared; `python -m recbole_video.listing properties` writes them anew."""
        for path, text in properties_files().items():
            assert PROPERTIES.joinpath(path).read_text("utf-8") == text, path

    @pytest.mark.parametrize("owner", [*USER_ENCODERS, *POPULARITY_MODELS])
    def test_defaults_are_admitted(self, owner):
        model = (USER_ENCODERS if owner in USER_ENCODERS else POPULARITY_MODELS).get(owner)
        for one in declared(model.Options).values():
            one.check(one.default)
            for other, _ in one.rule.void_when:
                assert other in declared(model.Options)
        for one in declared(SASRec.Options).values():
            assert all(re.search(rf"\b{choice}\b", one.rule.help) for choice in one.choices if isinstance(choice, str))


class TestConfigOfDeclarations:
    def test_it_does_not_change(self):
        config = Config()
        with pytest.raises(TypeError):
            config["epochs"] = 3
        host = config.host(hidden_size=7)
        host["epochs"] = 99
        host["eval_args"]["order"] = "RO"
        assert (host["hidden_size"], config["hidden_size"]) == (7, 384)
        assert config["epochs"] == 8 and config["eval_args"]["order"] == "TO"

    def test_typed(self):
        options = Config("STAP", config_dict={"window_edge": 2.0}).options(STAP.Options)
        assert isinstance(options, STAP.Options) and options.window_edge == 2.0 and options.label == "log2-views"
        assert options.seed == 42 and dataclasses.fields(options)

    def test_an_option_that_nobody_declares(self):
        with pytest.raises(KeyError, match="`nothing` is no option of SASRec; declare it in its `Options`"):
            Config()["nothing"]
        assert Config().get("nothing") is None and "nothing" not in Config()

    def test_the_width_follows_the_frames(self, make_model):
        config, data, model = make_model("SASRec", "Pooling")
        assert config["hidden_size"] is None and model.hidden_size == data.catalogue.content_dims["frames"] == 8
        assert config.to_options()["hidden_size"] is None
        with pytest.raises(ConfigError, match="`hidden_size` is 16, but Pooling keeps the frames' width, 8; leave out"):
            make_model("SASRec", "Pooling", hidden_size=16)

    def test_a_subclass_has_the_options_of_its_model(self):
        mine = type("Mine", (SASRec,), {})
        assert Config(mine)["hidden_size"] == 384

    def test_declarations_import_no_torch(self):
        program = (
            "import sys\n"
            "from recbole_video.options import option, parse, show, run\n"
            "assert not {'torch', 'recbole'} & set(sys.modules)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


class TestFromOutside:
    """Models and encoders of somebody else's, with options of their own."""

    @pytest.fixture(autouse=True)
    def _leave_the_tables(self, monkeypatch):
        for table in (ITEM_ENCODERS, USER_ENCODERS, POPULARITY_MODELS):
            for attribute in ("_entries", "_admitted"):
                monkeypatch.setattr(table, attribute, dict(getattr(table, attribute)))

    def test_a_popularity_model(self, tmp_path, in_tmp):
        @register_popularity_model()
        class Scaled(PopularityModel):
            """A linear model of the mean frame, times a factor."""

            @dataclass(frozen=True)
            class Options(PopularityOptions):
                """A linear model."""

                factor: float = option(1.0, "Of the prediction.", above=0)
                column: str = option("a", "A name.")

            def __init__(self, config, inputs):
                super().__init__(config, inputs)
                self.factor = config.options(self.Options).factor
                self.out = nn.Linear(inputs.frame_dim, 1)

            def forward(self, batch):
                return self.factor * self.out(batch["frames"].mean(dim=1)).squeeze(-1)

        write_popularity(tmp_path / "data")
        options = {**METADATA, "data_path": str(tmp_path / "data"), "epochs": 1, "figures": False}
        options |= {"show_progress": False, "factor": 0.5}
        result = run_recbole_video("Scaled", "pop", config_dict=options)
        assert read_yaml(Path(result["run_folder"]) / "config.yaml", ConfigError)["factor"] == 0.5
        assert Config("Scaled", command_line=["--column=007"])["column"] == "007"
        assert known_options()["column"].is_text
        for given, message in (
            ({"factor": 0}, "`factor` is 0; it must be above 0"),
            ({"facto": 1}, "`facto` is not an option .did you mean `factor`"),
            ({"hidden_size": 3}, "`hidden_size` is not an option"),
        ):
            with pytest.raises(ConfigError, match=message):
                Config("Scaled", config_dict=given)

    def test_a_user_encoder(self):
        class Mine(VideoRecommender, SASRec.__mro__[3]):
            @dataclass(frozen=True)
            class Options(SASRec.Options):
                """Mine."""

                strength: float = option(0.5, at_least=0)

        assert Config(Mine, config_dict={"strength": 1.0})["strength"] == 1.0
        with pytest.raises(ConfigError, match="`strength` is -1.0; it must not be negative"):
            Config(Mine, config_dict={"strength": -1.0})

    def test_an_item_encoder(self):
        @register_item_encoder("Mine")
        class Mine(nn.Module):
            def __init__(self, frame_dim, item_dim, *, depth=2, mode="a", other=None, size):
                super().__init__()

        chosen = {"item_encoder": "Mine"}
        config = Config(config_dict={**chosen, "encoder_size": 3})
        assert config.encoder_options() == {"depth": 2, "mode": "a", "other": None, "size": 3}
        assert Config(command_line=["--item_encoder=Mine", "--encoder_mode=007"])["encoder_mode"] == "007"
        with pytest.raises(ConfigError, match="`encoder_depth` is `1.5`; it must be a whole number of at least 0"):
            Config(config_dict={**chosen, "encoder_depth": 1.5})
        with pytest.raises(ConfigError, match="`encoder_dept` is not an option .did you mean `encoder_depth`"):
            Config(config_dict={**chosen, "encoder_dept": 1})


class TestTableOfRecBole:
    """What runtime/recbole_options.py says is what RecBole's files and sources say."""

    def layers(self):
        paths = [p for p in RECBOLE.joinpath("properties").rglob("*.yaml") if p.stem not in ("url", "kg_url")]
        return {path: read_yaml(path, ConfigError) or {} for path in paths}

    def test_text(self):
        defaults = [pair for layer in self.layers().values() for pair in layer.items()]
        words = {name for name, default in defaults if isinstance(default, str)}
        other = recbole_options.NOTATION | recbole_options.TEXT_LISTS | {"gpu_id"}
        empty = {name for name, default in defaults if default is None}
        assert words - other <= recbole_options.TEXT <= words | empty | {"model", "dataset"}
        lists = {n for n, d in defaults if isinstance(d, list) and any(isinstance(one, str) for one in d)}
        assert lists <= recbole_options.TEXT_LISTS
        assert empty & recbole_options.TEXT <= recbole_options.MAY_BE_EMPTY <= recbole_options.TEXT
        assert recbole_options.PATHS <= recbole_options.TEXT

    def test_names_that_sources_read_and_no_file_lists(self):
        of_all = {*general_arguments, *training_arguments, *evaluation_arguments, *dataset_arguments, "device"}
        layers = self.layers()
        for path in (RECBOLE / "properties/overall.yaml", RECBOLE / "properties/dataset/sample.yaml"):
            of_all |= set(layers[path])
        of_model = {path.stem: set(layer) for path, layer in layers.items() if path.parent.name == "model"}
        found = {}
        for path in RECBOLE.joinpath("model").rglob("*.py"):
            source = path.read_text("utf-8")
            for node in ast.parse(source).body:
                is_model = isinstance(node, ast.ClassDef) and (
                    node.name in of_model or path.stem == "abstract_recommender"
                )
                if is_model:
                    names = re.findall(r"""config\[\s*["'](\w+)["']""", ast.get_source_segment(source, node))
                    found[node.name] = tuple(sorted(set(names) - of_all - of_model.get(node.name, set())))
        assert {name: names for name, names in found.items() if names} == recbole_options._READ_BY

    def test_every_name_is_an_option_of_its(self):
        known = {name for layer in self.layers().values() for name in layer}
        known |= set(recbole_options.UNLISTED) | set(dataset_arguments)
        for names in (
            recbole_options.WITHOUT_EFFECT, recbole_options.SIZES, recbole_options.LAYERS, recbole_options.SHARES,
            set(recbole_options.INTERVALS), recbole_options.ANY_KIND, recbole_options.NOTATION,
        ):  # fmt: skip
            assert names <= known, names - known

    def test_an_undeclared_kind_admits_anything(self):
        assert Option("x", Any, None).may_be_empty
        Option("x", Any, None).check([1, "a"])
