"""Text of items -> text embeddings, one vector per item, as popularity models take them (STAP: UAE-Large-V1).

  embed-text --name microlens-100k                                       the titles
  embed-text --name shortvideo --fields title tags --store title-tags    titles and tags, as one text

Writes NAME.text.frames.npy and its manifest: a frame store with one row per item that has text.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.video import options

from recbole_video.content.store import FrameBlock, refuse_other_file, store_path, write_frame_blocks
from recbole_video.data.text import read_text_rows, sidecar_path
from recbole_video.errors import DataError, counted

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.text_encoder import TextEncoder

HELP = "texts to text embeddings"
_BLOCK = 4096  # texts that are sorted by length together, so that a batch has little padding


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command."""
    parser.add_argument("--name", required=True, help="name of the data set")
    parser.add_argument("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
    parser.add_argument("--text", type=Path, metavar="FILE", help="JSON lines with item_id (default: NAME.text.jsonl)")
    parser.add_argument("--fields", nargs="+", default=["title"], help="what to embed, joined (default: title)")
    parser.add_argument("--store", default="text", help="name of the store (default: text)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier store of that name")
    parser.add_argument("--weights", metavar="PLACE", help="another language model: a folder or a hub id")
    parser.add_argument("--revision", help="its commit, tag or branch on the hub")
    options.add_placement(parser)


def run(arguments: argparse.Namespace) -> None:
    """Embed the texts."""
    from recbole_video.dataset_tools.video.text_encoder import UAE, TextEncoder
    from recbole_video.dataset_tools.video.weights import find_weights

    options.check_names(arguments)
    folder = arguments.out / arguments.name
    path = store_path(folder, arguments.name, arguments.store)
    if path.exists() and not arguments.overwrite:
        raise DataError(f"`{path}` exists; give --overwrite to make it anew, or another --store.")
    refuse_other_file(path)
    items, texts = read_texts(arguments.text or sidecar_path(folder, arguments.name), arguments.fields)
    weights = find_weights(UAE.at(arguments.weights, arguments.revision))
    encoder = TextEncoder(weights, options.placement(arguments))
    write_frame_blocks(
        path,
        items,
        1,
        encoder.dim,
        _blocks(texts, encoder),
        vfm=weights.name,
        sampling="+".join(arguments.fields),
        **weights.as_plain(),
    )
    print(f"{counted(len(items), 'text is', 'texts are')} embedded in {path}.")


def read_texts(path: Path, fields: Sequence[str]) -> tuple[list[str], list[str]]:
    """Read each item's text: the fields that it has, lists joined by commas, joined by full stops.

    Returns:
        Item tokens and texts; items without text are left out.

    Raises:
        DataError: If there is no file, a line is malformed, or no item has any of the fields.
    """
    if not path.is_file():
        raise DataError(f"There is no text `{path}`; a converter writes it, or give one with --text.")
    items, texts, known = [], [], set()
    for _, row in read_text_rows(path):
        known.update(row)
        if text := ". ".join(filter(None, (_as_text(row.get(field)) for field in fields))):
            items.append(row["item_id"])
            texts.append(text)
    if unknown := sorted(set(fields) - known):
        raise DataError(f"No row of `{path}` has `{unknown[0]}`; there are {', '.join(sorted(known - {'item_id'}))}.")
    if not texts:
        raise DataError(f"No row of `{path}` has text in {', '.join(fields)}.")
    return items, texts


def _as_text(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value or "").strip()


def _blocks(texts: list[str], encoder: TextEncoder) -> Iterator[FrameBlock]:
    from tqdm import tqdm

    with tqdm(total=len(texts), desc="texts", unit="text", disable=None) as bar:
        for start in range(0, len(texts), _BLOCK):
            block = texts[start : start + _BLOCK]
            order = np.argsort([len(text) for text in block], kind="stable")
            for rows in np.array_split(order, -(-len(order) // encoder.batch_size)):
                yield FrameBlock(
                    start + rows, encoder.embed([block[row] for row in rows])[:, None], np.ones(len(rows), np.int64)
                )
                bar.update(len(rows))
