"""What every input has to end in, however odd it is."""

import hashlib
import os
import signal
import threading
from contextlib import contextmanager
from pathlib import Path

from hypothesis import settings

from recbole_video.errors import RecBoleVideoError

_LONGEST = 4000  # characters of a message
_SECONDS = 60  # that one case may take on a busy machine


def cases_asked_for():
    """How many cases ``make fuzz CASES=...`` asked for; None in ``make test``."""
    asked = os.environ.get("FUZZ_CASES")
    return int(asked) if asked else None


def cases(in_test, share=1.0):
    """Decorator: how many cases a property gets.

    Args:
        in_test: In ``make test``, where all fuzzers together may take some seconds.
        share: Of ``CASES`` in ``make fuzz``; below 1 for properties whose cases take seconds.
    """
    asked = cases_asked_for()
    return settings(max_examples=in_test if asked is None else max(1, round(asked * share)))


def outcome(call, *arguments, seconds=_SECONDS, **named):
    """The result of a call, or the package's own error; whatever else it raises is a fault, as is a hang.

    Returns:
        The result, or the :class:`RecBoleVideoError`, whose message has been checked.
    """
    with _at_most(seconds):
        try:
            return call(*arguments, **named)
        except RecBoleVideoError as error:
            check_sentence(str(error))
            return error


def check_sentence(message):
    """A message can be read on a terminal: some text, no control characters, not a page long, no traceback."""
    assert message.strip(), "the message is empty"
    assert len(message) <= _LONGEST, f"the message has {len(message)} characters"
    odd = [c for c in message if (ord(c) < 32 and c not in "\n\t") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) <= 0xDFFF]
    assert not odd, f"the message has control characters: {odd[:5]}"
    assert "Traceback (most recent call last)" not in message


def contents(folder):
    """Every file below a folder with a digest of its bytes, every folder and link with its kind."""
    found = {}
    for path in sorted(Path(folder).rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[name] = "folder"
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@contextmanager
def unchanged(*folders):
    """Nothing below these folders is added, changed or removed."""
    before = {folder: contents(folder) for folder in folders}
    yield
    for folder in folders:
        assert contents(folder) == before[folder], f"{folder} was changed"


@contextmanager
def kept(folder):
    """What is below this folder stays as it is; more may come."""
    before = contents(folder)
    yield
    after = contents(folder)
    lost = {name for name, value in before.items() if after.get(name) != value}
    assert not lost, f"changed or removed in {folder}: {sorted(lost)}"


@contextmanager
def _at_most(seconds):
    """A hang becomes a failure, where signals can be had."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "setitimer"):
        yield
        return

    def stop(*_):
        raise AssertionError(f"it did not end within {seconds} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
