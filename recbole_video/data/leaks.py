"""What a split lets training know of the time after its test targets, and how far the order of actions is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recbole_video.data.sequences import Actions

WITHOUT_TIMES = "none: the data have only the order of each user's actions"
_NEED_TIMES = ("item_trained_later", "user_trained_later", "trained_later")


@dataclass(frozen=True)
class Events:
    """Some actions, in any order.

    Attributes:
        users: [E] int64, ids.
        items: [E] int64, ids.
        times: [E] float; None where there are none.
    """

    users: np.ndarray
    items: np.ndarray
    times: np.ndarray | None


def leak_report(actions: Actions) -> dict[str, Any]:
    """Shares of the test targets that training knows something later of, or whose place in time is uncertain.

    Returns:
        ``targets``, their number; ``times``, ``known`` or that there are none; and shares of the targets:
        ``item_trained_later`` and ``user_trained_later``, whose item, or user, has a training action after the target;
        ``trained_later``, after which there is any training action; ``repeats``, whose user had acted on the item
        before; ``equal_times``, whose user has the action before or behind it at the same time, so that nobody knows
        their order. Shares that need times are None without them.
    """
    target, times = actions.split.test.end, actions.times
    trained, targets = (_events(actions, chosen) for chosen in (actions.is_trained(), target))
    equal = None if times is None else _has_equal_neighbour(actions, times)[target]
    return shares_of(trained, targets, {"repeats": _is_repeat(actions)[target], "equal_times": equal})


def _events(actions: Actions, chosen: np.ndarray) -> Events:
    times = None if actions.times is None else actions.times[chosen]
    return Events(actions.users[chosen], actions.items[chosen], times)


def shares_of(trained: Events, targets: Events, others: Mapping[str, np.ndarray | None]) -> dict[str, Any]:
    """The report on some targets: what was trained on after them, and the shares of ``others``, flags by name."""
    shares: dict[str, np.ndarray | None] = {**dict.fromkeys(_NEED_TIMES), **others}
    if trained.times is not None and targets.times is not None:
        later = _latest(trained.items, trained.times, targets.items) > targets.times
        of_user = _latest(trained.users, trained.times, targets.users) > targets.times
        flags = (later, of_user, trained.times.max() > targets.times)
        shares |= dict(zip(_NEED_TIMES, flags, strict=True))
    return {
        "targets": len(targets.items),
        "times": WITHOUT_TIMES if targets.times is None else "known",
        **{name: None if flags is None else round(float(flags.mean()), 6) for name, flags in shares.items()},
    }


def _latest(keys: np.ndarray, times: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """The latest time of each of the ``wanted`` keys, float64; minus infinity where there is none."""
    latest = np.full(int(max(keys.max(initial=0), wanted.max(initial=0))) + 1, -np.inf)
    np.maximum.at(latest, keys, times)
    return latest[wanted]


def _is_repeat(actions: Actions) -> np.ndarray:
    """Whether the user of each action has acted on its item before, bool [A]."""
    pair = actions.users * actions.n_items + actions.items
    order = np.argsort(pair, kind="stable")
    repeats = np.zeros(len(pair), dtype=bool)
    repeats[order[1:]] = pair[order[1:]] == pair[order[:-1]]
    return repeats


def _has_equal_neighbour(actions: Actions, times: np.ndarray) -> np.ndarray:
    """Whether the action before or behind each one is of the same user and time, bool [A]."""
    same = (times[1:] == times[:-1]) & (actions.users[1:] == actions.users[:-1])
    return np.r_[False, same] | np.r_[same, False]


def temporal_facts(actions: Actions) -> dict[str, Any]:
    """What the cuts of the protocol ``temporal`` leave on each side; empty for a split without cuts.

    An item or a user is cold if no action of it stands before the first cut.
    """
    split, times = actions.split, actions.times
    if not split.cuts or times is None:
        return {}
    is_early = times < split.cuts[0]
    item_is_cold = np.bincount(actions.items[is_early], minlength=actions.n_items) == 0
    user_is_cold = np.bincount(actions.users[is_early], minlength=int(actions.users.max()) + 1) == 0
    target = split.test.end
    return {
        "cuts": [*split.cuts],
        "actions_before": [int((times < cut).sum()) for cut in split.cuts],
        "test_targets": len(target),
        "of_cold_items": int(item_is_cold[actions.items[target]].sum()),
        "of_cold_users": int(user_is_cold[actions.users[target]].sum()),
        "cold_items": int(item_is_cold[1:].sum()),
        "cold_users": int(user_is_cold[1:].sum()),
        "targets_without_history": dict(zip(("valid", "test"), split.n_without_history, strict=True)),
    }
