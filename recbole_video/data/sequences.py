"""RecBole's ``SequentialDataset`` read fast, filtered aloud, and kept as sequences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from recbole.data.dataset import SequentialDataset
from recbole.utils import FeatureSource, FeatureType, set_color

from recbole_video.content.items import has_any, refuse_missing
from recbole_video.content.store import FrameStore
from recbole_video.data.atomic_file import read_columns, read_header
from recbole_video.data.protocols import PROTOCOLS, Sequences, Split
from recbole_video.errors import DataError, counted


@dataclass(frozen=True)
class Actions:
    """All kept actions, sorted by user and time.

    Attributes:
        items: [A] int64, item ids.
        users: [A] int64, user ids.
        split: Which slices train, validate and test.
        n_items: Item ids there are, padding included.
        times: [A] float64; None where the data have only the order of each user's actions.
    """

    items: np.ndarray
    users: np.ndarray
    split: Split
    n_items: int
    times: np.ndarray | None = None

    def is_trained(self) -> np.ndarray:
        """Whether each action is in a training sequence, [A] bool."""
        trains = np.zeros(len(self.items) + 1, dtype=np.int64)
        rows = self.split.train
        np.add.at(trains, rows.start, 1)
        np.add.at(trains, rows.end, -1)
        return np.cumsum(trains)[:-1] > 0

    def train_item_counts(self) -> np.ndarray:
        """How often each item id occurs in training sequences, [n_items] int64.

        Neighbouring windows of one sequence share an action, which counts once.
        """
        return np.bincount(self.items[self.is_trained()], minlength=self.n_items)


class VideoDataset(SequentialDataset):
    """The atomic files of a data set, filtered by RecBole's options and a named protocol.

    RecBole's option names and filters hold. What differs: files are read by pandas' C engine and
    faults are reported with their line; an item without content or without a row in a loaded
    ``.item`` file is an error unless ``missing_items`` says otherwise; dropped rows are counted in
    :attr:`dropped`; sequences are slices of one array instead of padded prefix copies.

    Args:
        config: The run's configuration.
        stores: The content by name; empty when no item encoder reads any.

    Attributes:
        dropped: Reason -> number of interactions left out.
    """

    def __init__(self, config: Any, stores: Mapping[str, FrameStore] | None = None) -> None:
        self.stores = dict(stores or {})
        self.inter_feat: Any = None
        self.feat_name_list: list[str] = []
        self.dropped: dict[str, int] = {}
        super().__init__(config)

    def __str__(self) -> str:
        """RecBole's summary; its numbers of users and items count the padding, which nobody ranks."""
        users, items = self.user_num - 1, self.item_num - 1
        facts = {
            "The number of users": f"{users:,}",
            "Average actions of users": f"{self.avg_actions_of_users:.2f}",
            "The number of items": f"{items:,}",
            "Average actions of items": f"{self.avg_actions_of_items:.2f}",
            "The number of inters": f"{self.inter_num:,}",
            "The sparsity of the dataset": f"{100 * (1 - self.inter_num / (users * items)):.2f}%",
            "Remain Fields": str(list(self.field2type)),
        }
        lines = [f"{set_color(name, 'blue')}: {value}" for name, value in facts.items()]
        return "\n".join([set_color(self.dataset_name, "pink"), *lines])

    # -- reading -----------------------------------------------------------------------------

    def _load_feat(self, filepath: str, source: FeatureSource) -> pd.DataFrame | None:
        load, unload = self._get_load_and_unload_col(source)
        if load == set():
            return None
        separator = self.config["field_separator"]
        if source == FeatureSource.INTERACTION and load is not None:
            load = load | {self.uid_field, self.iid_field, self.time_field}
        ids = {self.uid_field, self.iid_field}
        frame = read_columns(Path(filepath), load, unload or set(), separator, may_be_empty=_others(source, ids))
        for field in read_header(Path(filepath), separator):
            kind = FeatureType(field.type)
            if field.name in frame:
                self.set_field_property(field.name, kind, source, 1)
                if kind == FeatureType.FLOAT:
                    self.field2bucketnum[field.name] = 2
                if field.is_sequence:
                    frame[field.name] = self._split_sequences(frame[field.name], kind, filepath)
                    self.field2seqlen[field.name] = frame[field.name].map(len).max()
        if source == FeatureSource.INTERACTION and not len(frame):
            raise DataError(f"`{filepath}` holds no interactions.")
        return frame

    def _split_sequences(self, column: pd.Series, kind: FeatureType, path: str) -> pd.Series:
        dtype: Any = str if kind == FeatureType.TOKEN_SEQ else np.float64
        separator = self.config["seq_separator"]
        sequences = []
        for row, text in enumerate(column):
            words = [word for word in text.split(separator) if word]
            if dtype is not str and not all(map(_is_finite, words)):
                raise DataError(
                    f"`{path}`, line {row + 2}, column `{column.name}`: `{text}` is not finite numbers with "
                    f"`{separator}` between them; mend it, or check seq_separator."
                )
            sequences.append(np.array(words, dtype=dtype))
        return pd.Series(sequences, index=column.index, dtype=object)

    # -- filtering ---------------------------------------------------------------------------

    def _data_filtering(self) -> None:
        self._check_has_times()
        filters = (
            ("missing items", self._filter_missing_items),
            ("filter options", super()._data_filtering),
            ("protocol", self._keep_protocol_actions),
        )
        for name, keep in filters:
            before = len(self.inter_feat) + sum(self.dropped.values())
            try:
                keep()
            except DataError:
                raise
            except ValueError as error:
                raise DataError(f"`{self.dataset_name}` cannot be filtered ({name}): {error}") from error
            self._count_dropped(name, before - len(self.inter_feat) - sum(self.dropped.values()))
        self._keep_features_of_actions()

    def _keep_features_of_actions(self) -> None:
        """Leave out the features of items and users without an action: the catalogue is what was watched."""
        for name, field in (("item_feat", self.iid_field), ("user_feat", self.uid_field)):
            feat = getattr(self, name)
            if feat is not None:
                kept = feat[field].isin(self.inter_feat[field].unique())
                setattr(self, name, feat[kept].reset_index(drop=True))

    def _count_dropped(self, reason: str, number: int) -> None:
        if number:
            self.dropped[reason] = self.dropped.get(reason, 0) + number
            self.logger.info(f"{number} interactions left out ({reason}); {len(self.inter_feat)} remain.")
        if not len(self.inter_feat):
            raise DataError(
                f"No interaction of `{self.dataset_name}` is left after the filter `{reason}`; check the "
                "filter options and min_sequence_length."
            )

    def _filter_missing_items(self) -> None:
        """Find interactions with items that lack all content, or a row in a loaded ``.item`` file."""
        policy = self.config["missing_items"]
        tokens = self.inter_feat[self.iid_field]
        known = pd.unique(tokens)
        if self.stores and policy == "error":
            refuse_missing(self.stores, list(known))
        elif self.stores and policy == "drop":
            self._drop_items(known[~has_any(self.stores, list(known))])
        if self.item_feat is not None and policy != "zero":
            without = known[~np.isin(known, self.item_feat[self.iid_field])]
            if len(without) and policy == "error":
                raise DataError(
                    f"In `{self.dataset_name}.inter`, {counted(len(without), 'item has', 'items have')} no row in "
                    f"`{self.dataset_name}.item` "
                    f"(first: `{without[0]}`); add them, or set missing_items=drop to leave out their interactions."
                )
            self._drop_items(without)

    def _drop_items(self, tokens: np.ndarray) -> None:
        if len(tokens):
            self.inter_feat = self.inter_feat[~self.inter_feat[self.iid_field].isin(tokens)]

    def _filter_inter_by_user_or_item(self) -> None:
        """Items are handled aloud by ``missing_items``; users without a ``.user`` row stay."""

    def _filter_by_inter_num(self) -> None:
        """RecBole's k-core; skipped for the default interval, which keeps everything."""
        intervals = (self.config["user_inter_num_interval"], self.config["item_inter_num_interval"])
        if any(interval not in (None, "[0,inf)") for interval in intervals):
            super()._filter_by_inter_num()

    def _check_has_times(self) -> None:
        """Find out whether the field of times, before anything is left out, holds times or mere positions."""
        feat = self.inter_feat
        if self.time_field not in feat or self.field2type[self.time_field] != FeatureType.FLOAT:
            raise DataError(f"`{self.dataset_name}.inter` needs the field `{self.time_field}:float` to order actions.")
        self._has_times = not are_positions(pd.factorize(feat[self.uid_field])[0], feat[self.time_field].to_numpy())

    def _keep_protocol_actions(self) -> None:
        """Sort by user (in order of appearance) and time, and keep what the protocol counts."""
        feat = self.inter_feat
        users = pd.factorize(feat[self.uid_field])[0]
        order = np.lexsort((feat[self.time_field].to_numpy(), users))
        lengths = np.bincount(users)
        protocol = PROTOCOLS[self.config["protocol"]]
        kept = protocol.keep(lengths, self.max_item_list_len, self.config["min_sequence_length"])
        self._count_cut(lengths, kept)
        chosen = order[kept]
        self._times = feat[self.time_field].to_numpy(np.float64)[chosen] if self._has_times else None
        # The rows stay in file order, so that ids are numbered as RecBole numbers them.
        in_file_order = np.sort(chosen)
        self._by_user_and_time = np.searchsorted(in_file_order, chosen)
        self.inter_feat = feat.iloc[in_file_order].reset_index(drop=True)

    def _count_cut(self, lengths: np.ndarray, kept: np.ndarray) -> None:
        """Tell apart, in :attr:`dropped`, users that the protocol leaves out and histories that it cuts."""
        user = np.repeat(np.arange(len(lengths)), lengths)
        n_kept = np.bincount(user[kept], minlength=len(lengths))
        gone = n_kept == 0
        name = self.config["protocol"]
        reasons = {
            f"protocol {name}: {gone.sum()} users with too few actions": lengths[gone].sum(),
            f"protocol {name}: old actions of {(~gone & (n_kept < lengths)).sum()} users": (lengths - n_kept)[
                ~gone
            ].sum(),
        }
        for reason, number in reasons.items():
            if number:
                self.dropped[reason] = int(number)
                self.logger.info(f"{number} interactions left out ({reason}).")

    # -- sequences ---------------------------------------------------------------------------

    def _fill_nan(self) -> None:
        """Fields of the ``.inter`` file cannot be empty here; the others get RecBole's filling."""
        names = self.feat_name_list
        self.feat_name_list = [name for name in names if name != "inter_feat"]
        super()._fill_nan()
        self.feat_name_list = names

    def build(self) -> Actions:
        """Sort the actions and split them by the protocol.

        Raises:
            DataError: If no user has an action to train, validate or test on.
        """
        order = self._by_user_and_time
        users = self.inter_feat[self.uid_field].to_numpy()[order]
        items = self.inter_feat[self.iid_field].to_numpy()[order]
        lengths = np.diff(np.flatnonzero(np.r_[True, users[1:] != users[:-1], True]))
        protocol = PROTOCOLS[self.config["protocol"]]
        split = protocol.split(Sequences(lengths, self._times, self.max_item_list_len), self.config)
        for part in ("train", "valid", "test"):
            if not len(getattr(split, part)):
                raise DataError(
                    f"The {part} part of `{self.dataset_name}` is empty: {protocol.advice} "
                    f"(the longest sequence has {lengths.max()}, protocol {self.config['protocol']})."
                )
        return Actions(items.astype(np.int64), users.astype(np.int64), split, self.item_num, self._times)

    @property
    def item_tokens(self) -> np.ndarray:
        """Token of each item id, [n_items] str; id 0 is ``[PAD]``."""
        return self.field2id_token[self.iid_field]

    @property
    def user_tokens(self) -> np.ndarray:
        """Token of each user id, [n_users] str; id 0 is ``[PAD]``."""
        return self.field2id_token[self.uid_field]


def are_positions(users: np.ndarray, times: np.ndarray) -> bool:
    """Whether ``times: [A]`` count each user's actions from one number on, as where the raw data have no times.

    Args:
        users: [A], numbered from 0.
        times: [A].
    """
    start, lengths = times.min(), np.bincount(users)
    if times.max() - start + 1 != lengths.max() or (times % 1).any():
        return False
    by_user_and_time = np.lexsort((times, users))
    within = np.arange(len(users)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    return bool((times[by_user_and_time] - start == within).all())


def _is_finite(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


def _others(source: FeatureSource, ids: set[str]) -> Callable[[str], bool]:
    """Which fields of a file may be empty: of users and items, all but the ids; of actions, none."""
    return lambda field: source != FeatureSource.INTERACTION and field not in ids
