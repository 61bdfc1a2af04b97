"""One thread for work that lets others run meanwhile: checksums, and waiting for the disk."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import cache


@cache
def background() -> ThreadPoolExecutor:
    """The thread, started with its first task; tasks run one after the other."""
    return ThreadPoolExecutor(1, "background")
