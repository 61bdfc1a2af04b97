"""User encoders: the item vectors of a history -> the user vector that ranks the catalogue.

RecBole's sequential models, adapted by :class:`~recbole_video.user_encoders.base.VideoRecommender`.
"""

from recbole_video.registries import USER_ENCODERS

register_user_encoder = USER_ENCODERS.register

__all__ = ["USER_ENCODERS", "register_user_encoder"]
