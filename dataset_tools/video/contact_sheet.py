"""A picture of what the model sees: all frames that were decoded of a video, the chosen ones marked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from recbole_video.dataset_tools.video.decode import Frames

from recbole_video.files.atomic import write_atomically
from recbole_video.runtime.dependencies import import_optional

_COLUMNS = 10
_WIDTH = 160  # pixels of a frame
_MAX_HEIGHT = 284
_LINE = 18  # pixels of a line of text
_GAP = 6
_WIDE_FONTS = (
    "Noto Sans CJK",
    "Source Han Sans",
    "WenQuanYi",
    "PingFang",
    "Microsoft YaHei",
    "SimHei",
    "Arial Unicode",
)
_PAPER, _INK, _MARK = (255, 255, 255), (40, 40, 40), (220, 60, 30)


def write_contact_sheet(
    path: Path, caption: str, frames: Frames, chosen: np.ndarray, similarity: np.ndarray | None
) -> None:
    """Write a contact sheet as PNG.

    Under each frame stand its time and, where it was measured, its similarity to the title.

    Args:
        path: The PNG file.
        caption: Text at the top.
        frames: The decoded frames, n of them.
        chosen: Positions of the chosen ones.
        similarity: [n]; None where none was measured.

    Raises:
        MissingDependencyError: Without Pillow.
    """
    sheet = draw_contact_sheet(caption, frames, chosen, similarity)
    write_atomically(path, lambda file: sheet.save(file, format="PNG"))


def draw_contact_sheet(caption: str, frames: Frames, chosen: np.ndarray, similarity: np.ndarray | None) -> Any:
    """Draw the sheet of :func:`write_contact_sheet`, a picture of Pillow."""
    import_optional("PIL", "Contact sheets need Pillow; uv pip install -e '.[video]' in the checkout.")
    from PIL import Image, ImageDraw

    n, height, width, _ = frames.pictures.shape
    cell = _cell(width, height)
    columns = min(_COLUMNS, n)
    size = columns * (_WIDTH + _GAP) + _GAP, 2 * _LINE + -(-n // columns) * (cell[1] + _LINE + _GAP)
    sheet = Image.new("RGB", size, _PAPER)
    draw = ImageDraw.Draw(sheet)
    font = _font(caption)
    caption = _shortened(caption, size[0] - 2 * _GAP, lambda text: draw.textlength(text, font=font))
    draw.text((_GAP, _GAP), caption, fill=_INK, font=font)
    marked = set(chosen.tolist())
    for position in range(n):
        left, top = _corner(position, columns, cell[1])
        sheet.paste(Image.fromarray(frames.pictures[position]).resize(cell), (left, top))
        text = f"{frames.times[position]:.2f} s" + ("" if similarity is None else f"  {similarity[position]:.3f}")
        draw.text((left, top + cell[1] + 2), text, fill=_MARK if position in marked else _INK)
        if position in marked:
            draw.rectangle((left - 2, top - 2, left + cell[0] + 1, top + cell[1] + 1), outline=_MARK, width=4)
    return sheet


def _cell(width: int, height: int) -> tuple[int, int]:
    """Width and height of a frame on the sheet: narrower where it would be too tall."""
    scale = min(_WIDTH / width, _MAX_HEIGHT / height)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _font(text: str) -> Any:
    """A font that has the text's characters: Pillow's own is Latin, so that others need one of the system."""
    from PIL import ImageFont

    if text.isascii():
        return ImageFont.load_default()
    from matplotlib import font_manager

    wanted = [font for font in font_manager.fontManager.ttflist if font.name.startswith(_WIDE_FONTS)]
    return ImageFont.truetype(wanted[0].fname, 12) if wanted else ImageFont.load_default()


def _shortened(text: str, width: int, length: Callable[[str], float]) -> str:
    """The text, cut to ``width`` pixels."""
    text = " ".join(text.split())
    while length(text) > width:
        text = text[: max(1, int(len(text) * width / length(text)) - 4)] + " ..."
    return text


def _corner(position: int, columns: int, height: int) -> tuple[int, int]:
    """Left and top of a frame's picture, in pixels."""
    row, column = divmod(position, columns)
    return _GAP + column * (_WIDTH + _GAP), 2 * _LINE + row * (height + _LINE + _GAP)
