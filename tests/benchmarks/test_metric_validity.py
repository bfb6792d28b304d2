"""metric_validity: its arithmetic on known numbers, and a small run through the real code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from benchmarks.metric_validity import Row, ScaleComparison, compare_faces, main, propose_scale, render
from benchmarks.picture_changes import mix_faces
from benchmarks.plain_metrics import measure_plain_skin, score_plain_skin
from benchmarks.rank_figures import area_under_curve, rank_correlation
from benchmarks.sample_pictures import Sample, SampleSets, read_sets
from evals.faces.face_engine import Face
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
    empty: dict[str, list[Sample]] = {label: [] for label in ("references", "passed", "failed", "strangers", "photos")}
    return SampleSets(**{**empty, **labelled}, missed={}, source="by hand")


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
        (Row("g", "n", 0.8, 0.7), True),
        (Row("g", "n", 0.8, 0.797), False),
        (Row("g", "n", 0.7, 0.8, higher=False), True),
        (Row("g", "n", 0.8, 0.7, higher=False), False),
        (Row("g", "n", 0.8, 0.7, gates=False), False),
        (Row("g", "n", None, 0.7), False),
    ],
)
def test_a_row_is_worse_in_its_own_direction(row: Row, worse: bool) -> None:
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


@pytest.mark.parametrize("references", [[at(1.0)], [sample(1, np.sqrt(3)), sample(1, -np.sqrt(3))]], ids=["one", "varied"])
def test_the_scale_is_proposed_between_right_and_wrong(references: list[Sample]) -> None:
    labelled = sets(
        references=references, passed=[at(0.7), at(0.9), at(0.4)], failed=[at(0.5), at(0.3), at(0.2)], strangers=[at(0.0), at(0.1)]
    )
    # of the middles only .35 (one of three wrong kept) and .6 (one of three right lost) err least: their mean is .475
    assert propose_scale(labelled) == {"stranger": 0.05, "warn": 0.404, "pass": 0.475, "same": 1.0}
    assert propose_scale(sets(references=[at(1.0)], passed=[at(0.7)])) is None


def test_the_plain_skin_score_looks_at_the_whole_picture() -> None:
    sharp = np.asarray(portrait())
    face_gone = sharp.copy()
    face_gone[60:180, 170:280] = sharp[60:180, 170:280].mean(axis=(0, 1))
    reference = [measure_plain_skin(sharp)]
    assert score_plain_skin(reference[0], reference) == 1.0
    assert score_plain_skin(measure_plain_skin(face_gone), reference) > 0.9
    assert score_plain_skin(measure_plain_skin(np.zeros_like(sharp)), reference) == 0.0


def test_a_mixed_face_keeps_its_surroundings() -> None:
    rgb = np.asarray(portrait())
    other = np.ascontiguousarray(rgb[:, ::-1])
    points = LANDMARKS * (-1, 1) + (511, 0)
    mirrored = Face((243.0, 63.0, 333.0, 176.0), points[[1, 0, 2, 4, 3]], 1.0)
    assert np.array_equal(mix_faces(rgb, FACE, other, mirrored, 0.0), rgb)
    mixed = mix_faces(rgb, FACE, other, mirrored, 0.6)
    assert np.array_equal(mixed[250:], rgb[250:])
    assert np.abs(mixed[90:150, 195:250].astype(int) - rgb[90:150, 195:250]).mean() > 3


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
    arguments = ["--references", str(references), "--strangers", str(strangers), "--limit", "3", "--json"]
    code = cli.run(lambda: main([*arguments, "--engine", "insightface", "--model-pack", "mini", "--model-root", str(model_root)]))
    found = json.loads(capsys.readouterr().out)
    assert found["engine"] == "insightface_mini"
    assert found["missed"] == {"references": 0, "passed": 0, "failed": 0, "strangers": 1, "photos": 0}
    rows: dict[str, Any] = {row["name"]: row for row in found["rows"] if row["group"] == "skin realism, references"}
    assert len(rows) == 8
    for name in ("bilateral", "domain transform"):
        curve, spearman = rows[f"original vs strongest {name} filter, AUC"], rows[f"Spearman with strength, {name}"]
        assert curve["new"] == 1.0 and curve["plain"] < 1.0
        assert spearman["new"] > 0.9
    drift = rows["mean drift under benign changes"]
    assert drift["new"] < 0.5 * drift["plain"]
    assert code == 0
    assert {row["count"] for row in rows.values()} == {3}


def test_the_table_names_what_is_worse(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [Row("skin", "first", 0.5, 0.25, count=4), Row("skin", "second", None, 0.75)]
    table = render(sets(), ScaleComparison(rows, 3), {"stranger": 0.0, "same": 1.0}, "some_engine").splitlines()
    assert table[2] == f"{'skin (4 pictures)':58}   plain     new"
    assert table[3] == f"  {'first':56}   0.500   0.250   WORSE"
    assert table[4] == f"  {'second':56}       –   0.750"
    assert table[6] == "3 changed copies without a face, in no row"
    assert table[-1] == "  some_engine: {stranger: 0.0, same: 1.0}"


class NoFaces:
    """An engine that finds nothing."""

    def find(self, rgb: NDArray[np.uint8]) -> tuple[list[Face], str]:
        return [], ""


def test_the_limit_takes_pictures_from_all_over_the_folder(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "photos", [noise(32, 32)] * 10)
    (folder / "1.png").write_bytes(b"no picture")
    engine: Any = NoFaces()
    found = read_sets(engine, {"references": None, "passed": None, "failed": None, "strangers": None, "photos": folder}, 4)
    assert found.missed["photos"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(["--passed", "{root}"], "error: --references: nothing to measure against (give ", id="no base"),
        pytest.param(["--photos", "{root}/none"], "error: {root}/none: no such directory", id="no folder"),
        pytest.param(["--photos", "{root}"], "error: {root}: no pictures in it", id="empty"),
        pytest.param(["--photos", "{root}", "--limit", "0"], "0 is not 1 or more", id="limit"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: main([item.format(root=tmp_path) for item in arguments] + ["--engine", "dlib"])) == 2
    assert message.format(root=tmp_path) in capsys.readouterr().err
