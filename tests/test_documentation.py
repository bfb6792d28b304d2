"""The documents are true of the code: their commands exist with these flags, their pictures are there, generated pages are up to date."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from lifeos import __main__ as launcher
from lifeos.guardrails.checkout import Checkout
from lifeos.guardrails.dead_links import LAUNCHER_VERBS, find_documents
from lifeos.reference import CHANGES, END

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [path for path in find_documents(Checkout(ROOT)) if path.endswith(".md")]
NO_FLAGS = {"test", "help", "--help", "SCRIPT", "NAME"}


def _commands(document: str) -> list[str]:
    """Each command of ours in a code block or code span, line continuations joined."""
    text = (ROOT / document).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = [line for block in re.findall(r"```\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    lines = {line.split(" #")[0].strip().removeprefix("$ ") for line in (*blocks, *spans)}
    return sorted(line for line in lines if line.startswith("python ") and "…" not in line and "..." not in line)


def _cases() -> list[tuple[str, str]]:
    return [(document, command) for document in DOCUMENTS for command in _commands(document)]


@cache
def _help(script: str) -> set[str]:
    """The flags that a script's help names, asked for in this process (tests/test_layout.py asks each script itself)."""
    return _flags_of(importlib.import_module(script.removesuffix(".py").replace("/", ".")).main, "--help")


@cache
def _verb_help(verb: str) -> set[str]:
    return _flags_of(launcher.main, verb, "--help")


def _flags_of(main: Callable[[list[str]], int], *arguments: str) -> set[str]:
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        main(list(arguments))
    return set(re.findall(r"--[a-z][a-z0-9-]*", printed.getvalue()))


@pytest.mark.parametrize(("document", "command"), _cases())
def test_a_documented_command_exists_with_its_flags(document: str, command: str) -> None:
    words = shlex.split(command)[1:]
    flags = {word for word in words if word.startswith("--")}
    if words[:2] == ["-m", "lifeos"]:
        name = words[2] if len(words) > 2 else "--help"
        if name in LAUNCHER_VERBS | NO_FLAGS:
            assert flags <= (set() if name in NO_FLAGS else _verb_help(name)) | {"--help"}, command
            return
        matches = [path for folder in ("tools", "evals") if (path := ROOT / folder / f"{name}.py").exists()]
        assert matches, f"{document}: no script {name}"
        script = matches[0].relative_to(ROOT).as_posix()
    elif words[0] == "-m":
        base = ROOT / words[1].replace(".", "/")
        assert base.with_suffix(".py").exists() or (base / "__main__.py").exists(), command
        return
    else:
        script = words[0]
    assert (ROOT / script).exists(), f"{document}: {script}"
    if (ROOT / script).is_file():
        assert flags - {"--help"} <= _help(script), command


@pytest.mark.parametrize("command", sorted({command for _, command in _cases() if "--dry-run" in command and "retrain" not in command}))
def test_a_documented_dry_run_passes(command: str) -> None:
    done = subprocess.run([sys.executable, *shlex.split(command)[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_every_file_is_in_the_changes_document() -> None:
    """Modules are in its generated tables (tests mirror them); every other file is named below those, or its folder is."""
    _, _, rest = (ROOT / CHANGES).read_text(encoding="utf-8").partition(END.format("modules"))
    named = set(re.findall(r"`([\w./-]+)`", rest))
    others = [path for path in Checkout(ROOT).files if not path.endswith(".py")]
    assert [path for path in others if path not in named and not any(f"{folder}/" in named for folder in _folders(path))] == []


def _folders(path: str) -> list[str]:
    return [folder.as_posix() for folder in Path(path).parents]


def test_the_pictures_of_the_readme_are_there() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", text)
    assert pictures and all((ROOT / picture).is_file() for picture in pictures)
