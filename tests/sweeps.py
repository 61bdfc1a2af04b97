"""Small sweeps of the tiny data set."""

import yaml

from .conftest import small_options


def write_sweep(path, data_root, base=(), **keys):
    options = {k: v for k, v in small_options(data_path=str(data_root)).items() if k != "show_progress"}
    path.write_text(yaml.safe_dump({"base": {"model": "SASRec", "dataset": "tiny", **options, **dict(base)}, **keys}))
    return path
