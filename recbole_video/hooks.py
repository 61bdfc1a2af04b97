"""Where a caller may step into an experiment: after each epoch, and in place of reading the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Hooks:
    """What a caller wants to be asked or told.

    Attributes:
        on_epoch: Called with the epoch and its validation score after each validation.
        load: Called with the configuration in place of reading the data from disk; gives what
            :func:`recbole_video.experiment.load_data` or ``PopularityDataset`` would.
    """

    on_epoch: Callable[[int, float], None] | None = None
    load: Callable[[Any], Any] | None = None
