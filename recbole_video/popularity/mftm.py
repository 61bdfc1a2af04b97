"""MFTM: LightGBM and TabNet on content and metadata, blended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from recbole_video.options.option import option
from recbole_video.popularity.base import Batch, InputShape
from recbole_video.popularity.columns import labels_of
from recbole_video.popularity.explanation import Contribution, Explanation
from recbole_video.popularity.feature_rows import ContentOptions, FeatureModel, refuse_constant
from recbole_video.popularity.tabnet import TabNet, is_installed
from recbole_video.popularity.tree_libraries import (
    as_checkpoint_error,
    as_training_error,
    check_sealed,
    import_library,
    n_threads,
    sealed,
    unsealed,
)
from recbole_video.runtime.checkpoint_checks import Fields

_SHARES = np.linspace(0, 1, 21)


class MFTM(FeatureModel):
    """LightGBM and TabNet, each with its package's defaults, and a share of either.

    Labels are standardised on train for TabNet; its share is the one that validates best, or given.

    Raises:
        MissingDependencyError: If LightGBM, or a TabNet that is asked for, is not installed.
    """

    @dataclass(frozen=True)
    class Options(ContentOptions):
        """MFTM (Hsu et al., MM 2023) by LightGBM and TabNet, which the extra ``trees`` installs."""

        variant: Literal["mftm", "mftm_emb"] = option(
            "mftm", "mftm: with metadata, blended by validation. mftm_emb: embeddings alone, half of each."
        )
        n_trees: int = option(100, "Trees of LightGBM.", at_least=1)
        use_tabnet: Literal["auto", True, False] = option("auto", "auto: where pytorch-tabnet is there; True; False.")
        tabnet_share: float | None = option(
            None,
            "Share of TabNet; empty: the one that validates best.",
            at_least=0,
            at_most=1,
            must="is a share, at least 0 and at most 1",
            void_when=(("use_tabnet", False),),
        )
        tabnet_epochs: int = option(200, "At most so many.", at_least=1, void_when=(("use_tabnet", False),))
        tabnet_patience: int = option(
            20, "Stop after so many epochs without a better one.", at_least=1, void_when=(("use_tabnet", False),)
        )

    tabnet_share: Tensor

    def __init__(self, config: Any, inputs: InputShape) -> None:
        super().__init__(config, inputs)
        self._options: MFTM.Options = config.options(MFTM.Options)
        self._settings = {"seed": config["seed"], "device": config["device"].type}
        self.register_buffer("tabnet_share", torch.zeros((), dtype=torch.float64))
        self._trees: Any = None
        self._trees_state: dict[str, Tensor] = {}
        self._tabnet: TabNet | None = None
        self._lightgbm()  # refused now, and not after the videos have been gathered
        if self._options.use_tabnet is True:
            self._new_tabnet()

    def _new_tabnet(self) -> TabNet:
        return TabNet(self.n_content + self.inputs.n_numeric, self.inputs.n_categories)

    def _lightgbm(self) -> Any:
        return import_library("lightgbm", "MFTM", "LightGBM")

    @classmethod
    def remark(cls, result: Mapping[str, Any]) -> str:
        """Says what it lacks: TabNet, or the metadata, of which the method is made."""
        lacking = [] if "metadata" in result["data"]["inputs"] else ["embeddings alone, without MFTM's metadata"]
        fit = result["fit"] if "fit" in result else result["control"]  # of an earlier version
        if fit.get("tabnet share") is None:
            lacking.append("LightGBM alone, without TabNet")
        return "; ".join(lacking)

    def fit_once(self, train: Batch, valid: Batch) -> dict[str, Any]:
        """Fit either, and choose the share of TabNet by validation."""
        self.fit_components(train)
        rows, labels = self.rows_with_codes(train), labels_of(train)
        unseen, truth = self.rows_with_codes(valid), labels_of(valid)
        refuse_constant(rows, "MFTM")
        self._grow(rows, labels)
        gains = self._trees.feature_importance("gain")
        notes: dict[str, Any] = {"trees": self._trees.num_trees(), **self.importance(gains)}
        if not (is_installed() if self._options.use_tabnet == "auto" else self._options.use_tabnet):
            return notes
        self._tabnet = self._new_tabnet()
        notes |= self._tabnet.fit((rows, self._scaled(labels)), (unseen, self._scaled(truth)), self._tabnet_settings())
        given = self._options.tabnet_share
        share = self._best_share(unseen, truth) if given is None else given
        self.tabnet_share.fill_(share)
        return {**notes, "tabnet share": round(float(share), 2)}

    def _scaled(self, labels: np.ndarray) -> np.ndarray:
        return (labels - float(self.label_mean)) / float(self.label_std)

    def _tabnet_settings(self) -> dict[str, Any]:
        options = self._options
        return {**self._settings, "epochs": options.tabnet_epochs, "patience": options.tabnet_patience}

    def _grow(self, rows: np.ndarray, labels: np.ndarray) -> None:
        library = self._lightgbm()
        model = library.LGBMRegressor(
            n_estimators=self._options.n_trees,
            random_state=self._settings["seed"],
            n_jobs=n_threads(len(rows)),
            deterministic=True,
            force_row_wise=True,
            verbose=-1,
        )
        first = rows.shape[1] - len(self.inputs.n_categories)
        with as_training_error("LightGBM", library.basic.LightGBMError):
            model.fit(rows, labels, categorical_feature=list(range(first, rows.shape[1])))
        self._trees = model.booster_
        self._trees_state = sealed(self._trees.model_to_string().encode())

    def _best_share(self, rows: np.ndarray, labels: np.ndarray) -> float:
        of_trees, of_tabnet = self._parts(rows)
        errors = [np.mean(((1 - share) * of_trees + share * of_tabnet - labels) ** 2) for share in _SHARES]
        return float(_SHARES[int(np.argmin(errors))])

    def _parts(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What trees and TabNet predict on the labels' scale, float64 [N] each; zeros without TabNet."""
        of_trees = np.asarray(self._trees.predict(rows, num_threads=n_threads(len(rows))), dtype=np.float64)
        if self._tabnet is None:
            return of_trees, np.zeros(len(rows))
        return of_trees, self._tabnet.predict(rows) * float(self.label_std) + float(self.label_mean)

    def predict(self, interaction: Batch) -> Tensor:
        """The blend, float64 [B]."""
        if self._trees is None:
            raise self.not_fitted_error()
        of_trees, of_tabnet = self._parts(self.rows_with_codes(self.condensed(interaction)))
        share = float(self.tabnet_share)
        return torch.from_numpy((1 - share) * of_trees + share * of_tabnet)

    def explain(self, batch: Batch) -> Explanation:
        """What frames, text, and each column of the metadata add to the mean prediction, as LightGBM's SHAP values.

        TabNet is not taken apart: its share of the prediction adds what it differs from the mean training label by.
        """
        popularity, share = float(self.predict(batch)[0]), float(self.tabnet_share)
        rows = self.rows_with_codes(self.condensed(batch))
        *added, base = (1 - share) * self._trees.predict(rows, pred_contrib=True, num_threads=1)[0]
        found = self.contributions(np.array(added))
        if not share:
            return Explanation(popularity, base=float(base), contributions=found)
        mean, of_tabnet = self.inputs.label_mean, float(self._parts(rows)[1][0])
        found.append(Contribution("TabNet", share * (of_tabnet - mean)))
        note = (
            f"The trees make up {1 - share:.0%} of the prediction; the other {share:.0%} are TabNet's, which are not "
            "taken apart: they are told against the mean training label."
        )
        base = float(base) + share * mean
        return Explanation(popularity, base=base, contributions=found, note=note)

    # -- in a checkpoint -----------------------------------------------------------------------

    def get_extra_state(self) -> dict[str, dict[str, Tensor]]:
        """The trees in LightGBM's format, as bytes with their digest, and TabNet's weights, if it is there."""
        parts = {} if self._trees is None else {"trees": self._trees_state}
        return parts if self._tabnet is None else {**parts, "tabnet": self._tabnet.state()}

    def set_extra_state(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """What :meth:`get_extra_state` gave; of a file, :meth:`check_state` has seen it."""
        if "trees" in state:
            self._trees_state = dict(state["trees"])
            library = self._lightgbm()
            with as_checkpoint_error("LightGBM", library.basic.LightGBMError, UnicodeDecodeError):
                self._trees = library.Booster(model_str=unsealed(state["trees"]).decode())
        if "tabnet" in state:
            self._tabnet = self._new_tabnet()
            self._tabnet.load(state["tabnet"])

    def check_fitted(self, state: Any, path: Path) -> None:
        """Check that the bytes of the trees are those that were written, and that TabNet's weights fit its columns."""
        values = Fields(state, "fitted parts", path)
        check_sealed(values.get("trees"), "trees", path)
        if values.has("tabnet"):
            self._new_tabnet().check(values.get("tabnet"), path)
