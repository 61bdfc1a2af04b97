"""Popularity prediction: one number per video, from frames, text and metadata."""

from recbole_video.registry import Registry

POPULARITY_MODELS: Registry = Registry(
    "popularity model",
    {
        "STAP": "recbole_video.popularity.stap.model:STAP",
        "Constant": "recbole_video.popularity.constant:Constant",
        "MetadataRidge": "recbole_video.popularity.ridge:MetadataRidge",
        "MetadataGBDT": "recbole_video.popularity.gbdt:MetadataGBDT",
    },
    bases=("recbole_video.popularity.base:PopularityModel",),
)
register_popularity_model = POPULARITY_MODELS.register

__all__ = ["POPULARITY_MODELS", "register_popularity_model"]
