"""What the means of a result are over, and whether its training had come to an end."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def n_test_targets(data: Mapping[str, Any]) -> int | None:
    """Test targets, of which each weighs alike: one of each user, or with ``temporal_target=all`` all that there are.

    Args:
        data: The part ``data`` of a result.

    Returns:
        Their number; None where the result does not say, as of a popularity model.
    """
    n = (data.get("temporal") or {}).get("test_targets", data.get("test_users"))
    return n if isinstance(n, int) and n > 0 else None


def cases_of(data: Mapping[str, Any]) -> str:
    """What groups of the test count: users, or targets where users have several."""
    return "users" if n_test_targets(data) == data.get("test_users") else "targets"


def was_best_last(result: Mapping[str, Any]) -> bool:
    """Whether a run trained all epochs that its options allow, more than one, and the last was the best."""
    n, epochs = len(result.get("history") or []), (result.get("config") or {}).get("epochs")
    return n > 1 and n == epochs and result.get("best_epoch") == n
