"""Options that do nothing because of what another one is."""

from __future__ import annotations

from typing import Any

from recbole_video.option_checks import refuse_without_effect

# An option, a value of it, and the options that nothing reads then.
_VOID: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("regression_loss", "mse", frozenset(["huber_delta"])),
    ("metric_batching", "global", frozenset(["metric_batch_size"])),
)
_VOID_FOR_STAP: tuple[tuple[str, Any, frozenset[str]], ...] = (
    ("temporal_blocks", "official", frozenset(["delta_min", "state_size", "ssm_step_mode", "delta_bound"])),
    ("ssm_step_mode", "algorithm_s1", frozenset(["delta_bound"])),
    ("window_mask", "hard", frozenset(["window_edge"])),
    ("dppo_pairs", "pool", frozenset(["dppo_margin"])),
    ("fusion", "interaction", frozenset(["n_cross_layers", "cross_heads"])),
)


def refuse_void_options(config: Any, is_stap: bool) -> None:
    """Refuse options that are given, differ from their default, and do nothing because of what another one is.

    What leaves an input or a part of the model out (``use_text=False``, ``memory=off``, ``dppo_weight=0``) is none of
    these: an ablation keeps the options of the run that it is compared with.

    Args:
        config: The configuration, all layers merged.
        is_stap: Whether the model has the options of STAP.

    Raises:
        ConfigError: On the first such option.
    """
    for name, value, without_effect in (*_VOID, *(_VOID_FOR_STAP if is_stap else ())):
        if config[name] == value:
            refuse_without_effect(config, without_effect, f"runs with {name}={value}")
