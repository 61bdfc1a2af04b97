"""Using a control: it recommends and scores as a trained model does, and has no item vectors of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_video.config import Config
from recbole_video.content.items import Origin
from recbole_video.errors import ConfigError
from recbole_video.runtime.checkpoint_checks import build_stored
from recbole_video.serving.recommender import Recommender, stored_catalogue


def make_control(config: Config, state: dict[str, Any], path: Path) -> ControlRecommender:
    """Build the control of a checkpoint.

    Raises:
        CheckpointError: If a value is missing, of another kind, or contradicts another.
    """
    catalogue, tokens, origins = stored_catalogue(config, state, path)

    def make() -> Any:
        model = config.model_class(config, catalogue)
        model.check_state(state["state_dict"], path)
        return model

    return ControlRecommender(build_stored(make, state["state_dict"], 0, path), config, tokens, origins)


class ControlRecommender(Recommender):
    """A fitted control that speaks the user's own item ids. Made by :func:`recbole_video.load_model`.

    Its scores are of the items of its training; it takes in no videos.
    """

    def __init__(
        self, model: Any, config: Config, item_tokens: Sequence[str], content: Mapping[str, Origin] | None = None
    ) -> None:
        self._set_items(model, config, item_tokens, content)
        self._table = torch.zeros(len(item_tokens), 0)
        self._n_table = len(item_tokens)

    def item_vectors(self) -> tuple[list[str], np.ndarray]:
        """A control has none.

        Raises:
            ConfigError: Always.
        """
        self._raise_no_vectors()

    def export_item_vectors(self, folder: str | Path) -> tuple[Path, Path]:
        """A control has none.

        Raises:
            ConfigError: Always.
        """
        self._raise_no_vectors()

    def _raise_no_vectors(self) -> NoReturn:
        raise ConfigError(f"{self.config['model']} is a control, which has no item vectors.")

    def _check_reads_content(self) -> None:
        raise ConfigError(
            f"{self.config['model']} is a control, which ranks the videos of its training alone; it cannot take in "
            "new ones."
        )

    def _by_product(self, chosen: np.ndarray) -> Callable[[Interaction], Tensor]:
        """No product: the chosen of all scores."""
        ids = torch.from_numpy(chosen).to(self.device)
        return lambda interaction: self.model.full_sort_predict(interaction)[:, ids]
