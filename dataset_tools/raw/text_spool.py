"""Texts by key in a temporary file, so that a converter's memory does not grow with them."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

from recbole_video.errors import RunFolderError


class TextSpool:
    """A mapping from keys to small records of text; memory holds one number per key.

    Use it in a ``with`` block: the file is gone afterwards.
    """

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed on leaving the block
        self._places: dict[Hashable, int] = {}
        self._size = 0

    def put(self, key: Hashable, record: Mapping[str, Any]) -> None:
        """Store ``record`` (what JSON can hold) in place of what ``key`` had.

        Raises:
            RunFolderError: If the disk is full.
        """
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", errors="surrogatepass") + b"\n"
        try:
            self._file.seek(self._size)
            self._file.write(line)
        except OSError as error:
            raise RunFolderError(
                f"A temporary file in `{tempfile.gettempdir()}` cannot be written: {error.strerror or error}; make "
                "room, or set TMPDIR to another folder."
            ) from error
        self._places[key] = self._size
        self._size += len(line)

    def get(self, key: Hashable) -> dict[str, Any]:
        """The record of ``key``; empty if there is none."""
        if key not in self._places:
            return {}
        self._file.seek(self._places[key])
        record: dict[str, Any] = json.loads(self._file.readline().decode("utf-8", errors="surrogatepass"))
        return record

    def __contains__(self, key: Hashable) -> bool:
        return key in self._places

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)

    def __enter__(self) -> TextSpool:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):  # what was still to be written to a full disk is not wanted any more
            self._file.close()
