"""Scripts started by a Python without the packages go on in the environment: real Pythons, real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import venv
from pathlib import Path

import pytest

from lifeos import environment
from tests.capabilities import POSIX
from tests.tools.cost.cost_logs import row, write

pytestmark = [
    pytest.mark.skipif(not POSIX, reason="the stand-in for the environment's Python is a shell script"),
    pytest.mark.usefixtures("links"),
]


GUARDRAIL_SCRIPTS = [
    f"{folder}/{name}.py"
    for folder, names in (
        ("tools", ("lifeos_preflight", "lifeos_freshness_check", "lifeos_context_budget")),
        ("evals", ("known_failures", "load_thresholds")),
    )
    for name in names
]


class Machine:
    """A bare Python, and an environment whose Python notes each start and then is the one of these tests."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder, self.root = folder, root
        venv.create(folder / "bare", with_pip=False)
        self.bare = folder / "bare" / "bin" / "python"
        self.started = folder / "started"
        self.python_path = self.already = ""

    def make_environment(
        self, python: str = sys.executable, *, of_another_python: bool = False, dlib: bool = False, goes_through: bool = False
    ) -> None:
        """`goes_through`: its Python is a launcher that starts the real one, as in a venv on Windows."""
        base = None
        for profile in [environment.PROFILES["cpu"], *([environment.DLIB] if dlib else [])]:
            name = environment.folder_of(profile, base).name if not of_another_python else f"{profile.name}-0123456789ab"
            made = self.folder / "home" / name
            (made / "bin").mkdir(parents=True)
            lines = [
                "#!/bin/sh",
                f'echo started {profile.name} >> "{self.started}"',
                f'[ "$(wc -l < "{self.started}")" -lt 4 ] || exit 99',  # each starting the next would never end
                f'{"" if goes_through else "exec "}"{python}" "$@"',
            ]
            (made / "bin" / "python").write_text("\n".join(lines))
            (made / "bin" / "python").chmod(0o755)
            stamp = {"lock_sha256": profile.sha256(), "base": base.name if base else None}
            (made / environment.STAMP_FILE).write_text(json.dumps(stamp if of_another_python else {}))
            base = made

    def start_children(self) -> None:
        """Let each Python run the environment's as its child, as on Windows."""
        (self.folder / "site").mkdir()
        (self.folder / "site" / "sitecustomize.py").write_text("from lifeos import environment\nenvironment.CAN_REPLACE = False\n")
        self.python_path = f"{self.folder / 'site'}{os.pathsep}{self.root}"

    @property
    def environ(self) -> dict[str, str]:
        given = {
            "LIFEOS_HOME": str(self.folder / "home"),
            "LIFEOS_PROFILE": "cpu",
            "PYTHONPATH": self.python_path,
            "LIFEOS_RESTARTED": self.already,
        }
        return os.environ | given

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(self.bare), *arguments]
        return subprocess.run(command, cwd=self.root, env=self.environ, capture_output=True, text=True, check=False)

    @property
    def starts(self) -> int:
        return self.started.read_text().count("started") if self.started.exists() else 0


@pytest.fixture(params=["in its place", "as its child"])
def machine(tmp_path: Path, project_root: Path, request: pytest.FixtureRequest) -> Machine:
    made = Machine(tmp_path, project_root)
    if request.param == "as its child":
        made.start_children()
    return made


def _report(machine: Machine) -> list[str]:
    log = write(machine.folder / "log.jsonl", row(1))
    return ["tools/runpod_cost_tracker.py", "--action", "report", "--log-file", str(log), "--state-file", str(machine.folder / "state")]


@pytest.mark.parametrize("of_another_python", [False, True])
def test_output_and_exit_code_pass_through(machine: Machine, of_another_python: bool) -> None:
    machine.make_environment(of_another_python=of_another_python)
    done = machine.run(*_report(machine))
    assert (done.returncode, done.stderr, machine.starts) == (0, "", 1)
    assert "Total cost: $0.75" in done.stdout
    done = machine.run("tools/runpod_cost_tracker.py", "--action", "stop", *_report(machine)[3:])
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: cost session: none is open (open one with --action start)\n"


@pytest.mark.parametrize("of_another_python", [False, True])
def test_where_dlib_is_made_scripts_go_on_with_it(
    machine: Machine, of_another_python: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFEOS_HOME", str(tmp_path / "home"))  # the names of the stand-ins are made from it
    machine.make_environment(of_another_python=of_another_python, dlib=True)
    assert machine.run(*_report(machine)).returncode == 0
    assert machine.started.read_text() == "started dlib\n"


@pytest.mark.parametrize("stamp", [{"base": "cpu-another"}, {"lock_sha256": "0" * 64}], ids=["over another environment", "of another lock"])
def test_dlib_that_was_made_before_an_update_is_not_taken(machine: Machine, stamp: dict[str, str]) -> None:
    machine.make_environment(of_another_python=True, dlib=True)
    path = machine.folder / "home" / "dlib-0123456789ab" / environment.STAMP_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | stamp))
    assert machine.run(*_report(machine)).returncode == 0
    assert machine.started.read_text() == "started cpu\n"


def test_without_an_environment_the_command_that_makes_one_is_named(machine: Machine) -> None:
    done = machine.run(*_report(machine))
    assert (done.returncode, done.stdout, machine.starts) == (3, "", 0)
    assert "-m lifeos setup)" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("goes_through", [False, True])
def test_never_twice(machine: Machine, goes_through: bool) -> None:
    """The environment is broken: its Python finds the package no more than ours did."""
    machine.make_environment(str(machine.bare), goes_through=goes_through)
    done = machine.run(*_report(machine))
    assert (done.returncode, machine.starts) == (3, 1)
    assert "is not installed for" in done.stderr and done.stderr.count("\n") == 1


def test_a_script_that_a_restarted_one_starts_may_be_started_anew_too(machine: Machine) -> None:
    """An agent in a cycle, which knows only `python`."""
    machine.make_environment()
    machine.already = str(machine.root / "tools" / "run_full_cycle.py")
    assert (machine.run(*_report(machine)).returncode, machine.starts) == (0, 1)


@pytest.mark.parametrize("script", GUARDRAIL_SCRIPTS)
def test_a_guardrail_is_not_started_anew_and_names_the_command_that_works(machine: Machine, script: str) -> None:
    machine.make_environment()
    done = machine.run(script)
    assert (done.returncode, machine.starts) == (3, 0)
    assert f"-m lifeos {Path(script).stem})" in done.stderr


@pytest.mark.parametrize("machine", ["in its place"], indirect=True)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_reach_the_one_that_works(machine: Machine, number: signal.Signals) -> None:
    machine.make_environment()
    places = ["--log-file", str(machine.folder / "log.jsonl"), "--state-file", str(machine.folder / "state")]
    watch = ["tools/runpod_cost_tracker.py", "--watch", "--watch-interval", "0.05", "--comfy-url", "http://127.0.0.1:9", *places]
    with subprocess.Popen([str(machine.bare), *watch], cwd=machine.root, env=machine.environ, stdout=subprocess.DEVNULL) as watching:
        for _ in range(600):
            state = machine.folder / "state"
            if state.exists() and json.loads(state.read_text())["open"]:
                break
            time.sleep(0.05)
        watching.send_signal(number)
        watching.wait(timeout=60)
    assert (watching.returncode, machine.starts) == (130, 1)
    assert json.loads((machine.folder / "state").read_text())["open"] == []
