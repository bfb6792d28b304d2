"""Whether the checkout is in order before work begins: files, references, paths, dates, secrets, commands."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

from lifeos.counting import counted
from lifeos.findings import Finding, Report, Severity
from lifeos.guardrails.checkout import MISSING, Checkout
from lifeos.guardrails.dated_claims import check_dated_claims
from lifeos.guardrails.dead_links import check_references, find_nearest
from lifeos.guardrails.machine_paths import check_machine_paths
from lifeos.guardrails.secret_shapes import check_secrets

CHECK = "preflight"
REQUIRED_FILES = (
    "CLAUDE.md",
    "PROGRESS.md",
    "context/goals.md",
    "context/patterns.md",
    "context/session-learnings.md",
    "context/projects/pistachio/context.md",
    "evals/thresholds.yaml",
    "evals/known_failures.py",
    "tools/lifeos_context_budget.py",
    "tools/lifeos_preflight.py",
    "tools/lifeos_freshness_check.py",
    "tools/run_full_cycle.py",
    "requirements.txt",
    ".github/workflows/guardrails.yml",
)
REQUIRED_COMMANDS = (("git", "it dates and lists the files"),)
AGENT_COMMAND = "claude"
"""Only the cycle's agent step needs it (`--skip-agent`, `--agent-command`): its absence is told and fails nothing."""


def check_preflight(checkout: Checkout, *, now: float, in_ci: bool, commands: bool, tolerated_days: float) -> Report:
    """Every check of the preflight; `commands` says whether to look for the commands too."""
    parts = {
        "required files": list(_check_required(checkout)),
        "references": check_references(checkout),
        "machine paths": check_machine_paths(checkout),
        "dated claims": check_dated_claims(checkout, now=now, tolerated_days=tolerated_days),
        "secrets": check_secrets(checkout),
        "commands": list(_check_commands(in_ci)) if commands else [],
    }
    findings = tuple(finding for found in parts.values() for finding in found)
    details = [f"{name}: {_told(found)}" for name, found in parts.items() if commands or name != "commands"]
    counts = {name: len(found) for name, found in parts.items()}
    return Report(CHECK, counted(len(checkout.files), "file"), findings, tuple(details), {"files": len(checkout.files), "counts": counts})


def _told(found: list[Finding]) -> str:
    errors = sum(finding.severity == "error" for finding in found)
    if not found:
        return "in order"
    return (
        f"{errors} wrong" + (f", {len(found) - errors} to look at" if len(found) > errors else "") if errors else f"{len(found)} to look at"
    )


def _check_required(checkout: Checkout) -> Iterator[Finding]:
    for path in REQUIRED_FILES:
        document = checkout.document(path)
        if document.problem == MISSING:
            yield _missing(checkout, path)
        elif document.problem:
            yield Finding("required-file", document.problem, "write it as UTF-8 text", path=path, line=document.line)
        elif not document.text.strip():
            yield Finding("required-file", "empty", "restore it: git checkout -- " + path, path=path)


def _missing(checkout: Checkout, path: str) -> Finding:
    if path in checkout.files:
        return Finding("required-file", "committed, but not on the disk", "git checkout, or git sparse-checkout add its folder", path=path)
    close = find_nearest(checkout, path)
    return Finding("required-file", "missing", f"is it {close} now?" if close else "restore it", path=path)


def _check_commands(in_ci: bool) -> Iterator[Finding]:
    needed: Severity = "warning" if in_ci else "error"
    for command, why in REQUIRED_COMMANDS:
        if shutil.which(command) is None:
            yield Finding("command", f"{command} is not installed: {why}", f"install {command}", needed)
    if shutil.which(AGENT_COMMAND) is None:
        message = f"{AGENT_COMMAND} is not installed: the cycle's agent step needs an agent command"
        yield Finding("command", message, "install one and name it with --agent-command, or use --skip-agent", "warning")
