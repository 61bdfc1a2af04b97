"""``python -m recbole_video.popularity RUN ITEM ...``, which is ``recbole-video explain RUN ITEM ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pkgutil import resolve_name

from recbole_video.entry_point import run_command


def main(words: Sequence[str] | None = None) -> int:
    """Explain predictions.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    return run_command(lambda: explain_command(sys.argv[1:] if words is None else words))


def explain_command(words: Sequence[str]) -> int:
    """Run the command, which is above this package and therefore looked up when it runs."""
    return int(resolve_name("recbole_video.commands.explain:explain_command")(words))


if __name__ == "__main__":
    sys.exit(main())
