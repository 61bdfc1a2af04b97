"""Sweeps: the runs of a table or figure, in parallel on Ray; reports on them are in ``recbole_video.reports``."""
