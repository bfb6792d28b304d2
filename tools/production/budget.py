"""Time and money of a batch: what is spent, what is left, and when the next picture would cost too much."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

SECONDS_PER_HOUR = 3600
RECENT = 20


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a batch will take: `pictures` still to make, in `seconds`, for `usd`."""

    pictures: int
    seconds: float
    usd: float


def estimate(pictures: int, seconds_per_picture: float, servers: int, rate_per_hr: float) -> Estimate:
    """`rate_per_hr` is that of one server; all of them are paid for as long as the batch takes."""
    seconds = pictures * seconds_per_picture / max(1, servers)
    return Estimate(pictures, seconds, seconds / SECONDS_PER_HOUR * rate_per_hr * max(1, servers))


@dataclass(slots=True)
class Budget:
    """The meter of a running batch. Times are those of one monotonic clock, which the caller reads.

    `spent_before`: dollars of the runs before this one. `max_cost`: None is no limit.
    """

    rate_per_hr: float
    servers: int
    seconds_per_picture: float
    started: float
    spent_before: float = 0.0
    max_cost: float | None = None
    _recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))

    def measured(self, seconds: float | None) -> None:
        """Take in how long a server worked on a picture."""
        if seconds is not None and seconds > 0:
            self._recent.append(seconds)

    @property
    def pace(self) -> float:
        """Seconds of one server for a picture: the median of the last ones, else the policy's figure."""
        return median(self._recent) if self._recent else self.seconds_per_picture

    def spent(self, now: float) -> float:
        return self.spent_before + (now - self.started) / SECONDS_PER_HOUR * self.rate_per_hr * self.servers

    def allows(self, now: float, underway: int) -> bool:
        """Whether one more picture, behind those under way, still fits under `max_cost`."""
        if self.max_cost is None:
            return True
        ahead = estimate(underway + 1, self.pace, self.servers, self.rate_per_hr)
        return self.spent(now) + ahead.usd <= self.max_cost + 1e-9

    def left(self, pictures: int) -> Estimate:
        return estimate(pictures, self.pace, self.servers, self.rate_per_hr)


def counted(number: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def format_seconds(seconds: float) -> str:
    """`42 s`, `7 min`, `2 h 05 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
