"""Feature files that a data set's authors publish, npy or JSON -> frame stores of one frame per item."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from recbole_video.dataset_tools.output.writer import DatasetWriter

from recbole_video.content.store import write_frame_store
from recbole_video.errors import DataError, counted
from recbole_video.files.names import check_file_name
from recbole_video.files.raw import load_array, open_text, reading

_BLOCK = 1 << 22  # characters
_ENTRY = re.compile(r'"([^"]+)"\s*:\s*\[([^\[\]]*)\]')
_FEATURE_NAME = re.compile(r".*features_")


def feature_name(option: str) -> tuple[str, Path]:
    """Name and file of a ``--features`` option: ``NAME=FILE``, or a file named ``..._features_NAME.npy``."""
    name, equals, file = option.partition("=")
    path = Path(file if equals else option)
    return (name if equals else _FEATURE_NAME.sub("", path.stem)), path


def add_feature_file(out: DatasetWriter, name: str, path: Path, last_item: int) -> None:
    """Write ``<data set>.<name>.frames.npy`` and its manifest from a feature file.

    A row of zeros is no feature: such an item has no frames in the store.

    Args:
        out: Receives the store.
        name: The name of the store; a run chooses it by ``--frame_store``.
        path: An ``.npy`` array [N, D] whose row r belongs to item r + 1, or a JSON object of item -> list of D numbers.
        last_item: The largest item id of the data set, which an array must reach.

    Raises:
        DataError: If the file is missing or not of that form.
    """
    check_file_name(name, "a frame store (--features)")
    items, features = _read_json(path) if path.suffix == ".json" else _read_array(path, last_item)
    counts = np.asarray(features.any(axis=1), dtype=np.int64)
    out.card.add_input(path)
    out.file(f".{name}.frames.json")
    write_frame_store(
        out.file(f".{name}.frames.npy"),
        items,
        features[:, None, :],
        counts,
        vfm=name,
        sampling="published by the data set's authors",
        source=path.name,
    )
    if (counts == 0).any():
        first = items[int((counts == 0).argmax())]
        out.card.warn(
            f"In `{path.name}`, {counted(int((counts == 0).sum()), 'row is', 'rows are')} all zero (first: item "
            f"{first}): these items have no frames; set missing_items in a run."
        )


def _read_array(path: Path, last_item: int) -> tuple[list[str], np.ndarray]:
    features = load_array(path, mapped=True)
    if features.ndim != 2 or features.dtype.kind != "f":
        raise DataError(
            f"`{path}` holds {features.dtype} of shape {features.shape}; features must be real numbers [items, width]."
        )
    if len(features) < last_item:
        raise DataError(
            f"`{path}` has {len(features):,} rows, but the data set has item {last_item:,}: row r must belong to item "
            "r + 1; give the file of this size of MicroLens, or its JSON twin, which names its items."
        )
    return [str(row + 1) for row in range(len(features))], features


def _read_json(path: Path) -> tuple[list[str], np.ndarray]:
    items: list[str] = []
    rows: list[np.ndarray] = []
    for item, numbers in _entries(path):
        try:
            row = np.array(numbers.split(","), dtype=np.float64)
        except ValueError as error:
            raise DataError(f"`{path}`: item `{item}` holds something other than numbers: {error}.") from error
        if not np.isfinite(row).all():
            raise DataError(f"`{path}`: item `{item}` holds a number that is not finite; make its features anew.")
        if rows and len(row) != len(rows[0]):
            raise DataError(f"`{path}`: item `{item}` has {len(row)} numbers where the first one has {len(rows[0])}.")
        items.append(item)
        rows.append(row.astype(np.float32))
    if not rows:
        raise DataError(f"`{path}` holds no `item: [numbers]`.")
    return items, np.stack(rows)


def _entries(path: Path) -> Iterator[tuple[str, str]]:
    """Key and text of each list of a JSON object of flat lists, a block of the file at a time."""
    with reading(path), open_text(path, newline=None) as file:
        text = ""
        while block := file.read(_BLOCK):
            text += block
            end = 0
            for match in _ENTRY.finditer(text):
                _check_rest(path, text[end : match.start()])
                yield match[1], match[2]
                end = match.end()
            text = text[end:]
    _check_rest(path, text)


def _check_rest(path: Path, rest: str) -> None:
    """Check that nothing but the marks of JSON stands before, between and behind the lists."""
    if rest := rest.strip(" \n\r\t,{}"):
        raise DataError(f"`{path}` is not a JSON object of `item: [numbers]`: `{rest[:40]}` is left over.")
