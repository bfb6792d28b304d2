"""The workflow, the hooks and the action pins: sound to two validators, and the commands that the specification gives."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.checkouts import ROOT

WORKFLOW = ROOT / ".github/workflows/guardrails.yml"
COMMANDS = [
    "python evals/known_failures.py --project-root .",
    "python tools/lifeos_context_budget.py --project-root .",
    "python tools/lifeos_preflight.py --project-root .",
    "python tools/lifeos_freshness_check.py --project-root . --max-age-days 14",
]
"""As the specification has them."""


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of this environment; it must be there: it is in requirements-dev.txt."""
    folder = Path(sys.executable).parent
    found = next((path for path in (folder / name, folder / f"{name}.exe") if path.exists()), None)
    assert found, f"{name} is not installed beside {sys.executable}"
    return subprocess.run([str(found), *arguments], cwd=ROOT, capture_output=True, text=True, encoding="utf-8", check=False)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.github-workflows", ".github/workflows/guardrails.yml"),
        ("custom.github-workflows-require-timeout", ".github/workflows/guardrails.yml"),
        ("vendor.dependabot", ".github/dependabot.yml"),
    ],
)
def test_check_jsonschema_finds_nothing(schema: str, path: str) -> None:
    done = tool("check-jsonschema", "--builtin-schema", schema, path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_zizmor_finds_nothing() -> None:
    done = tool("zizmor", "--offline", "--no-progress", "--persona", "auditor", ".github")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No findings to report" in done.stdout


def test_the_validators_notice(tmp_path: Path) -> None:
    text = WORKFLOW.read_text(encoding="utf-8")
    bad = tmp_path / "bad.yml"
    bad.write_text(text.replace("runs-on: ubuntu-latest", "runs_on: ubuntu-latest"), encoding="utf-8")
    assert tool("check-jsonschema", "--builtin-schema", "vendor.github-workflows", str(bad)).returncode != 0
    bad.write_text(re.sub(r"actions/checkout@\w+", "actions/checkout@v7", text), encoding="utf-8")
    assert tool("zizmor", "--offline", "--no-progress", str(bad)).returncode != 0


def test_the_four_commands_stand_as_specified() -> None:
    steps = read(WORKFLOW)["jobs"]["guardrails"]["steps"]
    assert [step["run"] for step in steps if step.get("run") in COMMANDS] == COMMANDS
    assert [step.get("if") for step in steps if step.get("run") in COMMANDS] == ["${{ !cancelled() }}"] * 4


def test_triggers_permissions_and_limits() -> None:
    workflow = read(WORKFLOW)
    assert workflow[True] == {"push": {"branches": ["main"]}, "pull_request": {"branches": ["main"]}}  # YAML 1.1 reads `on` as true
    assert workflow["permissions"] == {"contents": "read"}
    assert workflow["concurrency"]["cancel-in-progress"] is True
    assert all(0 < job["timeout-minutes"] <= 60 for job in workflow["jobs"].values())


@pytest.mark.parametrize("job", ["guardrails", "tests"])
def test_checkouts_have_the_whole_history_and_no_credentials(job: str) -> None:
    checkout = read(WORKFLOW)["jobs"][job]["steps"][0]
    assert checkout["with"] == {"fetch-depth": 0, "persist-credentials": False}


def test_the_guardrails_install_pyyaml_alone_by_hash() -> None:
    runs = [step["run"] for step in read(WORKFLOW)["jobs"]["guardrails"]["steps"] if "run" in step and step["run"] not in COMMANDS]
    assert len(runs) == 1
    assert {"--require-hashes", "-r", "requirements-guardrails.txt"} <= set(shlex.split(runs[0]))
    lines = (ROOT / "requirements-guardrails.txt").read_text(encoding="utf-8").splitlines()
    assert [line.partition("==")[0] for line in lines if not line.startswith((" ", "#"))] == ["pyyaml"]


def test_the_test_suite_runs_on_three_systems() -> None:
    job = read(WORKFLOW)["jobs"]["tests"]
    assert job["strategy"] == {"fail-fast": False, "matrix": {"os": ["ubuntu-latest", "macos-latest", "windows-latest"]}}
    assert job["steps"][-1]["run"] == "python -m lifeos test"


def test_actions_are_pinned_to_commits_with_their_version() -> None:
    uses = re.findall(r"uses: (\S+)(.*)", WORKFLOW.read_text(encoding="utf-8"))
    assert len(uses) == 4
    for action, comment in uses:
        assert re.fullmatch(r"actions/(?:checkout|setup-python)@[0-9a-f]{40}", action)
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment)


def test_the_hooks_run_the_same_scripts() -> None:
    hooks = read(ROOT / ".pre-commit-config.yaml")["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [command.removesuffix(" --max-age-days 14") for command in COMMANDS]
    assert all(hook["pass_filenames"] is False and hook["always_run"] for hook in hooks)
    pin = next(line.partition(" ")[0] for line in (ROOT / "requirements.txt").read_text().splitlines() if line.startswith("pyyaml=="))
    assert {package.lower() for hook in hooks for package in hook["additional_dependencies"]} == {pin}
