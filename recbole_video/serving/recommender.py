"""Using a trained model: recommend, score, add videos, export vectors; no training data needed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor
from torch.nn.functional import pad

from recbole_video.arguments.arrays import Array, as_counts, as_floats, as_tokens, unstorable
from recbole_video.arguments.histories import Histories, known_histories
from recbole_video.arguments.tokens import ordered_tokens
from recbole_video.config import Config
from recbole_video.content.store import FrameStore
from recbole_video.data.catalogue import Catalogue
from recbole_video.errors import CheckpointError, ConfigError, DataError, counted
from recbole_video.evaluation.ranking import best_items
from recbole_video.files.atomic import write_atomically, write_text
from recbole_video.files.names import expanded
from recbole_video.files.replacement import Replacement
from recbole_video.registry import Trust, trusted_paths
from recbole_video.runtime import recbole_compat
from recbole_video.runtime.checkpoint import read_checkpoint
from recbole_video.runtime.checkpoint_checks import (
    BUILD_ERRORS,
    build_stored,
    checked_catalogue,
    checked_options,
    checked_vectors,
)
from recbole_video.serving.predictor import PopularityPredictor, make_predictor

_SCORES_AT_ONCE = 1 << 24
_NO_VIDEO_MODEL = "is a checkpoint of one of RecBole's own models, which RecBole has to load."


def load_model(
    path: str | Path, device: str | torch.device = "cpu", trust: Trust = False
) -> Recommender | PopularityPredictor:
    """Load a trained model from its checkpoint, or from the folder of its run.

    Neither the training data nor the device that the model was trained on is needed. Nothing in the file is run, and
    of classes only those that it names and this process knows: the package's own, and those that were registered, or
    given to :func:`recbole_video.run_recbole_video`, since it started.

    Args:
        path: ``model.pth`` or the run folder that holds it.
        device: Where to compute.
        trust: Which other classes the file may name, to be imported and run: ``"my_module:MyEncoder"``, the class
            itself, several of them in a list, or True for whatever it names.

    Returns:
        A recommender, or a predictor of popularity for models such as STAP.

    Raises:
        CheckpointError: If the file cannot be read, is no checkpoint of this package, contradicts itself, or names a
            class that is not trusted.
        ConfigError: If the device cannot be used, or ``trust`` names no classes.
    """
    trusted = trusted_paths(trust)  # now, since what is wrong with it is no fault of the model
    path, device = expanded(path), _usable_device(device)
    if path.is_dir():
        _refuse_run_without_checkpoint(path)
        path = path / "model.pth"
    recbole_compat.apply()
    state = read_checkpoint(path, "cpu")
    if "data" not in state:
        raise CheckpointError(f"`{path}` {_NO_VIDEO_MODEL}")
    config = _saved_config(checked_options(state, path), device, True if trusted is None else trusted, path)
    if config.task == "popularity":
        return make_predictor(config, state, path)
    if config.task == "stock":
        raise CheckpointError(f"`{path}` {_NO_VIDEO_MODEL}")
    return _make_recommender(config, state, path)


def _make_recommender(config: Config, state: dict[str, Any], path: Path) -> Recommender:
    data = checked_catalogue(state, path)
    tokens = data.texts("item_tokens")
    catalogue = Catalogue(
        user_field=data.text("user_field"),
        item_field=data.text("item_field"),
        user_num=data.get("user_num"),
        item_num=len(tokens),
        train_counts=torch.zeros(len(tokens), dtype=torch.long),
        frame_dim=data.get("frame_dim"),
    )
    if config.reads_frames:
        data.whole("frame_dim", 1)

    def make() -> Any:
        return config.model_class(config, catalogue)

    model = build_stored(make, state["state_dict"], len(tokens), path)
    vectors = checked_vectors(state, model.item_embedding, path)
    return Recommender(model, config, tokens, vectors, data.text_or_none("vfm"))


class Recommender:
    """A trained model that speaks the user's own item ids. Made by :func:`load_model`.

    Attributes:
        items: All item tokens that can be recommended, added videos included.
        model: The PyTorch module.
        config: The options it was trained with.
        vfm: The vision model that its frames came from, where the frame store said so.
    """

    def __init__(
        self,
        model: Any,
        config: Config,
        item_tokens: Sequence[str],
        item_vectors: Tensor | None,
        vfm: str | None = None,
    ) -> None:
        self.device = config["device"]
        self.config = config
        self.vfm = vfm
        self.model = model.to(self.device).eval()
        self._tower = self.model.item_embedding
        self._n_known = len(item_tokens)
        self._n_table = self._tower.num_embeddings
        self._tokens = list(item_tokens[1:])
        self._id_of = {token: i for i, token in enumerate(item_tokens) if i}
        with torch.no_grad():
            self._table = self._tower.weight if item_vectors is None else item_vectors.to(self.device)
        self._tower.set_catalogue(self._table)

    @property
    def items(self) -> list[str]:
        return list(self._tokens)

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

        Ranked as the evaluation ranks: by the model's own scores, and among equal ones in the order of :attr:`items`.

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
        k = _whole(k)
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
            values, columns = best_items(scores, min(k, scores.shape[1]))
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
        self, items: Sequence[str], frames: Array, frame_counts: Sequence[int] | np.ndarray | None = None
    ) -> None:
        """Encode videos that were not in training; from now on they are recommended like any other.

        Args:
            items: N new item tokens.
            frames: [N, F, D] frame embeddings from the vision model that the training frames came from.
            frame_counts: [N], frames that each video has; all F by default.

        Raises:
            DataError: If the items have no order, a token is taken or cannot be one, or the frames have another width,
                or values that are not finite or beyond what a frame store holds, or make no finite vector; nothing is
                added then.
            ConfigError: If the model knows items by their id only.
        """
        if not self._tower.reads_frames:
            raise ConfigError("This model knows videos by their id only (item_encoder=ID); it cannot take in new ones.")
        items = ordered_tokens([items] if isinstance(items, str) else items)
        frames = as_floats("frames", frames)
        self._check_new(items, frames)
        mask = torch.arange(frames.shape[1]) < as_counts(frame_counts, len(items), 1, frames.shape[1])[:, None]
        frames = frames.masked_fill(~mask[:, :, None], 0.0)
        bad, wrong = unstorable(frames)
        if len(bad):
            raise DataError(f"The frames of {counted(len(bad), 'new video')} hold {wrong} (first: `{items[bad[0]]}`).")
        vectors = [
            self._tower.encode_new(f.to(self.device), m.to(self.device))
            for f, m in zip(frames.split(4096), mask.split(4096), strict=True)
        ]
        table = torch.cat([self._table, *vectors])
        _refuse_non_finite_vectors(items, table[len(self._table) :])
        self._id_of.update({token: len(self._table) + i for i, token in enumerate(items)})
        self._tokens += items
        self._table = table
        self._tower.set_catalogue(self._table)

    def add_store(self, path: str | Path, any_vfm: bool = False) -> int:
        """Add those videos of a frame store that the model does not know yet; returns their number.

        Args:
            path: The ``.frames.npy`` file.
            any_vfm: Take frames from a vision model of another name, too.

        Raises:
            DataError: If the frames came from another vision model than those of the training.
        """
        store = FrameStore(path)
        if store.manifest.vfm != self.vfm and not any_vfm:
            raise DataError(
                f"The frames of `{path}` came from `{store.manifest.vfm}`, those of the training from `{self.vfm}`; "
                "make them with the same vision model (or set any_vfm=True if only the names differ)."
            )
        new = [row for row, token in enumerate(store.items) if token not in self._id_of]
        if new:
            self.add_videos([store.items[r] for r in new], store.read(np.array(new)), store.frame_counts[new])
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

    def _check_new(self, items: Sequence[str], frames: Tensor) -> None:
        expected = self.model.frame_dim
        if frames.ndim != 3 or len(frames) != len(items) or frames.shape[2] != expected:
            raise DataError(
                f"Frames of {counted(len(items), 'new video')} must be [{len(items)}, F, {expected}], not "
                f"{list(frames.shape)}."
            )
        taken = [token for token in items if token in self._id_of]
        if taken:
            raise DataError(f"{len(taken)} of the new videos are already known (first: `{taken[0]}`).")
        if len(set(items)) != len(items):
            raise DataError("Some of the new videos have the same id; give each its own.")


def _refuse_run_without_checkpoint(folder: Path) -> None:
    """A control is fitted anew in seconds and keeps its predictions only."""
    if (folder / "metrics.json").is_file() and not (folder / "model.pth").exists():
        raise CheckpointError(
            f"The run in `{folder}` keeps no checkpoint, only results: it is of a control, or of one of RecBole's own "
            "models; see metrics.json and predictions.tsv."
        )


def _refuse_non_finite_vectors(items: Sequence[str], vectors: Tensor) -> None:
    """Refuse new videos whose vectors, or scores by them, would be no numbers."""
    bad = ~torch.isfinite(vectors.float().square().sum(dim=1))
    if bad.any():
        first = items[int(bad.int().argmax())]
        raise DataError(
            f"The item encoder makes no finite vector of {counted(int(bad.sum()), 'new video')} (first: `{first}`): "
            "their frames "
            "are not of the size of those of the training."
        )


def _whole(k: Any) -> int:
    try:
        whole = 0 if isinstance(k, (bool, np.bool_)) else operator.index(k)
    except TypeError:
        whole = 0
    if whole < 1:
        raise ConfigError(f"`k` is {k}; it must be a whole number of at least 1.")
    return whole


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        named = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"`device` is `{device}`, which is no device; give cpu, cuda or cuda:0, for example."
        ) from error
    try:
        return torch.empty(0, device=named).device
    except (RuntimeError, AssertionError, ImportError, NotImplementedError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise ConfigError(f"`device` is `{device}`, which cannot be used here: {reason}.") from error


def _saved_config(options: dict[str, Any], device: torch.device, trust: Trust, path: Path) -> Config:
    """The configuration of a checkpoint, on another device; RecBole's own choice of GPU is left out."""
    used = {**options, "use_gpu": False}
    dataset = used.pop("dataset")
    try:
        config = Config(None, dataset, config_dict=used, trust=trust, is_stored=True)
    except ConfigError as error:
        raise CheckpointError(f"The model of `{path}` cannot be built: {error}") from error
    except BUILD_ERRORS as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise CheckpointError(f"The options of `{path}` cannot be used ({reason}).") from error
    return config.on(device)
