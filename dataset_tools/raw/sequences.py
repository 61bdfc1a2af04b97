"""Tables in which a row is a user and the list of all items that this user met, oldest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from recbole_video.dataset_tools.raw.columns import IdBuffer, Where
from recbole_video.dataset_tools.raw.lists import ListBuffer

from recbole_video.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class SequenceBuffer:
    """Collects users and their sequences, chunk by chunk.

    Args:
        separator: Between the items of sequences that are text; None to tell it from the column.
        where: Names the place of a row by its number in the index of a chunk.
    """

    def __init__(self, separator: str | None, where: Where) -> None:
        self._where = where
        self._users = IdBuffer()
        self._sequences = ListBuffer(False, separator)
        self._lines: list[int] = []
        self._item_column = ""

    def add(self, users: pd.Series, sequences: pd.Series) -> None:
        """Add some rows.

        Raises:
            DataError: Naming the first row whose user cannot be a token.
        """
        self._item_column = str(sequences.name)
        self._lines += users.index.tolist()
        if len(users):
            self._users.add(users, self._where)
            self._sequences.add(sequences, self._where)

    def table(self) -> dict[str, np.ndarray]:
        """``user_id`` and ``item_id`` of each interaction, object [interactions] of str, by row and position.

        Raises:
            DataError: Naming the row of a user that has another row, of a list that cannot be read, or of an item
                that cannot be a token.
        """
        import pandas as pd

        users, sequences = self._users.array(), self._sequences.array()
        self._check_once(users)
        lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
        items = IdBuffer()
        if lengths.sum():
            met = [item for sequence in sequences for item in sequence]
            lines = np.repeat(np.array(self._lines, dtype=np.int64), lengths)
            items.add(pd.Series(met, lines, dtype=object, name=self._item_column), self._where)
        return {"user_id": np.repeat(users, lengths), "item_id": items.array()}

    def _check_once(self, users: np.ndarray) -> None:
        """A user's second row could be a continuation or a copy, which the file does not tell."""
        first: dict[str, int] = {}
        for line, user in zip(self._lines, users.tolist(), strict=True):
            if first.setdefault(user, line) != line:
                raise DataError(
                    f"{self._where(line)}: user `{user}` has a sequence already, {self._where(first[user])}; keep one "
                    "row of each user."
                )
