"""Evaluation: full ranking of the catalogue, RecBole's metrics, groups of items."""
