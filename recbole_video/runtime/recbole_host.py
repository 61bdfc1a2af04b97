"""RecBole's side of a configuration: its own defaults, and a ``Config`` of its own for what asks for one."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy, deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import recbole
import torch
from recbole.config import Config as RecBoleConfig
from recbole.utils import dataset_arguments, evaluation_arguments, general_arguments, training_arguments

from recbole_video.errors import ConfigError
from recbole_video.files.reading import read_yaml
from recbole_video.runtime.devices import listed

MODEL_FILES = Path(recbole.__file__).parent / "properties" / "model"


class _Defaults(RecBoleConfig):
    """Reads what RecBole's files hold for a model and a data set, and nothing else."""

    def __init__(self, model: str, model_class: type, dataset: str) -> None:
        self.internal_config_dict: dict[str, Any] = {}
        self._init_parameters_category()
        self._load_internal_config_dict(model, model_class, dataset)
        if not (MODEL_FILES / f"{model_class.__name__}.yaml").is_file():
            self._load_files_of_ancestors(model_class)
        self.known = {name for names in self.parameters.values() for name in names}

    def _init_parameters_category(self) -> None:
        self.parameters = _parameters()

    def _load_files_of_ancestors(self, model_class: type) -> None:
        """The options of the model that an adapter with a name of its own adapts."""
        for cls in reversed(model_class.__mro__):
            file = MODEL_FILES / f"{cls.__name__}.yaml"
            if cls.__module__.startswith("recbole.") and file.is_file():
                self._update_internal_config_dict(file)

    def _update_internal_config_dict(self, file: str | Path) -> dict[str, Any]:
        content = deepcopy(_read_once(Path(file)))
        self.internal_config_dict.update(content)
        return content


def _parameters() -> dict[str, list[str]]:
    """Names of RecBole's options by what they are for; RecBole adds to its own lists what its data sets have."""
    return {
        "General": list(general_arguments),
        "Training": list(training_arguments),
        "Evaluation": list(evaluation_arguments),
        "Dataset": list(dataset_arguments),
    }


@cache
def _read_once(path: Path) -> dict[str, Any]:
    return read_yaml(path, ConfigError) or {}


def host_defaults(model: str, model_class: type, dataset: str) -> tuple[dict[str, Any], set[str]]:
    """RecBole's own options for a model and a data set with their defaults, and further names that it knows."""
    read = _Defaults(model, model_class, dataset)
    return read.internal_config_dict, read.known


class HostConfig(RecBoleConfig):
    """The finished options of a run as RecBole's own ``Config``, for its models, data sets and trainers.

    RecBole checks them and adds what it derives: types of model and evaluation, negative sampling. It reads nothing by
    itself: no file, no command line, no environment.

    Args:
        model: Name of the model.
        model_class: The model.
        dataset: Name of the data set.
        values: All options, finished; ``data_path`` is the folder of data sets.
        device: Where the run computes.

    Raises:
        ValueError: Or another error of RecBole's, on what it cannot use.
    """

    def __init__(
        self, model: str, model_class: type, dataset: str, values: Mapping[str, Any], device: torch.device
    ) -> None:
        self._finished = (model, model_class, dataset)
        self._device = device
        super().__init__(model_class, dataset, None, dict(values))

    def compatibility_settings(self) -> None:
        """Nothing: RecBole's own settings fail on NumPy 2."""

    def _convert_config_dict(self, config_dict: dict[str, Any]) -> dict[str, Any]:
        return config_dict

    def _init_parameters_category(self) -> None:
        self.parameters = _parameters()

    def _load_cmd_line(self) -> dict[str, Any]:
        return {}

    def _build_yaml_loader(self) -> None:
        """None, since no file is read."""

    def _get_model_and_dataset(self, model: Any, dataset: Any) -> tuple[str, type, str]:
        return self._finished

    def _load_internal_config_dict(self, model: str, model_class: type, dataset: str) -> None:
        self.internal_config_dict: dict[str, Any] = {}

    def _set_default_parameters(self) -> None:
        folder = Path(str(self.final_config_dict["data_path"])) / self.dataset
        super()._set_default_parameters()
        # RecBole reads ml-100k from inside its own package, where nothing can be added beside it.
        self.final_config_dict["data_path"] = str(folder)

    def _init_device(self) -> None:
        """The device that was chosen, where RecBole sets the environment, which may be too late."""
        final = self.final_config_dict
        final.update(gpu_id=listed(final["gpu_id"]) if final["use_gpu"] else "", single_spec=True, local_rank=0)
        final["device"] = self._device

    def replaced(self, changed: Mapping[str, Any]) -> HostConfig:
        """The same with some values changed, in a copy that RecBole may write into."""
        twin = copy(self)
        twin.final_config_dict = {**deepcopy_values(self.final_config_dict), **changed}
        return twin


def deepcopy_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy whose lists and dictionaries are copies, too."""
    return {name: deepcopy(value) if isinstance(value, (list, dict)) else value for name, value in values.items()}
