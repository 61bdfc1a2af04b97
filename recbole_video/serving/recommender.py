"""Using a trained recommender: recommend, score, add videos, export vectors; no training data needed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn.functional import pad

from recbole_video.arguments.arrays import Array, as_tokens
from recbole_video.arguments.histories import Histories, known_histories
from recbole_video.arguments.tokens import ordered_tokens
from recbole_video.config import Config
from recbole_video.content.items import Origin, checked_origins, refuse_other_space
from recbole_video.content.store import FrameStore
from recbole_video.data.catalogue import Catalogue
from recbole_video.errors import CheckpointError, ConfigError, DataError, counted
from recbole_video.evaluation.ranking import best_items
from recbole_video.files.atomic import write_atomically, write_text
from recbole_video.files.names import expanded
from recbole_video.files.replacement import Replacement
from recbole_video.options.content import chosen_content
from recbole_video.runtime.checkpoint_checks import build_stored, checked_catalogue, checked_vectors
from recbole_video.serving.new_content import (
    Counts,
    as_rows,
    by_name,
    check_modalities_are_read,
    default_name,
    device_batches,
)
from recbole_video.serving.uses import TellsItsUses

_SCORES_AT_ONCE = 1 << 24


def make_recommender(config: Config, state: dict[str, Any], path: Path) -> Recommender:
    """Build the trained model of a checkpoint.

    Raises:
        CheckpointError: If a value is missing, of another kind, or contradicts another.
    """
    catalogue, tokens, origins = stored_catalogue(config, state, path)
    model = build_stored(lambda: config.model_class(config, catalogue), state["state_dict"], len(tokens), path)
    vectors = checked_vectors(state, model.item_embedding, path)
    return Recommender(model, config, tokens, vectors, origins)


def stored_catalogue(
    config: Config, state: dict[str, Any], path: Path
) -> tuple[Catalogue, list[str], dict[str, Origin]]:
    """What a checkpoint says of its items: for a model to be built, their tokens, and the content that is read.

    Raises:
        CheckpointError: If a value is missing, of another kind, or contradicts another.
    """
    data = checked_catalogue(state, path)
    tokens = data.texts("item_tokens")
    origins = checked_origins(data, dict.fromkeys(chosen_content(config)) if config.inputs_read else {})
    catalogue = Catalogue(
        user_field=data.text("user_field"),
        item_field=data.text("item_field"),
        user_num=data.get("user_num"),
        item_num=len(tokens),
        train_counts=torch.zeros(len(tokens), dtype=torch.long),
        content_dims={name: origin.dim for name, origin in origins.items()},
    )
    return catalogue, tokens, origins


class Recommender(TellsItsUses):
    """A trained model that speaks the user's own item ids. Made by :func:`recbole_video.load_model`.

    Attributes:
        items: All item tokens that can be recommended, added videos included.
        model: The PyTorch module.
        config: The options it was trained with.
        content: Where each modality that it reads came from, by name; empty for a model of ids.
    """

    KIND = "A recommender"

    def __init__(
        self,
        model: Any,
        config: Config,
        item_tokens: Sequence[str],
        item_vectors: Tensor | None,
        content: Mapping[str, Origin] | None = None,
    ) -> None:
        self._set_items(model, config, item_tokens, content)
        self._tower = self.model.item_embedding
        self._n_table = self._tower.num_embeddings
        with torch.no_grad():
            self._table = self._tower.weight if item_vectors is None else item_vectors.to(self.device)
        self._tower.set_catalogue(self._table)

    def _set_items(
        self, model: Any, config: Config, item_tokens: Sequence[str], content: Mapping[str, Origin] | None
    ) -> None:
        self.device = config["device"]
        self.config = config
        self.content = dict(content or {})
        self.model = model.to(self.device).eval()
        self._n_known = len(item_tokens)
        self._tokens = list(item_tokens[1:])
        self._id_of = {token: i for i, token in enumerate(item_tokens) if i}

    def __repr__(self) -> str:
        encoder = f" + {self.config['item_encoder']}" if "item_encoder" in self.config else ""
        inputs = f", reads {', '.join(self.content)}" if self.content else ""
        return (
            f"<{type(self).__name__}: {self.config['model']}{encoder} of {self.config['dataset']}, "
            f"{len(self._tokens):,} items{inputs}>"
        )

    @property
    def items(self) -> list[str]:
        return list(self._tokens)

    @property
    def vfm(self) -> str | None:
        """The model that its frames came from, or its one modality, where the store said so."""
        origin = self.content.get(default_name(self.content))
        return None if origin is None else origin.vfm

    @torch.no_grad()
    def recommend(
        self,
        histories: Histories,
        k: int = 10,
        exclude_seen: bool = True,
        candidates: Sequence[str] | None = None,
        errors: str = "skip",
    ) -> pd.DataFrame:
        """The ``k`` best videos for each history.

        Ranked as the evaluation ranks: by the model's own scores, and equal ones by its rule
        (:func:`recbole_video.evaluation.ties.tie_places`).

        Args:
            histories: User -> item tokens, oldest first; or a list of such histories, whose users
                are then numbered from 0.
            k: How many; fewer where fewer remain.
            exclude_seen: Leave out what is in the history.
            candidates: Recommend from these items only.
            errors: ``skip``: an item of a history that the model does not know is left out, and so is a user of whom
                no item is left; a warning says how many. ``raise`` refuses both.

        Returns:
            Columns ``user_id``, ``rank`` (from 1), ``item_id``, ``score``; best first for each user.

        Raises:
            DataError: If a history is no list, or a candidate is unknown; with ``errors="raise"`` also if an item of
                a history is unknown, or a history empty.
        """
        k = _checked_k(k)
        chosen = self._all_ids() if candidates is None else np.unique(self._ids(as_tokens(candidates)))
        if not len(chosen):
            raise DataError("There is no candidate to recommend.")
        column_of = np.full(len(self._table), -1)
        column_of[chosen] = np.arange(len(chosen))
        tables = [self._as_table([], np.zeros((0, 0), np.float32), np.zeros((0, 0), np.int64))]
        known = known_histories(histories, self._id_of, errors)
        for users, ids, scores in self._score_batches(known, chosen, candidates is None):
            if exclude_seen:
                rows = np.repeat(np.arange(len(ids)), [len(h) for h in ids])
                columns = column_of[np.concatenate(ids)]
                scores[rows[columns >= 0], columns[columns >= 0]] = -torch.inf
            values, columns = best_items(scores, min(k, scores.shape[1]), torch.from_numpy(chosen).to(scores.device))
            tables.append(self._as_table(users, values.cpu().numpy(), chosen[columns.cpu().numpy()]))
        return pd.concat(tables if len(tables) == 1 else tables[1:], ignore_index=True)

    @torch.no_grad()
    def score(self, histories: Histories, items: Sequence[str] | None = None, errors: str = "skip") -> pd.DataFrame:
        """Scores of some items (all by default) for each history; ``histories`` and ``errors`` as in :meth:`recommend`.

        Returns:
            One row per user, one column per item token.

        Raises:
            DataError: If an item is unknown or there is none; and as :meth:`recommend`.
        """
        chosen = self._ids(as_tokens(items)) if items is not None else self._all_ids()
        if not len(chosen):
            raise DataError("There is no item to score; leave `items` out to score all.")
        batches = list(self._score_batches(known_histories(histories, self._id_of, errors), chosen, items is None))
        return pd.DataFrame(
            np.concatenate([np.zeros((0, len(chosen)), np.float32), *(s.cpu().numpy() for _, _, s in batches)]),
            index=pd.Index([user for users, _, _ in batches for user in users], name="user_id"),
            columns=[self._token(i) for i in chosen],
        )

    @torch.no_grad()
    def add_videos(
        self,
        items: Sequence[str],
        frames: Array | None = None,
        frame_counts: Counts | Mapping[str, Counts] | None = None,
        content: Mapping[str, Array] | None = None,
    ) -> None:
        """Encode videos that were not in training; from now on they are recommended like any other.

        Args:
            items: N new item tokens.
            frames: [N, F, D] frame embeddings from the vision model that the training frames came from; for a model of
                one other modality, the rows of that.
            frame_counts: [N], frames that each video has; all F by default. For several modalities, the counts of each
                by its name; they may be 0 where a video has another modality.
            content: Rows by modality, [N, R, D] each, or [N, D] of others than frames, from the encoders of the
                training; what is left out no video has.

        Raises:
            DataError: If the items have no order, a token is taken or cannot be one, or the rows have another width,
                or values that are not finite or beyond what a frame store holds, or make no finite vector, or a video
                has none; nothing is added then.
            ConfigError: If the model knows items by their id only, or does not read what is given.
        """
        self._check_reads_content()
        items = ordered_tokens([items] if isinstance(items, str) else items)
        dims = self.model.content_dims
        rows = as_rows(items, dims, *by_name(dims, frames, frame_counts, content))
        self._check_new(items)
        vectors = [self._tower.encode_new(batch) for batch in device_batches(rows, self.device)]
        table = torch.cat([self._table, *vectors])
        _check_vectors_are_finite(items, table[len(self._table) :])
        self._id_of.update({token: len(self._table) + i for i, token in enumerate(items)})
        self._tokens += items
        self._table = table
        self._tower.set_catalogue(self._table)

    def add_store(self, path: str | Path | Mapping[str, str | Path], any_vfm: bool = False) -> int:
        """Add those videos of a frame store that the model does not know yet; returns their number.

        Args:
            path: The ``.frames.npy`` file; of several modalities, the file of each by its name.
            any_vfm: Take rows from a model of another name, too.

        Raises:
            DataError: If the rows came from another model than those of the training, or one fitted to other content,
                or are of another width.
            ConfigError: If the model does not read such a modality.
        """
        self._check_reads_content()
        if not isinstance(path, (str, Path, Mapping)):
            raise ConfigError(
                f"`path` is {type(path).__name__}; give a file, or the file of each modality by its name."
            )
        paths = dict(path) if isinstance(path, Mapping) else {default_name(self.content): path}
        check_modalities_are_read(paths, self.content)
        stores = {name: FrameStore(one) for name, one in paths.items()}
        for name, store in stores.items():
            if store.manifest.vfm != self.content[name].vfm and not any_vfm:
                raise DataError(
                    f"The frames of `{store.path}` came from `{store.manifest.vfm}`, those of the training from "
                    f"`{self.content[name].vfm}`; make them with the same vision model (or, "
                    "from Python, set any_vfm=True if only the names differ)."
                )
            if not any_vfm:
                refuse_other_space(store, self.content[name])
            if store.frame_dim != self.content[name].dim:
                raise DataError(
                    f"The {name} of `{store.path}` are {store.frame_dim} wide, those of the training "
                    f"{self.content[name].dim}; make them with the same encoder."
                )
        held = dict.fromkeys(token for store in stores.values() for token in store.items)
        new = [token for token in held if token not in self._id_of]
        if new:
            rows = {name: store.rows_of(new) for name, store in stores.items()}
            counts = {name: store.counts_of(rows[name]) for name, store in stores.items()}
            self.add_videos(new, None, counts, {name: store.read(rows[name]) for name, store in stores.items()})
        return len(new)

    def item_vectors(self) -> tuple[list[str], np.ndarray]:
        """All items and their vectors [N, d] float32, in the same order."""
        return self.items, self._table[torch.from_numpy(self._all_ids())].float().cpu().numpy()

    def export_item_vectors(self, folder: str | Path) -> tuple[Path, Path]:
        """Write ``item_vectors.npy`` ([N, d] float32) and ``item_ids.txt`` (a token per line)."""
        tokens, vectors = self.item_vectors()
        folder = expanded(folder)
        paths = folder / "item_vectors.npy", folder / "item_ids.txt"
        with Replacement(folder, paths[0].name) as new:
            write_atomically(new.file(paths[0].name), lambda file: np.save(file, vectors))
            write_text(new.file(paths[1].name), "".join(f"{token}\n" for token in tokens))
        return paths

    # -- inside --------------------------------------------------------------------------------

    def _all_ids(self) -> np.ndarray:
        """Ids of :attr:`items`: known ones, then added ones, which lie behind the learned extra rows."""
        return np.r_[1 : self._n_known, self._n_table : len(self._table)]

    def _token(self, item_id: int) -> str:
        position = item_id - 1 if item_id < self._n_known else item_id - self._n_table + self._n_known - 1
        return self._tokens[position]

    def _ids(self, tokens: Sequence[str]) -> np.ndarray:
        unknown = [str(token) for token in tokens if str(token) not in self._id_of]
        if unknown:
            first = ", ".join(f"`{token}`" for token in unknown[:5])
            raise DataError(
                f"{counted(len(unknown), 'item is', 'items are')} unknown to the model (first: {first}); add_videos "
                "takes them in."
            )
        return np.array([self._id_of[str(token)] for token in tokens], dtype=np.int64)

    def _score_batches(
        self, histories: dict[Any, np.ndarray], chosen: np.ndarray, is_all: bool
    ) -> Iterator[tuple[list[Any], list[np.ndarray], Tensor]]:
        """Users, their histories as ids, and the scores [users, chosen] of each batch."""
        users, ids = list(histories), list(histories.values())
        score = self._as_evaluated if is_all and len(self._table) == self._n_table else self._by_product(chosen)
        size = max(1, min(self.config["eval_batch_size"], _SCORES_AT_ONCE // len(chosen)))
        for start in range(0, len(users), size):
            part = ids[start : start + size]
            scores = score(self._interaction(part))
            if not torch.isfinite(scores).all():
                raise CheckpointError("The model's scores are not finite: its weights, or new videos, are too large.")
            yield users[start : start + size], part, scores

    def _as_evaluated(self, interaction: Interaction) -> Tensor:
        """Scores of all items of the training as the evaluation computes them, to the last bit: ties stay ties."""
        return self.model.full_sort_predict(interaction)[:, 1 : self._n_known]

    def _by_product(self, chosen: np.ndarray) -> Callable[[Interaction], Tensor]:
        """What scores some ids, [B, chosen]: less work than all, and for added videos, too."""
        ids = torch.from_numpy(chosen).to(self.device)
        vectors, bias = self._table[ids].T, self.model.item_bias()
        if bias is None:
            return lambda interaction: self.model.user_vectors(interaction) @ vectors
        biases = pad(bias[: self._n_known], (0, len(self._table) - self._n_known))[ids]  # added videos have none
        return lambda interaction: self.model.user_vectors(interaction) @ vectors + biases

    def _interaction(self, ids: list[np.ndarray]) -> Interaction:
        """The last items of some histories, as the evaluation lays them out."""
        model, width = self.model, self.config["MAX_ITEM_LIST_LENGTH"]
        length = torch.tensor([min(len(history), width) for history in ids])
        columns = int(length.max()) if model.ignores_padding else width
        item_seq = torch.zeros(len(ids), columns, dtype=torch.long)
        for row, history in enumerate(ids):
            item_seq[row, : length[row]] = torch.from_numpy(history[-width:])
        nobody = torch.zeros(len(ids), dtype=torch.long)
        return Interaction({model.USER_ID: nobody, model.ITEM_SEQ: item_seq, model.ITEM_SEQ_LEN: length}).to(
            self.device
        )

    def _as_table(self, users: list[Any], scores: np.ndarray, ids: np.ndarray) -> pd.DataFrame:
        table = pd.DataFrame(
            {
                "user_id": np.repeat(np.array(users, dtype=object), scores.shape[1]),
                "rank": np.tile(np.arange(1, scores.shape[1] + 1), len(users)),
                "item_id": [self._token(i) for i in ids.ravel()],
                "score": scores.ravel(),
            }
        )
        return table[np.isfinite(table["score"])]

    def _check_reads_content(self) -> None:
        if not self._tower.reads_frames:
            raise ConfigError("This model knows videos by their id only (item_encoder=ID); it cannot take in new ones.")

    def _check_new(self, items: Sequence[str]) -> None:
        taken = [token for token in items if token in self._id_of]
        if taken:
            raise DataError(f"{len(taken)} of the new videos are already known (first: `{taken[0]}`).")
        if len(set(items)) != len(items):
            raise DataError("Some of the new videos have the same id; give each its own.")


def _check_vectors_are_finite(items: Sequence[str], vectors: Tensor) -> None:
    """Refuse new videos whose vectors, or scores by them, would be no numbers."""
    bad = ~torch.isfinite(vectors.float().square().sum(dim=1))
    if bad.any():
        first = items[int(bad.int().argmax())]
        raise DataError(
            f"The item encoder makes no finite vector of {counted(int(bad.sum()), 'new video')} (first: `{first}`): "
            "their frames "
            "are not of the size of those of the training."
        )


def _checked_k(k: Any) -> int:
    try:
        whole = 0 if isinstance(k, (bool, np.bool_)) else operator.index(k)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ConfigError(f"`k` is {k}; it must be a whole number of at least 1.")
    return whole
