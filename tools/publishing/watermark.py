"""An invisible watermark: a 32-bit id within the picture, which survives re-encoding, resizing, cropping and small turns.

It leads back to where a picture came from and proves nothing: whoever has many pictures with one id can take the mark out of them, or put
it into others. A picture scaled below a quarter, cropped to fewer than 300 pixels a side or painted anew by a model may lose it.
Scores are taken before marking: the mark adds fine texture.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lifeos.errors import InputError
from tools.publishing.watermark_lattice import Autocorrelation, Lattice, find_lattices
from tools.publishing.watermark_pattern import ID_BITS, TILE
from tools.publishing.watermark_reading import TileReading, fold, read_tile, residual
from tools.publishing.watermark_writing import embed, strips

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Rgb = NDArray[np.uint8]
    Floats = NDArray[np.float32]

PSNR = 46.0
"""Decibels between the picture and the marked one: nobody sees it, and JPEG at quality 50 leaves enough to read."""
LEAST_SIDE = 256
"""Pixels; in smaller pictures the mark does not survive the next re-encoding."""
LARGEST_SIDE = 10 * TILE
"""Pixels a side of the middle of a picture in which a lattice is looked for: more makes it slower, not surer."""
WEAKEST = 4.5
"""Deviations; below, a lattice is chance."""
TRIED = 2
"""Lattices of each range of sizes that are read; twice as many in a wide search."""
RANGES = ((1, (0.88, 1.38)), (2, (0.67, 1.05)), (1, (0.56, 0.9)), (1, (0.38, 0.58)), (1, (0.24, 0.39)))
"""By what the picture is reduced first, and the sizes that are looked for then; the likeliest first. Each has another band of waves."""

AS_IT_IS, AT_MADE_SIZE, BY_LATTICE = "as it is", "at the size it was made in", "by its lattice"


class WatermarkError(InputError):
    """A picture that cannot be marked. `reason` is a word for tables: `marked`, `too_small`, `lost`."""

    def __init__(self, reason: str, why: str, fix: str) -> None:
        self.reason = reason
        super().__init__("watermark", why, fix)


@dataclass(frozen=True, slots=True)
class WatermarkReading:
    """An id that was read. `z`: how many deviations the mark stands out, always above 6.5.

    What was done to the picture since it was marked: resized by `scale` (in height), stretched by `squeeze` in width, turned by `rotation`
    degrees to the left, then `mirrored`. `found`: "as it is", "at the size it was made in" or "by its lattice".
    """

    id: int
    z: float
    scale: float
    squeeze: float
    rotation: float
    mirrored: bool
    found: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way of looking at a picture, and what its tile said."""

    tile: TileReading
    lattice: Lattice
    found: str


def mark(rgb: Rgb, id: int, *, psnr: float = PSNR, check: bool = True) -> Rgb:
    """The picture (uint8, height x width x 3, in RGB) with a watermark that carries `id` (0 to 2**32 - 1), at least `psnr` dB from it.

    A second mark would destroy both, so the picture is first searched for one; `check=False` leaves that out where the caller knows that
    there is none. Raises WatermarkError for a picture that is marked already, that is less than 256 pixels wide or high, or from which the
    mark cannot be read back.
    """
    import numpy as np

    if not 0 <= id < 2**ID_BITS:
        raise ValueError(f"{id} is no id of {ID_BITS} bits")
    height, width = _grey(rgb).shape
    if min(height, width) < LEAST_SIDE:
        why = f"{width} x {height} pixels are too few: the mark needs {LEAST_SIDE} a side"
        raise WatermarkError("too_small", why, "publish the picture at a larger size")
    if check and is_marked(rgb):
        raise WatermarkError("marked", "the picture carries a mark already; a second one destroys both", "mark the original")
    marked = embed(np.ascontiguousarray(rgb), id, psnr)
    if _read_whole(_grey(marked)).mark_id != id:
        why = f"at {psnr:g} dB the mark cannot be read back from this picture, which is too small or too full of detail"
        raise WatermarkError("lost", why, f"allow {psnr - 4:g} dB, or use a larger picture")
    return marked


def read(rgb: Rgb, *, made_size: tuple[int, int] | None = None, wide: bool = False) -> WatermarkReading | None:
    """The watermark of a picture (uint8, height x width x 3), or None where none can be read with certainty.

    `made_size` (width, height) is that of the picture when it was marked, where the caller knows it: a resized picture is then read sooner.
    `wide` also finds pictures that were turned by any angle or squeezed by up to 18 %, and takes three times as long.
    """
    for attempt in attempts(rgb, made_size=made_size, wide=wide):
        if attempt.tile.mark_id is not None:
            return _reading_of(attempt, attempt.tile.mark_id)
    return None


def is_marked(rgb: Rgb, *, made_size: tuple[int, int] | None = None, wide: bool = False) -> bool:
    """Whether a picture carries a mark, be it one whose id is damaged."""
    return any(attempt.tile.stands_out for attempt in attempts(rgb, made_size=made_size, wide=wide))


def _reading_of(attempt: Attempt, mark_id: int) -> WatermarkReading:
    tile, lattice = attempt.tile, attempt.lattice
    turned = (-lattice.rotation if tile.mirrored else lattice.rotation) - 90.0 * tile.quarter_turns
    rotation = (turned + 180.0) % 360.0 - 180.0
    return WatermarkReading(mark_id, tile.z, lattice.scale, lattice.squeeze, rotation, tile.mirrored, attempt.found)


def attempts(rgb: Rgb, *, made_size: tuple[int, int] | None = None, wide: bool = False) -> Iterator[Attempt]:
    """Every way of looking at a picture, the likeliest and quickest first."""
    import cv2
    import numpy as np

    grey = _grey(rgb)
    if min(grey.shape) < TILE // 2:
        return
    yield Attempt(_read_whole(grey), Lattice(0.0, 1.0, 0.0, 1.0), AS_IT_IS)
    height, width = grey.shape
    if made_size is not None and made_size != (width, height):
        scale = height / made_size[1]
        lattice = Lattice(0.0, scale, 0.0, width / made_size[0] / scale)
        kind = cv2.INTER_AREA if scale > 1 else cv2.INTER_CUBIC
        yield Attempt(_read_whole(np.asarray(cv2.resize(grey, made_size, interpolation=kind))), lattice, AT_MADE_SIZE)
    whole = _middle(grey, 3 * LARGEST_SIDE).astype(np.float32)
    reduced = {1: whole, 2: np.asarray(cv2.resize(whole, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), dtype=np.float32)}
    likeness: dict[int, Autocorrelation] = {}
    for factor, sizes in RANGES:
        if factor not in likeness:
            likeness[factor] = Autocorrelation(residual(_middle(reduced[factor], LARGEST_SIDE)))
        for lattice in find_lattices(likeness[factor], sizes, wide=wide)[: 2 * TRIED if wide else TRIED]:
            if lattice.strength > WEAKEST:
                tile = read_tile(fold(residual(_straightened(reduced[factor], lattice))))
                yield Attempt(tile, replace(lattice, scale=lattice.scale * factor), BY_LATTICE)


def _grey(rgb: Rgb) -> Rgb:
    import cv2
    import numpy as np

    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3:
        raise ValueError(f"a picture of uint8, height x width x 3 is wanted, not {rgb.dtype}, {rgb.shape}")
    if rgb.size == 0:
        return np.zeros(rgb.shape[:2], np.uint8)
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _read_whole(grey: NDArray[Any]) -> TileReading:
    import numpy as np

    tile = np.zeros((TILE, TILE), np.float32)
    for rows in strips(len(grey)):
        tile += fold(residual(grey[rows].astype(np.float32)))
    return read_tile(tile)


def _middle(plane: NDArray[Any], side: int) -> NDArray[Any]:
    """The middle of a picture's plane, at most `side` pixels a side."""
    top, left = (max(0, (length - side) // 2) for length in plane.shape)
    return plane[top : top + side, left : left + side]


def _straightened(luminance: Floats, lattice: Lattice) -> Floats:
    """The middle of a picture as it was when it was marked: the tile upright again, 128 pixels a side."""
    import cv2
    import numpy as np

    matrix = lattice.matrix()
    height, width = luminance.shape
    size = [min(LARGEST_SIDE, int(width / (lattice.scale * lattice.squeeze))), min(LARGEST_SIDE, int(height / lattice.scale))]
    middle, to_middle = np.array([width - 1, height - 1]) / 2, (np.array(size) - 1) / 2
    back = np.column_stack([matrix, middle - matrix @ to_middle])
    flags, outside = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, float(luminance.mean())
    return np.asarray(cv2.warpAffine(luminance, back, size, flags=flags, borderValue=outside), dtype=np.float32)
