"""RunPod's serverless endpoints as the guard reports them: it stops none, and names one that is billed without a job."""

from __future__ import annotations

import json
import urllib.parse
from decimal import Decimal
from typing import Any

import pytest

from lifeos.web import StatusError
from tools.cost.endpoints import EndpointReader, EndpointReport

KEY = "key-of-the-test"
HOUR = 3600.0


class Account:
    """One endpoint of RunPod's over simulated hours: jobs that ended, and a bill that each hour adds to."""

    def __init__(self, per_hour: float) -> None:
        self.per_hour, self.hours, self.completed, self.running = per_hour, 0, 0, 0
        self.asked: list[str] = []
        self.refuses_bills = False

    def get(self, url: str, what: str, *, seconds: float, headers: dict[str, str]) -> bytes:
        assert headers == {"Authorization": f"Bearer {KEY}"}
        self.asked.append(url)
        parts = urllib.parse.urlsplit(url)
        if parts.path.endswith("/health"):
            jobs = {"completed": self.completed, "inProgress": self.running, "inQueue": 0}
            return json.dumps({"jobs": jobs, "workers": {"idle": 2, "running": 0}}).encode()
        if self.refuses_bills:
            raise StatusError(what, 403)
        asked = dict(urllib.parse.parse_qsl(parts.query))
        assert (asked["serverlessId"], asked["startTime"], asked["bucketSize"]) == ("ep1", "2026-11-30T12:00:00Z", "hour")
        records: list[dict[str, Any]] = [{"totalAmount": self.per_hour, "feeAmount": 0, "serverlessId": "ep1"}] * self.hours
        return json.dumps({"records": [*records, {"totalAmount": 99, "serverlessId": "another"}], "metadata": {}}).encode()


def _report(account: Account, hours: int, said: list[str]) -> EndpointReport:
    report = EndpointReport(["ep1", "ep1"], EndpointReader("http://ep", "http://api", KEY, account.get), said.append)
    for hour in range(hours):
        account.hours = hour
        report.look(HOUR if hour else 0.0, f"2026-11-30T{12 + hour}:10:00Z")
    return report


def test_an_endpoint_that_is_billed_without_a_job_is_named_once() -> None:
    """At rest from 12:10; what is billed from 13:10 on is no longer of the jobs before: at 14:10 it is $0.50 more."""
    said: list[str] = []
    _report(Account(0.5), 5, said)
    assert [text for text in said if "warning" in text] == [
        "warning: endpoint ep1: no job for 2 h, and its bill rose by $0.50 meanwhile; nothing here can stop that: "
        "set its active workers to 0 at RunPod"
    ]
    assert "endpoint ep1: workers 2 idle; jobs 0 running, 0 waiting; billed $1.00 since 2026-11-30T12:00:00Z" in said


@pytest.mark.parametrize("kind", ["free at rest", "jobs end", "a job runs", "no right to read bills"])
def test_an_endpoint_that_works_or_costs_nothing_is_not_named(kind: str) -> None:
    said: list[str] = []
    account = Account(0.0 if kind == "free at rest" else 0.5)
    account.running, account.refuses_bills = int(kind == "a job runs"), kind == "no right to read bills"
    get = account.get

    def working(*args: Any, **options: Any) -> bytes:
        account.completed += kind == "jobs end"
        return get(*args, **options)

    account.get = working  # type: ignore[method-assign]
    report = _report(account, 6, said)
    assert not [text for text in said if "warning" in text]
    [one] = report.watched
    assert one.billed == {"free at rest": Decimal(0), "no right to read bills": None}.get(kind, Decimal("2.5"))
    assert ("its bill cannot be read" in said[-1]) is (kind == "no right to read bills")


def test_an_endpoint_that_cannot_be_read_is_not_called_at_rest() -> None:
    def get(*args: Any, **options: Any) -> bytes:
        raise StatusError("RunPod", 404)

    said: list[str] = []
    report = EndpointReport(["ep1"], EndpointReader("http://ep", "http://api", KEY, get), said.append)
    for _ in range(9):
        report.look(HOUR, "2026-11-30T12:10:00Z")
    assert (said, report.watched[0].quiet_seconds) == (["endpoint ep1: cannot be read"], 0.0)


def test_the_bill_is_read_every_ten_minutes_alone() -> None:
    account = Account(0.5)
    report = EndpointReport(["ep1"], EndpointReader("http://ep", "http://api", KEY, account.get), lambda text: None)
    for number in range(60):
        report.look(25.0 if number else 0.0, "2026-11-30T12:10:00Z")
    assert sum("billing" in url for url in account.asked) == 3  # at 0, 600 and 1200 of 1475 seconds


def test_the_rest_begins_anew_with_each_job() -> None:
    """The bill rises for a job at the third hour, and then no more."""
    said: list[str] = []
    account = Account(0.5)
    report = EndpointReport(["ep1"], EndpointReader("http://ep", "http://api", KEY, account.get), said.append)
    for hour, (account.completed, account.hours) in enumerate([(0, 0), (0, 0), (0, 0), (1, 1), (1, 2), (1, 2), (1, 2)]):
        report.look(HOUR if hour else 0.0, f"2026-11-30T{12 + hour}:10:00Z")
    assert report.watched[0].quiet_seconds == 3 * HOUR and not [text for text in said if "warning" in text]
