"""The results of single test users or videos, as runs leave them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from recbole_video.reports.collect import Record


class Cases:
    """Reads each run's table of users (``per_user.tsv``) or videos (``predictions.tsv``) once."""

    def __init__(self) -> None:
        self._read: dict[Path, pd.DataFrame | None] = {}
        self._mean: dict[tuple[Path, ...], pd.DataFrame | None] = {}

    def table(self, records: list[Record]) -> pd.DataFrame | None:
        """Each user's ranking metrics, or each video's absolute error, as the mean over some runs; None without any."""
        folders = tuple(record.folder for record in records)
        if folders not in self._mean:
            tables = [table for folder in folders if (table := self._of(folder)) is not None]
            self._mean[folders] = pd.concat(tables).groupby(level=0).mean() if tables else None
        return self._mean[folders]

    def weights(self, records: list[Record]) -> pd.Series:
        """How many test targets stand behind each row of :meth:`table`: one, but of users with several."""
        tables = [table for record in records if (table := self._of(record.folder)) is not None]
        return pd.concat([table.groupby(level=0).size() for table in tables]).groupby(level=0).mean()

    def _of(self, folder: Path) -> pd.DataFrame | None:
        if folder not in self._read:
            self._read[folder] = _read_cases(folder)
        return self._read[folder]


def _read_cases(folder: Path) -> pd.DataFrame | None:
    if (folder / "per_user.tsv").is_file():
        return (
            pd.read_csv(folder / "per_user.tsv", sep="\t", dtype={"user_id": str})
            .set_index("user_id")
            .drop(columns=["item_id", "rank"])
        )
    if (folder / "predictions.tsv").is_file():
        table = pd.read_csv(folder / "predictions.tsv", sep="\t", dtype={"item_id": str}).set_index("item_id")
        return pd.DataFrame({"mae": (table["prediction"] - table["label"]).abs()})
    return None
