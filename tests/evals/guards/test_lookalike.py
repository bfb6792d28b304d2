"""The guard *lookalike*: whoever is listed is found, nobody else; a folder that cannot serve is refused before anything is judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import ImageEnhance

from evals import scorecard
from evals.judging.picture_verdict import verdict
from lifeos import cli
from lifeos.errors import InputError
from tests.evals.guards.people import open_with, policy_with, saved, strangers
from tests.evals.portraits import group, noise, portrait, write_references

LIMIT = 0.6


def write_listed(folder: Path) -> Path:
    """Two people, one of them under a name that says who it is; a group picture; and a scene with nobody in it."""
    saved(strangers()[0], folder / "first" / "somebody-else.png")
    saved(strangers()[2], folder / "Jane Doe.png")
    return folder


def guard(folder: Path) -> dict[str, object]:
    return {"limit": LIMIT, "folder": str(folder)}


def test_whoever_is_listed_is_found_and_named_to_the_owner_alone(references: Path, tmp_path: Path) -> None:
    on = guard(write_listed(tmp_path / "listed"))
    assessor, policy = open_with(references, lookalike=on), policy_with(lookalike=on)
    other = ImageEnhance.Brightness(strangers()[2].rotate(4).crop((10, 10, 390, 430))).enhance(1.1)
    found = assessor.assess(saved(other, tmp_path / "other.png"))
    reading, judged = found.measures["lookalike"], verdict(found, policy)
    assert reading.score is not None and reading.score > 0.8
    told = f"likeness to a listed person {reading.score:.2f} is above 0.60"
    assert f"{told}: nearest is Jane Doe.png" in judged.reasons
    assert told in judged.public_reasons and not any("Jane" in text for text in judged.public_reasons)
    assert "Jane" not in json.dumps(found.public.to_json())
    own = assessor.assess(saved(portrait(), tmp_path / "own.png"))
    assert own.measures["lookalike"].score is not None and own.measures["lookalike"].score < LIMIT
    assert verdict(own, policy).approved


def test_a_listed_person_behind_the_subject_counts(references: Path, tmp_path: Path) -> None:
    """Every face is compared, not the subject's alone."""
    on = guard(write_listed(tmp_path / "listed"))
    picture = portrait().copy()
    picture.paste(strangers()[2].resize((130, 143)), (10, 30))
    found = open_with(references, lookalike=on).assess(saved(picture, tmp_path / "behind.png"))
    assert found.face.faces == 2 and found.face.score is not None and found.face.score > 0.9
    assert [text.rpartition(": ")[2] for text in verdict(found, policy_with(lookalike=on)).reasons] == ["nearest is Jane Doe.png"]


def test_each_face_of_a_group_picture_counts(references: Path, tmp_path: Path) -> None:
    saved(group(), tmp_path / "listed" / "all.png")
    assessor = open_with(references, lookalike=guard(tmp_path / "listed"))
    for number, person in enumerate(strangers()):
        reading = assessor.assess(saved(person, tmp_path / f"{number}.png")).measures["lookalike"]
        assert reading.score is not None and reading.score > 0.8, number


def test_the_folder_is_part_of_the_protocol_by_what_is_in_it(references: Path, tmp_path: Path) -> None:
    here, there = write_listed(tmp_path / "here"), write_listed(tmp_path / "there")
    protocols = [open_with(references, lookalike=guard(folder)).protocol for folder in (here, there)]
    assert protocols[0] == protocols[1] and protocols[0]["measures"]["lookalike"].startswith("lookalike/1 people ")
    saved(strangers()[4], there / "one more.png")
    assert open_with(references, lookalike=guard(there)).protocol["id"] != protocols[0]["id"]


def test_what_shows_nobody_is_counted_and_named(references: Path, tmp_path: Path) -> None:
    folder = write_listed(tmp_path / "listed")
    saved(noise(), folder / "scene.png")
    (folder / "cut.png").write_bytes((folder / "Jane Doe.png").read_bytes()[:2000])
    assessor = open_with(references, lookalike=guard(folder))
    assert "listed people: 2 files show no face that could be compared" in assessor.warnings
    assert [line.partition(" (")[0] for line in assessor.for_owner] == [
        "listed picture left out: cut.png",
        "listed picture left out: scene.png",
    ]
    assert not any("scene" in line for line in assessor.warnings)


def test_a_character_who_is_listed_is_told_at_once(references: Path, tmp_path: Path) -> None:
    saved(portrait().rotate(5), tmp_path / "listed" / "a.png")
    assessor = open_with(references, lookalike=guard(tmp_path / "listed"))
    assert any("the references themselves look like a listed person" in line for line in assessor.warnings)


def make_nothing(folder: Path) -> None:
    folder.mkdir()


def make_scene(folder: Path) -> None:
    saved(noise(), folder / "scene.png")


def make_broken(folder: Path) -> None:
    folder.mkdir()
    (folder / "a.png").write_bytes(b"no picture")


def make_file(folder: Path) -> None:
    folder.write_bytes(b"")


BAD = {
    "nothing in it": (make_nothing, "no pictures in it"),
    "nobody in it": (make_scene, "shows nobody's face: scene.png (no face found)"),
    "nothing that can be read": (make_broken, "shows nobody's face: a.png ("),
    "a file": (make_file, "is a file, not a directory"),
    "not there": (lambda folder: None, "no such directory"),
}


@pytest.mark.parametrize(("make", "why"), BAD.values(), ids=BAD)
def test_a_folder_that_cannot_serve(references: Path, tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    make(tmp_path / "listed")
    with pytest.raises(InputError) as caught:
        open_with(references, lookalike=guard(tmp_path / "listed"))
    assert caught.value.why.startswith(why) and str(caught.value.what).endswith("listed") and "--listed-dir" in caught.value.fix


def test_a_limit_without_a_folder_and_a_folder_without_a_limit(references: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gates\.lookalike: has a limit, but no folder .*--listed-dir"):
        open_with(references, lookalike={"limit": LIMIT})
    flags = ["--generated", str(references), "--reference", str(references), "--listed-dir", str(references)]
    with pytest.raises(InputError, match=r"gates\.lookalike: has no limit, so that guard is off.*--lookalike-threshold"):
        scorecard.main(flags)


def test_the_command_line_names_folder_and_limit_and_the_card_names_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    listed, references = write_listed(tmp_path / "listed"), write_references(tmp_path / "references")
    for number, picture in enumerate((portrait(), portrait().rotate(6), strangers()[2]), 1):
        saved(picture, tmp_path / "made" / f"step1_str0.80_{number:04d}_p{number:03d}_v01_seed{number}_x.png")
    files = {"--output-json": "card.json", "--latest-report": "card.md", "--history-file": "h.jsonl"}
    flags = [word for flag, name in files.items() for word in (flag, str(tmp_path / name))]
    guards = ["--listed-dir", str(listed), "--lookalike-threshold", "0.6", "--second-face-threshold", "0.5"]
    places = ["--generated", str(tmp_path / "made"), "--reference", str(references), "--engine", "sface", "--run-id", "a"]
    assert cli.run(lambda: scorecard.main([*places, *flags, *guards])) == 0
    card = json.loads((tmp_path / "card.json").read_text(encoding="utf-8"))
    row = json.loads((tmp_path / "h.jsonl").read_text(encoding="utf-8"))
    assert [picture["approved"] for picture in row["images"]] == [True, True, False]
    assert row["images"][2]["lookalike"] > 0.8 and row["images"][0]["second_face"] == 0.0
    assert any("likeness to a listed person" in text for picture in card["per_image"] for text in picture["reasons"])
    written = "".join((tmp_path / name).read_text(encoding="utf-8") for name in files.values())
    assert "Jane" not in written + capsys.readouterr().out
