"""skin_realism_eval from the command line, on dlib (no download) and, where the small models are, on InsightFace."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageOps

from evals.judging.gates import gate_of
from evals.skin_realism_eval import MeanResult, SkinEvaluation, main
from lifeos import cli
from tests.evals.portraits import noise, portrait, write_references

KEYS = [
    "schema",
    "generated_dir",
    "reference_dir",
    "threshold",
    "texture_threshold",
    "color_threshold",
    "images_evaluated",
    "images_without_score",
    "images_borderline",
    "images_left_out",
    "left_out",
    "references_left_out",
    "overall_realism_score_mean",
    "texture_score_mean",
    "color_naturalness_score_mean",
    "texture_pass",
    "color_naturalness_pass",
    "pass",
    "warnings",
    "protocol",
    "provider",
    "per_image",
]


def plastic() -> Image.Image:
    """The portrait with the texture of its face gone."""
    image = portrait().copy()
    face = image.crop((170, 60, 280, 180)).resize((14, 15), Image.Resampling.BOX).resize((110, 120), Image.Resampling.BICUBIC)
    image.paste(Image.blend(image.crop((170, 60, 280, 180)), face, 0.9), (170, 60))
    return image


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`refs`, `good` (one real picture, one in a sub-folder), `plastic`, `mixed` (grey, faceless, cut off), `faceless`, `empty`."""
    root = tmp_path_factory.mktemp("skin")
    write_references(root / "refs")
    for name in ("good/more", "plastic", "mixed", "faceless", "empty"):
        (root / name).mkdir(parents=True)
    portrait().crop((20, 0, 480, 480)).save(root / "good" / "a.png")
    portrait().crop((0, 0, 400, 400)).save(root / "good" / "more" / "ü b.jpg", quality=95)
    plastic().save(root / "plastic" / "p.png")
    ImageOps.grayscale(portrait()).save(root / "mixed" / "grey.png")
    noise(160, 160).save(root / "mixed" / "noise.png")
    noise(160, 160).save(root / "faceless" / "noise.png")
    data = (root / "good" / "a.png").read_bytes()
    (root / "mixed" / "torn.png").write_bytes(data[: len(data) // 2])
    return root


def evaluate(folders: Path, generated: str, *more: str) -> int:
    return cli.run(lambda: main(["--generated", str(folders / generated), "--reference", str(folders / "refs"), "--engine", "dlib", *more]))


def read(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_real_skin_passes_and_the_results_are_written(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folders, "good", "--fail-on-threshold", "--output-json", str(tmp_path / "skin.json")) == 0
    written = json.loads((tmp_path / "skin.json").read_text(encoding="utf-8"))
    assert list(written) == KEYS
    assert (written["pass"], written["texture_pass"], written["color_naturalness_pass"]) == (True, True, True)
    assert (written["threshold"], written["texture_threshold"], written["color_threshold"]) == (0.60, 0.60, 0.55)
    assert (written["images_evaluated"], written["images_without_score"]) == (2, 0)
    first, second = written["per_image"]
    assert (first["image"], second["image"]) == ("a.png", "more/ü b.jpg")
    assert (first["reason"], first["face_detected"], first["faces"], first["pass"]) == (None, True, 1, True)
    assert first["best_reference"] in ("r1.png", "r2.png", "r3.png")
    assert len(first["sha256"]) == 64
    for mean, key in (("overall_realism_score_mean", "score"), ("texture_score_mean", "texture")):
        assert written[mean] == pytest.approx((first[key] + second[key]) / 2, abs=1e-4)
    assert written["overall_realism_score_mean"] > 0.8
    assert written["protocol"]["skin_metric"] == "skin_realism/2"
    assert written["protocol"]["id"]
    out = capsys.readouterr().out
    assert "2 of 2 pictures scored: pass" in out


def test_plastic_skin_fails_the_gate_only_when_asked(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folders, "plastic") == 0
    assert evaluate(folders, "plastic", "--fail-on-threshold") == 1
    out = capsys.readouterr().out
    assert re.search(r"\[[^]]*too smooth", out)
    assert out.rstrip().endswith("1 of 1 picture scored: fail")


def test_a_flag_of_zero_is_a_value(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--threshold", "0", "--texture-threshold", "0", "--color-threshold", "0")
    assert evaluate(folders, "plastic", "--fail-on-threshold", "--json", *flags) == 0
    found = read(capsys)
    assert (found["threshold"], found["texture_threshold"], found["color_threshold"], found["pass"]) == (0.0, 0.0, 0.0, True)


@pytest.mark.parametrize(
    ("means", "passed"),
    [
        pytest.param((0.6, 0.6, 0.55), True, id="all at their thresholds"),
        pytest.param((0.59996, 0.6, 0.55), True, id="compared at four decimals"),
        pytest.param((0.5999, 0.9, 0.9), False, id="overall"),
        pytest.param((0.9, 0.5999, 0.9), False, id="texture"),
        pytest.param((0.9, 0.9, 0.5499), False, id="colour"),
        pytest.param((None, None, None), False, id="nothing measured"),
    ],
)
def test_each_threshold_is_a_gate_of_its_own(means: tuple[float | None, ...], passed: bool) -> None:
    keys = ("skin", "texture", "color")
    results = [MeanResult(gate_of(key), mean, limit) for key, mean, limit in zip(keys, means, (0.60, 0.60, 0.55), strict=True)]
    evaluation = SkinEvaluation(Path("g"), Path("r"), (), *results, protocol={}, provider="")
    assert evaluation.passed is passed
    assert evaluation.to_json()["pass"] is passed


def test_what_cannot_be_judged_is_named_and_not_averaged(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(folders / "good" / "a.png", folders / "mixed" / "a.png")
    assert evaluate(folders, "mixed", "--json") == 0
    found = read(capsys)
    reasons = {item["image"]: item["reason"] for item in found["per_image"]}
    assert reasons == {"a.png": None, "grey.png": "grey", "noise.png": "no_face", "torn.png": "truncated"}
    scores = {item["image"]: item["score"] for item in found["per_image"]}
    assert scores["grey.png"] is scores["noise.png"] is scores["torn.png"] is None
    assert found["images_without_score"] == 3
    assert found["overall_realism_score_mean"] == round(scores["a.png"], 4)


def test_nothing_to_average_is_no_pass(folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(folders, "faceless", "--fail-on-threshold") == 1
    out = capsys.readouterr().out
    assert "1 without a score: no face found\nno picture has a score: fail" in out


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        pytest.param(["--generated", "{root}/none"], 2, "error: {root}/none: no such directory", id="no folder"),
        pytest.param(["--generated", "{root}/empty"], 2, "error: {root}/empty: no pictures in it", id="no pictures"),
        pytest.param(["--reference", "{root}/faceless"], 2, "no usable reference", id="no face in any reference"),
        pytest.param(["--threshold", "1.5"], 2, "1.5 is not between 0 and 1", id="out of range"),
        pytest.param(["--treshold", "0.5"], 2, "did you mean --skin-threshold", id="unknown flag"),
        pytest.param(["--engine", "insightface", "--model-root", "{root}/empty"], 3, "python -m lifeos setup", id="no model"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], code: int, message: str, folders: Path, capsys: pytest.CaptureFixture[str]) -> None:
    given = {"--generated": f"{folders}/good", "--reference": f"{folders}/refs", "--engine": "dlib"}
    values = [item.format(root=folders) for item in arguments]
    given |= dict(zip(values[::2], values[1::2], strict=True))
    assert cli.run(lambda: main([part for pair in given.items() for part in pair])) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and message.format(root=folders) in errors[0]
    assert "Traceback" not in captured.err


def test_help_from_an_unrelated_folder(project_root: Path, tmp_path: Path) -> None:
    script = project_root / "evals" / "skin_realism_eval.py"
    done = subprocess.run([sys.executable, str(script), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    judged = ("--generated-dir", "--reference-dir", "--engine", "--skip-install", "--output-json")
    limits = ("--threshold", "--texture-threshold", "--color-threshold", "--fail-on-threshold")
    assert all(flag in done.stdout for flag in judged + limits)


def test_insightface_sees_the_same_skin(folders: Path, model_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ("--json", "--model-root", str(model_root))
    generated = ["--generated", str(folders / "good"), "--reference", str(folders / "refs"), "--engine", "insightface"]
    assert cli.run(lambda: main([*generated, *more])) == 0
    insightface = read(capsys)
    assert evaluate(folders, "good", "--json") == 0
    dlib = read(capsys)
    assert insightface["protocol"]["id"] != dlib["protocol"]["id"]
    assert insightface["pass"] is True
    assert abs(insightface["overall_realism_score_mean"] - dlib["overall_realism_score_mean"]) < 0.1
