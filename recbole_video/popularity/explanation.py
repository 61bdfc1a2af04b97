"""What a prediction rests on, as far as a model tells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np


class Retrieved(Protocol):
    """Something that a model looked up for a prediction, such as a slot of a memory bank."""

    @property
    def label(self) -> str:
        """Its short name, for a figure."""

    @property
    def popularity(self) -> float:
        """The popularity that it stands for, on the labels' scale."""

    @property
    def details(self) -> str:
        """What else there is to say of it, in one line."""


@dataclass(frozen=True)
class Explanation:
    """What a prediction rests on.

    Attributes:
        popularity: The prediction.
        frame_weights: Score of each frame, [T]; None where frames are not scored.
        slots: What was retrieved, the heaviest first; empty where nothing is, as without a memory bank.
        weights: Weight of each of them.
        kind: What they are, in a word.
        note: What their names mean, where they need it.
    """

    popularity: float
    frame_weights: np.ndarray | None = None
    slots: Sequence[Retrieved] = ()
    weights: Sequence[float] = ()
    kind: str = "slot"
    note: str = ""

    def as_text(self, item: str, label: float, in_words: Callable[[float], str] = "{:.4f}".format) -> str:
        """Lines for the console.

        Args:
            item: Token of the video.
            label: Its true popularity.
            in_words: Writes a popularity.
        """
        lines = [f"{item}: predicted {in_words(self.popularity)}, true {in_words(label)}"]
        if self.frame_weights is not None:
            lines.append("  frame scores: " + " ".join(f"{weight:.2f}" for weight in self.frame_weights))
        for slot, weight in zip(self.slots, self.weights, strict=True):
            about = f"weight {weight:.3f}, popularity {slot.popularity:.3f}, {slot.details}"
            lines.append(f"  {self.kind}: {slot.label}, {about}")
        lines += [f"  {self.note}"] if self.note and self.slots else []
        return "\n".join(lines)
