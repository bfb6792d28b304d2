"""Reading one folded tile: the bits are read together, and from the waves that are left."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tools.publishing.watermark_pattern import BITS, SYNC_SHARE, TILE, bits_of, id_of, patterns, tile_of, waves
from tools.publishing.watermark_reading import LEAST_Z, SURE_Z, TileReading, fold, read_bits, read_tile

Floats = NDArray[np.float32]


def row_of_long_waves(mark_id: int, most: float) -> Floats:
    """The row of an id of which a reduction left the waves of up to `most` cycles alone; the others are noise."""
    rows = patterns()
    row = np.sqrt(SYNC_SHARE) * rows[0] + np.sqrt((1 - SYNC_SHARE) / BITS) * (bits_of(mark_id) @ rows[1:])
    noise = np.random.default_rng(mark_id).standard_normal(len(row)) / np.sqrt(len(row))
    return np.where(np.tile(np.hypot(*waves()) <= most, 2), row, noise).astype(np.float32)


def test_bits_are_read_together_from_the_waves_that_are_left() -> None:
    """Of 842 waves 134 are left, where the patterns are not at right angles: read one by one, 9 of these ids come out wrong."""
    assert [id_of(read_bits(row_of_long_waves(mark_id, 11))) for mark_id in range(30)] == list(range(30))


@pytest.mark.parametrize("mirrored", [False, True], ids=["as it lies", "mirrored"])
@pytest.mark.parametrize("turns", range(4))
def test_how_a_tile_must_be_turned(turns: int, mirrored: bool) -> None:
    """Turning back a tile that was turned to the right, then mirrored, gives it as it was made, wherever it begins."""
    seen = np.rot90(np.roll(tile_of(3), (17, 90), (0, 1)), -turns)
    reading = read_tile(seen[:, ::-1] if mirrored else seen)
    assert (reading.mark_id, reading.quarter_turns, reading.mirrored) == (3, turns, mirrored)
    assert reading.z == pytest.approx(np.sqrt(0.35 * 2 * 842), rel=0.2)  # sqrt(share x values), but for the whitening


def test_a_tile_between_two_pixels_stands_out_as_far() -> None:
    half = np.exp(-2j * np.pi * 0.5 * np.add.outer(np.fft.fftfreq(TILE), np.fft.fftfreq(TILE)))
    reading = read_tile(np.fft.ifft2(np.fft.fft2(tile_of(9)) * half).real.astype(np.float32))
    assert (reading.mark_id, reading.z) == (9, pytest.approx(read_tile(tile_of(9)).z, rel=0.02))


def test_noise_does_not_stand_out() -> None:
    reading = read_tile(np.random.default_rng(5).standard_normal((TILE, TILE)).astype(np.float32))
    assert (reading.mark_id, reading.stands_out) == (None, False)
    assert 2 < reading.z < LEAST_Z - 1


def test_cut_tiles_are_folded_as_far_as_they_go() -> None:
    detail = np.ones((TILE + 5, 2 * TILE + 1), np.float32)
    tile = fold(detail)
    assert (tile[0, 0], tile[0, 1], tile[5, 0], tile[5, 1]) == (6, 4, 3, 2)


def test_without_an_id_the_pattern_must_stand_out_further() -> None:
    """A clean picture that reaches the first mark by chance is not refused: nothing but chance speaks for a mark there."""
    between = (LEAST_Z + SURE_Z) / 2
    assert TileReading(between, 7).stands_out and TileReading(SURE_Z + 0.1, None).stands_out
    assert not TileReading(between, None).stands_out
