"""What the checkout itself must hold: a sound policy, documents that point to something, scripts that parse."""

from __future__ import annotations

import contextlib
import hashlib
import json
import platform
import warnings
from collections.abc import Iterator
from pathlib import Path

from evals.regressions.regression import Project, regression
from lifeos.errors import InputError
from lifeos.files import write_json
from lifeos.findings import Finding
from lifeos.guardrails.context_budget import check_context_budget
from lifeos.guardrails.dead_links import check_references
from lifeos.guardrails.machine_paths import check_machine_paths
from lifeos.policy.defaults import DEFAULTS
from lifeos.policy.loading import BUILT_IN, POLICY_FILE, PolicyError

COMPILED = Path(".lifeos/compiled.json")
"""The sources that compiled before, by the hash of their bytes and the Python that did it: a modification time can lie."""


@regression
def threshold_policy_test(project: Project) -> Iterator[Finding]:
    """The policy file exists, is valid YAML, holds every key, and every value is in its range."""
    path = POLICY_FILE.as_posix()
    if not (project.checkout.root / POLICY_FILE).is_file():
        yield Finding("threshold_policy_test", "missing: the built-in defaults would be used without a word", "restore it", path=path)
        return
    policy = project.policy
    if isinstance(policy, PolicyError):
        for fault in policy.faults:
            yield Finding("threshold_policy_test", fault.text, path=path, line=fault.line)
        return
    if isinstance(policy, InputError):
        line = policy.what.rpartition(":")[2]
        yield Finding("threshold_policy_test", policy.why, policy.fix, path=path, line=int(line) if line.isdecimal() else 0)
        return
    for section, defaults in DEFAULTS.items():
        lines = [
            int(source.rpartition(":")[2]) for key, source in policy.sources.items() if key.startswith(f"{section}.") and ":" in source
        ]
        for name in defaults:
            sources = [
                source for key, source in policy.sources.items() if key == f"{section}.{name}" or key.startswith(f"{section}.{name}.")
            ]
            if all(source == BUILT_IN for source in sources):
                fix = f"write it with its value: {json.dumps(defaults[name])}"
                yield Finding("threshold_policy_test", f"{section}.{name} is missing", fix, path=path, line=min(lines, default=1))


@regression
def context_budget_test(project: Project) -> Iterator[Finding]:
    """The context layer is within its line budgets."""
    try:
        budget = project.load_section("context_budget")
    except InputError as error:  # it stops this check as it stops the script
        yield Finding("context_budget_test", f"no budget to judge by: {error.why}", error.fix, path=POLICY_FILE.as_posix(), line=1)
        return
    yield from check_context_budget(project.checkout, budget).findings


@regression
def stale_references_test(project: Project) -> Iterator[Finding]:
    """No document points to a file that is not there, or to a path of somebody's machine."""
    yield from check_references(project.checkout)
    yield from check_machine_paths(project.checkout)


@regression
def script_syntax_test(project: Project) -> Iterator[Finding]:
    """Every Python file compiles, as `python -m py_compile` would."""
    root = project.checkout.root
    before = _read_compiled(root)
    now: set[str] = set()
    count = 0
    for path in project.checkout.files:
        if not path.endswith(".py") or not (root / path).is_file():
            continue
        count += 1
        document = project.checkout.document(path)
        source = document.data or (root / path).read_bytes()
        digest = hashlib.sha256(source).hexdigest()
        finding = None if digest in before else _compile(path, source)
        if finding is None:
            now.add(digest)
        else:
            yield finding
    if not count:
        yield Finding("script_syntax_test", "no Python file found", "is --project-root the checkout?")
    if now != before:
        with contextlib.suppress(OSError):  # a read-only checkout: the next run compiles again
            write_json(root / COMPILED, {"python": _python(), "sha256": sorted(now)})


def _compile(path: str, source: bytes) -> Finding | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(source, path, "exec", dont_inherit=True)
    except SyntaxError as error:
        return Finding("script_syntax_test", f"{type(error).__name__}: {error.msg}", path=path, line=error.lineno or 1)
    except (ValueError, RecursionError, MemoryError) as error:
        return Finding("script_syntax_test", f"cannot be compiled: {error or type(error).__name__}", path=path, line=1)
    return None


def _python() -> str:
    return f"{platform.python_implementation()} {platform.python_version()}"


def _read_compiled(root: Path) -> set[str]:
    try:
        record = json.loads((root / COMPILED).read_bytes())
        return set(record["sha256"]) if record["python"] == _python() else set()
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return set()
