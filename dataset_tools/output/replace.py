"""Moving a set of files into a folder in place of an earlier one, so that either all are there or none."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recbole_video.data.files import write_json
from recbole_video.data.reading import read_json
from recbole_video.errors import DataError, RunFolderError

_EARLIER, _PLAN = "earlier", "moves.json"


class Replacement:
    """One exchange of files; whatever goes wrong on the way, the earlier ones come back.

    Args:
        aside: Where the new files lie, on the same disk. A killed exchange is undone from it by :func:`restore`.
        folder: Where they belong.
    """

    def __init__(self, aside: Path, folder: Path) -> None:
        self._aside = aside
        self._folder = folder

    def run(self, made: Sequence[Path], earlier: Sequence[Path]) -> None:
        """Put ``earlier`` aside, then move ``made`` in, each in this order.

        Args:
            made: New files in ``aside``.
            earlier: Files of ``folder`` that go, if they are there. Those that new ones replace go by themselves.

        Raises:
            RunFolderError: If a file cannot be moved; the folder is as it was.
        """
        targets = [self._folder / path.name for path in made]
        try:
            write_json(self._aside / _PLAN, [path.name for path in made])
            (self._aside / _EARLIER).mkdir()
            for path in dict.fromkeys([*earlier, *targets]):
                if path.exists():
                    path.rename(self._aside / _EARLIER / path.name)
            for path, target in zip(made, targets, strict=True):
                path.rename(target)
            (self._aside / _PLAN).unlink()
        except BaseException as error:
            restore(self._aside, self._folder)
            if isinstance(error, OSError) and not isinstance(error, RunFolderError):
                raise RunFolderError(
                    f"`{self._folder}` cannot be written: {error.strerror or error}; what was there is as it was."
                ) from error
            raise


def restore(aside: Path, folder: Path) -> None:
    """Undo an exchange that did not end; nothing if none was begun.

    Args:
        aside: Of the exchange.
        folder: Of the exchange.

    Raises:
        DataError: If ``aside`` holds another plan than this module writes.
    """
    if not (aside / _EARLIER).is_dir() or not (aside / _PLAN).is_file():
        return
    names = read_json(aside / _PLAN)
    if not isinstance(names, list) or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise DataError(f"`{aside / _PLAN}` is not what a conversion left; remove the folder `{aside}`.")
    for name in names:
        if not (aside / name).exists() and not (aside / _EARLIER / name).exists():
            (folder / name).unlink(missing_ok=True)  # a new file that replaced none
    for path in (aside / _EARLIER).iterdir():
        path.replace(folder / path.name)
