"""Options that do nothing because of what another one is."""

from __future__ import annotations

from typing import Any

from recbole_video.option_checks import refuse_without_effect

_STATE_SPACE = frozenset(
    ["delta_min", "state_size", "ssm_step_mode", "delta_min", "delta_max", "delta_bound", "ssm_direction_mix"]
)
_ATTENTION = frozenset(["attn_heads", "base_window", "window_signal", "window_mask", "window_edge"])
_ENCODER = _STATE_SPACE | _ATTENTION | frozenset([
    "temporal_blocks", "n_blocks", "pos_encoding", "use_frame_scoring", "scorer", "use_ssm", "use_attention",
])  # fmt: skip
_PREFERENCE = frozenset(["dppo_support", "dppo_pairs", "dppo_gamma", "dppo_margin"])
_PRIOR = frozenset(["prior_exponent", "prior_order"])
_BALANCE = _PRIOR | frozenset(["balance_partitions", "balance_clusters", "balance_entropy", "balance_kl"])
_MEMORY = _PREFERENCE | _BALANCE | frozenset([
    "n_partitions", "n_clusters", "memory_top_k", "tau", "tau_learnable", "renormalize_topk", "routing_grad",
    "query_norm", "use_pop_context", "centroid_shrinkage", "memory_warmup_epochs", "memory_init_space",
    "topic_clustering", "memory_update", "memory_eta", "dppo_weight", "balance_weight",
])  # fmt: skip

# An option, a value of it, and the options that nothing reads then.
_VOID: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("regression_loss", "mse", frozenset(["huber_delta"])),
    ("metric_batching", "global", frozenset(["metric_batch_size"])),
)
_VOID_FOR_STAP: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("temporal", "none", _ENCODER | frozenset(["encoder_lr_ratio", "mask_padding"])),
    ("temporal", "pooled", _ENCODER),
    ("temporal_blocks", "official", frozenset(["delta_min", "state_size", "ssm_step_mode", "delta_bound"])),
    ("use_frame_scoring", False, frozenset(["scorer"])),
    ("use_ssm", False, _STATE_SPACE),
    ("ssm_step_mode", "algorithm_s1", frozenset(["delta_bound"])),
    ("use_attention", False, _ATTENTION),
    ("window_mask", "hard", frozenset(["window_edge"])),
    ("memory", "off", _MEMORY),
    ("dppo_weight", 0, _PREFERENCE),
    ("dppo_pairs", "pool", frozenset(["dppo_margin"])),
    ("balance_weight", 0, _BALANCE),
    ("balance_partitions", 0, _PRIOR),
    ("fusion", "interaction", frozenset(["n_cross_layers", "cross_heads"])),
)


def refuse_void_options(config: Any, is_stap: bool) -> None:
    """Refuse options that are given, differ from their default, and do nothing because of what another one is.

    The switches of inputs, ``use_frames``, ``use_text`` and ``use_metadata``, are none of these: what a run without an
    input is compared with has the options of that input.

    Args:
        config: The configuration, all layers merged.
        is_stap: Whether the model has the options of STAP.

    Raises:
        ConfigError: On the first such option.
    """
    for name, value, without_effect in (*_VOID, *(_VOID_FOR_STAP if is_stap else ())):
        if config[name] == value:
            refuse_without_effect(config, without_effect, f"runs with {name}={value}")
