"""Which options change no number of a result."""

from __future__ import annotations

# Where things lie, what is computed with, and what is kept, shown or sent. A run that goes on may set them anew.
OF_NO_NUMBER = frozenset([
    "checkpoint_dir", "data_path", "log_dir", "tensorboard_dir", "gpu_id", "use_gpu", "nproc", "ray_address",
    "eval_batch_size", "eval_memory_mb", "frames_on_device", "resume", "state", "show_progress", "figures", "log_wandb",
    "wandb_project", "save_per_user", "save_predictions", "keep_last_checkpoint",
])  # fmt: skip
# The same of RecBole's. They are in the fingerprint of a run, which goes on with the ones that it began with.
OF_NO_NUMBER_OF_RECBOLE = frozenset([
    "worker", "detect_anomaly", "loss_decimal_place", "save_dataloaders", "save_dataset",
])  # fmt: skip
# Those that change which groups of targets or videos are told of, and no other number.
OF_GROUPS = frozenset([
    "eval_groups", "tag_field", "n_popularity_groups", "cold_author_threshold", "cold_author_count",
    "cold_author_column",
])  # fmt: skip
