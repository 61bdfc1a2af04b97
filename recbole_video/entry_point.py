"""What every command of the package does around its work: exit status, messages, the last resort."""

from __future__ import annotations

import atexit
import errno
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from recbole_video.errors import RecBoleVideoError, fit_for_message

# Other modules are imported where they are needed: `tempfile` imports `random`, and before `put_working_folder_last`
# that may be one of the working folder.

FAULT = 70  # EX_SOFTWARE of sysexits.h
_SIGPIPE = 13  # Windows has none
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)


class Parser(ArgumentParser):
    """A parser whose errors repeat what was typed so that a terminal can show it."""

    def error(self, message: str) -> NoReturn:
        super().error(fit_for_message(message))


def run_command(command: Callable[[], int], interrupted: str = "Interrupted.") -> int:
    """Run a command so that whatever happens ends in an exit status and at most one sentence.

    Args:
        command: Returns its exit status.
        interrupted: What Ctrl-C prints.

    Returns:
        The command's status; 1 after an error that is the user's to mend, or on a full disk; 130 after Ctrl-C; 141 if
        the reader of the output went away; 70 after a fault of this package, whose traceback is in a file that the
        message names.
    """
    try:
        put_working_folder_last()
        status = command()
        sys.stdout.flush()  # here, where a reader that went away can be told from a fault
    except RecBoleVideoError as error:
        return _print_error(f"{type(error).__name__}: {error}", 1)
    except KeyboardInterrupt:
        return _print_error(interrupted, 128 + signal.SIGINT)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _has_no_reader():
            _silence_output()
            return 128 + _SIGPIPE
        return _print_error(*_describe_unexpected(error))
    finally:
        # Registered last, it runs first: Ctrl-C in what libraries still do at the end would show a traceback of theirs.
        atexit.register(_end_silently_on_interrupt)
    return status


def _end_silently_on_interrupt() -> None:
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def put_working_folder_last() -> None:
    """Let modules of the working folder be imported (``module:Class``), but never in the place of a library's.

    ``python -m`` puts the folder first, where a ``random.py`` would be taken for the standard library's.
    """
    try:
        here = str(Path.cwd())
    except OSError:  # it was removed
        return
    real = os.path.realpath(here)
    sys.path[:] = [*(entry for entry in sys.path if entry and os.path.realpath(entry) != real), here]


def expand_path_arguments(arguments: Namespace) -> Namespace:
    """``~`` of each path among parsed arguments: a shell leaves that of ``--out=~/data`` as it is."""
    for name, value in vars(arguments).items():
        if isinstance(value, Path):
            setattr(arguments, name, Path(os.path.expanduser(value)))  # noqa: PTH111 - an unknown user is no error
        elif isinstance(value, list) and any(isinstance(part, Path) for part in value):
            setattr(arguments, name, [Path(os.path.expanduser(part)) for part in value])  # noqa: PTH111
    return arguments


def write_fault(error: BaseException) -> Path | None:
    """Write the traceback of a fault, with the command and the versions, into ``log/`` or else a temporary folder.

    Returns:
        The file; None if neither folder can be written.
    """
    import platform
    import shlex
    import tempfile
    import time
    import traceback

    from recbole_video import __version__

    versions = f"{platform.platform()}, Python {platform.python_version()}, recbole_video {__version__}"
    text = "\n\n".join([shlex.join(sys.argv), versions, "".join(traceback.format_exception(error))])
    name = f"fault-{time.strftime('%Y-%m-%d_%H-%M-%S')}-{os.getpid()}.txt"
    for folder in (Path("log"), Path(tempfile.gettempdir())):
        path = folder / name
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8", errors="backslashreplace")
            return path
    return None


def _describe_unexpected(error: Exception) -> tuple[str, int]:
    """What to say of an exception that nobody expected, and the exit status."""
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        place = f" (`{error.filename}`)" if error.filename else ""
        return fit_for_message(f"RunFolderError: The disk is full{place}; make room, or write elsewhere."), 1
    what = " ".join(f"{type(error).__name__}: {error}".split())
    path = write_fault(error)
    where = f"its traceback is in `{path}`, please report it" if path else "no folder takes its traceback"
    return fit_for_message(f"This is a fault of recbole_video, `{what}`; {where}."), FAULT


def _print_error(message: str, status: int) -> int:
    with suppress(OSError):
        print(message, file=sys.stderr, flush=True)
    return status


def _has_no_reader() -> bool:
    """Whether it is our output that nobody reads any more, rather than a pipe to a process of ours."""
    import select

    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
        return any(event & select.POLLERR for _, event in poll.poll(0))
    except (AttributeError, OSError, ValueError):  # Windows cannot tell; captured output has no file behind it
        return True


def _silence_output() -> None:
    """Give the interpreter, which flushes at its end, somewhere to write."""
    with suppress(OSError, ValueError):  # captured output has no file behind it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
