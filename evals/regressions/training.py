"""What training depends on: a command without conflicts, and a dataset that is still what its manifest says.

Both ask the scripts themselves, as processes: judging never imports `tools`, and what a user would start is what is judged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import re
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.regressions.flag_cases import FLAG_CASES, FlagCase
from evals.regressions.regression import Project, regression
from lifeos.errors import EXIT_OK, EXIT_UNAVAILABLE, EXIT_USAGE, InputError
from lifeos.files import write_json
from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout
from lifeos.policy.defaults import DEFAULTS
from tools.trainers.sd_scripts.conflicts import find_conflicts

TRAINER_MODULES = re.compile(r"tools/trainers/.+\.py")
TRAINING_SCRIPT = "tools/retrain_lora_v3.py"
DRY_RUNS: tuple[tuple[str, ...], ...] = (("--reg-data-dir", "regularisation"), ("--train-text-encoder",))
"""Beside what the policy says: the U-Net alone with regularisation pictures, and the text encoders too."""
DRY_RUN_SECONDS = 60
DRY_RUN_PASSED = Path(".lifeos/dry_run_passed.json")
"""The hash of every source and of the policy when the dry runs last passed: the same code answers the same."""
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
    if isinstance(document, dict) and "error" in document:  # a failure in JSON: its line on stderr says the same
        document = None
    return Answer(done.returncode, document, said[-1].removeprefix("error: ") if said else f"exit code {done.returncode}")


@regression
def training_flags_test(project: Project) -> Iterator[Finding]:
    """The command that retrain_lora_v3.py builds has no conflict, and every conflict known to cost a run is still recognised."""
    yield from _check_judge()
    key = _sources_hash(project.checkout)
    passed = project.checkout.root / DRY_RUN_PASSED
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if json.loads(passed.read_bytes()) == key:
            return
    if isinstance(project.policy, InputError):  # threshold_policy_test names the fault; no script starts with it
        message = "the training command was not judged: the policy is not sound"
        yield Finding("training_flags_test", message, severity="warning", path="evals/thresholds.yaml", line=1)
        return
    from concurrent.futures import ThreadPoolExecutor  # not needed where the answer is remembered

    with ThreadPoolExecutor(len(DRY_RUNS)) as pool:
        answers = pool.map(lambda extra: list(_check_dry_run(project.checkout, extra)), DRY_RUNS)
        found = [finding for answer in answers for finding in answer]
    yield from found
    if not found:
        with contextlib.suppress(OSError):  # a read-only checkout: the next run asks again
            write_json(passed, key)


def _check_judge() -> Iterator[Finding]:
    """The judge itself: silent on a good command, and naming the flag of each bad one."""
    place = "tools/trainers/sd_scripts/conflicts.py"
    good = FlagCase("a good command", "")
    for conflict in find_conflicts(good.command(), good.config()):
        yield Finding(
            "training_flags_test", f"a command without conflicts is refused: {conflict.rule}: {conflict.text}", path=place, line=1
        )
    for case in FLAG_CASES:
        named = [conflict.rule for conflict in find_conflicts(case.command(), case.config())]
        if case.flag not in named:
            message = f"not recognised any more: {case.name} ({case.flag})"
            yield Finding("training_flags_test", message, "see research/trainer.md for what the trainer does", path=place, line=1)


def _check_dry_run(checkout: Checkout, extra: tuple[str, ...]) -> Iterator[Finding]:
    """Neither base model nor trainer is there: the dry run says so with exit code 3, and shows its command all the same."""
    with tempfile.TemporaryDirectory(prefix="lifeos-dry-run-") as name:
        folder = Path(name)
        _write_dataset(folder / "10_training", (10, 200))
        _write_dataset(folder / "regularisation", (60, 120))
        arguments = ["--dry-run", "--train-data-dir", str(folder / "10_training"), "--output-dir", str(folder / "output")]
        arguments += ["--base-model", str(folder / "base.safetensors"), "--sd-scripts-dir", str(folder / "sd-scripts")]
        arguments += [str(folder / item) if item == "regularisation" else item for item in extra]
        answer = ask_script(checkout, TRAINING_SCRIPT, *arguments, seconds=DRY_RUN_SECONDS)
    document = answer.document if isinstance(answer.document, dict) else {}
    command, config = document.get("command"), document.get("dataset_config")
    conflicts = find_conflicts(command, config) if isinstance(command, list) and isinstance(config, dict) else []
    if command is None or answer.code not in (EXIT_OK, EXIT_UNAVAILABLE, *([EXIT_USAGE] if conflicts else [])):
        message = f"the answer of its dry run cannot be read: {answer.complaint.replace(name, '…')}"
        yield Finding("training_flags_test", message, f"python {TRAINING_SCRIPT} --dry-run --json", path=TRAINING_SCRIPT, line=1)
        return
    for conflict in conflicts:
        path, line = _place_of(checkout, conflict.rule)
        message = f"{conflict.rule} with {' '.join(extra[:1])}: {conflict.message}"
        yield Finding("training_flags_test", message, conflict.fix, path=path, line=line)


def _place_of(checkout: Checkout, flag: str) -> tuple[str, int]:
    """Where the code writes that flag."""
    for path in sorted(filter(TRAINER_MODULES.fullmatch, checkout.files), key=lambda path: (not path.endswith("/command.py"), path)):
        for number, line in enumerate(checkout.document(path).lines, 1):
            if f'"{flag}"' in line:
                return path, number
    return TRAINING_SCRIPT, 1


def _sources_hash(checkout: Checkout) -> dict[str, str]:
    digest = hashlib.sha256()
    for path in checkout.files:
        if path.startswith(("lifeos/", "evals/", "tools/")) and path.endswith((".py", ".yaml", ".json")):
            with contextlib.suppress(OSError):
                data = checkout.document(path).data or (checkout.root / path).read_bytes()
                digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return {"python": f"{platform.python_implementation()} {platform.python_version()}", "sha256": digest.hexdigest()}


def _write_dataset(folder: Path, shades: tuple[int, ...]) -> None:
    """Small grey pictures, each with a caption of its own."""
    folder.mkdir()
    for shade in shades:
        (folder / f"{shade}.png").write_bytes(_png(64, shade))
        (folder / f"{shade}.txt").write_text(f"amiranoor, picture {shade}\n", encoding="utf-8")


def _png(side: int, shade: int) -> bytes:
    """A plain square as a PNG, without an image library (W3C PNG, third edition)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + bytes((shade, shade, shade)) * side) * side
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@regression
def dataset_manifest_test(project: Project) -> Iterator[Finding]:
    """The images and captions of the latest training output's manifest, if there is one, still have their hashes."""
    manifest = find_latest_manifest(project)
    if manifest is None:
        return
    shown = _shown(manifest, project.checkout)
    answer = ask_script(project.checkout, MANIFEST_SCRIPT, "--verify", str(manifest), seconds=VERIFY_SECONDS)
    if not isinstance(answer.document, dict):
        gone = "not here" in answer.complaint
        fix = "verify it where the images are" if gone else f"python {MANIFEST_SCRIPT} --verify {shown}"
        message = f"cannot be verified: {answer.complaint}"
        yield Finding("dataset_manifest_test", message, fix, "warning" if gone else "error", path=shown, line=1)
        return
    text = manifest.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    for kind, why in (("changed", "its bytes are not those of the manifest"), ("missing", "it is gone")):
        for name in answer.document.get(kind, ()):
            fix = "restore it, or make a new manifest and train again"
            yield Finding("dataset_manifest_test", f"{name}: {why}", fix, path=shown, line=_line_of(text, name))
    for name in answer.document.get("extra", ()):
        yield Finding(
            "dataset_manifest_test",
            f"{name}: came after the manifest",
            "make a new manifest before training",
            "warning",
            path=shown,
            line=1,
        )
    found = any(answer.document.get(kind) for kind in ("changed", "missing", "extra"))
    if answer.code and not found:
        yield Finding("dataset_manifest_test", f"verification failed: {answer.complaint}", path=shown, line=1)


def find_latest_manifest(project: Project) -> Path | None:
    """The newest `dataset_manifest.json` of a training output: the policy's `training.output_dir`, the folders beside it, and the
    folders of the checkout, two deep. None where nothing was trained."""
    checkout = project.checkout
    try:
        training = project.load_section("training")
    except InputError:  # threshold_policy_test says so
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
