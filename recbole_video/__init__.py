"""RecBole plugin for micro-video recommendation from video content."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recbole_video.data.frame_store import FrameStore, write_frame_store
    from recbole_video.item_encoders import register_item_encoder
    from recbole_video.quick_start import run_recbole_video
    from recbole_video.recommender import Recommender, load_model
    from recbole_video.user_encoders import register_user_encoder

__version__ = "0.1.0"

# A checkout that was never installed: properties/ and dataset_tools/ lie beside this package.
_CHECKOUT = Path(__file__).resolve().parent.parent
if (_CHECKOUT / "run_recbole_video.py").is_file() and str(_CHECKOUT) not in __path__:
    __path__.append(str(_CHECKOUT))

# Imported on first use, so that `import recbole_video` stays cheap.
_PUBLIC = {
    "FrameStore": "recbole_video.data.frame_store",
    "Recommender": "recbole_video.recommender",
    "load_model": "recbole_video.recommender",
    "register_item_encoder": "recbole_video.item_encoders",
    "register_user_encoder": "recbole_video.user_encoders",
    "run_recbole_video": "recbole_video.quick_start",
    "write_frame_store": "recbole_video.data.frame_store",
}

__all__ = [
    "FrameStore",
    "Recommender",
    "__version__",
    "load_model",
    "register_item_encoder",
    "register_user_encoder",
    "run_recbole_video",
    "write_frame_store",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
