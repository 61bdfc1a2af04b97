"""Writing RecBole's atomic files."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from recbole_video.data.files import write_text


def write_atomic_file(path: Path, columns: dict[str, pd.Series]) -> None:
    """Write one atomic file.

    Args:
        path: ``<dataset>.inter``, ``.item`` or ``.user``.
        columns: ``name:type`` -> values; text must hold no tab and no line break.
    """
    table = pd.DataFrame(columns)
    write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n", quoting=3))
