"""The scripts that keep records (manifests, costs, champions, memory, commits, trainings), as targets of a storm.

What they work on is made as the tests make it: by the modules of `tests/` that hold no tests, and by its stand-in for the trainer.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.storm_places import ROOT, Kept, Place, Step, Target, digests, find_doubles, find_torn, read_whole, read_words, script

CREATED = "2026-02-11T15:00:00Z"
PATIENCE_SECONDS = 30.0
GIT_ENDS_SECONDS = 2.0
FINDINGS = (
    "- [critical] Strength over 0.9 drops the mean face score under 0.50 -> Cap production.lora_strength at 0.85",
    "- [important] Close-ups pass twice as often as full-body pictures",
    "- [note] Disk is at 80 % -> Remove old checkpoints",
)
TRAINER_PACE = {"STANDIN_STEP_SECONDS": "0.05", "STANDIN_STATE_SECONDS": "0.1"}


def read_document(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return document


def texts(place: Place, *names: str) -> Kept:
    return {name: read_words(place, name) for name in names}


# --- the manifest of a training set: the old one or the new one, never a part


def prepare_set(place: Place) -> None:
    from tests.tools.dataset.sets import make_set

    make_set(place.root / "set", 24, size=(256, 256))
    (place.root / "manifest.json").write_text('{"manifest_version": 1, "images": []}\n', encoding="utf-8")


def manifest(place: Place) -> list[str]:
    flags = {"--dataset-dir": "set", "--output": "manifest.json", "--created": CREATED, "--resolution": 256, "--cache-file": "cache"}
    return script("tools/dataset_manifest.py", flags)


# --- the meter: no session is lost, none is counted twice


def meter(action: str, *more: str) -> Step:
    flags = {"--action": action, "--log-file": "cost_log.jsonl", "--state-file": "state.json"}
    if action == "start":
        flags |= {"--activity": "storm", "--gpu": "RTX 4090", "--rate-per-hr": "0.60"}
    # a stop that was killed after it had written its row finds no session to stop
    return Step(lambda place: script("tools/runpod_cost_tracker.py", flags, *more), (0, 2) if action == "stop" else (0,))


def sessions(place: Place) -> Kept:
    """Session -> its start, of those that are open and those that are in the log."""
    found = [*read_document(place.root / "state.json").get("open", []), *read_whole(place.root / "cost_log.jsonl")]
    return {row["session_id"]: row["start"] for row in found}


def find_cost_faults(place: Place) -> list[str]:
    log, state = place.root / "cost_log.jsonl", place.root / "state.json"
    return find_torn(log, state) or find_doubles((row["session_id"] for row in read_whole(log)), "session")


def cost_result(place: Place) -> Kept:
    """A `start` that is repeated closes what the killed one had opened: how many sessions there are is no part of the result."""
    logged = {row["session_id"] for row in read_whole(place.root / "cost_log.jsonl")}
    still = [row["session_id"] for row in read_document(place.root / "state.json")["open"] if row["session_id"] not in logged]
    return {"open": str(still), "in the log": str(bool(logged))}


# --- the champion: one, with the one before in its history


def prepare_history(place: Place) -> None:
    from tests.evals.comparison.rows import make_row, steady, write_history

    levels = {"base": 0.6, "first": 0.7, "second": 0.8}
    write_history(place.root / "history.jsonl", [make_row(name, steady(level)) for name, level in levels.items()])
    subprocess.run(promote(place, "base", "first"), cwd=place.root, check=True, capture_output=True)


def promote(place: Place, old: str = "first", new: str = "second") -> list[str]:
    flags = {"--history": "history.jsonl", "--v1": old, "--v2": new, "--output": "report.md", "--champion": "champion.json"}
    return script("evals/compare_versions.py", flags, "--promote", "--no-pictures")


def champions(place: Place) -> Kept:
    champion = read_document(place.root / "champion.json")
    names = [champion.get("run_id"), *(each["run_id"] for each in champion.get("former", []))]
    return {f"champion {name}": "known" for name in names}


def find_champion_faults(place: Place) -> list[str]:
    path = place.root / "champion.json"
    torn = find_torn(path)
    return torn or find_doubles((each["run_id"] for each in read_document(path).get("former", [])), "former champion")


# --- memory: each finding once


def prepare_briefing(place: Place) -> None:
    from tests.checkouts import small_project

    small_project(place.root, {"briefings/2026-11-23.md": "\n".join(("# Briefing 2026-11-23", "", "## Findings", *FINDINGS, ""))})


def promote_findings(place: Place) -> list[str]:
    return script("tools/promote_findings.py", {"--project-root": "."}, "--apply-all", "--quiet")


def find_memory_faults(place: Place) -> list[str]:
    ledger = place.root / "briefings" / "promoted.jsonl"
    memory = "\n".join(texts(place, "context/session-learnings.md", "context/tasks.md").values())
    told = find_doubles((line for line in memory.split("\n") if line.startswith("- ") and "2026-11-23" in line), "line")
    return find_torn(ledger) or told + find_doubles((row["id"] for row in read_whole(ledger)), "finding")


# --- the commit of a cycle: one, whole


def prepare_cycle(place: Place) -> None:
    from tests.checkouts import small_project, write

    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8")
    small_project(place.root, {"PROGRESS.md": "old\n", ".gitignore": ignored})
    write(place.root, {"PROGRESS.md": "new\n", "evals/eval_history.jsonl": "{}\n", "face.png": b"nobody declared it"})


def commit(place: Place) -> list[str]:
    return script("tools/run_full_cycle.py", {"--project-root": ".", "--only": "commit"})


def git(place: Place, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=place.root, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else f"git {arguments[0]}: {done.stderr.strip()}"


def commit_result(place: Place) -> Kept:
    asked = {"tree": ("rev-parse", "HEAD^{tree}"), "commits": ("rev-list", "--count", "HEAD"), "left": ("status", "--porcelain")}
    return {name: git(place, *arguments) for name, arguments in asked.items()}


def unlock(place: Place) -> None:
    """Do what the cycle's failure says of a git that died with it: git leaves its lock to people."""
    lock = place.root / ".git" / "index.lock"
    until = time.monotonic() + GIT_ENDS_SECONDS
    while lock.exists() and time.monotonic() < until:
        time.sleep(0.02)
    lock.unlink(missing_ok=True)


def find_commit_faults(place: Place) -> list[str]:
    count = git(place, "rev-list", "--count", "HEAD")
    return [] if count in ("1", "2") else [f"{count} commits"]


# --- a training on the stand-in trainer: what a whole state stands for stays, and the end is one run of all its steps


def prepare_training(place: Place) -> None:
    from tests.tools.dataset.sets import make_set
    from tests.tools.trainers.checkpoints import write_checkpoint

    make_set(place.root / "set" / "2_amiranoor woman", 3, size=(256, 256))
    write_checkpoint(place.root / "base.safetensors")


def train(place: Place, *more: str) -> list[str]:
    flags: dict[str, object] = {"--sd-scripts-dir": ROOT / "tests" / "trainer_standin", "--trainer-python": sys.executable}
    flags |= {"--base-model": "base.safetensors", "--train-data-dir": "set", "--output-dir": "out", "--output-name": "v3"}
    flags |= {"--resolution": 256, "--train-batch-size": 1, "--max-train-steps": 20, "--save-every-n-steps": 5}
    # with --overwrite the files of a run that had come far would be replaced: only where it has no state to go on from
    how = more or (("--resume",) if any((place.root / "out").glob("v3-*-state")) and may_resume(place) else ("--overwrite",))
    return script("tools/retrain_lora_v3.py", flags, *how)


def may_resume(place: Place) -> bool:
    """Whether there is a whole state, even if nothing is left to train behind it."""
    asked = train(place, "--resume", "--dry-run")
    done = subprocess.run(asked, cwd=place.root, capture_output=True, text=True, check=False)
    return done.returncode == 0 or "nothing is left to train" in done.stderr


def end_trainer(place: Place) -> None:
    """A pod that dies takes the trainer with it, which has a process group of its own."""
    group = read_document(place.root / "out" / "training_record.json").get("process_group")
    if group and sys.platform != "win32":
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)
            until = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < until:
                os.killpg(group, 0)
                time.sleep(0.02)


def saved_checkpoints(place: Place) -> Kept:
    """LoRA file -> digest, of the steps before the last state: a run that is continued leaves them alone."""
    from lifeos.errors import InputError
    from tools.trainers.weights_check import check_weights

    out = place.root / "out"
    states = sorted(Path(state["state"]).name for state in read_document(out / "training_record.json").get("states", []))
    whole: Kept = {}
    for name, digest in digests(out, out.glob("v3-step*.safetensors")).items():
        with contextlib.suppress(InputError):
            check_weights(out / name)
            if states and name.removesuffix(".safetensors") < states[-1].removesuffix("-state"):
                whole[name] = digest
    return whole


def training_result(place: Place) -> Kept:
    """The LoRA files with their weights, all of one run, and how its record says that it ended."""
    from lifeos.errors import InputError
    from tools.trainers.lora_header import read_lora_header
    from tools.trainers.weights_check import check_weights

    out = place.root / "out"
    record = read_document(out / "training_record.json")
    found: Kept = {"state": str(record["state"])}
    for path in sorted(out.glob("*.safetensors")):
        with contextlib.suppress(InputError):  # cut off by the kill
            check_weights(path)
            header = read_lora_header(path)
            found |= {path.name: str(header.metadata.get("sshs_model_hash")), f"run of {path.name}": str(header.run_id == record["run_id"])}
    return found


def find_training_faults(place: Place) -> list[str]:
    """The loss of the step in which it was killed may be missing, if it was never printed; none is there twice."""
    table = place.root / "out" / "loss.csv"
    steps = [line.split(",")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]] if table.exists() else []
    return find_torn(place.root / "out" / "training_record.json") + find_doubles(steps, "the loss of step")


RECORD_TARGETS = (
    Target(
        "dataset_manifest",
        prepare_set,
        (Step(manifest),),
        kept=lambda place: digests(place.root, (place.root / "set").iterdir()),
        result=lambda place: texts(place, "manifest.json"),
        find_faults=lambda place: find_torn(place.root / "manifest.json"),
    ),
    Target("cost", lambda place: None, (meter("start"), meter("heartbeat"), meter("stop")), sessions, cost_result, find_cost_faults),
    Target("promote", prepare_history, (Step(promote),), champions, lambda place: texts(place, "champion.json"), find_champion_faults),
    Target(
        "promote_findings",
        prepare_briefing,
        (Step(promote_findings),),
        kept=lambda place: {row["id"]: row["text"] for row in read_whole(place.root / "briefings" / "promoted.jsonl")},
        result=lambda place: texts(place, "context/session-learnings.md", "context/tasks.md", "briefings/promoted.jsonl"),
        find_faults=find_memory_faults,
    ),
    Target(
        "commit",
        prepare_cycle,
        (Step(commit),),
        kept=lambda place: digests(place.root, [place.root / name for name in ("PROGRESS.md", "evals/eval_history.jsonl", "face.png")]),
        result=commit_result,
        find_faults=find_commit_faults,
        after_kill=unlock,
    ),
    Target(
        "retrain",
        prepare_training,
        (Step(train, (0, 2)),),  # 2: nothing is left to train
        kept=saved_checkpoints,
        result=training_result,
        find_faults=find_training_faults,
        after_kill=end_trainer,
        kills_a_round=4,
    ),
)
