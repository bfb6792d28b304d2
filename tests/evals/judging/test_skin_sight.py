"""One picture, two engines, one verdict on the skin: every engine's faces are looked at with the same landmarks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from evals.faces import model_files
from evals.faces.engines import choose_engine
from evals.faces.face_engine import Face, Rgb
from evals.judging.skin_sight import ENGINES_OWN, SkinSight
from evals.load_thresholds import load_thresholds
from evals.skin.measurement import measure_skin
from evals.skin.realism import SkinReference, score_skin
from tests.evals.faces.toy_engine import ToyEngine
from tests.evals.portraits import portrait


def enlarged() -> Rgb:
    return np.asarray(portrait().resize((1024, 1024)))


class WanderingEngine(ToyEngine):
    """Sees the same face with points of its own, some pixels off."""

    def find(self, rgb: Rgb) -> tuple[list[Face], str]:
        faces, attempt = super().find(rgb)
        return [replace(face, landmarks=np.add(face.landmarks, (9.0, 6.0))) for face in faces], attempt


class SeeingEngine(ToyEngine):
    """Takes YuNet's points itself."""

    def identity(self) -> dict[str, Any]:
        detector = {"name": "yunet", "refined_at": 200}
        return {**super().identity(), "models": {"yunet": model_files.YUNET_INT8.sha256}, "detector": detector}


def test_two_engines_see_the_same_skin() -> None:
    rgb = enlarged()
    found = []
    for engine in (ToyEngine(), WanderingEngine()):
        face = engine.find(rgb)[0][0]
        found.append((SkinSight(engine).measure(rgb, face), measure_skin(rgb, face.landmarks, face.box)))
    (mine, raw), (theirs, raw_theirs) = found
    reference = SkinReference.from_measurements([mine])
    assert score_skin(mine, reference) == score_skin(theirs, reference)
    assert score_skin(raw, reference) != score_skin(raw_theirs, reference)
    assert {SkinSight(engine).points for engine in (ToyEngine(), WanderingEngine(), SeeingEngine())} == {
        f"yunet {model_files.YUNET_INT8.sha256[:16]}"
    }


def test_points_of_yunet_are_not_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.faces.yunet.YuNet.refine", lambda *_: pytest.fail("a second look"))
    face = SeeingEngine().find(enlarged())[0][0]
    assert SkinSight(SeeingEngine()).measure(enlarged(), face).levels


@pytest.mark.parametrize("name", ["sface", "dlib"])
def test_an_engine_of_ours_has_looked_already(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = choose_engine(name, load_thresholds())
    face = engine.find(enlarged())[0][0]
    monkeypatch.setattr("evals.faces.yunet.YuNet.refine", lambda *_: pytest.fail("a second look"))
    assert SkinSight(engine).measure(enlarged(), face).levels


def test_the_search_for_yunet_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that goes away while a batch runs leaves it with the points that its protocol names."""
    sight, face = SkinSight(WanderingEngine()), WanderingEngine().find(enlarged())[0][0]
    before = sight.measure(enlarged(), face)
    monkeypatch.setattr(model_files, "find", lambda file, folders=(): None)
    assert sight.measure(enlarged(), face).levels[64].texture == before.levels[64].texture


def test_without_yunet_the_engines_own_points_are_taken_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_files, "find", lambda file, folders=(): None)
    sight, face = SkinSight(WanderingEngine()), WanderingEngine().find(enlarged())[0][0]
    assert sight.points == ENGINES_OWN
    own, found = measure_skin(enlarged(), face.landmarks, face.box), sight.measure(enlarged(), face)
    assert found.levels[64].texture == own.levels[64].texture


def test_a_face_that_yunet_does_not_see_keeps_its_points() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (512, 512, 3), dtype=np.uint8)
    face = ToyEngine().find(noise)[0][0]
    assert SkinSight(ToyEngine()).measure(noise, face).unit == measure_skin(noise, face.landmarks, face.box).unit
