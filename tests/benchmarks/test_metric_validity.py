"""metric_validity: its arithmetic on known numbers, and a small run through the real code."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.face_figures import found_rows, likeness_rows, sameness_rows
from benchmarks.first_sketch import SketchComparison, SketchRow, compare_faces, render_comparison
from benchmarks.goals import Figure
from benchmarks.metric_validity import main
from benchmarks.plain_metrics import measure_plain_skin, score_plain_skin
from benchmarks.rank_figures import area_under_curve, rank_correlation
from benchmarks.sample_pictures import LABELS, Sample, SampleSets, read_sets
from benchmarks.two_engines import agreement_rows
from evals.faces.face_engine import Face
from evals.faces.policy_scale import PolicyScale
from lifeos import cli
from tests.evals.portraits import noise, portrait

LANDMARKS = np.array([[200.0, 102.0], [247.0, 103.0], [220.0, 125.0], [199.0, 143.0], [240.0, 144.0]])
FACE = Face((178.0, 63.0, 268.0, 176.0), LANDMARKS, 1.0)


def sample(*embedding: float) -> Sample:
    vector = np.array(embedding)
    return Sample("s", np.zeros((4, 4, 3), dtype=np.uint8), FACE, vector / np.linalg.norm(vector))


def at(cosine: float) -> Sample:
    """A face at that cosine to (1, 0)."""
    return sample(cosine, float(np.sqrt(1 - cosine**2)))


def sets(**labelled: list[Sample]) -> SampleSets:
    empty: dict[str, list[Sample]] = {label: [] for label in LABELS}
    return SampleSets(**{**empty, **labelled}, unseen={}, source="by hand")


@pytest.mark.parametrize(
    ("better", "worse", "expected"),
    [
        ([2.0, 3.0], [0.0, 1.0], 1.0),
        ([0.0], [1.0, 2.0], 0.0),
        ([1.0], [1.0], 0.5),
        ([1.0, 3.0], [2.0, 3.0], 0.375),  # of four pairs one is won and one is a tie
        ([], [1.0], None),
    ],
)
def test_area_under_curve(better: list[float], worse: list[float], expected: float | None) -> None:
    assert area_under_curve(better, worse) == expected


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3], [10, 20, 40], 1.0),
        ([1, 2, 3], [3, 2, 1], -1.0),
        ([1, 2, 3], [5, 5, 5], 0.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),  # 1 - 6 · 2 / (4 · 15)
        ([1, 2, 3], [1, 1, 2], 0.8660254),  # ranks 0.5, 0.5, 2 against 0, 1, 2: 1.5 / sqrt(2 · 1.5)
    ],
)
def test_rank_correlation(first: list[float], second: list[float], expected: float) -> None:
    assert rank_correlation(first, second) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("row", "worse"),
    [
        (SketchRow("g", "n", 0.8, 0.7), True),
        (SketchRow("g", "n", 0.8, 0.797), False),
        (SketchRow("g", "n", 0.7, 0.8, higher=False), True),
        (SketchRow("g", "n", 0.8, 0.7, higher=False), False),
        (SketchRow("g", "n", 0.8, 0.7, gates=False), False),
        (SketchRow("g", "n", None, 0.7), False),
    ],
)
def test_a_row_is_worse_in_its_own_direction(row: SketchRow, worse: bool) -> None:
    assert row.is_worse is worse


def test_faces_are_compared_by_highest_cosine_and_that_to_the_middle() -> None:
    # references along x and y: a face along x has cosines 1 and 0, one in between .707 and .707
    labelled = sets(references=[sample(1, 0), sample(0, 1)], passed=[sample(1, 1)], failed=[sample(1, 0)], strangers=[sample(1, -1)])
    rows = {row.name: row for row in compare_faces(labelled)}
    passed = rows["passed vs failed, AUC"]
    assert (passed.plain, passed.new) == (0.0, 1.0)  # highest .707 < 1, to the middle 1 > .707
    moved = rows["largest move of a score as one reference is dropped"]
    assert (moved.plain, moved.new) == (pytest.approx(np.sqrt(2)), pytest.approx(np.sqrt(0.5)))  # the stranger: .707 and -.707
    left_out = rows["lowest reference left out less highest stranger"]
    assert (left_out.plain, left_out.new) == (pytest.approx(-np.sqrt(0.5)), pytest.approx(0.0))


def test_the_middle_of_varied_references_is_as_long_as_any_face() -> None:
    # references 60° to both sides: to their middle a face there has 1, to either alone .5; the mean of the two cosines would be .5
    apart = [sample(1, np.sqrt(3)), sample(1, -np.sqrt(3))]
    rows = {row.name: row for row in compare_faces(sets(references=apart, passed=[sample(1, 0)]))}
    moved = rows["largest move of a score as one reference is dropped"]
    assert (moved.plain, moved.new) == (pytest.approx(0.0), pytest.approx(0.5))


def test_one_reference_is_not_compared() -> None:
    assert compare_faces(sets(references=[sample(1, 0)], passed=[sample(1, 1)])) == []


def test_the_plain_skin_score_looks_at_the_whole_picture() -> None:
    sharp = np.asarray(portrait())
    face_gone = sharp.copy()
    face_gone[60:180, 170:280] = sharp[60:180, 170:280].mean(axis=(0, 1))
    reference = [measure_plain_skin(sharp)]
    assert score_plain_skin(reference[0], reference) == 1.0
    assert score_plain_skin(measure_plain_skin(face_gone), reference) > 0.9
    assert score_plain_skin(measure_plain_skin(np.zeros_like(sharp)), reference) == 0.0


def write_set(folder: Path, pictures: list[Image.Image]) -> Path:
    folder.mkdir()
    for number, image in enumerate(pictures, 1):
        image.save(folder / f"{number}.png")
    return folder


def head(shift: int = 0) -> Image.Image:
    return portrait().crop((110 + shift, 10, 340 + shift, 240))


def test_a_small_run_finds_the_new_metrics_better(tmp_path: Path, model_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = write_set(tmp_path / "references", [head(), head(15), head(-15)])
    strangers = write_set(tmp_path / "strangers", [noise(96, 96)])
    arguments = ["--references", str(references), "--strangers", str(strangers), "--limit", "3", "--first-sketch", "--json"]
    code = cli.run(lambda: main([*arguments, "--engine", "insightface", "--model-pack", "mini", "--model-root", str(model_root)]))
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] == "insightface_mini"
    assert {label: count for label, count in found["missed"].items() if count} == {"strangers": 1}
    assert {row["status"] for row in found["rows"]} == {"", "not shown"}  # three pictures show nothing
    sizes = {row["name"]: (row["hits"], row["of"]) for row in found["rows"] if row["group"] == "faces found"}
    assert sizes["references"] == (3, 3) and sizes["strangers"] == (0, 1)
    assert sizes["face of 64 pixels"] == (3, 3) and sizes["face of 160 pixels"] == (None, 0)  # the faces are some 115 pixels high
    rows: dict[str, Any] = {row["name"]: row for row in found["first_sketch"] if row["group"] == "skin realism, references"}
    assert len(rows) == 8
    for name in ("bilateral", "domain transform"):
        curve, spearman = rows[f"original vs strongest {name} filter, AUC"], rows[f"Spearman with strength, {name}"]
        assert curve["new"] == 1.0 and curve["plain"] < 1.0
        assert spearman["new"] > 0.9
    drift = rows["mean drift under benign changes"]
    assert drift["new"] < 0.5 * drift["plain"]
    assert code == 0
    assert {row["count"] for row in rows.values()} == {3}


def test_the_table_names_what_is_worse() -> None:
    rows = [SketchRow("skin", "first", 0.5, 0.25, count=4), SketchRow("skin", "second", None, 0.75)]
    table = render_comparison(SketchComparison(rows, 3)).splitlines()
    assert table[0] == f"{'skin (4 pictures)':58}   plain     new"
    assert table[1] == f"  {'first':56}   0.500   0.250   WORSE"
    assert table[2] == f"  {'second':56}       –   0.750"
    assert table[4] == "3 changed copies without a face, in no row"


def by_name(figures: list[Figure]) -> dict[str, Figure]:
    return {figure.name: figure for figure in figures}


SCALE = PolicyScale(0.0, 0.4, 0.5, 1.0)


def test_likeness_is_put_between_floor_and_ceiling() -> None:
    good, strangers = [at(0.9)] * 15 + [at(0.5)], [at(0.0)] * 15 + [at(0.45)]
    rows = by_name(likeness_rows(sets(references=[at(1.0), at(1.0)], passed=good, strangers=strangers), SCALE))
    assert rows["floor, strangers: highest cosine"].value == pytest.approx(0.45)
    assert rows["ceiling, references left out one by one: lowest cosine"].value == pytest.approx(1.0)
    margin = rows["margin: lowest good less highest stranger"]
    assert (margin.value, margin.status, margin.pictures) == (pytest.approx(0.05), "missed", 16)
    assert rows["good pictures against strangers, AUC"].value == 1.0
    assert rows["passed against failed, AUC"].status == "not shown"
    passing = rows["strangers: at the pass mark of 0.50 or above"]
    assert (passing.hits, passing.of, passing.status) == (0, 16, "shown")
    assert rows["passed: at the pass mark of 0.50 or above"].hits == 16


def test_a_stranger_who_passes_is_missed() -> None:
    rows = by_name(likeness_rows(sets(references=[at(1.0), at(1.0)], strangers=[at(0.1)] * 15 + [at(0.6)]), SCALE))
    assert rows["strangers: at the pass mark of 0.50 or above"].status == "missed"


def test_no_pass_mark_is_judged_without_a_row_in_the_policy() -> None:
    names = by_name(likeness_rows(sets(references=[at(1.0), at(1.0)], passed=[at(0.9)], strangers=[at(0.1)]), None))
    assert "good pictures against strangers, AUC" in names
    assert [name for name in names if "pass mark" in name or "sets" in name] == []


def test_five_tight_references_are_one_of_all_sets() -> None:
    # six references: five along (1, 0), one along (0, 1), as the stranger is; only sets with that one lean towards him
    references = [at(1.0)] * 5 + [sample(0, 1)]
    rows = by_name(likeness_rows(sets(references=references, passed=[at(1.0)], strangers=[sample(0, 1)] * 15), SCALE))
    # with four along (1, 0) and one along (0, 1) the middle is (4, 1) / sqrt(17): the stranger's cosine is .243, his score .243 / .4 · .5
    highest = rows["highest stranger's score, highest of these sets"]
    assert highest.value == pytest.approx(0.303, abs=0.001)
    assert rows["highest stranger's score, the five references most alike"].value == 0.0
    passing = rows["sets of five references with which a stranger passes"]
    assert (passing.hits, passing.of, passing.status) == (0, 6, "shown")
    held = rows["sets whose 95 % of good pictures pass and no stranger"]
    assert (held.hits, held.of) == (6, 6)


def test_a_stranger_passes_with_some_sets_of_five() -> None:
    references = [at(1.0)] * 3 + [sample(0, 1)] * 3
    rows = by_name(likeness_rows(sets(references=references, strangers=[sample(0, 1)] * 15), SCALE))
    # two or three of the five are the stranger's: of 6 sets all have him at 2 / sqrt(13) = .55 or above
    passing = rows["sets of five references with which a stranger passes"]
    assert (passing.hits, passing.of, passing.status) == (6, 6, "missed")


def turned(yaw_shift: float, height: float = 113.0, name: str = "s") -> Sample:
    """A face whose nose is that many pixels aside, in a picture of 1000 x 1000."""
    points = np.array([[200.0, 100.0], [250.0, 100.0], [225.0 + yaw_shift, 125.0], [205.0, 145.0], [245.0, 145.0]])
    vector = np.array([1.0, 0.0])
    return Sample(name, np.zeros((1000, 1000, 3), dtype=np.uint8), Face((180.0, 60.0, 270.0, 60.0 + height), points, 1.0), vector)


def test_one_pose_and_a_varied_set_have_goals_of_their_own() -> None:
    one, many = [turned(0.0)] * 15, [turned(shift, height) for shift in (-25, 0, 25) for height in (100, 200, 300, 500, 800)]
    rows = by_name(sameness_rows(sets(one_pose=one, varied=many)))
    assert {name: row.status for name, row in rows.items()} == {
        "one pose: yaw spread in degrees": "shown",
        "one pose: share of pairs within 10° of pose": "shown",
        "one pose: entropy of yaw and shot in bits": "shown",
        "varied set: yaw spread in degrees": "shown",
        "varied set: share of pairs within 10° of pose": "",
        "varied set: entropy of yaw and shot in bits": "shown",
    }
    swapped = by_name(sameness_rows(sets(one_pose=many, varied=one)))
    assert [row.status for row in swapped.values()] == ["missed", "missed", "missed", "missed", "", "missed"]


class SeesLarge:
    """Finds the one face of `turned` pictures where it is large enough, and calls itself by a name."""

    def __init__(self, scale_key: str, least: float = 0.0) -> None:
        self.scale_key, self.least = scale_key, least

    def find(self, rgb: NDArray[np.uint8]) -> tuple[list[Face], str]:
        face = turned(0.0).face.mapped(1000 / rgb.shape[0], 0.0, 0.0)
        return ([face] if face.box[3] - face.box[1] >= self.least else []), ""

    def embed(self, rgb: NDArray[np.uint8], face: Face) -> NDArray[np.float64]:
        return np.array([1.0, 0.0])


def test_faces_are_looked_for_at_each_size() -> None:
    engine: Any = SeesLarge("any", least=60)
    fifteen = [turned(0.0, name=str(number)) for number in range(15)]  # in two sets, and looked at once
    rows = by_name(found_rows(engine, sets(passed=fifteen, varied=fifteen)))
    assert (rows["passed"].hits, rows["passed"].status) == (15, "shown")
    assert (rows["face of 100 pixels"].hits, rows["face of 100 pixels"].status) == (15, "shown")
    assert (rows["face of 48 pixels"].hits, rows["face of 48 pixels"].status) == (0, "")
    assert rows["face of 160 pixels"].of == 0  # none is enlarged
    assert (rows["cropped to the face, margin 0%"].hits, rows["cropped to the face, margin 0%"].status) == (0, "missed")


class SeesElsewhere(SeesLarge):
    """Finds a face in every picture, in its corner."""

    def find(self, rgb: NDArray[np.uint8]) -> tuple[list[Face], str]:
        return [Face((0.0, 0.0, 5.0, 5.0), LANDMARKS, 1.0)], ""


def test_another_face_is_not_the_one_looked_for() -> None:
    engine: Any = SeesElsewhere("any")
    rows = by_name(found_rows(engine, sets(passed=[turned(0.0)])))
    assert (rows["face of 100 pixels"].hits, rows["face of 100 pixels"].of) == (0, 1)


def test_a_face_that_the_other_engine_alone_finds_is_counted() -> None:
    engine: Any = SeesLarge("first")
    second: Any = SeesLarge("second")
    labelled = sets(references=[turned(0.0, name="1"), turned(0.0, name="2")], passed=[turned(0.0, name="3")])
    unseen = {"passed": [("missed", np.zeros((1000, 1000, 3), dtype=np.uint8))]}
    rows = by_name(agreement_rows(engine, second, dataclasses.replace(labelled, unseen=unseen), {"face_similarity": {"engines": {}}}))
    found = rows["pictures with a face for second: found by first"]
    assert (found.hits, found.of) == (3, 4)


class NoFaces:
    """An engine that finds nothing."""

    def find(self, rgb: NDArray[np.uint8]) -> tuple[list[Face], str]:
        return [], ""


def test_the_limit_takes_pictures_from_all_over_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write_set(tmp_path / "photos", [noise(32, 32)] * 10)
    (folder / "1.png").write_bytes(b"no picture")
    engine: Any = NoFaces()
    found = read_sets(engine, {"photos": folder}, 4)
    assert found.missed["photos"] == 3
    assert capsys.readouterr().err.startswith(f"left out: {folder / '1.png'}: ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["--passed", "{root}"],
            "error: --references: nothing to measure against (give --references with --passed or --failed)",
            id="no base",
        ),
        pytest.param(["--photos", "{root}/none"], "error: {root}/none: no such directory", id="no folder"),
        pytest.param(["--photos", "{root}"], "error: {root}: no pictures in it", id="empty"),
        pytest.param(["--photos", "{root}", "--limit", "0"], "0 is not 1 or more", id="limit"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main([item.format(root=tmp_path) for item in arguments] + ["--engine", "dlib"])) == 2
    assert message.format(root=tmp_path) in capsys.readouterr().err
