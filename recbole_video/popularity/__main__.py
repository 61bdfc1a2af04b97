"""``python -m recbole_video.popularity RUN ITEM ...``, which is ``recbole-video explain RUN ITEM ...``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module


def main(words: Sequence[str] | None = None) -> int:
    """Explain predictions; the name is below the code, which is therefore looked up when it runs.

    Returns:
        Exit status, see :func:`recbole_video.entry_point.run_command`.
    """
    return import_module("recbole_video.serving.explain").main(words)


if __name__ == "__main__":
    sys.exit(main())
