"""What commands print with --json: every object has `schema`, a failure is JSON, and docs/reference/documents.md names the keys."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from lifeos import cli
from lifeos.printing import print_json

ROOT = Path(__file__).resolve().parents[1]
SAMPLES = ROOT / "tests" / "data" / "version_before"
PAGE = (ROOT / "docs" / "reference" / "documents.md").read_text(encoding="utf-8")
THEN = b"/workspace/version_before"

LEDGER = ["--log-file", "{}/cost/cost_log.jsonl", "--state-file", "{}/cost/cost_session_state.json", "--action"]
JUDGED = ["--reference-dir", "{}/references", "--engine", "dlib", "--model-root", "{}/none"]
HISTORY = ["--history", "{}/eval_history.jsonl", "--no-pictures"]
COMMANDS: dict[str, tuple[str, list[str]]] = {
    "a batch": ("tools.production_pipeline", ["--rejudge", "--output-dir", "{}/finished_batch", "--history-file", "{}/h.jsonl"]),
    "a batch's dry run": ("tools.production_pipeline", ["--dry-run", "--images", "{}/dataset", "--output-dir", "{}/new", *JUDGED]),
    "a sweep's dry run": ("tools.parameter_sweep", ["--dry-run", "--lora", "a", "--cfgs", "4,5", "--prompt", "x", "--output-dir", "{}/s"]),
    "a comparison": ("evals.compare_versions", [*HISTORY, "--v1", "v2_sweep", "--v2", "v3_sweep", "--output", "{}/c.md"]),
    "the leaderboard": ("evals.leaderboard", [*HISTORY, "--output", "{}/l.md"]),
    "a LoRA": ("tools.lora_info", ["{}/training/v3-step00000010.safetensors"]),
    "a certificate": ("tools.certify", ["{}/finished_batch/approved/0001_p001_v01_seed7_close-up-portrait.png", "--project-root", "{}"]),
    "published files": ("tools.publish", ["--verify", "{}/finished_batch/approved/0001_p001_v01_seed7_close-up-portrait.png"]),
    "who trains what": ("tools.retrain_lora", ["--table"]),
    "a manifest": ("tools.dataset_manifest", ["--dataset-dir", "{}/dataset"]),
    "a verified manifest": ("tools.dataset_manifest", ["--verify", "{}/dataset_manifest.json", "--dataset-dir", "{}/dataset"]),
    "two manifests": ("tools.dataset_manifest", ["--compare", "{}/dataset_manifest_before.json", "{}/dataset_manifest.json"]),
    "the cost report": ("tools.runpod_cost_tracker", [*LEDGER, "report"]),
    "open sessions": ("tools.runpod_cost_tracker", [*LEDGER, "status"]),
    "a session that stops": ("tools.runpod_cost_tracker", [*LEDGER, "stop", "--at-last-heartbeat"]),
    "the context budget": ("tools.lifeos_context_budget", []),
    "the regressions": ("evals.known_failures", ["--list"]),
    "the policy": ("evals.load_thresholds", []),
    "the policy explained": ("evals.load_thresholds", ["--explain"]),
}
OF_ANOTHER_PAGE = frozenset({"a manifest", "a session that stops", "the context budget", "the regressions", "the policy"})
"""Their keys are those of a file format, of the policy or of a check: documents.md says so and names none of them all."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("documents") / "samples"
    shutil.copytree(SAMPLES, copy)
    (copy / "none").mkdir()
    for path in copy.rglob("*.json*"):
        if not path.name.startswith("dataset_manifest"):
            path.write_bytes(path.read_bytes().replace(THEN, str(copy).encode()))
    return copy


def run(module: str, flags: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    script = importlib.import_module(module)
    cli.run(lambda: script.main([flag.replace("{}", str(folder)) for flag in flags] + ["--json"]))
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_object_has_a_schema_and_documented_keys(name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    module, flags = COMMANDS[name]
    document = run(module, flags, folder, capsys)
    assert "error" not in document, document
    assert isinstance(document["schema"], int)
    if name not in OF_ANOTHER_PAGE:
        [section] = re.findall(rf"^## {module.rpartition('.')[2]}\n(.*?)(?=^## (?!{module.rpartition('.')[2]} )|\Z)", PAGE, re.M | re.S)
        assert sorted(key for key in document if f"`{key}`" not in section) == []


def test_an_entry_of_a_batch_is_documented(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run(*COMMANDS["a batch"], folder, capsys)
    gates = {gate["name"] for gate in document["gates"]}
    section = PAGE.partition("An entry of `images`")[2].partition("\n## ")[0]
    assert [key for key in document["images"][0] if f"`{key}`" not in section and key not in gates] == []
    assert [key for key in document["counts"] if f"`{key}`" not in PAGE.partition("| `counts` |")[2].partition("\n")[0]] == []


def test_a_list_stays_a_list(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = run("evals.compare_versions", ["--history", "{}/eval_history.jsonl", "--list"], folder, capsys)
    assert isinstance(runs, list) and "schema" not in runs[0]


def test_a_failure_is_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = run("tools.production_pipeline", ["--resume", "--output-dir", "{}/nothing_here"], folder, capsys)
    fix = "leave --resume out to begin one"
    assert document == {
        "error": {"what": str(folder / "nothing_here"), "why": "there is no batch to resume", "fix": fix, "exit_code": 2},
        "schema": 1,
    }


@pytest.mark.parametrize(
    ("document", "printed"),
    [({"a": 1}, {"schema": 1, "a": 1}), ({"schema": 3}, {"schema": 3}), ([{"a": 1}], [{"a": 1}]), ({}, {"schema": 1})],
)
def test_what_tells_no_schema_has_the_first(document: Any, printed: Any, capsys: pytest.CaptureFixture[str]) -> None:
    print_json(document)
    assert json.loads(capsys.readouterr().out) == printed
