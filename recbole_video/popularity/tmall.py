"""TMALL (Chen et al., MM 2016): popularity that is smooth along graphs of similar videos, the unlabelled among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor, nn

from recbole_video.errors import ConfigError, DataError
from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape, MetadataVector
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.feature_rows import ContentOptions, FeatureModel, refuse_constant
from recbole_video.popularity.layers import mean_of, with_metadata
from recbole_video.popularity.similarity_graphs import (
    Neighbourhood,
    Smooth,
    Smoothing,
    nearest,
    neighbourhood,
    smooth_values,
)
from recbole_video.runtime.checkpoint_checks import Fields, check_plain_tensor

_NO_GRAPH, _NO_TRAINING = (("variant", "tmall_linear"),), (("variant", "tmall"),)


class TMALL(FeatureModel):
    """Values on graphs of videos, or the linear model that a public re-implementation is.

    ``tmall``: one graph of nearest videos for each of mean frame, mean text and metadata (the paper's social
    modality); labelled and unlabelled videos are fitted together, in closed form. It is transductive: the features of
    the validation and the test videos are in the graphs, their labels are not; the validation labels choose the
    smoothness alone. A new video has the mean of its nearest stored videos' values, as if it were an unlabelled one.
    ``tmall_linear``: a linear model in two factors, trained by gradient on training videos alone.

    Args:
        config: The run's configuration.
        inputs: Sizes of the inputs.

    Raises:
        ConfigError: If there is no input.
    """

    @dataclass(frozen=True)
    class Options(ContentOptions):
        """TMALL (MM 2016)."""

        variant: Literal["tmall", "tmall_linear"] = option(
            "tmall", "tmall: graphs, fitted in one go; tmall_linear: the linear model that public code trains."
        )
        frame_components: int | None = option(
            None,
            "The mean frame in at most so many principal components of training; empty: as it is.",
            at_least=1,
            void_when=_NO_GRAPH,
        )
        n_neighbours: int = option(20, "k, of each video in each graph.", at_least=1, void_when=_NO_GRAPH)
        smoothness: list[float] = option(
            [0.001, 0.01, 0.1, 1.0, 10.0],
            "mu over the number of videos, of which the one that validates best is kept.",
            above=0,
            is_filled=True,
            void_when=_NO_GRAPH,
        )
        agreement: float = option(
            0.01, "lambda over the square of the number of videos.", at_least=0, void_when=_NO_GRAPH
        )
        evenness: float = option(0.01, "theta over the number of videos.", above=0, void_when=_NO_GRAPH)
        factor_size: int = option(256, "Width of the linear model's factors.", at_least=1, void_when=_NO_TRAINING)

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        options = config.options(self.Options)
        n_frames = self.n_content - inputs.text_dim
        n_metadata = inputs.n_numeric + sum(inputs.n_categories)
        self._widths = {"frames": n_frames, "text": inputs.text_dim, "metadata": n_metadata}
        if not any(self._widths.values()):
            raise ConfigError("TMALL reads frames, text and metadata, and there is none of them; switch one on.")
        self.metadata = MetadataVector(inputs if options.variant == "tmall_linear" else InputShape())
        self.linear = nn.Sequential()
        if options.variant == "tmall_linear":
            n_inputs = inputs.frame_dim + inputs.text_dim + self.metadata.width
            self.linear.append(nn.Linear(n_inputs, options.factor_size, bias=False))
            self.linear.append(nn.Linear(options.factor_size, 1))
        self._options = options
        self._test: Batch | None = None
        self._state: dict[str, Tensor] = {}
        self._known: dict[bytes, float] = {}

    @classmethod
    def is_fitted_once(cls, options: Mapping[str, Any] | None = None) -> bool:
        """Whether it is the one of graphs; so it is where nothing is said."""
        return options is None or options["variant"] == "tmall"

    @classmethod
    def is_transductive(cls, options: Mapping[str, Any]) -> bool:
        """The graphs join test videos to the others."""
        return cls.is_fitted_once(options)

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """That the videos to be judged were seen without labels."""
        is_fitted = "fit" in result or "control" in result  # of an earlier version
        return "transductive: validation and test videos were fitted on without labels" if is_fitted else ""

    # -- the linear model ----------------------------------------------------------------------

    def forward(self, batch: Batch) -> Tensor:
        """Prediction of the linear model on its scale, [B]."""
        means = [mean_of(batch, name) for name in ("frames", "text") if name in batch]
        return self.linear(with_metadata(self.metadata, batch, *means)).squeeze(-1)

    # -- fitting to graphs ---------------------------------------------------------------------

    def take_unlabelled(self, videos: Batch) -> None:
        """Keep what the test videos are like until :meth:`fit_once`."""
        self._test = videos

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Fit with each smoothness, and keep the one that validates best.

        Raises:
            DataError: If all training videos have the same features.
            TrainingError: If a linear system is not solved.
        """
        self.fit_components(train)
        splits = [train, valid] if self._test is None else [train, valid, self._test]
        rows = [self.rows_with_one_hot(split) for split in splits]
        refuse_constant(rows[0], "TMALL")
        self._test = None
        labels, n_train, n_valid = labels_of(train), len(rows[0]), len(rows[1])
        mean, sd = labels.mean(), labels.std()
        graphs = self._graphs(features := np.concatenate(rows).astype(np.float32))
        padded = np.concatenate([(labels - mean) / sd, np.zeros(len(features) - n_train)])
        truth = (labels_of(valid) - mean) / sd
        fits: list[tuple[float, Smooth]] = []
        errors: list[float] = []
        for smoothness in self._options.smoothness:
            found = self._smooth(graphs, padded, np.arange(len(features)) < n_train, smoothness)
            fits.append((smoothness, found))
            errors.append(float(np.mean((found.values[n_train : n_train + n_valid] - truth) ** 2)))
        return self._keep(features, graphs, fits[int(np.argmin(errors))], mean, sd)

    def _graphs(self, features: np.ndarray) -> dict[str, Neighbourhood]:
        """The graph of each modality in which videos differ, by its name.

        Raises:
            DataError: If there is none.
        """
        parts = self._parts(features)
        graphs = {
            name: neighbourhood(part, self._options.n_neighbours, self._options.seed) for name, part in parts.items()
        }
        found = {name: graph for name, graph in graphs.items() if graph.width}
        if not found:
            raise DataError(
                f"TMALL joins videos that are similar, and there are no two with different {' or '.join(parts)}; read "
                "other modalities too."
            )
        return found

    def _parts(self, features: np.ndarray) -> dict[str, np.ndarray]:
        """Columns of each modality in double precision, by its name."""
        ends = np.cumsum(list(self._widths.values()))[:-1]
        parts = zip(self._widths, np.split(features.astype(np.float64), ends, axis=1), strict=True)
        return {name: part for name, part in parts if part.shape[1]}

    def _smooth(
        self, graphs: Mapping[str, Neighbourhood], labels: np.ndarray, is_labelled: np.ndarray, smoothness: float
    ) -> Smooth:
        n, options = len(labels), self._options
        how = Smoothing(smoothness * n, options.agreement * n**2, options.evenness * n)
        return smooth_values([graph.laplacian() for graph in graphs.values()], labels, is_labelled, how)

    def _keep(
        self,
        features: np.ndarray,
        graphs: Mapping[str, Neighbourhood],
        best: tuple[float, Smooth],
        mean: float,
        sd: float,
    ) -> dict[str, Any]:
        """Keep what predicts, and say what was found."""
        smoothness, found = best
        shares = dict(zip(graphs, found.shares.tolist(), strict=True))
        none = Neighbourhood(0.0, csr_array((len(features),) * 2))
        ordered = [graphs.get(name, none) for name in self._widths]
        arrays = {
            "features": features,
            "values": found.values,
            "widths": np.array([graph.width for graph in ordered]),
            "shares": np.array([shares.get(name, 0.0) for name in self._widths]),
            "degrees": np.stack([graph.degrees for graph in ordered]),
            "label_mean": np.array(mean),
            "label_sd": np.array(sd),
        }
        self.set_extra_state({name: torch.from_numpy(array) for name, array in arrays.items()})
        return {"smoothness": smoothness, "shares": shares, "sweeps": len(found.objectives), "videos": len(features)}

    # -- prediction ----------------------------------------------------------------------------

    def predict(self, interaction: Batch) -> Tensor:
        """Popularity of each video on the labels' scale, [B]; along graphs, float64."""
        if len(self.linear):
            return super().predict(interaction)
        if not self._state:
            raise self.not_fitted_error()
        rows = self.rows_with_one_hot(self.condensed(interaction)).astype(np.float32)
        fitted = [self._known.get(_key(row)) for row in rows]
        is_new = np.array([value is None for value in fitted], dtype=bool)
        values = np.array([0.0 if value is None else value for value in fitted])
        values[is_new] = self._extended(rows[is_new])
        return torch.from_numpy(values * float(self._state["label_sd"]) + float(self._state["label_mean"]))

    def _extended(self, features: np.ndarray) -> np.ndarray:
        """Values of new videos: what an unlabelled one with their nearest stored neighbours would have, [B].

        The objective's derivative at it is zero where ``sum_k c_k (f - sum_j S_kj / sqrt(d_k d_kj) f_j) = 0``, with
        the share of a graph over its trace for ``c_k``.
        """
        state = {name: value.cpu().numpy() for name, value in self._state.items()}
        total, mass = np.zeros(len(features)), np.zeros(len(features))
        stored = self._parts(state["features"])
        for k, name in enumerate(self._widths):
            degrees = state["degrees"][k]
            there, new = np.flatnonzero(degrees > 0), self._parts(features).get(name)
            if new is None or not len(there) or not len(new):
                continue
            near, squares = nearest(new, stored[name][there], self._options.n_neighbours)
            weights = np.exp(-squares / (2 * state["widths"][k] ** 2)) * new.any(axis=1, keepdims=True)
            own = np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
            scaled = weights / np.sqrt(own * degrees[there[near]])
            share = state["shares"][k] / len(there) * new.any(axis=1)
            total += share * (scaled * state["values"][there[near]]).sum(axis=1)
            mass += share
        return total / np.where(mass > 0, mass, 1.0)

    # -- in a checkpoint -----------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, Tensor]:
        """Features and values of the videos in the graphs, and what joins a new one; nothing before it is fitted."""
        return self._state

    def set_extra_state(self, state: Mapping[str, Tensor]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        self._state, self._known = dict(state), {}
        if state:
            self._known = _values_by_features(state["features"].cpu().numpy(), state["values"].cpu().numpy())

    def check_fitted(self, state: Any, path: Path) -> None:
        """Check that each video has its features, its value and its degree in each graph."""
        if len(self.linear):
            return
        values = Fields(state, "graphs", path)
        check_plain_tensor(values.get("features"), "features", path)
        n, k = len(torch.atleast_1d(values.get("features"))), len(self._widths)
        shapes: dict[str, tuple[int, ...]] = {"features": (n, sum(self._widths.values())), "values": (n,)}
        shapes |= {"widths": (k,), "shares": (k,), "degrees": (k, n), "label_mean": (), "label_sd": ()}
        for name, shape in shapes.items():
            tensor = values.get(name)
            check_plain_tensor(tensor, name, path)
            if tensor.dtype != (torch.float32 if name == "features" else torch.float64):
                raise values.refusal(f"`{name}`", "of its precision")
            if tuple(tensor.shape) != shape or not torch.isfinite(tensor).all():
                raise values.refusal(f"`{name}`", f"of finite numbers in the shape {list(shape)}")


def _key(row: np.ndarray) -> bytes:
    """What stands for the features of a video, float32 [d]; zeros of both signs are the same."""
    return (row + 0.0).tobytes()


def _values_by_features(features: np.ndarray, values: np.ndarray) -> dict[bytes, float]:
    """The value of each stored video; the mean value of several with the same features."""
    of_same: dict[bytes, list[float]] = {}
    for row, value in zip(features, values.tolist(), strict=True):
        of_same.setdefault(_key(row), []).append(value)
    return {key: sum(found) / len(found) for key, found in of_same.items()}
