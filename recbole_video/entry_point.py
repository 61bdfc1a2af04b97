"""What every command of the package does around its work: exit status, messages, the last resort."""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import os
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from recbole_video.errors import MissingDependencyError, OwnCodeError, RecBoleVideoError, fit_for_message, nearest

# Other modules are imported where they are needed: `tempfile` imports `random`, and before `put_working_folder_last`
# that may be one of the working folder.

FAULT = 70  # EX_SOFTWARE of sysexits.h
_SIGPIPE = 13  # Windows has none
_RAISES = ("strict", "surrogateescape")  # what streams do on a character that cannot be encoded
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
# Module -> the library of pyproject.toml that it is of: those without which nothing runs.
REQUIRED = {
    "recbole": "recbole", "torch": "torch", "numpy": "numpy", "pandas": "pandas", "scipy": "scipy",
    "sklearn": "scikit-learn", "matplotlib": "matplotlib", "jinja2": "jinja2", "psutil": "psutil", "yaml": "pyyaml",
    "threadpoolctl": "threadpoolctl", "tqdm": "tqdm",
}  # fmt: skip


class Parser(ArgumentParser):
    """A parser that says in one sentence what is wrong, and what was probably meant."""

    _given: Sequence[str] = ()

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse, which tells :meth:`error` not what was typed."""
        self._given = sys.argv[1:] if args is None else list(args)
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with argparse's status, and without its list of all options.

        A name that is misspelt is told first: argparse would miss the option that it stands for.
        """
        known = self._option_string_actions
        for word in self._given:
            name = word.partition("=")[0]
            if name.startswith("--") and len(name) > 2 and not any(option.startswith(name) for option in known):
                message = f"`{word}` is no option{nearest(name, known)}"
                break
        self.exit(2, f"{fit_for_message(message).rstrip('.')}; {self.prog} --help shows all options.\n")


def run_command(command: Callable[[], int], interrupted: str = "Interrupted.") -> int:
    """Run a command so that whatever happens ends in an exit status and at most one sentence.

    Args:
        command: Returns its exit status.
        interrupted: What Ctrl-C prints.

    Returns:
        The command's status; 1 after an error that is the user's to mend, or on a full disk; 130 after Ctrl-C; 141 if
        the reader of the output went away; 70 after a fault of this package. The traceback of that, and of what a
        class of the user's own raised, is in a file that the message names.
    """
    try:
        replace_what_cannot_be_written()
        put_working_folder_last()
        status = command()
        sys.stdout.flush()  # here, where a reader that went away can be told from a fault
    except OwnCodeError as error:
        return _print_error(*_describe_unexpected(error))
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


def replace_what_cannot_be_written() -> None:
    """Let output show ``?`` for a character that its encoding has not, such as a minus sign in a file on Windows.

    One that has all of Unicode is left as it is.
    """
    for stream in (sys.stdout, sys.stderr):
        if not isinstance(stream, io.TextIOWrapper) or codecs.lookup(stream.encoding).name.startswith("utf"):
            continue
        if stream.errors in _RAISES:
            stream.reconfigure(errors="replace")


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
    if missing := _missing_library(error):
        return f"{MissingDependencyError.__name__}: {missing}", 1
    own = own_code_error(error)
    path = write_fault(error)
    where = f"its traceback is in `{path}`" if path else "no folder takes its traceback"
    if own is not None:
        return f"{str(own).removesuffix('.')}; {where}.", 1
    what, please = " ".join(f"{type(error).__name__}: {error}".split()), ", please report it" if path else ""
    return fit_for_message(f"This is a fault of recbole_video, `{what}`; {where}{please}."), FAULT


def _missing_library(error: Exception) -> str | None:
    """What to say where a library that is always needed is not there; None where it is another error."""
    if not isinstance(error, ModuleNotFoundError) or error.name not in REQUIRED:
        return None
    return (
        f"{REQUIRED[error.name]} is not installed in this Python ({sys.executable}): activate the environment "
        "(`source .venv/bin/activate`), or see Installing in README.md."
    )


def own_code_error(error: Exception) -> OwnCodeError | None:
    """Whose fault an exception is that a class of the user's own, an encoder or a model, let through.

    Returns:
        An error that names the class, the line, and the shapes of what it was given; None where no method of such a
        class was running.
    """
    import traceback

    if isinstance(error, OwnCodeError):  # from another process
        return error
    frames = list(traceback.walk_tb(error.__traceback__))
    plugins = {_package(frame) for frame, _ in frames if _is_plugin(frame)}
    of_user = [(frame, line) for frame, line in frames if _is_of_user(frame) or _package(frame) in plugins]
    entered = next((frame for frame, _ in of_user if _owner(frame)), None)
    if entered is None:
        return None
    frame, line = of_user[-1]
    file = Path(frame.f_code.co_filename).name
    given = _shapes_given(entered)
    return OwnCodeError(
        f"`{_owner(entered)}` ({file}, line {line}) raised {type(error).__name__}: {' '.join(str(error).split())}"
        + (f"; it was given {given}." if given else ".")
    )


def _is_of_user(frame: FrameType) -> bool:
    """Whether code is neither of this package nor of an installed library, nor made without a file."""
    import site
    import sysconfig

    if _package(frame) in (_package_of(__name__), *REQUIRED):
        return False
    file = Path(frame.f_code.co_filename).resolve()
    libraries = (*sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages())
    return file.is_file() and not any(file.is_relative_to(Path(folder).resolve()) for folder in libraries)


def _is_plugin(frame: FrameType) -> bool:
    """Whether a method runs of a class that extends one of this package or of RecBole, wherever it is installed."""
    extended = {_package_of(base.__module__) for base in getattr(_class_of(frame), "__mro__", ())}
    ours = {_package_of(__name__), "recbole"}
    return bool(extended & ours) and _package(frame) not in (*ours, *REQUIRED)


def _package(frame: FrameType) -> str:
    return _package_of(str(frame.f_globals.get("__name__")))


def _package_of(module: str) -> str:
    return module.partition(".")[0]


def _class_of(frame: FrameType) -> type | None:
    """The class of the object whose method is running; None where it is a function."""
    names = frame.f_code.co_varnames[: frame.f_code.co_argcount]
    return type(frame.f_locals.get(names[0])) if names[:1] == ("self",) else None


def _owner(frame: FrameType) -> str | None:
    """``module:Class`` of the object whose method is running; None where it is a function."""
    owner = _class_of(frame)
    return f"{owner.__module__}:{owner.__qualname__}" if owner else None


def _shapes_given(frame: FrameType) -> str:
    """The arguments of a method that have a shape: ``frames [67, 5, 32], mask [67, 5]``."""
    names = frame.f_code.co_varnames[1 : frame.f_code.co_argcount]
    shapes: dict[str, Any] = {name: getattr(frame.f_locals.get(name), "shape", None) for name in names}
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items() if isinstance(shape, tuple))


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
