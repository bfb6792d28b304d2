"""A whole cycle for real: guardrails, an agent that trains (on a stand-in) and generates, scores, comparison, production, commit.

Every step is the project's own script in a copy of this checkout; the pictures come from the embedded server.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.capabilities import POSIX
from tests.checkouts import IDENTITY, copy_checkout
from tests.tools.trainers.checkpoints import write_checkpoint

ROOT = Path(__file__).resolve().parents[3]

AGENT = """
import subprocess, sys
print("agent read:", sys.stdin.readline().strip(), flush=True)
def run(*command): subprocess.run([sys.executable, *command], check=True)
run("tools/retrain_lora_v3.py", "--sd-scripts-dir", "tests/trainer_standin", "--trainer-python", sys.executable,
    "--base-model", "../base.safetensors", "--train-data-dir", "../dataset", "--output-dir", "../lora", "--output-name", "amiranoor_v3",
    "--trigger-word", "amiranoor",
    "--max-train-steps", "20", "--save-every-n-steps", "10", "--overwrite")
run("tools/generate_batch.py", "--comfy-url", "embedded", "--lora", "amiranoor_v3.safetensors", "--prompt", "amiranoor, portrait",
    "--images-per-prompt", "3", "--width", "512", "--height", "640", "--base-seed", "1", "--output-dir", "../pictures_v3")
"""


def _python(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = os.environ | IDENTITY
    return subprocess.run([sys.executable, *arguments], cwd=root, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout with a dataset, references, and the scorecard of a v2 in its history."""
    from tools.stand_in import render_references

    folder = tmp_path_factory.mktemp("whole cycle")  # with a space
    root = copy_checkout(folder / "project")
    render_references(folder / "references", count=3)
    for number, picture in enumerate(render_references(folder / "dataset", count=4)):
        picture.with_suffix(".txt").write_text(f"amiranoor, portrait number {number}\n")
    write_checkpoint(folder / "base.safetensors")
    (folder / "agent.py").write_text(AGENT)
    made = ["--prompt", "amiranoor, portrait", "--images-per-prompt", "3", "--width", "512", "--height", "640", "--base-seed", "1"]
    steps = (
        [
            "tools/generate_batch.py",
            "--comfy-url",
            "embedded",
            "--lora",
            "amiranoor_v2.safetensors",
            *made,
            "--output-dir",
            "../pictures_v2",
        ],
        ["evals/scorecard.py", "--generated", "../pictures_v2", "--reference", "../references", "--run-id", "v2"],
    )
    for step in steps:
        done = _python(root, *step)
        assert done.returncode == 0, done.stderr
    return root


def _arguments(root: Path) -> list[str]:
    agent = f'"{sys.executable}" "{root.parent / "agent.py"}"'
    given = ["--agent-command", agent, "--run-id", "v3", "--lora-version", "v3", "--generated-dir", "../pictures_v3"]
    given += ["--reference-dir", "../references", "--training-dataset-dir", "../dataset", "--training-output-dir", "../lora"]
    given += ["--run-production", "--production-comfy-url", "embedded", "--production-lora", "amiranoor_v3.safetensors"]
    return ["tools/run_full_cycle.py", "--project-root", ".", *given, "--production-count", "1", "--production-output-dir", "../batch"]


@pytest.mark.skipif(not POSIX, reason="kill -9 is POSIX")
def test_a_cycle_killed_while_it_produces_goes_on_and_ends_right(project: Path) -> None:
    command = [sys.executable, *_arguments(project)]
    with subprocess.Popen(command, cwd=project, env=os.environ | IDENTITY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as cycle:
        journal = project.parent / "batch" / "journal.jsonl"
        while cycle.poll() is None and not (journal.exists() and journal.read_bytes().count(b"\n") > 8):
            time.sleep(0.05)
        assert cycle.poll() is None, (project / "cycle_report.json").read_text()
        cycle.send_signal(signal.SIGKILL)

    done = _python(project, *_arguments(project), "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    status = {step["name"]: step["status"] for step in report["steps"]}
    assert status == {
        "preflight": "done",
        "freshness": "done",
        "context_budget": "done",
        "known_failures": "done",
        "cost_start": "skipped",
        "agent": "done before",
        "cost_stop": "skipped",
        "promote_findings": "skipped",
        "dataset_manifest": "done before",
        "scorecard": "done before",
        "comparison": "done before",
        "production": "done",
        "commit": "done",
    }
    batch = json.loads((project.parent / "batch" / "batch_report.json").read_text())
    assert batch["counts"]["generated"] == 10  # ten built-in prompts, none twice

    rows = [json.loads(line) for line in (project / "tools" / "cost_log.jsonl").read_text().splitlines()]
    assert [row["activity"] for row in rows] == ["agent"]
    assert json.loads((project / "tools" / ".cost_session_state.json").read_text())["open"] == []
    history = [json.loads(line)["run_id"] for line in (project / "evals" / "eval_history.jsonl").read_text().splitlines()]
    assert history == ["v2", "v3", "batch"]
    log = subprocess.run(["git", "log", "-1", "--format=%s"], cwd=project, capture_output=True, text=True, check=True)
    assert log.stdout.strip() == "Run the cycle for v3"
    assert (project / "evals" / "comparison_report.md").read_text().startswith("# Version Comparison: v2 vs v3\n")
    manifest = json.loads((project.parent / "lora" / "dataset_manifest.json").read_text())
    row = json.loads((project / "evals" / "eval_history.jsonl").read_text().splitlines()[1])
    assert row["dataset_manifest_path"] and len(row["dataset_manifest_hash"]) == 64 and manifest["total_images"] == 4
