"""`python -m lifeos VERB`, from the checkout and from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lifeos import __main__ as launcher
from lifeos import environment
from lifeos.__main__ import OWN_VERBS, find_scripts


def _launch(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=cwd, check=False)


def test_help_lists_every_script_with_a_sentence(project_root: Path) -> None:
    done = _launch("-m", "lifeos", "--help", cwd=project_root)
    assert done.returncode == 0
    lines = [line for line in done.stdout.partition("Scripts:\n")[2].splitlines() if not line.startswith("   ")]  # wrapped sentences
    listed = {line.split()[0]: line.split(maxsplit=1)[1:] for line in lines}
    scripts = {
        path.stem for folder in ("tools", "evals") for path in (project_root / folder).glob("*.py") if "def main(" in path.read_text()
    }
    assert set(listed) == scripts
    assert all(listed.values())


def test_no_verb_is_offered_twice() -> None:
    assert not set(OWN_VERBS) & set(find_scripts())


@pytest.mark.parametrize("start", ["folder", "module"])
def test_an_unknown_verb_gets_the_nearest(start: str, project_root: Path, tmp_path: Path) -> None:
    arguments = [str(project_root / "lifeos")] if start == "folder" else ["-m", "lifeos"]
    done = _launch(*arguments, "dokter", cwd=tmp_path if start == "folder" else project_root)
    assert (done.returncode, done.stderr) == (2, "error: dokter: no such verb or script (did you mean doctor?)\n")


def test_an_old_python_is_told_what_is_needed(project_root: Path) -> None:
    program = (
        "import runpy, sys; sys.version_info = (3, 10, 1, 'final', 0)\n"
        f"sys.argv = ['lifeos']; runpy.run_path({str(project_root / 'lifeos' / '__main__.py')!r}, run_name='__main__')"
    )
    done = _launch("-c", program, cwd=project_root)
    assert done.returncode == 3
    assert "LifeOS needs 3.11 or newer" in done.stderr


@pytest.mark.parametrize(
    ("codes", "wanted"),
    [((0, 0, 0), 0), ((0, 3, 0), 3), ((5, 3, 0), 5), ((0, 0, 1), 1)],
    ids=["all pass", "the second check fails", "the first is told", "the tests fail"],
)
def test_all_checks_and_the_tests_run_whatever_the_others_say(
    codes: tuple[int, int, int], wanted: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "pytest.py").write_text(f"import sys; print('tested', *sys.argv[1:3]); sys.exit({codes[2]})\n")
    checks = [(name, ["-c", f"print('checked {name}'); exit({code})"]) for name, code in zip(("one", "two"), codes[:2], strict=True)]
    monkeypatch.setattr(launcher, "CHECKS", checks)
    monkeypatch.setattr(environment, "ensure", lambda profile, development: sys.executable)
    monkeypatch.setattr(launcher.cli, "PROJECT_ROOT", tmp_path)
    monkeypatch.chdir(tmp_path)
    for name in ("PYTHONDONTWRITEBYTECODE", "PYTEST_XDIST_AUTO_NUM_WORKERS"):
        monkeypatch.setenv(name, "1")  # both are changed for good by the command, which ends with the tests
    assert launcher.run_tests([]) == wanted
    assert capfd.readouterr().out.splitlines() == ["== one", "checked one", "== two", "checked two", "== pytest", "tested -n auto"]
