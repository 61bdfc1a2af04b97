"""Logging that looks like RecBole's: coloured console, plain file, the same closing lines."""

from __future__ import annotations

import hashlib
import logging
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import colorlog
from recbole.utils import get_local_time
from recbole.utils.logger import RemoveColorFilter, log_colors_config

from recbole_video.errors import RunFolderError

# Long records (options, model structure) go to the file only: log(..., extra=FILE_ONLY).
FILE_ONLY = {"file_only": True}
# RecBole's lines of an epoch, and the one line that stands for them in a notebook: log(..., extra=...).
OF_EPOCH, SHORT = {"of_epoch": True}, {"short": True}
# What is true of each split and group anew, and need not be told again in a run: log(..., extra=ONCE).
ONCE = {"once": True}


@contextmanager
def run_logging(config: Any, run_log: Path | None) -> Iterator[Path]:
    """Send the root logger to the console, to RecBole's place under ``log_dir``, and to the run folder.

    Yields:
        The log file under ``log_dir``.

    Raises:
        RunFolderError: If a log file cannot be written.
    """
    path = _log_path(config)
    with ExitStack() as opened:
        files = [opened.enter_context(closing(_file(target))) for target in (path, run_log) if target is not None]
        with _handled_by([_console(), *files], config):
            yield path


@contextmanager
def console_logging(config: Any) -> Iterator[None]:
    """Send the root logger to the console alone, for what is no run."""
    with _handled_by([_console()], config):
        yield


@contextmanager
def silence() -> Iterator[None]:
    """Let the root logger show nothing but errors: for processes that help another one, which tells it all."""
    root = logging.getLogger()
    previous = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(previous)


@contextmanager
def _handled_by(handlers: list[logging.Handler], config: Any) -> Iterator[None]:
    """Add handlers to the root logger, which afterwards is as it was before."""
    root = logging.getLogger()
    level = getattr(logging, str(config["state"] or "INFO").upper(), logging.INFO)
    previous_level, previous_handlers = root.level, root.handlers[:]
    try:
        root.setLevel(level)
        for handler in handlers:
            handler.addFilter(_Once())
            root.addHandler(handler)
        logging.getLogger("matplotlib").setLevel(logging.WARNING)
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        root.setLevel(previous_level)
        root.handlers[:] = previous_handlers


def _log_path(config: Any) -> Path:
    options = "".join(map(str, dict(config).values()))
    digest = hashlib.md5(options.encode(), usedforsecurity=False).hexdigest()[:6]
    model = str(config["model"])
    return Path(config["log_dir"]) / model / f"{model}-{config['dataset']}-{get_local_time()}-{digest}.log"


def _console() -> logging.Handler:
    handler = _Console(sys.stdout)
    form = "%(log_color)s%(asctime)-15s %(levelname)s  %(message)s"
    handler.setFormatter(colorlog.ColoredFormatter(form, "%d %b %H:%M", log_colors=log_colors_config))
    left_out = ("file_only", "of_epoch" if _is_notebook() else "short")
    handler.addFilter(lambda record: not any(getattr(record, kind, False) for kind in left_out))
    if not getattr(handler.stream, "isatty", lambda: False)():
        handler.addFilter(RemoveColorFilter())
        handler.setFormatter(logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%d %b %H:%M"))
    return handler


def _is_notebook() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


class _Once(logging.Filter):
    """Lets what is to be told once through the first time."""

    def __init__(self) -> None:
        super().__init__()
        self._told: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        if not getattr(record, "once", False):
            return True
        is_new = record.getMessage() not in self._told
        self._told.add(record.getMessage())
        return is_new


class _Console(logging.StreamHandler[Any]):
    """Lines on standard output, until nobody reads it any more: a run goes on without."""

    def handleError(self, record: logging.LogRecord) -> None:
        if isinstance(sys.exc_info()[1], OSError):
            self.setLevel(logging.CRITICAL + 1)
        else:
            super().handleError(record)


class _LogFile(logging.FileHandler):
    """A log file that is given up, with one warning, when it cannot be written any more: a run is worth more."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._is_given_up = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._is_given_up:
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        self._is_given_up = True
        logging.getLogger().warning(
            f"The log file `{self.baseFilename}` cannot be written any more: {error.strerror or error}; the run goes "
            "on without it."
        )

    def close(self) -> None:
        with suppress(OSError):  # of what could not be written before; the warning has been given
            super().close()


def _file(path: Path) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = _LogFile(path)
    except OSError as error:
        raise RunFolderError(f"The log file `{path}` cannot be written: {error.strerror}.") from error
    handler.setFormatter(logging.Formatter("%(asctime)-15s %(levelname)s  %(message)s", "%a %d %b %Y %H:%M:%S"))
    handler.addFilter(RemoveColorFilter())
    handler.addFilter(lambda record: not getattr(record, "short", False))
    return handler
