"""What a run asks of a model: how it is fitted, and what the trainer asks beyond its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from torch import nn


def beside(parameters: Iterable[nn.Parameter], part: Iterable[nn.Parameter]) -> list[nn.Parameter]:
    """The parameters that are not those of a part, in their order."""
    of_part = {id(parameter) for parameter in part}
    return [parameter for parameter in parameters if id(parameter) not in of_part]


class Trainable:
    """Mixin of a module that is trained by gradient, or fitted in one go; each of these may stay as it is.

    Attributes:
        memory_advice: What to do where a training step does not fit on the device.
        is_recorded: Whether its training steps have one of a few shapes and are to be recorded as CUDA graphs.
    """

    memory_advice = "lower train_batch_size"
    is_recorded = False
    parameters: Callable[[], Iterator[nn.Parameter]]  # of the module that it is mixed into, as children
    children: Callable[[], Iterator[nn.Module]]

    @classmethod
    def is_fitted_once(cls) -> bool:
        """Whether it is fitted in one go, by a method ``fit_once``, in place of training by gradient."""
        return False

    def parameter_groups(self, learning_rate: float) -> list[dict[str, Any]]:
        """Parameters for the optimiser, in groups if their settings differ: ``lr``, ``weight_decay``."""
        return [{"params": list(self.parameters())}]

    def parts_to_compile(self) -> list[nn.Module]:
        """The modules that have something to learn; recurrent ones of PyTorch cannot be compiled."""
        learning = (part for part in self.children() if any(True for _ in part.parameters()))
        return [part for part in learning if not isinstance(part, nn.RNNBase)]

    def before_epoch(self, epoch: int, batches: Iterable[Any]) -> None:
        """Called before each epoch, with its index from 0 and the batches that its task shows it, on the device."""

    def after_step(self) -> None:
        """Called after each step of the optimiser."""

    def is_better_epoch(self, result: Mapping[str, float], best: Mapping[str, float]) -> bool:
        """Whether an epoch whose ``valid_metric`` is as good as the best so far, or better, takes its place.

        Args:
            result: Validation metrics of the epoch, by their names in lower case.
            best: Those of the best epoch so far.
        """
        return True

    def epoch_statistics(self) -> dict[str, float]:
        """Numbers for the record of an epoch, of what was seen since the last call."""
        return {}

    def state_for_use(self) -> dict[str, Any]:
        """What the checkpoint of the best epoch holds beyond the weights."""
        return {}
