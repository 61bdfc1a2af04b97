"""Dataset tools: raw data -> RecBole atomic files and frame stores. Imports no model."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from recbole_video.errors import RunFolderError

# Data sets that are made on first use: name -> module with `make(folder)`, and `FILES`, the suffixes of what it makes.
BUNDLED = {
    "microvideo-demo": "recbole_video.dataset_tools.microvideo_demo",
    "ml-100k": "recbole_video.dataset_tools.ml_100k",
    "popularity-demo": "recbole_video.dataset_tools.popularity_demo",
}


def prepare(name: str, folder: Path) -> None:
    """Make what is missing of a bundled data set in ``folder``.

    The files are made aside and moved in, the ``.inter`` file last, so that an interrupted call
    leaves nothing that would be taken for a data set. Existing files are kept.

    Raises:
        RunFolderError: If ``folder`` cannot be written.
    """
    module = import_module(BUNDLED[name])
    if all((folder / f"{name}{suffix}").is_file() for suffix in module.FILES):
        return
    make: Callable[[Path], None] = module.make
    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}."))
    except OSError as error:
        raise RunFolderError(f"`{folder}` cannot be written: {error.strerror}; set data_path.") from error
    try:
        make(aside)
        for file in sorted(aside.iterdir(), key=lambda f: f.suffix == ".inter"):
            if not (folder / file.name).exists():
                file.replace(folder / file.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    logging.getLogger().info(f"Made the data set {name} in {folder}.")
