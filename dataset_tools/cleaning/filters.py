"""The filters that converters of plain interactions share, as options."""

from __future__ import annotations

import argparse
from typing import Any

from recbole_video.dataset_tools.card.card import Card
from recbole_video.dataset_tools.cleaning.interactions import codes_of, drop_duplicates, keep_core, select, sort_order


def add_filter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add ``--repeats``, ``--min_user``, ``--min_item`` and ``--one_pass``; by default nothing is left out."""
    group = parser.add_argument_group("filters")
    group.add_argument(
        "--repeats",
        choices=("keep", "first", "last"),
        default="keep",
        help="what to keep of a user's interactions with one item (default: keep all; exact copies always go)",
    )
    group.add_argument("--min_user", type=least_number, default=1, help="least interactions of a user (default: 1)")
    group.add_argument("--min_item", type=least_number, default=1, help="least interactions of an item (default: 1)")
    group.add_argument("--one_pass", action="store_true", help="apply both minima once, items first, not repeatedly")


def least_number(text: str) -> int:
    """How many interactions there must be at least, as argparse reads it; 0 and 1 leave nothing out."""
    if not (text.isascii() and text.isdecimal()):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number of at least 0")
    return int(text)


def drop_copies(table: Any, card: Card) -> Any:
    """Leave out rows with the user, item and time of an earlier row; without times nothing is a copy."""
    if "time" not in table:
        return table
    before = len(table["time"])
    table, dropped = drop_duplicates(table, ("user_id", "item_id", "time"))
    card.step("exact copies", before, before - dropped, "same user, item and time as an earlier row")
    return table


def apply_filters(table: Any, arguments: argparse.Namespace, card: Card) -> Any:
    """Apply the options of :func:`add_filter_arguments`; each filter in use goes on the card."""
    n_rows = len(table["user_id"])
    if arguments.repeats != "keep":
        table, dropped = drop_duplicates(_in_time(table), ("user_id", "item_id"), arguments.repeats)
        card.step("repeats", n_rows, n_rows - dropped, f"of a user and an item, only the {arguments.repeats} counts")
        n_rows -= dropped
    if arguments.min_user > 1 or arguments.min_item > 1:
        table, dropped = keep_core(table, arguments.min_user, arguments.min_item, not arguments.one_pass)
        rule = f"users with fewer than {arguments.min_user} and items with fewer than {arguments.min_item} interactions"
        card.step("minimum", n_rows, n_rows - dropped, rule + (", once" if arguments.one_pass else ", repeatedly"))
    return table


def _in_time(table: Any) -> Any:
    """The rows by user and time, so that first and last are those in time, not in the file."""
    if "time" not in table:
        return table
    return select(table, sort_order(codes_of(table["user_id"])[0], table["time"]))
