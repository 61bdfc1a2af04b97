"""The command that turns texts of items into frame stores."""

from __future__ import annotations

import argparse
import logging
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from recbole_video.dataset_tools.output.summary import is_of_popularity, training_command
from recbole_video.dataset_tools.video import options
from recbole_video.dataset_tools.video.tfidf import TFIDF

from recbole_video.content.store import FrameStore, refuse_other_file, store_path, write_frame_blocks
from recbole_video.data.text import sidecar_path
from recbole_video.errors import ConfigError, DataError, counted

if TYPE_CHECKING:
    from recbole_video.dataset_tools.video.text_space import Read, Space

_STORE = "text"
_WORDS = "bert-words"  # named here as well as in frozen_layers, which takes PyTorch to import
_ENCODERS = ("uae", TFIDF, _WORDS)
# Options that --new takes from the store of the training; None where they are not given.
_SETTINGS = {"encoder": "uae", "dim": 128, "fields": ["title"], "parts": None, "n_parts": 5}
_N_WORDS = 64


class EmbedTextCommand:
    """Text of items -> text embeddings, one vector per item, as popularity models take them (STAP: UAE-Large-V1).

      embed-text --name microlens-100k                                       the titles
      embed-text --name shortvideo --fields title tags --store title-tags    titles and tags, as one text
      embed-text --name mine --encoder tfidf                                 no weights: TF-IDF and SVD
      embed-text --name mine --encoder tfidf --parts "#" --n_parts 5         what stands between #, a row each
      embed-text --name mine --new new_titles.csv --store new                texts that came later, in the same space
      embed-text --name mine --encoder bert-words --store tokens             a row per word piece, for ICPF

    Writes NAME.text.frames.npy and its manifest: a frame store with one row per item that has text, or one per part. Of
    tfidf, what was fitted lies beside it as NAME.text.tfidf.npz, by which --new embeds texts for a trained model.
    """

    HELP = "texts to text embeddings"

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Add the options of the command."""
        add = parser.add_argument
        add("--name", required=True, help="name of the data set")
        add("--out", type=Path, default=Path("dataset"), help="folder of data sets (default: dataset)")
        add("--text", type=Path, metavar="FILE", help="JSON lines with item_id (default: NAME.text.jsonl)")
        add("--fields", nargs="+", help="what to embed, joined (default: title)")
        add("--store", default="", help=f"name of the store (default: {_STORE})")
        add("--overwrite", action="store_true", help="replace an earlier store of that name")
        add(
            "--encoder",
            choices=_ENCODERS,
            help="uae (default); tfidf, without weights; or bert-words, for ICPF's full variant",
        )
        add("--dim", type=int, help="tfidf: width of an embedding (default: 128)")
        add("--parts", metavar="TEXT", help="embed apart what stands between this, as the # of hashtags")
        add(
            "--n_parts",
            type=int,
            help=f"parts to keep, the first ones (default: 5; of bert-words, word pieces: {_N_WORDS})",
        )
        add("--weights", metavar="PLACE", help="uae, bert-words: another language model: a folder or a hub id")
        add("--revision", help="its commit, tag or branch on the hub")
        add(
            "--new",
            type=Path,
            metavar="FILE",
            help="texts that came after the training, JSON lines or a csv with item_id, into a --store of their own: "
            "embedded as those of the store --like",
        )
        add("--like", metavar="STORE", help=f"with --new: the store of the training (default: {_STORE})")
        options.add_placement(parser)

    @staticmethod
    def run(arguments: argparse.Namespace) -> None:
        """Embed the texts of items and write the frame store."""
        from recbole_video.dataset_tools.video.text_space import Read, new_space, read_for, space_of
        from recbole_video.dataset_tools.video.texts import in_parts, read_new_texts, read_texts

        options.check_names(arguments)
        check_text_arguments(arguments)
        folder = arguments.out / arguments.name
        path = store_path(folder, arguments.name, arguments.store or _STORE)
        if path.exists() and not arguments.overwrite:
            raise DataError(f"`{path}` exists; give --overwrite to make it anew, or another --store.")
        refuse_other_file(path)
        if arguments.new is not None:
            trained = FrameStore(store_path(folder, arguments.name, arguments.like or _STORE))
            read = read_for(trained)
            items, texts = read_new_texts(arguments.new, read.fields)
            parts = [in_parts(text, read.parts, read.n_parts) for text in texts]
            space = space_of(trained, arguments, read, path)
        else:
            read = Read(arguments.fields, arguments.parts, arguments.n_parts)
            items, texts = read_texts(arguments.text or sidecar_path(folder, arguments.name), read.fields)
            parts = [in_parts(text, read.parts, read.n_parts) for text in texts]
            space = new_space(arguments, [part for text in parts for part in text], read, path)
        _write(path, items, parts, read, space)
        print(f"{counted(len(items), 'text is', 'texts are')} embedded in {path}.")
        if following := _next_command(arguments, folder, path):
            print(f"Next: {following}")


def _write(path: Path, items: list[str], parts: list[list[str]], read: Read, space: Space) -> None:
    from recbole_video.dataset_tools.video.text_space import noted_reading
    from recbole_video.dataset_tools.video.texts import embed_in_blocks, most_rows

    store = write_frame_blocks(
        path,
        items,
        most_rows(parts, space.encoder),
        space.encoder.dim,
        embed_in_blocks(parts, space.encoder),
        sampling=read.in_words,
        beside=space.beside,
        **noted_reading(read),
        **space.noted,
    )
    if without := int((~store.frames.any(axis=(1, 2))).sum()):
        logging.getLogger(__name__).warning(
            f"{counted(without, 'text has', 'texts have')} no word that was fitted, and rows of zeros in {path.name}."
        )


def _next_command(arguments: argparse.Namespace, folder: Path, path: Path) -> str | None:
    """What a store of texts is made for; None where that depends on labels to come."""
    if is_of_popularity(folder, arguments.name):
        return None
    if arguments.new is not None:
        return f'recbole-video recommend RUN_FOLDER --add_store={shlex.quote(str(path))} --history="ITEM ITEM"'
    if not (folder / f"{arguments.name}.inter").is_file():
        return None
    return training_command(folder, arguments.name, arguments.store or _STORE)


def check_text_arguments(arguments: argparse.Namespace) -> None:
    """Refuse arguments of ``embed-text`` that cannot be, or that do nothing, and fill in those that are not given.

    Raises:
        ConfigError: On the first of them.
    """
    if arguments.new is not None:
        _check_new(arguments)
    elif arguments.like is not None:
        raise ConfigError("--like is for --new, which embeds further texts as those of a store; leave it out.")
    if arguments.encoder == _WORDS:
        _check_words(arguments)
    for name, default in _SETTINGS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, default)
    for name in ("dim", "n_parts"):
        if getattr(arguments, name) < 1:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}; it must be at least 1.")
    if arguments.parts == "":
        raise ConfigError("--parts is empty; give what stands between two parts, or leave it out.")
    if arguments.encoder == TFIDF and (arguments.weights or arguments.revision):
        raise ConfigError("--weights and --revision are for --encoder uae and bert-words; tfidf has no weights.")


def _check_words(arguments: argparse.Namespace) -> None:
    """Word pieces are no parts, and BERT's marks are two of them."""
    for name in ("parts", "dim"):
        if getattr(arguments, name) is not None:
            raise ConfigError(f"--{name} has no effect with --encoder {_WORDS}, a row per word piece; leave it out.")
    if arguments.n_parts is None:
        arguments.n_parts = _N_WORDS
    if arguments.n_parts < 3:
        raise ConfigError(
            f"--n_parts is {arguments.n_parts}; of {_WORDS} it must be at least 3, of which two are BERT's marks."
        )


def _check_new(arguments: argparse.Namespace) -> None:
    like = arguments.like or _STORE
    for name in (*_SETTINGS, "text"):
        if getattr(arguments, name) is not None:
            why = (
                "the texts are in its FILE" if name == "text" else f"texts are embedded as those of the store `{like}`"
            )
            raise ConfigError(f"--{name} has no effect with --new: {why}; leave it out.")
    if arguments.store == like:
        raise ConfigError(f"--store is `{like}`, the store of the training; give new texts another one: --store=new.")
