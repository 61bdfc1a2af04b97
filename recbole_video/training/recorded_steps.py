"""Training steps recorded as CUDA graphs: the host launches one graph in the place of some hundreds of kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

import torch
from torch import Tensor

from recbole_video.data.step_plan import IS_QUERY, StepPlan

_UNRECORDED = 3  # steps before the first recording, in which optimiser and libraries take the memory that they keep
_MOST_RECORDINGS = 64  # each keeps the memory of its plan


class Recorder(Protocol):
    """Records what a device does in a step."""

    def run(self, step: Callable[[], Tensor]) -> Tensor:
        """Do the step where recordings are made, so that what it prepares is there for them."""

    def record(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        """Record the step without doing it; returns what does it, each time on the values that its memory then has."""


class CudaRecorder:
    """Records CUDA graphs, which share one pool of memory.

    Sharing is safe because nothing that one recording leaves in the pool is read after another one was replayed:
    weights and the optimiser's state lie outside, gradients are read in the step that makes them, and the caller adds
    up the loss at once.

    Args:
        device: The GPU.
    """

    def __init__(self, device: torch.device) -> None:
        self.stream = torch.cuda.Stream(device)
        self._pool = torch.cuda.graph_pool_handle()

    def run(self, step: Callable[[], Tensor]) -> Tensor:
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            loss = step()
        torch.cuda.current_stream().wait_stream(self.stream)
        return loss

    def record(self, step: Callable[[], Tensor]) -> Callable[[], Tensor]:
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls are held to the rules of recording: another one makes plans in page-locked memory.
        with torch.cuda.graph(graph, pool=self._pool, stream=self.stream, capture_error_mode="thread_local"):
            loss = step()

        def replay() -> Tensor:
            graph.replay()
            return loss

        return replay


class RecordedSteps:
    """A training step that is recorded for each shape of plan when that comes for the second time.

    Plans that are not filled up to one of a few shapes (the last of an epoch) are computed as without recordings.

    Args:
        step: Computes the step of a plan on the device, optimiser included, and returns its loss.
        reset: Frees the gradients; called before a recording, which must not find memory of steps outside it.
        device: Where plans are copied to.
        recorder: Records steps.
    """

    def __init__(
        self,
        step: Callable[[StepPlan], Tensor],
        reset: Callable[[], None],
        device: torch.device,
        recorder: Recorder,
    ) -> None:
        self.step, self.reset, self.device, self.recorder = step, reset, device, recorder
        self.recordings: dict[Hashable, tuple[StepPlan, Callable[[], Tensor]]] = {}
        self._seen: set[Hashable] = set()
        self._n_run = 0

    def __call__(self, plan: StepPlan) -> Tensor:
        """Do the step of a plan on the host; returns its loss, which the next call may overwrite."""
        shapes = plan.shapes
        if shapes in self.recordings:
            held, replay = self.recordings[shapes]
            held.take_over(plan)
            return replay()
        if self._is_to_record(plan, shapes):
            held = plan.to(self.device)
            self.reset()
            replay = self.recorder.record(lambda: self.step(held))
            self.recordings[shapes] = held, replay
            return replay()
        self._n_run += 1
        self._seen.add(shapes)
        return self.recorder.run(lambda: self.step(plan.to(self.device)))

    def _is_to_record(self, plan: StepPlan, shapes: Hashable) -> bool:
        is_known = shapes in self._seen and self._n_run >= _UNRECORDED
        return IS_QUERY in plan and is_known and len(self.recordings) < _MOST_RECORDINGS
