"""RecBole's trainers count epochs from 0: what they say of them, counted from 1 as everywhere here."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole.utils import WandbLogger

from recbole_video.runtime.event_log import EventLog

_IN_LOG, _ON_BAR = re.compile(r"(?<=epoch )\d+"), re.compile(r"(?<=Train )[ ]*\d+")
_OF_WANDB = ("epoch", "train_step", "valid_step")


class EventLogFromOne(EventLog):
    """TensorBoard's steps of a trainer that counts from 0."""

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Note a number of the epoch whose index is ``step``."""
        super().add_scalar(tag, value, step + 1)


class WandbLoggerFromOne(WandbLogger):
    """The steps of Weights & Biases of a trainer that counts from 0."""

    def log_metrics(self, metrics: dict[str, Any], head: str = "train", commit: bool = True) -> None:
        """Log numbers, of which those that count go up by one."""
        super().log_metrics({name: value + (name in _OF_WANDB) for name, value in metrics.items()}, head, commit)


@contextmanager
def epochs_from_one() -> Iterator[None]:
    """Let the log lines and the bars of RecBole's trainers name epochs from 1 meanwhile.

    What they compute with, and hand to a callback, stays the index.
    """
    from recbole.trainer import trainer as recbole_trainer

    root, make_bar = logging.getLogger(), recbole_trainer.tqdm

    def recount(record: logging.LogRecord) -> bool:
        if record.pathname == recbole_trainer.__file__:
            record.msg = _IN_LOG.sub(_next, str(record.msg))
        return True

    def bar(*given: Any, desc: str | None = None, **options: Any) -> Any:
        return make_bar(*given, desc=None if desc is None else _ON_BAR.sub(_next, desc), **options)

    root.addFilter(recount)
    recbole_trainer.tqdm = bar
    try:
        yield
    finally:
        root.removeFilter(recount)
        recbole_trainer.tqdm = make_bar


def _next(number: re.Match[str]) -> str:
    """The number after a matched one, as wide."""
    return f"{int(number[0]) + 1:>{len(number[0])}}"
