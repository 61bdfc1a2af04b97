"""TensorBoard's event files: those of PyTorch's ``SummaryWriter``, by a writer that outlives a full disk."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams, scalar

from recbole_video.errors import RunFolderError

_numbers = count()


class EventLog:
    """Writes what a run tells TensorBoard; a file that cannot be written any more is given up with one warning.

    ``SummaryWriter`` writes in a thread, whose end on a full disk is a traceback and ends training too.

    Args:
        folder: Folder of the event file; None to write none.

    Raises:
        RunFolderError: If the file cannot be made.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._file: Any = None
        if folder is not None:
            self._open(folder)

    def _open(self, folder: Path) -> None:
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{os.getpid()}.{next(_numbers)}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / name).open("wb", buffering=0)
        except OSError as error:
            raise RunFolderError(f"`{folder}` cannot be written: {error.strerror}; set tensorboard_dir.") from error
        self._add([Event(wall_time=time.time(), file_version="brain.Event:2")])

    def add_scalar(self, tag: str, value: float, step: int) -> None:
        """Note a number of an epoch."""
        self._add([_event(scalar(tag, value), step)])

    def add_hparams(self, options: dict[str, Any], metrics: dict[str, float]) -> None:
        """Note a run's options beside its result."""
        self._add([_event(summary) for summary in hparams(options, metrics)])
        self._add([_event(scalar(tag, value)) for tag, value in metrics.items()])

    def close(self) -> None:
        """Close the file; again has no effect."""
        if self._file is not None:
            with suppress(OSError):  # all that was to be written is written, or given up
                self._file.close()
            self._file = None

    def _add(self, events: Iterable[Event]) -> None:
        if self._file is None:
            return
        writer = RecordWriter(self._file)
        try:
            for event in events:
                writer.write(event.SerializeToString())
        except OSError as error:
            self.close()
            logging.getLogger().warning(
                f"`{self.folder}` cannot be written any more: {error.strerror or error}; the run goes on without "
                "TensorBoard."
            )


def _event(summary: Summary, step: int = 0) -> Event:
    return Event(wall_time=time.time(), step=step, summary=summary)
