"""Popularity prediction: one number per video, from frames, text and metadata."""

from recbole_video.registry import Registry

POPULARITY_MODELS: Registry = Registry(
    "popularity model",
    {
        "STAP": "recbole_video.popularity.stap.model:STAP",
        **{name: f"recbole_video.popularity.controls:{name}" for name in ("Constant", "MetadataRidge", "MetadataGBDT")},
    },
    bases=("recbole_video.popularity.model:PopularityModel", "recbole_video.popularity.controls:Control"),
)
register_popularity_model = POPULARITY_MODELS.register

__all__ = ["POPULARITY_MODELS", "register_popularity_model"]
