"""What a new face engine touches, and a toy one that is scored from end to end by two scripts."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from evals import face_similarity_eval
from evals.faces import __main__ as door
from evals.faces import engines
from evals.faces.engines import EngineRow, choose_engine
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.errors import InputError
from lifeos.guardrails.checkout import Checkout
from tests.checkouts import ROOT
from tests.evals.portraits import portrait
from tools import demo, production_pipeline

A_NEW_ENGINE_TOUCHES = (
    "evals/faces/NAME_engine.py",  # check, open_engine
    "evals/faces/engines.py",  # its row, at its place in the order of auto
    "evals/thresholds.yaml",  # its four cosines
    "lifeos/policy/defaults.py",  # the same row, for a checkout without a policy file; a test compares the two
)
OWN_FILES = {name: f"evals/faces/{name}_engine.py" for name in ("onnx", "insightface", "sface", "dlib")}
NAMED_FOR_ANOTHER_REASON = {
    "lifeos/environment.py",  # an extra that is installed
    "lifeos/probe.py",  # packages that are imported
    "evals/regressions/dependencies.py",  # packages that are locked
    "evals/faces/data/dlib_stranger_mean.json",  # names its own origin
    "evals/faces/yunet.py",  # the format of its file
    "tools/stand_in/custom_classes.py",  # an input of a ComfyUI node has the name
}
TOY = EngineRow("toy", "tests.evals.faces.toy_engine", "a toy")
ROW = {"stranger": 0.0, "warn": 0.7, "pass": 0.8, "same": 1.0}


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The registry with a toy in front, and a project whose policy has its row."""
    monkeypatch.setattr(engines, "ENGINES", (TOY, *engines.ENGINES))
    (tmp_path / "project" / "evals").mkdir(parents=True)
    policy = f"face_similarity:\n  engines:\n    toy: {json.dumps(ROW)}\n"
    (tmp_path / "project" / "evals" / "thresholds.yaml").write_text(policy, encoding="utf-8")
    return tmp_path


def make_pictures(folder: Path, pictures: list[Image.Image]) -> Path:
    folder.mkdir()
    for number, picture in enumerate(pictures):
        picture.save(folder / f"{number}.png")
    return folder


def test_no_other_file_names_an_engine() -> None:
    """What would have to change for a new engine names the old ones."""
    allowed = {*OWN_FILES.values(), *A_NEW_ENGINE_TOUCHES, *NAMED_FOR_ANOTHER_REASON}
    code = [path for path in Checkout(ROOT).files if re.fullmatch(r"(?:lifeos|evals|tools)/.*\.(?:py|json|j2)", path)]
    quoted = re.compile(rf"""["'](?:{"|".join(OWN_FILES)})(?:_\w+)?["']""")
    naming = {path for path in code if quoted.search((ROOT / path).read_text(encoding="utf-8"))}
    assert naming - allowed == set()
    assert naming >= {"evals/faces/engines.py", "lifeos/policy/defaults.py"}, "the pattern finds what it should"
    assert set(OWN_FILES) == {row.name for row in engines.ENGINES}


def test_a_toy_engine_scores_a_folder(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = make_pictures(toy / "references", [portrait()])
    generated = make_pictures(toy / "generated", [portrait().resize((256, 256)), ImageOps.invert(portrait().convert("RGB"))])
    command = ["--generated", str(generated), "--reference", str(references), "--project-root", str(toy / "project"), "--json"]
    assert face_similarity_eval.main([*command, "--engine", "toy"]) == 0
    chosen = json.loads(capsys.readouterr().out)
    assert (chosen["protocol"]["engine"], chosen["protocol"]["scale"], chosen["provider"]) == ("toy", ROW, "toy CPU")
    assert [image["pass"] for image in chosen["per_image"]] == [True, False]
    assert chosen["per_image"][1]["score"] == 0.0  # the negative is the opposite
    face_similarity_eval.main(command)
    assert json.loads(capsys.readouterr().out) == chosen, "auto takes the first that is ready"


def test_a_toy_engine_judges_a_batch(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = make_pictures(toy / "references", [portrait()])
    pictures = make_pictures(toy / "pictures", [portrait().resize((500, 500)), ImageOps.invert(portrait().convert("RGB"))])
    command = ["--images", str(pictures), "--reference-dir", str(references), "--output-dir", str(toy / "batch"), "--engine", "toy"]
    assert production_pipeline.main([*command, "--project-root", str(toy / "project"), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["counts"]["approved"], document["counts"]["rejected"]) == (1, 1)
    assert json.loads((toy / "batch" / "batch_report.json").read_text(encoding="utf-8"))["protocol"]["engine"] == "toy"


def test_every_parser_and_the_door_of_doctor_offer_it(toy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from evals import compare_versions, scorecard, skin_realism_eval
    from tools import dataset_manifest, parameter_sweep

    scripts = (compare_versions, dataset_manifest, demo, face_similarity_eval, parameter_sweep, production_pipeline, scorecard)
    for script in (*scripts, skin_realism_eval):
        (action,) = [action for action in script.build_parser()._actions if "--engine" in action.option_strings]
        assert list(action.choices or ()) == ["auto", "toy", "onnx", "insightface", "sface", "dlib"], script.__name__
        assert "toy: a toy" in (action.help or ""), script.__name__
    assert cli.run(door.main) == 0
    rows = json.loads(capsys.readouterr().out)["engines"]
    assert [row["engine"] for row in rows] == ["toy", "onnx", "insightface", "sface", "dlib"]
    assert (rows[0]["ready"], rows[0]["summary"]) == (True, "a toy")


def test_an_engine_without_a_row_in_the_policy_is_refused(toy: Path) -> None:
    with pytest.raises(InputError) as caught:
        choose_engine("toy", load_thresholds(ROOT))
    assert str(caught.value).startswith("face engine toy: the policy has no thresholds for it")
    assert "face_similarity.engines.toy: {stranger: …" in caught.value.fix


def test_the_last_engine_says_what_it_lacks_where_none_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "ENGINES", tuple(row for row in engines.ENGINES if row.name == "insightface"))
    monkeypatch.setattr("lifeos.model_folders.model_folders", list)
    monkeypatch.setattr(engines, "model_folders", list)
    with pytest.raises(Exception, match="model pack buffalo_l: not in"):
        choose_engine("auto", load_thresholds(ROOT))
