"""`python -m lifeos VERB`, from the checkout and from anywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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
