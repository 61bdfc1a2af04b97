"""What values the options of a run may have."""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from typing import Any

from recbole.evaluator import metric_types

from recbole_video.content_options import check_content, check_fusion
from recbole_video.errors import ConfigError, nearest
from recbole_video.item_encoders import ITEM_ENCODERS
from recbole_video.options import constructor_defaults

# Options of both tasks.
SHARED_CHOICES: dict[str, tuple[Any, ...]] = {
    "missing_items": ("error", "drop", "zero"),
    "frames_on_device": ("auto", True, False),
    "enable_amp": ("auto", True, False),
    "learner": ("adam", "adamw", "sgd", "adagrad", "rmsprop"),
    "lr_scheduler": ("constant", "linear", "cosine"),
}
_CHOICES: dict[str, tuple[Any, ...]] = {
    **SHARED_CHOICES,
    "protocol": ("microlens", "recbole"),
    "loss_type": ("in_batch", "CE", "BPR"),
    "id_fusion": ("none", "sum", "gate"),
}
# RecBole's options that would do nothing here: to accept them would be to mislead.
NO_EFFECT = frozenset([
    "worker", "save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path", "enable_scaler",
    "require_pow", "transform", "encoding", "neg_sampling", "training_neg_sample_num", "valid_metric_bigger",
    "seq_len", "LABEL_FIELD", "POSITION_FIELD", "NEG_PREFIX", "unused_col", "benchmark_filename",
    "additional_feat_suffix", "preload_weight", "threshold", "numerical_features", "discretization",
    "normalize_field", "normalize_all", "filter_inter_by_user_or_item", "repeatable",
])  # fmt: skip
# Options whose default does not show all that they may be.
_ANY_TYPE = frozenset(
    ["gpu_id", "topk", "metrics", "resume", "enable_amp", "frames_on_device", "hidden_act", "load_col"]
)
_POSITIVE_INTEGERS = (
    "epochs",
    "train_batch_size",
    "eval_batch_size",
    "eval_memory_mb",
    "eval_step",
    "encode_chunk",
)


# Sizes of RecBole's models and of item encoders, of those that a model has.
_SIZES = (
    "hidden_size", "inner_size", "embedding_size", "n_layers", "num_layers", "n_heads", "kernel_size", "block_num",
    "step", "k_interests", "prototype_size", "interest_size", "encoder_latent_dim", "encoder_n_latents",
    "encoder_n_heads", "encoder_head_dim", "encoder_query_dim", "encoder_expansion",
)  # fmt: skip
_SHARES = ("hidden_dropout_prob", "attn_dropout_prob", "dropout_prob", "mask_ratio", "ft_ratio")
_DEPTHS = ("n_layers", "num_layers", "block_num", "encoder_depth", "n_blocks")
_MOST_LAYERS = 1000  # each takes a moment to build
_LARGEST_SEED = 2**32 - 1  # NumPy's
_CLIPPING = frozenset(["max_norm", "norm_type", "error_if_nonfinite", "foreach"])
_INTERVALS = (
    "user_inter_num_interval",
    "item_inter_num_interval",
    "entity_kg_num_interval",
    "relation_kg_num_interval",
)
_INTERVAL = re.compile(
    r"[(\[]\s*[-+]?(?:[\d.]+(?:e[-+]?\d+)?|inf)\s*,\s*[-+]?(?:[\d.]+(?:e[-+]?\d+)?|inf)\s*[)\]]", re.I
)


def check_metrics(config: Any) -> None:
    """Refuse metrics that RecBole has not.

    Raises:
        ConfigError: On the first such metric, or if there is none at all.
    """
    if not config["metrics"]:
        raise ConfigError("`metrics` is empty; name at least one.")
    names = config["metrics"] if isinstance(config["metrics"], list) else [config["metrics"]]
    for name in names:
        if str(name).lower() not in metric_types:
            raise ConfigError(
                f"There is no metric named `{name}`{nearest(name, metric_types)}. Known: {', '.join(metric_types)}."
            )


def check_shared(config: Any) -> None:
    """Refuse values that no model can use, RecBole's own included.

    Raises:
        ConfigError: On the first such value.
    """
    check_metrics(config)
    if "MAX_ITEM_LIST_LENGTH" in config:
        check_positive(config, "MAX_ITEM_LIST_LENGTH")
    topk = config["topk"]
    top = topk if isinstance(topk, list) else [topk]
    if not top or not all(_is_number(k, int) for k in top):
        raise ConfigError(f"`topk` is `{topk}`; it is a list of whole numbers, such as [10, 20].")
    _check_clipping(config["clip_grad_norm"])
    _check_load_col(config["load_col"])
    for name in _INTERVALS:
        _check_interval(name, config[name])
    for field, interval in (config["val_interval"] or {}).items():
        _check_interval(f"val_interval {field}", interval)
    seed = config["seed"]
    if not (_is_number(seed, int) and 0 <= seed <= _LARGEST_SEED):
        raise ConfigError(f"`seed` is `{seed}`; it must be a whole number from 0 to {_LARGEST_SEED}.")


def _check_clipping(clip: Any) -> None:
    """What ``clip_grad_norm_`` takes; a norm below 0 would turn the gradient round."""
    if clip is None:
        return
    norms: list[Any] = [clip.get("max_norm"), clip.get("norm_type", 2.0)] if isinstance(clip, dict) else [None]
    if not (all(_is_number(n, (int, float)) and n > 0 for n in norms) and set(clip) <= _CLIPPING):
        raise ConfigError(
            f"`clip_grad_norm` is `{clip}`; it must be a dictionary such as {{'max_norm': 1.0}}, with numbers above 0."
        )


def _check_load_col(columns: Any) -> None:
    is_given = columns is not None
    if is_given and not (isinstance(columns, dict) and columns.get("inter")):
        raise ConfigError(
            f"`load_col` is `{columns}`; it names the fields to read of each file, such as "
            "{inter: [user_id, item_id, timestamp]}."
        )


def _check_interval(name: str, interval: Any) -> None:
    """RecBole's notation; it leaves out what it cannot read."""
    if interval is not None and not all(_INTERVAL.fullmatch(part.strip()) for part in str(interval).split(";")):
        raise ConfigError(
            f"`{name}` is `{interval}`; it must be an interval such as [5,inf), or several with ; between."
        )


def check_video_options(config: Any) -> None:
    """Refuse values that a video model cannot use, and options that do nothing for it.

    Args:
        config: The configuration, all layers merged.

    Raises:
        ConfigError: On the first such option.
    """
    refuse_without_effect(config, NO_EFFECT, "video models")
    check_content(config)
    check_fusion(config)
    encoder_defaults = constructor_defaults(ITEM_ENCODERS.get(config["item_encoder"]))
    follows_frames = {config.model_class.width_option} if config.keeps_frame_dim else set()  # no width: that of frames
    exempt = _ANY_TYPE | set(_CHOICES) | {name for name in follows_frames if config[name] is None}
    check_types(config, {**config.internal_config_dict, **encoder_defaults}, exempt)
    check_choices(config, _CHOICES)
    _check_choices(config)
    _check_ranges(config)
    _check_eval_args(config)
    _check_valid_metric(config)
    if config["item_encoder"] == "ID" and config["id_fusion"] != "none":
        raise ConfigError("`id_fusion` adds ids to content, and item_encoder=ID has no content; set one of them.")
    if config["content"] is not None and not config.reads_frames:
        raise ConfigError(
            f"`content` is what an item encoder reads, and item_encoder={config['item_encoder']} reads ids alone; "
            "leave it out, or choose another item encoder."
        )


def refuse_without_effect(config: Any, names: AbstractSet[str], models: str) -> None:
    """Refuse those of ``names`` that are given and differ from their default."""
    defaults = config.internal_config_dict
    for name in sorted(names & set(config.external_config_dict)):
        if config.external_config_dict[name] != defaults.get(name):
            raise ConfigError(f"`{name}` has no effect on {models}; remove it.")


def check_types(config: Any, defaults: dict[str, Any], exempt: AbstractSet[str]) -> None:
    """Compare each given value with the kind of value that the option has by default, but for ``exempt`` ones."""
    for name, value in config.external_config_dict.items():
        default = defaults.get(name)
        if default is None or name in exempt:
            continue
        kind, fits = _kind_of(default)
        if not fits(value):
            raise ConfigError(f"`{name}` is `{value}`; it must be {kind}, such as the default, `{default}`.")


def check_choices(config: Any, choices: dict[str, tuple[Any, ...]]) -> None:
    """Refuse values that are not among the ``choices`` of an option."""
    for name, allowed in choices.items():
        value = config[name]
        if not any(value is a or (isinstance(a, str) and value == a) for a in allowed):
            shown = ", ".join(map(str, allowed))
            raise ConfigError(f"`{name}` is `{value}`; it must be one of {shown}.")


def _check_choices(config: Any) -> None:
    if config["mask_history"] not in (None, True, False):
        raise ConfigError(f"`mask_history` is `{config['mask_history']}`; it must be True, False or empty.")
    groups = config["eval_groups"]
    if not isinstance(groups, list) or any(group not in ("popularity", "cold") for group in groups):
        raise ConfigError(f"`eval_groups` is `{groups}`; it is a list of: popularity, cold.")


def _check_ranges(config: Any) -> None:
    for name in _POSITIVE_INTEGERS:
        if name != "eval_batch_size" or config[name] is not None:
            check_positive(config, name)
    _check_sizes(config)
    for name in ("learning_rate", "weight_decay", "logq_power", "seed"):
        check_not_negative(config, name)
    if not 0 <= float(config["id_dropout"]) < 1:
        raise ConfigError(f"`id_dropout` is {config['id_dropout']}; it must be at least 0 and below 1.")
    if not 0 <= float(config["lr_warmup"]) <= 1:
        raise ConfigError(f"`lr_warmup` is {config['lr_warmup']}; it is a share of all steps, between 0 and 1.")
    if config["min_sequence_length"] < 3:
        raise ConfigError(
            f"`min_sequence_length` is {config['min_sequence_length']}; it must be at least 3: one action to "
            "train, one to validate and one to test."
        )


def _check_sizes(config: Any) -> None:
    """A model without a layer, a head or a width would fail in its first step, if not before."""
    for name in _SIZES:
        if name in config and config[name] is not None:
            check_positive(config, name)
    for name in _DEPTHS:
        if name in config and _is_number(config[name], int) and config[name] > _MOST_LAYERS:
            raise ConfigError(f"`{name}` is {config[name]}; it must be at most {_MOST_LAYERS}.")
    for name in _SHARES:
        if name in config and not (_is_number(config[name], (int, float)) and 0 <= config[name] <= 1):
            raise ConfigError(f"`{name}` is `{config[name]}`; it is a share, at least 0 and at most 1.")
    dilations = config["dilations"]
    if dilations is not None and not (dilations and all(_is_number(d, int) and d >= 1 for d in dilations)):
        raise ConfigError(f"`dilations` is `{dilations}`; it is a list of whole numbers of at least 1.")


def check_positive(config: Any, name: str) -> None:
    """Refuse what is no whole number of at least 1."""
    if not (_is_number(config[name], int) and config[name] >= 1):
        raise ConfigError(f"`{name}` is `{config[name]}`; it must be a whole number of at least 1.")


def check_not_negative(config: Any, name: str) -> None:
    """Refuse a negative number."""
    if config[name] < 0:
        raise ConfigError(f"`{name}` is {config[name]}; it must not be negative.")


def _check_eval_args(config: Any) -> None:
    args = config["eval_args"]
    if args["split"] != {"LS": "valid_and_test"} or args["order"] != "TO":
        raise ConfigError(
            "`eval_args` must be {'split': {'LS': 'valid_and_test'}, 'order': 'TO'}: video models are "
            f"tested on each user's last action, not with split {args['split']} and order {args['order']}."
        )
    if set(args["mode"].values()) != {"full"}:
        raise ConfigError(f"`eval_args` mode is {args['mode']}; video models rank the full catalogue: use full.")


def _check_valid_metric(config: Any) -> None:
    top_k = [f"{m.lower()}@{k}" for m in config["metrics"] for k in config["topk"]]
    computed = [*top_k, *(m.lower() for m in config["metrics"] if m.lower() == "gauc")]
    if str(config["valid_metric"]).lower() not in computed:
        raise ConfigError(
            f"`valid_metric` is `{config['valid_metric']}`, which is not computed; choose from "
            f"{', '.join(computed)}, or extend metrics and topk."
        )


def _kind_of(default: Any) -> tuple[str, Callable[[Any], bool]]:
    """In words, and as a test, what values an option with this default takes."""
    kinds: tuple[tuple[type, str, Callable[[Any], bool]], ...] = (
        (bool, "True or False", lambda v: isinstance(v, bool)),
        (int, "a whole number of at least 0", lambda v: _is_number(v, int) and v >= 0),
        (float, "a number", lambda v: _is_number(v, (int, float))),
        (list, "a list", lambda v: isinstance(v, list)),
        (dict, "a dictionary", lambda v: v is None or isinstance(v, dict)),
        (str, "a word", lambda v: v is None or isinstance(v, str)),
    )
    return next(((words, fits) for kind, words, fits in kinds if isinstance(default, kind)), ("", lambda _: True))


def _is_number(value: Any, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool)
