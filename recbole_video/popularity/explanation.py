"""What a prediction rests on, as far as a model tells."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from textwrap import shorten
from typing import Protocol

import numpy as np

from recbole_video.errors import counted
from recbole_video.popularity.counts import CountBehind

_LISTED = 10  # contributions, or titles, that are shown one by one
_LONGEST_TITLE = 80


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

    @property
    def items(self) -> Sequence[str]:
        """Tokens of the training videos that say what it is, the nearest first, as far as they are known."""


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
        count: The count, of views say, that the label is a function of, which is told beside it; None of another label.
        item: What the video is called.
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
    count: CountBehind | None = None
    item: str = "the video"

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
        return f"{popularity:.4f}" + (f" ({self.count.of(popularity):,.0f} {self.count.name})" if self.count else "")

    def added_in_words(self, amount: float) -> str:
        """What is added to a popularity and, where it is a logarithm, by what the count is multiplied."""
        factor = None if self.count is None else self.count.factor(amount)
        return f"{amount:+.4f}" + (f" (x {factor:.2f})" if factor is not None else "")

    def as_text(
        self, item: str | None = None, label: float | None = None, titles: Mapping[str, str] | None = None
    ) -> str:
        """Lines for the console.

        Args:
            item: Token of the video, if it is called otherwise than here.
            label: Its true popularity; None where it is not known.
            titles: Title of each video by its token, of this one and of those that were retrieved; some may lack one.
        """
        titles, item = titles or {}, self.item if item is None else item
        true = "" if label is None else f", true {self.in_words(label)}"
        lines = [f"{item}: predicted {self.in_words(self.popularity)}{true}"]
        lines += [f"  its title: {_short(titles[item])}"] if titles.get(item) else []
        if self.frame_weights is not None:
            lines.append("  frame scores: " + " ".join(f"{weight:.2f}" for weight in self.frame_weights))
        for slot, weight in zip(self.slots, self.weights, strict=True):
            about = f"weight {weight:.3f}, popularity {slot.popularity:.3f}, {slot.details}"
            lines.append(f"  {self.kind}: {slot.label}, {about}")
        lines += self._lines_of_titles(titles)
        lines += self._lines_of_contributions()
        lines += [f"  {self.note}"] if self.note and (self.slots or self.contributions) else []
        return "\n".join([*lines, *self._lines_of_what_ifs()])

    def _lines_of_titles(self, titles: Mapping[str, str]) -> list[str]:
        """Of the videos that say what was retrieved: the nearest of each first, then the second of each."""
        ranks = range(max((len(slot.items) for slot in self.slots), default=0))
        near = dict.fromkeys(slot.items[rank] for rank in ranks for slot in self.slots if rank < len(slot.items))
        titled = [item for item in near if titles.get(item)]
        lines = [f"    {item}: {_short(titles[item])}" for item in titled[:_LISTED]]
        if len(titled) > _LISTED:
            lines.append(f"    … and {len(titled) - _LISTED} more")
        return ["  titles of the videos that were found near:", *lines] if lines else []

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
        told = replace(self, count=None) if self.scale else self
        of_what = f"the mean of {self.scale}" if self.scale else "the mean prediction"
        lines = [f"  {of_what} in training is {told.in_words(self.base)}, to which features add"]
        return [*lines, *(f"  {told.added_in_words(one.amount)} {one}" for one in self.listed())]


def _short(title: str) -> str:
    """A title on one line, with its beginning at least."""
    return shorten(title, _LONGEST_TITLE, placeholder=" …") if " " in title.strip() else title[:_LONGEST_TITLE]
