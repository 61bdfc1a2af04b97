"""Names that become parts of paths and headers: plain ones only, so that nothing is written elsewhere or misread."""

from __future__ import annotations

import re

from recbole_video.arguments.tokens import CONTROL
from recbole_video.errors import DataError, RecBoleVideoError

_MOST_BYTES = 100  # a file has two such names, suffixes and a temporary ending; a file system takes 255 bytes
# What Windows takes for a device, whatever ending follows.
_DEVICE = re.compile(r"(?:con|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:\..*)?", re.IGNORECASE)


def check_file_name(name: str, what: str, refuse: type[RecBoleVideoError] = DataError) -> None:
    """Refuse what is not the name of one folder or file that can be seen.

    Args:
        name: The name, without folders.
        what: What it would name, for the message.
        refuse: The kind of error.

    Raises:
        RecBoleVideoError: If it is empty or too long, begins with a dot, a minus sign or a tilde, begins or ends with
            a blank, is that of a device on Windows, or holds a separator of paths or a control character.
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
    if name[0] in "-~":
        return "begins with a minus sign or a tilde, which commands take for something else"
    if _DEVICE.fullmatch(name):
        return "is the name of a device on Windows"
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
