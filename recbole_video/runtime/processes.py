"""The processes that train one model together: who is who, and what they tell each other.

PyTorch's process group is the truth: where none was made, a process is alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed, nn

from recbole_video.errors import TrainingError

T = TypeVar("T")


class ProcessLostError(TrainingError):
    """Another process has ended, for a reason that it knows."""


@contextmanager
def _together() -> Iterator[None]:
    """What all processes do at once: it fails in those that are left when one is not there any more.

    Raises:
        ProcessLostError: In place of what PyTorch raises.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise ProcessLostError(
            f"The processes of the run do not reach each other, or one of them has ended ({reason}); --resume goes on "
            "after the last epoch that was saved."
        ) from error


# An evaluation or the reading of data by one process takes no longer than that.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Processes:
    """This process among those that train together.

    Attributes:
        rank: Its number, from 0 on.
        size: How many they are.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and tells."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether there is no other."""
        return self.size == 1

    def from_first(self, make: Callable[[], T]) -> T:
        """What ``make`` gives in the first process, in all of them."""
        if self.is_alone:
            return make()
        box: list[Any] = [make() if self.is_first else None]
        with _together():
            distributed.broadcast_object_list(box, src=0)
        return box[0]

    def sum_of(self, values: Tensor) -> Tensor:
        """The sum over all processes of tensors of one shape."""
        if self.is_alone:
            return values
        total = values.clone()
        with _together():
            distributed.all_reduce(total)
        return total

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Let each gradient be the sum over the processes; one that no process has stays away."""
        if self.is_alone:
            return
        trained = [weights for weights in parameters if weights.requires_grad]
        for dtype in sorted({weights.dtype for weights in trained}, key=str):
            self._sum_gradients([weights for weights in trained if weights.dtype == dtype])

    @torch.no_grad()
    def _sum_gradients(self, trained: list[nn.Parameter]) -> None:
        has = torch.tensor([float(weights.grad is not None) for weights in trained])
        gradients = [torch.zeros_like(weights) if weights.grad is None else weights.grad for weights in trained]
        flat = torch.cat([*(gradient.reshape(-1) for gradient in gradients), has.to(gradients[0])])
        with _together():
            distributed.all_reduce(flat)
        *summed, n_having = flat.split([*(gradient.numel() for gradient in gradients), len(trained)])
        # Only where a gradient is missing here has the host to know whether another process has it.
        there = has.tolist() if has.all() else n_having.tolist()
        for weights, total, n in zip(trained, summed, there, strict=True):
            weights.grad = total.view_as(weights) if n else None

    def share_state(self, module: nn.Module) -> None:
        """Let all have the first one's parameters and buffers, to the last bit."""
        if self.is_alone:
            return
        with torch.no_grad(), _together():
            for values in module.state_dict().values():
                if isinstance(values, Tensor):
                    distributed.broadcast(values.data, src=0)

    def split(self, n: int) -> list[int]:
        """How many of ``n`` consecutive things each process takes, [size]."""
        return [len(part) for part in torch.arange(n).tensor_split(self.size)]

    def gathered(self, own: Tensor, sizes: Sequence[int]) -> Tensor:
        """Rows of all processes in their order, through which gradients flow back to whose they are.

        Args:
            own: [sizes[rank], ...] this process's; what is beyond that many is left out.
            sizes: Rows of each process.

        Returns:
            [sum of sizes, ...].
        """
        return own if self.is_alone else _Gather.apply(own[: sizes[self.rank]], list(sizes), self.rank)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, own: Tensor, sizes: list[int], rank: int) -> Tensor:
        ctx.sizes, ctx.rank = sizes, rank
        padded = own.new_zeros(max(sizes), *own.shape[1:])
        padded[: len(own)] = own
        parts = [torch.empty_like(padded) for _ in sizes]
        with _together():
            distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (gradient,) = gradients
        total = gradient.contiguous().clone()
        with _together():
            distributed.all_reduce(total)
        return total.split(ctx.sizes)[ctx.rank], None, None


def processes() -> Processes:
    """This process among those of PyTorch's process group."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return Processes()
    return Processes(distributed.get_rank(), distributed.get_world_size())


def started_by_torchrun() -> bool:
    """Whether ``torchrun``, or what acts like it, has started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE") or 1) > 1 and "RANK" in os.environ and "MASTER_ADDR" in os.environ


def local_rank() -> int:
    """Number of this process among those on its machine."""
    return int(os.environ.get("LOCAL_RANK") or 0)


def n_on_this_machine() -> int:
    """How many processes train together on this machine."""
    return 1 if processes().is_alone else int(os.environ.get("LOCAL_WORLD_SIZE") or 1)


def join(**meeting: Any) -> None:
    """Make the process group; arguments as those of ``init_process_group``."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE, **meeting)


def leave() -> None:
    """Dissolve the process group, where there is one."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
