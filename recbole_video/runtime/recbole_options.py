"""What RecBole's YAML files do not say of its options; a test compares this with its files and its sources."""

from __future__ import annotations

# Options that RecBole or this package reads and that none of its files lists.
UNLISTED = frozenset([
    "model", "dataset", "config_files", "config_file", "data_path", "tail_ratio", "encoding", "valid_metric_bigger",
    "ip", "port", "world_size", "group_offset", "offset", "local_rank", "neg_sampling",
    "training_neg_sample_num",
])  # fmt: skip
# Of each of its models, by the class that reads them.
_READ_BY = {
    "AutoInt": ("has_residual",),
    "BERT4Rec": ("MASK_INDEX", "MASK_ITEM_SEQ", "NEG_ITEMS", "POS_ITEMS"),
    "ContextRecommender": ("double_tower", "embedding_size"),
    "DiffRec": ("norm",),
    "FEARec": ("contrast", "sim", "tau"),
    "HRM": ("reg_weight",),
    "KD_DAGFM": ("feature_num",),
    "SHAN": ("INVERSE_ITEM_SEQ",),
}
UNLISTED_OF_MODELS = frozenset(name for names in _READ_BY.values() for name in names)
# Folders and files.
PATHS = frozenset([
    "data_path", "checkpoint_dir", "dataset_save_path", "dataloaders_save_path", "pre_model_path", "pretrain_path",
    "mf_pretrain_path", "mlp_pretrain_path", "warm_up", "xgb_model",
])  # fmt: skip
# Names of things, columns, and words to choose from: what has text by default, or nothing where text may be.
TEXT = PATHS | frozenset([
    "model", "dataset", "learner", "valid_metric", "state", "wandb_project", "loss_type",
    # of atomic files
    "USER_ID_FIELD", "ITEM_ID_FIELD", "RATING_FIELD", "TIME_FIELD", "LABEL_FIELD", "NEG_PREFIX",
    "ITEM_LIST_LENGTH_FIELD", "LIST_SUFFIX", "POSITION_FIELD", "HEAD_ENTITY_ID_FIELD", "TAIL_ENTITY_ID_FIELD",
    "RELATION_ID_FIELD", "ENTITY_ID_FIELD", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval",
    "entity_kg_num_interval", "relation_kg_num_interval",
    # of models
    "accum", "ae_act_func", "aggregator", "aggregator_type", "algorithm", "dnn_type", "fredom_type", "gru_type",
    "hid_activation", "hidden_act", "ind", "inter_matrix_type", "item_attribute", "knn_method", "loss_function",
    "mean_type", "mlp_act_func", "neigh_info_method", "noise_schedule", "out_activation", "partition_merging_mode",
    "phase", "pooling_mode", "pooling_type", "pooling_type_layer_1", "pooling_type_layer_2", "reranker_merging_mode",
    "structure", "teacher", "train_method", "train_stage", "transform", "type", "weight_mode",
])  # fmt: skip
# Text that may be left empty, whatever it is by default.
MAY_BE_EMPTY = frozenset([
    "transform", "rm_dup_inter", "user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval",
    "relation_kg_num_interval", "dataset_save_path", "dataloaders_save_path", "pre_model_path", "pretrain_path",
    "mf_pretrain_path", "mlp_pretrain_path", "xgb_model",
])  # fmt: skip
# Lists of names, and lists of names by name.
TEXT_LISTS = frozenset([
    "config_files", "metrics", "load_col", "unload_col", "unused_col", "alias_of_user_id", "alias_of_item_id",
    "alias_of_entity_id", "alias_of_relation_id", "normalize_field", "numerical_features", "selected_features",
    "additional_feat_suffix", "benchmark_filename", "preload_weight",
])  # fmt: skip
# Text that is written as a literal, "\t" for one.
NOTATION = frozenset(["field_separator", "seq_separator"])
# What may be of another kind than its default.
ANY_KIND = frozenset(["gpu_id", "load_col", "hidden_act", "topk", "metrics"])
# Options that would do nothing in runs of this package's models.
WITHOUT_EFFECT = frozenset([
    "worker", "save_dataset", "dataset_save_path", "save_dataloaders", "dataloaders_save_path", "enable_scaler",
    "require_pow", "transform", "encoding", "neg_sampling", "training_neg_sample_num", "valid_metric_bigger",
    "seq_len", "LABEL_FIELD", "POSITION_FIELD", "NEG_PREFIX", "unused_col", "benchmark_filename",
    "additional_feat_suffix", "preload_weight", "threshold", "numerical_features", "discretization",
    "normalize_field", "normalize_all", "filter_inter_by_user_or_item", "repeatable",
])  # fmt: skip
# Sizes of its models, of those that a model has: a model without a layer, a head or a width fails in its first step.
SIZES = frozenset([
    "hidden_size", "inner_size", "embedding_size", "n_layers", "num_layers", "n_heads", "kernel_size", "block_num",
    "step", "k_interests", "prototype_size", "interest_size", "eval_step",
    "MAX_ITEM_LIST_LENGTH",
])  # fmt: skip
LAYERS = frozenset(["n_layers", "num_layers", "block_num"])
SHARES = frozenset(["hidden_dropout_prob", "attn_dropout_prob", "dropout_prob", "mask_ratio", "ft_ratio"])
INTERVALS = (
    "user_inter_num_interval", "item_inter_num_interval", "entity_kg_num_interval", "relation_kg_num_interval",
)  # fmt: skip


def names_read_by(model_class: type) -> frozenset[str]:
    """Options that a model of RecBole, or one made from it, reads though no file lists them."""
    ancestors = (cls for cls in model_class.__mro__ if cls.__module__.startswith("recbole."))
    return frozenset(name for cls in ancestors for name in _READ_BY.get(cls.__name__, ()))
