"""Options: layers, refusal of what is unknown, values."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from recbole_video.config import Config, known_options
from recbole_video.errors import ConfigError
from recbole_video.files.reading import dump_yaml, read_yaml
from recbole_video.item_encoders import ITEM_ENCODERS
from recbole_video.options.parse import _ALONE, convert_value, keep_text, parse_command_line, split_paths
from recbole_video.options.show import by_section
from recbole_video.popularity.options import PopularityOptions
from recbole_video.registries import CONTROLS, LISTS, POPULARITY_MODELS
from recbole_video.user_encoders import USER_ENCODERS

from .conftest import MODELS

PROPERTIES = files("recbole_video.properties")


def read_as_options(path):
    return read_yaml(path, ConfigError, lambda node: keep_text(node, known_options()))


def may_be_empty_text(option):
    return option.is_text_list or (option.is_text and option.may_be_empty)


class TestCommandLine:
    def test_forms(self):
        words = [
            "-m",
            "SASRec",
            "--dataset=x",
            "--epochs",
            "3",
            "--resume",
            "--eval_args={'mode': 'full'}",
            "--path=a=b",
        ]
        assert parse_command_line(words, known_options()) == {
            "model": "SASRec", "dataset": "x", "epochs": 3, "resume": True,
            "eval_args": {"mode": "full"}, "path": "a=b",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("1", 1), ("1e-3", 0.001), ("True", True), ("false", False), ("None", None), ("~", None),
            ("none", "none"), ("sum", "sum"), ("[1, 2]", [1, 2]), ("[a, b]", ["a", "b"]), ("[0,inf)", "[0,inf)"),
            ("__import__('os')", "__import__('os')"),
        ],
    )  # fmt: skip
    def test_values(self, text, value):
        assert convert_value(text) == value and type(convert_value(text)) is type(value)

    def test_an_option_alone_that_needs_a_value(self):
        """Not True, of which it would be said that it is no text."""
        known = known_options()
        for name, option in known.items():
            if (option.is_text or option.is_text_list) and not option.is_switch and name not in _ALONE:
                with pytest.raises(
                    ConfigError, match=rf"`--{name}` lacks its value; write --{name}=(NAME|PATH|\[NAME)"
                ):
                    parse_command_line([f"--{name}"], known)

    def test_stray_word(self):
        with pytest.raises(ConfigError, match="`SASRec` belongs to no option; write options as --key=value"):
            parse_command_line(["SASRec"], {})

    def test_option_twice(self):
        with pytest.raises(ConfigError, match="`--epochs` is given twice"):
            parse_command_line(["--epochs=1", "--epochs=2"], {})


class TestLayers:
    def test_later_ones_win(self, tmp_path):
        first, second = tmp_path / "a.yaml", tmp_path / "b.yaml"
        first.write_text("epochs: 2\nseed: 5\nlearning_rate: 1e-2\nhidden_size: 32\n")
        second.write_text("seed: 6\nlearning_rate: 1e-4\nhidden_size: 64\n")
        config = Config(
            config_file_list=[first, second],
            config_dict={"learning_rate": 0.5, "hidden_size": 128},
            command_line=["--hidden_size=256"],
        )
        assert config["train_batch_size"] == 256  # the data set's, over recommendation.yaml's 60
        assert (config["epochs"], config["seed"], config["learning_rate"], config["hidden_size"]) == (2, 6, 0.5, 256)
        assert config["n_layers"] == 2 and config["encoder_depth"] == 4 and config["state"] == "INFO"

    def test_sys_argv_is_not_read(self, monkeypatch):
        monkeypatch.setattr("sys.argv", ["pytest", "--epochs=99", "--cov=x"])
        assert Config()["epochs"] != 99

    @pytest.mark.parametrize("model", MODELS)
    def test_resolved_options_give_the_same_configuration_again(self, model, tmp_path):
        config = Config(
            model, "ml-100k", config_dict={"item_encoder": "PerceiverIO", "topk": [5, 10], "loss_type": "BPR"}
        )
        path = tmp_path / "again.yaml"
        path.write_text(dump_yaml(config.to_options()))
        assert Config(config_file_list=[path]).to_options() == config.to_options()

    def test_every_model_and_encoder_has_its_file_and_no_file_is_left_over(self):
        stems = {folder: {f.name[:-5] for f in (PROPERTIES / folder).iterdir()} for folder in ("model", "item_encoder")}
        controls = set(CONTROLS) - {"Random"}  # it has no option of its own
        own = {
            name
            for name in POPULARITY_MODELS
            if any(by_section(POPULARITY_MODELS.get(name).Options, PopularityOptions))
        }
        assert stems["model"] == {*USER_ENCODERS, *controls, *LISTS, *own} and set(USER_ENCODERS) == set(MODELS)
        assert stems["item_encoder"] == set(ITEM_ENCODERS)

    @pytest.mark.parametrize(
        "path", [p for p in PROPERTIES.rglob("*.yaml") if p.parent.name != "sweep"], ids=lambda p: p.name
    )
    def test_every_line_of_the_properties_is_an_option(self, path):
        content = read_yaml(path, ConfigError) or {}
        if path.stem.startswith("recommendation-"):
            for model, own in content.pop("models").items():
                Config(model, "ml-100k", config_dict={**content, **own})
            return
        model = path.stem if path.parent.name == "model" else "SASRec"
        of_popularity = (
            "popularity",
            "popularity-demo",
            "trends-demo",
            "microlens-100k",
            "smpd-video",
            "informs",
            *POPULARITY_MODELS,
        )
        if path.stem in of_popularity or path.parent.name in ("variant", "preset", "preset_of_variant"):
            named = path.stem.split("-")[0]
            Config(named if named in POPULARITY_MODELS else "STAP", config_dict=content)
            return
        if path.stem == "controls" or model in CONTROLS:
            Config(model if model in CONTROLS else "Random", "ml-100k", config_dict=content)
            return
        encoder = path.stem if path.parent.name == "item_encoder" else "CVA"
        Config(model, "ml-100k", config_dict={"item_encoder": encoder, **content})


class TestPresets:
    """Settings of a publication for all recommenders."""

    @pytest.mark.parametrize(
        ("preset", "rate", "encoder_rate"), [("authors", 1e-4, None), ("authors-shortvideo", 5e-4, 1e-3)]
    )
    def test_the_authors_settings(self, preset, rate, encoder_rate):
        config = Config("GRU4Rec", "microlens-100k", config_dict={"preset": preset})
        assert (config["learning_rate"], config["item_encoder_learning_rate"]) == (rate, encoder_rate)
        assert (config["weight_decay"], config["item_encoder_weight_decay"]) == (0.1, 0.0)
        assert (config["train_batch_size"], config["candidate_group"]) == (240, 60)
        assert (config["epochs"], config["stopping_step"], config["lr_scheduler"]) == (30, 30, "constant")
        assert config["clip_grad_norm"] == {"max_norm": 5.0} and config["item_scale"] == "none"
        assert (config["num_layers"], config["dropout_prob"]) == (2, 0.1)

    @pytest.mark.parametrize("model", MODELS)
    def test_the_papers_settings_are_the_defaults(self, model):
        """As long as they are: the preset says them in full, so that they stay what they are when defaults change."""
        by_default, paper = (Config(model, "mine", config_dict=given) for given in ({}, {"preset": "paper"}))
        assert paper.to_options() == {**by_default.to_options(), "preset": "paper"}

    def test_what_is_given_wins_and_the_data_set_does_not(self):
        demo = Config("SASRec", "microvideo-demo", config_dict={"preset": "authors", "learning_rate": 0.01})
        assert (demo["learning_rate"], demo["epochs"], demo["weight_decay"]) == (0.01, 30, 0.1)
        assert demo["eval_groups"] == ["cold"]  # what no preset says

    def test_the_preset_of_a_data_set_is_another_tasks(self):
        assert Config("SASRec", "microlens-100k")["preset"] is None
        assert Config("STAP", "microlens-100k")["preset"] == "microlens"

    def test_options_of_a_run_are_the_same_again(self):
        config = Config("NARM", "mine", config_dict={"preset": "authors", "clip_grad_norm": None})
        assert Config(config_dict=config.to_options()).to_options() == config.to_options()
        assert config["clip_grad_norm"] is None

    @pytest.mark.parametrize("name", ["author", "microlens"])
    def test_unknown(self, name):
        with pytest.raises(
            ConfigError, match=f"no preset `{name}` of recommendation.*: authors, authors-shortvideo, p"
        ):
            Config("SASRec", config_dict={"preset": name})


NAMES = ["2024_01", "1e5", "1_000", "007", "no", "off", "null", "0x10", "1:30", "2024-01-01", ".5", "True", "1,2"]


class TestNames:
    """Text stays what was written, whatever it looks like."""

    @pytest.mark.parametrize("name", ["label", "dataset", "frame_store", "checkpoint_dir"])
    @pytest.mark.parametrize("text", NAMES)
    def test_on_the_command_line_and_in_a_dict(self, name, text):
        assert Config("STAP", config_dict={name: text})[name] == text
        assert Config("STAP", command_line=[f"--{name}={text}"])[name] == text
        assert Config("STAP", command_line=[f"--{name}", text])[name] == text

    @pytest.mark.parametrize("name", ["label", "dataset", "frame_store", "checkpoint_dir"])
    @pytest.mark.parametrize("text", NAMES)
    def test_in_a_file(self, name, text, tmp_path):
        (tmp_path / "c.yaml").write_text(f"{name}: {text}  # a comment\nepochs: 0x10\n")
        config = Config("STAP", config_file_list=[tmp_path / "c.yaml"])
        is_empty = text == "null" and name in ("label", "frame_store")  # YAML's own word for what may be empty
        assert config[name] == (None if is_empty else text) and config["epochs"] == 16
        (tmp_path / "d.yaml").write_text(dump_yaml({name: text}))  # as a run's config.yaml is written
        assert Config("STAP", config_file_list=[tmp_path / "d.yaml"])[name] == text

    def test_what_is_empty(self, tmp_path):
        (tmp_path / "c.yaml").write_text("label: ~\nframe_store:\ndataset: ~\n")
        config = Config("STAP", config_file_list=[tmp_path / "c.yaml"])
        assert (config["label"], config["frame_store"], config["dataset"]) == (None, None, "popularity-demo")
        assert Config("STAP", command_line=["--label=None", "--frame_store=~"])["label"] is None
        assert Config("STAP", command_line=["--label='None'"])["label"] == "None"

    @pytest.mark.parametrize("name", sorted(name for name, one in known_options().items() if may_be_empty_text(one)))
    def test_what_is_empty_is_written_and_read_as_empty(self, name, tmp_path):
        (tmp_path / "c.yaml").write_text(dump_yaml({name: None}))
        assert read_as_options(tmp_path / "c.yaml") == {name: None}

    @pytest.mark.parametrize("value", [False, 7, 1e5])
    def test_one_name_in_the_place_of_a_list_stays_text_when_it_is_read_again(self, value, tmp_path):
        (tmp_path / "c.yaml").write_text(dump_yaml({"alias_of_entity_id": value}))
        config = Config("SASRec", "ml-100k", config_file_list=[tmp_path / "c.yaml"])
        (tmp_path / "d.yaml").write_text(dump_yaml(config.to_options()))
        again = Config(config_dict=read_yaml(tmp_path / "d.yaml", ConfigError))
        assert isinstance(config["alias_of_entity_id"], str) and again.to_options() == config.to_options()

    @pytest.mark.parametrize("model", ["recbole:SASRec", "SASRec", "GRU4RecF"])
    def test_no_model_reads_histories_of_no_length(self, model):
        with pytest.raises(ConfigError, match="`MAX_ITEM_LIST_LENGTH` is `-1`; it must be a whole number of at least"):
            Config(model, "ml-100k", config_dict={"MAX_ITEM_LIST_LENGTH": -1})

    def test_a_name_in_a_list_is_never_empty(self, tmp_path):
        (tmp_path / "c.yaml").write_text("metadata_numeric: [null, b]\n")
        assert read_as_options(tmp_path / "c.yaml") == {"metadata_numeric": ["null", "b"]}

    def test_a_whole_number_of_a_program_is_its_digits(self):
        assert Config("STAP", config_dict={"label": 202401, "dataset": np.int64(7)})["label"] == "202401"
        for value in (1e5, True, ["a"]):
            with pytest.raises(ConfigError, match="`label` is .*; it must be text: write it in quotes"):
                Config("STAP", config_dict={"label": value})

    @pytest.mark.parametrize("text", ["2024_01", "1e5", "no"])
    def test_names_of_columns(self, text, tmp_path):
        (tmp_path / "c.yaml").write_text(
            f"metadata_numeric: [{text}, b]\nload_col: {{inter: [user_id, {text}], {text}: [a]}}\n"
            f"ITEM_ID_FIELD: {text}\n"
        )
        words = [f"--metadata_numeric=[{text}, b]", f"--load_col={{inter: [user_id, {text}]}}"]
        assert parse_command_line(words, known_options()) == {
            "metadata_numeric": [text, "b"], "load_col": {"inter": ["user_id", text]},
        }  # fmt: skip
        read = read_as_options(tmp_path / "c.yaml")
        assert read == {
            "metadata_numeric": [text, "b"], "ITEM_ID_FIELD": text,
            "load_col": {"inter": ["user_id", text], text: ["a"]},
        }  # fmt: skip


class TestWhatNoOptionCanBe:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epochs": 10**5000}, "`epochs` has a whole number beyond 64 bits"),
            ({"topk": [10, 1 << 64]}, "`topk` has a whole number beyond 64 bits"),
            ({"learning_rate": float("nan")}, "`learning_rate` is `nan`"),
            ({"learning_rate": float("inf")}, "`learning_rate` is `inf`"),
            ({"dataset": "a\ud800"}, "`dataset` is .*ud800`; it holds a character that text cannot have"),
            ({"load_col": {"inter": ["a\0"]}}, "`load_col` is .*x00`; it holds a character"),
            ({"valid_metric": None}, "`valid_metric` is empty; leave it out for `NDCG@10`"),
            ({"data_path": None}, "`data_path` is empty"),
            ({"resume": -0.5}, "`resume` is `-0.5`; it must be True, False or text"),
            ({"metrics": []}, "`metrics` is empty"),
            ({"clip_grad_norm": {"max_norm": -1}}, "with numbers above 0"),
            ({"clip_grad_norm": {"max_norm": "x"}}, "with numbers above 0"),
            ({"clip_grad_norm": {"max_norm": 1.0, "norm": 2}}, "`clip_grad_norm` is"),
            ({"user_inter_num_interval": "[x"}, "`user_inter_num_interval` is `.x`; it must be an interval"),
            ({"val_interval": {"timestamp": 3}}, "`val_interval timestamp` is `3`; it must be an interval"),
            ({"load_col": 3}, "`load_col` is `3`; it names the fields"),
            ({"load_col": {}}, "`load_col` is `{}`; it names the fields"),
            ({"encoder_depth": 10**7}, "`encoder_depth` is 10000000; it must be at most 1000"),
            ({"dataset": "B" * 100_000}, "must be the name of a folder"),
            ({"seed": 2**32}, "`seed` is `4294967296`; it must be a whole number from 0 to 4294967295"),
            ({"topk": [10, "x"]}, "`topk` is .*; it is a list of whole numbers"),
            ({"topk": []}, "`topk` is .*; it is a list of whole numbers"),
            *[({name: 0}, f"`{name}` is `0`; it must be a whole number of at least 1") for name in (
                "n_layers", "n_heads", "hidden_size", "inner_size", "encoder_n_latents", "encoder_head_dim",
            )],
        ],
    )  # fmt: skip
    def test_in_a_dict(self, options, message):
        with pytest.raises(ConfigError, match=message):
            Config(config_dict=options)

    @pytest.mark.parametrize(
        ("model", "options"),
        [("GRU4Rec", {"num_layers": 0}), ("NextItNet", {"block_num": 0}), ("NextItNet", {"dilations": [1, 0]}),
         ("NextItNet", {"kernel_size": 0}), ("NARM", {"n_layers": 0}), ("BERT4Rec", {"n_layers": 0}),
         ("FMLPRec", {"n_layers": 0}), ("NextItNet", {"dilations": []})],
    )  # fmt: skip
    def test_sizes_of_recboles_models(self, model, options):
        [name] = options
        with pytest.raises(ConfigError, match=f"`{name}` is .*at least 1"):
            Config(model, config_dict=options)

    @pytest.mark.parametrize(
        "word",
        ["--epochs=" + "9" * 5000, "--epochs=0x" + "f" * 5000, "--eval_args=" + "[" * 100_000, "--epochs=" + "-" * 9999,
         "--label=\udcff", "--label", "--dataset"],
        ids=lambda word: word[:16],
    )  # fmt: skip
    def test_on_the_command_line(self, word):
        with pytest.raises(ConfigError):
            Config("STAP", command_line=[word])

    def test_in_a_file(self, tmp_path):
        for content in (b"epochs: \xff", "dataset: dépôt".encode("cp1252"), "epochs: 1".encode("utf-16")):
            (tmp_path / "c.yaml").write_bytes(content)
            with pytest.raises(ConfigError, match="`.*c.yaml` is not text in UTF-8"):
                Config(config_file_list=[tmp_path / "c.yaml"])


class TestPaths:
    def test_home(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "c.yaml").write_text("log_dir: ~/log\nframe_store: ~\n")
        config = Config(
            config_file_list=["~/c.yaml"], config_dict={"checkpoint_dir": "~/runs"}, command_line=["--data_path=~/d"]
        )
        assert config["log_dir"] == f"{tmp_path}/log" and config["checkpoint_dir"] == f"{tmp_path}/runs"
        assert config["data_path"] == f"{tmp_path}/d/microvideo-demo" and config["frame_store"] is None

    def test_several_of_one_option(self, in_tmp, monkeypatch):
        monkeypatch.setenv("HOME", str(in_tmp))
        for name in ("my options.yaml", "a.yaml"):
            (in_tmp / name).write_text("")
        for given, paths in (
            ("my options.yaml", ["my options.yaml"]),
            ("a.yaml b.yaml", ["a.yaml", "b.yaml"]),
            ("'my options.yaml' a.yaml", ["my options.yaml", "a.yaml"]),
            ('"my options.yaml"', ["my options.yaml"]),
            ("[my options.yaml, 007]", ["my options.yaml", "007"]),
            (["a b", Path("c")], ["a b", "c"]),
            ("~/a.yaml ~/b.yaml", [f"{in_tmp}/a.yaml", f"{in_tmp}/b.yaml"]),
            (None, []),
        ):
            assert split_paths(given, "config_files") == paths
        for given in ("'a", True, [1]):
            with pytest.raises(ConfigError, match="`config_files` is"):
                split_paths(given, "config_files")


class TestDefaults:
    def test_history_is_masked_where_the_protocol_does(self):
        masked = {p: Config(config_dict={"protocol": p})["mask_history"] for p in ("microlens", "recbole")}
        assert masked == {"microlens": True, "recbole": False}
        assert Config(config_dict={"protocol": "recbole", "mask_history": True})["mask_history"] is True

    def test_a_part_of_eval_args_is_completed(self):
        args = Config(config_dict={"eval_args": {"mode": "full"}})["eval_args"]
        assert args["split"] == {"LS": "valid_and_test"} and args["order"] == "TO"
        assert args["mode"] == {"valid": "full", "test": "full"}

    def test_columns_follow_the_field_options(self):
        config = Config(config_dict={"ITEM_ID_FIELD": "video", "TIME_FIELD": "at"})
        assert config["load_col"] == {"inter": ["user_id", "video", "at"]}


class TestRefusal:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"lerning_rate": 1}, r"`lerning_rate` is not an option \(did you mean `learning_rate`"),
            ({"encoder_dept": 1}, "did you mean `encoder_depth`.*item encoder CVA"),
            ({"lerning_rate": 1, "epoch": 2}, "`learning_rate`.*`epoch` is not an option .did you mean `epochs`"),
            ({"item_encoder": "CVE"}, "no item encoder named `CVE` .did you mean `CVA`.*Pooling"),
            ({"item_encoder": "nowhere.at_all:X"}, "no module `nowhere`"),
            ({"item_encoder": "recbole_video.errors:X"}, "has no class `X`"),
            ({"protocol": "leave"}, "`protocol` is `leave`; it must be one of microlens, recbole"),
            ({"loss_type": "XE"}, "must be one of in_batch, CE, BPR"),
            ({"learner": "lion"}, "must be one of adam, adamw"),
            ({"epochs": 0}, "`epochs` is `0`; it must be a whole number of at least 1"),
            ({"train_batch_size": 2.5}, "`train_batch_size` is `2.5`"),
            ({"id_dropout": 1.0}, "`id_dropout` is 1.0"),
            ({"lr_warmup": 2}, "`lr_warmup` is 2; it is a share"),
            ({"min_sequence_length": 2}, "`min_sequence_length` is 2; .*at least 3"),
            ({"item_encoder": "ID", "id_fusion": "sum"}, "item_encoder=ID has no content"),
            ({"eval_args": {"split": {"RS": [8, 1, 1]}, "order": "TO"}}, "'LS': 'valid_and_test'"),
            ({"eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "mode": "uni100"}}, "use full"),
            ({"metrics": ["Hits"]}, "no metric named `Hits` .did you mean `hit`"),
            ({"metrics": ["HR"]}, r"no metric named `HR` \(it is called `hit` here\)\. Known"),
            ({"metrics": ["HR@5"]}, r"\(it is called `hit` here\); cut-offs are `topk`, --topk=5\. Known"),
            ({"valid_metric": "HR@10"}, r"which is not computed \(it is called `hit@10` here\); choose from"),
            ({"topk": 0}, "topk must be a positive integer"),
            ({"valid_metric": "MRR@10"}, "`valid_metric` is `MRR@10`.*hit@10, hit@20, ndcg@10, ndcg@20"),
            ({"eval_groups": ["hot"]}, "popularity, cold"),
            ({"world_size": 4}, "use nproc"),
            ({"train_neg_sample_args": {"distribution": "uniform", "sample_num": 1}}, "belongs to loss_type=BPR"),
            ({"worker": 4}, "`worker` has no effect on video models"),
            ({"normalize_all": True}, "`normalize_all` has no effect"),
            ({"benchmark_filename": ["a", "b", "c"]}, "`benchmark_filename` has no effect"),
            ({"learning_rate": "fast"}, "`learning_rate` is `fast`; it must be a number, such as the default"),
            ({"learning_rate": -1.0}, "`learning_rate` is -1.0; it must not be negative"),
            ({"hidden_dropout_prob": True}, "`hidden_dropout_prob` is `True`; it must be a number"),
            ({"encoder_depth": 1.5}, "`encoder_depth` is `1.5`; it must be a whole number"),
            ({"show_progress": "yes"}, "`show_progress` is `yes`; it must be True or False"),
            ({"mask_history": "yes"}, "`mask_history` is `yes`; it must be True, False or empty"),
            ({"clip_grad_norm": 1.0}, "clip_grad_norm"),
        ],
    )
    def test_of_options(self, options, message):
        with pytest.raises(ConfigError, match=message):
            Config(config_dict=options)

    @pytest.mark.parametrize("model", ["SASRec", "STAP", "LightGCN", "FM"])
    @pytest.mark.parametrize(
        ("args", "message"),
        [
            ({"foo": 1}, "`foo` is no key of `eval_args`; it has split, group_by, order, mode"),
            ({"mod": "full"}, "`mod` is no key of `eval_args` .did you mean `mode`"),
            ({"mode:uni100": None}, "did you mean `mode`.*write a space after its colon"),  # {mode:uni100}
            ({"mode": {"valid": "full", "tset": "full"}}, "`tset` is no key of `eval_args mode` .did you mean `test`"),
            ({"split": {"RS": [8, 1, 1], "foo": 1}}, "`foo` is no key of `eval_args split`; it has RS, LS"),
        ],
    )
    def test_of_keys_that_recbole_would_pass_over(self, model, args, message):
        with pytest.raises(ConfigError, match=message):
            Config(model, config_dict={"eval_args": args})

    def test_of_keys_of_negatives(self):
        negatives = {"distribution": "uniform", "sample_nums": 3}
        for model in ({"loss_type": "BPR"}, {"model": "BPR"}):
            with pytest.raises(ConfigError, match="`sample_nums` is no key .*did you mean `sample_num`"):
                Config(config_dict={**model, "train_neg_sample_args": negatives})

    def test_a_checkpoint_of_before_keeps_such_keys(self):
        options = {"eval_args": {"foo": 1}, "train_neg_sample_args": None}
        assert Config(config_dict=options, is_stored=True)["eval_args"]["foo"] == 1

    @pytest.mark.parametrize("model", ["SASRec", "LightGCN", "recbole:SASRec"])
    @pytest.mark.parametrize(
        ("topk", "metric"), [(5, "NDCG@5"), ([5], "NDCG@5"), ([20, 5], "NDCG@20"), ([5, 10], "NDCG@10")]
    )
    def test_the_metric_to_choose_by_follows_the_cut_offs(self, model, topk, metric):
        config = Config(model, config_dict={"topk": topk})
        assert config["valid_metric"] == metric == config.to_options()["valid_metric"]
        with pytest.raises(ConfigError, match="`valid_metric` is `NDCG@7`, which is not computed; choose from hit@"):
            Config(model, config_dict={"topk": topk, "valid_metric": "NDCG@7"})  # of one that was named nothing is made

    @pytest.mark.parametrize(
        ("model", "options", "computed"),
        [
            ("LightGCN", {"valid_metric": "MRR@10"}, "hit@10, hit@20, ndcg@10, ndcg@20"),
            ("LightGCN", {"valid_metric": "NDCG"}, "hit@10, hit@20"),
            ("BPR", {"metrics": ["GAUC", "ItemCoverage"]}, "itemcoverage@10, itemcoverage@20, gauc"),
            ("FM", {"valid_metric": "Hit@10"}, "auc, logloss"),
        ],
    )
    def test_of_a_metric_that_recboles_model_is_not_judged_by(self, model, options, computed):
        with pytest.raises(ConfigError, match=f"which is not computed; choose from {computed}"):
            Config(model, config_dict=options)
        for metric in computed.split(", "):
            assert Config(model, config_dict={**options, "valid_metric": metric})["valid_metric"] == metric

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ('topk: "[5, 10]"', "`topk` is the text `.5, 10.`; it is a list .*: write it without quotes"),
            ('nproc: "2"', "`nproc` is the text `2`;.* without quotes"),
            ('seed: "2"', "`seed` is the text `2`;.* without quotes"),
            ('metrics: "[Hit, NDCG]"', "`metrics` is the text `.Hit, NDCG.`;.* without quotes"),
            ('clip_grad_norm: "{max_norm: 1.0}"', "`clip_grad_norm` is the text .* without quotes"),
        ],
    )
    def test_of_a_text_in_the_place_of_what_it_reads_like(self, line, message, tmp_path):
        (tmp_path / "c.yaml").write_text(line)
        with pytest.raises(ConfigError, match=message):
            Config(config_file_list=[tmp_path / "c.yaml"])

    def test_of_an_unknown_model(self):
        message = "no model named `SASRek` .did you mean `SASRec`.*RecBole's own run as well"
        with pytest.raises(ConfigError, match=message):
            Config("SASRek")

    def test_of_an_encoder_option_without_its_encoder(self):
        with pytest.raises(ConfigError, match="`encoder_depth` is not an option"):
            Config(config_dict={"item_encoder": "MLP", "encoder_depth": 2})

    @pytest.mark.parametrize(
        ("text", "message"), [("a: [1", "not valid YAML at line"), ("- a", "option: value"), (None, "cannot be read")]
    )
    def test_of_config_files(self, tmp_path, text, message):
        path = tmp_path / "c.yaml"
        if text:
            path.write_text(text)
        with pytest.raises(ConfigError, match=rf"c\.yaml.*{message}"):
            Config(config_file_list=[path])

    def test_an_option_that_only_the_models_source_names_is_known(self):
        Config("recbole:SASRec", config_dict={"train_neg_sample_args": None, "tail_ratio": 0.2})


@pytest.mark.parametrize(
    ("model", "given", "known"),
    [("NextItNet", "hidden_size", "embedding_size"), ("SASRec", "embedding_size", "hidden_size"),
     ("SASRec", "block_num", "n_layers"), ("NARM", "hidden_dropout_prob", "dropout_probs")],
)  # fmt: skip
def test_what_other_models_call_otherwise(model, given, known):
    with pytest.raises(ConfigError, match=rf"`{given}` is not an option \(it is called `{known}` here\) for model"):
        Config(model, config_dict={given: 1})
