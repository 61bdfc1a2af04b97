"""What a configuration asks of the kind of its model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from recbole.utils import ModelType

from recbole_video.config.given import Given
from recbole_video.errors import ConfigError
from recbole_video.options.option import Option, check_no_void_options, declared
from recbole_video.registries import ITEM_ENCODERS
from recbole_video.registry import Registry


class Kind(ABC):
    """One kind of model; an instance is of one configuration, which calls the methods in their order here.

    Args:
        model: Name of the model.
        model_class: The model.
        given: What was given.
        dataset_layer: The options that a file of this package has for the data set.

    Attributes:
        task: Name of the task whose runs such models have.
        registry: The table that knows such models.
        default_dataset: Name of the data set where none is given.
        encoder_name: Name of the item encoder, as it was chosen; None for models that have none.
        encoder: The item encoder, likewise.
    """

    task: ClassVar[str]
    registry: ClassVar[Registry[Any]]
    default_dataset: ClassVar[str] = "microvideo-demo"

    def __init__(self, model: str, model_class: Any, given: Given, dataset_layer: Mapping[str, Any]) -> None:
        self.model, self.model_class, self.dataset_layer = model, model_class, dataset_layer
        self.encoder_name = self._chosen_encoder(given)
        self.encoder: type | None = None if self.encoder_name is None else ITEM_ENCODERS.get(self.encoder_name)

    def _chosen_encoder(self, given: Given) -> str | None:
        """Name of the item encoder, or its path, which the caller has given or trusts.

        Raises:
            ConfigError: If a file names a class that is not trusted.
        """
        return None

    @abstractmethod
    def declared(self, model_type: ModelType) -> dict[str, Option]:
        """The options of this package that there are; ``model_type`` is what RecBole says of the model."""

    def add_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Lay what files of this package have for data set, variant and preset over the defaults."""
        known = self._keys_of_datasets(defaults)
        defaults |= {k: v for k, v in self.dataset_layer.items() if k in known}  # one data set may serve several tasks
        self._add_own_layers(defaults, given)

    def _keys_of_datasets(self, defaults: Mapping[str, Any]) -> set[str]:
        """Names of the options that are taken from the layer of the data set."""
        return set(defaults)

    @abstractmethod
    def _add_own_layers(self, defaults: dict[str, Any], given: Mapping[str, Any]) -> None:
        """Lay over the defaults what comes after the data set."""

    @property
    def shown(self) -> str:
        """Model and item encoder in words, as they were chosen."""
        return f"model {self.model}"

    @abstractmethod
    def check_given(self, config: Any, values: Mapping[str, Any]) -> None:
        """Refuse options that were given, but do nothing or are not as they were declared.

        Args:
            config: The configuration, all layers merged.
            values: Its options as they will be.

        Raises:
            ConfigError: On the first such option.
        """

    @abstractmethod
    def complete(self, config: Any, values: dict[str, Any], device: torch.device) -> None:
        """Fill into ``values`` what follows from other options and the device.

        Raises:
            ConfigError: If options contradict each other.
        """

    def for_host(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """What RecBole is told in the place of what it derives from the options."""
        return {}

    @abstractmethod
    def check(self, config: Any) -> None:
        """Refuse a finished configuration whose options contradict each other.

        Raises:
            ConfigError: On the first contradiction.
        """

    # -- what readers of a configuration ask -----------------------------------------------------

    def keeps_frame_dim(self, options: Mapping[str, Any]) -> bool:
        """Whether item vectors are as wide as the one modality that is read."""
        return False

    def inputs_read(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Names of the inputs that the model reads."""
        return frozenset()

    def filters_by_content(self, options: Mapping[str, Any]) -> bool:
        """Whether items that lack content are left out though the model reads none."""
        return False


class Declaring(Kind):
    """Models of this package, or made from its classes: what they read is declared in their ``Options``."""

    def declared(self, model_type: ModelType) -> dict[str, Option]:
        return dict(declared(self.model_class.Options))

    def check_given(self, config: Any, values: Mapping[str, Any]) -> None:
        changed = {name: value for name, value in config.given.items() if value != config.defaults.get(name)}
        rules = self.model_class.Options
        if ignored := sorted(rules.without_effect & set(changed)):
            raise ConfigError(f"`{ignored[0]}` has no effect on {rules.models}; remove it.")
        if not config.is_shared and (ignored := sorted(self._of_training(values) & set(changed))):
            raise ConfigError(f"`{ignored[0]}` has no effect on {self.model}, which is fitted in one go; remove it.")
        free_width = self._free_width(values)
        for name, value in config.given.items():
            if not (value is None and name == free_width):
                config.declarations[name].check(value, config.defaults.get(name))
        if not config.is_stored:  # what does nothing by now did something when the model was made
            check_no_void_options(config.declarations.values(), changed, values)

    def _of_training(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Options that nothing reads, because the model is fitted in one go."""
        return self.model_class.Options.of_training

    def _free_width(self, options: Mapping[str, Any]) -> str | None:
        """The option of d where it follows the frames: empty, unless another width is asked for."""
        return None

    def check(self, config: Any) -> None:
        config.options(self.model_class.Options).check()
        # Earlier versions took content that does nothing: a run of then is loaded, and resumed by its folder.
        self._check_content(config, config.is_stored or isinstance(config["resume"], str))

    @abstractmethod
    def _check_content(self, config: Any, is_of_before: bool) -> None:
        """Refuse content that the model cannot read, or options about it that do nothing."""
