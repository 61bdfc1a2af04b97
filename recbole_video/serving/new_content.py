"""The content of new videos, as a program hands it to a loaded model."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from recbole_video.arguments.arrays import Array, as_counts, as_embeddings, find_unstorable, hold
from recbole_video.content.items import ContentRows
from recbole_video.errors import ConfigError, DataError, counted, nearest
from recbole_video.options.content import FRAMES

Counts: TypeAlias = "Sequence[int] | np.ndarray | Tensor | None"
_AT_ONCE = 4096  # videos that are encoded together


def default_name(names: Collection[str]) -> str:
    """Which modality is meant where none is named: the only one, or the frames."""
    return next(iter(names)) if len(names) == 1 else FRAMES


def check_modalities_are_read(given: Collection[str], read: Collection[str]) -> None:
    """Refuse modalities that a model does not read.

    Raises:
        ConfigError: If there is one.
    """
    for name in given:
        if name not in read:
            raise ConfigError(f"This model does not read `{name}`{nearest(name, read)}; it reads {', '.join(read)}.")


def by_name(
    read: Collection[str], frames: Array | None, counts: Any, content: Mapping[str, Array] | None
) -> tuple[dict[str, Array], dict[str, Counts]]:
    """Rows and their counts by modality, of which some may have been given without a name.

    Raises:
        ConfigError: If one is given twice, or is not read, or ``content`` is not by name.
        DataError: If nothing is given, or counts of what is not.
    """
    name = default_name(read)
    given = joined(content, {name: frames}, "frames")
    if not given:
        raise DataError(f"Nothing is given of the new videos; give content={{name: array}} of {', '.join(read)}.")
    of_each = dict(counts) if isinstance(counts, Mapping) else {} if counts is None else {name: counts}
    check_modalities_are_read([*given, *of_each], read)
    if without := [name for name in of_each if name not in given]:
        raise DataError(
            f"`frame_counts` are of `{without[0]}`, of which no rows are given; give them, or leave it out."
        )
    return given, of_each


def joined(content: Any, apart: Mapping[str, Any], shown_as: str = "") -> dict[str, Any]:
    """What is given of each modality: in ``content``, by name, and in arguments of their own.

    Args:
        content: By name; None for nothing.
        apart: What was given in arguments of their own, by the name of the modality; None is nothing.
        shown_as: What the argument of ``apart`` is called, where that is another name.

    Raises:
        ConfigError: If ``content`` is not by name, or one is given twice.
    """
    if content is not None and not isinstance(content, Mapping):
        raise ConfigError(
            f"`content` is {type(content).__name__}; give the rows of each modality by its name: {{...}}."
        )
    given = dict(content or {})
    for name, value in apart.items():
        if value is None:
            continue
        if name in given:
            raise ConfigError(f"`{name}` is given twice, as `{shown_as or name}` and in `content`; leave one out.")
        given[name] = value
    return given


def as_rows(
    items: Sequence[str], dims: Mapping[str, int], given: Mapping[str, Array], counts: Mapping[str, Counts]
) -> dict[str, ContentRows]:
    """What new videos have of each modality that a model reads, in the CPU's memory.

    Args:
        items: N tokens, for messages.
        dims: Width of each modality that the model reads.
        given: [N, R, D] by name, or [N, D] of one that is not frames; what is left out no video has.
        counts: [N] rows of each video, by name; all R by default.

    Raises:
        DataError: If rows are of another width, not what a store could hold, or a video has none.
    """
    rows = {
        name: _checked_rows(items, name, dims, given, counts.get(name)) if name in given else _no_rows(len(items), dim)
        for name, dim in dims.items()
    }
    has_none = ~torch.stack([found.mask.any(dim=1) for found in rows.values()]).any(dim=0)
    if has_none.any():
        first = items[int(has_none.int().argmax())]
        raise DataError(
            f"{counted(int(has_none.sum()), 'new video has', 'new videos have')} no content (first: `{first}`); give "
            f"it a row of {' or '.join(dims)}."
        )
    return rows


def _no_rows(n_items: int, dim: int) -> ContentRows:
    return ContentRows(torch.zeros(n_items, 1, dim), torch.zeros(n_items, 1, dtype=torch.bool))


def _checked_rows(
    items: Sequence[str], name: str, dims: Mapping[str, int], given: Mapping[str, Array], counts: Counts
) -> ContentRows:
    values = as_embeddings(name, given[name])
    if values.ndim == 2 and name != FRAMES:  # one row of each video
        values = values[:, None]
    if values.ndim != 3 or len(values) != len(items) or values.shape[2] != dims[name]:
        one_each = "; of one row each, give vectors[:, None]" if values.shape == (len(items), dims[name]) else ""
        raise DataError(
            f"{name.capitalize()} of {counted(len(items), 'new video')} must be [{len(items)}, F, {dims[name]}], not "
            f"{list(values.shape)}{one_each}."
        )
    lowest = 1 if len(dims) == 1 else 0
    mask = torch.arange(values.shape[1]) < as_counts(counts, len(items), lowest, values.shape[1])[:, None]
    values = values.masked_fill(~mask[:, :, None], 0.0)
    bad, wrong = find_unstorable(values)
    if len(bad):
        of = counted(len(bad), "new video")
        raise DataError(f"The {name} of {of} {hold(name)} {wrong} (first: `{items[bad[0]]}`).")
    return ContentRows(values, mask)


def device_batches(content: Mapping[str, ContentRows], device: torch.device) -> Iterator[dict[str, ContentRows]]:
    """The rows of new videos in batches of at most 4,096 videos, each copied to the device.

    Args:
        content: By modality, [N, R, D] with their mask [N, R], in the CPU's memory.
        device: Where the item encoder is.
    """
    n = len(next(iter(content.values())).mask)
    for start in range(0, n, _AT_ONCE):
        batch = slice(start, start + _AT_ONCE)
        yield {
            name: ContentRows(rows.values[batch].to(device), rows.mask[batch].to(device))
            for name, rows in content.items()
        }
