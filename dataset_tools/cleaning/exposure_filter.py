"""Which exposures become interactions: positive rule, repeats, rare items and users, in this order."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.filters import least_number
from recbole_video.dataset_tools.cleaning.interactions import drop_duplicates, keep_core
from recbole_video.dataset_tools.raw.exposures import FLAGS

from recbole_video.errors import nearest

EFFECTIVE_VIEW = "effective_view"
POSITIVE = (EFFECTIVE_VIEW, *FLAGS)
ORDERS = {"items_first": ("item", "user"), "users_first": ("user", "item")}


@dataclass(frozen=True)
class Filter:
    """The settings of the filter.

    Attributes:
        positive: An exposure counts if any of these columns is set; all exposures count if there are none.
        repeats: What stays of several exposures of a user to a video: ``keep`` for all, the ``first`` or the ``last``.
        min_item: Least interactions of a video.
        min_user: Least interactions of a user.
        order: ``items_first`` or ``users_first``: which of the two minima is applied first.
        iterate: Apply both until both hold; else each once, so that the first may be violated again.
    """

    positive: tuple[str, ...] = ()
    repeats: str = "keep"
    min_item: int = 2
    min_user: int = 5
    order: str = "items_first"
    iterate: bool = False


# `cva` is Appendix E of the CVA paper: videos seen 0 or 1 times go, then users with fewer than 5 exposures. The
# paper does not give the order, nor whether it repeats, nor a rule for feedback: those are this package's choice.
PRESETS = {"cva": Filter(), "all": Filter(min_item=1, min_user=1)}


def add_exposure_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add a preset and an option for each setting, which overrides the preset's."""
    group = parser.add_argument_group("filter", "which exposures become interactions, applied in this order")
    group.add_argument("--preset", choices=PRESETS, default="cva", help="defaults of the options below (default: cva)")
    group.add_argument(
        "--positive",
        type=_positive,
        metavar="COLUMNS",
        help=f"only exposures with any of these set, separated by commas: {', '.join(POSITIVE)}",
    )
    group.add_argument(
        "--repeats", choices=("keep", "first", "last"), help="exposures of a user to one video (default: keep)"
    )
    group.add_argument("--min_item", type=least_number, help="least interactions of a video (cva: 2, all: 1)")
    group.add_argument("--min_user", type=least_number, help="least interactions of a user (cva: 5, all: 1)")
    group.add_argument("--order", choices=ORDERS, help="which minimum comes first (default: items_first)")
    group.add_argument(
        "--iterate",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="repeat until both minima hold (default: no)",
    )


def filter_from(arguments: argparse.Namespace) -> Filter:
    """The preset with the options that were given."""
    names = ("positive", "repeats", "min_item", "min_user", "order", "iterate")
    given: dict[str, Any] = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    return replace(PRESETS[arguments.preset], **given)


def _positive(text: str) -> tuple[str, ...]:
    names = tuple(name for name in text.split(",") if name)
    for name in names:
        if name not in POSITIVE:
            raise argparse.ArgumentTypeError(
                f"no column `{name}`{nearest(name, POSITIVE)}; choose of {', '.join(POSITIVE)}"
            )
    return names


def apply_filter(frame: pd.DataFrame, settings: Filter, card: Card) -> pd.DataFrame:
    """Leave out exposures; each step goes on the card.

    Args:
        frame: ``user_id``, ``item_id`` and the columns of ``POSITIVE``, each user's rows in the order of time.
        settings: What to leave out.
        card: The card of the data set.
    """
    if settings.positive:
        before = len(frame)
        keep = np.logical_or.reduce([frame[name].to_numpy() != 0 for name in settings.positive])
        frame = frame[keep].reset_index(drop=True)
        card.step("positive rule", before, len(frame), f"none of {', '.join(settings.positive)}")
    if settings.repeats != "keep":
        before = len(frame)
        frame, _ = drop_duplicates(frame, ["user_id", "item_id"], keep=settings.repeats)
        card.step("repeats", before, len(frame), f"only a user's {settings.repeats} exposure to a video")
    return _leave_out_rare(frame, settings, card)


def _leave_out_rare(frame: pd.DataFrame, settings: Filter, card: Card) -> pd.DataFrame:
    least = {"item": settings.min_item, "user": settings.min_user}
    while True:
        before_pass = len(frame)
        for which in ORDERS[settings.order]:
            before = len(frame)
            minima = {f"min_{name}": least[name] if name == which else 1 for name in least}
            frame, _ = keep_core(frame, **minima, iterate=False)
            card.step(f"rare {which}s", before, len(frame), f"{which}s with fewer than {least[which]} interactions")
        if not settings.iterate or len(frame) == before_pass:
            return frame
