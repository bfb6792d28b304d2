"""Assessments: references, reasons, flags, comparability, journals, verdicts. The engine is dlib, which is always there."""

from __future__ import annotations

import io
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from evals.faces import model_files
from evals.faces.subject import sight_subject
from evals.judging.assessor import Assessor, open_assessor
from evals.judging.picture_verdict import describe_miss, verdict
from evals.judging.records import REASONS, Assessment, FaceScore, Geometry, explain_reason
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore
from lifeos.errors import InputError
from lifeos.images import decode_picture
from tests.evals.portraits import group, noise, portrait, write_references
from tests.lifeos.display_profiles import profile_of

POLICY = load_thresholds()


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_references(tmp_path_factory.mktemp("references"))


@pytest.fixture(scope="module")
def assessor(references: Path) -> Assessor:
    return open_assessor(references, POLICY, engine="dlib", model_root=references)


def reopen(references: Path, policy: dict[str, Any] = POLICY, **options: Any) -> Assessor:
    return open_assessor(references, policy, engine="dlib", model_root=references, **options)


def test_a_good_picture(assessor: Assessor, tmp_path: Path) -> None:
    path = tmp_path / "good.png"
    portrait().resize((600, 600)).save(path)
    found = assessor.assess(path)
    assert found.file == path.as_posix()
    assert (found.width, found.height, found.reason) == (600, 600, None)
    assert found.face.score is not None and found.face.score > 0.9
    assert found.face.cosine is not None
    assert found.face.score == pytest.approx(0.6 + 0.4 * (found.face.cosine - 0.68) / (1 - 0.68), abs=2e-6)  # the row's .68 → .60, 1 → 1
    assert (found.face.faces, found.face.attempt, found.face.reason) == (1, "as_is", None)
    assert found.face.best_reference in {"r1.png", "r2.png", "r3.png"}
    assert found.skin.score is not None and found.skin.score > POLICY["skin_realism"]["overall_pass_threshold"]
    assert found.dhash is not None and len(found.dhash) == 16
    geometry = found.geometry
    assert geometry is not None
    assert abs(geometry.yaw) < 10 and abs(geometry.roll) < 10
    # the face's centre is at (225, 118) of 512, its height about 100
    assert geometry.center_x == pytest.approx(225 / 512, abs=0.02)
    assert geometry.center_y == pytest.approx(118 / 512, abs=0.04)
    assert geometry.face_height == pytest.approx(100 / 512, abs=0.06)
    assert geometry.face_area == pytest.approx(100 * 95 / 512**2, rel=0.3)
    assert geometry.landmarks[0][0] < geometry.landmarks[1][0] < 0.6


def test_exif_rotation_does_not_matter(assessor: Assessor, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # shown a quarter to the right, so stored a quarter to the left
    portrait().save(tmp_path / "upright.png")
    portrait().transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright, turned = (assessor.assess(tmp_path / name) for name in ("upright.png", "turned.png"))
    assert upright.face.score == turned.face.score is not None
    assert upright.skin == turned.skin


def picture_bytes(image: Image.Image, tmp_path: Path) -> bytes:
    image.save(tmp_path / "picture.png")
    return (tmp_path / "picture.png").read_bytes()


@pytest.mark.parametrize(
    ("make", "reason", "face_reason", "skin_reason"),
    [
        (lambda whole: whole[: len(whole) // 2], "truncated", "truncated", "truncated"),
        (lambda whole: b"", "empty", "empty", "empty"),
        (lambda whole: b"no picture", "unreadable", "unreadable", "unreadable"),
    ],
    ids=["cut off", "empty", "garbage"],
)
def test_a_bad_picture_has_a_reason(
    make: Callable[[bytes], bytes], reason: str, face_reason: str, skin_reason: str, assessor: Assessor, tmp_path: Path
) -> None:
    found = assessor.assess_bytes(make(picture_bytes(portrait(), tmp_path)), tmp_path / "bad.png")
    assert (found.reason, found.face.reason, found.skin.reason) == (reason, face_reason, skin_reason)
    assert found.face.score is found.skin.score is found.geometry is found.dhash is None
    assert found.sha256 is not None


def test_a_missing_file_has_a_reason(assessor: Assessor, tmp_path: Path) -> None:
    found = assessor.assess(tmp_path / "gone.png")
    assert (found.reason, found.sha256) == ("unreadable", None)


def test_no_face_is_no_score(assessor: Assessor, tmp_path: Path) -> None:
    found = assessor.assess_bytes(picture_bytes(noise(), tmp_path), tmp_path / "scene.png")
    assert found.reason is None and found.face == FaceScore(None, "no_face") and found.skin.reason == "no_face"
    assert found.dhash is not None  # two empty scenes may be the same all the same


def test_a_grey_picture_has_a_face_and_no_skin(assessor: Assessor, tmp_path: Path) -> None:
    found = assessor.assess_bytes(picture_bytes(portrait().convert("L"), tmp_path), tmp_path / "grey.png")
    assert found.face.score is not None and found.face.score > 0.8
    assert (found.skin.score, found.skin.reason) == (None, "grey")
    assert verdict(found, POLICY).reasons == ("skin cannot be judged: the picture has no colour",)


def test_flags(assessor: Assessor, references: Path, tmp_path: Path) -> None:
    assert "reference_picture" in assessor.assess(references / "r1.png").face.flags
    several = assessor.assess_bytes(picture_bytes(group(), tmp_path), tmp_path / "group.png")
    assert several.face.faces >= 6 and "second_face" in several.face.flags
    small = assessor.assess_bytes(picture_bytes(portrait().resize((400, 400)), tmp_path), tmp_path / "small.png")
    assert "small_face" in small.face.flags  # its 100 pixels are 78 here
    large = assessor.assess_bytes(picture_bytes(portrait().resize((800, 800)), tmp_path), tmp_path / "large.png")
    assert large.face.flags == ()


def test_a_face_turned_away_is_flagged(references: Path, tmp_path: Path) -> None:
    policy = json.loads(json.dumps(POLICY))
    policy["face_similarity"]["low_confidence_yaw_deg"] = 0
    found = reopen(references, policy).assess_bytes(picture_bytes(portrait(), tmp_path), tmp_path / "a.png")
    assert "turned_away" in found.face.flags


def test_assess_many_keeps_the_order_and_decodes_the_same_bytes_once(references: Path, tmp_path: Path, monkeypatch: Any) -> None:
    import lifeos.images

    decoded: list[str] = []
    decode = lifeos.images.decode_picture

    def counting(data: bytes, path: Path, **options: Any) -> Any:
        decoded.append(path.name)
        return decode(data, path, **options)

    assessor = reopen(references)
    monkeypatch.setattr(lifeos.images, "decode_picture", counting)
    names = [f"{number:02d}.png" for number in range(12)]
    for number, name in enumerate(names):
        noise(40 + number % 3, 40).save(tmp_path / name)
    found = list(assessor.assess_many([tmp_path / name for name in names], workers=1))
    assert [Path(item.file).name for item in found] == names
    assert [item.width for item in found] == [40 + number % 3 for number in range(12)]
    assert decoded == ["00.png", "01.png", "02.png"]


def test_assess_many_stops_when_the_caller_does(assessor: Assessor, tmp_path: Path) -> None:
    taken: list[int] = []

    def paths() -> Any:
        for number in range(1000):
            taken.append(number)
            yield tmp_path / f"{number}.png"

    found = assessor.assess_many(paths(), workers=2)
    assert next(found).reason == "unreadable"
    found.close()  # type: ignore[attr-defined]
    assert len(taken) < 20  # a thousand pictures are never all in memory


def copied(references: Path, folder: Path, names: dict[str, str]) -> Path:
    folder.mkdir()
    for name, new in names.items():
        shutil.copy(references / name, folder / new)
    return folder


def test_a_protocol_is_the_same_for_the_same_references_under_other_names(assessor: Assessor, references: Path, tmp_path: Path) -> None:
    renamed = reopen(copied(references, tmp_path / "a", {"r1.png": "z.png", "r2.png": "y.png", "r3.png": "x.png"}))
    assert renamed.protocol == assessor.protocol
    fewer = reopen(copied(references, tmp_path / "b", {"r1.png": "r1.png", "r2.png": "r2.png"}))
    assert fewer.protocol["id"] != assessor.protocol["id"]
    assert fewer.protocol["reference_set_id"] != assessor.protocol["reference_set_id"]


def in_display_p3(image: Image.Image, path: Path) -> Path:
    """The same look in other numbers, with the profile that says so."""
    profile = profile_of("Display P3")
    source, target = ImageCms.createProfile("sRGB"), ImageCms.ImageCmsProfile(io.BytesIO(profile))
    converted = ImageCms.profileToProfile(image.convert("RGB"), source, target)
    assert converted is not None and np.abs(np.asarray(converted).astype(int) - np.asarray(image.convert("RGB"))).max() > 15
    converted.save(path, icc_profile=profile)
    return path


def test_colours_are_judged_as_they_look(assessor: Assessor, references: Path, tmp_path: Path) -> None:
    image = portrait().resize((600, 600))
    image.save(tmp_path / "srgb.png")
    plain, wide = assessor.assess(tmp_path / "srgb.png"), assessor.assess(in_display_p3(image, tmp_path / "p3.png"))
    assert (wide.face.score, wide.skin.color) == (pytest.approx(plain.face.score, abs=0.01), pytest.approx(plain.skin.color, abs=0.03))
    assert "converted_colors" in wide.face.flags and "converted_colors" in wide.skin.flags
    assert "converted_colors" not in plain.face.flags + plain.skin.flags


def test_converted_references_are_another_protocol(assessor: Assessor, references: Path, tmp_path: Path) -> None:
    """Version 3.0 took their colours as they stood in the file. Where none is converted, the protocol is that of 3.0."""
    assert "reference_colors" not in assessor.protocol
    folder = copied(references, tmp_path / "refs", {"r1.png": "r1.png"})
    in_display_p3(portrait(), folder / "p3.png")
    assert reopen(folder).protocol["reference_colors"] == "converted to sRGB"


def test_a_protocol_differs_where_scores_do(assessor: Assessor, references: Path, model_root: Path) -> None:
    policy = json.loads(json.dumps(POLICY))
    policy["face_similarity"]["engines"]["dlib_centred"]["pass"] = 0.7
    other_detector = reopen(references, begun={"engine": "dlib", "detector": {"name": "dlib_hog"}})
    other_engine = open_assessor(references, POLICY, engine="insightface", model_root=model_root, model_pack="mini")
    ids = [item.protocol["id"] for item in (assessor, reopen(references, policy), other_detector, other_engine)]
    assert len(set(ids)) == 4
    policy["face_similarity"]["engines"]["dlib_centred"]["pass"] = 0.68
    policy["face_similarity"]["pass_threshold"] = 0.9  # judging is not measuring
    assert reopen(references, policy).protocol["id"] == assessor.protocol["id"]


def test_a_protocol_names_whose_points_the_skin_has(assessor: Assessor, references: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert assessor.protocol["skin_points"] == "yunet 49f000ec501fef24"
    unasked = reopen(references, want_skin=False).protocol
    assert "skin_points" not in unasked and unasked["skin_metric"] is None
    own_detector = {"engine": "dlib", "detector": {"name": "dlib_hog"}}
    before = reopen(references, begun=own_detector).protocol
    monkeypatch.setattr(model_files, "package_folders", list)
    monkeypatch.setattr(model_files, "model_folders", list)
    after = reopen(references, begun=own_detector).protocol
    assert after["skin_points"] == "the engine's" and after["id"] != before["id"]
    assert {key for key in after if after[key] != before[key]} == {"skin_points", "id"}


def test_marks_that_were_not_measured_are_said_with_the_scores(assessor: Assessor, references: Path) -> None:
    assert not any("the marks of" in line for line in assessor.warnings)
    policy = json.loads(json.dumps(POLICY))
    policy["face_similarity"]["engines"]["dlib_centred"]["model"] = "49f000ec501f"  # the detector's
    assert (
        "the marks of dlib_centred in the policy were measured with another model file (49f000ec501f…)"
        in reopen(references, policy).warnings
    )


def test_an_insightface_pack_serves_both_scores(references: Path, model_root: Path, tmp_path: Path) -> None:
    assessor = open_assessor(references, POLICY, engine="auto", model_root=model_root)
    assert assessor.description.startswith("face engine insightface (mini, CPUExecutionProvider), 3 references, protocol ")
    found = assessor.assess_bytes(picture_bytes(portrait().resize((640, 640)), tmp_path), tmp_path / "a.png")
    assert verdict(found, POLICY).approved
    stranger = assessor.assess_bytes(picture_bytes(group(), tmp_path), tmp_path / "b.png")
    assert stranger.face.score is not None and stranger.face.score < 0.3
    assert not verdict(stranger, POLICY).approved


def test_the_score_is_the_cosine_to_the_middle_of_the_references(references: Path, tmp_path: Path) -> None:
    """A stranger among two references moves the middle: (c1 + c2) / |r1 + r2|, where a maximum would not notice."""
    alone = reopen(copied(references, tmp_path / "one", {"r1.png": "r1.png"}))
    both = copied(references, tmp_path / "two", {"r1.png": "r1.png"})
    group().crop((0, 200, 260, 520)).save(both / "stranger.png")
    mixed = reopen(both)
    data = picture_bytes(portrait().resize((600, 600)), tmp_path)
    first, second = (item.assess_bytes(data, tmp_path / "a.png").face for item in (alone, mixed))
    stranger = float(mixed.references.embeddings[1] @ mixed.references.embeddings[0])
    assert first.cosine is not None and second.cosine is not None
    sighting = sight_subject(mixed.engine, decode_picture(data, tmp_path / "a.png").rgb)
    assert sighting is not None
    to_each = [float(row @ sighting.embedding) for row in mixed.references.embeddings]
    assert to_each[0] == pytest.approx(first.cosine, abs=1e-6)
    assert second.cosine == pytest.approx(sum(to_each) / math.sqrt(2 + 2 * stranger), abs=1e-6)
    assert second.cosine < first.cosine - 0.1
    assert second.best_reference == "r1.png"


def test_unusable_references_are_named_and_left_out(references: Path, tmp_path: Path) -> None:
    folder = copied(references, tmp_path / "refs", {"r1.png": "a.png"})
    shutil.copy(references / "r1.png", folder / "b.png")
    noise().save(folder / "c.png")
    (folder / "d.png").write_bytes(b"x")
    (folder / "notes.txt").write_text("not a picture")
    warnings = reopen(folder).warnings
    assert warnings == (
        "reference b.png left out: the same picture as a.png",
        "reference c.png left out: no face found",
        "reference d.png left out: not a PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP picture",
        "only one reference with a face: scores depend on that one picture; five or more are steadier",
    )


def test_references_without_colour_are_told(tmp_path: Path) -> None:
    portrait().convert("L").save(tmp_path / "grey.png")
    warnings = reopen(tmp_path).warnings
    assert warnings[-1].startswith("no reference shows enough skin in colour: skin cannot be judged")
    assert not any(line.startswith("no reference") for line in reopen(tmp_path, want_skin=False).warnings)


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (None, "no such directory (give --reference-dir an existing directory)"),
        ({}, "no pictures in it (give --reference-dir a folder with PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP pictures of the character)"),
        (
            {"a.png": b"x", "b.png": b"", "c.png": b"x", "d.png": b"x"},
            "no usable reference: reference a.png left out: not a PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP picture; reference b.png left "
            "out: the file is empty; reference c.png left out: not a PNG, JPEG, WebP, AVIF, TIFF, GIF or BMP picture and 1 more (give "
            "--reference-dir pictures that show the character's face)",
        ),
    ],
    ids=["missing", "empty", "nothing usable"],
)
def test_no_reference_at_all(fill: dict[str, bytes] | None, message: str, tmp_path: Path) -> None:
    folder = tmp_path / "refs"
    if fill is not None:
        folder.mkdir()
        for name, data in fill.items():
            (folder / name).write_bytes(data)
    with pytest.raises(InputError) as caught:
        open_assessor(folder, POLICY, engine="dlib", model_root=tmp_path)
    assert str(caught.value) == f"{folder}: {message}"


FULL = Assessment(
    "a/b.png",
    "ab" * 32,
    832,
    1216,
    None,
    FaceScore(0.7, None, 0.41, 2, "r1.png", "border_50", ("second_face",)),
    SkinScore(0.8, None, 0.9, 0.7, ("too_smooth",)),
    Geometry(-12.5, 3.0, 0.1, 0.3, 0.5, 0.4, "close-up", ((0.1, 0.2), (0.3, 0.2), (0.2, 0.3), (0.1, 0.4), (0.3, 0.4))),
    "0123456789abcdef",
)
BARE = Assessment("x", None, 0, 0, "empty", FaceScore(None, "empty"), SkinScore(None, "empty"))


@pytest.mark.parametrize("item", [FULL, BARE], ids=["full", "bare"])
def test_a_journal_gives_back_what_was_written(item: Assessment) -> None:
    assert Assessment.from_json(json.loads(json.dumps(item.to_json()))) == item


def test_a_measured_assessment_survives_the_journal(assessor: Assessor, tmp_path: Path) -> None:
    found = assessor.assess_bytes(picture_bytes(portrait(), tmp_path), tmp_path / "a.png")
    assert Assessment.from_json(json.loads(json.dumps(found.to_json(), allow_nan=False))) == found


def scored(face: float | None, skin: float | None, texture: float | None = 0.9, color: float | None = 0.9) -> Assessment:
    face_score = FaceScore(face, None if face is not None else "no_face")
    skin_score = SkinScore(skin, None, texture, color) if skin is not None else SkinScore(None, "face_too_small")
    return Assessment("a.png", "00", 1, 1, None, face_score, skin_score)


@pytest.mark.parametrize(
    ("item", "reasons"),
    [
        (scored(0.60, 0.60, 0.60, 0.55), ()),
        (scored(0.59996, 0.6), ()),  # 0.6000 at 4 decimals
        (scored(0.59994, 0.6), ("face similarity 0.5999 is below 0.6000",)),
        (scored(0.41, 0.6), ("face similarity 0.41 is below 0.60",)),
        (scored(0.597, 0.3), ("face similarity 0.597 is below 0.600", "skin realism 0.30 is below 0.60")),
        (scored(0.9, 0.7, 0.5, 0.5), ("skin texture 0.50 is below 0.60", "skin colour 0.50 is below 0.55")),
        (scored(0.9, None), ("skin cannot be judged: the face is too small",)),
        (scored(None, None), ("no face found",)),
        (scored(0.0, 0.0, 0.0, 0.0), (
            "face similarity 0.00 is below 0.60", "skin realism 0.00 is below 0.60",
            "skin texture 0.00 is below 0.60", "skin colour 0.00 is below 0.55",
        )),
        (BARE, ("the file is empty",)),
    ],
)  # fmt: skip
def test_verdict(item: Assessment, reasons: tuple[str, ...]) -> None:
    judged = verdict(item, POLICY)
    assert (judged.approved, judged.reasons) == (not reasons, reasons)


def test_thresholds_of_zero_let_every_scored_picture_pass() -> None:
    keys = ("overall_pass_threshold", "texture_pass_threshold", "color_naturalness_pass_threshold")
    overrides = {"face_similarity.pass_threshold": 0.0, **{f"skin_realism.{key}": 0.0 for key in keys}}
    policy = load_thresholds(overrides=overrides)
    assert verdict(scored(0.0, 0.0, 0.0, 0.0), policy).approved
    assert not verdict(scored(None, None), policy).approved


def test_skin_that_was_not_asked_for_is_no_gate(references: Path, tmp_path: Path) -> None:
    found = reopen(references, want_skin=False).assess_bytes(picture_bytes(portrait(), tmp_path), tmp_path / "a.png")
    assert found.skin == SkinScore(None, "not_measured")
    assert verdict(found, POLICY).approved


def test_a_miss_is_shown_with_the_decimals_that_show_it() -> None:
    assert describe_miss("x", 0.5, 0.6) == "x 0.50 is below 0.60"
    assert describe_miss("x", 0.5951, 0.6) == "x 0.595 is below 0.600"


def test_every_reason_has_words() -> None:
    assert explain_reason("truncated") == "the file is cut off"
    assert explain_reason("something_new") == "something new"
    assert all(np.char.islower(text[0]) for text in REASONS.values())
