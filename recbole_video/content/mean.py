"""The mean of an item's rows, computed once for encoders that read nothing else."""

from __future__ import annotations

import torch
from torch import Tensor

from recbole_video.content.store import FrameStore


def masked_mean(frames: Tensor, mask: Tensor) -> Tensor:
    """Mean over the frames that exist (CVA, Eq. 1); zeros for an item without any.

    Args:
        frames: [N, F, D] float.
        mask: [N, F] bool, true where a frame exists; or float, how many frames each row is the mean of.

    Returns:
        [N, D] float.
    """
    weight = mask.to(frames.dtype)
    count = weight.sum(dim=1, keepdim=True).clamp(min=1)
    return torch.einsum("nfd,nf->nd", frames, weight / count)


class MeanTable:
    """The mean of each item's frames, for encoders that begin with it: one row in the place of F.

    Args:
        store: Where the frames are from.
        means: [n_items, D] float32, zeros for an item without frames.
        counts: [n_items] number of frames that each mean stands for.
    """

    is_on_device = True

    def __init__(self, store: FrameStore, means: Tensor, counts: Tensor) -> None:
        self.store, self.device, self.frame_dim = store, means.device, store.frame_dim
        self._means, self._counts = means, counts

    def gather(self, ids: Tensor, read: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Means of ``ids: [U]``, [U, 1, D] float32, and how many frames each stands for, [U, 1] float32."""
        return self._means[ids][:, None], self._counts[ids][:, None].float()
