"""Popularity labels: counts, scales, splits, and the settings of the papers."""
