"""Recommendation from content: the item tower and the losses."""
