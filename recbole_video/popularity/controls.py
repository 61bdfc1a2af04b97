"""Control rows: what no popularity model should lose to. Constant, ridge and boosted trees on the metadata alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from recbole.utils import InputType, ModelType
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from recbole_video.data.labelled import PopularityDataset
from recbole_video.data.metadata import Metadata
from recbole_video.errors import ConfigError
from recbole_video.popularity.options import PopularityOptions

_ALPHAS = tuple(10.0**k for k in range(-3, 5))
_MAX_TREES = 1000
_MAX_CATEGORIES = 255  # of HistGradientBoostingRegressor


class Control:
    """Base of the controls: fitted in one go, by scikit-learn, on the same rows and split as the models.

    Attributes:
        inputs_read: Which of ``frames``, ``text`` and ``metadata`` it reads. A store of others is opened only to leave
            out the videos that it lacks, as for the models, and only if it is there.
    """

    Options: type[PopularityOptions] = PopularityOptions
    is_popularity_model = True
    is_control = True
    inputs_read: frozenset[str] = frozenset(["metadata"])
    type = ModelType.GENERAL
    input_type = InputType.POINTWISE

    def fit(self, dataset: PopularityDataset, config: Any) -> None:
        """Fit to the training rows; validation rows only choose a setting."""
        raise NotImplementedError

    def predict_rows(self, dataset: PopularityDataset, rows: np.ndarray) -> np.ndarray:
        """Popularity of some rows, float64 [n]."""
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        """What was fitted, as plain values."""
        return {}


class Constant(Control):
    """The mean of the training labels for every video."""

    inputs_read = frozenset()

    def fit(self, dataset: PopularityDataset, config: Any) -> None:
        """Take the mean."""
        self.value = float(dataset.labels[dataset.rows["train"]].mean())

    def predict_rows(self, dataset: PopularityDataset, rows: np.ndarray) -> np.ndarray:
        """The mean, [n] times."""
        return np.full(len(rows), self.value)

    def describe(self) -> dict[str, Any]:
        """The value."""
        return {"value": self.value}


class MetadataRidge(Control):
    """Ridge regression on the metadata, categories one-hot; the validation split chooses the penalty."""

    def fit(self, dataset: PopularityDataset, config: Any) -> None:
        """Fit with each penalty, and keep the one that validates best.

        Raises:
            ConfigError: If there is no metadata.
        """
        metadata = required_metadata(dataset, type(self).__name__)
        train, valid = dataset.rows["train"], dataset.rows["valid"]
        features, labels = one_hot(metadata), dataset.labels
        fitted = {alpha: Ridge(alpha=alpha).fit(features[train], labels[train]) for alpha in _ALPHAS}
        errors = {
            alpha: float(np.mean((model.predict(features[valid]) - labels[valid]) ** 2))
            for alpha, model in fitted.items()
        }
        self.alpha = min(errors, key=lambda alpha: (errors[alpha], alpha))
        self.model = fitted[self.alpha]

    def predict_rows(self, dataset: PopularityDataset, rows: np.ndarray) -> np.ndarray:
        """Linear in the metadata, [n]."""
        return self.model.predict(one_hot(required_metadata(dataset, type(self).__name__))[rows])

    def describe(self) -> dict[str, Any]:
        """The penalty and the weights."""
        return {"alpha": self.alpha, "weights": self.model.coef_.tolist(), "intercept": float(self.model.intercept_)}


class MetadataGBDT(Control):
    """Boosted trees on the metadata; as many as validate best."""

    def fit(self, dataset: PopularityDataset, config: Any) -> None:
        """Grow trees, and keep the number of them that validates best.

        Raises:
            ConfigError: If there is no metadata.
        """
        metadata = required_metadata(dataset, type(self).__name__)
        train, valid = dataset.rows["train"], dataset.rows["valid"]
        features, labels = _side_by_side(metadata), dataset.labels
        is_category = [False] * metadata.numeric.shape[1] + [n <= _MAX_CATEGORIES for n in metadata.n_categories]
        settings = {
            "learning_rate": 0.05,
            "max_leaf_nodes": 15,
            "categorical_features": is_category,
            "early_stopping": False,
            "random_state": config["seed"],
        }
        grown = HistGradientBoostingRegressor(max_iter=_MAX_TREES, **settings).fit(features[train], labels[train])
        errors = [np.mean((values - labels[valid]) ** 2) for values in grown.staged_predict(features[valid])]
        self.n_trees = int(np.argmin(errors)) + 1
        self.model = HistGradientBoostingRegressor(max_iter=self.n_trees, **settings).fit(
            features[train], labels[train]
        )

    def predict_rows(self, dataset: PopularityDataset, rows: np.ndarray) -> np.ndarray:
        """Sum of the trees, [n]."""
        return self.model.predict(_side_by_side(required_metadata(dataset, type(self).__name__))[rows])

    def describe(self) -> dict[str, Any]:
        """How many trees were kept."""
        return {"trees": self.n_trees}


def required_metadata(dataset: PopularityDataset, model: str) -> Metadata:
    """The metadata of a data set.

    Raises:
        ConfigError: If there is none.
    """
    if dataset.metadata is None:
        raise ConfigError(
            f"{model} reads the metadata alone, and there is none; set metadata to a preset, or metadata_numeric and "
            "metadata_categorical to columns of .item and .user."
        )
    return dataset.metadata


def one_hot(metadata: Metadata) -> np.ndarray:
    """Numbers and one column per category, float64 [N, n + sum of categories]."""
    codes = [metadata.codes[:, i, None] == np.arange(n) for i, n in enumerate(metadata.n_categories)]
    return np.concatenate([metadata.numeric.astype(np.float64), *codes], axis=1)


def _side_by_side(metadata: Metadata) -> np.ndarray:
    return np.concatenate([metadata.numeric.astype(np.float64), metadata.codes], axis=1)
