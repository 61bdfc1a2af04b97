"""The data of a recommendation run: read, split, aligned with the frames, described."""

from __future__ import annotations

import logging
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recbole_video.config import Config
from recbole_video.content.items import GatheredContent, ItemContent, content_stores, open_stores
from recbole_video.content.store import FrameStore
from recbole_video.data.catalogue import Catalogue
from recbole_video.data.leaks import leak_report, temporal_facts
from recbole_video.data.protocols import Rows, TemporalRule
from recbole_video.data.sequences import Actions, VideoDataset
from recbole_video.data.times import dates_of_offsets
from recbole_video.errors import ConfigError, DataError, RecBoleVideoError, nearest
from recbole_video.files.values import file_digest

_MOST_NAMED = 10  # data sets in a message
_FEW = 100  # users and items of a catalogue that stands in for that of a data set


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
        text: The description that is logged.
    """

    dataset_name: str
    dataset_path: str
    user_num: int
    item_num: int
    user_tokens: np.ndarray
    item_tokens: np.ndarray
    dropped: dict[str, int]
    text: str

    @classmethod
    def of(cls, dataset: VideoDataset) -> DatasetFacts:
        """The facts about a data set that was read; its tables are not kept."""
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

    def on(self, config: Any) -> Data:
        """The same for a run of other options, with the content where it wants it."""
        content = self.catalogue.content
        if content is None:
            return self
        moved = content.on(config["device"], config["frames_on_device"])
        return replace(self, catalogue=replace(self.catalogue, content=moved))

    def __str__(self) -> str:
        return str(self.dataset)


def load_data(config: Config, with_content: bool = True) -> Data:
    """Read, filter and split the data set, and align the frames with its items.

    Args:
        config: The run's options.
        with_content: Read the content, and refuse items that have none; without it, content matters to what is left out
            alone, where ``missing_items`` is ``drop``.
    """
    _check_dataset_exists(config)
    stores = _stores(config) if with_content or config["missing_items"] == "drop" else {}
    try:
        dataset = VideoDataset(config.host(), stores)
        actions = dataset.build()
    except RecBoleVideoError:
        raise
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"`{config['dataset']}` cannot be read with these options ({reason}).") from error
    content = None
    if stores and config.inputs_read and with_content:
        zero_missing = config["missing_items"] == "zero"
        content = ItemContent.of(
            stores, dataset.item_tokens, config["device"], config["frames_on_device"], zero_missing
        )
        for path, twins in content.twins().items():
            logging.getLogger().warning(twins.sentence(path))
    catalogue = Catalogue(
        user_field=dataset.uid_field,
        item_field=dataset.iid_field,
        user_num=dataset.user_num,
        item_num=dataset.item_num,
        train_counts=torch.from_numpy(actions.train_item_counts()),
        content=content,
        content_dims={} if content is None else content.dims,
    )
    return Data(dataset, actions, catalogue)


def catalogue_of_widths(config: Config) -> Catalogue:
    """A catalogue of as many items as any model can be built for, with the widths of the stores that are read.

    Raises:
        DataError: If a store is missing or damaged.
    """
    stores = _stores(config) if config.inputs_read else {}
    return Catalogue(
        user_field=config["USER_ID_FIELD"],
        item_field=config["ITEM_ID_FIELD"],
        user_num=_FEW,
        item_num=_FEW,
        train_counts=torch.ones(_FEW, dtype=torch.long),
        content_dims={name: store.frame_dim for name, store in stores.items()},
    )


def _stores(config: Config) -> dict[str, FrameStore]:
    """The stores that are read, or by which a control that reads none leaves items out, as other models do."""
    if config.inputs_read:
        return open_stores(config)
    if not config.filters_by_content:
        return {}
    is_named = config["content"] is not None or config["frame_store"] is not None
    return open_stores(config) if is_named or all(path.is_file() for path in content_stores(config).values()) else {}


def _check_dataset_exists(config: Config) -> None:
    folder, name = Path(config["data_path"]), config["dataset"]
    if (folder / f"{name}.inter").is_file():
        return
    from recbole_video.dataset_tools import BUNDLED

    others = sorted(path.parent.name for path in folder.parent.glob("*/*.inter") if path.stem == path.parent.name)
    there = (
        f" has {', '.join(others[:_MOST_NAMED])}{', ...' if len(others) > _MOST_NAMED else ''}"
        if others
        else " has none"
    )
    raise DataError(
        f"There is no data set `{name}`{nearest(name, {*others, *BUNDLED})}: `{folder / name}.inter` does not exist. "
        f"`{folder.parent}`{there}; {', '.join(BUNDLED)} are made on first use. Check --dataset and --data_path."
    )


def describe_data(config: Config, data: Data, content: GatheredContent | None) -> dict[str, Any]:
    """Plain values about the data for result files: sizes, what was dropped, checksums.

    Args:
        config: The run's configuration.
        data: The data.
        content: What the model reads of the items, None for ids.
    """
    dataset, split = data.dataset, data.actions.split
    description: dict[str, Any] = {
        "dataset": config["dataset"],
        "protocol": config["protocol"],
        "users": dataset.user_num - 1,
        "items": dataset.item_num - 1,
        "interactions": len(data.actions.items),
        "train_sequences": len(split.train),
        "valid_users": _n_users(data.actions, split.valid),
        "test_users": _n_users(data.actions, split.test),
        "dropped_interactions": dataset.dropped,
        "inter_sha256": _inter_digest(data),
        "leaks": leak_report(data.actions),
    }
    if split.cuts:
        rule = TemporalRule.of(config)
        facts = temporal_facts(data.actions)
        dates = dates_of_offsets(Path(config["data_path"], f"{config['dataset']}.card.json"), facts["cuts"])
        told = {"dates": dates} if dates else {}
        description["temporal"] = {"target": rule.target, "valid": rule.valid, **facts, **told}
    inputs = {} if content is None else content.describe()
    return {**description, **(inputs if set(inputs) <= {"frames"} else {"inputs": inputs})}


def _n_users(actions: Actions, rows: Rows) -> int:
    """Users of whom there is a history; a protocol may have several targets of one."""
    return len(np.unique(actions.users[rows.start]))


def recommendation_checkpoint_data(data: Data) -> dict[str, Any]:
    """What the checkpoint of a recommender must hold to be used without the data, as plain values."""
    catalogue = data.catalogue
    return {
        "item_tokens": [str(token) for token in data.dataset.item_tokens],
        "user_field": catalogue.user_field,
        "item_field": catalogue.item_field,
        "user_num": catalogue.user_num,
        "content": {} if catalogue.content is None else catalogue.content.origins(),
        "inter_sha256": _inter_digest(data),
    }


def _inter_digest(data: Data) -> str:
    return file_digest(Path(data.dataset.dataset_path, f"{data.dataset.dataset_name}.inter"))
