"""Popularity prediction: one number per video, from frames, text and metadata."""

from recbole_video.registries import POPULARITY_MODELS

register_popularity_model = POPULARITY_MODELS.register

__all__ = ["POPULARITY_MODELS", "register_popularity_model"]
