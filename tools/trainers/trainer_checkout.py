"""A trainer's own world: its folder, its Python, its version, its machine. Nothing of it is ever imported here."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifeos import foreign
from lifeos.errors import InputError, UnavailableError

QUICK_SECONDS = 60

PROGRAM_SECONDS = 300
"""Importing PyTorch from a network volume for the first time takes minutes."""

OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
"""Variables of our environment that would reach into the trainer's."""

PACKAGES_PROGRAM = """
import importlib.metadata, json, platform, sys
versions = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions() if item.metadata["Name"]}
print(json.dumps({"python": sys.version, "platform": platform.platform(), "packages": dict(sorted(versions.items()))}))
"""


@dataclass(frozen=True, slots=True)
class TrainerCheckout:
    """A trainer's folder and the Python that runs it."""

    folder: Path
    python: str


def locate(folder: Path, python: str | None = None) -> TrainerCheckout:
    """A folder as a trainer's, whether or not it is there. Its Python: the one given, else that of a `venv` in the folder, else the first
    on PATH. Raises UnavailableError if there is no such Python."""
    return TrainerCheckout(folder, find_python(folder, python))


def find_python(folder: Path, python: str | None = None) -> str:
    if python:
        found = shutil.which(python)
        if not found:
            raise UnavailableError(python, "no such program", "give --trainer-python the Python that has PyTorch and accelerate")
        return str(Path(found).absolute())  # not resolved: a venv's python is a link, and knows its venv by its place
    for place in ("venv/bin/python", ".venv/bin/python", "venv/Scripts/python.exe", ".venv/Scripts/python.exe"):
        if (folder / place).is_file():
            return str(folder / place)
    ours = Path(sys.prefix).resolve()
    names = ("python3", "python") if os.name != "nt" else ("python",)
    for name in names:
        for part in os.environ.get("PATH", os.defpath).split(os.pathsep):
            found = shutil.which(name, path=part)
            if found and not (sys.prefix != sys.base_prefix and Path(found).absolute().is_relative_to(ours)):
                return found
    return sys.executable


def trainer_environment() -> dict[str, str]:
    """Our environment without what points into our own Python, and with output that arrives at once and as UTF-8."""
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return {**kept, "PYTHONUNBUFFERED": "1", "PYTHONIOENCODING": "utf-8:replace", "PYTHONDONTWRITEBYTECODE": "1"}


def read_environment(checkout: TrainerCheckout) -> dict[str, Any]:
    """What the run happens in: Python and packages of the trainer, GPU and driver. What cannot be found out is null."""
    found: dict[str, Any] = {"trainer_python": checkout.python, "python": None, "platform": None, "packages": None}
    result = run_python(checkout, ["-c", PACKAGES_PROGRAM], QUICK_SECONDS)
    with contextlib.suppress(InputError):
        found |= foreign.decode(result.stdout, dict, checkout.python)
    return {**found, "gpus": read_gpus(), "cuda_visible_devices": os.environ.get("CUDA_VISIBLE_DEVICES")}


def read_gpus() -> list[str] | None:
    """`name, driver, memory` of each GPU; None where there is no nvidia-smi."""
    program = shutil.which("nvidia-smi")
    if not program:
        return None
    query = [program, "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        result = subprocess.run(query, capture_output=True, text=True, timeout=QUICK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.splitlines() if result.returncode == 0 else None


def read_commit(folder: Path) -> str | None:
    """The checkout's commit, with `+changed` if tracked files differ from it; None if it is no git checkout."""
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + ("+changed" if changed else "")


def _git(folder: Path, *args: str) -> str:
    command = ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *args]
    return subprocess.run(command, capture_output=True, text=True, timeout=QUICK_SECONDS, check=True).stdout.strip()


def run_python(checkout: TrainerCheckout, args: Sequence[str], seconds: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [checkout.python, *args]
    try:
        return subprocess.run(
            command,
            input=stdin,
            cwd=checkout.folder,
            env=trainer_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(
            checkout.python, f"cannot be run: {error.strerror}", "name the trainer's Python with --trainer-python"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            checkout.folder, f"gave no answer in {seconds:g} s", "try again: a first import from a cold disk is slow"
        ) from None


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def ask_program(checkout: TrainerCheckout, program: str, task: Mapping[str, Any]) -> tuple[dict[str, str | None], str]:
    """What a program of ours, run by the trainer's Python with a task, answers in its last line `ANSWER{…}`, and its fault.

    The fault is empty if it ended with 0. Raises UnavailableError if it cannot even begin.
    """
    result = run_python(checkout, ["-c", program], PROGRAM_SECONDS, json.dumps(task))
    fault = last_line(result.stderr) or f"return code {result.returncode}"
    answers = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    if not answers:
        fix = f"install its requirements for {checkout.python}, or name its Python with --trainer-python"
        raise UnavailableError(checkout.folder, f"cannot be started: {fault}", fix)
    answer = foreign.decode(answers[-1].removeprefix("ANSWER"), dict[str, str | None], checkout.python, error=UnavailableError)
    return answer, fault if result.returncode else ""
