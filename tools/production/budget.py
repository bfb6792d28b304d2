"""Time and money of a batch: what is spent, what is left, and when the next picture would cost too much."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import mean, median

from tools.backends.backend import Tariff
from tools.production.plan import Plan

SECONDS_PER_HOUR = 3600
RECENT = 20
LEAST_GAPS = 4


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


@dataclass(frozen=True, slots=True)
class BatchEstimate:
    """What a batch will take: `pictures` still to make, in `seconds`, for `usd`."""

    pictures: int
    seconds: float
    usd: float


def estimate(pictures: int, seconds_per_picture: float, tariffs: Sequence[Tariff]) -> BatchEstimate:
    """`tariffs` has one for each server. What costs by the hour is paid for as long as the batch takes, the rest by the picture."""
    seconds = pictures * seconds_per_picture / max(1, len(tariffs))
    work = mean(tariff.of_work(seconds_per_picture) for tariff in tariffs) if tariffs else 0.0
    return BatchEstimate(pictures, seconds, seconds / SECONDS_PER_HOUR * usd_per_hour(tariffs) + pictures * work)


def usd_per_hour(tariffs: Sequence[Tariff]) -> float:
    """What all servers together cost in an hour, whether they work or not."""
    return sum(tariff.usd_per_hour for tariff in tariffs)


@dataclass(slots=True)
class BatchBudget:
    """The meter of a running batch. Times are those of one monotonic clock, which the caller reads.

    `tariffs` has one for each server. `spent_before`: dollars of the runs before this one. `max_cost`: None is no limit.
    """

    tariffs: Sequence[Tariff]
    seconds_per_picture: float
    started: float
    spent_before: float = 0.0
    max_cost: float | None = None
    charged: float = 0.0
    """Dollars for pictures that were paid for one by one."""
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def measured(self, seconds: float | None, charged: float = 0.0) -> None:
        """Take in how long a server worked on a picture, and what was charged for it beside the hour."""
        self.charged += charged
        if seconds is not None and seconds > 0:
            self._recent.append(seconds)

    def joined(self, tariff: Tariff, now: float) -> None:
        """A server takes part from now on."""
        self.spent_before -= (now - self.started) / SECONDS_PER_HOUR * tariff.usd_per_hour  # `spent` counts it from the start
        self.tariffs = (*self.tariffs, tariff)

    @property
    def pace(self) -> float:
        """Seconds of one server for a picture: the median of the last ones, else the policy's figure."""
        return median(self._recent) if self._recent else self.seconds_per_picture

    def spent(self, now: float) -> float:
        return self.spent_before + self.charged + (now - self.started) / SECONDS_PER_HOUR * usd_per_hour(self.tariffs)

    def allows(self, now: float, underway: int) -> bool:
        """Whether one more picture, behind those under way, still fits under `max_cost`."""
        if self.max_cost is None:
            return True
        ahead = self.left(underway + 1)
        return self.spent(now) + ahead.usd <= self.max_cost + 1e-9

    def left(self, pictures: int) -> BatchEstimate:
        return estimate(pictures, self.pace, self.tariffs)

    @property
    def is_free(self) -> bool:
        return all(tariff == Tariff() for tariff in self.tariffs)


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
