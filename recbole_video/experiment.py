"""The parts of an experiment, built from a configuration, in the order in which data flows."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from recbole.utils import init_seed

from recbole_video.config import Config
from recbole_video.content.store import FrameStore, store_path
from recbole_video.content.table import FrameTable
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.sequence_loaders import HistoryLoader, SequenceLoader
from recbole_video.data.sequences import Actions, VideoDataset
from recbole_video.errors import ConfigError, DataError, RecBoleVideoError, nearest
from recbole_video.files.values import file_digest


@dataclass(frozen=True)
class DatasetFacts:
    """What a run has to know of its atomic files when their rows are in :class:`Actions`.

    Attributes:
        dataset_name: Name of the data set.
        dataset_path: Its folder.
        user_num: Users, padding included.
        item_num: Items, padding included.
        user_tokens: Token of each user id, str [user_num].
        item_tokens: Token of each item id, str [item_num].
        dropped: Reason -> number of interactions left out.
        frame_store: The frames on disk, or None.
        text: The description that is logged.
    """

    dataset_name: str
    dataset_path: str
    user_num: int
    item_num: int
    user_tokens: np.ndarray
    item_tokens: np.ndarray
    dropped: dict[str, int]
    frame_store: FrameStore | None
    text: str

    @classmethod
    def of(cls, dataset: VideoDataset) -> DatasetFacts:
        """Of the data set as it was read."""
        taken = {field.name: getattr(dataset, field.name) for field in fields(cls) if field.name != "text"}
        return cls(**taken, text=str(dataset))

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Data:
    """A data set, ready for a model.

    Attributes:
        dataset: The filtered atomic files, or only the facts about them.
        actions: The sorted actions and their split.
        catalogue: What a model has to know of them.
    """

    dataset: VideoDataset | DatasetFacts
    actions: Actions
    catalogue: Catalogue

    def shareable(self) -> Data:
        """The same without RecBole's tables: plain arrays, which processes can share."""
        facts = self.dataset if isinstance(self.dataset, DatasetFacts) else DatasetFacts.of(self.dataset)
        return replace(self, dataset=facts)

    def on(self, device: torch.device, frames_on_device: str | bool) -> Data:
        """The same with the frames where a run wants them."""
        frames = self.catalogue.frames
        if frames is None:
            return self
        return replace(self, catalogue=replace(self.catalogue, frames=frames.on(device, frames_on_device)))


def prepare_bundled(config: Config) -> None:
    """Make a bundled data set where it is missing."""
    from recbole_video.dataset_tools import BUNDLED, prepare

    if config["dataset"] in BUNDLED:
        store = None if config.task == "stock" else config["frame_store"]
        prepare(config["dataset"], Path(config["data_path"]), store)


def load_data(config: Config) -> Data:
    """Read, filter and split the data set, and align the frames with its items."""
    _refuse_unknown_dataset(config)
    store = None
    if config.reads_frames:
        store = FrameStore(store_path(config["data_path"], config["dataset"], config["frame_store"]))
    try:
        dataset = VideoDataset(config.host(), store)
        actions = dataset.build()
    except RecBoleVideoError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"`{config['dataset']}` cannot be read with these options ({reason}).") from error
    frames = None
    if store is not None:
        zero_missing = config["missing_items"] == "zero"
        frames = FrameTable(store, dataset.item_tokens, config["device"], config["frames_on_device"], zero_missing)
        if twins := frames.twins():
            logging.getLogger().warning(twins.sentence(store.path))
    catalogue = Catalogue(
        user_field=dataset.uid_field,
        item_field=dataset.iid_field,
        user_num=dataset.user_num,
        item_num=dataset.item_num,
        train_counts=torch.from_numpy(actions.train_item_counts(dataset.item_num)),
        frames=frames,
        frame_dim=0 if store is None else store.frame_dim,
    )
    return Data(dataset, actions, catalogue)


def _refuse_unknown_dataset(config: Config) -> None:
    folder, name = Path(config["data_path"]), config["dataset"]
    if (folder / f"{name}.inter").is_file():
        return
    from recbole_video.dataset_tools import BUNDLED

    others = {path.name for path in folder.parent.glob("*/") if path.is_dir()}
    raise DataError(
        f"There is no data set `{name}`{nearest(name, others | set(BUNDLED))}: `{folder / name}.inter` does not exist; "
        "check --dataset and --data_path."
    )


def build_model(config: Config, catalogue: Catalogue) -> Any:
    """Make the model on its device, from the run's seed.

    Raises:
        ConfigError: If sizes contradict each other.
    """
    init_seed(config["seed"], config["reproducibility"])
    try:
        model = config.model_class(config, catalogue).to(config["device"])
        if not _is_shipped(type(model)):
            model.check_scoring()
        return model
    except ConfigError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        NotImplementedError,
        TypeError,
        ValueError,
        RuntimeError,
    ) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{config['model']} cannot be built with these options ({reason}).") from error


def _is_shipped(cls: type) -> bool:
    """Whether a class is this package's own, which its tests know to score by a dot product."""
    return cls.__module__.partition(".")[0] == __name__.partition(".")[0]


def make_loaders(config: Config, data: Data, model: Any) -> tuple[SequenceLoader, HistoryLoader, HistoryLoader]:
    """Batches to train, validate and test on, of the kind that the model wants."""
    split, n_items = data.actions.split, data.catalogue.item_num
    valid, test = (
        HistoryLoader(config, data.actions, rows, n_items, trim=model.ignores_padding)
        for rows in (split.valid, split.test)
    )
    return model.loader(config, data.actions), valid, test


def describe_data(config: Config, data: Data) -> dict[str, Any]:
    """Plain values about the data for result files: sizes, what was dropped, checksums."""
    dataset, split = data.dataset, data.actions.split
    description: dict[str, Any] = {
        "dataset": config["dataset"],
        "protocol": config["protocol"],
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
        "interactions": len(data.actions.items),
        "train_sequences": len(split.train),
        "valid_users": len(split.valid),
        "test_users": len(split.test),
        "dropped_interactions": dataset.dropped,
        "inter_sha256": _inter_digest(data),
    }
    if dataset.frame_store is not None:
        manifest = dataset.frame_store.manifest
        description["frames"] = {
            "file": dataset.frame_store.path.name,
            "sha256": manifest.sha256,
            "vfm": manifest.vfm,
            "sampling": manifest.sampling,
            "on_device": data.catalogue.frames is not None and data.catalogue.frames.is_on_device,
        }
    return description


def checkpoint_data(data: Data) -> dict[str, Any]:
    """What a checkpoint must hold to be used without the data."""
    catalogue = data.catalogue
    store = data.dataset.frame_store
    return {
        "item_tokens": [str(token) for token in data.dataset.item_tokens],
        "user_field": catalogue.user_field,
        "item_field": catalogue.item_field,
        "user_num": catalogue.user_num,
        "frame_dim": catalogue.frame_dim,
        "vfm": None if store is None else store.manifest.vfm,
        "sampling": None if store is None else store.manifest.sampling,
        "inter_sha256": _inter_digest(data),
        "frames_sha256": None if store is None else store.manifest.sha256,
    }


def _inter_digest(data: Data) -> str:
    return file_digest(Path(data.dataset.dataset_path, f"{data.dataset.dataset_name}.inter"))


def parameter_counts(model: Any) -> dict[str, int]:
    """Trainable parameters of the model and of its item encoder."""
    counts = {"model": sum(p.numel() for p in model.parameters() if p.requires_grad)}
    if hasattr(model.item_embedding, "encoder"):
        counts["item_encoder"] = sum(p.numel() for p in model.item_embedding.encoder.parameters())
    return counts
