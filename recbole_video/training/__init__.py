"""Training: the trainer, learning-rate schedules, checkpoints."""
