"""TabNet of the package pytorch-tabnet: fitted to features, its weights kept as tensors."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from recbole_video.errors import CheckpointError, TrainingError
from recbole_video.popularity.tree_libraries import import_library
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor, difference

_FIRST = "tabnet.initial_bn.weight"  # as wide as the features
_BATCH, _GHOST_BATCH = 1024, 128  # of the package


def is_installed() -> bool:
    """Whether the package is there."""
    return find_spec("pytorch_tabnet") is not None


class TabNet:
    """TabNet with the package's sizes: three steps, eight units each, one number per category.

    It is fitted on one device and predicts in double precision on the CPU, so that its batch shows in no digit that
    counts.

    Args:
        n_numbers: Columns of numbers, the first ones.
        n_categories: Values of each column of codes, the last ones.

    Raises:
        MissingDependencyError: If the package is not installed.
    """

    def __init__(self, n_numbers: int, n_categories: tuple[int, ...]) -> None:
        columns = range(n_numbers, n_numbers + len(n_categories))
        self._width = n_numbers + len(n_categories)
        self._categories = {"cat_idxs": list(columns), "cat_dims": list(n_categories)}
        self._network: Any = None
        _package()

    def fit(
        self, train: tuple[np.ndarray, np.ndarray], valid: tuple[np.ndarray, np.ndarray], settings: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Train until validation no longer gets better.

        Args:
            train: Rows [N, columns], and their targets [N].
            valid: Likewise.
            settings: ``epochs``, ``patience``, ``seed`` and the name of the ``device``.

        Returns:
            What there is to say of it.
        """
        batch = min(_BATCH, len(train[0]))
        regressor = _package().TabNetRegressor(
            **self._categories, cat_emb_dim=1, seed=settings["seed"], verbose=0, device_name=settings["device"]
        )
        rows, targets = _single(*train)
        regressor.fit(
            rows,
            targets,
            eval_set=[_single(*valid)],
            eval_metric=["mse"],
            max_epochs=settings["epochs"],
            patience=settings["patience"],
            batch_size=batch,
            virtual_batch_size=min(_GHOST_BATCH, batch),
        )
        self._use(regressor.network)
        return {"tabnet epoch": int(regressor.best_epoch) + 1}  # it counts from 0

    def predict(self, rows: np.ndarray) -> np.ndarray:
        """What it gives for rows [N, columns], float64 [N]."""
        if self._network is None:
            raise TrainingError("TabNet has not been fitted yet: fit it first.")
        with torch.no_grad():
            values, _ = self._network(torch.from_numpy(rows.astype(np.float32)).double())
        return values[:, 0].numpy()

    def _use(self, network: Any) -> None:
        self._network = network.cpu().double().eval()
        for part in network.modules():  # its matrix of groups is no buffer, and stays as it is
            if isinstance(groups := getattr(part, "group_attention_matrix", None), Tensor):
                part.group_attention_matrix = groups.cpu().double()

    # -- in a checkpoint -----------------------------------------------------------------------

    def state(self) -> dict[str, Tensor]:
        """Its weights by name."""
        return dict(self._network.state_dict())

    def check(self, state: Any, path: Path) -> None:
        """Refuse weights that are no finite tensors, or of another number of columns: no network is made of them.

        Raises:
            CheckpointError: If they are.
        """
        values = Fields(state, "tabnet", path)
        for name in values.names():
            check_plain_tensor(values.get(name), name, path)
            if not torch.isfinite(values.get(name)).all():
                raise values.refusal(f"`{name}`", "made of finite numbers")
        if not values.has(_FIRST) or tuple(values.get(_FIRST).shape) != (self._width,):
            raise values.refusal(f"`{_FIRST}`", f"of the shape {[self._width]}")

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of :meth:`state`, which :meth:`check` has seen.

        Raises:
            CheckpointError: If they are of another network.
        """
        network = self._built()
        if wrong := difference(network, dict(state)):
            raise CheckpointError(f"The checkpoint's TabNet is another than the one of its options: {wrong}.")
        network.load_state_dict(state)
        self._use(network)

    def _built(self) -> Any:
        """The network with the first weights it has."""
        module = import_library("pytorch_tabnet.tab_network", "TabNet", "pytorch-tabnet")
        groups = torch.eye(self._width)  # each column by itself
        sizes = [1] * len(self._categories["cat_idxs"])
        return module.TabNet(
            self._width, 1, **self._categories, cat_emb_dim=sizes, group_attention_matrix=groups
        ).double()


def _package() -> Any:
    return import_library("pytorch_tabnet.tab_model", "TabNet", "pytorch-tabnet")


def _single(rows: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.astype(np.float32), targets.astype(np.float32)[:, None]
