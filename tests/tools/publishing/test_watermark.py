"""The invisible watermark: what it withstands, that it is not seen where there is none, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from benchmarks.picture_changes import add_noise, jpeg, relight, resize
from benchmarks.watermark import crop, crop_four_to_five, middle, stretch, turn, webp
from lifeos import cli
from tools.publishing import watermark
from tools.publishing.watermark import AS_IT_IS, AT_MADE_SIZE, BY_LATTICE, WatermarkError, attempts, is_marked, mark, read
from tools.publishing.watermark_writing import embed

Rgb = Any

IDS = (0, 0x1234_5678, 0xFFFF_FFFF)


def make_scene(width: int, height: int, seed: int) -> Rgb:
    """Coloured noise as rough as a photo's detail, over a gradient, with a bright ellipse and a flat corner."""
    import cv2

    random = np.random.default_rng(seed)
    waves = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    waves[0, 0] = 1
    rough = np.fft.irfft2(np.fft.rfft2(random.standard_normal((height, width))) / waves**1.2, (height, width))
    plane = 15 * rough / rough.std() + np.linspace(60, 180, height)[:, None]
    rgb = np.clip(np.stack([plane * gain for gain in (1.1, 1.0, 0.85)], axis=-1), 0, 255).astype(np.uint8)
    cv2.ellipse(rgb, (width // 3, height // 2), (width // 6, height // 4), 20, 0, 360, (250, 220, 190), -1)
    rgb[: height // 5, : width // 4] = 240
    return rgb


@pytest.fixture(scope="module")
def scene() -> Rgb:
    return make_scene(640, 800, 1)


@pytest.fixture(scope="module")
def marked(scene: Rgb) -> Rgb:
    return mark(scene, IDS[1])


def decibels(one: Rgb, other: Rgb) -> float:
    return float(20 * np.log10(255 / np.sqrt(np.mean((one.astype(float) - other) ** 2))))


CHANGES: list[tuple[str, Callable[[Rgb], Rgb], float, float]] = [
    ("JPEG 85", lambda rgb: jpeg(rgb, 85), 1.0, 0),
    ("JPEG 70", lambda rgb: jpeg(rgb, 70), 1.0, 0),
    ("JPEG 50", lambda rgb: jpeg(rgb, 50), 1.0, 0),
    ("WebP 80", lambda rgb: webp(rgb, 80), 1.0, 0),
    ("half size", lambda rgb: resize(rgb, 0.5), 0.5, 0),
    ("half size, JPEG 80", lambda rgb: jpeg(resize(rgb, 0.5), 80), 0.5, 0),
    ("0.75x", lambda rgb: resize(rgb, 0.75), 0.75, 0),
    ("1.25x", lambda rgb: resize(rgb, 1.25), 1.25, 0),
    ("1.8x", lambda rgb: resize(rgb, 1.8), 1.8, 0),
    ("crop by 10 %", lambda rgb: crop(rgb, 0.10), 1.0, 0),
    ("crop by 25 %", lambda rgb: crop(rgb, 0.25), 1.0, 0),
    ("crop by 50 %", lambda rgb: crop(rgb, 0.50), 1.0, 0),
    ("4:5 crop, JPEG 75", lambda rgb: jpeg(crop_four_to_five(rgb), 75), 1.0, 0),
    ("4:5 crop, 1080 wide, JPEG 75", lambda rgb: jpeg(resize(crop_four_to_five(rgb), 1080 / 640), 75), 1080 / 640, 0),
    ("turned by 2 degrees", lambda rgb: turn(rgb, 2), 1.0, 2),
    ("turned by 5 degrees the other way", lambda rgb: turn(rgb, -5), 1.0, -5),
    ("quarter turn to the left", np.rot90, 1.0, 90),
    ("upside down", lambda rgb: rgb[::-1, ::-1], 1.0, -180),
    ("lighter", lambda rgb: relight(rgb, 1.1, 1.1, 1.05), 1.0, 0),
    ("noise", lambda rgb: add_noise(rgb, 4.0), 1.0, 0),
]


@pytest.mark.parametrize(("change", "scale", "rotation"), [case[1:] for case in CHANGES], ids=[case[0] for case in CHANGES])
def test_the_id_survives(marked: Rgb, change: Callable[[Rgb], Rgb], scale: float, rotation: float) -> None:
    reading = read(change(marked))
    assert reading is not None
    assert reading.id == IDS[1]
    assert reading.z > 6.5
    assert reading.scale == pytest.approx(scale, rel=0.003)
    assert (reading.rotation, reading.squeeze) == (pytest.approx(rotation, abs=0.15), pytest.approx(1.0))
    assert not reading.mirrored
    as_it_is = scale == 1.0 and rotation % 90 == 0
    assert reading.found == (AS_IT_IS if as_it_is else BY_LATTICE)


def test_a_mirrored_and_turned_picture_says_how(marked: Rgb) -> None:
    """Turned to the left first, then mirrored."""
    reading = read(np.ascontiguousarray(turn(resize(marked, 0.8), 3)[:, ::-1]))
    assert reading is not None
    assert (reading.id, reading.mirrored, reading.found) == (IDS[1], True, BY_LATTICE)
    assert (reading.scale, reading.rotation) == (pytest.approx(0.8, rel=0.003), pytest.approx(3, abs=0.15))


def test_the_size_it_was_made_in_is_tried_before_the_lattice(marked: Rgb) -> None:
    small = resize(marked, 0.6)
    reading = read(small, made_size=(640, 800))
    assert reading is not None
    assert (reading.id, reading.found, reading.scale) == (IDS[1], AT_MADE_SIZE, pytest.approx(0.6))


def test_a_wrong_size_does_no_harm(marked: Rgb) -> None:
    reading = read(resize(marked, 0.6), made_size=(900, 900))
    assert reading is not None
    assert (reading.id, reading.found) == (IDS[1], BY_LATTICE)


@pytest.mark.parametrize(
    ("change", "squeeze", "rotation"),
    [(lambda rgb: stretch(rgb, 0.93), 0.93, 0.0), (lambda rgb: stretch(rgb, 1.1), 1.1, 0.0), (lambda rgb: turn(rgb, 25), 1.0, 25.0)],
    ids=["squeezed", "stretched", "turned far"],
)
def test_only_the_wide_search_finds(marked: Rgb, change: Callable[[Rgb], Rgb], squeeze: float, rotation: float) -> None:
    changed = change(marked)
    assert read(changed) is None
    reading = read(changed, wide=True)
    assert reading is not None
    assert (reading.id, reading.squeeze, reading.rotation) == (
        IDS[1],
        pytest.approx(squeeze, rel=0.004),
        pytest.approx(rotation, abs=0.3),
    )


@pytest.mark.parametrize("mark_id", IDS)
def test_every_id_can_be_carried(scene: Rgb, mark_id: int) -> None:
    reading = read(jpeg(mark(scene, mark_id, check=False), 80))
    assert reading is not None
    assert reading.id == mark_id


UNMARKED = {
    "scene": lambda: make_scene(640, 800, 2),
    "scene as JPEG": lambda: jpeg(make_scene(500, 400, 3), 60),
    "white": lambda: np.full((400, 300, 3), 255, np.uint8),
    "noise": lambda: np.random.default_rng(4).integers(0, 256, (400, 500, 3)).astype(np.uint8),
    "stripes of 16": lambda: np.tile((np.arange(400) // 8 % 2 * 200).astype(np.uint8)[None, :, None], (300, 1, 3)),
    "tiles of 128": lambda: np.tile(np.random.default_rng(5).integers(0, 256, (128, 128, 3)).astype(np.uint8), (4, 5, 1)),
    "one pixel": lambda: np.zeros((1, 1, 3), np.uint8),
    "nothing": lambda: np.zeros((0, 40, 3), np.uint8),
    "a line": lambda: make_scene(2000, 64, 6),
}


@pytest.mark.parametrize("name", UNMARKED)
def test_an_unmarked_picture_has_no_id(name: str) -> None:
    rgb = UNMARKED[name]()
    assert read(rgb) is None
    assert not is_marked(rgb)


def test_parts_of_unmarked_pictures_stay_far_below_the_gate() -> None:
    """The highest of all the looks at each of 12 parts; the gate is 6.5."""
    rgb = make_scene(900, 900, 7)
    corners = np.random.default_rng(8).integers(0, 650, (12, 2))
    highest = [max(attempt.tile.z for attempt in attempts(rgb[top : top + 250, left : left + 250])) for top, left in corners]
    assert 3 < min(highest) < max(highest) < 6.2


@pytest.mark.parametrize(
    "rgb",
    [
        make_scene(601, 777, 9),
        np.repeat(make_scene(500, 500, 10)[:, :, :1], 3, axis=2),
        np.full((300, 420, 3), 255, np.uint8),
        np.zeros((300, 420, 3), np.uint8),
        np.tile(np.uint8([255, 0, 0]), (300, 420, 1)),
        make_scene(300, 2400, 11),
    ],
    ids=["odd size", "grey", "white", "black", "red", "taller than a strip"],
)
def test_quality(rgb: Rgb) -> None:
    """46 dB at least, and no more than needed; the picture that was given is left as it was."""
    before = rgb.copy()
    marked = mark(rgb, 77)
    assert (marked.shape, marked.dtype) == (rgb.shape, np.uint8)
    assert np.array_equal(rgb, before)
    assert 46.0 <= decibels(marked, rgb) < 46.15
    reading = read(jpeg(marked, 85))
    assert reading is not None
    assert reading.id == 77
    lower = read(marked[-256:])
    assert lower is not None
    assert lower.id == 77


def test_a_grey_picture_stays_grey() -> None:
    marked = mark(np.repeat(make_scene(400, 400, 12)[:, :, :1], 3, axis=2), 5)
    assert np.array_equal(marked[:, :, 0], marked[:, :, 1])
    assert np.array_equal(marked[:, :, 0], marked[:, :, 2])


def test_less_decibels_make_a_stronger_mark(scene: Rgb) -> None:
    strong = mark(scene, 1, psnr=40.0, check=False)
    assert 40.0 <= decibels(strong, scene) < 40.15
    assert read(jpeg(resize(strong, 0.3), 60)) is not None


def test_the_same_bytes_every_time_and_in_threads(scene: Rgb) -> None:
    one_by_one = [mark(scene, number, check=False) for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda number: mark(scene, number, check=False), range(4)))
        read_together = list(pool.map(read, together))
    assert all(np.array_equal(one, other) for one, other in zip(one_by_one, together, strict=True))
    assert [reading.id for reading in read_together if reading is not None] == [0, 1, 2, 3]


def test_rows_in_any_order_of_memory(scene: Rgb, marked: Rgb) -> None:
    assert np.array_equal(mark(np.asfortranarray(scene), IDS[1], check=False), marked)
    assert np.array_equal(mark(scene[:, :, ::-1][:, :, ::-1], IDS[1], check=False), marked)


@pytest.mark.parametrize("change", [lambda rgb: rgb, lambda rgb: resize(rgb, 0.7)], ids=["as it is", "smaller"])
def test_a_marked_picture_is_refused(marked: Rgb, change: Callable[[Rgb], Rgb]) -> None:
    with pytest.raises(WatermarkError, match="carries a mark already") as caught:
        mark(change(marked), 9)
    assert caught.value.reason == "marked"
    assert caught.value.exit_code == 2


def test_a_mark_whose_id_is_damaged_is_refused_too(scene: Rgb) -> None:
    """Two marks, one over the other: neither id can be read, and a third would not mend that."""
    twice = embed(embed(scene, 1, 46.0), 2**32 - 2, 46.0)
    assert read(twice) is None
    assert is_marked(twice)
    with pytest.raises(WatermarkError, match="carries a mark already"):
        mark(twice, 9)


def test_too_small_a_picture_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        mark(make_scene(400, 255, 13), 1)
        return 0

    assert cli.run(work) == 2
    assert capsys.readouterr().err == (
        "error: watermark: 400 x 255 pixels are too few: the mark needs 256 a side (publish the picture at a larger size)\n"
    )


def test_a_picture_that_cannot_hold_the_mark_is_refused() -> None:
    """Noise of 74 levels hides 1.3 levels of mark; nothing is handed over that could not be read."""
    with pytest.raises(WatermarkError, match=r"at 46 dB the mark cannot be read back .* \(allow 42 dB") as caught:
        mark(UNMARKED["noise"](), 1)
    assert caught.value.reason == "lost"


@pytest.mark.parametrize("mark_id", [-1, 2**32])
def test_an_id_has_32_bits(scene: Rgb, mark_id: int) -> None:
    with pytest.raises(ValueError, match="no id of 32 bits"):
        mark(scene, mark_id)


@pytest.mark.parametrize("shape", [(300, 300), (300, 300, 4)], ids=["one channel", "with alpha"])
def test_three_channels_of_bytes_are_wanted(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="uint8, height x width x 3 is wanted"):
        read(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="uint8, height x width x 3 is wanted, not float64"):
        mark(np.zeros((300, 300, 3)), 1)


def test_a_small_part_is_enough(marked: Rgb) -> None:
    reading = read(middle(marked, 256))
    assert reading is not None
    assert reading.id == IDS[1]


def test_the_gate_and_the_checksum_are_both_asked(marked: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.publishing import watermark_reading

    monkeypatch.setattr(watermark_reading, "LEAST_Z", 40.0)  # no pattern can stand out so far
    assert watermark.read(marked) is None
    monkeypatch.undo()
    monkeypatch.setattr(watermark_reading, "id_of", lambda values: None)
    assert watermark.read(marked) is None
    assert watermark.is_marked(marked)
