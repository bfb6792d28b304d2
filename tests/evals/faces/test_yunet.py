"""YuNet: a face shown again at its best size, and what several of its cells saw made one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evals.faces import model_files, yunet
from evals.faces.face_engine import Face, Rgb
from evals.faces.subject import choose_subject, measure_pose
from tests.evals.portraits import group, portrait


@pytest.fixture(scope="module")
def detector() -> yunet.YuNet:
    return yunet.YuNet(model_files.require(model_files.YUNET_INT8))


def rgb(image: object) -> Rgb:
    return np.asarray(image, dtype=np.uint8)


def points_of(detector: yunet.YuNet, picture: Rgb) -> np.ndarray:
    faces, _ = detector.find(picture)
    return choose_subject(faces, picture.shape[1], picture.shape[0]).landmarks


CROPS = ((170, 70, 275, 185), (160, 60, 285, 195), (150, 50, 300, 200), (175, 65, 290, 180), (140, 30, 310, 215), (100, 0, 350, 260))
"""Of the portrait, from the face alone to head and shoulders."""


def yaws(detector: yunet.YuNet) -> np.ndarray:
    """The yaw of one head in close-ups of 900 pixels that are cut out more and less tightly."""
    found = []
    for box in CROPS:
        width, height = box[2] - box[0], box[3] - box[1]
        close_up = rgb(portrait().crop(box).resize((900 * width // height, 900)))
        found.append(measure_pose(points_of(detector, close_up))[0])
    return np.array(found)


def test_the_pose_of_a_large_face_depends_less_on_the_crop_when_it_is_shown_again(detector: yunet.YuNet) -> None:
    once = yunet.YuNet(model_files.require(model_files.YUNET_INT8), refines=False)
    assert yaws(detector).std() < 2.0 < 3.0 < yaws(once).std()


def test_a_face_is_found_again_whatever_its_size_and_place(detector: yunet.YuNet) -> None:
    """By eye, in the 512 pixels of the portrait: eyes, nose tip and the corners of the mouth."""
    by_eye = np.array([[203, 102], [247, 104], [222, 126], [202, 141], [243, 143]])
    for side in (200, 512, 2048):
        found = points_of(detector, rgb(portrait().resize((side, side)))) * 512 / side
        assert np.abs(found - by_eye).max() < 6, side
    in_the_corner = rgb(portrait().crop((190, 70, 512, 512)))  # cut off at the left cheek and through the hair
    assert np.abs(points_of(detector, in_the_corner) - (by_eye - (190, 70))).max() < 6


def test_every_face_of_a_group_stays_itself(detector: yunet.YuNet) -> None:
    picture = rgb(group())
    first, again = detector.detect(picture), detector.find(picture)[0]
    assert len(first) == len(again) == 6
    assert all(yunet.overlap(one.box, other.box) > 0.6 for one, other in zip(first, again, strict=True))
    assert [one.confidence for one in again] == [one.confidence for one in first]


def test_a_box_without_a_face_in_it_is_left_as_it_is(detector: yunet.YuNet) -> None:
    empty = Face((380.0, 330.0, 470.0, 440.0), np.zeros((5, 2)), 0.7)  # of the portrait: a part of the suit
    assert detector.refine(rgb(portrait()), empty) is None
    outside = Face((900.0, 900.0, 990.0, 990.0), np.zeros((5, 2)), 0.7)
    assert detector.refine(rgb(portrait()), outside) is None


def test_points_for_a_face_that_another_engine_found(detector: yunet.YuNet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    picture = rgb(portrait())
    (own,) = detector.find(picture)[0]
    loose = Face((180.0, 55.0, 270.0, 165.0), np.zeros((5, 2)), 1.0)
    installed = yunet.open_installed()
    found = installed and installed.refine(picture, loose)
    assert found is not None and np.abs(found.landmarks - own.landmarks).max() < 3
    monkeypatch.setattr(model_files, "package_folders", list)
    monkeypatch.setattr(model_files, "model_folders", lambda: [tmp_path])
    assert yunet.open_installed() is None, "without its file there are no points"


def test_cells_that_agree_are_averaged_and_others_left_out() -> None:
    """Weights 1 and .5⁴ = 1/16 of two boxes that overlap by 90 / 110 = .82: the mean of x is (0·16 + 10) / 17."""
    sure = Face((0.0, 0.0, 100.0, 100.0), np.zeros((5, 2)), 1.0)
    other = Face((10.0, 0.0, 110.0, 100.0), np.full((5, 2), 17.0), 0.5)
    far = Face((60.0, 0.0, 160.0, 100.0), np.full((5, 2), 999.0), 0.9)
    mean = yunet.mean_face([other, sure, far])
    assert mean.box == pytest.approx((10 / 17, 0.0, 100 + 10 / 17, 100.0))
    assert mean.landmarks == pytest.approx(np.ones((5, 2)))
    assert mean.confidence == 1.0


@pytest.mark.parametrize(
    ("second", "share"),
    [((0, 0, 10, 10), 1.0), ((5, 0, 15, 10), 50 / 150), ((10, 0, 20, 10), 0.0), ((20, 20, 30, 30), 0.0), ((0, 0, 5, 10), 0.5)],
)
def test_overlap_of_boxes(second: tuple[int, int, int, int], share: float) -> None:
    assert yunet.overlap((0, 0, 10, 10), second) == pytest.approx(share)


def test_a_square_reaches_beyond_the_picture_in_black() -> None:
    picture = np.full((10, 20, 3), 200, dtype=np.uint8)
    seen, scale = yunet.show_square(picture, -10, -5, 20, 40)
    assert (scale, seen.shape) == (2.0, (40, 40, 3))
    assert (seen[10:30, 20:40] == 200).all() and int((seen > 0).sum()) == 20 * 20 * 3
    seen, scale = yunet.show_square(picture, 5, 0, 10, 5)
    assert (scale, seen.min()) == (0.5, 200)
    assert not yunet.show_square(picture, 100, 100, 10, 8)[0].any()
