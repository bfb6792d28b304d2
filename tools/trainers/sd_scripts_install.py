"""The trainer's own world: its Python, its script, its version, its argument parser. Nothing of it is ever imported here."""

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

from lifeos.errors import UnavailableError
from tools.trainers.sd_scripts_command import TRAINER_SCRIPT

PARSER_SECONDS = 300
"""Importing PyTorch from a network volume for the first time takes minutes."""

QUICK_SECONDS = 60

OURS = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTHONSTARTUP", "__PYVENV_LAUNCHER__")
"""Variables of our environment that would reach into the trainer's."""

PARSER_PROGRAM = """
import importlib, json, sys
task = json.load(sys.stdin)
sys.argv = [task["module"] + ".py"]  # the parser's errors begin with it
answer = {"arguments": None, "dataset": None}
trainer = importlib.import_module(task["module"])
try:
    trainer.setup_parser().parse_args(task["args"])
    answer["arguments"] = "accepted"
except SystemExit:
    print("ANSWER" + json.dumps(answer))
    raise
try:
    from library.config_util import ConfigSanitizer
except ImportError:
    pass
else:
    try:
        ConfigSanitizer(True, True, False, True).sanitize_user_config(task["dataset"])
        answer["dataset"] = "accepted"
    except Exception as error:
        print("ANSWER" + json.dumps(answer))
        raise SystemExit(f"{type(error).__name__}: {error}")
print("ANSWER" + json.dumps(answer))
"""

PACKAGES_PROGRAM = """
import importlib.metadata, json, platform, sys
versions = {item.metadata["Name"]: item.version for item in importlib.metadata.distributions() if item.metadata["Name"]}
print(json.dumps({"python": sys.version, "platform": platform.platform(), "packages": dict(sorted(versions.items()))}))
"""


@dataclass(frozen=True, slots=True)
class Trainer:
    """A checkout of sd-scripts and the Python that runs it."""

    folder: Path
    python: str


@dataclass(frozen=True, slots=True)
class ParserVerdict:
    """What the trainer's own parser says. `checked`: what it looked at; `fault`: its words, empty if it accepts."""

    checked: tuple[str, ...]
    fault: str


def find_trainer(folder: Path, python: str | None = None) -> Trainer:
    """The trainer in a folder. Its Python: the one given, else that of a `venv` in the folder, else the first on PATH.

    Raises UnavailableError if the folder is no checkout of sd-scripts or there is no such Python.
    """
    if not (folder / TRAINER_SCRIPT).is_file():
        why = f"no {TRAINER_SCRIPT} there" if folder.is_dir() else "no such directory"
        raise UnavailableError(folder, why, "give --sd-scripts-dir a checkout of kohya-ss/sd-scripts")
    return Trainer(folder, find_python(folder, python))


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


def ask_parser(trainer: Trainer, trainer_args: Sequence[str], dataset_config: Mapping[str, Any]) -> ParserVerdict:
    """Have the trainer's own parser judge the arguments, and its own schema the dataset TOML. Loads no model, reads no picture.

    Raises UnavailableError if the trainer cannot even be imported.
    """
    task = {"module": TRAINER_SCRIPT.removesuffix(".py"), "args": list(trainer_args), "dataset": dataset_config}
    result = _run(trainer, ["-c", PARSER_PROGRAM], PARSER_SECONDS, json.dumps(task))
    answers = [line for line in result.stdout.splitlines() if line.startswith("ANSWER")]
    if not answers:
        why = f"cannot be started: {last_line(result.stderr) or f'return code {result.returncode}'}"
        raise UnavailableError(
            trainer.folder, why, f"install its requirements for {trainer.python}, or name its Python with --trainer-python"
        )
    answer = json.loads(answers[-1].removeprefix("ANSWER"))
    checked = tuple(name for name in ("arguments", "dataset") if answer[name])
    return ParserVerdict(checked, "" if result.returncode == 0 else last_line(result.stderr) or f"return code {result.returncode}")


def read_environment(trainer: Trainer) -> dict[str, Any]:
    """What the run happens in: Python and packages of the trainer, GPU and driver. What cannot be found out is null."""
    found: dict[str, Any] = {"trainer_python": trainer.python, "python": None, "platform": None, "packages": None}
    result = _run(trainer, ["-c", PACKAGES_PROGRAM], QUICK_SECONDS)
    with contextlib.suppress(ValueError):
        found |= json.loads(result.stdout)
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


def _run(trainer: Trainer, args: Sequence[str], seconds: float, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [trainer.python, *args]
    try:
        return subprocess.run(
            command,
            input=stdin,
            cwd=trainer.folder,
            env=trainer_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except OSError as error:
        raise UnavailableError(
            trainer.python, f"cannot be run: {error.strerror}", "name the trainer's Python with --trainer-python"
        ) from None
    except subprocess.TimeoutExpired:
        raise UnavailableError(
            trainer.folder, f"gave no answer in {seconds:g} s", "try again: a first import from a cold disk is slow"
        ) from None


def last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
