"""The sameness of a batch, on faces placed by hand."""

from __future__ import annotations

import math
import tracemalloc
from itertools import combinations
from statistics import median

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from evals.judging import variety as sameness
from evals.judging.records import Geometry
from evals.judging.variety import Duplicate, measure_sameness, shot_type
from evals.likeness.hashes import find_like_hashes, hash_distance, mirrored_hash, picture_hash
from tests.evals.portraits import group, portrait

POINTS = ((0.4, 0.3), (0.6, 0.3), (0.5, 0.4), (0.42, 0.5), (0.58, 0.5))


def face(yaw: float = 0.0, roll: float = 0.0, *, shot: str = "close-up", shift: float = 0.0, area: float = 0.1) -> Geometry:
    points = tuple((x + shift, y) for x, y in POINTS)
    return Geometry(yaw, roll, area, 0.4, 0.5 + shift, 0.4, shot, points)


@pytest.mark.parametrize(
    ("height", "name"),
    [
        (1.2, "extreme close-up"),
        (0.70, "extreme close-up"),
        (0.699, "close-up"),
        (0.40, "close-up"),
        (0.31, "medium close-up"),  # head to chest
        (0.20, "medium shot"),  # to the waist
        (0.13, "medium full shot"),  # to the knees
        (0.09, "full shot"),
        (0.02, "wide shot"),
        (0.0, "wide shot"),
        (-0.1, "wide shot"),
    ],
)
def test_a_shot_is_named_by_the_height_of_the_face(height: float, name: str) -> None:
    assert shot_type(height) == name


def test_one_pose_over_and_over() -> None:
    yaws = [10.0, 12.0, 14.0, 12.0, 12.0]  # deviations -2, 0, 2, 0, 0: variance 8 / 5
    found = measure_sameness([face(yaw, shift=0.01 * number) for number, yaw in enumerate(yaws)], [None] * 5)
    assert (found.pictures, found.faces) == (5, 5)
    assert found.yaw_spread_deg == round(math.sqrt(8 / 5), 2)
    assert found.same_pose_share == 1.0
    assert found.entropy_bits == 0.0
    # shifts 0, .01 … .04: of the 10 distances four are .01, three .02, two .03, one .04; the fifth is .02
    assert found.landmark_distance == pytest.approx(0.02, abs=1e-4)
    assert found.position_spread == pytest.approx(0.01 * math.sqrt(2), abs=1e-4)  # variance of 0..4 is 2
    assert (found.shots, found.directions) == ({"close-up": 5}, {"front": 5})
    assert found.verdict == "same"
    assert found.line == "one pose: yaw spread 1.3°, 100 % of pairs within 10°"
    assert found.judgement == (
        "One pose: yaw spread 1.3°, 100 % of pairs within 10°. Most frequent: front (5 of 5), close-up (5 of 5). Ask for other angles and "
        "distances in the prompts."
    )


def test_a_varied_batch() -> None:
    yaws, shots = (-60.0, -30.0, 0.0, 30.0, 60.0), ("close-up", "medium shot", "full shot")
    faces = [face(yaw, shot=shot, area=0.01 * number) for number, (yaw, shot) in enumerate(((y, s) for y in yaws for s in shots), 1)]
    found = measure_sameness(faces, [None] * 15)
    assert found.entropy_bits == round(math.log2(15), 3)  # 15 faces in 15 cells
    assert found.same_pose_share == round(15 / 105, 4)  # only the three shots of each yaw: 5 x 3 of 105 pairs
    assert found.face_area_median == 0.08
    assert found.face_area_spread == pytest.approx(0.136 / 0.024, abs=1e-3)  # percentiles of .01 … .15: .01 + .14 q
    assert list(found.directions) == ["left profile", "half left", "front", "half right", "right profile"]
    assert list(found.shots) == ["close-up", "medium shot", "full shot"]
    assert found.verdict == "varied"
    assert found.judgement.startswith("Varied: yaw spread 42.4°, 14 % of pairs within 10°.")  # the deviations' root mean square: 30 * √2
    assert "Ask for" not in found.judgement


@pytest.mark.parametrize(
    ("faces", "verdict"),
    [
        pytest.param([], "too_few", id="nothing"),
        pytest.param([face()], "too_few", id="one"),
        pytest.param([face(), face(40), face(-40)], "too_few", id="three"),
        pytest.param([face(0), face(0), face(0), face(0)], "same", id="four alike"),
        pytest.param([face(-50), face(-20), face(20), face(50)], "varied", id="four different: two bits are all that four can have"),
        pytest.param([face(yaw) for yaw in (-30, -30, 0, 0, 30, 30)], "varied", id="three directions are many for six"),
        pytest.param([face(yaw) for yaw in (0, 0, 0, 0, 0, 30, -30)], "alike", id="five of seven alike"),
        pytest.param([face(0, roll) for roll in (-40, -20, 0, 20, 40)], "same", id="leaning heads are one yaw and one shot"),
        pytest.param([face(0, 0, shot=shot) for shot, _ in sameness.SHOT_TYPES], "same", id="one pose at every distance"),
    ],
)
def test_the_verdict(faces: list[Geometry], verdict: str) -> None:
    assert measure_sameness(faces, [None] * len(faces)).verdict == verdict


def test_the_policy_says_what_one_pose_is() -> None:
    faces = [face(yaw, roll) for yaw, roll in ((-6, -40), (-6, 0), (6, 20), (6, 40), (0, -20))]
    strict = measure_sameness(faces, [None] * 5, same_pose_yaw_spread_deg=5.0)
    loose = measure_sameness(faces, [None] * 5, same_pose_yaw_spread_deg=6.0)
    assert strict.yaw_spread_deg == round(math.sqrt(4 * 36 / 5), 2)  # 5.37
    assert (strict.verdict, loose.verdict) == ("alike", "same")


def test_pictures_without_a_face_count_as_pictures_only() -> None:
    found = measure_sameness([None, face(), None], [None, "0" * 16, "0" * 16])
    assert (found.pictures, found.faces) == (3, 1)
    assert found.yaw_spread_deg is None and found.same_pose_share is None and found.entropy_bits is None
    assert found.landmark_distance is None and found.position_spread is None and found.face_area_spread is None
    assert found.judgement == "Variety is not known: 1 face is too few."
    assert found.duplicates == (Duplicate(1, 2, 0),)


def test_near_duplicates_are_found_and_ordered() -> None:
    hashes = ["00000000000000ff", None, "00000000000000fe", "000000000000000f", "ffffffffffffffff", "00000000000000ff"]
    found = measure_sameness([None] * 6, hashes)
    # 0-5: equal; 0-2, 2-5: one bit; 0-3, 3-5: four bits; 2-3: three of the upper four and the lowest, five bits: no longer near
    expected = (Duplicate(0, 5, 0), Duplicate(0, 2, 1), Duplicate(2, 5, 1), Duplicate(0, 3, 4), Duplicate(3, 5, 4))
    assert found.duplicates == expected
    assert found.near_duplicate_pairs == 5


def test_the_list_of_near_duplicates_ends_but_the_count_does_not() -> None:
    found = measure_sameness([None] * 40, ["0123456789abcdef"] * 40)
    assert found.near_duplicate_pairs == 40 * 39 // 2
    assert len(found.duplicates) == sameness.LISTED_DUPLICATES == 100
    assert found.duplicates[0] == Duplicate(0, 1, 0)


def test_unequal_lists_are_a_fault() -> None:
    with pytest.raises(ValueError, match="1 geometries and 2 hashes"):
        measure_sameness([face()], [None, None])


def random_faces(count: int) -> list[Geometry]:
    rng = np.random.default_rng(7)
    shots = [name for name, _ in sameness.SHOT_TYPES]
    return [
        Geometry(
            float(rng.normal(0, 20)),
            float(rng.normal(0, 6)),
            float(rng.uniform(0.02, 0.3)),
            0.3,
            *(float(value) for value in rng.random(2)),
            shots[int(rng.integers(len(shots)))],
            tuple((float(x), float(y)) for x, y in rng.random((5, 2))),
        )
        for _ in range(count)
    ]


def test_the_pairs_in_chunks_are_the_pairs_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sameness, "CHUNK_ROWS", 7)
    faces = random_faces(60)
    rng = np.random.default_rng(8)
    hashes: list[str | None] = [f"{int(rng.integers(0, 1 << 9)):016x}" for _ in faces]
    found = measure_sameness(faces, hashes)
    pairs = list(combinations(faces, 2))
    near = sum(math.hypot(a.yaw - b.yaw, a.roll - b.roll) <= 10 for a, b in pairs)
    distances = [sum(math.dist(p, q) for p, q in zip(a.landmarks, b.landmarks, strict=True)) / 5 for a, b in pairs]
    bits = {(a, b): bin(int(hashes[a] or "", 16) ^ int(hashes[b] or "", 16)).count("1") for a, b in combinations(range(60), 2)}
    twins = sorted((count, *pair) for pair, count in bits.items() if count <= 4)
    assert found.same_pose_share == round(near / len(pairs), 4)
    assert found.landmark_distance == pytest.approx(median(distances), abs=2e-4)
    assert found.near_duplicate_pairs == len(twins) > 100
    assert [(pair.bits, pair.first, pair.second) for pair in found.duplicates] == twins[:100]


def test_of_many_pictures_some_are_compared_and_tell_about_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Near-duplicates are sought among all."""
    faces, hashes = random_faces(1200), [f"{(number // 2) * 2654435761:016x}" for number in range(1200)]
    whole = measure_sameness(faces, hashes)
    monkeypatch.setattr(sameness, "MOST_COMPARED", 400)
    counted: list[int] = []
    compare = sameness._compare_poses
    monkeypatch.setattr(sameness, "_compare_poses", lambda thinned: counted.append(len(thinned)) or compare(thinned))
    some = measure_sameness(faces, hashes)
    assert counted == [400]
    assert some.same_pose_share is not None and whole.same_pose_share is not None
    assert 0 < abs(some.same_pose_share - whole.same_pose_share) < 0.02
    assert some.landmark_distance == pytest.approx(whole.landmark_distance, abs=0.01)
    assert (some.faces, some.yaw_spread_deg, some.near_duplicate_pairs) == (1200, whole.yaw_spread_deg, whole.near_duplicate_pairs)
    assert whole.near_duplicate_pairs >= 600


def test_memory_does_not_grow_with_the_square_of_the_pictures() -> None:
    faces = random_faces(1200)
    hashes: list[str | None] = [f"{number * 2654435761:016x}" for number in range(1200)]
    tracemalloc.start()
    try:
        measure_sameness(faces, hashes)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12_000_000  # one matrix of float32 pairs alone would be 5.8 MB, and about ten are needed at once


def test_a_hash_says_where_the_picture_gets_brighter() -> None:
    ramp = np.repeat(np.linspace(0, 255, 90).astype(np.uint8)[None, :, None], 80, axis=0).repeat(3, axis=2)
    assert picture_hash(ramp) == "f" * 16
    assert picture_hash(np.ascontiguousarray(ramp[:, ::-1])) == "0" * 16
    assert hash_distance("f" * 16, "0" * 16) == 64


def random_pixels(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("rgb", "digits"),
    [
        pytest.param(np.asarray(portrait()), "cd8dd91d897293a7", id="portrait"),
        pytest.param(np.asarray(group()), "717a4bb396a4d0d0", id="group"),
        pytest.param(random_pixels(97, 61), "551325bc4b65444d", id="noise"),
        pytest.param(random_pixels(3, 1000), "aaaad8d455b5a3a3", id="wide and low, stretched to eight rows"),
        pytest.param(random_pixels(8, 9), "aa532d4aa9944c6c", id="nine by eight, not resized"),
        pytest.param(np.full((64, 64, 3), 128, np.uint8), "0000000000000000", id="one colour"),
        pytest.param(np.full((1, 1, 3), 200, np.uint8), "0000000000000000", id="one pixel"),
    ],
)
def test_the_hash_is_that_of_imagehash(rgb: np.ndarray, digits: str) -> None:
    """Literals made with imagehash 4.3.2: hashes of older batches stay comparable."""
    assert picture_hash(rgb) == digits


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda image: image.resize((256, 256), Image.Resampling.BILINEAR), id="half size"),
        pytest.param(lambda image: ImageEnhance.Brightness(image).enhance(1.1), id="brighter"),
        pytest.param(lambda image: image.quantize(64).convert("RGB"), id="fewer colours"),
    ],
)
def test_a_copy_is_a_near_duplicate_and_another_picture_is_not(change) -> None:  # type: ignore[no-untyped-def]
    own = picture_hash(np.asarray(portrait()))
    assert hash_distance(own, picture_hash(np.asarray(change(portrait())))) <= sameness.DUPLICATE_BITS
    assert hash_distance(own, picture_hash(np.asarray(group()))) >= 12


def test_the_hash_of_a_mirror_image_follows_from_the_hash() -> None:
    mirrored = picture_hash(np.asarray(portrait().transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert hash_distance(mirrored_hash(picture_hash(np.asarray(portrait()))), mirrored) == 0
    assert mirrored_hash("80" + "00" * 7) == "fe" + "ff" * 7  # the first comparison of a row becomes the last, the other way


def test_hashes_that_are_near_an_earlier_one_are_found_with_how() -> None:
    own = "00ff00ff00ff1234"
    hashes = [own, None, "ffff00ff00000000", "00ff00ff00ff1235", mirrored_hash(own), own]
    assert list(find_like_hashes(hashes)) == [(0, 3, "near"), (0, 4, "mirrored"), (0, 5, "near")]
    assert len(list(find_like_hashes([own] * 1000))) == 999
    assert list(find_like_hashes([])) == list(find_like_hashes([None, own])) == []
