"""What a run stands on: logs, devices, memory, provenance, checkpoints, Ray, and the mends of RecBole."""
