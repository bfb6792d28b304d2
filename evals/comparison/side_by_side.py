"""The sheet that people really look at: both versions' pictures of one prompt and seed side by side, largest change first."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evals.comparison.comparing import VersionComparison
from evals.comparison.picture_pairs import pair_title, picture_overall
from evals.comparison.run_pictures import is_unchanged
from evals.comparison.runs import RowPicture
from lifeos.counting import counted
from lifeos.escaping import escape_line
from lifeos.files import replacing

if TYPE_CHECKING:
    from PIL.Image import Image

TILE_WIDTH, TILE_HEIGHT = 230, 290
GAP, TITLE, HEADER, FOOT = 10, 19, 66, 8
TITLE_LINES = 3
CAPTION = 8 + TITLE_LINES * TITLE + 24
COLUMNS = 3
SHOWN = 24
"""More than a person looks at in one go is no help."""
WHITE, INK, GREY = "#ffffff", "#1f2328", "#656d76"
GREEN, RED = "#1a7f37", "#b42318"


@dataclass(frozen=True, slots=True)
class Couple:
    """One place of the sheet. A path of None is a picture that is no longer there."""

    title: str
    old: Path | None
    new: Path | None
    old_score: float | None
    new_score: float | None

    @property
    def change(self) -> float | None:
        return None if self.old_score is None or self.new_score is None else self.new_score - self.old_score


def choose_couples(
    comparison: VersionComparison,
    old: Mapping[str, Path],
    new: Mapping[str, Path],
    shown: int = SHOWN,
    *,
    prompts: Mapping[str, str] | None = None,
) -> list[Couple]:
    """The pairs whose pictures are there as they were scored, largest change in overall score first; a lost or found face leads.

    `prompts`: their words by their ids, as far as they are known; a pair of another is named by its id.
    """
    pairs = comparison.pairs
    if pairs is None or not pairs.keys:
        return []
    ranked: list[tuple[Couple, RowPicture, RowPicture]] = []
    for one, two in zip(pairs.images_first, pairs.images_second, strict=True):
        if one.file not in old and two.file not in new:
            continue
        known = [picture_overall(picture, comparison.policy) for picture in (one, two)]
        ranked.append((Couple(_title(one, two, prompts or {}), old.get(one.file), new.get(two.file), known[0], known[1]), one, two))
    ranked.sort(key=lambda place: _size_of_change(place[0]), reverse=True)
    couples = (_unchanged(*place) for place in ranked)
    return list(islice((couple for couple in couples if couple.old or couple.new), shown))


def _title(one: RowPicture, two: RowPicture, prompts: Mapping[str, str]) -> str:
    """The prompt in words, where they are known."""
    words, title = prompts.get(one.prompt_id or ""), pair_title(one, two)
    if not words:
        return title
    seed = f" · seed {one.seed}" if one.seed is not None and one.seed == two.seed else ""
    return f"{escape_line(' '.join(words.split()))}{seed}"


def _wrap(text: str, width: float, font: Any) -> str:
    """Text in at most `TITLE_LINES` lines of so many pixels, what is too much left out at the end."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if not lines[-1] or font.getlength(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    if len(lines) > TITLE_LINES:
        lines = [*lines[: TITLE_LINES - 1], f"{lines[TITLE_LINES - 1]} …"]
    while any(font.getlength(line) > width for line in lines):
        lines = [line if font.getlength(line) <= width else f"{line.rstrip(' …')[:-1]}…" for line in lines]
    return "\n".join(lines)


def _size_of_change(couple: Couple) -> float:
    return math.inf if (couple.old_score is None) != (couple.new_score is None) else abs(couple.change or 0.0)


def _unchanged(couple: Couple, one: RowPicture, two: RowPicture) -> Couple:
    """The couple without a picture that is another than was scored: its folder has been used again."""
    old = couple.old if couple.old and is_unchanged(one, couple.old) else None
    new = couple.new if couple.new and is_unchanged(two, couple.new) else None
    return replace(couple, old=old, new=new)


def draw_contact_sheet(couples: Sequence[Couple], path: Path, *, first: str, second: str, total: int, notice: str = "") -> None:
    """Write the sheet as PNG. `notice` stands above it where the pictures are none of a model's."""
    from PIL import Image, ImageDraw

    columns = min(COLUMNS, len(couples))
    rows = -(-len(couples) // columns)
    cell_width, cell_height = 2 * TILE_WIDTH + 3 * GAP, CAPTION + TILE_HEIGHT + 2 * GAP + FOOT
    sheet = Image.new("RGB", (columns * cell_width + GAP, HEADER + rows * cell_height), WHITE)
    draw = ImageDraw.Draw(sheet)
    large, small = _font(19), _font(15)
    warned = f"     {notice}" if notice else ""
    draw.text((GAP * 2, 12), f"left: {_short(first)}     right: {_short(second)}{warned}", fill=RED if notice else INK, font=large)
    note = f"same prompt and seed side by side, with their overall scores; largest change first; {len(couples)} of {counted(total, 'pair')}"
    draw.text((GAP * 2, 38), note, fill=GREY, font=small)
    for place, couple in enumerate(couples):
        left, top = GAP + (place % columns) * cell_width, HEADER + (place // columns) * cell_height
        _draw_couple(sheet, draw, couple, left, top, small, large)
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")


def _draw_couple(sheet: Image, draw: Any, couple: Couple, left: int, top: int, small: Any, large: Any) -> None:
    change = couple.change
    colour = GREY if change is None or abs(change) < 0.005 else (GREEN if change > 0 else RED)
    width = 2 * TILE_WIDTH + GAP
    draw.rectangle((left, top, left + width + GAP, top + CAPTION + TILE_HEIGHT + GAP + FOOT - 2), outline="#d0d7de")
    draw.text((left + 8, top + 5), _wrap(couple.title, width - 8, small), fill=GREY, font=small)
    old, new = ("no score" if score is None else f"{score:.2f}" for score in (couple.old_score, couple.new_score))
    told = "" if change is None else f"   {change:+.2f}"
    draw.text((left + 8, top + 6 + TITLE_LINES * TITLE), f"{old}  →  {new}{told}", fill=colour, font=large)
    for index, picture in enumerate((couple.old, couple.new)):
        x = left + 5 + index * (TILE_WIDTH + GAP)
        sheet.paste(_tile(picture), (x, top + CAPTION + 5))
    edge = left + 5 + TILE_WIDTH + GAP
    draw.rectangle((edge - 1, top + CAPTION + 4, edge + TILE_WIDTH, top + CAPTION + 5 + TILE_HEIGHT), outline=colour, width=2)


def _tile(path: Path | None) -> Image:
    from PIL import Image, ImageDraw, ImageOps

    from lifeos.images import ImageError, read_picture

    reason = "picture not here"
    if path is not None:
        try:
            picture = Image.fromarray(read_picture(path).rgb)
            return ImageOps.pad(picture, (TILE_WIDTH, TILE_HEIGHT), color="#f6f8fa")
        except ImageError as error:
            reason = error.reason
    tile = Image.new("RGB", (TILE_WIDTH, TILE_HEIGHT), "#f6f8fa")
    ImageDraw.Draw(tile).text((TILE_WIDTH // 2, TILE_HEIGHT // 2), reason, fill=GREY, font=_font(16), anchor="mm")
    return tile


def _font(size: int) -> Any:
    """DejaVu comes with matplotlib: the same letters on every machine, with arrows and accents."""
    from PIL import ImageFont

    try:
        import matplotlib

        return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), size)
    except (OSError, ModuleNotFoundError):
        return ImageFont.load_default(size)


def _short(text: str, length: int = 34) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
