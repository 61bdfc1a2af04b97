"""The results of single test users or videos, as runs leave them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from recbole_video.reports.collect import Record
from recbole_video.results.per_case import PER_USER, PREDICTIONS, read_result_table
from recbole_video.sweep.metrics import Metric

# Kind of groups in ``metrics.json`` -> column of per_user.tsv or predictions.tsv, and what stands there for names.
_GROUP_COLUMNS: dict[str, tuple[str, dict[str, int]]] = {
    "cold": ("cold", {"cold": 1, "warm": 0}),
    "cold_start": ("cold_author", {"": 1}),
    "popularity": ("popularity_group", {}),
}


@dataclass(frozen=True)
class Part:
    """What a metric of the test is a mean over: all test cases, or those of one group of targets.

    Attributes:
        metric: The metric by its name in ``metrics.json``, such as ``hit@10``.
        kind: What the groups are by, such as ``cold``; empty for all.
        group: The group, such as ``cold`` or ``3``.
    """

    metric: str
    kind: str = ""
    group: str = ""

    @classmethod
    def of(cls, metric: Metric) -> Part | None:
        """That of a column of a table; None where it is no number of the test."""
        match metric.key.split("/"):
            case ["test_result", name]:
                return cls(name)
            case ["groups", kind, group, name]:
                return cls(name, kind, group)
            case ["groups", kind, name]:  # of one group alone: the cold start of popularity models
                return cls(name, kind)
        return None

    def is_in(self, table: pd.DataFrame) -> pd.Series | None:
        """Which rows of a run's table are of the group; None where the table does not say."""
        column, names = _GROUP_COLUMNS.get(self.kind, ("", {}))
        if column not in table:
            return None
        number = self.group.removeprefix("group ")  # as groups of videos are called
        value = names.get(self.group, int(number) if number.isdecimal() else None)
        return None if value is None else table[column] == value


def n_in_group(metric: Metric, record: Record) -> int | None:
    """Test targets, or videos, of the group that a column is about; None where it is of none or the run is silent."""
    part = Part.of(metric)
    if part is None or not part.kind:
        return None
    key = metric.key.removesuffix(part.metric)
    counts = (Metric.of({"name": name, "key": f"{key}{name}"}).read(record.result) for name in ("users", "videos"))
    return next((int(n) for n in counts if n is not None), None)


class Cases:
    """Reads each run's table of users (``per_user.tsv``) or videos (``predictions.tsv``) once."""

    def __init__(self) -> None:
        self._read: dict[Path, pd.DataFrame | None] = {}
        self._mean: dict[tuple[tuple[Path, ...], str, str], pd.DataFrame | None] = {}

    def table(self, records: list[Record], part: Part | None = None) -> pd.DataFrame | None:
        """Each user's ranking metrics, or each video's absolute error, as the mean over some runs; None without any.

        Args:
            records: The runs.
            part: Of which cases; None for all.
        """
        key = (tuple(record.folder for record in records), part.kind if part else "", part.group if part else "")
        if key not in self._mean:
            tables = self._tables(records, part)
            self._mean[key] = pd.concat(tables).groupby(level=0).mean() if tables else None
        return self._mean[key]

    def weights(self, records: list[Record], part: Part | None = None) -> pd.Series:
        """How many test targets stand behind each row of :meth:`table`: one, but of users with several."""
        tables = self._tables(records, part)
        return pd.concat([table.groupby(level=0).size() for table in tables]).groupby(level=0).mean()

    def _tables(self, records: list[Record], part: Part | None) -> list[pd.DataFrame]:
        """Of each run the cases of a part; none where one run does not tell them: the others' are not the row's."""
        tables = [table for record in records if (table := self._of(record.folder)) is not None]
        if len(tables) < len(records):
            return []
        if part is None or not part.kind:
            return tables
        members = [inside for table in tables if (inside := part.is_in(table)) is not None]
        if len(members) < len(tables):
            return []
        return [table.loc[inside] for table, inside in zip(tables, members, strict=True) if inside.any()]

    def _of(self, folder: Path) -> pd.DataFrame | None:
        if folder not in self._read:
            self._read[folder] = _read_cases(folder)
        return self._read[folder]


def _read_cases(folder: Path) -> pd.DataFrame | None:
    if (folder / PER_USER).is_file():
        table = read_result_table(folder / PER_USER)
        return table.set_index("user_id").drop(columns=["item_id", "rank"])
    if (folder / PREDICTIONS).is_file():
        table = read_result_table(folder / PREDICTIONS).set_index("item_id")
        errors = (table["prediction"] - table["label"]).abs()
        return table.drop(columns=["label", "prediction"]).assign(mae=errors)
    return None
