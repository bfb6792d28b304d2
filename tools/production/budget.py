"""Time and money of a batch: what is spent, what is left, and when the next picture would cost too much."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from tools.backends.backend import Tariff
from tools.production.plan import Plan
from tools.production.server_work import RECENT, SECONDS_PER_HOUR, ServerWork

LEAST_GAPS = 4
ROUNDING_USD = 1e-9
LEAST_USD = 0.0001
"""What a picture costs at the least where its price is not known: an empty purse buys none."""

MAX_PENDING = 16
"""Downloaded pictures that wait for a worker: beyond it no more prompts are queued, so that memory stays flat."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a batch stops early. `max_images` counts the pictures of all runs."""

    max_images: int | None = None
    max_cost: float | None = None

    def most(self, plan: Plan) -> int:
        """How many pictures there will be at most."""
        if self.max_images is None:
            return plan.planned
        return self.max_images if plan.target_approved is not None else min(self.max_images, plan.planned)


def most_pending(plan: Plan, approved: int) -> int:
    """How many pictures may wait to be judged. Where a target is wanted no more than are missing: they may be enough, and each costs."""
    target = plan.target_approved
    return MAX_PENDING if target is None else max(1, min(MAX_PENDING, target - approved))


@dataclass(slots=True)
class ServerPace:
    """What a picture takes and costs on one server: as measured, else by the policy's `seconds_per_picture` and the price.

    `at_once`: how many pictures it works on at a time, as far as that is known.
    """

    tariff: Tariff
    seconds_per_picture: float
    at_once: int = 1
    _seconds: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    _charges: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def learn(self, works: Sequence[ServerWork]) -> None:
        """Take in what earlier runs on the same server measured, the newest last."""
        for work in works:
            self._seconds.extend(work.recent)
            pictures = work.done - work.repaired
            if pictures and work.charged:
                self._charges.append(work.charged / pictures)

    def measured(self, seconds: float | None, charged: float) -> None:
        if seconds is not None and seconds > 0:
            self._seconds.append(seconds)
        self._charges.append(charged)

    @property
    def seconds(self) -> float:
        """Seconds for a picture: the median of the last ones, as the first loads the models."""
        return median(self._seconds) if self._seconds else self.seconds_per_picture

    @property
    def is_priced(self) -> bool:
        """Whether it is known what a picture is charged: what credits one takes is known when one was made."""
        return not self.tariff.usd_per_credit or bool(self._charges)

    @property
    def charge(self) -> float:
        """Dollars for a picture beside the hour; as long as it is not known what credits one takes, what is known, and never nothing."""
        return mean(self._charges) if self._charges else max(self.tariff.of_work(self.seconds), 0.0 if self.is_priced else LEAST_USD)

    def charge_of(self, seconds: float | None, credits: float | None, *, is_work: bool) -> tuple[float, bool]:
        """Dollars for what a server did, and whether it said enough to know them. What it did not say counts as its other pictures."""
        told = (not self.tariff.usd_per_work_second or seconds is not None) and (not self.tariff.usd_per_credit or credits is not None)
        if told or not is_work:
            return self.tariff.of_work(seconds, credits), True
        return mean(self._charges) if self._charges else self.tariff.of_work(seconds, credits), False


@dataclass(frozen=True, slots=True)
class ServerShare:
    """What a server is expected to do of a batch: pictures, seconds of work on them, dollars; None where a price is not known before."""

    server: str
    pictures: float
    seconds: float
    usd: float | None


@dataclass(frozen=True, slots=True)
class BatchEstimate:
    """What a batch will take: `pictures` still to make, in `seconds`, for `usd`, and the part of each server."""

    pictures: int
    seconds: float
    usd: float
    shares: tuple[ServerShare, ...] = ()

    @property
    def unpriced(self) -> tuple[str, ...]:
        """The servers of which it is not known what a picture costs there: `usd` holds what is known of it."""
        return tuple(share.server for share in self.shares if share.usd is None)


def estimate(pictures: int, paces: Mapping[str, ServerPace]) -> BatchEstimate:
    """Every server makes as many as it can while the batch takes. What costs by the hour is paid for as long, the rest by the picture."""
    speeds = {server: pace.at_once / pace.seconds if pace.seconds else 0.0 for server, pace in paces.items()}
    together = sum(speeds.values())
    seconds = 0.0
    if pictures and together:
        seconds = max(pictures / together, min(pace.seconds for pace in paces.values()))
    shares, usd = [], 0.0
    for server, pace in paces.items():
        own = pictures * (speeds[server] / together if together else 1 / len(paces))
        cost = seconds / SECONDS_PER_HOUR * pace.tariff.usd_per_hour + own * pace.charge
        usd += cost
        shares.append(ServerShare(server, own, own * pace.seconds, cost if pace.is_priced else None))
    return BatchEstimate(pictures, seconds, usd, tuple(shares))


def usd_per_hour(tariffs: Sequence[Tariff]) -> float:
    """What all servers together cost in an hour, whether they work or not."""
    return sum(tariff.usd_per_hour for tariff in tariffs)


@dataclass(slots=True)
class BatchBudget:
    """The meter of a running batch. Times are those of one monotonic clock, which the caller reads.

    `paces`: each server by its address. `spent_before`: dollars of the runs before this one. `max_cost`: None is no limit.
    """

    paces: Mapping[str, ServerPace]
    started: float
    spent_before: float = 0.0
    max_cost: float | None = None
    charged: float = 0.0
    """Dollars for pictures that were paid for one by one."""
    _not_held: float = 0.0
    """Dollars for the time before servers joined, in which nobody paid for them."""
    _sent: dict[str, str] = field(default_factory=dict)

    def joined(self, server: str, pace: ServerPace, now: float) -> None:
        """A server takes part from now on. Called from its own thread."""
        self._not_held += (now - self.started) / SECONDS_PER_HOUR * pace.tariff.usd_per_hour
        self.paces = {**self.paces, server: pace}

    def sent(self, key: str, server: str) -> None:
        """A picture is under way on a server; where it was under way on another before, it is there no more."""
        self._sent[key] = server

    def ended(self, key: str) -> None:
        self._sent.pop(key, None)

    @property
    def usd_per_hour(self) -> float:
        return usd_per_hour([pace.tariff for pace in self.paces.values()])

    def spent_now(self, now: float) -> float:
        """Dollars of this run of the program."""
        return self.charged + (now - self.started) / SECONDS_PER_HOUR * self.usd_per_hour - self._not_held

    def spent(self, now: float) -> float:
        """Dollars of the batch."""
        return self.spent_before + self.spent_now(now)

    def allows(self, now: float, underway: int) -> bool:
        """Whether one more picture, behind those under way, still fits under `max_cost`."""
        return self.max_cost is None or self.spent(now) + self.ahead(underway) <= self.max_cost + ROUNDING_USD

    def ahead(self, underway: int) -> float:
        """Dollars until what is under way, and one more picture, are made. One that no server has yet is counted where it costs most."""
        on = Counter(list(self._sent.values()))
        unplaced = max(0, underway + 1 - on.total())
        known = {server: self.paces[server] for server in on if server in self.paces}
        seconds = max([self.left(underway + 1).seconds, *(on[server] * pace.seconds / pace.at_once for server, pace in known.items())])
        dearest = max((pace.charge for pace in self.paces.values()), default=0.0)
        charged = sum(on[server] * pace.charge for server, pace in known.items()) + unplaced * dearest
        return seconds / SECONDS_PER_HOUR * self.usd_per_hour + charged

    @property
    def underway_usd(self) -> float:
        """Dollars until what the servers hold is made."""
        return self.ahead(len(self._sent) - 1) if self._sent else 0.0

    def left(self, pictures: int) -> BatchEstimate:
        return estimate(pictures, self.paces)

    @property
    def is_free(self) -> bool:
        return all(pace.tariff == Tariff() for pace in self.paces.values())


@dataclass(slots=True)
class WallPace:
    """How long a picture takes by the clock on the wall, all servers and workers together, from the last `RECENT` that were finished."""

    _times: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT + 1))

    def finished(self, now: float) -> None:
        self._times.append(now)

    @property
    def seconds(self) -> float | None:
        """None before there are enough pictures to tell: several often come at once."""
        gaps = len(self._times) - 1
        return (self._times[-1] - self._times[0]) / gaps if gaps >= LEAST_GAPS else None


def format_seconds(seconds: float) -> str:
    """`42 s`, `7 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
