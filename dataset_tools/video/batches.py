"""Batches of one fixed size, which pictures of several videos share.

A model gives a picture the same numbers whatever lies beside it, and wherever in the batch it lies, as long as the
batch has the same shape: then each row goes through the same operations in the same order. So batches are always full
size, and slots that are left over in the last one keep what was in them. See docs/video.md for where that holds.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.frame_encoders import FrameEncoder

V = TypeVar("V")


def to_device(source: Tensor, device: str) -> Tensor:
    """Bring a tensor to a device; on a CPU it is there already.

    To a GPU it goes by way of page-locked memory, of which PyTorch keeps what it has taken, and which it uses again
    only when the copy is through: nobody waits for that here.
    """
    if torch.device(device).type == "cuda":
        return source.pin_memory().to(device, non_blocking=True)
    return source.to(device)


class Arriving:
    """Numbers on their way from a device: other passes may be begun before they are waited for.

    Args:
        result: float [...], on the device, perhaps not computed yet.
    """

    def __init__(self, result: Tensor) -> None:
        self._numbers = result.float().to("cpu", non_blocking=result.is_cuda)  # to page-locked memory, then
        self._through = torch.cuda.Event() if result.is_cuda else None
        if self._through is not None:
            self._through.record(torch.cuda.current_stream(result.device))

    def numpy(self) -> np.ndarray:
        """Wait for them, float32 [...]."""
        if self._through is not None:
            self._through.synchronize()
        return self._numbers.numpy()


def embed_each(
    encoder: FrameEncoder | None, videos: Iterable[tuple[V, Tensor | None]]
) -> Iterator[tuple[V, np.ndarray | None]]:
    """Embed the pictures of those videos that have any; the others pass by.

    Args:
        encoder: The model; None to let all pass.
        videos: As :meth:`Batches.add` takes them, or with None for pictures.

    Yields:
        The videos and their embeddings, as :meth:`Batches.add` does; None of those that passed, which do so at once.
    """
    batches: Batches[V] | None = Batches(encoder) if encoder else None
    for video, pictures in videos:
        if batches is None or pictures is None:
            yield video, None
        else:
            yield from batches.add(video, pictures)
    if batches is not None:
        yield from batches.finish()


@dataclass
class _Waiting(Generic[V]):
    """A video, and what there is of its embeddings."""

    video: V
    n_missing: int
    parts: list[np.ndarray] = field(default_factory=list)


class Batches(Generic[V]):
    """Embeds the pictures of many videos.

    One pass is under way while the pictures of the next are got ready, so that an accelerator does not wait. The
    pictures of two batches at most are waiting at any time.

    Args:
        encoder: The model.
    """

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder
        self._size = encoder.placement.pictures_per_pass
        self._batch = torch.empty(0)  # [size, 3, h, w] from the first picture on
        self._n_filled = 0
        self._waiting: deque[_Waiting[V]] = deque()
        self._under_way: tuple[Arriving, int] | None = None

    def add(self, video: V, pictures: Tensor) -> Iterator[tuple[V, np.ndarray]]:
        """Take the pictures of a video.

        Args:
            video: Whatever stands for it.
            pictures: uint8 [n >= 1, height, width, 3], on the encoder's device.

        Yields:
            The videos that are through by that, in the order in which they were taken, and the embeddings of their
            pictures, float32 [n, D].
        """
        self._waiting.append(_Waiting(video, len(pictures)))
        for part in pictures.split(self._size):
            yield from self._fill(self._encoder.prepare(part))

    def finish(self) -> Iterator[tuple[V, np.ndarray]]:
        """Embed what is left.

        Yields:
            The videos that are not through yet, as :meth:`add` does.
        """
        yield from self._begin()
        yield from self._collect()

    def _fill(self, pixels: Tensor) -> Iterator[tuple[V, np.ndarray]]:
        if pixels.shape[1:] != self._batch.shape[1:]:  # by models that do not cut pictures to one shape
            yield from self._begin()
            self._batch = pixels.new_zeros((self._size, *pixels.shape[1:]))
        while len(pixels):
            taken = pixels[: self._size - self._n_filled]
            self._batch[self._n_filled : self._n_filled + len(taken)] = taken
            self._n_filled += len(taken)
            pixels = pixels[len(taken) :]
            if self._n_filled == self._size:
                yield from self._begin()

    def _begin(self) -> Iterator[tuple[V, np.ndarray]]:
        """Begin a pass, if there are pictures for one, and only then wait for the one before it."""
        if self._n_filled:
            begun = self._encoder.begin(self._batch), self._n_filled
            self._n_filled = 0
            yield from self._collect(begun)

    def _collect(self, begun: tuple[Arriving, int] | None = None) -> Iterator[tuple[V, np.ndarray]]:
        """Wait for the pass under way, whose place another takes, and hand its rows to the videos that they are of."""
        ended, self._under_way = self._under_way, begun
        rows = ended[0].numpy()[: ended[1]] if ended else np.empty(0)
        while len(rows):
            first = self._waiting[0]
            first.parts.append(rows[: first.n_missing])
            rows = rows[first.n_missing :]
            first.n_missing -= len(first.parts[-1])
            if not first.n_missing:
                self._waiting.popleft()
                yield first.video, np.concatenate(first.parts)
