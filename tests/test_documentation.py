"""The README and the changes document are true of the code: their commands exist with these flags, their files are there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from lifeos.reference import documents

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CODEX-PHASE3-CHANGES.md")
VERBS = {"demo", "test", "doctor", "setup", "reference"}


def _commands(document: str) -> list[str]:
    """Each command of ours in a code block or code span, line continuations joined."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    return sorted({line.split(" #")[0].strip() for line in (*blocks, *spans) if line.startswith("python ") and "…" not in line})


def _cases() -> list[tuple[str, str]]:
    return [(document, command) for document in DOCUMENTS for command in _commands(document)]


@cache
def _help(script: str) -> set[str]:
    done = subprocess.run([sys.executable, script, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))


@cache
def _setup_help(verb: str) -> set[str]:
    done = subprocess.run([sys.executable, "-m", "lifeos", verb, "--help"], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(re.findall(r"--[a-z][a-z0-9-]*", done.stdout))


@pytest.mark.parametrize(("document", "command"), _cases())
def test_a_documented_command_exists_with_its_flags(document: str, command: str) -> None:
    words = shlex.split(command)[1:]
    flags = {word for word in words if word.startswith("--")}
    if words[:2] == ["-m", "lifeos"]:
        name = words[2] if len(words) > 2 else "--help"
        if name in VERBS | {"--help", "SCRIPT", "NAME"}:
            assert flags <= (_setup_help(name) if name in ("setup", "doctor", "reference") else {"--help"}), command
            return
        matches = [path for folder in ("tools", "evals") if (path := ROOT / folder / f"{name}.py").exists()]
        assert matches, f"{document}: no script {name}"
        script = str(matches[0])
    else:
        script = words[0]
    assert (ROOT / script).exists(), f"{document}: {script}"
    if (ROOT / script).is_file():
        assert flags - {"--help"} <= _help(script), command


@pytest.mark.parametrize("command", [command for _, command in _cases() if "--dry-run" in command and "retrain" not in command])
def test_a_documented_dry_run_passes(command: str) -> None:
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_generated_documents_say_what_the_code_says() -> None:
    outdated = [path.relative_to(ROOT).as_posix() for path, wanted in documents(ROOT) if path.read_text(encoding="utf-8") != wanted]
    assert outdated == [], "python -m lifeos reference --write"


def test_the_pictures_of_the_readme_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)
