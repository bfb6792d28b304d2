"""The limit of every gate can be given to every script that judges: the flags are made from the table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from evals import compare_versions, face_similarity_eval, scorecard, skin_realism_eval
from evals.judging import gate_limits, gates
from evals.judging.gates import GATES
from evals.load_thresholds import load_thresholds
from lifeos.errors import InputError
from tests.evals.portraits import portrait, write_references
from tools import parameter_sweep, production_pipeline
from tools.production.request import Request

QUALITY = {"--face-threshold", "--skin-threshold", "--skin-texture-threshold", "--skin-color-threshold"}
ALL = QUALITY | {gate.flag for gate in GATES if gate.is_guard}
SCRIPTS: dict[Any, set[str]] = {
    production_pipeline: ALL,
    parameter_sweep: ALL,
    scorecard: ALL,
    compare_versions: ALL,
    face_similarity_eval: {"--face-threshold"},
    skin_realism_eval: QUALITY - {"--face-threshold"},
}


def limit_flags(script: Any) -> set[str]:
    return {flag for flag in script.build_parser()._option_string_actions if flag.endswith("-threshold") and "fail-on" not in flag}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.__name__)
def test_every_script_that_judges_takes_every_limit(script: Any) -> None:
    assert limit_flags(script) == SCRIPTS[script]


def test_a_new_gate_gets_its_flag_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = replace(GATES[0], key="toy", title="toy", limit_key="toy.limit", flag="--toy-threshold")
    monkeypatch.setattr(gate_limits, "GATES", (*GATES, toy))
    assert all("--toy-threshold" in limit_flags(script) for script in SCRIPTS if script is not skin_realism_eval)
    assert "off, toy.limit is not set" in " ".join(production_pipeline.build_parser().format_help().split())


@pytest.mark.parametrize(
    ("script", "old", "new"),
    [
        (face_similarity_eval, "--threshold", "face_similarity.pass_threshold"),
        (skin_realism_eval, "--threshold", "skin_realism.overall_pass_threshold"),
        (skin_realism_eval, "--texture-threshold", "skin_realism.texture_pass_threshold"),
        (skin_realism_eval, "--color-threshold", "skin_realism.color_naturalness_pass_threshold"),
    ],
)
def test_the_specification_s_words_for_limits(script: Any, old: str, new: str) -> None:
    args = script.build_parser().parse_args(["--generated", "a", "--reference", "b", old, "0"])
    assert gate_limits.given_limits(args) == {new: 0.0}


def test_limits_are_kept_with_a_batch_and_read_back() -> None:
    request = Request(Path("out"), limits={"face_similarity.pass_threshold": 0.7, "skin_realism.texture_pass_threshold": 0.0})
    saved = request.to_json()
    assert saved == {"face_threshold": 0.7, "skin_texture_threshold": 0.0}
    again = Request(Path("out"), limits={"face_similarity.pass_threshold": 0.5}).completed_by({**saved, "skin_threshold": 0.4})
    assert again.limits == {
        "face_similarity.pass_threshold": 0.5,
        "skin_realism.texture_pass_threshold": 0.0,
        "skin_realism.overall_pass_threshold": 0.4,
    }


def test_a_texture_limit_rejects_what_the_policy_approves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    references = write_references(tmp_path / "references")
    (tmp_path / "pictures").mkdir()
    portrait().resize((500, 500)).save(tmp_path / "pictures" / "a.png")
    command = ["--images", str(tmp_path / "pictures"), "--reference-dir", str(references), "--engine", "dlib", "--json"]
    command += ["--history-file", str(tmp_path / "h.jsonl")]

    def judged(folder: str, *flags: str) -> dict[str, Any]:
        production_pipeline.main([*command, "--output-dir", str(tmp_path / folder), *flags])
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return document

    assert judged("as_the_policy_says")["counts"]["approved"] == 1
    strict = judged("strict", "--skin-texture-threshold", "1")
    assert (strict["counts"]["approved"], strict["counts"]["rejected"]) == (0, 1)
    assert strict["images"][0]["reasons"] == [f"skin texture {strict['images'][0]['texture']:.2f} is below 1.00"]
    assert judged("strict", "--resume")["policy"]["skin_realism"]["texture_pass_threshold"] == 1.0


def test_limits_without_rescoring_are_refused(tmp_path: Path) -> None:
    history = tmp_path / "h.jsonl"
    history.write_text("{}\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        compare_versions.main(["--history-file", str(history), "--v1", "a", "--v2", "b", "--face-threshold", "0.5"])
    assert str(caught.value) == "limits of gates: belong to --rescore: without it the verdicts of the history stand (add --rescore)"


def test_a_limit_that_no_policy_has_is_named() -> None:
    with pytest.raises(InputError, match="toy: unknown key"):
        load_thresholds(overrides={"toy.limit": 0.5})
    assert gates.gates_in_force(load_thresholds()) == tuple(gate for gate in GATES if not gate.is_guard)
