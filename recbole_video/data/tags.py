"""Tags of items: the words in a column of the ``.item`` file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from recbole_video.data.atomic_file import read_columns, read_header
from recbole_video.errors import ConfigError, DataError, nearest


@dataclass(frozen=True)
class ItemTags:
    """Which items have which tag, a pair a row.

    Attributes:
        items: [P] int64, item id.
        tags: [P] int64, place of the tag in :attr:`names`.
        names: The tags, in alphabetical order.
    """

    items: np.ndarray
    tags: np.ndarray
    names: tuple[str, ...]

    def items_with(self, tag: int) -> np.ndarray:
        """Ids of the items that have a tag, [n]."""
        return self.items[self.tags == tag]


def read_item_tags(config: Any, item_tokens: np.ndarray) -> ItemTags:
    """Read the column ``tag_field``: of type ``token_seq`` for several tags, of type ``token`` for one.

    Args:
        config: The run's configuration.
        item_tokens: Token of each item id, str [n_items]; id 0 is padding.

    Raises:
        ConfigError: If the column is not in the file, or no column of words.
        DataError: If there is no such file, or it cannot be read.
    """
    name, key, separator = config["tag_field"], config["ITEM_ID_FIELD"], config["field_separator"]
    path = Path(config["data_path"], f"{config['dataset']}.item")
    if not path.is_file():
        raise DataError(f"eval_groups=[tag] reads the tags of items in `{path}`, which does not exist.")
    types = {field.name: field.type for field in read_header(path, separator)}
    if not types.get(name, "").startswith("token"):
        of_words = [field for field, kind in types.items() if kind.startswith("token") and field != key]
        raise ConfigError(
            f"`tag_field` is `{name}`{nearest(str(name), of_words)}, which is no column of words in `{path}`; choose "
            f"from {', '.join(of_words) or 'none'}."
        )
    table = read_columns(path, {key, name}, set(), separator, may_be_empty=lambda field: field == name)
    words = table[name].str.split(config["seq_separator"]) if types[name] == "token_seq" else table[name].map(_alone)
    pairs = pd.DataFrame({"item": table[key], "tag": words}).explode("tag").dropna().drop_duplicates()
    ids = pd.Series(np.arange(1, len(item_tokens)), index=item_tokens[1:])
    pairs = pairs[(pairs["tag"] != "") & pairs["item"].isin(ids.index)]
    names, codes = np.unique(pairs["tag"].to_numpy(dtype=str), return_inverse=True)
    return ItemTags(ids[pairs["item"]].to_numpy(np.int64), codes.astype(np.int64), tuple(names.tolist()))


def _alone(word: str) -> list[str]:
    return [word]
