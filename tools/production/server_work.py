"""What each server did in a run of the program on a batch, and what that cost, as the records of the journal add up."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime

SECONDS_PER_HOUR = 3600
RECENT = 20
"""Pictures whose seconds tell the pace of a server."""


@dataclass(frozen=True, slots=True)
class PricedServer:
    """A server as a run began with it: its prices in dollars, where they come from, and what was expected of it before the start.

    `price`: a word of `server_prices.SOURCES`; empty in journals of older versions. `expected_usd`: None where it could not be told.
    """

    server: str
    kind: str = ""
    usd_per_hour: float = 0.0
    usd_per_second: float = 0.0
    usd_per_credit: float = 0.0
    price: str = ""
    expected_pictures: float | None = None
    expected_seconds: float | None = None
    """Of its work."""
    expected_usd: float | None = None
    since: str = ""
    """When it joined a run that was under way; empty: it took part from the beginning."""


@dataclass(slots=True)
class ServerWork:
    """What a server did: prompts that ended well, repairs among them, and tries that did not; its seconds of work; what was charged.

    `unpriced`: ends of which the server did not say what is charged; what they probably cost is in `charged`.
    """

    done: int = 0
    repaired: int = 0
    failed: int = 0
    seconds: float = 0.0
    charged: float = 0.0
    unpriced: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=RECENT))
    """Seconds of the last pictures that were made, without repairs."""

    def ended(self, *, well: bool, seconds: float | None, is_repair: bool) -> None:
        self.done, self.failed = self.done + well, self.failed + (not well)
        self.repaired += well and is_repair
        self.seconds += seconds or 0.0
        if well and seconds and not is_repair:
            self.recent.append(seconds)


@dataclass(slots=True)
class Session:
    """One run of the program on the batch, as the journal shows it. A killed one ends with its last record."""

    started: str
    last: str
    servers: int = 0
    rate_per_hr: float = 0.0
    """The mean of its servers."""
    charged: float = 0.0
    """Dollars for pictures that were paid for one by one."""
    prices: tuple[PricedServer, ...] = ()
    works: dict[str, ServerWork] = field(default_factory=dict)
    """By the address of a server; empty for what an older version charged for a prompt that is not known any more."""

    @property
    def seconds(self) -> float:
        times = [datetime.fromisoformat(text) for text in (self.started, self.last)]
        return max(0.0, (times[1] - times[0]).total_seconds())

    @property
    def usd(self) -> float:
        late = sum(self.hourly(each.usd_per_hour, each.since) for each in self.prices if each.since)
        return self.hourly(self.rate_per_hr) * self.servers + late + self.charged

    def hourly(self, usd_per_hour: float, since: str = "") -> float:
        """Dollars for a machine that is held as long as the run takes, or from when it joined."""
        return self.held(since) / SECONDS_PER_HOUR * usd_per_hour

    def held(self, since: str = "") -> float:
        """Seconds for which a server is held that took part from the beginning, or joined."""
        late = (datetime.fromisoformat(since) - datetime.fromisoformat(self.started)).total_seconds() if since else 0.0
        return max(0.0, self.seconds - late)

    def work(self, server: str | None) -> ServerWork:
        return self.works.setdefault(server or "", ServerWork())

    @property
    def made(self) -> int:
        """Pictures that its servers made, without repairs."""
        return sum(work.done - work.repaired for work in self.works.values())
