"""SVR: support vector regression on mean frame, text and metadata."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.svm import SVR as KernelSVR
from sklearn.svm import LinearSVR
from torch import Tensor

from recbole_video.errors import ConfigError
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.feature_rows import ContentOptions, FeatureModel, by_row, refuse_constant
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor

_CACHE_MB = 500
_MOST_STEPS = 5_000  # of the linear solver
_SCALE = ("feature_mean", "feature_sd")


class SVR(FeatureModel):
    """Epsilon support vector regression; the validation split chooses C.

    Features and labels are standardised on train. With the kernel ``linear`` the solver is liblinear, whose cost is
    linear in the videos and whose penalty includes the intercept.

    Raises:
        ConfigError: If there are more training videos than ``max_kernel_videos``.
    """

    @dataclass(frozen=True)
    class Options(ContentOptions):
        """Support vector regression (Khosla et al., WWW 2014, as later benchmarks have it)."""

        kernel: Literal["rbf", "linear"] = option("rbf", "rbf or linear: the paper's, for many videos.")
        penalties: list[float] = option(
            [0.1, 1.0, 10.0], "C, of which the one that validates best is kept.", above=0, is_filled=True
        )
        epsilon: float = option(0.1, "Errors up to it count as none, in standard deviations of the label.", at_least=0)
        max_kernel_videos: int = option(
            20_000, "More training videos are refused: time grows with their square.", void_when=(("kernel", "linear"),)
        )

    feature_mean: Tensor
    feature_sd: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        self._options: SVR.Options = config.options(SVR.Options)
        self._seed: int = config["seed"]
        self._width = self.n_content + inputs.n_numeric + sum(inputs.n_categories)
        for name in _SCALE:
            self.register_buffer(name, torch.ones(self._width, dtype=torch.float64))
        self._state: dict[str, Tensor] = {}

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Fit with each C, and keep the one that validates best."""
        self._refuse_many(len(train["row"]))
        self.fit_components(train)
        rows, labels = self.rows_with_one_hot(train), labels_of(train)
        refuse_constant(rows, "SVR")
        self._fit_scale(rows)
        mean, sd, truth, best = labels.mean(), labels.std(), labels_of(valid), np.inf
        found: dict[str, Any] = {}
        for penalty in self._options.penalties:
            state, facts = self._fitted(self._scaled(rows), (labels - mean) / sd, penalty)
            state |= {"label_mean": torch.tensor(mean), "label_sd": torch.tensor(sd)}
            error = float(np.mean((self._values(state, self.rows_with_one_hot(valid)) - truth) ** 2))
            if error < best:
                best, self._state, found = error, state, {"C": penalty, **facts}
        return found

    def _refuse_many(self, n: int) -> None:
        most = self._options.max_kernel_videos
        if self._options.kernel == "rbf" and n > most:
            raise ConfigError(
                "SVR with kernel=rbf takes time that grows with the square of the training videos, and there are "
                f"{n:,}, more than max_kernel_videos={most:,}; set kernel=linear, draw fewer by train_share, or raise "
                "max_kernel_videos."
            )

    def _fit_scale(self, rows: np.ndarray) -> None:
        sd = rows.std(axis=0)
        self.feature_mean.copy_(torch.from_numpy(rows.mean(axis=0)))
        self.feature_sd.copy_(torch.from_numpy(np.where(sd > 0, sd, 1.0)))

    def _scaled(self, rows: np.ndarray) -> np.ndarray:
        return (rows - self.feature_mean.cpu().numpy()) / self.feature_sd.cpu().numpy()

    def _fitted(self, rows: np.ndarray, labels: np.ndarray, penalty: float) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """State of a model fitted to standardised features and labels, and what there is to say of it."""
        epsilon = self._options.epsilon
        if self._options.kernel == "linear":
            solver = LinearSVR(epsilon=epsilon, C=penalty, random_state=self._seed, max_iter=_MOST_STEPS)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always", ConvergenceWarning)
                solver.fit(rows, labels)
            state = _state(solver.coef_[None], np.ones(1), np.ravel(solver.intercept_)[0], 0.0)
            return state, {"converged": not caught}
        machine = KernelSVR(epsilon=epsilon, C=penalty, cache_size=_CACHE_MB).fit(rows, labels)
        gamma = 1.0 / (rows.shape[1] * rows.var())  # scikit-learn's "scale"
        state = _state(machine.support_vectors_, machine.dual_coef_[0], machine.intercept_[0], gamma)
        return state, {"support vectors": len(machine.support_), "gamma": gamma}

    def predict(self, interaction: Batch) -> Tensor:
        """The sum over the support vectors, on the labels' scale, float64 [B]."""
        if not self._state:
            raise self.not_fitted_error()
        return torch.from_numpy(self._values(self._state, self.rows_with_one_hot(self.condensed(interaction))))

    def _values(self, state: Mapping[str, Tensor], rows: np.ndarray) -> np.ndarray:
        """Popularity by the vectors of ``state``, one video at a time, float64 [N]."""
        known = {name: value.cpu().numpy() for name, value in state.items()}
        vectors, gamma, scaled = known["vectors"], known["gamma"], self._scaled(rows)
        products = by_row(vectors, scaled)
        if self._options.kernel == "rbf":
            squares = (vectors**2).sum(axis=1)
            own = np.array([row @ row for row in scaled])[:, None]
            products = np.exp(-gamma * np.maximum(own + squares - 2 * products, 0))
        values = by_row(known["weights"][None], products)[:, 0] + known["intercept"]
        return values * known["label_sd"] + known["label_mean"]

    # -- in a checkpoint -----------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Tensor]:
        """Support vectors, their weights, and the scale of the labels; nothing before it is fitted."""
        return self._state

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        self._state = dict(state)

    def check_fitted(self, state: Any, path: Path) -> None:
        """Check that there is a weight for each vector, and a number of each feature in it."""
        values = Fields(state, "support vectors", path)
        scalars = ("intercept", "gamma", "label_mean", "label_sd")
        for name in ("vectors", "weights", *scalars):
            check_plain_tensor(values.get(name), name, path)
            tensor = values.get(name)
            if tensor.dtype != torch.float64 or not torch.isfinite(tensor).all():
                raise values.refusal(f"`{name}`", "made of finite numbers in double precision")
        n = len(torch.atleast_1d(values.get("weights")))
        shapes = {"vectors": (n, self._width), "weights": (n,), **dict.fromkeys(scalars, ())}
        for name, shape in shapes.items():
            if tuple(values.get(name).shape) != shape:
                raise values.refusal(f"`{name}`", f"of the shape {list(shape)}")


def _state(vectors: np.ndarray, weights: np.ndarray, intercept: float, gamma: float) -> dict[str, Tensor]:
    arrays = {"vectors": vectors, "weights": weights, "intercept": intercept, "gamma": gamma}
    return {name: torch.from_numpy(np.array(value, dtype=np.float64)) for name, value in arrays.items()}
