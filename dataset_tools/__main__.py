"""``python -m recbole_video.dataset_tools NAME [FOLDER]``: make a bundled data set."""

import sys
from pathlib import Path

from recbole_video.dataset_tools import BUNDLED, prepare

from recbole_video.errors import RecBoleVideoError


def main(arguments: list[str]) -> int:
    """Make the named data set in ``FOLDER`` (``dataset/NAME`` by default); returns the exit status."""
    if not 1 <= len(arguments) <= 2 or arguments[0] not in BUNDLED:
        print(f"usage: python -m recbole_video.dataset_tools {{{','.join(BUNDLED)}}} [FOLDER]", file=sys.stderr)
        return 2
    name = arguments[0]
    folder = Path(arguments[1] if len(arguments) == 2 else f"dataset/{name}")
    try:
        prepare(name, folder)
    except RecBoleVideoError as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    print(f"{name} is in {folder}.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
