"""Whether the files that go stale have been looked after: the age of each by its last commit, against the policy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from typing import Any

from lifeos.findings import Finding, Report
from lifeos.guardrails.checkout import Checkout
from lifeos.guardrails.commit_dates import History, LastChange, Source, read_history

CHECK = "freshness"
RULE = "freshness"
SECONDS_PER_DAY = 86_400
CLOCK_SLACK_DAYS = 1.0
"""A commit this far in the future is a wrong clock somewhere, and no reason to call a file fresh for ever."""
KNOWN_BY: dict[Source, str] = {
    "commit": "last committed",
    "uncommitted": "changed and not yet committed: last edited",
    "file": "last edited",
    "border": "last committed at least",
    "missing": "missing",
}


@dataclass(frozen=True, slots=True)
class Watched:
    """One entry of the policy: the newest file that it names, and how old that is."""

    path: str
    age_days: float | None
    source: Source
    refresh: str


def check_freshness(checkout: Checkout, files: list[dict[str, Any]], max_age_days: float, *, now: float, in_ci: bool) -> Report:
    """Judge the policy's `freshness.files`, `now` in seconds since 1970. What cannot be known fails."""
    matches = {entry["path"]: [path for path in checkout.files if fnmatchcase(path, entry["path"])] for entry in files}
    history = read_history(checkout.root, sorted({path for paths in matches.values() for path in paths}))
    watched = [_newest(entry, matches[entry["path"]], history, now) for entry in files]
    findings = [finding for file in watched for finding in _judge(file, max_age_days, history, in_ci)]
    findings += _check_history(history, in_ci)
    if not watched:
        findings.append(
            Finding(RULE, "freshness.files is empty: nothing is watched", "name the files that go stale", path="evals/thresholds.yaml")
        )
    oldest = max((file.age_days for file in watched if file.age_days is not None), default=0.0)
    summary = f"{len(watched)} watched, the oldest {oldest:.1f} days, {max_age_days:g} allowed"
    data = {"max_age_days": max_age_days, "shallow": history.shallow, "files": [asdict(file) for file in watched]}
    return Report(CHECK, summary, tuple(findings), tuple(_table(watched)), data)


def skipped(reason: str) -> Report:
    """A report that nothing was judged: it passes, and says so as a warning."""
    message = f"skipped: {reason}; the age of no file was judged"
    return Report(CHECK, message, (Finding(RULE, message, severity="warning"),), data={"skipped": True})


def _newest(entry: dict[str, Any], paths: list[str], history: History, now: float) -> Watched:
    changes = [(path, history.changes[path]) for path in paths if history.changes[path].source != "missing"]
    if not changes:
        return Watched(entry["path"], None, "missing", entry["refresh"])
    path, change = max(changes, key=lambda pair: pair[1].when)
    return Watched(path, _age_days(change, now), change.source, entry["refresh"])


def _age_days(change: LastChange, now: float) -> float:
    return round((now - change.when) / SECONDS_PER_DAY, 3)


def _judge(file: Watched, max_age_days: float, history: History, in_ci: bool) -> Iterator[Finding]:
    refresh = f"refresh it: {file.refresh}" if file.refresh else "refresh it"
    if file.age_days is None:
        yield Finding(RULE, "missing: a watched file that does not exist", f"{refresh}; or take it out of freshness.files", path=file.path)
    elif file.age_days > max_age_days:
        known = KNOWN_BY[file.source]
        yield Finding(RULE, f"{known} {file.age_days:.1f} days ago, {max_age_days:g} allowed", refresh, path=file.path, line=1)
    elif file.source == "border":
        message = "its age is unknown: this clone is shallow and its last commit lies before the cut"
        yield Finding(
            RULE, message, "git fetch --unshallow; on GitHub Actions: actions/checkout with fetch-depth: 0", path=file.path, line=1
        )
    elif file.source == "file" and in_ci:
        yield Finding(
            RULE,
            f"its age is unknown: {history.without_git}, and a CI machine has just written it",
            "check it out with git",
            path=file.path,
            line=1,
        )
    elif file.age_days < -CLOCK_SLACK_DAYS:
        yield Finding(
            RULE,
            f"{KNOWN_BY[file.source]} {-file.age_days:.1f} days in the future",
            "set the clock, then commit it again",
            path=file.path,
            line=1,
        )


def _check_history(history: History, in_ci: bool) -> Iterator[Finding]:
    if history.without_git and not in_ci:
        yield Finding("no-history", f"{history.without_git}: judged by modification times, which a copy resets", severity="warning")
    if history.shallow:
        yield Finding("shallow-clone", "this clone is shallow: only commits after the cut date a file", "git fetch --unshallow", "warning")


def _table(watched: list[Watched]) -> Iterator[str]:
    width = max((len(file.path) for file in watched), default=0)
    for file in watched:
        age = "" if file.age_days is None else f" {file.age_days:.1f} days ago"
        yield f"{file.path:{width}}  {KNOWN_BY[file.source]}{age}"
