"""The documented name of :mod:`recbole_video.serving.predictor`."""

from recbole_video.serving.predictor import Explanation, Inputs, PopularityPredictor, make_predictor

__all__ = ["Explanation", "Inputs", "PopularityPredictor", "make_predictor"]
