"""Documents that say when they were last updated, compared with git: a date that someone wrote is true until the next edit."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from lifeos.findings import Finding
from lifeos.guardrails.checkout import Checkout, Document
from lifeos.guardrails.commit_dates import LastChange, read_history

RULE = "dated-claim"
CLAIM = re.compile(
    r"(?i)(?<![a-z])(?:last[ _-](?:updated|reviewed|verified|modified|refreshed)|updated)\b(?:\s+on)?"
    r"[*_`]*\s*[:=]?[*_`\s]*(\d{4}-\d{1,2}-\d{1,2})(?!\d)"
)
TIME_ZONE_DAYS = 1
"""The writer's calendar and that of the commit may differ by a day."""


def check_dated_claims(checkout: Checkout, *, now: float, tolerated_days: float) -> list[Finding]:
    """Dates later than git's last change are errors; those more than a day earlier are warnings, errors beyond `tolerated_days`."""
    documents = [checkout.document(path) for path in checkout.files if path.endswith(".md") and not path.startswith("tests/")]
    claims = {document.path: list(_find_claims(document)) for document in documents}
    dated = [path for path, found in claims.items() if found]
    history = read_history(checkout.root, dated) if dated else None
    findings: list[Finding] = []
    for path in dated:
        change = history.changes[path] if history else LastChange(0.0, "missing")
        for line, text in claims[path]:
            findings += _judge(path, line, text, change, now, tolerated_days)
    return findings


def _find_claims(document: Document) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(document.lines, 1):
        for match in CLAIM.finditer(line):
            yield number, match.group(1)


def _judge(path: str, line: int, text: str, change: LastChange, now: float, tolerated_days: float) -> Iterator[Finding]:
    try:
        claimed = date(*map(int, text.split("-")))
    except ValueError:
        yield Finding(RULE, f"{text} is no date", "write YYYY-MM-DD", path=path, line=line)
        return
    slack = timedelta(days=TIME_ZONE_DAYS)
    if claimed > _day(now) + slack:
        yield Finding(RULE, f"says {text}, which is in the future", "write the day on which it was last checked", path=path, line=line)
    elif change.source == "commit":
        changed = _day(change.when)
        fix = f"write {changed}, or leave the date to git"
        if claimed > changed + slack:
            yield Finding(RULE, f"says {text}, but was last committed on {changed}", fix, path=path, line=line)
        elif claimed < changed - slack:
            far = changed - claimed > timedelta(days=tolerated_days)
            message = f"says {text}, but was changed since, on {changed}"
            yield Finding(RULE, message, fix, "error" if far else "warning", path=path, line=line)


def _day(when: float) -> date:
    return datetime.fromtimestamp(when, UTC).date()
