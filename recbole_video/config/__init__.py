"""The configuration of a run: made in one pass from what is declared and what was given, and left alone then."""

from recbole_video.config.choice import class_named, known_options
from recbole_video.config.config import Config
from recbole_video.config.given import STOCK_PREFIX, resumed_run

__all__ = ["STOCK_PREFIX", "Config", "class_named", "known_options", "resumed_run"]
