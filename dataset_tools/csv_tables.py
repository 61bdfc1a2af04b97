"""A csv file whose free text may be broken, as pyarrow tables, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recbole_video.dataset_tools.broken_csv import Block, Layout, Tally, mend, read_blocks

from recbole_video.errors import DataError, MissingDependencyError

if TYPE_CHECKING:
    import pyarrow as pa

_TRUE, _FALSE = ["True", "TRUE", "true", "1"], ["False", "FALSE", "false", "0"]
_PARSER_BYTES = 1 << 22  # small enough for each processor to get some of a block


def read_tables(
    path: Path, layout: Layout, columns: Sequence[str], tally: Tally, block_bytes: int = 1 << 24
) -> Iterator[tuple[pa.Table, int]]:
    """Read some columns of a file, block by block.

    Args:
        path: The csv file; its first line is the header.
        layout: Its columns.
        columns: Those to read: ``key`` and ``int`` as int64, ``number`` as float64, ``flag`` as bool, others as
            dictionaries of text. Empty cells are null, in text columns empty texts.
        tally: What had to be mended is added to it.
        block_bytes: Bytes that are read at once; memory is a small multiple of it.

    Yields:
        A table and how many bytes of the file it covers; nothing for a block without records.

    Raises:
        DataError: If a block cannot be read even line by line.
        MissingDependencyError: If pyarrow is not installed.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise MissingDependencyError(
            f"`{path}` needs pyarrow to be read: pip install 'recbole_video[data]'."
        ) from error
    for block in read_blocks(path, layout, block_bytes):
        mended, counts = mend(block, layout)
        try:
            table = _parse_block(mended, layout, columns)
        except pa.ArrowInvalid:
            mended, counts = mend(block, layout, careful=True)
            table = _parse_last(path, block, mended, layout, columns)
        tally.add(counts)
        if table is not None:
            yield table, len(block.data)


def _parse_last(path: Path, block: Block, mended: bytes, layout: Layout, columns: Sequence[str]) -> pa.Table | None:
    import pyarrow as pa

    try:
        return _parse_block(mended, layout, columns)
    except pa.ArrowInvalid as error:
        last = block.first_line + block.data.count(b"\n") - 1
        raise DataError(f"`{path}`, lines {block.first_line} to {last} cannot be read: {error}.") from error


def _parse_block(mended: bytes, layout: Layout, columns: Sequence[str]) -> pa.Table | None:
    """Parse what ``mend`` returned; None if it is empty."""
    import pyarrow as pa
    from pyarrow import csv as arrow_csv

    if not mended:
        return None
    text = pa.dictionary(pa.int32(), pa.string())
    types: dict[str, Any] = {"key": pa.int64(), "int": pa.int64(), "number": pa.float64(), "flag": pa.bool_()}
    table = arrow_csv.read_csv(
        pa.BufferReader(mended),
        read_options=arrow_csv.ReadOptions(column_names=list(layout.columns), block_size=_PARSER_BYTES),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=b'"' in mended),
        convert_options=arrow_csv.ConvertOptions(
            include_columns=list(columns),
            column_types={c: types.get(layout.kinds.get(c, "text"), text) for c in columns},
            null_values=[""],
            strings_can_be_null=False,
            true_values=_TRUE,
            false_values=_FALSE,
        ),
    )
    keys = [c for c in columns if layout.kinds.get(c) == "key"]
    if any(table[c].null_count for c in keys):
        raise pa.ArrowInvalid(f"a cell of {', '.join(keys)} is empty")
    return table.unify_dictionaries()
