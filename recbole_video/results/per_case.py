"""Reads the tables of single test users or videos that runs leave."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

PER_USER, PREDICTIONS = "per_user.tsv", "predictions.tsv"  # of recommenders, of models of popularity
_IDS = ("user_id", "item_id")


def has_cases(folder: Path) -> bool:
    """Whether a run has left one of the tables."""
    return any((folder / name).is_file() for name in (PER_USER, PREDICTIONS))


def read_result_table(path: Path) -> pd.DataFrame:
    """``per_user.tsv`` or ``predictions.tsv`` as written: ids are text whatever they say, ``NA`` and ``null`` too."""
    numbers = [name for name in pd.read_csv(path, sep="\t", nrows=0).columns if name not in _IDS]
    return pd.read_csv(
        path,
        sep="\t",
        dtype=dict.fromkeys(_IDS, str),
        keep_default_na=False,
        na_values={name: ["nan", ""] for name in numbers},
        float_precision="round_trip",
    )
