"""What a prediction rests on, as far as a model tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from recbole_video.errors import counted

_LISTED = 10  # contributions that are shown one by one


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
class Contribution:
    """What a feature adds to a prediction.

    Attributes:
        feature: Its name.
        amount: What it adds, on the scale of the explanation.
        value: What the video has of it, in words; empty where there is nothing to say, as of frames.
        column: Which column of the metadata it is, numbers before categories; None for another feature.
    """

    feature: str
    amount: float
    value: str = ""
    column: int | None = None

    def __str__(self) -> str:
        return f"{self.feature}: {self.value}" if self.value else self.feature


@dataclass(frozen=True)
class WhatIf:
    """What a model would predict for the video if it lacked one of its inputs.

    Attributes:
        lacking: The input: ``frames``, ``text``, ``metadata``, or a further modality.
        popularity: The prediction then.
        remark: How the model reads a video without it, or that no training video was without it.
    """

    lacking: str
    popularity: float
    remark: str = ""


@dataclass(frozen=True, repr=False)
class Explanation:
    """What a prediction rests on; printed, it is told in lines.

    Attributes:
        popularity: The prediction.
        frame_weights: Score of each frame, [T]; None where frames are not scored.
        slots: What was retrieved, the heaviest first; empty where nothing is, as without a memory bank.
        weights: Weight of each of them.
        kind: What they are, in a word.
        note: What their names mean, where they need it; of contributions, what they leave out.
        base: What contributions are added to, the mean prediction of the training videos; None where there are none.
        contributions: What each feature adds; with ``base`` they are the prediction.
        scale: What they add up on, where that is not the labels' scale.
        without: The predictions for the same video without one of its inputs; what inputs do together is in none.
        count: The count, of views say, that the label is log2(1 + count) of, which is told beside it; empty for others.
    """

    popularity: float
    frame_weights: np.ndarray | None = None
    slots: Sequence[Retrieved] = ()
    weights: Sequence[float] = ()
    kind: str = "slot"
    note: str = ""
    base: float | None = None
    contributions: Sequence[Contribution] = ()
    scale: str = ""
    without: Sequence[WhatIf] = ()
    count: str = ""

    def __repr__(self) -> str:
        parts = [] if self.frame_weights is None else [counted(len(self.frame_weights), "frame score")]
        parts += [counted(len(self.slots), self.kind)] if self.slots else []
        parts += [counted(len(self.contributions), "contribution")] if self.base is not None else []
        parts += [counted(len(self.without), "what-if")] if self.without else []
        return f"<Explanation: predicted {self.popularity:.4f}; {', '.join(parts) or 'no more'}; see .as_text()>"

    def __str__(self) -> str:
        return self.as_text()

    def with_values(self, of_columns: Sequence[tuple[str, str]]) -> Explanation:
        """The same with what there is to say of the metadata: name and value in words of each column."""
        told = [
            one
            if one.column is None
            else replace(one, feature=of_columns[one.column][0], value=of_columns[one.column][1])
            for one in self.contributions
        ]
        return replace(self, contributions=told)

    def listed(self) -> list[Contribution]:
        """The contributions, those that add or take away most first; beyond ten, the others together in one."""
        largest = sorted(self.contributions, key=lambda one: -abs(one.amount))
        if len(largest) <= _LISTED + 1:
            return largest
        others = largest[_LISTED:]
        together = Contribution(f"the other {len(others)} together", sum(one.amount for one in others))
        return [*largest[:_LISTED], together]

    def in_words(self, popularity: float) -> str:
        """A popularity with four digits and, where there is one, the count behind it."""
        return f"{popularity:.4f}" + (f" ({max(0.0, 2**popularity - 1):,.0f} {self.count})" if self.count else "")

    def added_in_words(self, amount: float) -> str:
        """What is added to a popularity and, where it is a logarithm, by what 1 + count is multiplied."""
        return f"{amount:+.4f}" + (f" (x {2**amount:.2f})" if self.count else "")

    def as_text(self, item: str = "the video", label: float | None = None) -> str:
        """Lines for the console.

        Args:
            item: Token of the video.
            label: Its true popularity; None where it is not known.
        """
        true = "" if label is None else f", true {self.in_words(label)}"
        lines = [f"{item}: predicted {self.in_words(self.popularity)}{true}"]
        if self.frame_weights is not None:
            lines.append("  frame scores: " + " ".join(f"{weight:.2f}" for weight in self.frame_weights))
        for slot, weight in zip(self.slots, self.weights, strict=True):
            about = f"weight {weight:.3f}, popularity {slot.popularity:.3f}, {slot.details}"
            lines.append(f"  {self.kind}: {slot.label}, {about}")
        lines += self._lines_of_contributions()
        lines += [f"  {self.note}"] if self.note and (self.slots or self.contributions) else []
        return "\n".join([*lines, *self._lines_of_what_ifs()])

    def _lines_of_what_ifs(self) -> list[str]:
        if not self.without:
            return []
        lines = ["  what if it lacked an input? The model, asked again, predicts (this attributes nothing):"]
        for one in self.without:
            told = f"without its {one.lacking}{', ' * bool(one.remark)}{one.remark}"
            added = self.added_in_words(one.popularity - self.popularity)
            lines.append(f"  {told}: {self.in_words(one.popularity)}, that is {added}")
        return lines

    def _lines_of_contributions(self) -> list[str]:
        if self.base is None:
            return []
        told = replace(self, count="") if self.scale else self
        of_what = f"the mean of {self.scale}" if self.scale else "the mean prediction"
        lines = [f"  {of_what} in training is {told.in_words(self.base)}, to which features add"]
        return [*lines, *(f"  {told.added_in_words(one.amount)} {one}" for one in self.listed())]
