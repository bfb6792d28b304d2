"""Pictures of runs: where they lie, what their batch says, whether they repeat the training set."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evals.comparison.comparing import compare
from evals.comparison.illustration import draw_comparison
from evals.comparison.memorisation import check_memorised
from evals.comparison.rendering import render
from evals.comparison.rescoring import rescore
from evals.comparison.run_pictures import find_run_pictures, with_batch_facts, with_folders
from evals.comparison.runs import Run, read_run
from evals.comparison.side_by_side import _font, _wrap, choose_couples
from evals.load_thresholds import load_thresholds
from lifeos.errors import UnavailableError
from lifeos.files import sha256_file
from tests.evals.comparison.rows import make_row, steady
from tools.stand_in import render_references

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
    assert "| Yaw spread (how far heads turn, standard deviation) | 3.5° | - |" in report_text
    assert "| Variety of the pictures | variety is not known (approved pictures) | not recorded |" in report_text
    assert "| Cost per approved picture | $0.012 | - |" in report_text


def test_scoring_again_needs_every_picture(tmp_path: Path) -> None:
    write_picture(tmp_path / "1.png")
    runs = [run_with(["1.png", "2.png"])]
    with pytest.raises(UnavailableError, match=r"a: 1 of its 2 pictures are not in .*, such as 2.png"):
        rescore(runs, runs, [tmp_path, tmp_path], POLICY, tmp_path)


@pytest.mark.parametrize("place", ["project/evals", "project"], ids=["history in evals", "history beside"])
def test_folders_typed_elsewhere_are_found_from_the_history(tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = write_picture(tmp_path / "project" / "out" / "1.png")
    (tmp_path / place).mkdir(exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run = with_folders(run_with(["1.png"], generated_dir="out", reference_dir="nowhere"), Path(place) / "h.jsonl")
    assert find_run_pictures(run) == {"1.png": picture}
    assert run.extra["reference_dir"] == "nowhere"  # as it was typed, for the message
    monkeypatch.chdir(tmp_path / "project")
    assert with_folders(run_with(["1.png"], generated_dir="out"), tmp_path / place / "h.jsonl").extra["generated_dir"] == "out"


def pictured_rows(tmp_path: Path) -> list[dict[str, Any]]:
    """Two runs with their pictures in `a` and `b`, and the pictures' hashes in the rows."""
    rows = [make_row(name, steady(score), generated_dir=str(tmp_path / name)) for name, score in (("a", 0.5), ("b", 0.6))]
    for row in rows:
        for number, image in enumerate(row["images"]):
            colour = f"#{number:02x}00{'11' if row['run_id'] == 'a' else '22'}"
            image["sha256"] = sha256_file(write_picture(Path(row["generated_dir"]) / image["file"], colour))
    return rows


def test_a_folder_used_again_is_not_shown_as_the_old_run(tmp_path: Path) -> None:
    rows = pictured_rows(tmp_path)
    comparison = compare([read_run(rows[0])], [read_run(rows[1])], POLICY)
    old, new = find_run_pictures(comparison.first.runs[0]), find_run_pictures(comparison.second.runs[0])
    couples = choose_couples(comparison, old, new)
    assert couples and all(couple.old and couple.new for couple in couples)
    for file, path in old.items():
        path.write_bytes(new[file].read_bytes())
    couples = choose_couples(comparison, old, new)
    assert couples and all(couple.old is None and couple.new for couple in couples)
    drawn = draw_comparison(comparison, tmp_path / "r.md", [None, None])
    assert drawn.missing == ("No pair is shown in full: files have been replaced since they were scored.",)


def test_pictures_that_are_gone_are_named_in_the_report(tmp_path: Path) -> None:
    rows = pictured_rows(tmp_path)
    (tmp_path / "a").rename(tmp_path / "moved")
    comparison = compare([read_run(rows[0])], [read_run(rows[1])], POLICY)
    drawn = draw_comparison(comparison, tmp_path / "r.md", [None, None])
    line = f"a: none of its pictures is in {tmp_path / 'a'} (--pictures-v1 DIR says where they are)."
    assert drawn.missing == (line,)
    assert f"Not shown: {line}" in render(comparison, None, drawn.figures, drawn.missing)
    assert draw_comparison(comparison, tmp_path / "r.md", [tmp_path / "moved", None]).missing == ()


def test_a_file_that_was_replaced_is_not_scored_again_as_the_old_one(tmp_path: Path) -> None:
    references = render_references(tmp_path / "refs", 1)
    write_picture(tmp_path / "1.png")
    image = {"file": "1.png", "prompt_id": 1, "seed": 1, "face": 0.6, "skin": 0.6, "sha256": "0" * 64}
    runs = [read_run({"schema_version": 1, "run_id": "a", "eval_scores": {}, "images": [image]})]
    with pytest.raises(UnavailableError, match=r"a: 1 of its 1 picture is not the file that was scored, such as 1.png"):
        rescore(runs, runs, [tmp_path, tmp_path], POLICY, references[0].parent, engine={"engine": "dlib"})


def test_the_largest_change_leads_the_contact_sheet(tmp_path: Path) -> None:
    first, second = make_row("a", lambda p, s: 0.5), make_row("b", lambda p, s: {3: None, 5: 0.2, 7: 0.6}.get(p, 0.51))
    comparison = compare([read_run(first)], [read_run(second)], POLICY)
    files = {image["file"]: tmp_path / image["file"] for image in first["images"]}
    couples = choose_couples(comparison, files, files)
    # a lost face first, then -.3, then +.1
    assert [couple.title.partition(",")[0] for couple in couples[:6]] == [f"prompt {p}" for p in (3, 3, 5, 5, 7, 7)]
    assert couples[2].change == pytest.approx(-0.3)
    named = choose_couples(comparison, files, files, prompts={"3": "amiranoor,\n at the beach"})
    assert [couple.title.partition(" · seed")[0] for couple in named[:3]] == [
        "amiranoor, at the beach",
        "amiranoor, at the beach",
        couples[2].title,
    ]


def test_a_long_prompt_is_wrapped_within_its_place() -> None:
    font = _font(15)
    lines = _wrap("amiranoor, candid photo at an outdoor cafe " * 5 + "x" * 200, 300, font).splitlines()
    assert len(lines) == 3 and lines[0].startswith("amiranoor, candid") and lines[2].endswith("…")
    assert max(font.getlength(line) for line in lines) <= 300
    assert _wrap("short", 300, font) == "short"


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
    assert (check.outcome, check.why) == ("NO", "1 picture is a file of the training set, such as 1.png")


def test_a_repeated_picture_is_found_and_an_empty_scene_is_not(tmp_path: Path, training: Path) -> None:
    with Image.open(training / "10_person" / "reference_01.png") as portrait:
        portrait.convert("RGB").resize((portrait.width * 9 // 10, portrait.height * 9 // 10)).save(tmp_path / "again.png")
    noise = np.random.default_rng(3).integers(0, 255, (60, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "empty.png")
    found = check_memorised([run_with(["again.png", "empty.png"])], tmp_path, training / "manifest.json", POLICY)
    assert found.outcome == "NO"
    assert found.why.startswith("1 of 2 pictures repeats a training picture (again.png: nearest is 10_person/reference_01.png, ")
    assert found.why.endswith(" alike; 0.95 is allowed)")
    clean = check_memorised([run_with(["empty.png"])], tmp_path, training / "manifest.json", POLICY)
    assert (clean.outcome, clean.why) == ("yes", "no training picture is near any of 1 picture")


def test_what_could_not_be_compared_is_no_evidence(tmp_path: Path, training: Path) -> None:
    """A picture that cannot be read, or shows one tone, is named; it never counts as unlike."""
    write_picture(tmp_path / "flat.png")
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    noise = np.random.default_rng(3).integers(0, 255, (60, 40, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    none = check_memorised([run_with(["cut.png", "flat.png"])], tmp_path, training / "manifest.json", POLICY)
    assert (none.outcome, none.why) == ("not known", "2 pictures could not be compared, such as cut.png")
    some = check_memorised([run_with(["cut.png", "noise.png"])], tmp_path, training / "manifest.json", POLICY)
    assert some.outcome == "yes" and some.why.endswith("; 1 picture could not be compared, such as cut.png")


def test_the_limit_is_that_of_the_guard(tmp_path: Path, training: Path) -> None:
    """A picture that the guard stops is one that the check names, and the other way round."""
    with Image.open(training / "10_person" / "reference_01.png") as portrait:
        portrait.convert("RGB").resize((portrait.width * 9 // 10, portrait.height * 9 // 10)).save(tmp_path / "again.png")
    run = run_with(["again.png"])
    guarded = {**POLICY, "gates": {"memorised": {"limit": 1.0}}}
    assert check_memorised([run], tmp_path, training / "manifest.json", guarded).outcome == "yes"
    lower = {**POLICY, "comparison": {**POLICY["comparison"], "memorised_cosine": 1.0}}
    assert check_memorised([run], tmp_path, training / "manifest.json", lower).outcome == "yes"


@pytest.mark.parametrize("named", [True, False], ids=["named", "not named"])
def test_without_the_manifest_nothing_is_claimed(tmp_path: Path, named: bool) -> None:
    run = replace(run_with(["1.png"]), manifest_path=str(tmp_path / "gone.json"))
    check = check_memorised([run], tmp_path, tmp_path / "gone.json" if named else None, POLICY)
    # a manifest that was asked for by name and cannot be used bars promotion; one that is merely not at hand does not
    assert check.outcome == ("not known" if named else "not checked")
