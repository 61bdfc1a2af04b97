"""Use of trained models: recommend, predict, explain; no training data needed."""
