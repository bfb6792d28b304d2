import numpy as np
import pytest

from evals.faces.centroid import centroid_of, left_out_cosines

RIGHT, UP = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]


def test_the_middle_has_length_one() -> None:
    """Half-way between two at a right angle: 45°, so .7071 to each; the mean of the cosines would be .5."""
    middle = centroid_of(np.array([RIGHT, UP]))
    assert middle.tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])


def test_each_is_held_against_the_middle_of_the_others() -> None:
    """Two alike and one at a right angle: each of the two sees a middle at 45°, the third sees the other two, at 90°."""
    assert left_out_cosines(np.array([RIGHT, RIGHT, UP])).tolist() == pytest.approx([0.5**0.5, 0.5**0.5, 0.0])


def test_one_face_alone_is_like_nothing() -> None:
    assert left_out_cosines(np.array([RIGHT])).tolist() == []
