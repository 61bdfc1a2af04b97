"""Names that become parts of paths and headers: plain ones only, so that nothing is written elsewhere or misread."""

from __future__ import annotations

import re

from recbole_video.errors import DataError, RecBoleVideoError

_MOST_BYTES = 100  # a file has two such names, suffixes and a temporary ending; a file system takes 255 bytes
# Control characters, line ends of Unicode and halves of surrogate pairs.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def check_file_name(name: str, what: str, refuse: type[RecBoleVideoError] = DataError) -> None:
    """Refuse what is not the name of one folder or file that can be seen.

    Args:
        name: The name, without folders.
        what: What it would name, for the message.
        refuse: The kind of error.

    Raises:
        RecBoleVideoError: If it is empty or too long, begins with a dot, begins or ends with a blank, or holds a
            separator of paths or a control character.
    """
    problem = _problem(name)
    if problem:
        raise refuse(f"`{name}` cannot be the name of {what}: it {problem}; give a plain name.")


def _problem(name: str) -> str | None:
    if not name:
        return "is empty"
    if "/" in name or "\\" in name:
        return "holds a separator of folders"
    if CONTROL.search(name):
        return "holds a control character"
    if name.startswith(".") or name != name.strip():
        return "begins with a dot, or begins or ends with a blank"
    return f"has more than {_MOST_BYTES} bytes" if len(name.encode()) > _MOST_BYTES else None


def check_column_name(name: str, refuse: type[RecBoleVideoError] = DataError) -> None:
    """Refuse the name of a column that the header ``name:type`` of an atomic file cannot hold.

    Raises:
        RecBoleVideoError: If it is empty, has blanks around it, or holds a colon, a quote or a control character.
    """
    if not name or name != name.strip() or ":" in name or '"' in name or CONTROL.search(name):
        raise refuse(
            f"`{name}` cannot be the name of a column: the header of an atomic file takes no colon, quote, tab or line "
            "break in it, and no blank around it; give another name."
        )
