"""RecBole's side of a measurement: RecBole's own data set, loaders, model, trainer and evaluator.

``recbole.quick_start`` is what it does, without that module: it imports Ray.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_trainer, init_seed

from recbole_video.runtime import recbole_compat

# SASRec in the size of the MicroLens benchmark, as in this package's properties/model/SASRec.yaml.
LARGE_SASREC = {
    "hidden_size": 384,
    "inner_size": 1536,
    "n_layers": 2,
    "n_heads": 2,
    "hidden_dropout_prob": 0.1,
    "attn_dropout_prob": 0.1,
}
_PROTOCOL = {
    "USER_ID_FIELD": "user_id",
    "ITEM_ID_FIELD": "item_id",
    "TIME_FIELD": "timestamp",
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "eval_args": {"split": {"LS": "valid_and_test"}, "group_by": "user", "order": "TO", "mode": "full"},
    "train_neg_sample_args": None,  # softmax over the catalogue
}


@dataclass(frozen=True)
class HostExperiment:
    """A run of RecBole before its first step."""

    config: Config
    model: Any
    trainer: Any
    train: Any
    valid: Any
    test: Any


def prepare(data_path: str, dataset: str, anomaly_detection: bool = False, **options: Any) -> HostExperiment:
    """Do what ``run_recbole`` does before training SASRec.

    Args:
        data_path: Holds the data set's folder.
        dataset: Its name.
        anomaly_detection: Leave autograd's anomaly detection as RecBole's import sets it: on.
        options: RecBole's options.
    """
    recbole_compat.apply()  # without it RecBole does not start on NumPy 2; switches the detection off
    torch.autograd.set_detect_anomaly(anomaly_detection)
    quiet = {"show_progress": False, "use_gpu": False, "state": "ERROR"}
    config = Config("SASRec", dataset, config_dict={"data_path": data_path, **_PROTOCOL, **quiet, **options})
    init_seed(config["seed"], config["reproducibility"])
    train, valid, test = data_preparation(config, create_dataset(config))
    init_seed(config["seed"], config["reproducibility"])
    model = config.model_class(config, train._dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    return HostExperiment(config, model, trainer, train, valid, test)
