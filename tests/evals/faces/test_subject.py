"""Faces without an engine: the ladder, the subject, the pose, the policy scale, the protocol."""

from __future__ import annotations

import math

import numpy as np
import pytest

from evals.faces.dlib_engine import complete_landmarks
from evals.faces.face_engine import Face, Rgb, unit
from evals.faces.policy_scale import PolicyScale, doubt_of
from evals.faces.subject import LADDER_PIXELS, add_border, choose_subject, find_with_borders, has_second_face, is_stripe, measure_pose
from evals.judging.protocol import with_id
from evals.judging.references import content_id
from evals.load_thresholds import load_thresholds

POINTS = np.array([[40, 40], [60, 40], [50, 52], [42, 63], [58, 63]], dtype=np.float64)
ENGINES = load_thresholds()["face_similarity"]["engines"]


def face(x0: float, y0: float, x1: float, y1: float) -> Face:
    return Face((x0, y0, x1, y1), POINTS, 0.9)


class DetectorThatNeedsMargin:
    """Finds the one white square of a picture, but only where it keeps `margin` of the picture's width from every side."""

    def __init__(self, margin: float) -> None:
        self.margin = margin
        self.seen: list[tuple[int, int]] = []

    def __call__(self, rgb: Rgb) -> list[Face]:
        self.seen.append((rgb.shape[1], rgb.shape[0]))
        rows, columns = np.nonzero(rgb[..., 0] > 250)
        box = (float(columns.min()), float(rows.min()), float(columns.max()) + 1, float(rows.max()) + 1)
        need = self.margin * rgb.shape[1]
        if min(box[0], box[1], rgb.shape[1] - box[2], rgb.shape[0] - box[3]) < need:
            return []
        return [Face(box, np.array([[box[0], box[1]]] * 5), 0.9)]


def square_picture(side: int) -> Rgb:
    """A white square that leaves a twentieth of the picture on each side."""
    rgb = np.zeros((side, side, 3), dtype=np.uint8)
    edge = side // 20
    rgb[edge : side - edge, edge : side - edge] = 255
    return rgb


@pytest.mark.parametrize(
    ("margin", "attempt", "sizes"),
    [
        (0.04, "as_is", [(200, 200)]),
        # a border of 50 % doubles the picture: the margin of 10 becomes 110 of 400, 27.5 %
        (0.20, "border_50", [(200, 200), (400, 400)]),
        # 100 % triples it: 210 of 600, 35 %
        (0.30, "border_100", [(200, 200), (400, 400), (600, 600)]),
    ],
)
def test_the_ladder_borders_only_on_a_miss(margin: float, attempt: str, sizes: list[tuple[int, int]]) -> None:
    detector = DetectorThatNeedsMargin(margin)
    faces, found_by = find_with_borders(detector, square_picture(200))
    assert (found_by, detector.seen) == (attempt, sizes)
    assert faces[0].box == (10, 10, 190, 190)  # in pixels of the picture, whatever found it
    assert faces[0].landmarks[0].tolist() == [10, 10]


def test_a_large_picture_is_bordered_at_a_bounded_size() -> None:
    detector = DetectorThatNeedsMargin(0.20)
    faces, _ = find_with_borders(detector, square_picture(4000))
    assert detector.seen == [(4000, 4000), (LADDER_PIXELS, LADDER_PIXELS)]
    assert np.allclose(faces[0].box, (200, 200, 3800, 3800), atol=4)


def test_the_ladder_gives_up() -> None:
    detector = DetectorThatNeedsMargin(0.45)
    assert find_with_borders(detector, square_picture(200)) == ([], "")
    assert len(detector.seen) == 3


def test_the_border_is_solid_and_on_every_side() -> None:
    canvas, scale, left, top = add_border(np.full((10, 20, 3), 200, dtype=np.uint8), 0.5)
    assert (canvas.shape, scale, left, top) == ((20, 40, 3), 1.0, 10, 5)
    assert canvas[5:15, 10:30].min() == 200
    assert canvas.sum() == 10 * 20 * 3 * 200


@pytest.mark.parametrize(
    ("width", "height", "stripe"),
    [(1, 1, True), (7, 7, True), (8, 8, False), (5000, 3, True), (640, 8, False), (1280, 15, True), (1280, 16, False)],
)
def test_stripes_are_not_shown_to_detectors(width: int, height: int, stripe: bool) -> None:
    assert is_stripe(np.zeros((height, width, 3), dtype=np.uint8)) is stripe


@pytest.mark.parametrize(
    ("faces", "chosen"),
    [
        ([face(0, 0, 20, 20), face(30, 30, 80, 80)], 1),
        # a poster in the corner, larger than the subject: .36 - 2 * (.2² + .2²) = .20 against .16 - 0
        ([face(0, 0, 60, 60), face(30, 30, 70, 70)], 0),
        # further out it is not: .2025 - 2 * (.275² + .275²) = -.10 against .09
        ([face(0, 0, 45, 45), face(35, 35, 65, 65)], 1),
        ([face(35, 35, 65, 65), face(0, 0, 45, 45)], 0),
        ([face(90, 90, 100, 100)], 0),
    ],
    ids=["large and central", "much larger", "corner", "order does not matter", "alone"],
)
def test_the_subject_is_large_and_central(faces: list[Face], chosen: int) -> None:
    assert choose_subject(faces, 100, 100) is faces[chosen]


@pytest.mark.parametrize(("side", "flagged"), [(20, False), (28, False), (29, True), (60, True)], ids=str)
def test_a_second_face_of_half_the_area_is_flagged(side: int, flagged: bool) -> None:
    """Against a subject of 40 x 40 = 1600, half of which is 800: 28² = 784, 29² = 841."""
    subject = face(30, 30, 70, 70)
    assert has_second_face([subject, face(0, 0, side, side)], subject, 0.5) is flagged


HEAD = np.array([[-0.5, 0, 0], [0.5, 0, 0], [0, 0.6, 0.45], [-0.4, 1.1, 0], [0.4, 1.1, 0]])
"""A head in eye distances: eyes and mouth corners in one plane, the nose tip .45 before it."""


def project(yaw: float, roll: float, size: float = 100.0) -> np.ndarray:
    """The five points of the head, turned to the right of the picture by `yaw` and leaned clockwise by `roll`, seen from far away."""
    y, r = math.radians(yaw), math.radians(roll)
    turned = np.stack([HEAD[:, 0] * math.cos(y) + HEAD[:, 2] * math.sin(y), HEAD[:, 1]], axis=1)
    lean = np.array([[math.cos(r), -math.sin(r)], [math.sin(r), math.cos(r)]])
    return turned @ lean.T * size + 300


@pytest.mark.parametrize("roll", [-80, -15, 0, 30, 120])
@pytest.mark.parametrize("yaw", [-60, -20, 0, 10, 45, 75])
def test_pose(yaw: float, roll: float) -> None:
    assert measure_pose(project(yaw, roll)) == pytest.approx((yaw, roll), abs=1e-6)


def test_pose_of_a_point_is_no_error() -> None:
    assert measure_pose(np.full((5, 2), 7.0)) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("engine", "cosine", "score"),
    [
        # the map of buffalo_l is the identity, so that the specification's 0.60 means what it says
        *[("insightface_buffalo_l", value, value) for value in (0.0, 0.25, 0.5, 0.55, 0.6, 0.8, 1.0)],
        ("insightface_buffalo_l", -0.2, 0.0),
        ("insightface_mini", 0.02, 0.0),
        ("insightface_mini", 0.21, 0.25),  # half-way from .02 to .40
        ("insightface_mini", 0.40, 0.5),
        ("insightface_mini", 0.46, 0.6),
        ("insightface_mini", 0.73, 0.8),  # half-way from .46 to 1
        ("dlib_centred", 0.62, 0.5),
        ("dlib_centred", 0.65, 0.55),
        ("dlib_centred", 0.68, 0.6),
        ("dlib_centred", 1.0000001, 1.0),
    ],
)
def test_policy_scale(engine: str, cosine: float, score: float) -> None:
    assert PolicyScale.from_policy(ENGINES[engine]).score(cosine) == pytest.approx(score, abs=1e-12)


@pytest.mark.parametrize(
    ("more", "doubt"),
    [
        ({"model": "0123456789ab"}, ""),
        ({"model": "0123456789ab" + "0" * 52}, ""),
        ({"model": "ffffffffffff"}, "the marks of own in the policy were measured with another model file (ffffffffffff…)"),
        ({}, "the marks of own in the policy were not measured with this model file, as far as the policy says"),
        ({"note": "derived: measure it", "model": "0123456789ab"}, "the marks of own in the policy are derived: measure it"),
    ],
    ids=["measured", "measured, whole digest", "another file", "not said", "a note"],
)
def test_marks_that_may_not_fit_the_model_are_doubted(more: dict[str, str], doubt: str) -> None:
    row = {"stranger": 0.0, "warn": 0.4, "pass": 0.5, "same": 1.0, **more}
    assert doubt_of(row, "own", "0123456789ab" + "0" * 52) == doubt


def test_a_scale_is_written_as_it_is_read() -> None:
    row = {"stranger": 0.0, "warn": 0.4, "pass": 0.5, "same": 1.0}
    assert PolicyScale.from_policy({**row, "note": "x", "model": "y"}).to_json() == row


def test_unit_vectors() -> None:
    assert unit(np.array([[3.0, 4.0]])).tolist() == pytest.approx([0.6, 0.8])
    assert unit(np.zeros(3)).tolist() == [0, 0, 0]


@pytest.mark.parametrize("swapped", [False, True], ids=["left eye first", "right eye first"])
def test_landmarks_are_completed_from_eye_corners_and_nose(swapped: bool) -> None:
    """Eyes 20 apart at y = 40, nose base 16.6 below: the mouth at 16.6 / .83 = 20 below, .85 * 20 = 17 wide, the tip at .57 * 20 = 11.4."""
    left, right = [[38, 40], [42, 40]], [[58, 40], [62, 40]]
    points = np.array([*(right if swapped else left), *(left if swapped else right), [50, 56.6]], dtype=np.float64)
    expected = [[40, 40], [60, 40], [50, 51.4], [41.5, 60], [58.5, 60]]
    assert np.allclose(complete_landmarks(points), expected)


def test_a_turned_head_moves_the_tip_of_the_nose_further_than_its_base() -> None:
    """Eyes 20 apart, the base of the nose 2 to the right: the tip is 3.2 to the right, the mouth 1.6, so the tip stands out of the midline
    by 3.2 - .57 * 1.6 = 2.288, and tan(yaw) = 2.288 / (.45 * 20)."""
    points = np.array([[38, 40], [42, 40], [58, 40], [62, 40], [52, 56.6]], dtype=np.float64)
    yaw, roll = measure_pose(complete_landmarks(points))
    assert yaw == pytest.approx(math.degrees(math.atan(2.288 / 9)))
    assert roll == pytest.approx(0)


def test_a_set_is_its_contents() -> None:
    assert content_id(["b", "a"]) == content_id(["a", "b", "b"])
    assert content_id(["a"]) != content_id(["b"])
    assert len(content_id(["a"])) == 16


def test_a_protocol_is_all_of_it() -> None:
    first = with_id({"engine": "x", "models": {"a": "1", "b": "2"}})
    same = with_id({"id": "forged", "models": {"b": "2", "a": "1"}, "engine": "x"})
    assert first["id"] == same["id"]
    assert first["id"] != with_id({"engine": "x", "models": {"a": "1", "b": "3"}})["id"]
