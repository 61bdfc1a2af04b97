"""What a run says of the cases that it left out because they have no content, where those are many."""

from __future__ import annotations

_TOLD_SHARE = 0.1  # below, the log's line before the run is enough


def much_left_out(n_left_out: int, n: int, cases: str, why: str, instead: str) -> list[str]:
    """A line where a tenth or more was left out, which makes the test one of something else; else none.

    Args:
        n_left_out: Cases that were left out.
        n: Those that there were before.
        cases: What they are, as many.
        why: By which option, and of what.
        instead: What keeps them.
    """
    if not n or n_left_out < _TOLD_SHARE * n:
        return []
    return [
        f"{n_left_out:,} of {n:,} {cases} ({100 * n_left_out / n:.1f} %) were left out by {why}: the test is of what "
        f"remains. {instead}"
    ]
