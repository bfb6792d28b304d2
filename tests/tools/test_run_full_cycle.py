"""The orchestrator as a command: the dry run, its codes, and that it changes nothing."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from lifeos import cli, locks, shells
from tests.capabilities import POSIX
from tests.checkouts import copy_checkout
from tools import run_full_cycle
from tools.cost.meter import LOG_FILE, STATE_FILE
from tools.cycle.committing import CommitPlan, commit_commands
from tools.cycle.steps import STEP_NAMES, STEPS
from tools.stand_in import render_references

Capture = pytest.CaptureFixture[str]


def _status(root: Path) -> str:
    return subprocess.run(["git", "status", "--porcelain", "--ignored=no"], cwd=root, capture_output=True, text=True, check=True).stdout


def test_the_dry_run_passes_on_a_python_alone_and_changes_nothing(project_root: Path, tmp_path: Path, links: None) -> None:
    venv.create(tmp_path / "bare", with_pip=False)
    python = tmp_path / "bare" / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    before = _status(project_root)
    command = [str(python), "tools/run_full_cycle.py", "--project-root", ".", "--dry-run"]
    done = subprocess.run(command, cwd=project_root, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Dry run: nothing was changed; every script, flag and input is there."), (
        done
    )
    assert "PyYAML is not installed" in done.stderr
    assert _status(project_root) == before


def test_the_dry_run_shows_every_command_of_a_full_cycle(
    project_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CYCLE_TOKEN", "a-secret-word")
    (tmp_path / "servers.yaml").write_text("servers:\n- url: http://127.0.0.1:9\n  token_env: CYCLE_TOKEN\n")
    for name in ("prompt.md", "prompts.txt"):
        (tmp_path / name).write_text("x")
    render_references(tmp_path / "references", count=1)
    given = f"--agent-command {Path(sys.executable).as_posix()} --agent-prompt P/prompt.md --generated-dir P --reference-dir P --run-id v3"
    given += (
        " --training-dataset-dir P --training-output-dir P/out --compare-with-run-id v2 --run-production --production-prompts P/prompts.txt"
        " --production-reference-dir P/references"
    )
    given += (
        " --production-lora amiranoor_v3.safetensors --production-count 5 --production-output-dir P/batch --production-comfy-url embedded"
        " --production-servers P/servers.yaml"
    )
    arguments = [part.replace("P/", f"{tmp_path}/") if part != "P" else str(tmp_path) for part in given.split()]
    assert run_full_cycle.main(["--project-root", str(project_root), "--dry-run", "--json", *arguments]) == 0
    printed = capsys.readouterr().out
    steps = {step["name"]: step for step in json.loads(printed)["steps"]}
    assert f"--servers {tmp_path / 'servers.yaml'}" in steps["production"]["commands"][0] and "a-secret-word" not in printed
    assert tuple(steps) == STEP_NAMES
    assert [name for name, step in steps.items() if step["skipped"] and name != "promote_findings"] == []
    assert "--v1 v2 --v2 v3" in steps["comparison"]["commands"][0]
    assert f"--output {tmp_path / 'out' / 'dataset_manifest.json'}" in steps["dataset_manifest"]["commands"][0]
    assert "--lora amiranoor_v3.safetensors" in steps["production"]["commands"][0]


def test_what_is_missing_is_named(project_root: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = [
        "--dry-run",
        "--generated-dir",
        str(tmp_path / "none"),
        "--reference-dir",
        str(tmp_path),
        "--agent-command",
        "no-such-agent",
    ]
    assert cli.run(lambda: run_full_cycle.main(["--project-root", str(project_root), *arguments])) == 2
    printed = capsys.readouterr()
    assert f"MISSING {tmp_path / 'none'}: no such file or directory" in printed.out
    assert "MISSING no-such-agent: no such command" in printed.out
    assert "2 things are missing" in printed.err


def test_commands_are_shown_for_the_shell_that_is_running(project_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr(shells, "running_shell", lambda: shells.POWERSHELL)
    arguments = ["--project-root", str(project_root), "--dry-run", "--only", "agent", "--agent-command", "'my agent' -p \"it's\""]
    cli.run(lambda: run_full_cycle.main(arguments))
    assert "& 'my agent' -p 'it''s'\n" in capsys.readouterr().out


def test_an_agent_s_command_is_split_as_it_was_typed(project_root: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def show(command: str) -> int:
        arguments = ["--project-root", str(project_root), "--dry-run", "--only", "agent", "--agent-command", command]
        return cli.run(lambda: run_full_cycle.main(arguments))

    monkeypatch.setattr(shells, "WINDOWS", True)
    show(r'"C:\Program Files\agent.cmd" -p "do it"')
    assert r"MISSING C:\Program Files\agent.cmd: no such command" in capsys.readouterr().out
    assert show("agent 'do it") == 2
    assert "agent 'do it: a quote in this command is not closed (close it)" in capsys.readouterr().err


def test_an_agent_that_is_not_configured_is_explained(project_root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_full_cycle.main(["--project-root", str(project_root), "--dry-run", "--only", "agent"])
    assert 'give --agent-command "claude -p", or set cycle.agent_command' in capsys.readouterr().out


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For cycles that must not start anything: whatever they left there would fail the next test."""
    return copy_checkout(tmp_path_factory.mktemp("checkout") / "project")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([], "tools/production_pipeline.py: the following arguments are required: --production-output-dir"),
        (["--production-output-dir", "../batch"], "--production-reference-dir"),
        (["--production-output-dir", "../batch", "--production-prompts", "../none.txt"], "none.txt: no such file or directory"),
        (["--production-output-dir", "../batch", "--cost-rate-per-hr", "much"], "--rate-per-hr: 'much' is no amount of money"),
        (["--production-output-dir", "../batch", "--reference-dir", "../none", "--generated-dir", "../made later"], "none: no such file"),
    ],
    ids=["a flag", "no references", "an input", "a value", "an input of another step"],
)
def test_what_cannot_run_is_refused_before_anything_is_paid(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], reason: str
) -> None:
    """The agent would cost its dollars first, and production fail after it. The dry run refuses the same."""
    root = checkout
    agent = f"\"{sys.executable}\" -c \"open('ran', 'w')\""
    given = [str(tmp_path / part[3:]) if part.startswith("../") else part for part in given]
    command = ["--project-root", str(root), "--from", "cost_start", "--agent-command", agent, "--run-production", *given]
    assert cli.run(lambda: run_full_cycle.main(command)) == 2
    printed = capsys.readouterr().out
    assert reason in printed and "nothing was started" in printed
    assert not (root / "ran").exists() and not (root / LOG_FILE).exists() and not (root / STATE_FILE).exists()
    assert cli.run(lambda: run_full_cycle.main([*command, "--dry-run"])) == 2
    assert reason in capsys.readouterr().out


def test_the_report_of_a_cycle_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "lifeos_preflight.py").write_text("raise SystemExit('error: a|b <script>: missing `code`')")
    assert run_full_cycle.main(["--project-root", str(tmp_path), "--only", "preflight"]) == 1
    markdown = (tmp_path / "cycle_report.md").read_text()
    assert "| Preflight | FAILED |" in markdown and "error: a\\|b &lt;script>: missing \\`code\\`" in markdown
    page = (tmp_path / "cycle_report.html").read_text()
    assert "error: a|b &lt;script&gt;: missing `code`" in page and "<script>:" not in page


def test_a_second_cycle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with locks.hold(tmp_path / "cycle_runs" / "cycle.lock", "test"):
        assert cli.run(lambda: run_full_cycle.main(["--project-root", str(tmp_path), "--only", "preflight"])) == 4
    assert "error: the cycle: in use by process" in capsys.readouterr().err


def test_a_failing_step_passes_its_code_on_and_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "lifeos_preflight.py").write_text("raise SystemExit('error: CLAUDE.md: missing (write it)')")
    root = tmp_path / "with space"
    tmp_path.joinpath("tools").rename(tmp_path / "t")
    root.mkdir()
    (tmp_path / "t").rename(root / "tools")
    assert run_full_cycle.main(["--project-root", str(root), "--only", "preflight"]) == 1
    printed = capsys.readouterr().out
    assert "FAILED: preflight: error: CLAUDE.md: missing (write it)" in printed
    assert f"To repeat only this step: {sys.executable} tools/lifeos_preflight.py --project-root ." in printed
    assert json.loads((root / "cycle_report.json").read_text())["status"] == "failed"


def test_nothing_is_ever_pushed(project_root: Path) -> None:
    from tools.cycle.steps import CycleSettings

    settings = CycleSettings(root=project_root, agent_command="agent", training_dataset_dir=Path("d"), run_production=True)
    commands = [command for step in STEPS for command in step.commands(settings)]
    commands += commit_commands(project_root, CommitPlan(("PROGRESS.md",)), "message")
    words = [word for command in commands for word in command]
    assert "commit" in words and "push" not in words


@pytest.mark.parametrize("flag", ["--from", "--only", "--skip"])
def test_an_unknown_step_is_refused(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(lambda: run_full_cycle.main([flag, "agnet", "--dry-run"])) == 2
    assert "invalid choice: 'agnet'" in capsys.readouterr().err


@pytest.mark.skipif(not POSIX, reason="signals are POSIX")
def test_sigterm_ends_the_cycle_with_its_meter_stopped(tmp_path: Path) -> None:
    """A pod sends SIGTERM before it stops."""
    root = copy_checkout(tmp_path / "project")
    agent = f"{sys.executable} -c 'import time; print(1234, flush=True); time.sleep(600)'"
    arguments = ["--from", "cost_start", "--agent-command", agent, "--skip-commit"]
    command = [sys.executable, "tools/run_full_cycle.py", "--project-root", ".", *arguments]
    with subprocess.Popen(command, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as cycle:
        assert cycle.stdout is not None
        for line in cycle.stdout:
            if line.strip() == b"1234":
                break
        cycle.send_signal(signal.SIGTERM)
        said = cycle.stdout.read().decode()
    assert (cycle.returncode, "The cost session was closed: " in said, "Traceback" in said) == (130, True, False)
    assert json.loads((root / STATE_FILE).read_text())["open"] == []
    assert len((root / LOG_FILE).read_text().splitlines()) == 1
