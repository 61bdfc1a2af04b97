"""User encoders: the item vectors of a history -> the user vector that ranks the catalogue.

RecBole's sequential models, adapted by :class:`~recbole_video.user_encoders.base.VideoRecommender`.
"""

from recbole_video.registry import Registry

USER_ENCODERS: Registry = Registry(
    "user encoder",
    {
        name: f"recbole_video.user_encoders.{name.lower()}:{name}"
        for name in ("SASRec", "GRU4Rec", "NextItNet", "BERT4Rec", "NARM", "FMLPRec")
    },
    bases=("recbole_video.user_encoders.base:VideoRecommender",),
)
register_user_encoder = USER_ENCODERS.register

__all__ = ["USER_ENCODERS", "register_user_encoder"]
