"""Results that are there already."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recbole_video.errors import DataError


def refuse_earlier(results: Iterable[Path], overwrite: bool) -> None:
    """Refuse to replace earlier results of that name, unless that is asked for.

    Raises:
        DataError: If there are some; the message names them.
    """
    there = [path for path in results if path.exists()]
    if there and not overwrite:
        names = ", ".join(f"`{path}`" for path in there)
        raise DataError(f"{names} exist already; pass --overwrite to make them anew, or --store for another name.")
