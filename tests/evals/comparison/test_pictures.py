"""Pictures of runs: where they lie, what their batch says, whether they repeat the training set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from evals.comparison.comparing import compare
from evals.comparison.contact_sheet import choose_couples
from evals.comparison.memorisation import check_memorised
from evals.comparison.pictures import find_run_pictures, with_batch_facts
from evals.comparison.rendering import render
from evals.comparison.rescoring import rescore
from evals.comparison.runs import Run, read_run
from evals.load_thresholds import load_thresholds
from lifeos.errors import UnavailableError
from lifeos.files import sha256_file
from tests.evals.comparison.rows import make_row, steady
from tools.comfyui.embedded import render_references

POLICY = load_thresholds()


def run_with(files: list[str], **changes: Any) -> Run:
    images = [{"file": name, "prompt_id": number, "seed": 1, "face": 0.6, "skin": 0.6} for number, name in enumerate(files)]
    return read_run({"schema_version": 1, "run_id": "a", "eval_scores": {}, "images": images, **changes})


def write_picture(path: Path, colour: str = "red") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 60), colour).save(path)
    return path


def test_pictures_are_found_where_a_batch_files_them(tmp_path: Path) -> None:
    write_picture(tmp_path / "approved" / "1.png")
    write_picture(tmp_path / "rejected" / "2.png")
    run = run_with(["1.png", "approved/2.png", "3.png"], generated_dir=str(tmp_path))
    wanted = {"1.png": tmp_path / "approved" / "1.png", "approved/2.png": tmp_path / "rejected" / "2.png"}
    assert find_run_pictures(run) == wanted
    assert find_run_pictures(run_with(["1.png"]), tmp_path) == {"1.png": tmp_path / "approved" / "1.png"}
    assert find_run_pictures(run_with(["1.png"])) == {}


def test_sameness_and_cost_come_from_the_batch_of_that_run_only(tmp_path: Path) -> None:
    report = {"run_id": "a", "sameness": {"yaw_spread_deg": 3.5}, "cost": {"usd_per_approved": 0.0123}}
    (tmp_path / "batch_report.json").write_text(json.dumps(report))
    first, second = read_run(make_row("a", steady(0.5))), read_run(make_row("b", steady(0.6)))
    report_text = render(compare([with_batch_facts(first, tmp_path)], [with_batch_facts(second, tmp_path)], POLICY))
    assert "| Spread of head turns (sameness: under 5° is one pose over and over) | 3.5° | - |" in report_text
    assert "| Cost per approved picture | $0.012 | - |" in report_text


def test_scoring_again_needs_every_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png")
    runs = [run_with(["1.png", "2.png"])]
    with pytest.raises(UnavailableError, match=r"a: 1 of its 2 pictures are not in .*, such as 2.png"):
        rescore(runs, runs, [tmp_path, tmp_path], POLICY, tmp_path)


def test_the_largest_change_leads_the_contact_sheet(tmp_path: Path) -> None:
    first, second = make_row("a", lambda p, s: 0.5), make_row("b", lambda p, s: {3: None, 5: 0.2, 7: 0.6}.get(p, 0.51))
    comparison = compare([read_run(first)], [read_run(second)], POLICY)
    files = {image["file"]: tmp_path / image["file"] for image in first["images"]}
    couples = choose_couples(comparison, files, files)
    # a lost face first, then -.3, then +.1
    assert [couple.title.partition(",")[0] for couple in couples[:6]] == [f"prompt {p}" for p in (3, 3, 5, 5, 7, 7)]
    assert couples[2].change == pytest.approx(-0.3)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A training set of three portraits, and its manifest beside it."""
    folder = tmp_path_factory.mktemp("training")
    pictures = render_references(folder / "10_person", 3)
    images = [{"filename": f"10_person/{path.name}", "sha256": sha256_file(path)} for path in pictures]
    (folder / "manifest.json").write_text(json.dumps({"manifest_version": 1, "dataset_dir": str(folder), "images": images}))
    yield folder


def test_a_copied_training_picture_is_found(tmp_path: Path, training: Path) -> None:
    (tmp_path / "1.png").write_bytes((training / "10_person" / "reference_01.png").read_bytes())
    check = check_memorised([run_with(["1.png"])], tmp_path, training / "manifest.json", POLICY)
    assert (check.outcome, check.why) == ("NO", "1 pictures are files of the training set, such as 1.png")


def test_a_repeated_face_is_found_and_an_empty_scene_is_not(tmp_path: Path, training: Path) -> None:
    with Image.open(training / "10_person" / "reference_01.png") as portrait:
        portrait.convert("RGB").resize((portrait.width * 9 // 10, portrait.height * 9 // 10)).save(tmp_path / "again.png")
    write_picture(tmp_path / "empty.png")
    found = check_memorised([run_with(["again.png", "empty.png"])], tmp_path, training / "manifest.json", POLICY)
    assert found.outcome == "NO"
    assert found.why.startswith("1 of 2 pictures repeat a training picture (again.png is ")
    assert "like reference_01.png; 0.95 is too close)" in found.why
    clean = check_memorised([run_with(["empty.png"])], tmp_path, training / "manifest.json", POLICY)
    assert (clean.outcome, clean.why) == ("yes", "the nearest training picture is 0.00 alike, 0.95 would be too close")


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_without_the_manifest_nothing_is_claimed(tmp_path: Path, named: bool) -> None:
    run = replace(run_with(["1.png"]), manifest_path=str(tmp_path / "gone.json"))
    check = check_memorised([run], tmp_path, tmp_path / "gone.json" if named else None, POLICY)
    # a manifest that was asked for by name and cannot be used bars promotion; one that is merely not at hand does not
    assert (check.outcome, check.why.partition(":")[0]) == ("not known" if named else "yes", "not checked")
