"""What a new gate touches, and a toy one (how bright a picture is: lower is better, no weight) that goes through every tool."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import ImageEnhance

from evals import compare_versions, leaderboard, scorecard
from evals.judging import gates
from evals.judging.assessor import open_assessor
from evals.judging.gates import GATES, Gate, measured
from evals.judging.picture_verdict import verdict
from evals.judging.records import Assessment, Reading
from evals.judging.view import View
from evals.load_thresholds import load_thresholds
from lifeos import cli
from lifeos.errors import InputError
from lifeos.guardrails.checkout import Checkout
from tests.checkouts import ROOT
from tests.evals.portraits import portrait, write_references
from tools import production_pipeline
from tools.production.request import Request
from tools.sweep import sweep_report
from tools.sweep.analysis import Shot, choose, survivors
from tools.sweep.design import Config, plan_rungs
from tools.sweep.running import Sweep, SweepEnd

A_NEW_GATE_TOUCHES = (
    "evals/…/MEASURE.py",  # a function from a View to a Reading
    "evals/judging/gates.py",  # its row
    "evals/thresholds.yaml",  # its limit: gates.KEY.limit
)
NAMES_OF_THE_SPECIFICATION = {
    "evals/skin_realism_eval.py",  # the fields of the specification's document
    "lifeos/policy/defaults.py",  # the specification's keys, for a checkout without a policy file
    "lifeos/policy/schema.py",  # pass is not below warn
    "lifeos/policy/loading.py",
}
LIMIT = 0.55


def measure_brightness(view: View) -> Reading:
    """The whole measure of the toy."""
    view.memory["measured"] = view.memory.get("measured", 0) + 1
    return Reading(round(float(view.picture.rgb.mean()) / 255, 6))


BRIGHTNESS = Gate(
    key="brightness",
    title="brightness",
    heading="Brightness",
    subject="brightness",
    limit_key="gates.brightness.limit",
    flag="--brightness-threshold",
    read=measured("brightness"),
    mean_name="brightness_mean",
    pass_name="brightness_pass",
    picture_name="brightness",
    document_name="brightness",
    lower_is_better=True,
    measure=measure_brightness,
    metric="brightness/1",
)


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The table of gates with the toy's row, in every module that looks into it."""
    table = GATES  # this module has it too, and is changed among the others
    for module in list(sys.modules.values()):
        if getattr(module, "GATES", None) is table:
            monkeypatch.setattr(module, "GATES", (*table, BRIGHTNESS))
    yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose policy has the toy's limit."""
    (tmp_path / "project" / "evals").mkdir(parents=True)
    policy = f"gates:\n  brightness: {{limit: {LIMIT}}}\n"
    (tmp_path / "project" / "evals" / "thresholds.yaml").write_text(policy, encoding="utf-8")
    return tmp_path / "project"


def write_run(folder: Path, brightness: float) -> Path:
    """Three prompts of one seed; every picture a little different, the last one over the toy's limit."""
    folder.mkdir(parents=True)
    for number in range(1, 4):
        picture = portrait().rotate(number).crop((40, 0, 440, 400))
        level = brightness + 0.02 * number if number < 3 else 1.3
        name = f"step1_str{brightness:.2f}_{number:04d}_p{number:03d}_v01_seed{number}_x.png"
        ImageEnhance.Brightness(picture).enhance(level).save(folder / name)
    return folder


def test_no_other_file_names_a_gate() -> None:
    """What would have to change for a new gate names the old ones, by their limits or by their names in the history."""
    limits = {gate.limit_key if gate.is_guard else gate.limit_key.split(".")[-1] for gate in GATES}
    words = {word for gate in GATES for word in (gate.mean_name, gate.pass_name)} | limits - {"pass_threshold"}
    allowed = {*A_NEW_GATE_TOUCHES, *NAMES_OF_THE_SPECIFICATION}
    everything = [path for path in Checkout(ROOT).files if path.startswith(("evals/", "tools/", "lifeos/"))]
    files = [path for path in everything if path.endswith((".py", ".j2")) and not path.startswith("evals/guards/")]
    naming = {path for path in files if any(word in (ROOT / path).read_text(encoding="utf-8") for word in words)}
    assert sorted(naming - allowed) == []


def test_a_toy_goes_through_every_tool(table: None, project: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = write_references(tmp_path / "references")
    history = tmp_path / "h.jsonl"
    for name, brightness in (("dark", 0.6), ("light", 0.9)):
        assert score(write_run(tmp_path / name, brightness), references, project, history, name) == 0
    text = (tmp_path / "light.md").read_text(encoding="utf-8")
    rows = {row["run_id"]: row for row in map(json.loads, history.read_text(encoding="utf-8").splitlines())}

    # the scorecard and its row
    light = rows["light"]
    seen = [picture["brightness"] for picture in light["images"]]
    mean = light["eval_scores"]["brightness_mean"]
    assert mean == round(sum(seen) / 3, 4) and light["eval_scores"]["coverage"]["brightness"] == 1.0
    assert f"| Brightness | {mean:.2f} | 3 of 3 | at most 0.55 |" in text
    assert [picture["approved"] for picture in light["images"]] == [True, True, False]
    assert "- 1 picture: brightness above 0.55" in text
    assert light["protocol"]["measures"] == {"brightness": "brightness/1"}
    weights = {"face": 0.75, "skin": 0.25}
    scores = {"face": light["eval_scores"]["face_similarity_mean"], "skin": light["eval_scores"]["skin_realism_mean"]}
    assert light["eval_scores"]["overall_score"] == round(sum(weights[key] * scores[key] for key in weights), 4)  # it has no weight

    capsys.readouterr()

    # the comparison: brighter is worse
    flags = ["--history", str(history), "--project-root", str(project), "--no-pictures", "--json"]
    more = ["--v1", "dark", "--v2", "light", "--output", str(tmp_path / "cmp.md"), "--champion", str(tmp_path / "champion.json")]
    assert cli.run(lambda: compare_versions.main([*flags, *more])) == 0
    metric = json.loads(capsys.readouterr().out)["metrics"]["brightness"]
    assert metric["delta"] > 0.05 and metric["verdict"] in ("REGRESSED", "INCONCLUSIVE")
    compared = (tmp_path / "cmp.md").read_text(encoding="utf-8")
    assert "| Brightness (less is better) | 3 | +" in compared
    assert "| Brightness | 3 of 3 | 3 of 3 |" in compared

    # the leaderboard
    assert cli.run(lambda: leaderboard.main([*flags, "--output", str(tmp_path / "lb.md")])) == 0
    board = (tmp_path / "lb.md").read_text(encoding="utf-8")
    assert "| Face | Skin | Brightness | Grade |" in board and f"| {mean:.2f} |" in board
    capsys.readouterr()

    # a batch of pictures that are there already
    out = tmp_path / "batch"
    places = ["--images", str(tmp_path / "light"), "--reference-dir", str(references), "--output-dir", str(out), "--engine", "dlib"]
    code = cli.run(lambda: production_pipeline.main([*places, "--model-root", str(tmp_path), "--project-root", str(project), "--json"]))
    document = json.loads(capsys.readouterr().out)
    assert code == 0 and document["counts"]["approved"] == 2
    assert document["means"]["all"]["brightness"] == mean
    assert (out / "scores.csv").read_text(encoding="utf-8-sig").partition("\n")[0].count("brightness") == 1
    for report in ("batch_report.md", "batch_report.html"):
        assert "rightness" in (out / report).read_text(encoding="utf-8")
    # its limit on the command line: judged again, without scoring
    again = ["--rejudge", "--output-dir", str(out), "--brightness-threshold", "0.99", "--project-root", str(project), "--json"]
    assert cli.run(lambda: production_pipeline.main(again)) == 0
    assert json.loads(capsys.readouterr().out)["counts"]["approved"] == 3


def score(folder: Path, references: Path, project: Path, history: Path, name: str) -> int:
    places = ["--generated", str(folder), "--reference", str(references), "--project-root", str(project), "--history-file", str(history)]
    files = ["--output-json", str(folder.with_suffix(".json")), "--latest-report", str(folder.with_suffix(".md")), "--run-id", name]
    return cli.run(lambda: scorecard.main([*places, *files, "--engine", "dlib", "--model-root", str(folder)]))


def test_a_sweep_shows_it_and_keeps_to_its_verdict(table: None, project: Path, tmp_path: Path) -> None:
    policy = load_thresholds(project)
    assessor = open_assessor(write_references(tmp_path / "references"), policy, engine="dlib", model_root=tmp_path)
    configs = [Config("step1_str0.60", None, 0.6, None, None), Config("step1_str0.90", None, 0.9, None, None)]
    shots = []
    for config in configs:
        folder = write_run(tmp_path / config.name, config.strength or 0.0)
        for number, item in enumerate(assessor.assess_many(sorted(folder.iterdir())), 1):
            shots.append(Shot(config.name, number, number, item.file, item, verdict(item, policy).approved))
    selection = choose(shots, configs, policy, None)
    request = Request(output_dir=tmp_path, prompts=("a",))
    sweep = Sweep(request, tuple(configs), tuple(plan_rungs(2, 3, 1, None)), ("a",) * 3, None, "s")
    end = SweepEnd("complete", shots, configs, assessor.protocol, None, 0.0)
    assert "| Face | Skin | Brightness | Scored |" in sweep_report.render(selection, sweep, end, [], policy)
    document = sweep_report.to_document(selection, sweep, end, tmp_path / "r.md", [], policy)
    assert all(entry["means"]["brightness"] > 0 and entry["approved"] == 2 for entry in document["ranking"])
    assert len(survivors(shots, configs, 1, policy, None)) == 1


def test_scores_stay_comparable_where_the_gate_is_off(table: None, project: Path, tmp_path: Path) -> None:
    references = write_references(tmp_path / "references")
    off, on = load_thresholds(tmp_path), load_thresholds(project)
    opened = [open_assessor(references, policy, engine="dlib", model_root=tmp_path) for policy in (off, on)]
    assert "measures" not in opened[0].protocol
    assert opened[0].protocol["id"] != opened[1].protocol["id"]
    portrait().save(tmp_path / "a.png")
    assert opened[0].assess(tmp_path / "a.png").measures == {}
    found = opened[1].assess(tmp_path / "a.png")
    assert Assessment.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_measure_may_need_a_folder_and_the_pictures_before(tmp_path: Path, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files_of(view: View) -> Reading:
        return Reading(len(list(view.folders["training"].iterdir())) / 10)

    def newest(item: Assessment, others: Any) -> Reading:
        return Reading(float(len(others)) / 10)

    needs = replace(BRIGHTNESS, measure=files_of)
    counts = replace(
        BRIGHTNESS, key="place", picture_name="place", mean_name="place_mean", limit_key="gates.place.limit", read=newest, measure=None,
        needs_others=True,
    )  # fmt: skip
    monkeypatch.setattr(gates, "GATES", (*GATES, needs, counts))
    policy = {**load_thresholds(project), "gates": {"brightness": {"limit": 0.5}, "place": {"limit": 0.1}}}
    references = write_references(tmp_path / "references")
    assessor = open_assessor(references, policy, engine="dlib", model_root=tmp_path, folders={"training": references})
    portrait().save(tmp_path / "a.png")
    found = assessor.assess(tmp_path / "a.png")
    assert found.measures["brightness"] == Reading(0.3)  # three references
    kept = gates.keep_all_readings([found] * 3, policy)
    assert [item.measures["place"].score for item in kept] == [0.0, 0.1, 0.2]
    assert [verdict(item, policy).approved for item in kept] == [True, True, False]
    assert gates.means(kept, policy).value("place") == 0.1


def test_a_limit_without_a_gate_is_refused(tmp_path: Path, project: Path) -> None:
    with pytest.raises(InputError, match=r"gates\.brightness: there is no such gate"):
        open_assessor(write_references(tmp_path / "references"), load_thresholds(project), engine="dlib", model_root=tmp_path)
