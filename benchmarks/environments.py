"""Virtual environments for other people's packages, whose requirements contradict ours."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.common import ROOT

_READY = ".ready"  # written last


def python_of(name: str, requirements: tuple[str, ...]) -> Path:
    """The interpreter of an environment with these packages, which is made once and kept in the user's cache folder.

    Local folders of wheels are searched where PIP_FIND_LINKS or UV_FIND_LINKS name them.

    Args:
        name: Tells the environment from others; with other requirements it is made anew.
        requirements: Packages, with their versions.
    """
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "recbole_video-benchmarks", name)
    python, ready = folder / "bin" / "python", folder / _READY
    wanted = "\n".join((*requirements, sys.version))
    if not ready.is_file() or ready.read_text() != wanted:
        shutil.rmtree(folder, ignore_errors=True)
        _make(folder, python, requirements)
        ready.write_text(wanted)
    return python


def _make(folder: Path, python: Path, requirements: tuple[str, ...]) -> None:
    """By uv where there is one, which takes a minute; otherwise by venv and pip."""
    uv = shutil.which("uv") or shutil.which(ROOT / ".uv" / "bin" / "uv")
    if uv is None:
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet"]
    else:
        subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], check=True)
        install = [uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python)]
    subprocess.run([*install, *requirements], env=_with_wheels(), check=True)


def _with_wheels() -> dict[str, str]:
    """What pip was told of folders of wheels, uv is told too; it separates them by commas."""
    links = os.environ.get("UV_FIND_LINKS") or ",".join(os.environ.get("PIP_FIND_LINKS", "").split())
    return {**os.environ, **({"UV_FIND_LINKS": links} if links else {})}
