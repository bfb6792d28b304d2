"""RunPod's serverless endpoints as the guard reports them: workers and jobs, and what they were billed. It stops none.

The documented API tells no number of active workers, and stops no worker: that is set at RunPod. A bill that rises without a job tells it.
"""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from lifeos import foreign, web
from lifeos.errors import LifeosError, UnavailableError
from lifeos.escaping import escape_line
from tools.cost.guard_rules import in_minutes

ENDPOINT_URL = "https://api.runpod.ai"
TIMEOUT_SECONDS = 10.0
BILL_SECONDS = 600.0
"""How often the bill is read."""
LAG_SECONDS = 3600.0
"""A bill has buckets of an hour at least: so long after the last job it may still rise for that."""
LEAST_RISE = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class EndpointHealth:
    """RunPod's answer to GET /v2/ID/health."""

    jobs: dict[str, float] = field(default_factory=dict)
    workers: dict[str, float] = field(default_factory=dict)

    @property
    def has_jobs(self) -> bool:
        return bool(self.jobs.get("inProgress") or self.jobs.get("inQueue"))

    @property
    def ended(self) -> float:
        """How many jobs have come to an end, since when nobody says."""
        return sum(self.jobs.get(name, 0.0) for name in ("completed", "failed"))


@dataclass(frozen=True, slots=True)
class EndpointCharge:
    """A record of the bill, in dollars."""

    totalAmount: float
    serverlessId: str | None = None


@dataclass(frozen=True, slots=True)
class EndpointBill:
    """RunPod's answer to GET /v2/billing/serverless."""

    records: tuple[EndpointCharge, ...]


@dataclass(frozen=True, slots=True)
class EndpointReader:
    """Where to ask, and with which key, which goes nowhere else. What cannot be read is None."""

    endpoint_url: str
    api_url: str
    key: str
    get: Callable[..., bytes] = web.get

    def health(self, endpoint: str) -> EndpointHealth | None:
        with contextlib.suppress(LifeosError):
            data = self._ask(f"{self.endpoint_url.rstrip('/')}/v2/{endpoint}/health")
            return foreign.decode(data, EndpointHealth, "RunPod", error=UnavailableError)
        return None

    def billed(self, endpoint: str, since: str, until: str) -> Decimal | None:
        """Dollars between two UTC moments. A key without the right to read bills gives None."""
        query = {"serverlessId": endpoint, "bucketSize": "hour", "startTime": since, "endTime": until}
        with contextlib.suppress(LifeosError):
            data = self._ask(f"{self.api_url.rstrip('/')}/v2/billing/serverless?{urllib.parse.urlencode(query)}")
            records = foreign.decode(data, EndpointBill, "RunPod", not_finite="refuse", error=UnavailableError).records
            return sum((Decimal(str(one.totalAmount)) for one in records if one.serverlessId in (None, endpoint)), Decimal(0))
        return None

    def _ask(self, url: str) -> bytes:
        return self.get(url, "RunPod", seconds=TIMEOUT_SECONDS, headers={"Authorization": f"Bearer {self.key}"})


@dataclass(slots=True)
class WatchedEndpoint:
    """What is known of an endpoint: its last answers, and how long it has had no job."""

    name: str
    health: EndpointHealth | None = None
    billed: Decimal | None = None
    quiet_seconds: float = 0.0
    billed_at_rest: Decimal | None = None
    """When the jobs before could be on the bill no longer as new ones."""
    said: str = ""
    is_named: bool = False


class EndpointReport:
    """Endpoints, told when they change, and named when they are billed without a job."""

    def __init__(self, names: Sequence[str], reader: EndpointReader, say: Callable[[str], None]) -> None:
        self.watched = [WatchedEndpoint(name) for name in dict.fromkeys(names)]
        self.reader, self.say = reader, say
        self.since = ""
        self._next_bill = 0.0

    def look(self, elapsed: float, now: str) -> None:
        """One look, `elapsed` seconds after the one before. `now`: RunPod's time in UTC; the bill is read from the first hour on."""
        self.since = self.since or f"{now[:14]}00:00Z"
        self._next_bill -= elapsed
        reads_bill, self._next_bill = self._next_bill <= 0, self._next_bill if self._next_bill > 0 else BILL_SECONDS
        for one in self.watched:
            self._look_at(one, elapsed)
            if reads_bill:
                billed = self.reader.billed(one.name, self.since, _next_hour(now))
                one.billed = one.billed if billed is None else billed
                self._judge(one)
            text = describe_endpoint(one, self.since)
            if one.said != text:
                one.said = text
                self.say(text)

    def _look_at(self, one: WatchedEndpoint, elapsed: float) -> None:
        before, one.health = one.health, self.reader.health(one.name)
        if one.health is None:
            return  # not seen is not idle
        if one.health.has_jobs or (before is not None and one.health.ended != before.ended):
            one.quiet_seconds, one.billed_at_rest, one.is_named = 0.0, None, False
        else:
            one.quiet_seconds += elapsed

    def _judge(self, one: WatchedEndpoint) -> None:
        if one.billed is None or one.health is None or one.quiet_seconds < LAG_SECONDS:
            return
        if one.billed_at_rest is None:
            one.billed_at_rest = one.billed
        rise = one.billed - one.billed_at_rest
        if rise >= LEAST_RISE and not one.is_named:
            one.is_named = True
            why = f"no job for {in_minutes(one.quiet_seconds)}, and its bill rose by ${rise:.2f} meanwhile"
            self.say(f"warning: endpoint {one.name}: {why}; nothing here can stop that: set its active workers to 0 at RunPod")


def describe_endpoint(one: WatchedEndpoint, since: str) -> str:
    health = one.health
    if health is None:
        return f"endpoint {one.name}: cannot be read"
    parts = [f"{count:.0f} {escape_line(name)}" for name, count in sorted(health.workers.items()) if count]
    running, waiting = (health.jobs.get(name, 0) for name in ("inProgress", "inQueue"))
    cost = "its bill cannot be read" if one.billed is None else f"billed ${one.billed:.2f} since {since}"
    return f"endpoint {one.name}: workers {', '.join(parts) or 'none'}; jobs {running:.0f} running, {waiting:.0f} waiting; {cost}"


def _next_hour(now: str) -> str:
    moment = datetime.fromisoformat(now) + timedelta(hours=1)
    return f"{moment:%Y-%m-%dT%H}:00:00Z"
