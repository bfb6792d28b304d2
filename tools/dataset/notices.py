"""What a check of a training set says: findings of the project, each with every file that it holds for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lifeos.findings import Finding, Severity


def noticed(check: str, severity: Severity, message: str, files: tuple[str, ...] = ()) -> Finding:
    """An `error` would stop or spoil the training, a `warning` makes it worse than it could be, a `notice` is good to know."""
    return Finding(check, message, severity=severity, files=files)


def as_manifest_warning(finding: Finding) -> dict[str, Any]:
    """A finding in the manifest's `warnings`, by the names that manifests have."""
    return {"check": finding.rule, "level": finding.severity, "message": finding.message, "files": list(finding.files)}


def is_unfit(findings: Iterable[Finding], *, strict: bool) -> bool:
    """Whether to say no: to errors, with `strict` to warnings too."""
    return any(finding.severity == "error" or (strict and finding.severity == "warning") for finding in findings)
