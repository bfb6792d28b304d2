"""The watermark's benchmark: what it counts, and when it fails."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.varied_pictures import KINDS, SIZES, make_picture
from benchmarks.watermark import PUBLISHING, Result, main
from lifeos import cli


def write_pictures(folder: Path, *pictures: object) -> Path:
    folder.mkdir()
    for number, rgb in enumerate(pictures):
        Image.fromarray(np.asarray(rgb, dtype=np.uint8)).save(folder / f"{number}.png")
    return folder


def make_plain(height: int, width: int) -> object:
    """A gradient with a little noise."""
    noise = np.random.default_rng(1).normal(0, 3, (height, width, 3))
    return np.clip(noise + np.linspace(50, 200, width)[None, :, None], 0, 255)


def test_a_good_picture_and_one_that_cannot_be_marked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Half of the pictures lost is more than the goal allows."""
    folder = write_pictures(tmp_path / "pictures", make_plain(420, 400), make_plain(100, 400))
    assert cli.run(lambda: main(["--folder", str(folder), "--pictures", "2", "--unmarked", "2"])) == 1
    out = capsys.readouterr().out
    assert "2 pictures (2 yours); not to be marked: 1 yours: too_small" in out
    assert "JPEG 50                               50.0%    0  1 yours" in out
    assert "unmarked: 0 ids in 2 pictures, 0 ids in 2 parts; the pattern alone in 0" in out
    assert "goals: JPEG 90: read in 50.0%; at most 2048 a side, JPEG 90: read in 50.0%; " in out


def test_the_result_as_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_pictures(tmp_path / "pictures", make_plain(100, 400))
    assert cli.run(lambda: main(["--folder", str(folder), "--pictures", "1", "--unmarked", "1", "--json"])) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["refused"], document["unmarked"]) == ({"yours: too_small": 1}, {"pictures": 1, "parts": 1})
    assert document["missed"]["JPEG 50"] == {"yours": 1}
    assert document["read"]["JPEG 50"] == 0.0


def test_an_empty_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main(["--folder", str(tmp_path)])) == 2
    assert "no pictures in it" in capsys.readouterr().err


def test_each_goal_is_asked_for() -> None:
    result = Result()
    result.tried["photo"] = 100
    result.psnr = [46.0, 44.9]
    result.missed["JPEG 90"]["photo"] = 2
    result.missed["at most 1024 a side, JPEG 90"]["photo"] = 1
    result.wrong["JPEG 50"] = 1
    result.ids["parts"] = 3
    assert result.missed_goals() == ["JPEG 90: read in 98.0%", "JPEG 50: 1 wrong ids", "3 ids in unmarked parts", "44.9 dB"]
    assert set(PUBLISHING) <= set(result.missed)


def test_the_made_pictures_are_of_every_kind_and_always_the_same() -> None:
    made = [make_picture(number) for number in (1, 3)]
    assert [kind for kind, _ in made] == [KINDS[1], KINDS[3]]
    assert all(rgb.shape == (SIZES[0][1], SIZES[0][0], 3) for _, rgb in made)
    assert np.array_equal(made[1][1], make_picture(3)[1])
    assert not np.array_equal(made[1][1], make_picture(23)[1])  # of the same size and kind
