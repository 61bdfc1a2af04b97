"""Using a trained model: recommend, score, add videos, export vectors; no training data needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from recbole.data.interaction import Interaction
from torch import Tensor

from recbole_video import recbole_compat
from recbole_video.config import Config
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.files import write_atomically, write_text
from recbole_video.data.frame_store import FrameStore
from recbole_video.data.replacement import Replacement
from recbole_video.errors import CheckpointError, ConfigError, DataError
from recbole_video.experiment import follow_frame_dim
from recbole_video.popularity.predictor import PopularityPredictor, make_predictor
from recbole_video.training.checkpoint import read_checkpoint

Histories = Mapping[str, Sequence[str]] | Sequence[Sequence[str]]

_SCORES_AT_ONCE = 1 << 24


def load_model(path: str | Path, device: str | torch.device = "cpu") -> Recommender | PopularityPredictor:
    """Load a trained model from its checkpoint, or from the folder of its run.

    Neither the training data nor the device that the model was trained on is needed.

    Args:
        path: ``model.pth`` or the run folder that holds it.
        device: Where to compute.

    Returns:
        A recommender, or a predictor of popularity for models such as STAP.

    Raises:
        CheckpointError: If the file cannot be read or is no checkpoint of this package.
    """
    path = Path(path)
    if path.is_dir():
        _refuse_run_without_checkpoint(path)
        path = path / "model.pth"
    recbole_compat.apply()
    state = read_checkpoint(path, "cpu")
    if "data" not in state:
        raise CheckpointError(f"`{path}` is a checkpoint of one of RecBole's own models, which RecBole has to load.")
    target = _usable_device(device)
    try:
        config = _saved_config(state["config"], target)
        data = state["data"]
        if config.task == "popularity":
            return make_predictor(config, state, path)
        catalogue = Catalogue(
            user_field=data["user_field"],
            item_field=data["item_field"],
            user_num=data["user_num"],
            item_num=len(data["item_tokens"]),
            train_counts=torch.zeros(len(data["item_tokens"]), dtype=torch.long),
            frame_dim=data["frame_dim"],
        )
        follow_frame_dim(config, catalogue.frame_dim)
        model = config.model_class(config, catalogue)
        model.load_state_dict(state["state_dict"])
    except ConfigError as error:
        raise CheckpointError(f"The model of `{path}` cannot be built: {error}") from error
    except (KeyError, RuntimeError, TypeError) as error:
        raise CheckpointError(f"`{path}` does not hold a model that this version can build: {error}") from error
    if model.item_embedding.reads_frames and "item_vectors" not in state:
        raise CheckpointError(f"`{path}` is there to resume training and holds no item vectors; load `model.pth`.")
    return Recommender(model, config, data["item_tokens"], state.get("item_vectors"), data.get("vfm"))


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
    ) -> pd.DataFrame:
        """The ``k`` best videos for each history.

        Args:
            histories: User -> item tokens, oldest first; or a list of such histories, whose users
                are then numbered from 0.
            k: How many; fewer where fewer remain.
            exclude_seen: Leave out what is in the history.
            candidates: Recommend from these items only.

        Returns:
            Columns ``user_id``, ``rank`` (from 1), ``item_id``, ``score``; best first for each user.

        Raises:
            DataError: If a history is empty or an item is unknown.
        """
        if not isinstance(k, int) or k < 1:
            raise ConfigError(f"`k` is {k}; it must be a whole number of at least 1.")
        chosen = self._all_ids() if candidates is None else self._ids(list(dict.fromkeys(map(str, candidates))))
        if not len(chosen):
            raise DataError("There is no candidate to recommend.")
        column_of = np.full(len(self._table), -1)
        column_of[chosen] = np.arange(len(chosen))
        tables = []
        for users, ids, scores in self._score_batches(histories, chosen):
            if exclude_seen:
                rows = np.repeat(np.arange(len(ids)), [len(h) for h in ids])
                columns = column_of[np.concatenate(ids)]
                scores[rows[columns >= 0], columns[columns >= 0]] = -torch.inf
            best = scores.topk(min(k, scores.shape[1]), dim=1)
            tables.append(self._as_table(users, best.values.cpu().numpy(), chosen[best.indices.cpu().numpy()]))
        return pd.concat(tables, ignore_index=True)

    @torch.no_grad()
    def score(self, histories: Histories, items: Sequence[str] | None = None) -> pd.DataFrame:
        """Scores of some items (all by default) for each history.

        Returns:
            One row per user, one column per item token.
        """
        chosen = self._ids(items) if items is not None else self._all_ids()
        batches = list(self._score_batches(histories, chosen))
        return pd.DataFrame(
            np.concatenate([scores.cpu().numpy() for _, _, scores in batches]),
            index=pd.Index([user for users, _, _ in batches for user in users], name="user_id"),
            columns=[self._token(i) for i in chosen],
        )

    @torch.no_grad()
    def add_videos(
        self, items: Sequence[str], frames: np.ndarray | Tensor, frame_counts: Sequence[int] | np.ndarray | None = None
    ) -> None:
        """Encode videos that were not in training; from now on they are recommended like any other.

        Args:
            items: N new item tokens.
            frames: [N, F, D] frame embeddings from the vision model that the training frames came from.
            frame_counts: [N], frames that each video has; all F by default.

        Raises:
            DataError: If a token is taken, or the frames have another width or values that are not finite.
            ConfigError: If the model knows items by their id only.
        """
        if not self._tower.reads_frames:
            raise ConfigError("This model knows videos by their id only (item_encoder=ID); it cannot take in new ones.")
        items = [str(token) for token in items] if not isinstance(items, str) else [items]
        try:
            frames = torch.as_tensor(np.asarray(frames, dtype=np.float32))
        except ValueError as error:
            raise DataError("The videos must have equally many frames; pad them, and give frame_counts.") from error
        self._check_new(items, frames)
        mask = torch.arange(frames.shape[1]) < _counts(frame_counts, frames)[:, None]
        frames = frames.masked_fill(~mask[:, :, None], 0.0)
        _refuse_non_finite(items, frames)
        vectors = [
            self._tower.encode_new(f.to(self.device), m.to(self.device))
            for f, m in zip(frames.split(4096), mask.split(4096), strict=True)
        ]
        self._id_of.update({token: len(self._table) + i for i, token in enumerate(items)})
        self._tokens += items
        self._table = torch.cat([self._table, *vectors])
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
        paths = Path(folder) / "item_vectors.npy", Path(folder) / "item_ids.txt"
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
                f"{len(unknown)} items are unknown to the model (first: {first}); add_videos takes them in."
            )
        return np.array([self._id_of[str(token)] for token in tokens], dtype=np.int64)

    def _score_batches(self, histories: Histories, chosen: np.ndarray) -> Iterator[tuple[list[Any], list, Tensor]]:
        """Users, their histories as ids, and the scores [users, chosen] of each batch."""
        named = histories if isinstance(histories, Mapping) else dict(enumerate(histories))
        if not named:
            raise DataError("There is no history to recommend for.")
        users = list(named)
        ids = []
        for user, history in named.items():
            if isinstance(history, str) or not len(history):
                raise DataError(f"The history of user `{user}` must be a list with at least one item.")
            ids.append(self._ids(history))
        candidates = self._table[torch.from_numpy(chosen).to(self.device)]
        bias = self.model.item_bias()
        if bias is not None:
            bias = bias[torch.from_numpy(chosen).to(self.device)]
        size = max(1, min(self.config["eval_batch_size"], _SCORES_AT_ONCE // len(chosen)))
        for start in range(0, len(users), size):
            part = ids[start : start + size]
            scores = self.model.user_vectors(self._interaction(part)) @ candidates.T
            yield users[start : start + size], part, scores if bias is None else scores + bias

    def _interaction(self, ids: list[np.ndarray]) -> Interaction:
        width = self.config["MAX_ITEM_LIST_LENGTH"]
        item_seq = torch.zeros(len(ids), width, dtype=torch.long)
        length = torch.tensor([min(len(history), width) for history in ids])
        for row, history in enumerate(ids):
            item_seq[row, : length[row]] = torch.from_numpy(history[-width:])
        model = self.model
        return Interaction({model.ITEM_SEQ: item_seq, model.ITEM_SEQ_LEN: length}).to(self.device)

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
                f"Frames of {len(items)} new videos must be [{len(items)}, F, {expected}], not {list(frames.shape)}."
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


def _counts(frame_counts: Sequence[int] | np.ndarray | None, frames: Tensor) -> Tensor:
    """Frames of each new video, [N] int64, checked."""
    n_videos, n_frames = frames.shape[:2]
    counts = torch.full((n_videos,), n_frames) if frame_counts is None else torch.as_tensor(np.asarray(frame_counts))
    if counts.shape != (n_videos,) or (n_videos and (counts.min() < 1 or counts.max() > n_frames)):
        raise DataError(f"`frame_counts` must give each of the {n_videos} new videos a number from 1 to {n_frames}.")
    return counts


def _refuse_non_finite(items: Sequence[str], frames: Tensor) -> None:
    bad = ~torch.isfinite(frames).flatten(1).all(dim=1)
    if bad.any():
        first = items[int(bad.int().argmax())]
        raise DataError(f"The frames of {int(bad.sum())} new videos hold NaN or infinity (first: `{first}`).")


def _usable_device(device: str | torch.device) -> torch.device:
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"The device `{device}` cannot be used: {str(error).splitlines()[0]}") from error


def _saved_config(options: dict[str, Any], device: torch.device) -> Config:
    """The configuration of a checkpoint, on another device; RecBole's own choice of GPU is left out."""
    used = {**options, "use_gpu": False}
    model, dataset = used.pop("model"), used.pop("dataset")
    config = Config(model, dataset, config_dict=used)
    config["device"] = device
    return config
