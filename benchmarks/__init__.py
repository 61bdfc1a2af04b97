"""Measurements of speed and memory against RecBole and against plain implementations."""
