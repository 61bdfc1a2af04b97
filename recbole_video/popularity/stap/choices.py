"""The values that STAP's options of words may have; what each means says the module that reads it."""

from __future__ import annotations

STAP_CHOICES: dict[str, tuple[str, ...]] = {
    "temporal": ("full", "pooled", "none"),
    "temporal_blocks": ("paper", "official"),
    "pos_encoding": ("none", "sinusoidal"),
    "scorer": ("mlp_delta", "linear_abs"),
    "ssm_step_mode": ("equation", "prose", "algorithm_s1"),
    "delta_bound": ("sigmoid", "clamp"),
    "window_signal": ("norm_zscore", "norm_raw", "importance"),
    "window_mask": ("soft", "hard", "ste"),
    "memory": ("full", "off"),
    "routing_grad": ("ste", "masked"),
    "memory_init_space": ("query", "pca", "random"),
    "topic_clustering": ("per_partition", "global"),
    "memory_update": ("gradient", "ema", "both"),
    "dppo_support": ("own_topk", "full", "topk_mass", "mu_weighted", "c_pop"),
    "dppo_pairs": ("batch", "pool"),
    "balance_kl": ("p_prior", "prior_p"),
    "prior_order": ("ascending", "descending"),
    "fusion": ("cross_attention", "interaction"),
}
