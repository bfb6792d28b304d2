"""One picture of what a comparison of two manifests added and removed, to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lifeos import files
from lifeos.errors import InputError
from lifeos.escaping import escape_line
from lifeos.file_names import system_name, system_path
from lifeos.images import ImageError, read_picture
from tools.dataset.compare import DatasetComparison

if TYPE_CHECKING:
    from PIL import Image as PillowImage

TILE, LABEL, GAP, COLUMNS = 200, 18, 8, 6
MAX_TILES = 120
"""Of each group: more is a wall of stamps, and the text report names them all."""

ADDED, REMOVED, INK, PAPER, EMPTY = (46, 125, 50), (183, 28, 28), (33, 33, 33), (255, 255, 255), (224, 224, 224)


@dataclass(frozen=True, slots=True)
class _Group:
    title: str
    color: tuple[int, int, int]
    names: Sequence[str]
    folder: Path


def write_contact_sheet(
    path: Path,
    comparison: DatasetComparison,
    old: dict[str, Any],
    new: dict[str, Any],
    *,
    old_dir: Path | None = None,
    new_dir: Path | None = None,
) -> None:
    """Write the sheet as PNG or JPEG by the file's name. A picture that is no longer there is an empty tile that says so."""
    if path.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(path, "a contact sheet is a picture", "name it .png or .jpg")
    groups = [
        _Group("added", ADDED, comparison.files_of(comparison.images_added, new), new_dir or system_path(new["dataset_dir"])),
        _Group("removed", REMOVED, comparison.files_of(comparison.images_removed, old), old_dir or system_path(old["dataset_dir"])),
    ]
    sheet = _draw(groups)
    stream = io.BytesIO()
    sheet.save(stream, "PNG" if path.suffix.lower() == ".png" else "JPEG")
    files.write_bytes(path, stream.getvalue())


def _draw(groups: Sequence[_Group]) -> PillowImage.Image:
    from PIL import Image, ImageDraw

    heights = [LABEL + GAP + -(-max(1, min(len(group.names), MAX_TILES)) // COLUMNS) * (TILE + LABEL + GAP) for group in groups]
    sheet = Image.new("RGB", (COLUMNS * (TILE + GAP) + GAP, sum(heights) + GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    top = GAP
    for group, height in zip(groups, heights, strict=True):
        more = f", the first {MAX_TILES} shown" if len(group.names) > MAX_TILES else ""
        draw.text((GAP, top), f"{len(group.names)} {group.title}{more}", fill=group.color)
        for index, name in enumerate(group.names[:MAX_TILES]):
            left = GAP + index % COLUMNS * (TILE + GAP)
            upper = top + LABEL + GAP + index // COLUMNS * (TILE + LABEL + GAP)
            draw.rectangle((left, upper, left + TILE - 1, upper + TILE - 1), fill=EMPTY, outline=group.color, width=3)
            tile = _thumbnail(group.folder / system_name(name))
            if tile is None:
                draw.text((left + 10, upper + TILE // 2), "not there, or unreadable", fill=INK)
            else:
                sheet.paste(tile, (left + (TILE - tile.width) // 2, upper + (TILE - tile.height) // 2))
            draw.text((left, upper + TILE + 2), _label(name), fill=INK)
        top += height
    return sheet


def _label(name: str) -> str:
    # the built-in font knows Latin-1 only
    text = escape_line(name.rpartition("/")[2]).encode("latin-1", "replace").decode("latin-1")
    return text if len(text) <= 30 else f"{text[:14]}...{text[-13:]}"


def _thumbnail(path: Path) -> PillowImage.Image | None:
    from PIL import Image

    try:
        image = Image.fromarray(read_picture(path).rgb)
    except ImageError:
        return None
    image.thumbnail((TILE - 8, TILE - 8))
    return image
