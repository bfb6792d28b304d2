"""What would keep a step from running, found before anything is paid: its script, every flag, its inputs, and its own rehearsal.

The flags are read by the script's own parser, in a process of its own, as the step itself would read them.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from lifeos.errors import EXIT_USAGE
from tools.cycle.steps import CycleSettings, CycleStep, why_skipped

SECONDS = 120
PARSE = """
import importlib, sys
sys.path.insert(0, "")
sys.argv = sys.argv[1:]
from lifeos import cli
def check():
    module = sys.argv[0].removesuffix(".py").replace("/", ".")
    importlib.import_module(module).build_parser().parse_args(sys.argv[1:])
    return 0
raise SystemExit(cli.run(check))
"""
COSTLY = ("agent", "production")
"""The steps that cost money: nothing may be missing when the first of them begins."""


def find_faults(step: CycleStep, settings: CycleSettings, *, after_agent: bool = False) -> list[str]:
    """What is missing or wrong, one sentence each. `after_agent`: an agent comes first, which may make the pictures and the LoRA."""
    root = settings.root
    if after_agent and not settings.agent_command:
        after_agent = False
    made_by_agent = [settings.generated_dir, settings.training_output_dir] if after_agent else []
    needed = [path for path in step.needs(settings) if path is not None and path not in made_by_agent]
    faults = [f"{path}: no such file or directory" for path in needed if not (root / path).exists()]
    for command in step.commands(settings):
        if not step.script:
            faults += [] if shutil.which(command[0]) else [f"{command[0]}: no such command"]
        elif not (root / step.script).is_file():
            faults.append(f"{step.script}: no such script")
        else:
            faults += _flag_faults(step, root, command) or ([] if faults else _rehearse(step, root, command, after_agent=after_agent))
    return faults


def find_first_faults(steps: Sequence[CycleStep], settings: CycleSettings, is_done: Sequence[str]) -> tuple[str, list[str]]:
    """The first of the steps still to come that cannot run, and why; an empty name where all can, or where none of them costs money."""
    coming = [step for step in steps if step.name not in is_done and not why_skipped(step, settings)]
    if not any(step.name in COSTLY for step in coming):
        return "", []
    has_agent = any(step.name == "agent" for step in coming)
    for step in coming:
        faults = find_faults(step, settings, after_agent=has_agent) if step.name != "commit" else []
        if faults:
            return step.name, faults
    return "", []


def _flag_faults(step: CycleStep, root: Path, command: list[str]) -> list[str]:
    if "def build_parser" not in (root / step.script).read_text(encoding="utf-8", errors="replace"):
        return []  # a script of somebody's own
    return _ask(step, root, [command[0], "-c", PARSE, Path(step.script).as_posix(), *command[2:]], (1, EXIT_USAGE, 3, 70))


def _rehearse(step: CycleStep, root: Path, command: list[str], *, after_agent: bool) -> list[str]:
    """What the script's own dry run refuses. What is not there yet (a server, a package) is no fault of the command."""
    if not step.rehearsal:
        return []
    words = [*command, step.rehearsal]
    if after_agent and "--lora" in words:  # it may have to be trained first
        place = words.index("--lora")
        words = words[:place] + words[place + 2 :]
    return _ask(step, root, words, (EXIT_USAGE,))


def _ask(step: CycleStep, root: Path, command: list[str], refusals: tuple[int, ...]) -> list[str]:
    try:
        done = subprocess.run(command, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return [f"{step.script}: cannot be checked: {error}"]
    if done.returncode not in refusals:
        return []
    lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no message"]
    told = (
        next((line for line in lines if line.startswith("error: ")), lines[-1])
        .removeprefix("error: ")
        .removeprefix(f"{Path(step.script).name}: ")
    )
    return [f"{step.script}: {_in_words_of_the_cycle(step, told)}"]


def _in_words_of_the_cycle(step: CycleStep, text: str) -> str:
    """The flags of the production step have other names here."""
    if step.name != "production":
        return text
    return re.sub(r"(?<![\w-])--(workflow|prompts-file|prompts|output-dir|reference-dir|count|lora|comfy-url)\b", r"--production-\1", text)
