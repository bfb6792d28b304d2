"""The scorecard: weights and grades, configurations, the history row, the report, and the command as it is run."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evals import scorecard
from evals.judging.gates import grade as grade_of
from evals.judging.gates import overall
from evals.judging.records import Assessment, FaceScore, Geometry
from evals.load_thresholds import load_thresholds
from evals.scorecards.card import Manifest, Scorecard, build_scorecard
from evals.scorecards.card_inputs import read_batch_config, read_training_params
from evals.scorecards.card_report import render_report, render_summary
from evals.skin.realism import SkinScore
from lifeos import cli
from lifeos.errors import InputError
from lifeos.escaping import escape_markdown
from tests.capabilities import POSIX
from tests.evals.portraits import write_few, write_generated, write_references
from tests.tools.dataset.sets import make_set
from tests.tools.trainers.safetensors_files import METADATA, write_lora
from tools import dataset_manifest

POLICY = load_thresholds()
POINTS = ((0.4, 0.4), (0.6, 0.4), (0.5, 0.5), (0.4, 0.6), (0.6, 0.6))


def picture(
    file: str, face: float | None, skin: float | None = 0.8, reason: str | None = None, *, sha256: str = "", yaw: float = 0.0
) -> Assessment:
    """`sha256`: of the file, by default its name."""
    sha256 = sha256 or file
    if reason is not None:
        return Assessment(file, sha256, 0, 0, reason, FaceScore(None, reason), SkinScore(None, reason))
    if face is None:
        return Assessment(file, sha256, 8, 8, None, FaceScore(None, "no_face"), SkinScore(None, "no_face"))
    skin_score = SkinScore(skin, None, skin, skin) if skin is not None else SkinScore(None, "grey")
    geometry = Geometry(yaw, 0, 0.1, 0.3, 0.5, 0.5, "medium close-up", POINTS)
    return Assessment(file, sha256, 8, 8, None, FaceScore(face, None, face, 1, "r.png", "as_is"), skin_score, geometry, "0" * 16)


def card(*pictures: Assessment, policy: dict[str, Any] = POLICY, **more: Any) -> Scorecard:
    fixed = {"run_id": "v3_sweep", "lora_version": "v3", "timestamp": "2026-02-11T15:00:00Z", "protocol": {"id": "p1", "engine": "dlib"}}
    return build_scorecard(pictures, policy, **{**fixed, **more})


@pytest.mark.parametrize(
    ("face", "skin", "overall", "grade"),
    [
        (0.71, 0.67, 0.70, "B"),  # the specification's own example: .75 * .71 + .25 * .67 = .70, in floats a hair under
        (0.52, 0.48, 0.51, "D"),
        (0.85, 0.85, 0.85, "A"),
        (0.69994, 0.69994, 0.6999, "C"),
        (0.69996, 0.69996, 0.70, "B"),  # compared at 4 decimals
        (0.55, 0.55, 0.55, "C"),
        (0.40, 0.40, 0.40, "D"),
        (0.39, 0.39, 0.39, "F"),
        (0.0, 0.0, 0.0, "F"),
        (1.0, 1.0, 1.0, "A"),
    ],
)
def test_weights_and_grades(face: float, skin: float, overall: float, grade: str) -> None:
    found = card(*(picture(f"{name}.png", face, skin) for name in "abc"))
    assert (found.means.overall, found.grade) == (overall, grade)
    assert found.promotion_recommended == (grade in "ABC")


@pytest.mark.parametrize(
    ("face", "skin", "weights", "wanted"),
    [
        (None, 0.5, (0.75, 0.25), None),
        (0.5, None, (0.75, 0.25), None),
        (0.5, None, (1.0, 0.0), 0.5),
        (None, None, (1.0, 0.0), None),
        (0.2, 0.6, (0.5, 0.5), 0.4),
    ],
)
def test_a_part_that_is_missing_makes_no_score(
    face: float | None, skin: float | None, weights: tuple[float, float], wanted: float | None
) -> None:
    policy = load_thresholds(overrides={"scorecard.weights": {"face_similarity": weights[0], "skin_realism": weights[1]}})
    assert overall({"face": face, "skin": skin}, policy) == wanted


def test_no_score_is_no_grade_and_no_promotion() -> None:
    found = card(picture("a.png", None))
    assert (found.grade, found.promotion_recommended, grade_of(None, POLICY)) == (None, False, None)
    assert render_summary(found).startswith("No grade: no picture has a score of face similarity and skin realism.")


@pytest.mark.parametrize(
    ("scored", "faceless", "recommended", "why"),
    [
        (6, 6, True, ""),
        (2, 10, False, "only 2 of 12 pictures have a score of face similarity; 50% are wanted"),
        (2, 0, False, "2 pictures are too few: 3 are wanted"),
        (3, 0, True, ""),
    ],
    ids=["half scored", "most without a face", "two pictures", "three pictures"],
)
def test_a_promotion_needs_enough_pictures_with_a_score(scored: int, faceless: int, recommended: bool, why: str) -> None:
    pictures = [picture(f"{n}.png", 0.9, 0.9) for n in range(scored)] + [picture(f"n{n}.png", None) for n in range(faceless)]
    found = card(*pictures)
    assert (found.grade, found.promotion_recommended, found.shortfall) == ("A", recommended, why)
    assert f"**Promotion: {'recommended' if recommended else 'not recommended'}** (grade A; C or better is asked for" in render_report(
        found
    )


def test_grades_of_another_policy() -> None:
    policy = {"scorecard": {"grade_boundaries": {"A": 0.5, "B": 0.1, "C": 0.0}}}
    assert [grade_of(value, policy) for value in (0.5, 0.49999, 0.4, 0.05)] == ["A", "A", "B", "C"]


def test_pictures_without_a_face_are_counted_and_not_averaged() -> None:
    pictures = [picture("a.png", 0.8), picture("b.png", None), picture("c.png", None, reason="truncated")]
    found = card(*pictures)
    assert (found.means.value("face"), found.faceless, len(found.pictures), found.approved) == (0.8, 1, 3, 1)
    strict = json.loads(json.dumps(POLICY))
    strict["face_similarity"]["no_face_counts_as_zero"] = True
    assert card(*pictures, policy=strict).means.value("face") == 0.4  # the cut file is no picture without a face


def test_best_and_worst_configuration() -> None:
    names = {"step500_str0.60": (0.5, 0.6), "step1500_str0.80": (0.8, 0.9), "step900_str0.70": (0.6, 0.7)}
    pictures = [
        picture(f"{config}_000{n}_p001_v01_seed{n}_x.png", score) for config, scores in names.items() for n, score in enumerate(scores)
    ]
    found = card(*pictures, picture("unnamed.png", 0.1))
    assert [item.config for item in found.configs] == ["step1500_str0.80", "step900_str0.70", "step500_str0.60"]
    scores = found.history_row()["eval_scores"]
    assert (scores["best_config"], scores["worst_config"]) == ("step1500_str0.80", "step500_str0.60")
    assert found.configs[0].means.value("face") == 0.85 and found.configs[0].images == 2


def test_a_configuration_that_loses_the_face_is_not_the_best() -> None:
    lucky = [picture("step9_str9_0001_p001_v01_seed1_x.png", 0.99)] + [
        picture(f"step9_str9_000{n}_p001_v01_seed1_x.png", None) for n in (2, 3)
    ]
    steady = [picture(f"step1_str1_000{n}_p001_v01_seed1_x.png", 0.7) for n in (1, 2, 3)]
    assert [item.config for item in card(*lucky, *steady).configs] == ["step1_str1", "step9_str9"]


def test_configurations_may_be_told_by_the_caller() -> None:
    found = card(picture("a.png", 0.7), config_of=lambda item: f"of {item.file}")
    assert found.configs[0].config == "of a.png"


def test_the_manifest_tells_of_captions_and_regularisation() -> None:
    manifest = Manifest("m.json", "f" * 64, "d" * 64, "tag captions", 40)
    assert card(picture("a.png", 0.7), manifest=manifest).training_params == {"captions": "tag captions", "regularization": 40}
    told = card(picture("a.png", 0.7), manifest=manifest, training_params={"captions": "BLIP-2"}).training_params
    assert told == {"captions": "BLIP-2", "regularization": 40}


def test_the_manifest_beside_the_lora_is_found(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    manifest = tmp_path / "dataset_manifest.json"
    assert dataset_manifest.main(["--dataset-dir", str(make_set(tmp_path / "set", 2)), "--output", str(manifest)]) == 0
    dataset_id = json.loads(manifest.read_text(encoding="utf-8"))["dataset_id"]
    for named in (dataset_id, "f" * 64):
        comment = json.dumps({"dataset_id": named, "dataset_manifest_hash": "0" * 64})
        lora = write_lora(tmp_path / "v3.safetensors", {"ss_network_dim": "8", "ss_training_comment": comment})
        assert run(few, tmp_path, "--lora", str(lora)) == 0
    first, second = map(json.loads, (tmp_path / "evals" / "eval_history.jsonl").read_text(encoding="utf-8").splitlines())
    assert (first["dataset_manifest_path"], first["dataset_id"]) == (manifest.as_posix(), dataset_id)
    assert first["training_params"]["captions"] == "tag captions"
    assert (second["dataset_manifest_path"], "captions" in second["training_params"]) == (None, False)


def test_the_history_row_is_the_design_s() -> None:
    manifest = Manifest("data/dataset_manifest.json", "f" * 64, "d" * 64)
    params = {"network_dim": 32}
    row = card(
        picture("out/approved/step1500_str0.80_0007_p003_v02_seed42_close-up.png", 0.71, 0.67),
        picture("out/rejected/0008_p004_v01_seed43_x.png", None),
        manifest=manifest,
        training_params=params,
        notes="first try",
        generated_dir=Path("out"),
    ).history_row()
    assert row == {
        "schema_version": 1,
        "run_id": "v3_sweep",
        "timestamp": "2026-02-11T15:00:00Z",
        "lora_version": "v3",
        "training_params": {"network_dim": 32},
        "dataset_manifest_path": "data/dataset_manifest.json",
        "dataset_manifest_hash": "f" * 64,
        "dataset_id": "d" * 64,
        "protocol_id": "p1",
        "eval_scores": {
            "face_similarity_mean": 0.71,
            "skin_realism_mean": 0.67,
            "skin_texture_mean": 0.67,
            "skin_color_mean": 0.67,
            "face_similarity_pass": True,
            "skin_realism_pass": True,
            "skin_texture_pass": True,
            "skin_color_pass": True,
            "coverage": {"face": 0.5, "skin": 0.5, "texture": 0.5, "color": 0.5},
            "overall_score": 0.7,
            "overall_grade": "B",
            "promotion_recommended": False,  # two pictures are fewer than the policy's minimum
            "images_evaluated": 2,
            "images_without_face": 1,
            "best_config": "step1500_str0.80",
            "worst_config": "step1500_str0.80",
        },
        "sameness": {
            "pictures": 2,
            "faces": 1,
            "yaw_spread_deg": None,
            "same_pose_share": None,
            "entropy_bits": None,
            "landmark_distance": None,
            "face_area_median": 0.1,
            "face_area_spread": None,
            "position_spread": None,
            "shots": {"medium close-up": 1},
            "directions": {"front": 1},
            "near_duplicate_pairs": 0,
            "verdict": "too_few",
            "scenes": None,
            "same_scene_share": None,
            "scene_verdict": "",
        },
        "notes": "first try",
        "images": [
            {
                "file": "approved/step1500_str0.80_0007_p003_v02_seed42_close-up.png",
                "config": "step1500_str0.80",
                "prompt_id": 3,
                "seed": 42,
                "face": 0.71,
                "skin": 0.67,
                "texture": 0.67,
                "color": 0.67,
                "reason": None,
                "shot_type": "medium close-up",
                "approved": True,
                "sha256": "out/approved/step1500_str0.80_0007_p003_v02_seed42_close-up.png",
            },
            {
                "file": "rejected/0008_p004_v01_seed43_x.png",
                "config": None,
                "prompt_id": 4,
                "seed": 43,
                "face": None,
                "skin": None,
                "texture": None,
                "color": None,
                "reason": "no_face",
                "shot_type": None,
                "approved": False,
                "sha256": "out/rejected/0008_p004_v01_seed43_x.png",
            },
        ],
        "protocol": {"id": "p1", "engine": "dlib"},
        "generated_dir": "out",
    }


@pytest.mark.parametrize(
    ("face", "skin", "gates"),
    [
        (0.60, 0.60, {"face": True, "skin": True, "texture": True, "color": True}),
        (0.59, 0.60, {"face": False, "skin": True, "texture": True, "color": True}),
        (0.60, 0.57, {"face": True, "skin": False, "texture": False, "color": True}),
        (0.60, None, {"face": True, "skin": False, "texture": False, "color": False}),
    ],
)
def test_gates(face: float, skin: float | None, gates: dict[str, bool]) -> None:
    assert card(picture("a.png", face, skin)).passed == gates


ONE_POSE = "one pose: yaw spread 1.1°, 100 % of pairs within 10°"
"""Of yaws 0, 1, 2, 3: their variance is 1.25."""


def one_pose(policy: dict[str, Any] = POLICY) -> Scorecard:
    return card(*(picture(f"{yaw}.png", 0.75, yaw=yaw) for yaw in range(4)), policy=policy)


def test_one_pose_is_said_with_the_grade_wherever_it_stands() -> None:
    found = one_pose()
    assert found.grade == "B" and found.promotion_recommended
    assert render_summary(found).endswith(f"4 of 4 pictures pass every gate. O{ONE_POSE[1:]}.")
    report = render_report(found)
    assert report.index(f"O{ONE_POSE[1:]}") < report.index("## Scores") < report.index("## Variety")
    assert "| Yaw spread (how far heads turn, standard deviation) | 1.1° |" in report
    assert found.to_json()["sameness"]["line"] == ONE_POSE
    figures = found.history_row()["sameness"]
    assert (figures["verdict"], figures["yaw_spread_deg"], figures["same_pose_share"], figures["entropy_bits"]) == ("same", 1.12, 1.0, 0.0)


def test_the_policy_may_promote_no_run_of_one_pose() -> None:
    policy = load_thresholds(overrides={"scorecard.one_pose": "block"})
    found = one_pose(policy)
    assert found.grade == "B" and not found.promotion_recommended
    assert f"grade B; C or better is asked for; {ONE_POSE}, and the policy promotes no such run)." in render_report(found)
    turned = card(*(picture(f"{yaw}.png", 0.75, yaw=yaw) for yaw in (-60, -20, 20, 60)), policy=policy)
    assert turned.promotion_recommended


def test_of_the_same_file_one_picture_is_approved() -> None:
    """The first in the order given; of another configuration it is another picture, and a rejected one is no duplicate."""
    names = ("str0.80_0001_p001_v01_seed1_x.png", "str0.80_0002_p001_v02_seed2_x.png", "str1.00_0003_p001_v01_seed1_x.png")
    found = card(*(picture(name, 0.75, sha256="a" * 64) for name in names), *(picture(f"{n}.png", 0.3, sha256="b" * 64) for n in "xy"))
    assert [each.verdict.approved for each in found.pictures] == [True, False, True, False, False]
    assert found.pictures[1].verdict.reasons == (f"duplicate: the same file as {names[0]}",)
    assert [entry.get("duplicate_of") for entry in found.history_row()["images"]] == [None, names[0], None, None, None]
    assert found.approved == 2 and [config.approved for config in found.configs] == [1, 1]
    assert "2 of 5 pictures pass every gate; 1 is the same file as another and not counted among them." in render_summary(found)
    assert "- 1 picture: the same file as another picture" in render_report(found)


def test_the_summary_is_plain() -> None:
    assert render_summary(card(picture("a.png", 0.71, 0.67), picture("b.png", None))) == (
        "Grade B (0.70). The mean of every gate reaches its limit. 1 of 2 pictures pass every gate; 1 without a face. "
        "Variety is not known: 1 face is too few."
    )
    assert render_summary(card(picture("a.png", 0.5, 0.5))) == (
        "Grade D (0.50). Face similarity, skin realism, skin texture and skin colour do not reach the limit. "
        "0 of 1 picture passes every gate. Variety is not known: 1 face is too few."
    )


def test_the_report() -> None:
    pictures = [
        picture("step1_str0.50_0001_p001_v01_seed1_a.png", 0.9),
        picture("step1_str0.50_0002_p002_v01_seed2_b.png", 0.3),
        picture("step2_str0.50_0003_p001_v01_seed1_a.png", 0.35),
        picture("step2_str0.50_0004_p002_v01_seed2_b.png", None),
        picture("x.png", None, reason="truncated"),
    ]
    text = render_report(card(*pictures, notes="**bold** <script>|", training_params={"network_dim": 32}), ["careful_now"])
    # face .5167, skin .8: .75 * .5167 + .25 * .8 = .5875
    assert text.startswith("# Scorecard: v3_sweep (v3)\n\nGrade C (0.59). Face similarity does not reach the limit. 1 of 5 pictures")
    assert "**Promotion: recommended** (grade C; C or better is asked for)." in text
    assert "Based on 5 pictures only: take the numbers as a hint." in text
    assert "- careful_now" in text
    # .9, .3 and .35: mean .5167
    assert "| Face Similarity | 0.52 | 3 of 5 | 0.60 | FAIL |" in text
    assert "| Skin Realism | 0.80 | 3 of 5 | 0.60 | pass |" in text
    assert "Best: `step1_str0.50`. Worst: `step2_str0.50`." in text
    assert "| `step1_str0.50` | 2 | 1 | 0 | 0.60 | 0.80 | 0.65 | C |" in text
    assert "| `step2_str0.50` | 2 | 0 | 1 | 0.35 | 0.80 | 0.46 | D |" in text
    assert "1 picture has no configuration in its name and is not in this table." in text
    assert "- 2 pictures: face similarity below 0.60" in text
    assert "- 1 picture: no face found" in text and "- 1 picture: the file is cut off" in text
    assert "| `step1_str0.50_0002_p002_v01_seed2_b.png` | 0.30 | 0.80 | face similarity 0.30 is below 0.60 |" in text
    assert "- Notes: \\*\\*bold\\*\\* &lt;script>\\|" in text
    assert "- Training: network_dim 32" in text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("a_b", "a_b"),
        ("_a_", "\\_a\\_"),
        ("a|b\nc", "a\\|b c"),
        ("<b> & `c`", "&lt;b> &amp; \\`c\\`"),
        ("[x](y) # *", "\\[x\\](y) \\# \\*"),
    ],
)
def test_names_and_notes_are_text(text: str, escaped: str) -> None:
    assert escape_markdown(text) == escaped


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scorecard")
    write_references(folder / "refs")
    write_generated(folder / "out")
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_few(tmp_path_factory.mktemp("few"))


def run(folders: Path, project: Path, *more: str) -> int:
    places = ["--generated", str(folders / "out"), "--reference", str(folders / "refs"), "--project-root", str(project)]
    return cli.run(lambda: scorecard.main([*places, "--engine", "dlib", "--model-root", str(folders), *more]))


def test_the_command_writes_scorecard_report_and_history(folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"images": [], "dataset_id": "abc"}), encoding="utf-8")
    lora = write_lora(tmp_path / "v3.safetensors", METADATA)
    more = ["--dataset-manifest", str(manifest), "--lora", str(lora), "--training-params", '{"seed": 7, "captions": "BLIP-2"}']
    assert run(folders, tmp_path, "--run-id", "v3_sweep", "--lora-version", "v3", "--notes", "n", *more) == 0
    assert sorted(path.name for path in (tmp_path / "evals").iterdir()) == [
        "eval_history.jsonl",
        "latest_report.md",
        "latest_scorecard.json",
    ]
    (line,) = (tmp_path / "evals" / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()
    row, document = json.loads(line), json.loads((tmp_path / "evals" / "latest_scorecard.json").read_text(encoding="utf-8"))
    assert (row["run_id"], row["lora_version"], row["notes"]) == ("v3_sweep", "v3", "n")
    assert row["timestamp"].endswith("Z") and len(row["timestamp"]) == 20
    assert row["training_params"]["network_dim"] == 32  # from the header
    assert row["training_params"]["seed"] == 7  # the command line goes before it
    assert row["training_params"]["captions"] == "BLIP-2"
    assert row["dataset_manifest_path"] == manifest.as_posix()
    assert row["dataset_manifest_hash"] == hashlib.sha256(manifest.read_bytes()).hexdigest()
    assert row["dataset_id"] == "abc"
    scores = row["eval_scores"]
    assert (scores["images_evaluated"], scores["images_without_face"]) == (5, 1)
    assert (scores["best_config"], scores["worst_config"]) == ("step1500_str0.80", "step2000_str0.75")
    assert [item["file"] for item in row["images"]] == sorted(path.name for path in (folders / "out").iterdir())
    assert [item["approved"] for item in row["images"]] == [True, True, False, False, False]
    assert document["eval_scores"] == scores and document["approved"] == 2 and document["rejected"] == 3
    assert document["protocol"]["id"] == row["protocol_id"] and document["protocol"]["skin_metric"]
    cut = document["per_image"][-1]
    assert (cut["reason"], cut["reasons"], cut["seed"]) == ("truncated", ["the file is cut off"], 13)
    face_mean = sum(item["face"] for item in row["images"] if item["face"] is not None) / 3
    assert scores["face_similarity_mean"] == round(face_mean, 4)
    assert scores["overall_score"] == round(0.75 * scores["face_similarity_mean"] + 0.25 * scores["skin_realism_mean"], 4)
    assert capsys.readouterr().out.splitlines()[-1].endswith("eval_history.jsonl (run v3_sweep)")


def test_the_history_only_grows(few: Path, tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    torn = b'{"run_id": "by hand"}\n{"run_id": "to'
    history.write_bytes(torn)
    files = ["--history-file", str(history), "--output-json", str(tmp_path / "s.json"), "--latest-report", str(tmp_path / "r.md")]
    assert run(few, tmp_path, *files) == 0
    assert history.read_bytes().startswith(torn + b"\n")
    row = json.loads(history.read_text(encoding="utf-8").splitlines()[-1])
    assert row["run_id"].startswith("run_2") and row["dataset_manifest_hash"] is None
    assert not (tmp_path / "evals").exists()


def test_the_same_command_again_makes_no_second_row(few: Path, tmp_path: Path) -> None:
    """Killed after it had written its row, the command is begun again. Another note is news, and so is what came in between."""
    for notes in ("one", "one", "two", "one"):
        assert run(few, tmp_path, "--run-id", "v3_sweep", "--notes", notes) == 0
    rows = (tmp_path / "evals" / "eval_history.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(row)["notes"] for row in rows] == ["one", "two", "one"]


def test_json_is_all_that_stdout_holds(few: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(few, tmp_path, "--json") == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == json.loads((tmp_path / "evals" / "latest_scorecard.json").read_text(encoding="utf-8"))
    assert "Grade " in captured.err


@pytest.mark.parametrize(
    ("flags", "code"),
    [
        (["--face-threshold", "1"], 1),
        (["--skin-threshold", "1"], 1),
        (["--skin-texture-threshold", "1"], 1),
        (["--skin-color-threshold", "1"], 1),
        (["--face-threshold", "0", "--skin-threshold", "0", "--skin-texture-threshold", "0", "--skin-color-threshold", "0"], 0),
    ],
    ids=["face", "skin", "texture", "colour", "zero is a value"],
)
def test_each_threshold_is_a_gate(flags: list[str], code: int, few: Path, tmp_path: Path) -> None:
    assert run(few, tmp_path, *flags, "--fail-on-threshold") == code
    thresholds = json.loads((tmp_path / "evals" / "latest_scorecard.json").read_text(encoding="utf-8"))["thresholds"]
    assert list(thresholds.values()).count(float(flags[1])) >= 1
    assert (tmp_path / "evals" / "eval_history.jsonl").exists()  # a gate that says no is a result too


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (["--training-params", "{broken"], 2, "--training-params: not JSON: "),
        (["--training-params", "nowhere.json"], 2, "nowhere.json: no such file (give --training-params an existing file)"),
        (["--lora", "nowhere.safetensors"], 2, "nowhere.safetensors: no such file"),
        (["--dataset-manifest", "nowhere.json"], 2, "nowhere.json: no such file (give --dataset-manifest an existing file)"),
        (["--face-threshold", "nan"], 2, "nan is not a finite number"),
        (["--engine", "insightface"], 3, "model pack buffalo_l: not in "),
    ],
)
def test_bad_input_writes_nothing(
    flags: list[str], code: int, message: str, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(folders, tmp_path, *flags) == code
    errors = capsys.readouterr().err
    assert message in errors and "Traceback" not in errors
    assert list(tmp_path.iterdir()) == []


def test_a_batch_directory_names_its_configuration(folders: Path, tmp_path: Path) -> None:
    batch = tmp_path / "batch"
    (batch / "approved").mkdir(parents=True)
    shutil.copy(next((folders / "out").glob("*0001*")), batch / "approved" / "0001_p001_v01_seed11_a.png")
    settings = {"lora": "amira-step00001500.safetensors", "lora_strength": 0.8}
    (batch / "batch.json").write_text(json.dumps({"variants": [{"config": "", "settings": settings}]}), encoding="utf-8")
    assert run(folders, tmp_path, "--generated", str(batch)) == 0
    row = json.loads((tmp_path / "evals" / "eval_history.jsonl").read_text(encoding="utf-8"))
    assert [(item["file"], item["config"]) for item in row["images"]] == [("approved/0001_p001_v01_seed11_a.png", "step1500_str0.80")]


@pytest.mark.parametrize(
    "document",
    [{"variants": [{}, {}]}, {"variants": []}, {"variants": [1]}, {}, [], {"variants": [{"settings": None}]}],
    ids=["two variants", "none", "odd", "no variants", "a list", "no settings"],
)
def test_a_batch_without_one_configuration_names_none(document: object, tmp_path: Path) -> None:
    (tmp_path / "batch.json").write_text(json.dumps(document), encoding="utf-8")
    assert read_batch_config(tmp_path) is None


def test_training_params_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"network_dim": 16}', encoding="utf-8")
    assert read_training_params(str(tmp_path / "p.json")) == {"network_dim": 16}
    (tmp_path / "list.json").write_text("[1]", encoding="utf-8")
    with pytest.raises(InputError, match="an object is wanted, not a list"):
        read_training_params(str(tmp_path / "list.json"))


def test_a_manifest_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "m.json").write_text('{"a": 1}', encoding="utf-8")
    with pytest.raises(InputError, match="not a dataset manifest: it has no images"):
        scorecard.read_manifest(tmp_path / "m.json")


@pytest.mark.skipif(not POSIX, reason="Windows has no SIGTERM that a program can take")
def test_sigterm_ends_it_as_ctrl_c_does_and_nothing_is_half_written(folders: Path, tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    (tmp_path / "out").mkdir()
    for number in range(120):  # far more than are scored before the signal comes
        Image.fromarray(np.roll(noise, number, axis=0)).save(tmp_path / "out" / f"{number}.png", compress_level=0)
    project = tmp_path / "project"
    places = ["--generated", str(tmp_path / "out"), "--reference", str(folders / "refs"), "--project-root", str(project)]
    command = [sys.executable, scorecard.__file__, *places, "--engine", "dlib", "--model-root", str(folders), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        opening = process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=60)
    assert opening.startswith("face engine dlib")
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted")
    assert json.loads(out)["error"]["what"] == "interrupted"
    assert not project.exists()
