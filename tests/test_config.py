"""Options: layers, refusal of what is unknown, values."""

import inspect
from importlib.resources import files

import pytest
import yaml

from recbole_video.config import Config
from recbole_video.errors import ConfigError
from recbole_video.item_encoders import ITEM_ENCODERS
from recbole_video.options import convert_value, parse_command_line
from recbole_video.user_encoders import USER_ENCODERS

from .conftest import MODELS

PROPERTIES = files("recbole_video.properties")


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
        assert parse_command_line(words) == {
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

    def test_stray_word(self):
        with pytest.raises(ConfigError, match="`SASRec` belongs to no option; write options as --key=value"):
            parse_command_line(["SASRec"])

    def test_option_twice(self):
        with pytest.raises(ConfigError, match="`--epochs` is given twice"):
            parse_command_line(["--epochs=1", "--epochs=2"])


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
        path.write_text(yaml.safe_dump(config.to_options()))
        assert Config(config_file_list=[path]).to_options() == config.to_options()

    @pytest.mark.parametrize("name", [n for n in ITEM_ENCODERS if n != "ID"])
    def test_encoder_files_list_every_option_with_its_default(self, name):
        parameters = inspect.signature(ITEM_ENCODERS.get(name)).parameters
        want = {f"encoder_{n}": p.default for n, p in parameters.items() if n not in ("frame_dim", "item_dim")}
        text = (PROPERTIES / "item_encoder" / f"{name}.yaml").read_text()
        assert (yaml.safe_load(text) or {}) == want

    def test_every_model_and_encoder_has_its_file_and_no_file_is_left_over(self):
        stems = {folder: {f.name[:-5] for f in (PROPERTIES / folder).iterdir()} for folder in ("model", "item_encoder")}
        assert stems["model"] == {*USER_ENCODERS, "STAP"} and set(USER_ENCODERS) == set(MODELS)
        assert stems["item_encoder"] == set(ITEM_ENCODERS)

    @pytest.mark.parametrize(
        "path", [p for p in PROPERTIES.rglob("*.yaml") if p.parent.name != "sweep"], ids=lambda p: p.name
    )
    def test_every_line_of_the_properties_is_an_option(self, path):
        options = Config.__new__(Config)
        content = yaml.load(path.read_text(), Loader=Config._build_yaml_loader(options)) or {}
        model = path.stem if path.parent.name == "model" else "SASRec"
        of_popularity = ("popularity", "popularity-demo", "microlens-100k", "smpd-video", "informs", "STAP")
        if path.stem in of_popularity or path.parent.name in ("variant", "preset", "preset_of_variant"):
            Config("STAP", config_dict=content)
            return
        encoder = path.stem if path.parent.name == "item_encoder" else "CVA"
        Config(model, "ml-100k", config_dict={"item_encoder": encoder, **content})


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
            ({"topk": 0}, "topk must be a positive integer"),
            ({"valid_metric": "MRR@10"}, "`valid_metric` is `MRR@10`.*hit@10, hit@20, ndcg@10, ndcg@20"),
            ({"eval_groups": ["hot"]}, "popularity, cold"),
            ({"nproc": 4}, "one process"),
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
