"""Which rows of a step are one process's, where several train together."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from recbole_video.data.step_plan import GROUP, OF_QUERIES, QUERY_ROW


def shard(
    fields: Mapping[str, np.ndarray], rank: int, size: int, by_group: bool
) -> tuple[dict[str, np.ndarray], float]:
    """The fields of one process's rows, and the weight of their mean loss in that of the step.

    A step of fewer groups, or rows, than processes leaves some without any: these get the first ones once more, with
    weight 0, since all processes have to go through each step together.

    Args:
        fields: Of the whole step, as :class:`~recbole_video.data.sequence_loaders.SequenceLoader` makes them.
        rank: Number of the process.
        size: How many they are.
        by_group: Whole groups of candidates go to one process; else every ``size``-th row.
    """
    group = fields[GROUP]
    unit = group if by_group else np.arange(len(group))
    mine = unit % size == rank
    if not mine.any():
        return of_rows(fields, unit == 0), 0.0
    if by_group:
        return of_rows(fields, mine), len(np.unique(group[mine])) / (int(group.max()) + 1)
    return of_rows(fields, mine), float(mine[fields[QUERY_ROW]].mean())


def of_rows(fields: Mapping[str, np.ndarray], chosen: np.ndarray) -> dict[str, np.ndarray]:
    """The fields of the rows where ``chosen: [B]`` is true; rows and groups are numbered anew."""
    queries = chosen[fields[QUERY_ROW]]
    own = {name: values[queries if name in OF_QUERIES else chosen] for name, values in fields.items()}
    own[QUERY_ROW] = (np.cumsum(chosen) - 1)[own[QUERY_ROW]]
    own[GROUP] = np.unique(own[GROUP], return_inverse=True)[1]
    return own
