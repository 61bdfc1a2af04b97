"""Default options as YAML: one file per model, item encoder and data set."""
