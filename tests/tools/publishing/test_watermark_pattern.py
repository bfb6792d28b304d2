"""The watermark's patterns are fixed for good, and the bits have a checksum."""

from __future__ import annotations

import numpy as np
import pytest

from tools.publishing.watermark_pattern import BITS, TILE, bits_of, id_of, patterns, tile_of, waves


def test_the_tile_of_an_id_never_changes() -> None:
    """Written down when the scheme was made: with other values, pictures that were marked before could not be read."""
    tile = tile_of(0x1234_5678)
    assert tile.shape == (TILE, TILE)
    assert tile[0, :6].tolist() == pytest.approx([-0.55713, 0.34681, 1.22328, 1.71407, 1.56176, 0.91369], abs=1e-4)
    assert tile[100, 50:53].tolist() == pytest.approx([-0.11106, 0.15897, 0.15680], abs=1e-4)


def test_a_tile_has_mean_0_and_mean_square_1_and_only_waves_of_its_rings() -> None:
    tile = tile_of(7).astype(float)
    assert (tile.mean(), (tile**2).mean()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, abs=1e-5))
    strength = np.abs(np.fft.fft2(tile))
    cycles = np.hypot(*np.meshgrid(np.fft.fftfreq(TILE) * TILE, np.fft.fftfreq(TILE) * TILE))
    inside = (cycles >= 6) & (cycles <= 24)
    assert inside.sum() == 2 * len(waves()[0])
    assert strength[~inside].max() < 0.01 * strength[inside].mean()


def test_the_patterns_are_orthonormal() -> None:
    rows = patterns()
    assert rows.shape == (BITS + 1, 2 * len(waves()[0]))
    assert np.abs(rows @ rows.T - np.eye(BITS + 1)).max() < 1e-5


def test_the_bits_end_with_the_checksum() -> None:
    """CRC-16/CCITT-FALSE of four zero bytes is 84C0."""
    assert "".join("1" if bit > 0 else "0" for bit in bits_of(0)) == f"{0x84C0:048b}"
    assert set(bits_of(0xDEAD_BEEF).tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("mark_id", [0, 1, 0xDEAD_BEEF, 2**32 - 1])
def test_an_id_is_read_from_its_bits(mark_id: int) -> None:
    assert id_of(bits_of(mark_id)) == mark_id
    assert id_of(bits_of(mark_id) * np.linspace(0.1, 9, BITS, dtype=np.float32)) == mark_id


def test_one_of_the_faintest_bits_may_be_wrong() -> None:
    strengths = np.linspace(1, 9, BITS, dtype=np.float32)
    for wrong, expected in (([0], 77), ([3], 77), ([4], None), ([47], None), ([0, 1], None)):
        values = bits_of(77) * strengths
        values[wrong] *= -1
        assert id_of(values) == expected, wrong
