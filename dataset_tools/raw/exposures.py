"""Folding the rows of a Short-Video csv into exposures, items and users.

A row of the csv is no interaction: an exposure (user, video, second) is repeated for every tag and category of the
video. ``Fold`` takes tables of rows, one after the other, and keeps exposures as numbers, what belongs to videos
and users as distinct rows of codes, and titles on disk. Memory therefore grows with exposures, videos, users and
the vocabularies of tags and user attributes, not with the text of the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.raw.text_spool import TextSpool

if TYPE_CHECKING:
    import pyarrow as pa

KEY = ("user_id", "pid", "exposed_time")
FLAGS = ("cvm_like", "click", "comment", "follow", "collect", "forward", "hate")
NUMBERS = ("watch_time", "duration")
USER_ATTRIBUTES = ("gender", "age", "mod_price", "fre_city", "fre_community_type", "fre_city_level")
# How the reader must deliver the columns that are read (see broken_csv); those not named are text.
KINDS = {
    **dict.fromkeys(KEY, "key"),
    **dict.fromkeys(("author_id", "category_id", "category_level"), "int"),
    **dict.fromkeys(NUMBERS, "number"),
    **dict.fromkeys(FLAGS, "flag"),
}
COLUMNS = (*KINDS, *USER_ATTRIBUTES, "tag_name", "title")
_CONSOLIDATE_ROWS = 1_000_000


class Vocabulary:
    """Numbers words in the order in which they are first met; the empty word is -1."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._codes: dict[str, int] = {"": -1}

    def codes(self, column: pa.ChunkedArray) -> np.ndarray:
        """Codes of a dictionary-encoded text column, [N] int32."""
        column = column.combine_chunks()
        return self._table(column.dictionary.to_pylist())[column.indices.to_numpy()]

    def _table(self, words: Sequence[str]) -> np.ndarray:
        for word in words:
            if word not in self._codes:
                self._codes[word] = len(self.words)
                self.words.append(word)
        return np.array([self._codes[word] for word in words], dtype=np.int32)

    def texts(self, codes: np.ndarray) -> np.ndarray:
        """The words of codes, [N] object; empty for -1."""
        return np.array([*self.words, ""], dtype=object)[codes]  # -1 is the last


class DistinctRows:
    """Distinct rows of tables of numbers, in the order in which they are first met."""

    def __init__(self) -> None:
        self._parts: list[pd.DataFrame] = []
        self._kept = 0
        self._new = 0

    def add(self, rows: pd.DataFrame) -> None:
        """Add the rows of a table; all tables have the same columns."""
        rows = rows.drop_duplicates()
        self._parts.append(rows)
        self._new += len(rows)
        if self._new > max(_CONSOLIDATE_ROWS, self._kept):
            self.frame()

    def frame(self) -> pd.DataFrame:
        """All distinct rows so far."""
        if self._new:
            kept = pd.concat(self._parts, ignore_index=True).drop_duplicates(ignore_index=True)
            self._parts, self._kept, self._new = [kept], len(kept), 0
        return self._parts[0]


class FirstTitles:
    """The first title of each video that is not empty, on disk, and which videos have more than one."""

    def __init__(self, spool: TextSpool) -> None:
        self._spool = spool
        self._hashes: dict[int, int] = {}
        self.conflicts: set[int] = set()

    def add(self, pids: np.ndarray, titles: pa.ChunkedArray) -> None:
        """Add titles of rows, a dictionary-encoded text column."""
        titles = titles.combine_chunks()
        pairs = pd.DataFrame({"pid": pids, "title": titles.indices.to_numpy()}).drop_duplicates()
        words = titles.dictionary.to_pylist()
        for pid, code in zip(pairs["pid"].tolist(), pairs["title"].tolist(), strict=True):
            if words[code].strip():
                self._add(pid, words[code])

    def _add(self, pid: int, title: str) -> None:
        known = self._hashes.get(pid)
        if known is None:
            self._hashes[pid] = hash(title)
            self._spool.put(pid, {"title": title})
        elif known != hash(title):
            self.conflicts.add(pid)


class Fold:
    """Folds tables of rows, in the file's order.

    Attributes:
        rows: Rows seen so far.
        titles: Titles of videos.
        tags: Vocabulary of tag names.
        empty_flags: Cells of flags that were empty; they count as false.
    """

    def __init__(self, spool: TextSpool) -> None:
        self.rows = 0
        self.empty_flags = 0
        self.titles = FirstTitles(spool)
        self.tags = Vocabulary()
        self._attributes = {name: Vocabulary() for name in USER_ATTRIBUTES}
        self._exposures: list[pd.DataFrame] = []
        self._item_tags, self._item_categories = DistinctRows(), DistinctRows()
        self._items, self._users = DistinctRows(), DistinctRows()

    def add(self, table: pa.Table) -> None:
        """Add the next rows: the columns ``COLUMNS`` as ``csv_tables.read_tables`` delivers them."""
        if not table.num_rows:
            return
        self.rows += table.num_rows
        rows = pd.DataFrame({name: table[name].to_numpy() for name in (*KEY, *NUMBERS)})
        rows["flags"] = self._packed_flags(table)
        key = rows[list(KEY)].to_numpy()
        starts = np.flatnonzero(np.r_[True, (key[1:] != key[:-1]).any(axis=1)])
        exposures = rows.iloc[starts].reset_index(drop=True)
        exposures["flags"] = np.bitwise_or.reduceat(rows["flags"].to_numpy(), starts)
        self._exposures.append(exposures)
        self._add_items(table, rows["pid"].to_numpy(), starts)
        self._add_users(table.select([*USER_ATTRIBUTES]), rows["user_id"].to_numpy(), starts)

    def _packed_flags(self, table: pa.Table) -> np.ndarray:
        """All flags of a row in one byte, the first lowest, [N] uint8."""
        packed = np.zeros(table.num_rows, np.uint8)
        for bit, name in enumerate(FLAGS):
            column = table[name]
            self.empty_flags += column.null_count
            packed |= column.fill_null(False).to_numpy().astype(np.uint8) << np.uint8(bit)
        return packed

    def _add_items(self, table: pa.Table, pids: np.ndarray, starts: np.ndarray) -> None:
        category = {name: _with_minus_one(table[name]) for name in ("category_level", "category_id")}
        self._item_categories.add(pd.DataFrame({"pid": pids, **category}))
        self._item_tags.add(pd.DataFrame({"pid": pids, "tag": self.tags.codes(table["tag_name"])}))
        self.titles.add(pids, table["title"])
        own = {
            "author_id": _with_minus_one(table["author_id"])[starts],
            "duration": table["duration"].to_numpy()[starts],
        }
        self._items.add(pd.DataFrame({"pid": pids[starts], **own}))

    def _add_users(self, table: pa.Table, users: np.ndarray, starts: np.ndarray) -> None:
        codes = {name: self._attributes[name].codes(table[name])[starts] for name in USER_ATTRIBUTES}
        self._users.add(pd.DataFrame({"user_id": users[starts], **codes}))

    def exposures(self) -> pd.DataFrame:
        """One row per exposure, in the order of their first rows.

        Returns:
            ``KEY``, ``NUMBERS`` of the first row (NaN where the cell was empty), and ``FLAGS`` (uint8): whether
            the flag is set in any row.
        """
        frame = pd.concat(self._exposures, ignore_index=True)
        self._exposures = [frame]
        frame = _merge_flags(frame)
        flags = {name: (frame["flags"].to_numpy() >> np.uint8(bit)) & np.uint8(1) for bit, name in enumerate(FLAGS)}
        return frame.drop(columns="flags").assign(**flags)

    def items(self) -> pd.DataFrame:
        """One row per video: ``pid``, ``author_id`` (-1 where empty) and ``duration`` of its first row."""
        return self._items.frame().drop_duplicates("pid", ignore_index=True)

    def item_tags(self) -> pd.DataFrame:
        """``pid`` and ``tag`` (code), distinct, in the order of the file."""
        rows = self._item_tags.frame()
        return rows[rows["tag"] >= 0]

    def item_categories(self) -> pd.DataFrame:
        """``pid``, ``category_level`` and ``category_id``, distinct, in the order of the file."""
        rows = self._item_categories.frame()
        return rows[(rows["category_level"] >= 0) & (rows["category_id"] >= 0)]

    def users(self) -> pd.DataFrame:
        """One row per user: ``user_id`` and the texts of ``USER_ATTRIBUTES`` in the user's first row."""
        frame = self._users.frame().drop_duplicates("user_id", ignore_index=True)
        texts = {name: of.texts(frame[name].to_numpy()) for name, of in self._attributes.items()}
        return frame.assign(**texts)

    def conflicting_items(self) -> int:
        """Videos with more than one author or duration."""
        rows = self._items.frame()
        return int(rows.loc[rows.duplicated("pid"), "pid"].nunique())

    def conflicting_users(self) -> int:
        """Users with more than one set of attributes."""
        rows = self._users.frame()
        return int(rows.loc[rows.duplicated("user_id"), "user_id"].nunique())


def _with_minus_one(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.fill_null(-1).to_numpy())


def _merge_flags(exposures: pd.DataFrame) -> pd.DataFrame:
    """Merge exposures that were found in several places: flags by OR, all else from the first."""
    key = list(KEY)
    again = exposures.duplicated(key)
    if not again.any():
        return exposures
    several = exposures[exposures.duplicated(key, keep=False)]
    groups = several.groupby(key, sort=False).ngroup().to_numpy()
    merged = np.zeros(groups.max() + 1, np.uint8)
    np.bitwise_or.at(merged, groups, several["flags"].to_numpy())
    exposures = exposures.copy()
    exposures.loc[several.index, "flags"] = merged[groups]
    return exposures[~again].reset_index(drop=True)
