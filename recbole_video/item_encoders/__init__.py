"""Item encoders: the frames of a video -> its item vector.

An item encoder is an ``nn.Module`` built as ``Encoder(frame_dim, item_dim, **options)`` whose
``forward(frames: [N, F, D] float, mask: [N, F] bool)`` returns item vectors [N, d]. Rows must not
depend on each other (no batch norm). Its constructor's further arguments are its options: an
argument ``depth`` is set with ``--encoder_depth=2``.
"""

from typing import Any

from recbole_video.registries import ITEM_ENCODERS

register_item_encoder = ITEM_ENCODERS.register

__all__ = ["ITEM_ENCODERS", "register_item_encoder"]


def __getattr__(name: str) -> Any:
    """The encoders by their names, ``from recbole_video.item_encoders import CVA``; imported on first use."""
    if name not in ITEM_ENCODERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return ITEM_ENCODERS.get(name)
