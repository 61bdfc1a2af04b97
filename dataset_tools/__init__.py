"""Dataset tools: raw data -> RecBole atomic files and frame stores. Imports no model."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

from recbole_video.errors import RunFolderError

# Data sets that are made on first use: name -> module with `make(folder)`, and `FILES`, the suffixes of what it makes.
BUNDLED = {
    "microvideo-demo": "recbole_video.dataset_tools.microvideo_demo",
    "ml-100k": "recbole_video.dataset_tools.ml_100k",
    "popularity-demo": "recbole_video.dataset_tools.popularity_demo",
    "trends-demo": "recbole_video.dataset_tools.trends_demo",
}


def prepare(name: str, folder: Path, frame_store: str | None = None) -> None:
    """Make what is missing of a bundled data set in ``folder``.

    The files are made aside and moved in, the ``.inter`` file last, so that an interrupted call
    leaves nothing that would be taken for a data set. Existing files are kept.

    Args:
        name: The name of the data set.
        folder: Its folder.
        frame_store: A further store of ``microvideo-demo``, see ``microvideo_demo_stores``.

    Raises:
        RunFolderError: If ``folder`` cannot be written.
    """
    module = import_module(BUNDLED[name])
    if not all((folder / f"{name}{suffix}").is_file() for suffix in module.FILES):
        _make_aside(name, folder, module.make)
    if name == "microvideo-demo" and frame_store and not (folder / f"{name}.{frame_store}.frames.json").is_file():
        from recbole_video.dataset_tools.microvideo_demo_stores import is_demo_store, make_store

        if is_demo_store(frame_store):
            _make_aside(f"{name}.{frame_store}", folder, lambda aside: make_store(aside, frame_store))


def _make_aside(name: str, folder: Path, make: Callable[[Path], None]) -> None:
    """Make files in another folder, and move those that are missing here."""
    import shutil
    import tempfile  # imports `random`, which must not be one of the working folder: see `entry_point`

    try:
        folder.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{name}."))
    except OSError as error:
        raise RunFolderError(f"`{folder}` cannot be written: {error.strerror}; set data_path.") from error
    try:
        make(aside)
        for file in sorted(aside.iterdir(), key=lambda f: (f.suffix == ".inter", f.suffix == ".json", f.name)):
            if not (folder / file.name).exists():
                file.replace(folder / file.name)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    logging.getLogger().info(f"Made {name} in {folder}.")
