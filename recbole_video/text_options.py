"""Which options are text, declared once: a name stays what was written, though it looks like a number or a boolean.

``--label=2024_01`` is no 202401, ``dataset: no`` no False, and ``--frame_store=007`` keeps its zeros.
"""

from __future__ import annotations

import ast
import numbers
import os
from collections.abc import Set as AbstractSet
from pathlib import PurePath
from typing import Any

import yaml

from recbole_video.errors import ConfigError

# Folders and files; `~` at their start is the home folder.
PATH_OPTIONS = frozenset([
    "data_path", "checkpoint_dir", "log_dir", "tensorboard_dir", "dataset_save_path", "dataloaders_save_path",
    "frame_store", "text_store", "resume", "sweep", "report", "out",
    # of RecBole's models
    "pre_model_path", "pretrain_path", "mf_pretrain_path", "mlp_pretrain_path", "warm_up", "xgb_model",
])  # fmt: skip
# Names of things, columns, and words to choose from.
_NAMES = frozenset([
    "model", "dataset", "item_encoder", "label", "variant", "preset", "metadata", "cold_author_column",
    "cold_author_count", "protocol", "loss_type", "id_fusion", "missing_items", "missing_text", "label_norm",
    "regression_loss", "metric_batching", "learner", "lr_scheduler", "valid_metric", "state", "wandb_project",
    "encoder_variant", "search", "ray_address", "content_fusion",
    # of STAP
    "balance_kl", "delta_bound", "dppo_pairs", "dppo_support", "fusion", "memory", "memory_init_space",
    "memory_update", "pos_encoding", "prior_order", "routing_grad", "scorer", "ssm_step_mode", "temporal",
    "temporal_blocks", "topic_clustering", "window_mask", "window_signal",
    # of atomic files
    "USER_ID_FIELD", "ITEM_ID_FIELD", "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD", "NEG_PREFIX",
    "ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD", "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD",
    "RELATION_ID_FIELD", "ENTITY_ID_FIELD", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval",
    "entity_kg_num_interval", "relation_kg_num_interval",
    # of RecBole's models
    "accum", "ae_act_func", "aggregator", "aggregator_type", "algorithm", "dnn_type", "fredom_type", "gru_type",
    "hid_activation", "ind", "inter_matrix_type", "item_attribute", "knn_method", "loss_function", "mean_type",
    "mlp_act_func", "neigh_info_method", "noise_schedule", "out_activation", "partition_merging_mode", "phase",
    "pooling_mode", "pooling_type", "pooling_type_layer_1", "pooling_type_layer_2", "reranker_merging_mode",
    "structure", "teacher", "train_method", "train_stage", "transform", "type", "weight_mode",
])  # fmt: skip
TEXT_OPTIONS = PATH_OPTIONS | _NAMES
# Lists of names, and lists of names by name.
TEXT_LISTS = frozenset([
    "config_files", "metrics", "eval_groups", "metadata_numeric", "metadata_categorical", "load_col", "unload_col",
    "unused_col", "content",
    "alias_of_user_id", "alias_of_item_id", "alias_of_entity_id", "alias_of_relation_id", "normalize_field",
    "numerical_features", "selected_features", "additional_feat_suffix", "benchmark_filename", "preload_weight",
])  # fmt: skip
# Text that may be left empty; what else is text is needed.
MAY_BE_EMPTY = frozenset([
    "label", "frame_store", "text_store", "preset", "cold_author_column", "transform", "resume", "rm_dup_inter",
    "user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval", "relation_kg_num_interval",
    "dataset_save_path", "dataloaders_save_path", "pre_model_path", "pretrain_path", "mf_pretrain_path",
    "mlp_pretrain_path", "xgb_model", "content", "content_fusion",
])  # fmt: skip
# Text, or True or False.
TEXT_OR_SWITCH = frozenset(["resume"])

_EMPTY_WORDS = ("", "~", "None")
_SWITCH_WORDS = {"True": True, "true": True, "False": False, "false": False}
# What YAML reads out of a word that is not in quotes.
_IMPLICIT_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("bool", "float", "int", "merge", "timestamp"))
_NULL = "tag:yaml.org,2002:null"
_BOOL = "tag:yaml.org,2002:bool"
_TEXT = "tag:yaml.org,2002:str"


def text_from_word(name: str, word: str) -> str | bool | None:
    """The value of a text option as it was written on the command line: quotes around all of it are taken off."""
    if name in TEXT_OR_SWITCH and word in _SWITCH_WORDS:
        return _SWITCH_WORDS[word]
    if name in MAY_BE_EMPTY and word in _EMPTY_WORDS:
        return None
    if len(word) > 1 and word[0] == word[-1] and word[0] in "'\"":
        try:
            return str(ast.literal_eval(word))
        except (ValueError, SyntaxError):
            return word
    return word


def text_from_value(name: str, value: Any) -> Any:
    """The value of a text option, or of a list of texts, as a program gave it: a whole number becomes its digits.

    Raises:
        ConfigError: If it is a fraction or a boolean, of which nobody knows how they were written.
    """
    if value is None or isinstance(value, str) or (name == "model" and isinstance(value, type)):
        return value
    if isinstance(value, PurePath) or (isinstance(value, numbers.Integral) and not isinstance(value, bool)):
        return str(value)
    if name in TEXT_OR_SWITCH and isinstance(value, bool):
        return value
    if name in TEXT_LISTS and isinstance(value, (list, tuple)):
        return [text_from_value(name, inner) for inner in value]
    if name in TEXT_LISTS and isinstance(value, dict):
        return {text_from_value(name, key): text_from_value(name, inner) for key, inner in value.items()}
    what = "True, False or text" if name in TEXT_OR_SWITCH else "text"
    raise ConfigError(f"`{name}` is `{value}`; it must be {what}: write it in quotes.")


def keep_text(node: yaml.Node, names: AbstractSet[str] = TEXT_OPTIONS | TEXT_LISTS, deep: bool = False) -> yaml.Node:
    """Let YAML read the values of text options, and all keys, as they are written.

    Args:
        node: A document, composed and not yet made into values.
        names: Keys whose values are text.
        deep: Look for those keys at any depth, not in the outermost lines alone.
    """
    if isinstance(node, yaml.SequenceNode) and deep:
        return _with_value(node, [keep_text(inner, names, deep) for inner in node.value])
    if not isinstance(node, yaml.MappingNode):
        return node
    pairs = []
    for key, value in node.value:
        is_text = isinstance(key, yaml.ScalarNode) and key.value in names
        below = keep_text(value, names, deep) if deep else value
        pairs.append((_key(key), _text_or_empty(value, key.value) if is_text else below))
    return _with_value(node, pairs)


def _text_or_empty(node: yaml.Node, name: str) -> yaml.Node:
    may_be_empty = name in MAY_BE_EMPTY | TEXT_LISTS
    return node if may_be_empty and node.tag == _NULL and node.value == "null" else _as_text(node, name)


def _as_text(node: yaml.Node, name: str) -> yaml.Node:
    if isinstance(node, yaml.SequenceNode):
        return _with_value(node, [_as_text(inner, name) for inner in node.value])
    if isinstance(node, yaml.MappingNode):
        return _with_value(node, [(_key(key), _as_text(value, name)) for key, value in node.value])
    if name in TEXT_OR_SWITCH and node.tag == _BOOL:
        return node
    is_word = node.tag == _NULL and node.value not in ("", "~")
    return yaml.ScalarNode(_TEXT, node.value) if is_word or node.tag in _IMPLICIT_TAGS else node


def _key(node: yaml.Node) -> yaml.Node:
    is_merge = node.tag == "tag:yaml.org,2002:merge"
    return node if is_merge or not isinstance(node, yaml.ScalarNode) else yaml.ScalarNode(_TEXT, node.value)


def _with_value(node: Any, value: list[Any]) -> yaml.Node:
    return type(node)(node.tag, value, node.start_mark, node.end_mark)


def expand_home(name: str, value: Any) -> Any:
    """``value`` with the home folder in the place of ``~``, if the option is a path."""
    is_path = name in PATH_OPTIONS and isinstance(value, str)
    return os.path.expanduser(value) if is_path else value  # noqa: PTH111 - of an unknown user it stays as it is
