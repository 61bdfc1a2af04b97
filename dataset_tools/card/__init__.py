"""The card of a data set: sources, what was dropped and why, statistics, plots."""
