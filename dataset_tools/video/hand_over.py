"""Decoded videos from one process to another, their pictures in memory that both map.

That memory has no name: the system has it back once no process maps it, so that a kill, of whomever, leaves nothing
behind. Only Linux has such memory; elsewhere the pictures' bytes go through the pipe.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle

import numpy as np
from recbole_video.dataset_tools.video.decode import Decoded

_MAPS = hasattr(os, "memfd_create")


def send(pipe: Connection, decoded: Decoded) -> None:
    """Send what comes of a video to the process at the other end of a pipe.

    Raises:
        OSError: If there is none.
    """
    if decoded.frames is None:
        pipe.send((decoded, None))
        return
    pictures = np.ascontiguousarray(decoded.frames.pictures)
    without = replace(decoded.frames, pictures=np.empty(0, np.uint8))
    pipe.send((replace(decoded, frames=without), pictures.shape))
    if _MAPS:
        _send_mapped(pipe, pictures)
    else:
        pipe.send_bytes(pictures.data.cast("B"))


def receive(pipe: Connection) -> Decoded:
    """Receive what :func:`send` has sent.

    Raises:
        EOFError: If the other process has ended.
        OSError: The same.
    """
    decoded, shape = pipe.recv()
    if decoded.frames is None:
        return decoded
    content = _map(pipe) if _MAPS else bytearray(pipe.recv_bytes())
    pictures = np.frombuffer(content, np.uint8).reshape(shape)
    return replace(decoded, frames=replace(decoded.frames, pictures=pictures))


def _send_mapped(pipe: Connection, pictures: np.ndarray) -> None:
    with os.fdopen(os.memfd_create("pictures"), "wb") as file:
        file.write(pictures.data)
        file.flush()
        send_handle(pipe, file.fileno(), None)  # only Windows must know to whom


def _map(pipe: Connection) -> mmap.mmap:
    handle = recv_handle(pipe)
    try:
        return mmap.mmap(handle, 0)
    finally:
        os.close(handle)
