"""A csv file whose free text may be broken, as pyarrow tables, block by block."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from recbole_video.dataset_tools.raw.broken_csv import Block, Layout, Tally, halve, mend, read_blocks

from recbole_video.errors import DataError
from recbole_video.runtime.dependencies import import_optional

if TYPE_CHECKING:
    import pyarrow as pa

_TRUE, _FALSE = ["True", "TRUE", "true", "1"], ["False", "FALSE", "false", "0"]
_CAREFUL_BYTES = 1 << 16  # what is read line by line around a line that cannot be parsed
_CSV_COLUMN = re.compile(r"In CSV column #(\d+): ")
_PARSER_BYTES = 1 << 22  # small enough for each processor to get some of a block


def read_tables(
    path: Path,
    layout: Layout,
    columns: Sequence[str],
    tally: Tally,
    progress: Callable[[int], object] = lambda n_bytes: None,
    block_bytes: int = 1 << 24,
) -> Iterator[pa.Table]:
    """Read some columns of a file, block by block.

    Args:
        path: The csv file; its first line is the header.
        layout: Its columns.
        columns: Those to read: ``key`` and ``int`` as int64, ``number`` as float64, ``flag`` as bool, others as
            dictionaries of text. Empty cells are null, in text columns empty texts.
        tally: How the records were read is added to it.
        progress: Called with the bytes of each block that has been read.
        block_bytes: Bytes that are read at once; memory is a small multiple of it.

    Raises:
        DataError: If lines cannot be read even one by one.
        MissingDependencyError: If pyarrow is not installed.
    """
    import_optional("pyarrow", f"`{path}` needs pyarrow to be read: uv pip install -e '.[data]' in the checkout.")
    for block in read_blocks(path, layout, block_bytes):
        for table, counts in _tables_of(path, block, layout, columns):
            tally.add(counts)
            if table is not None:
                yield table
        progress(len(block.data))


def _tables_of(
    path: Path, block: Block, layout: Layout, columns: Sequence[str]
) -> Iterator[tuple[pa.Table | None, Tally]]:
    """The records of a block. Around a line that only looks sound, ever smaller parts are tried."""
    import pyarrow as pa

    mended, counts = mend(block, layout)
    try:
        yield _parse_block(mended, layout, columns), counts
        return
    except pa.ArrowInvalid:
        parts = halve(block, layout) if len(block.data) > _CAREFUL_BYTES else [block]
    if len(parts) > 1:
        for part in parts:
            yield from _tables_of(path, part, layout, columns)
        return
    mended, counts = mend(block, layout, careful=True)
    try:
        yield _parse_block(mended, layout, columns), counts
        return
    except pa.ArrowInvalid as error:
        fault = error
    parts = halve(block, layout)
    if len(parts) == 1:
        last = block.first_line + max(block.data.count(b"\n") - 1, 0)
        place = f"line {last}" if last == block.first_line else f"lines {block.first_line} to {last}"
        raise DataError(f"`{path}`, {place}: {_reason(fault, layout)}; mend or remove the record.")
    for part in parts:
        yield from _tables_of(path, part, layout, columns)


def _reason(error: Exception, layout: Layout) -> str:
    """What pyarrow has to say of a record, with the name of the column for its number."""
    said = str(error).splitlines()[0].rstrip(".")
    match = _CSV_COLUMN.match(said)
    return f"column `{layout.columns[int(match[1])]}`, {said[match.end() :]}" if match else said


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
    for name in columns:
        kind = layout.kinds.get(name)
        if kind == "key" and table[name].null_count:
            raise pa.ArrowInvalid(f"the cell of `{name}` is empty")
        if kind == "number" and not np.isfinite(table[name].drop_null().to_numpy()).all():
            raise pa.ArrowInvalid(f"the number in `{name}` is beyond what a float holds")
    return table.unify_dictionaries()
