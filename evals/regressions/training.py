"""What training depends on: a command without conflicts, and a dataset that is still what its manifest says.

Both ask the scripts themselves, as processes: judging never imports `tools`, and what a user would start is what is judged.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.guardrails.checkout import Checkout
from evals.load_thresholds import PolicyError, load_thresholds
from evals.policy_schema import DEFAULTS
from evals.regressions.registry import Project, regression
from lifeos.findings import Finding

MANIFEST_NAME = "dataset_manifest.json"
MANIFEST_SCRIPT = "tools/dataset_manifest.py"
VERIFY_SECONDS = 1800
"""Hashing a large dataset on a network volume takes minutes; a hung volume must not hang a commit for ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a script said: its exit code, the JSON document on its stdout (None if there is none), its last line on stderr."""

    code: int
    document: Any
    complaint: str


def ask_script(checkout: Checkout, script: str, *arguments: str, seconds: float) -> Answer:
    """Run one of our scripts of that checkout with `--json`."""
    command = [sys.executable, str(checkout.root / script), *arguments, "--json"]
    try:
        done = subprocess.run(command, cwd=checkout.root, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return Answer(-1, None, f"no answer within {seconds:g} s")
    said = done.stderr.decode("utf-8", "replace").strip().splitlines()
    try:
        document = json.loads(done.stdout)
    except ValueError:
        document = None
    return Answer(done.returncode, document, said[-1].removeprefix("error: ") if said else f"exit code {done.returncode}")


@regression
def dataset_manifest_test(project: Project) -> Iterator[Finding]:
    """The images and captions of the latest training output's manifest, if there is one, still have their hashes."""
    manifest = find_latest_manifest(project.checkout)
    if manifest is None:
        return
    shown = _shown(manifest, project.checkout)
    answer = ask_script(project.checkout, MANIFEST_SCRIPT, "--verify", str(manifest), seconds=VERIFY_SECONDS)
    if not isinstance(answer.document, dict):
        gone = "not here" in answer.complaint
        fix = "verify it where the images are" if gone else f"python {MANIFEST_SCRIPT} --verify {shown}"
        message = f"cannot be verified: {answer.complaint}"
        yield Finding("dataset_manifest_test", shown, 1, message, fix, "warning" if gone else "error")
        return
    text = manifest.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for kind, why in (("changed", "its bytes are not those of the manifest"), ("missing", "it is gone")):
        for name in answer.document.get(kind, ()):
            fix = "restore it, or make a new manifest and train again"
            yield Finding("dataset_manifest_test", shown, _line_of(text, name), f"{name}: {why}", fix)
    for name in answer.document.get("extra", ()):
        yield Finding(
            "dataset_manifest_test", shown, 1, f"{name}: came after the manifest", "make a new manifest before training", "warning"
        )
    found = any(answer.document.get(kind) for kind in ("changed", "missing", "extra"))
    if answer.code and not found:
        yield Finding("dataset_manifest_test", shown, 1, f"verification failed: {answer.complaint}")


def find_latest_manifest(checkout: Checkout) -> Path | None:
    """The newest `dataset_manifest.json` of a training output: the policy's `training.output_dir`, the folders beside it, and the
    folders of the checkout, two deep. None where nothing was trained."""
    try:
        training = load_thresholds(checkout.root, section="training")["training"]
    except PolicyError:  # threshold_policy_test says so
        training = DEFAULTS["training"]
    output = checkout.root / training["output_dir"]
    found = [output / MANIFEST_NAME]
    if output.parent.is_dir():
        found += output.parent.glob(f"*/{MANIFEST_NAME}")
    for pattern in (MANIFEST_NAME, f"[!.]*/{MANIFEST_NAME}", f"[!.]*/[!.]*/{MANIFEST_NAME}"):
        found += checkout.root.glob(pattern)
    trained = [path for path in found if path.is_file() and not _is_test_data(path, checkout)]
    return max(trained, key=lambda path: (path.stat().st_mtime, str(path)), default=None)


def _is_test_data(path: Path, checkout: Checkout) -> bool:
    return path.is_relative_to(checkout.root / "tests")


def _shown(path: Path, checkout: Checkout) -> str:
    return path.relative_to(checkout.root).as_posix() if path.is_relative_to(checkout.root) else str(path)


def _line_of(lines: list[str], name: str) -> int:
    wanted = json.dumps(name.removeprefix("regularisation: "), ensure_ascii=False)
    return next((number for number, line in enumerate(lines, 1) if wanted in line), 1)
