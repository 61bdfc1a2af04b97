"""Controls: recommenders that are fitted in one go and learn next to nothing, beside which results are to be read."""

from recbole_video.registries import CONTROLS

register_control = CONTROLS.register

__all__ = ["CONTROLS", "register_control"]
