"""How the public code of the neural baselines trains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from recbole_video.options.option import option
from recbole_video.popularity.options import PopularityOptions


@dataclass(frozen=True)
class PublicCodeOptions(PopularityOptions):
    """Popularity models that are trained as their public re-implementations are, where a class says nothing else."""

    regression_loss: Literal["huber", "mse"] = option("mse", "huber or mse.", section="Loss")
    learner: Literal["adam", "adamw", "sgd", "adagrad", "rmsprop"] = option(
        "adam", "adam, adamw, sgd, adagrad or rmsprop.", section="Training"
    )
    learning_rate: float = option(1e-4, at_least=0)
    weight_decay: float = option(0.0, at_least=0)
    epochs: int = option(200, at_least=1)
    train_batch_size: int = option(64, at_least=1)
