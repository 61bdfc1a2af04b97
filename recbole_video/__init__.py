"""RecBole plugin for micro-video recommendation from video content."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_video.content.store import FrameStore, write_frame_store
    from recbole_video.controls import register_control
    from recbole_video.item_encoders import register_item_encoder
    from recbole_video.popularity import register_popularity_model
    from recbole_video.quick_start import run_recbole_video
    from recbole_video.serving.predictor import Inputs
    from recbole_video.serving.recommender import Recommender
    from recbole_video.tasks.load import load_model
    from recbole_video.user_encoders import register_user_encoder

__version__ = "0.1.0"
_BESIDE = ("properties", "dataset_tools")  # of this package, and not in it


class _CheckoutFinder:
    """Finds ``properties/`` and ``dataset_tools/`` beside this package in a checkout, and nothing else.

    It is asked first: an installed copy of another checkout must not be mixed with this one.
    """

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        package, _, beside = name.rpartition(".")
        if package != __name__ or beside not in _BESIDE:
            return None
        checkout = Path(__file__).resolve().parents[1]
        folder = checkout / beside
        if not ((checkout / "run_recbole_video.py").is_file() and (folder / "__init__.py").is_file()):
            return None
        return spec_from_file_location(name, folder / "__init__.py", submodule_search_locations=[str(folder)])


sys.meta_path.insert(0, _CheckoutFinder)

# Imported on first use, so that `import recbole_video` stays cheap.
_PUBLIC = {
    "FrameStore": "recbole_video.content.store",
    "Inputs": "recbole_video.serving.predictor",
    "Recommender": "recbole_video.serving.recommender",
    "load_model": "recbole_video.tasks.load",
    "register_control": "recbole_video.controls",
    "register_item_encoder": "recbole_video.item_encoders",
    "register_popularity_model": "recbole_video.popularity",
    "register_user_encoder": "recbole_video.user_encoders",
    "run_recbole_video": "recbole_video.quick_start",
    "write_frame_store": "recbole_video.content.store",
}

__all__ = [
    "FrameStore",
    "Inputs",
    "Recommender",
    "__version__",
    "load_model",
    "register_control",
    "register_item_encoder",
    "register_popularity_model",
    "register_user_encoder",
    "run_recbole_video",
    "write_frame_store",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)


def __dir__() -> list[str]:
    """What completion offers: what is public, be it imported yet or not."""
    return sorted(__all__)
