"""What values the options of a popularity model may have."""

from __future__ import annotations

from typing import Any

from recbole_video.content_options import check_content
from recbole_video.errors import ConfigError
from recbole_video.option_checks import (
    NO_EFFECT,
    SHARED_CHOICES,
    check_choices,
    check_not_negative,
    check_positive,
    check_types,
    refuse_without_effect,
)
from recbole_video.popularity.stap.choices import STAP_CHOICES
from recbole_video.popularity.void_options import refuse_void_options

_CHOICES: dict[str, tuple[Any, ...]] = {
    **SHARED_CHOICES,
    "missing_text": ("error", "drop", "zero"),
    "label_norm": ("standardise", "none"),
    "regression_loss": ("huber", "mse"),
    "metric_batching": ("global", "batch_mean"),
    "cold_author_count": ("posts", "profile"),
}
_STAP_POSITIVE = (
    "hidden_size", "state_size", "n_blocks", "attn_heads", "n_partitions", "n_clusters", "memory_top_k",
    "n_cross_layers", "cross_heads", "memory_init_videos",
)  # fmt: skip
# Beyond what does nothing for recommendation either: its own options, and RecBole's that belong to it.
_NO_EFFECT = NO_EFFECT | frozenset([
    "load_col", "topk", "train_neg_sample_args", "loss_type", "user_inter_num_interval", "item_inter_num_interval",
    "val_interval", "MAX_ITEM_LIST_LENGTH",
])  # fmt: skip
_ANY_TYPE = frozenset(["gpu_id", "metrics", "resume", "base_window", "metadata", "clip_grad_norm"])


def check_popularity_options(config: Any) -> None:
    """Refuse values that a popularity model cannot use, and options that do nothing for it.

    Raises:
        ConfigError: On the first such option.
    """
    refuse_without_effect(config, _NO_EFFECT, "popularity models")
    content_read = config.inputs_read - {"metadata"}
    check_content(config, content_read | {"frames", "text"} if content_read else None)  # a control reads none
    choices = {**_CHOICES, **(STAP_CHOICES if "memory_top_k" in config else {})}
    check_types(config, config.internal_config_dict, _ANY_TYPE | set(choices))
    check_choices(config, choices)
    _check_ranges(config)
    if "memory_top_k" in config:
        _check_stap(config)
    refuse_void_options(config, "memory_top_k" in config)
    names = [str(name).lower() for name in config["metrics"]]
    if str(config["valid_metric"]).lower() not in names:
        raise ConfigError(
            f"`valid_metric` is `{config['valid_metric']}`, which is not computed; choose from {', '.join(names)}, or "
            "extend metrics."
        )


def _check_ranges(config: Any) -> None:
    for name in ("epochs", "train_batch_size", "eval_batch_size", "eval_step", "metric_batch_size"):
        check_positive(config, name)
    if config["n_frames"] is not None:
        check_positive(config, "n_frames")
    for name in ("learning_rate", "weight_decay", "seed", "cold_author_threshold", "n_popularity_groups"):
        check_not_negative(config, name)
    for name, lowest in (("train_share", "above 0"), ("lr_warmup", "at least 0")):
        value = float(config[name])
        if not 0 <= value <= 1 or (name == "train_share" and value == 0):
            raise ConfigError(f"`{name}` is {config[name]}; it is a share, {lowest} and at most 1.")
    if config["huber_delta"] <= 0:
        raise ConfigError(f"`huber_delta` is {config['huber_delta']}; it must be above 0.")
    if not (config["use_frames"] or config["use_text"] or config["use_metadata"]):
        raise ConfigError("`use_frames`, `use_text` and `use_metadata` are all False; a model needs one of them.")
    if config["cold_author_count"] == "profile" and not config["cold_author_column"]:
        raise ConfigError("`cold_author_count` is profile; name the column of .user that counts by cold_author_column.")


def _check_stap(config: Any) -> None:
    for name in _STAP_POSITIVE:
        check_positive(config, name)
    _refuse_endless_warm_up(config)
    if config["memory_top_k"] > config["n_partitions"] * config["n_clusters"]:
        raise ConfigError(
            f"`memory_top_k` is {config['memory_top_k']}, but there are {config['n_partitions']} x "
            f"{config['n_clusters']} slots; lower it."
        )
    for heads in ("attn_heads", "cross_heads"):
        if config["hidden_size"] % config[heads]:
            raise ConfigError(
                f"`hidden_size`, {config['hidden_size']}, must be a multiple of {heads}, {config[heads]}."
            )
    if not 0 < config["delta_min"] < config["delta_max"]:
        raise ConfigError(
            f"`delta_min` is {config['delta_min']} and `delta_max` {config['delta_max']}; the first must be above 0 "
            "and below the second."
        )
    _check_window(config)
    if not 0 <= config["dropout"] < 1:
        raise ConfigError(f"`dropout` is {config['dropout']}; it is a share, at least 0 and below 1.")
    if not all(isinstance(size, int) and not isinstance(size, bool) and size >= 1 for size in config["head_sizes"]):
        raise ConfigError(f"`head_sizes` is {config['head_sizes']}; it is a list of whole numbers of at least 1.")
    for name in ("dppo_gamma", "centroid_shrinkage", "prior_exponent"):
        check_not_negative(config, name)
    if not 0 < config["memory_eta"] <= 1:
        raise ConfigError(f"`memory_eta` is {config['memory_eta']}; it is a rate, above 0 and at most 1.")
    if config["tau"] <= 0.05:
        raise ConfigError(f"`tau` is {config['tau']}; it must be above 0.05.")
    mix = config["ssm_direction_mix"]
    if len(mix) != 2 or min(mix) < 0 or sum(mix) == 0:
        raise ConfigError(f"`ssm_direction_mix` is {mix}; it is two weights, forward and backward, not both 0.")
    if config["temporal_blocks"] == "official" and not (config["use_ssm"] and config["use_attention"]):
        raise ConfigError("`use_ssm` and `use_attention` belong to temporal_blocks=paper; leave them out.")


def _refuse_endless_warm_up(config: Any) -> None:
    """A warm-up as long as training would train a model without its memory; a single epoch is for trying out."""
    warm_up, epochs = config["memory_warmup_epochs"], config["epochs"]
    if config["memory"] != "off" and 1 < epochs <= warm_up:
        raise ConfigError(
            f"`memory_warmup_epochs` is {warm_up} of {epochs} epochs, so that the memory bank would never be laid out; "
            "lower it, or set memory=off."
        )


def _check_window(config: Any) -> None:
    window = config["base_window"]
    is_frames = isinstance(window, int) and not isinstance(window, bool) and window >= 1
    if not is_frames and not (isinstance(window, float) and 0 < window <= 1):
        raise ConfigError(
            f"`base_window` is `{window}`; it is a whole number of frames, at least 1, or a share of them, above 0 and "
            "at most 1.0."
        )
    if config["window_edge"] <= 0:
        raise ConfigError(f"`window_edge` is {config['window_edge']}; it is a number of frames above 0.")
