"""A guard over a simulated account, with its files in a folder: hours pass within moments."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

from tests.tools.cost.pod_stand_in import BEGIN, COMFY, HEARTBEATS, KEY, PodStandIn
from tools.cost.guard_command import SLOWEST_SECONDS
from tools.cost.guard_log import GuardLog
from tools.cost.guard_rules import GuardRules
from tools.cost.guarding import Guard, keep_guard
from tools.cost.pod_sight import Sights
from tools.cost.pods_api import PodsApi
from tools.cost.session import Instant

MINUTE = 60.0
IDLE = 6 * MINUTE
LEASE = 20 * MINUTE
END = 36 * MINUTE
INTERVAL = SLOWEST_SECONDS


class GuardEnds(Exception):
    """The simulated time is over, or the guard is killed."""


@dataclass
class World:
    """What else happens. `fault` as of the stand-in; `downtime`: the guard is killed then, and a new one starts at its end."""

    fault: Callable[[float], int | str | None] = lambda at: None
    blind: tuple[float, float] | None = None
    """When the guard sees nothing: it is killed, or RunPod does not answer."""
    is_killed: bool = False
    lease: float = 0.0
    locked: bool = False
    name: str = "lora-pod"
    wall_offset: Callable[[float], float] = lambda at: 0.0
    date_offset: Callable[[float], float] = lambda at: 0.0
    boots: list[str] = field(default_factory=lambda: ["boot", "boot"])

    @property
    def is_guarded(self) -> bool:
        """Whether the guard may stop its pods at all."""
        return not self.locked and self.name == World.name


@dataclass
class Account:
    """A simulated account and guard, with the files of the guard in a folder."""

    stand_in: PodStandIn
    world: World
    folder: Path
    said: list[str] = field(default_factory=list)
    rules: GuardRules | None = None
    number: int = 0

    def clock(self) -> Instant:
        at = self.stand_in.now
        wall = BEGIN + timedelta(seconds=at + self.world.wall_offset(at))
        return Instant(wall.replace(microsecond=0), self.world.boots[min(self.number, 1)], 5000 + at)

    def guard(self, **options: Any) -> Guard:
        rules = self.rules or GuardRules(IDLE, self.world.lease, name_prefix="lora-")
        sights = Sights(COMFY, HEARTBEATS, [], "http://proxy/{pod}/{port}", self.stand_in.get)
        api = PodsApi("http://api", KEY, self.stand_in.ask)
        log, state = GuardLog(self.folder / "guard_log.jsonl"), self.folder / "state.json"
        return Guard(api, sights.look, rules, log, state, self.said.append, clock=self.clock, **options)

    def run_until(self, end: float, **options: Any) -> None:
        """A guard that is killed at `end`, at whatever it waits for."""

        def sleep(seconds: float) -> None:
            self.stand_in.now += seconds
            if self.stand_in.now >= end:
                raise GuardEnds

        try:
            keep_guard(self.guard(**options), INTERVAL, None, self.said.append, sleep)
        except GuardEnds:
            self.number += 1


@contextlib.contextmanager
def quickly() -> Iterator[None]:
    """Thousands of looks within seconds: one pod after the other, and without waiting for the disk."""
    with mock.patch("os.fsync"), mock.patch("tools.cost.guarding.LOOKS_AT_ONCE", 1):
        yield
