"""Item encoders: the frames of a video -> its item vector.

An item encoder is an ``nn.Module`` built as ``Encoder(frame_dim, item_dim, **options)`` whose
``forward(frames: [N, F, D] float, mask: [N, F] bool)`` returns item vectors [N, d]. Rows must not
depend on each other (no batch norm). Its constructor's further arguments are its options: an
argument ``depth`` is set with ``--encoder_depth=2``.
"""

from recbole_video.item_encoders.cva import CVA
from recbole_video.item_encoders.id import ID
from recbole_video.item_encoders.mlp import MLP
from recbole_video.item_encoders.perceiver_io import PerceiverIO
from recbole_video.item_encoders.pooling import Pooling
from recbole_video.registries import ITEM_ENCODERS

register_item_encoder = ITEM_ENCODERS.register

__all__ = ["CVA", "ID", "ITEM_ENCODERS", "MLP", "PerceiverIO", "Pooling", "register_item_encoder"]
