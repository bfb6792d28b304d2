"""The command: figures, the row in the policy, and one line for what cannot be calibrated. The engine is the default one, or a toy."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from evals.calibrate_engine import main
from evals.faces import engines
from lifeos import cli
from lifeos.policy.rewriting import write_engine_row
from lifeos.project import PROJECT_ROOT
from tests.evals.faces import toy_engine
from tools.stand_in import render_references


@pytest.fixture(scope="module")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("references")
    render_references(folder, 6)
    return folder


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "evals").mkdir()
    shutil.copy(PROJECT_ROOT / "evals" / "thresholds.yaml", tmp_path / "evals")
    return tmp_path


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    row = engines.EngineRow("toy", toy_engine.__name__, "a toy")
    monkeypatch.setattr(engines, "ENGINES", (*engines.ENGINES, row))


def run(capsys: pytest.CaptureFixture[str], *flags: object) -> tuple[int, str, str]:
    code = cli.run(lambda: main([*map(str, flags)]))
    out, err = capsys.readouterr()
    return code, out, err


def draw(folder: Path, count: int, seed: int, *, like: int | None = None, share: float = 0.0) -> Path:
    """Pictures that the toy compares: 8 x 8 shades at random, or near the pattern of a number."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    pattern = np.random.default_rng(like).normal(size=(8, 8)) if like is not None else np.zeros((8, 8))
    for number in range(count):
        shades = share * pattern + (1 - share) * random.normal(size=(8, 8))
        grey = np.clip(128 + 30 * shades, 0, 255).astype(np.uint8).repeat(16, 0).repeat(16, 1)
        Image.fromarray(np.stack([grey] * 3, axis=2)).save(folder / f"{seed}_{number:02d}.png")
    return folder


def test_the_default_engine_with_the_numbers_that_are_carried(references: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo's references are one portrait, changed: far above every stranger."""
    flags = ("--reference-dir", references, "--engine", "sface", "--project-root", project)
    before = (project / "evals" / "thresholds.yaml").read_text(encoding="utf-8")
    code, out, _ = run(capsys, *flags)
    assert code == 0 and (project / "evals" / "thresholds.yaml").read_text(encoding="utf-8") == before
    assert "ceiling: references left out one by one: lowest 0.9" in out and "(normal curve through 205 people)" in out
    assert "warn, in force  0.36" in out and "shares below 1.5 % (3 of 205) rest on the curve" in out

    code, out, _ = run(capsys, *flags, "--write", "--json")
    document = json.loads(out)
    assert code == 0 and document["written"] == str(project / "evals" / "thresholds.yaml")
    assert document["ceiling"]["references_left_out"]["pictures"] == 6 and document["floor"]["people"] == 205
    assert document["marks"]["pass"]["own_rejected"] == {"count": 0, "of": 6, "share": 0.0, "low": 0.0, "high": 0.5}
    after = (project / "evals" / "thresholds.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(after)["face_similarity"]["engines"]["sface"] == document["row"]
    changed = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(changed) == 1 and changed[0][1].lstrip().startswith("sface: {stranger: ")
    assert document["row"]["stranger"] < document["row"]["warn"] < document["row"]["pass"] < document["row"]["same"] == 1.0
    assert document["row"]["model"] == yaml.safe_load(before)["face_similarity"]["engines"]["sface"]["model"]


@pytest.mark.usefixtures("toy")
def test_strangers_and_own_photos_of_an_engine_without_a_row(tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own, people = draw(tmp_path / "own", 8, 1, like=5, share=0.6), draw(tmp_path / "people", 40, 2)
    more = draw(tmp_path / "more", 4, 3, like=5, share=0.55)
    shutil.copy(own / "1_00.png", more / "again.png")
    (people / "broken.png").write_bytes((people / "2_00.png").read_bytes()[:99])
    flags = ("--reference-dir", own, "--own", more, "--strangers", people, "--engine", "toy", "--project-root", project)
    code, out, err = run(capsys, *flags, "--write", "--json")
    document: dict[str, Any] = json.loads(out)
    assert code == 0, err
    assert document["floor"]["people"] == 40 and document["ceiling"]["own_photos"]["pictures"] == 4
    assert document["marks"]["pass"]["strangers_shown"] == {"count": 0, "of": 40, "share": 0.0, "low": 0.0, "high": 0.075}
    assert document["marks"]["pass"]["own_rejected"]["of"] == 12 and document["marks"]["pass_in_force"] is None
    assert "--own: 1 seen already left out" in document["warnings"] and "--strangers: 1 unreadable left out" in document["warnings"]
    rows = yaml.safe_load((project / "evals" / "thresholds.yaml").read_text(encoding="utf-8"))["face_similarity"]["engines"]
    assert rows["toy"] == document["row"] and "sface" in rows
    code, out, _ = run(capsys, *flags)
    assert code == 0 and "0 of 40 strangers shown pass: at most 7.5 % of all, 95 % sure" in out and "pass, in force" in out


@pytest.mark.usefixtures("toy")
def test_what_a_row_says_of_the_model_s_input_stays(tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The marks that were written only to have a row go, and so does the note that they were not measured."""
    own, people = draw(tmp_path / "own", 8, 1, like=5, share=0.6), draw(tmp_path / "people", 40, 2)
    path, made_up = project / "evals" / "thresholds.yaml", {"stranger": 0.0, "warn": 0.1, "pass": 0.2, "same": 1.0}
    fed = {"size": 96, "channels": "bgr", "points": [[30.5, 50], [65, 50], [48, 70], [33, 87.25], [62, 87]]}
    write_engine_row(path, "toy", {**made_up, "note": "made up", "input": fed})
    flags = ("--reference-dir", own, "--strangers", people, "--engine", "toy", "--project-root", project)
    code, out, err = run(capsys, *flags, "--write", "--json")
    assert code == 0, err
    row = yaml.safe_load(path.read_text(encoding="utf-8"))["face_similarity"]["engines"]["toy"]
    assert row == {**json.loads(out)["row"], "input": fed} and row["pass"] != made_up["pass"]


@pytest.mark.usefixtures("toy")
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("few references", "4 references with a face are too few to calibrate with (5 or more are wanted, 10 are better)"),
        ("no strangers", "error: --strangers: no numbers of strangers are carried for toy (give a folder with 20 or more"),
        ("few strangers", "19 pictures with a face are too few (give --strangers 20 or more pictures of other people"),
        ("the character", "2 pictures are as like the character as its own photos: 1_00.png (0."),
        ("not told apart", "error: face engine toy: this engine does not tell the character from strangers: a pass mark of"),
    ],
)
def test_what_cannot_be_calibrated(fault: str, said: str, tmp_path: Path, project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = draw(tmp_path / "own", 4 if fault == "few references" else 8, 1, like=5, share=0.02 if fault == "not told apart" else 0.6)
    people = draw(tmp_path / "people", 19 if fault == "few strangers" else 40, 2)
    if fault == "the character":
        for name in ("1_00.png", "1_01.png"):
            shutil.copy(own / name, people)
    strangers = () if fault == "no strangers" else ("--strangers", people)
    before = (project / "evals" / "thresholds.yaml").read_bytes()
    code, _, err = run(capsys, "--reference-dir", own, *strangers, "--engine", "toy", "--project-root", project, "--write")
    assert (code, len(err.strip().splitlines()[-1:])) == (2, 1) and said in err.splitlines()[-1]
    assert (project / "evals" / "thresholds.yaml").read_bytes() == before


def test_a_share_must_be_one(references: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--reference-dir", references, "--pass-accepts", "2")
    assert code == 2 and "'2' found, a share between 0 and 0.5 wanted, such as 0.001" in err
